"""Compare synthesised performances with real takes: range, speed and jerk per channel, blinks.

    python -m training.performance.compare --performances corpus/performances --motion DIR

`--motion` holds `livelink_rom/*.csv` (Live Link Face takes, 30 frames a second, MIT) and `facegood/` (MIT). The table
is the one of `docs/performance.md`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.signal import find_peaks

from cteg import layout
from cteg.errors import InputError
from training.common import plain_errors
from training.performance.captures import CAPTURE_FPS, load_bank
from training.performance.store import load_performances

CHANNELS = (
    "browInnerUpLeft",
    "browOuterUpLeft",
    "browDownLeft",
    "eyeWideLeft",
    "eyeSquintLeft",
    "eyeBlinkLeft",
    "cheekSquintLeft",
    "noseSneerLeft",
    "mouthSmileLeft",
    "mouthFrownLeft",
    "mouthStretchLeft",
    "mouthPressLeft",
    "mouthFunnel",
    "mouthPucker",
    "jawOpen",
)
MOST_CLIPS = 2_000
BLINK_DEPTH = 0.35
"""Performances that are compared, and the least lid closing (0...1) that counts as a blink."""


def live_link_name(channel: str) -> str:
    """Return what Live Link Face calls one of `CHANNELS`; its inner brows move together."""
    return "BrowInnerUp" if channel == "browInnerUpLeft" else channel[0].upper() + channel[1:]


def speed_and_jerk(curves: list[NDArray[np.float64]], fps: float) -> tuple[float, float, float]:
    """Return the 95th and 99.5th percentile of |speed| (1/s) while moving, and RMS jerk / RMS speed (1/s^2).

    The last is a roughness that does not depend on how much a channel moves: jitter raises it, slow motion lowers it.
    """
    speed = np.abs(np.concatenate([np.diff(c) for c in curves])) * fps
    jerk = np.concatenate([np.diff(c, 3) for c in curves]) * fps**3
    moving = speed[speed > 0.05]
    if len(moving) < 10:
        return float("nan"), float("nan"), float("nan")
    rough = float(np.sqrt(np.mean(jerk**2) / np.mean(speed**2)))
    return float(np.quantile(moving, 0.95)), float(np.quantile(moving, 0.995)), rough


def read_live_link(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read a Live Link Face take; returns its channels (frames,) by name, the jaw in shares of `jawOpen`.

    Raises:
        InputError: the file is not such a take, or lacks a channel that is compared.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        values = np.array([[float(value) for value in row[2:]] for row in rows[1:]])
        take = {name: values[:, column] for column, name in enumerate(rows[0][2:])}
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"{path.name} is not a Live Link Face take.") from error
    if missing := {*map(live_link_name, CHANNELS), "EyeBlinkRight"} - take.keys():
        raise InputError(f"{path.name} is not a Live Link Face take: it has no channel {min(missing)}.")
    return take


def at_25(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resample a curve from 30 to 25 frames a second (linear: it rounds off, never adds, jerk)."""
    times = np.arange(0, (len(curve) - 1) / CAPTURE_FPS, 1 / layout.FPS)
    return np.interp(times * CAPTURE_FPS, np.arange(len(curve)), curve)


def blinks_of(curve: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
    """Return the width at half depth (seconds) of every blink in a lid curve."""
    _, facts = find_peaks(curve, height=BLINK_DEPTH, prominence=0.25, width=(1, 0.4 * fps), rel_height=0.5)
    return facts["widths"] / fps


def compare(performances: Path, motion: Path) -> list[str]:
    """Return the lines of the comparison."""
    found = load_performances(performances, "dev")
    clips = [found.clip(index).astype(np.float64) for index in range(min(len(found), MOST_CLIPS))]
    for clip in clips:
        clip[:, layout.INDEX["jawOpen"]] /= layout.JAW_OPEN_RADIANS
    takes = [read_live_link(path) for path in sorted((motion / "livelink_rom").glob("*.csv"))]
    if not takes:
        raise InputError(f"There are no Live Link Face takes (livelink_rom/*.csv) in {motion}.")
    bank = load_bank(motion)
    lines = [f"{'channel':18s} | ours: p95, p99.5 speed, roughness | Live Link | FACEGOOD"]
    for name in CHANNELS:
        cells = [
            speed_and_jerk([clip[:, layout.INDEX[name]] for clip in clips], layout.FPS),
            speed_and_jerk([at_25(take[live_link_name(name)]) for take in takes], layout.FPS),
        ]
        column = np.flatnonzero(bank.columns == layout.INDEX[name])
        if len(column):
            share = layout.JAW_OPEN_RADIANS if name == "jawOpen" else 1.0
            cells.append(speed_and_jerk([at_25(bank.frames[:, column[0]].astype(float) / share)], layout.FPS))
        lines.append(f"{name:18s} | " + " | ".join(f"{a:5.2f} {b:6.2f} {c:6.0f}" for a, b, c in cells))
    return [*lines, *_blink_lines(clips, takes)]


def _blink_lines(clips: list[NDArray[np.float64]], takes: list[dict[str, NDArray[np.float64]]]) -> list[str]:
    """Return rate, width and left-right correlation of the blinks of both."""
    lines = []
    left, right = layout.INDEX["eyeBlinkLeft"], layout.INDEX["eyeBlinkRight"]
    sources = {
        "ours": [(clip[:, left], clip[:, right]) for clip in clips],
        "Live Link": [(at_25(take["EyeBlinkLeft"]), at_25(take["EyeBlinkRight"])) for take in takes],
    }
    for name, pairs in sources.items():
        widths = np.concatenate([blinks_of(pair[0], layout.FPS) for pair in pairs])
        minutes = sum(len(pair[0]) for pair in pairs) / layout.FPS / 60
        joined = np.concatenate([np.stack(pair) for pair in pairs], axis=1)
        lines.append(
            f"blinks, {name}: {len(widths) / minutes:.1f} a minute, width at half depth {np.median(widths):.3f} s "
            f"(median), left-right correlation {np.corrcoef(joined)[0, 1]:.3f}"
        )
    return lines


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="Folder written by training.synthesise.")],
    motion: Annotated[Path, typer.Option(help="Folder with livelink_rom/ and facegood/.")],
) -> None:
    """Compare synthesised performances with real takes."""
    typer.echo("\n".join(compare(performances, motion)))


if __name__ == "__main__":
    typer.run(main)
