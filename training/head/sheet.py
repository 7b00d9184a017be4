"""Draw sheets of the head for judging it by eye.

    python -m training.head.sheet FOLDER [--head NAME_OR_FILE] [--only feelings] [--size 256]

Writes head_shapes.png (each of the 50 shapes at 1), head_feelings.png (seven feelings, front and turned) and
head_motion.png (blink phases, gaze, jaw angles, visemes).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cteg import layout
from cteg.face.render import render_frames
from cteg.face.rig import DEFAULT_HEAD, Rig

PAPER, INK = (246, 247, 249), (32, 36, 44)
LABEL = 18
Pose = dict[str, float]

FEELINGS: dict[str, Pose] = {
    "neutral": {},
    "happiness 6+12": {"mouthSmile": 0.9, "cheekSquint": 0.9, "eyeSquint": 0.35},
    "happiness 6+12+25+26": {
        "mouthSmile": 1,
        "cheekSquint": 1,
        "mouthUpperUp": 0.45,
        "jawOpen": 0.3,
        "mouthLowerDown": 0.2,
    },
    "sadness 1+4+15+17": {
        "browInnerUp": 1,
        "browDown": 0.35,
        "mouthFrown": 0.9,
        "mouthShrugLower": 0.6,
        "eyeSquint": 0.2,
        "eyeLookDown": 0.3,
    },
    "anger 4+5+7+23": {
        "browDown": 1,
        "eyeWide": 0.4,
        "eyeSquint": 0.6,
        "mouthPress": 0.9,
        "mouthRollLower": 0.5,
        "mouthRollUpper": 0.4,
        "noseSneer": 0.3,
    },
    "anger 4+9+10+16": {
        "browDown": 1,
        "eyeWide": 0.3,
        "noseSneer": 0.8,
        "mouthUpperUp": 0.8,
        "mouthLowerDown": 0.8,
        "jawOpen": 0.15,
    },
    "fear 1+2+4+5+20+25": {
        "browInnerUp": 1,
        "browOuterUp": 0.6,
        "browDown": 0.4,
        "eyeWide": 1,
        "mouthStretch": 0.9,
        "jawOpen": 0.25,
    },
    "surprise 1+2+5+26": {"browInnerUp": 1, "browOuterUp": 1, "eyeWide": 0.9, "jawOpen": 0.6},
    "disgust 9+10+17": {
        "noseSneer": 1,
        "mouthUpperUp": 0.7,
        "mouthShrugLower": 0.5,
        "browDown": 0.5,
        "eyeSquint": 0.5,
        "mouthFrown": 0.3,
    },
    "contempt R12+14": {"mouthSmileRight": 0.5, "mouthDimpleRight": 0.8, "eyeSquint": 0.2},
}
"""Action units of the seven feelings (Ekman, Matsumoto) as shapes; a name without a side means both sides."""

MOTION: dict[str, Pose] = {
    **{f"blink {level:.2f}": {"eyeBlink": level} for level in (0.0, 0.25, 0.5, 0.75, 1.0)},
    "blink + squint": {"eyeBlink": 1, "eyeSquint": 1},
    "look left": {"eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "look right": {"eyeLookInLeft": 1, "eyeLookOutRight": 1},
    "look up": {"eyeLookUp": 1},
    "look down": {"eyeLookDown": 1},
    "look down + blink 0.5": {"eyeLookDown": 1, "eyeBlink": 0.5},
    "wide + look left": {"eyeWide": 1, "eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "jaw 1/3": {"jawOpen": 1 / 3},
    "jaw 2/3": {"jawOpen": 2 / 3},
    "jaw 1": {"jawOpen": 1},
    "jaw turned": {"jawTurn": 0.12, "jawOpen": 0.2},
    "jaw 1 + close": {"jawOpen": 1, "mouthClose": 1},
    "ah": {"jawOpen": 0.55},
    "ee": {"jawOpen": 0.12, "mouthSmile": 0.3, "mouthStretch": 0.5, "mouthUpperUp": 0.2, "mouthLowerDown": 0.3},
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.7},
    "oo": {"jawOpen": 0.1, "mouthPucker": 0.9, "mouthFunnel": 0.3},
    "f": {"jawOpen": 0.08, "mouthRollLower": 0.7, "mouthUpperUp": 0.3},
    "m": {"mouthPress": 0.4, "mouthRollLower": 0.3, "mouthRollUpper": 0.3},
    "s": {"jawOpen": 0.05, "mouthStretch": 0.3, "mouthLowerDown": 0.4, "mouthUpperUp": 0.3},
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


def sheet(rig: Rig, poses: dict[str, Pose], size: int, columns: int, yaws: tuple[float, ...] = (0.0,)) -> Image.Image:
    """Draw labelled faces, `columns` to a row; every further yaw repeats each row below it."""
    frames = np.stack([coefficients(pose) for pose in poses.values()])
    pictures = [render_frames(rig, frames, size, yaw) for yaw in yaws]
    rows = -(-len(poses) // columns)
    band = LABEL + size * len(yaws)
    page = Image.new("RGB", (columns * size, rows * band), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for place, label in enumerate(poses):
        x, y = place % columns * size, place // columns * band
        draw.text((x + size / 2, y + 1), label, INK, font, anchor="ma")
        for turn in range(len(yaws)):
            page.paste(Image.fromarray(pictures[turn][place]), (x, y + LABEL + turn * size))
    return page


def main(arguments: list[str] | None = None) -> int:
    """Write the sheets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.head.sheet", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write the pictures")
    parser.add_argument("--head", default=DEFAULT_HEAD, help="name of a bundled head or a rig file")
    parser.add_argument("--only", choices=("shapes", "feelings", "motion"), help="write one sheet only")
    parser.add_argument("--size", type=int, default=200, help="pixels of one face")
    options = parser.parse_args(arguments)
    rig = Rig.load(options.head)
    options.folder.mkdir(parents=True, exist_ok=True)
    plans = {
        "shapes": (shape_poses(), 10, (0.0,)),
        "feelings": (FEELINGS, 5, (0.0, 35.0)),
        "motion": (MOTION, 6, (0.0,)),
    }
    for name, (poses, columns, yaws) in plans.items():
        if options.only in (None, name):
            page = sheet(rig, poses, options.size, columns, yaws)
            page.quantize(255, dither=Image.Dither.NONE).save(options.folder / f"head_{name}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
