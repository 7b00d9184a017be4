"""A figure with its interval, or the reason why there is none: statistics here never return NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cteg.errors import StudyError

LEVEL = 0.95
"""Of all intervals."""


@dataclass(frozen=True)
class Measured:
    """One figure.

    Attributes:
        value: The figure; None where it cannot be computed.
        low: Lower end of its 95 % interval, None without one.
        high: Upper end.
        n: How many it rests on: answers, raters or clips, as whoever computes it says.
        p: Probability of something as extreme under the null hypothesis, None where nothing is tested.
        reason: Why there is no figure or no interval; empty where nothing is missing.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high, self.p):
            if number is not None and not math.isfinite(number):
                raise ValueError("a figure that is not finite must be given as a reason")
        if self.value is None and not self.reason:
            raise ValueError("a missing figure needs a reason")

    def text(self, digits: int = 2) -> str:
        """Return the figure for a table: `0.61 [0.55, 0.67]`, or the reason in brackets."""
        if self.value is None:
            return f"({self.reason})"
        shown = f"{self.value:.{digits}f}"
        return shown if self.low is None else f"{shown} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def missing(reason: str, n: int = 0) -> Measured:
    """Return the absence of a figure."""
    return Measured(n=n, reason=reason)


def margin_without_each(without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the width of 95 % intervals that say how figures would differ with other units (raters, mostly).

    The jackknife with Student's t: a standard error from leaving out one unit at a time, with all that belongs to it.
    For a mean over raters this is the usual t interval. It needs no random draws, and it held its rate where
    percentiles of a bootstrap over raters did not (`docs/study.md`, "Does it find what is there?").

    Args:
        without: (N, ...), the figures with each of N units left out, N from 2.

    Returns:
        (...).

    Reference: Tukey 1958; Efron and Stein 1981: its variance is too large rather than too small on average.
    """
    try:
        from scipy.stats import t
    except ImportError as error:
        raise need("scipy") from error
    n = len(without)
    variance = (n - 1) / n * ((without - without.mean(0)) ** 2).sum(0)
    return t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(variance)


def share(successes: int, n: int, nothing: str, against: float | None = None) -> Measured:
    """Return a share with its exact interval (Clopper and Pearson 1934).

    Args:
        successes: How many of them count.
        n: How many there are.
        nothing: The reason to give where n is 0.
        against: Null hypothesis of an exact two-sided binomial test; None for no test.
    """
    if n == 0:
        return missing(nothing)
    try:
        from scipy.stats import binomtest
    except ImportError as error:
        raise need("scipy") from error
    test = binomtest(successes, n, 0.5 if against is None else against)
    interval = test.proportion_ci(LEVEL, method="exact")
    p = None if against is None else float(test.pvalue)
    return Measured(successes / n, float(interval.low), float(interval.high), n, p)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the given order."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def need(package: str) -> StudyError:
    """Return the error that names a package which the statistics lack."""
    return StudyError(f"The statistics need {package}: pip install {package}, or -r requirements-dev.txt for all.")
