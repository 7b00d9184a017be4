"""Peak memory of the app with everything asked of it: `python -m training.memory`.

One process serves the page, performs a text with the most samples and makes every file that the page offers, as on a
small server where one visitor takes all. The encoder of films is a process of its own and is told apart.
"""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import app
import cteg
from cteg import export
from cteg.face.rig import load_rig
from cteg.sampling import MAX_SAMPLES
from cteg.settings import Settings
from cteg.study.store import Store
from cteg.ui.examples import EXAMPLES
from cteg.ui.server import launch
from cteg.ui.services import GeneratorHandle, Services, head_path
from cteg.ui.take_away import KINDS_OF_ALL, KINDS_OF_ONE
from training.common import plain_errors


def peak(who: int = resource.RUSAGE_SELF) -> float:
    """Return the largest resident memory so far, in MB (Linux counts it in KiB)."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e6


@plain_errors
def main(
    text: Annotated[str, typer.Option(help="what is performed")] = EXAMPLES["joy"],
    samples: Annotated[int, typer.Option(help="performances of it")] = MAX_SAMPLES,
) -> None:
    """Print the peak after each step."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "data")
        store = Store(settings, cteg.__version__)
        handle = GeneratorHandle(lambda: app.load_generator(settings))
        services = Services(handle, head_path(settings), store, settings, cteg.__version__)
        blocks = launch(services, server_name="127.0.0.1", quiet=True)
        generator = services.generator.get()
        typer.echo(f"page and model ready          {peak():6.0f} MB")
        clips = generator.generate(text, samples=samples, seed=7)
        typer.echo(f"{len(clips)} samples, {sum(map(len, clips))} frames       {peak():6.0f} MB")
        rig = load_rig(settings.head)
        for kind in KINDS_OF_ONE:
            export.save(clips[0], rig, Path(folder) / f"one.{kind}")
        for kind in KINDS_OF_ALL:
            path = Path(folder) / f"all.{kind}"
            export.to_zip(clips, rig, path) if kind == "zip" else export.save(clips, rig, path)
            typer.echo(f"all faces as {kind:4}             {peak():6.0f} MB")
        typer.echo(f"the film's encoder, apart     {peak(resource.RUSAGE_CHILDREN):6.0f} MB")
        blocks.close(verbose=False)
        store.close()


if __name__ == "__main__":
    typer.run(main)
