"""A bank of real mouth motion, cut from captures of speech.

The FACEGOOD Audio2Face captures (real speech, MIT) hold jaw, rounding and lip closures with their co-articulation. A
capture is divided at the smallest opening between two openings of the mouth; each piece may stand for one syllable. The
captures are Chinese and no sound belongs to a clip, so rhythm and range are real, the words are not.

Dimension letters: F capture frames, P pieces, C = 24 mouth coefficients.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from cteg import layout
from cteg.errors import InputError
from training.performance.dynamics import Array
from training.performance.table import TABLES, pairs, read_table

CAPTURE_FPS = 30
CLOSED = 0.03
"""A mouth is at rest where no coefficient is larger."""

LONGEST_REST = 2
"""Frames at rest that are kept of a pause: pauses come from the punctuation of the sentence instead."""


@dataclass(frozen=True, eq=False)
class SpeechBank:
    """Mouth motion of the captures, cut into pieces.

    Attributes:
        frames: (F, C) coefficients of all takes, 30 a second.
        columns: (C,) coefficient of each column.
        cuts: (P + 1,) frame at which each piece starts; the last one ends the bank.
        run_left: (P,) how many pieces follow without the end of a take, the piece itself included.
    """

    frames: NDArray[np.float32]
    columns: NDArray[np.intp]
    cuts: NDArray[np.intp]
    run_left: NDArray[np.intp]


def load_bank(folder: Path) -> SpeechBank:
    """Read the FACEGOOD captures of a folder and cut them into pieces.

    Args:
        folder: Holds `bsname.txt` and takes `*.npy`, each (F, 116), 0...1, 30 frames a second; or a folder `facegood`
            with these.

    Raises:
        InputError: no takes there, or a take that does not fit the names.
    """
    folder = folder / "facegood" if (folder / "facegood").is_dir() else folder
    paths = sorted(folder.glob("*.npy"))
    names_path = folder / "bsname.txt"
    if not paths or not names_path.is_file():
        raise InputError(f"There are no FACEGOOD captures (bsname.txt and *.npy) in {folder}.")
    names = names_path.read_text(encoding="utf-8").split()
    return build_bank([_read_take(path) for path in paths], names)


def _read_take(path: Path) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():  # the files were written by Python 2, which numpy mentions each time
            warnings.simplefilter("ignore", UserWarning)
            take = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"The capture {path.name} is damaged.") from error
    if take.ndim != 2 or not len(take):
        raise InputError(f"The capture {path.name} has shape {take.shape}, expected (frames, channels).")
    return take


def build_bank(takes: list[NDArray[np.float64]], names: list[str]) -> SpeechBank:
    """Map takes (F, channels) to coefficients and cut them at the closings of the mouth.

    The published name list has one entry more than the captures have channels: its first line is a count that stands in
    the place of channel 0. Left and right channels only agree under this reading.
    """
    mapped = [drop_pauses(map_channels(take, names)) for take in takes]
    columns = np.array([layout.INDEX[row["coefficient"]] for row in read_table(TABLES / "facegood_channels.tsv")])
    cuts: list[NDArray[np.intp]] = []
    run_left: list[NDArray[np.intp]] = []
    offset = 0
    for frames in mapped:
        found = cut_take(frames, columns)
        if len(found) > 1:
            cuts.append(found[:-1] + offset)
            run_left.append(np.arange(len(found) - 1, 0, -1))
        offset += len(frames)
    if not cuts:
        raise InputError("The captures hold no speech: no opening of the mouth was found.")
    return SpeechBank(
        frames=np.concatenate(mapped).astype(np.float32),
        columns=columns,
        cuts=np.append(np.concatenate(cuts), offset),
        run_left=np.concatenate(run_left),
    )


def map_channels(take: NDArray[np.float64], names: list[str]) -> NDArray[np.float64]:
    """Map the channels of a take (F, channels) to mouth coefficients (F, C) by `tables/facegood_channels.tsv`."""
    position = {name: index for index, name in enumerate(names[: take.shape[1]])}
    rows = read_table(TABLES / "facegood_channels.tsv")
    mapped = np.zeros((len(take), len(rows)))
    for column, row in enumerate(rows):
        for name, share in pairs(row["sources"]).items():
            if name not in position:
                raise InputError(f"The captures have no channel {name}; are these the FACEGOOD captures?")
            mapped[:, column] = np.maximum(mapped[:, column], share * take[:, position[name]])
        if row["coefficient"] == "jawOpen":
            mapped[:, column] *= layout.JAW_OPEN_RADIANS
    return mapped


def drop_pauses(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut rests longer than `LONGEST_REST` frames out of a take (F, C), so that its openings follow each other."""
    is_rest = (frames < CLOSED).all(axis=1)
    rest_so_far = np.zeros(len(frames), dtype=int)
    for index in range(1, len(frames)):
        rest_so_far[index] = rest_so_far[index - 1] + 1 if is_rest[index] and is_rest[index - 1] else 0
    return frames[rest_so_far < LONGEST_REST]


def openness(frames: NDArray[np.float64], columns: NDArray[np.intp]) -> Array:
    """Return how open the mouth is, (F,): jaw, lips apart and rounding together."""
    share = np.zeros(layout.D)
    share[layout.INDEX["jawOpen"]] = 1 / layout.JAW_OPEN_RADIANS
    for name, value in (("mouthFunnel", 0.5), ("mouthPucker", 0.4), ("mouthLowerDownLeft", 0.4)):
        share[layout.INDEX[name]] = value
    return frames @ share[columns]


def cut_take(frames: NDArray[np.float64], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the frames at which a take is cut: the smallest opening between two openings, ends trimmed to motion."""
    opening = openness(frames, columns)
    peaks, _ = find_peaks(opening, prominence=0.04)
    if len(peaks) < 2:
        return np.empty(0, dtype=np.intp)
    inner = [left + int(np.argmin(opening[left:right])) for left, right in pairwise(peaks)]
    first = max(0, peaks[0] - CAPTURE_FPS // 4)
    return np.array([first, *inner, min(len(opening) - 1, peaks[-1] + CAPTURE_FPS // 4)], dtype=np.intp)
