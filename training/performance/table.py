"""The tables of the synthesis: action units, variants per label, followers.

The numbers live in `training/tables/*.tsv`, in our own words, with a source per row; this file reads them into arrays.

Dimension letters: U action units, V variants of one label, D = 53 coefficients.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.errors import InputError
from training.performance.labels import LABELS

TABLES = Path(__file__).parent.parent / "tables"
SIDES = ("Left", "Right")

_UNIT = re.compile(r"(\d+)([LR]?)=([\d.]+)")


@dataclass(frozen=True, eq=False)
class ActionUnits:
    """How action units move the coefficients.

    Attributes:
        numbers: FACS numbers, (U,).
        shapes: (2, U, D) coefficients per unit of intensity, for the left and the right side.
        asymmetry: (U,) mean |L-R| / mean.
        speaking: (U,) share left while the mouth speaks.
        pace: (U,) factor on onset times.
        is_mouth: (U,) True where speech takes part of the unit away.
    """

    numbers: tuple[int, ...]
    shapes: NDArray[np.float32]
    asymmetry: NDArray[np.float64]
    speaking: NDArray[np.float64]
    pace: NDArray[np.float64]
    is_mouth: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to show a label.

    Attributes:
        label: Label of GoEmotions.
        name: What it looks like.
        weight: Probability within its label.
        intensities: (2, U) intensity of each unit at the apex, left and right, 0...1.
        onset: Median time from neutral to apex, seconds.
        gaze: Key of `gaze.HABITS`.
        blink: Factor on the blink rate.
        source: Where the combination of units is from.
    """

    label: str
    name: str
    weight: float
    intensities: NDArray[np.float64]
    onset: float
    gaze: str
    blink: float
    source: str


@dataclass(frozen=True, eq=False)
class Repertoire:
    """All tables together.

    Attributes:
        units: The action units.
        variants: Variants of every label.
        followers: For every label, the labels it may pass into, with their shares.
    """

    units: ActionUnits
    variants: dict[str, tuple[Variant, ...]]
    followers: dict[str, dict[str, float]]


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a tab-separated table whose comment lines start with '#'.

    Raises:
        InputError: the file is missing or a row has too few or too many fields.
    """
    if not path.is_file():
        raise InputError(f"There is no table {path}.")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    rows = list(csv.DictReader(lines, delimiter="\t"))
    for row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path.name} has a row with the wrong number of fields: {next(iter(row.values()))}.")
    return rows


def pairs(text: str) -> dict[str, float]:
    """Read 'name=number name=number' into a dictionary."""
    return {name: float(value) for name, value in (part.split("=") for part in text.split())}


def unit_shapes(coefficients: str) -> NDArray[np.float32]:
    """Return (2, D): what the left and the right side of a unit add to the coefficients at intensity 1."""
    shapes = np.zeros((2, layout.D), dtype=np.float32)
    for name, share in pairs(coefficients).items():
        if name == "jawOpen":  # one jaw: each side gives half
            shapes[:, layout.INDEX["jawOpen"]] += share * layout.JAW_OPEN_RADIANS / 2
        elif name in ("mouthLeft", "mouthRight"):  # a sideways mouth belongs to the side it moves to
            shapes[int(name == "mouthRight"), layout.INDEX[name]] += share
        elif name in layout.INDEX:
            shapes[:, layout.INDEX[name]] += share / 2
        else:
            for side in range(2):
                shapes[side, layout.INDEX[name + SIDES[side]]] += share
    return shapes


def read_units(path: Path = TABLES / "action_units.tsv") -> ActionUnits:
    """Read the action units."""
    rows = read_table(path)
    speaking = np.array([float(row["speaking"]) for row in rows])
    return ActionUnits(
        numbers=tuple(int(row["unit"]) for row in rows),
        shapes=np.stack([unit_shapes(row["coefficients"]) for row in rows], axis=1),
        asymmetry=np.array([float(row["asymmetry"]) for row in rows]),
        speaking=speaking,
        pace=np.array([float(row["pace"]) for row in rows]),
        is_mouth=speaking < 0.6,
    )


def read_variants(numbers: tuple[int, ...], path: Path = TABLES / "variants.tsv") -> dict[str, tuple[Variant, ...]]:
    """Read the variants of every label; weights are scaled to sum to 1 within a label.

    Args:
        numbers: Known action units.
        path: The table.

    Raises:
        InputError: a row has a label or an action unit that is not known.
    """
    found: dict[str, list[Variant]] = {label: [] for label in LABELS}
    rows = read_table(path)
    totals = {label: sum(float(row["weight"]) for row in rows if row["label"] == label) for label in LABELS}
    for row in rows:
        intensities = np.zeros((2, len(numbers)))
        for part in row["action_units"].split():
            unit = _UNIT.fullmatch(part)
            if unit is None or int(unit[1]) not in numbers:
                raise InputError(f"{path.name}: the variant '{row['variant']}' has no known action unit in {part!r}.")
            sides = "LR".index(unit[2]) if unit[2] else slice(None)
            intensities[sides, numbers.index(int(unit[1]))] = float(unit[3])
        label = row["label"]
        if label not in found:
            raise InputError(f"{path.name}: the variant '{row['variant']}' is of the unknown label {label!r}.")
        found[label].append(
            Variant(
                label=label,
                name=row["variant"],
                weight=float(row["weight"]) / totals[label],
                intensities=intensities,
                onset=float(row["onset"]),
                gaze=row["gaze"],
                blink=float(row["blink"]),
                source=row["source"],
            )
        )
    return {label: tuple(variants) for label, variants in found.items()}


def read_followers(path: Path = TABLES / "followers.tsv") -> dict[str, dict[str, float]]:
    """Read which labels a label may pass into."""
    followers: dict[str, dict[str, float]] = {label: {} for label in LABELS}
    for row in read_table(path):
        followers[row["label"]][row["follower"]] = float(row["share"])
    return followers


@cache
def repertoire() -> Repertoire:
    """Read the bundled tables, once per process."""
    units = read_units()
    return Repertoire(units=units, variants=read_variants(units.numbers), followers=read_followers())
