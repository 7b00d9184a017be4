"""Figures with intervals: the bootstrap over sentences.

A figure is written as a function of how often each sentence counts. With ones it is the figure itself; with counts
drawn at random (Efron 1979) it is what another set of sentences might have given. All systems and figures share the
draws, so that ratios to the reference are taken between figures of the same sentences.

Letters: S sentences, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cteg import metrics
from cteg.baselines.system import Frames

Counts = NDArray[np.integer]
Statistic = Callable[[Counts], float]
"""(S,) how often each sentence counts -> the figure."""

DRAWS = 200
"""Draws of the bootstrap: the standard deviation of their figures is known to a twentieth."""

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Estimate:
    """A figure and half the width of its 95 % interval: 1.96 bootstrap standard deviations."""

    value: float
    margin: float


def bootstrap_counts(sentences: int, rng: np.random.Generator, draws: int) -> Counts:
    """How often each sentence is drawn when S are drawn with replacement: (R, S)."""
    return rng.multinomial(sentences, np.full(sentences, 1 / sentences), size=draws)


def estimate(statistic: Statistic, counts: Counts) -> Estimate:
    """Figure and margin, from bootstrap counts (R, S); draws in which the figure is not defined do not count."""
    drawn = np.array([statistic(row) for row in counts])
    drawn = drawn[np.isfinite(drawn)]
    margin = NORMAL_95 * drawn.std() if len(drawn) else 0.0
    return Estimate(statistic(np.ones(counts.shape[1], dtype=np.int64)), float(margin))


def ratio(first: Statistic, second: Statistic) -> Statistic:
    """One figure divided by another of the same sentences."""
    return lambda counts: first(counts) / max(second(counts), 1e-12)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> Statistic:
    """Mean over sentences of a value per sentence; sentences of weight 0 may hold NaN."""
    weight = np.asarray(weights, np.float64)
    total = np.where(weight > 0, np.asarray(values, np.float64), 0) * weight
    return lambda counts: float(counts @ total / (counts @ weight)) if counts @ weight else float("nan")


def of_clips(
    metric: Callable[[Sequence[Frames]], float], groups: Sequence[Sequence[Frames]], shortest: int = 1
) -> Statistic:
    """A metric that is a mean over clips; clips under `shortest` frames do not count."""
    kept = [[clip for clip in clips if len(clip) >= shortest] for clips in groups]
    return weighted_mean([metric(clips) if clips else np.nan for clips in kept], [len(clips) for clips in kept])


def over_pairs(clips: Sequence[Frames]) -> Statistic:
    """Mean distance of all pairs of S clips: Diversity and DoT without drawing pairs; a clip is no pair with itself."""
    distance = np.zeros((len(clips), len(clips)))
    for first, second in combinations(range(len(clips)), 2):
        distance[first, second] = metrics.clip_distance(clips[first], clips[second])
    is_pair = np.triu(np.ones_like(distance), 1)

    def statistic(counts: Counts) -> float:
        pairs = counts @ is_pair @ counts
        return float(counts @ distance @ counts / pairs) if pairs else float("nan")

    return statistic
