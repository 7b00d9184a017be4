"""Curves over time: smooth steps, bumps, slow fluctuation, asymmetry.

All of them are sums of the minimum-jerk step, so speed and acceleration are continuous, as in real movement.

Reference: Flash and Hogan 1985, "The coordination of arm movements" (the minimum-jerk polynomial). Dimension letters:
T frames, K steps, N curves.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

HALF_NORMAL_MEAN = 0.798
"""Mean of |x| for a standard normal x: sqrt(2 / pi)."""


def minimum_jerk(phase: Array) -> Array:
    """Return the minimum-jerk step: 0 before phase 0, 1 after phase 1, at rest at both ends."""
    phase = np.clip(phase, 0.0, 1.0)
    return phase**3 * (10.0 + phase * (6.0 * phase - 15.0))


def step_curves(times: Array, levels: Array, starts: Array, durations: Array) -> Array:
    """Follow a sequence of levels, each reached by a minimum-jerk step.

    Overlapping steps add up, so a curve that is turned back before it arrives stays smooth.

    Args:
        times: (T,) seconds.
        levels: (K + 1, N) level before the first step and after each step.
        starts: (K, N) seconds at which each step starts.
        durations: (K, N) seconds, > 0.

    Returns:
        (T, N).
    """
    phase = (times[:, None, None] - starts) / durations  # (T, K, N)
    return levels[0] + np.einsum("tkn,kn->tn", minimum_jerk(phase), np.diff(levels, axis=0))


def bumps(times: Array, peaks: Array, heights: Array, rise: float, fall: float) -> Array:
    """Return the sum (T,) of smooth bumps that peak at `peaks` (K,), rising and falling in the given seconds."""
    up = minimum_jerk((times[:, None] - (peaks - rise)) / rise)
    down = minimum_jerk((times[:, None] - peaks) / fall)
    return (up - down) @ heights


def fluctuation(times: Array, count: int, rng: Generator) -> Array:
    """Return (T, count) slow wandering with zero mean and unit variance.

    Two sinusoids per curve, 0.2...0.6 Hz and 0.5...1.2 Hz: a held expression is never still, yet has no tremor.
    """
    draws = rng.random((4, count))
    slow = np.sin(2 * np.pi * (np.outer(times, 0.2 + 0.4 * draws[0]) + draws[1]))
    quick = np.sin(2 * np.pi * (np.outer(times, 0.5 + 0.7 * draws[2]) + draws[3]))
    return (1.2 * slow + 0.75 * quick).astype(np.float64)


def side_factors(mean_asymmetry: Array, rng: Generator) -> Array:
    """Draw how much more one side moves than the other.

    A person has a stronger side that leads in three units of four.

    Args:
        mean_asymmetry: (U,) wanted mean of |L-R| / mean.
        rng: Source of randomness.

    Returns:
        (2, U) factors for the left and the right side, with mean 1 over the sides.
    """
    count = len(mean_asymmetry)
    difference = np.minimum(np.abs(rng.standard_normal(count)) * mean_asymmetry / HALF_NORMAL_MEAN, 0.5)
    stronger_left = rng.random() < 0.5
    sign = np.where(rng.random(count) < 0.75, 1.0, -1.0) * (1.0 if stronger_left else -1.0)
    return np.stack([1.0 + sign * difference / 2, 1.0 - sign * difference / 2])
