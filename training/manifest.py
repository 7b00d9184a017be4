"""Write `weights/manifest.json`, the sha256 of everything that ships: `python -m training.manifest`."""

import typer

from cteg.checkpoint import BUNDLED, write_manifest


def main() -> None:
    """Write the manifest of the bundled weights and heads."""
    write_manifest(BUNDLED.parent)


if __name__ == "__main__":
    typer.run(main)
