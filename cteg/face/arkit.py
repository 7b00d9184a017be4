"""ARKit CSV in the layout of Live Link Face: 61 columns, one row per frame."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.layout import INDEX, JAW_OPEN_RADIANS, JAW_TURN_RADIANS

ARKIT_COLUMNS: tuple[str, ...] = (
    "EyeBlinkLeft",
    "EyeLookDownLeft",
    "EyeLookInLeft",
    "EyeLookOutLeft",
    "EyeLookUpLeft",
    "EyeSquintLeft",
    "EyeWideLeft",
    "EyeBlinkRight",
    "EyeLookDownRight",
    "EyeLookInRight",
    "EyeLookOutRight",
    "EyeLookUpRight",
    "EyeSquintRight",
    "EyeWideRight",
    "JawForward",
    "JawRight",
    "JawLeft",
    "JawOpen",
    "MouthClose",
    "MouthFunnel",
    "MouthPucker",
    "MouthRight",
    "MouthLeft",
    "MouthSmileLeft",
    "MouthSmileRight",
    "MouthFrownLeft",
    "MouthFrownRight",
    "MouthDimpleLeft",
    "MouthDimpleRight",
    "MouthStretchLeft",
    "MouthStretchRight",
    "MouthRollLower",
    "MouthRollUpper",
    "MouthShrugLower",
    "MouthShrugUpper",
    "MouthPressLeft",
    "MouthPressRight",
    "MouthLowerDownLeft",
    "MouthLowerDownRight",
    "MouthUpperUpLeft",
    "MouthUpperUpRight",
    "BrowDownLeft",
    "BrowDownRight",
    "BrowInnerUp",
    "BrowOuterUpLeft",
    "BrowOuterUpRight",
    "CheekPuff",
    "CheekSquintLeft",
    "CheekSquintRight",
    "NoseSneerLeft",
    "NoseSneerRight",
    "TongueOut",
    "HeadYaw",
    "HeadPitch",
    "HeadRoll",
    "LeftEyeYaw",
    "LeftEyePitch",
    "LeftEyeRoll",
    "RightEyeYaw",
    "RightEyePitch",
    "RightEyeRoll",
)
"""52 shapes and 9 angles; `Timecode` and `BlendShapeCount` stand before them."""


def arkit_weights(clip: Clip) -> NDArray[np.float64]:
    """Return the 61 columns of a clip, (T, 61), shapes 0...1.

    The two halves of browInnerUp and cheekPuff are averaged; the jaw rotation becomes jawOpen, jawLeft and jawRight in
    units of their full angles (`JAW_OPEN_RADIANS`, `JAW_TURN_RADIANS`) and is not cut off at 1. Tongue and head are 0.

    Raises:
        SpaceError: the clip is not in the `open` space, which alone has named shapes.
    """
    if clip.space != "open":
        raise SpaceError("Only clips of the open space have ARKit shapes; map the clip to the open space first.")
    coefficients = clip.coefficients.astype(np.float64)
    table = np.zeros((len(clip), len(ARKIT_COLUMNS)))
    for column, name in enumerate(ARKIT_COLUMNS):
        shape = name[0].lower() + name[1:]
        if shape in INDEX and shape != "jawOpen":
            table[:, column] = coefficients[:, INDEX[shape]]
        elif f"{shape}Left" in INDEX:
            table[:, column] = (coefficients[:, INDEX[f"{shape}Left"]] + coefficients[:, INDEX[f"{shape}Right"]]) / 2
    turn = coefficients[:, INDEX["jawTurn"]] / JAW_TURN_RADIANS
    table[:, ARKIT_COLUMNS.index("JawOpen")] = np.maximum(coefficients[:, INDEX["jawOpen"]] / JAW_OPEN_RADIANS, 0)
    table[:, ARKIT_COLUMNS.index("JawLeft")] = np.maximum(turn, 0)
    table[:, ARKIT_COLUMNS.index("JawRight")] = np.maximum(-turn, 0)
    return table


def save_csv(clip: Clip, path: str | Path) -> Path:
    """Write a clip as a Live Link Face CSV and return its path.

    Raises:
        SpaceError: the clip is not in the `open` space.
        InputError: the file cannot be written.
    """
    path, table = Path(path), arkit_weights(clip)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["Timecode", "BlendShapeCount", *ARKIT_COLUMNS])
            for frame, row in enumerate(table):
                writer.writerow([_timecode(frame, clip.fps), len(ARKIT_COLUMNS), *(f"{value:.9f}" for value in row)])
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.") from error
    return path


def _timecode(frame: int, fps: float) -> str:
    """Return `HH:MM:SS:FF.mmm` as Live Link Face writes it."""
    seconds, rest = divmod(frame / fps + 1e-9, 1)
    hours, minutes = divmod(int(seconds), 3600)
    return f"{hours:02d}:{minutes // 60:02d}:{minutes % 60:02d}:{int(rest * fps):02d}.000"
