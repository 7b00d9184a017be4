"""Krippendorff's alpha: how far raters agree on the same clips, beyond what chance would bring.

    alpha = 1 - observed disagreement / expected disagreement        1: all agree, 0: as by chance, below 0: worse

Disagreement is a squared distance between two values, averaged over pairs of ratings: of the same unit where it is
observed, of any two units where it is expected. Units that fewer than two raters rated say nothing and are left out, so
ratings may be missing anywhere.

Letters: U units (clips), V values (steps of the scale).

Reference: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; tests hold its worked examples.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Level = Literal["nominal", "ordinal", "interval"]
"""What distances mean: equal or not; how many ratings lie between; difference of the values."""


def alpha(counts: ArrayLike, values: ArrayLike, level: Level = "ordinal") -> NDArray[np.float64]:
    """Return alpha of one or several sets of ratings.

    Args:
        counts: (..., U, V), how many raters gave a unit a value; whole numbers from 0.
        values: (V,), the values in rising order, for the level `interval`.
        level: What distances between values mean.

    Returns:
        (...), at most 1; NaN for a set in which no unit has two ratings, or all of these are the same: agreement
        cannot be told from chance there.
    """
    counts = np.asarray(counts, np.float64)
    given = counts.sum(-1, keepdims=True)  # (..., U, 1) ratings of each unit
    counts = np.where(given >= 2, counts, 0.0)
    pairs = counts[..., :, None] * (counts[..., None, :] - np.eye(counts.shape[-1]))  # (..., U, V, V)
    observed = (pairs / np.maximum(given - 1, 1)[..., None]).sum(-3)  # (..., V, V) coincidences
    totals = counts.sum(-2)  # (..., V)
    expected = totals[..., :, None] * totals[..., None, :]  # (..., V, V)
    distance = _squared_distance(totals, np.asarray(values, np.float64), level)
    found, chance = ((some * distance).sum((-2, -1)) for some in (observed, expected))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance > 0, 1 - (totals.sum(-1) - 1) * found / chance, np.nan)


def _squared_distance(totals: NDArray[np.float64], values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Return (..., V, V), the squared distance between every two values."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    # ordinal: the values as mean ranks, so that a distance counts the ratings between two of them
    place = values if level == "interval" else totals.cumsum(-1) - totals / 2  # (..., V)
    return (place[..., :, None] - place[..., None, :]) ** 2
