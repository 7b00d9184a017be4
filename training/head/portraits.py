"""Draw all bundled heads on one sheet: neutral, joy and anger, from the front and turned by 35 degrees.

python -m training.head.portraits docs/figures [--size 190]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cteg.face.heads import Head, bundled_heads
from cteg.face.render import render_frames
from cteg.face.rig import Rig
from training.head.sheet import INK, LABEL, PAPER, QUALITY, feelings

FEELINGS = ("neutral", "joy", "anger")
YAWS = (0.0, 35.0)


def portraits(heads: tuple[Head, ...], size: int) -> Image.Image:
    """Draw a row of faces for every head, each `size` pixels wide."""
    poses = feelings()
    frames = np.stack([next(frame for name, frame in poses.items() if name.startswith(label)) for label in FEELINGS])
    band = LABEL + size
    page = Image.new("RGB", (len(YAWS) * len(FEELINGS) * size, len(heads) * band), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for row, head in enumerate(heads):
        draw.text((6, row * band + 1), f"{head.name}: {head.title}", INK, font)
        rig = Rig.load(head.path)
        faces = np.concatenate([render_frames(rig, frames, size, yaw) for yaw in YAWS])
        for column, face in enumerate(faces):
            page.paste(Image.fromarray(face), (column * size, row * band + LABEL))
    return page


def main(arguments: list[str] | None = None) -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.head.portraits", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write head_identities.jpg")
    parser.add_argument("--size", type=int, default=190, help="pixels of one face")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    page = portraits(bundled_heads(), options.size)
    page.save(options.folder / "head_identities.jpg", quality=QUALITY, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
