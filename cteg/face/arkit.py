"""ARKit CSV in the layout of Live Link Face: 61 columns, one row per frame.

The 52 ARKit shapes say less than the 53 coefficients: `browInnerUp` and `cheekPuff` have no sides, and of the jaw's
rotation only opening and turning have a shape. A clip that uses no more comes back as it was; of another one the halves
are averaged and the rest of the jaw is dropped. `EXTRA_COLUMNS`, written on request behind the 61, keep all of it.
"""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.clip import MAX_FRAMES, Clip
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

SHAPE_COLUMNS = ARKIT_COLUMNS[:52]
SPLIT_SHAPES = ("BrowInnerUp", "CheekPuff")
EXTRA_COLUMNS: dict[str, str] = {
    **{f"{shape}{side}": shape[0].lower() + shape[1:] + side for shape in SPLIT_SHAPES for side in ("Left", "Right")},
    "JawPitch": "jawOpen",
    "JawYaw": "jawTurn",
    "JawRoll": "jawRoll",
}
"""What the 52 shapes cannot say: column -> coefficient, in the coefficient's own unit (jaw in radians)."""


def arkit_weights(clip: Clip) -> NDArray[np.float64]:
    """Return the 61 columns of a clip, (T, 61).

    The two halves of browInnerUp and cheekPuff are averaged; the jaw rotation becomes jawOpen, jawLeft and jawRight in
    units of their full angles (`JAW_OPEN_RADIANS`, `JAW_TURN_RADIANS`) and may exceed 1, unlike the other shapes.
    Tongue, head and eye angles are 0.

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
        elif name in SPLIT_SHAPES:
            table[:, column] = (coefficients[:, INDEX[f"{shape}Left"]] + coefficients[:, INDEX[f"{shape}Right"]]) / 2
    turn = coefficients[:, INDEX["jawTurn"]] / JAW_TURN_RADIANS
    table[:, ARKIT_COLUMNS.index("JawOpen")] = np.maximum(coefficients[:, INDEX["jawOpen"]] / JAW_OPEN_RADIANS, 0)
    table[:, ARKIT_COLUMNS.index("JawLeft")] = np.maximum(turn, 0)
    table[:, ARKIT_COLUMNS.index("JawRight")] = np.maximum(-turn, 0)
    return table


def coefficients_of(columns: dict[str, NDArray[np.float64]]) -> NDArray[np.float32]:
    """Return the coefficients (T, 53) that ARKit shapes stand for.

    Args:
        columns: Values (T,) by column name; the 52 shapes, and any of `EXTRA_COLUMNS`, which then count instead.

    Raises:
        InputError: a shape is missing.
    """
    if missing := [name for name in SHAPE_COLUMNS if name not in columns]:
        raise InputError(f"The table lacks the column {missing[0]}, so it does not hold the 52 ARKit shapes.")
    coefficients = np.zeros((len(columns["JawOpen"]), layout.D))
    for name in SHAPE_COLUMNS:
        shape = name[0].lower() + name[1:]
        if name in SPLIT_SHAPES:
            for side in ("Left", "Right"):
                coefficients[:, INDEX[shape + side]] = columns[name]
        elif shape in INDEX:
            coefficients[:, INDEX[shape]] = columns[name]
    coefficients[:, INDEX["jawOpen"]] = columns["JawOpen"] * JAW_OPEN_RADIANS
    coefficients[:, INDEX["jawTurn"]] = (columns["JawLeft"] - columns["JawRight"]) * JAW_TURN_RADIANS
    for name, coefficient in EXTRA_COLUMNS.items():
        if name in columns:
            coefficients[:, INDEX[coefficient]] = columns[name]
    return coefficients.astype(np.float32)


def save_csv(clip: Clip, path: str | Path, full: bool = False) -> Path:
    """Write a clip as a Live Link Face CSV and return its path.

    Args:
        clip: The performance.
        path: The file.
        full: Whether `EXTRA_COLUMNS` follow the 61, so that every coefficient comes back, to nine decimals.

    Raises:
        SpaceError: the clip is not in the `open` space.
        InputError: the file cannot be written.
    """
    path, table = Path(path), arkit_weights(clip)
    header = ["Timecode", "BlendShapeCount", *ARKIT_COLUMNS]
    if full:
        header += EXTRA_COLUMNS
        extra = [clip.coefficients[:, INDEX[coefficient]] for coefficient in EXTRA_COLUMNS.values()]
        table = np.column_stack([table, *extra])
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for frame, row in enumerate(table):
                writer.writerow([_timecode(frame, clip.fps), len(ARKIT_COLUMNS), *(f"{value:.9f}" for value in row)])
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.") from error
    return path


def load_csv(path: str | Path) -> Clip:
    """Read a Live Link Face CSV, one that `save_csv` wrote or a recording, as a clip of the `open` space.

    Tongue, head and eyeball angles have no coefficient and are left out; the eyes follow the eyeLook shapes. The frame
    rate follows from the timecode; a take that stays within a second counts as one of 25 frames a second.

    Raises:
        InputError: the file is missing or not such a table.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for _, row in zip(range(MAX_FRAMES + 2), csv.reader(file), strict=False) if row]
    except OSError as error:
        raise InputError(f"Cannot read '{path}': {error.strerror}.") from error
    except (ValueError, csv.Error) as error:  # no row at all, not UTF-8, or not a table
        raise InputError(f"{path.name} is not a table of Live Link Face.") from error
    if not rows:
        raise InputError(f"{path.name} holds no frame.")
    try:
        table = np.array([[float(cell) for cell in row[2:]] for row in rows])
        fps = _frame_rate([row[0] for row in rows])
    except (ValueError, OverflowError) as error:  # the second for an infinite frame number
        raise InputError(
            f"{path.name} is damaged: a row is incomplete or holds something that is no number."
        ) from error
    if table.shape != (len(rows), len(header) - 2):
        raise InputError(f"{path.name} is damaged: its rows have another length than its header.")
    columns = dict(zip(header[2:], table.T, strict=True))
    return Clip(coefficients_of(columns), fps=fps)


def _timecode(frame: int, fps: float) -> str:
    """Return `HH:MM:SS:FF.mmm` as Live Link Face writes it."""
    seconds, rest = divmod(frame / fps + 1e-9, 1)
    hours, minutes = divmod(int(seconds), 3600)
    return f"{hours:02d}:{minutes // 60:02d}:{minutes % 60:02d}:{int(rest * fps):02d}.000"


def _frame_rate(timecodes: list[str]) -> float:
    """Return frames a second: one more than the highest frame number before a new second begins."""
    seconds, frames = zip(*(timecode.rpartition(":")[::2] for timecode in timecodes), strict=True)
    last_frames = [
        int(float(frame)) for (one, other), frame in zip(pairwise(seconds), frames, strict=False) if one != other
    ]
    return float(1 + max(last_frames)) if last_frames else float(max(layout.FPS, 1 + int(float(frames[-1]))))
