"""Draw sheets of the head for judging it by eye.

    python -m training.head.sheet FOLDER [--head NAME_OR_FILE] [--only feelings] [--size 256]

Writes head_shapes.jpg (each of the 50 shapes at 1), head_feelings.jpg (three variants of seven feelings) and
head_motion.jpg (blink phases, gaze, jaw angles, visemes), every cell from the front and turned by 35 degrees.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cteg import layout
from cteg.errors import CtegError
from cteg.face.render import render_frames
from cteg.face.rig import DEFAULT_HEAD, Rig
from training.performance.table import repertoire

PAPER, INK = (246, 247, 249), (32, 36, 44)
LABEL = 18
QUALITY = 86
WINDOW = 0.82
VIEWS = ((0.0, 0.09, 0.12), (35.0, 0.035, 0.12))
"""Share of a picture of the whole head that a cell shows, and the views: degrees, left and upper edge of that part."""

Pose = dict[str, float]

SEVEN = ("neutral", "joy", "sadness", "anger", "fear", "surprise", "disgust")
VARIANTS = 3

MOTION: dict[str, Pose] = {
    **{f"blink {level:.2f}": {"eyeBlink": level} for level in (0.0, 0.25, 0.5, 0.75, 1.0)},
    "blink + squint": {"eyeBlink": 1, "eyeSquint": 1},
    "look left": {"eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "look right": {"eyeLookInLeft": 1, "eyeLookOutRight": 1},
    "look up": {"eyeLookUp": 1},
    "look down": {"eyeLookDown": 1},
    "wide + look left": {"eyeWide": 1, "eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "laugh, eyes shut": {"eyeBlink": 1, "cheekSquint": 1, "mouthSmile": 1, "mouthUpperUp": 0.3, "jawOpen": 0.5},
    "jaw 1/3": {"jawOpen": 1 / 3},
    "jaw 2/3": {"jawOpen": 2 / 3},
    "jaw 1": {"jawOpen": 1},
    "jaw turned": {"jawTurn": 0.12, "jawOpen": 0.2},
    "jaw 1 + close": {"jawOpen": 1, "mouthClose": 1},
    "jaw 1 + bared": {"jawOpen": 1, "mouthUpperUp": 1, "mouthLowerDown": 1, "mouthStretch": 0.5},
    "aa": {"jawOpen": 0.55},
    "ee": {"jawOpen": 0.12, "mouthSmile": 0.3, "mouthStretch": 0.5, "mouthUpperUp": 0.2, "mouthLowerDown": 0.3},
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.7},
    "oo": {"jawOpen": 0.1, "mouthPucker": 0.9, "mouthFunnel": 0.3},
    "f": {"jawOpen": 0.06, "mouthRollLower": 0.95, "mouthUpperUp": 0.35},
    "m": {"mouthPress": 0.4, "mouthRollLower": 0.3, "mouthRollUpper": 0.3},
}
NEEDS_OPEN_JAW = ("mouthClose",)


def coefficients(pose: Pose) -> NDArray[np.float32]:
    """Turn a pose into (53,) coefficients; jawOpen is a share of `layout.JAW_OPEN_RADIANS`."""
    values = layout.neutral()
    for name, weight in pose.items():
        if name == "jawOpen":
            values[layout.INDEX["jawOpen"]] = weight * layout.JAW_OPEN_RADIANS
        elif name in layout.INDEX:
            values[layout.INDEX[name]] = weight
        else:
            for side in ("Left", "Right"):
                values[layout.INDEX[name + side]] = weight
    return values


def shape_poses() -> dict[str, Pose]:
    """Return one pose per shape at 1; shapes that need an open jaw get one."""
    return {name: {name: 1.0, **({"jawOpen": 1.0} if name in NEEDS_OPEN_JAW else {})} for name in layout.OPEN_SHAPES}


def feelings() -> dict[str, NDArray[np.float32]]:
    """Return the first variants of the seven feelings in the tables of the synthesis, at their apex: label -> (53,)."""
    tables = repertoire()
    return {
        f"{label}: {variant.name}": layout.clamp_open(
            np.einsum("su,sud->d", variant.intensities, tables.units.shapes)[None].astype(np.float32)
        )[0]
        for label in SEVEN
        for variant in tables.variants[label][:VARIANTS]
    }


def sheet(rig: Rig, frames: dict[str, NDArray[np.float32]], size: int, columns: int) -> Image.Image:
    """Draw labelled faces, `columns` to a row, each from the front and turned below it.

    Args:
        rig: The head.
        frames: Label -> coefficients (53,).
        size: Pixels of a face.
        columns: Faces in a row.
    """
    whole = round(size / WINDOW)
    stack = np.stack(list(frames.values()))
    pictures = [render_frames(rig, stack, whole, yaw) for yaw, _, _ in VIEWS]
    band = LABEL + size * len(VIEWS)
    page = Image.new("RGB", (columns * size, -(-len(frames) // columns) * band), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for place, label in enumerate(frames):
        x, y = place % columns * size, place // columns * band
        draw.text((x + size / 2, y + 1), label, INK, font, anchor="ma")
        for turn, (drawn, (_, left, top)) in enumerate(zip(pictures, VIEWS, strict=True)):
            left, top = round(left * whole), round(top * whole)
            cell = drawn[place][top : top + size, left : left + size]
            page.paste(Image.fromarray(cell), (x, y + LABEL + turn * size))
    return page


def main(arguments: list[str] | None = None) -> int:
    """Write the sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.head.sheet", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write the pictures")
    parser.add_argument("--head", default=DEFAULT_HEAD, help="name of a bundled head or a rig file")
    parser.add_argument("--only", choices=("shapes", "feelings", "motion"), help="write one sheet only")
    parser.add_argument("--size", type=int, help="pixels of one face")
    options = parser.parse_args(arguments)
    try:
        rig = Rig.load(options.head)
    except CtegError as error:
        print(error, file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    plans = {
        "shapes": ({name: coefficients(pose) for name, pose in shape_poses().items()}, 10, 180),
        "feelings": (feelings(), VARIANTS * 2, 280),
        "motion": ({name: coefficients(pose) for name, pose in MOTION.items()}, 6, 250),
    }
    for name, (frames, columns, size) in plans.items():
        if options.only in (None, name):
            page = sheet(rig, frames, options.size or size, columns)
            page.save(options.folder / f"head_{name}.jpg", quality=QUALITY, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
