"""Blinks: when they come and what shape they have.

Facts (sources in `docs/performance.md`): 17 a minute at rest, 26 in conversation, log-normal across people; about half
are partial; closing about 50 ms, shut 50-67 ms, re-opening 83-150 ms; both eyes together (correlation > 0.96); they
cluster at phrase ends; wide eyes suppress them, sadness and anger raise their rate (the factor of the variant).

Published durations are read as the time from 10 to 90 % of the way, which a minimum-jerk step covers in the middle 51 %
of its own duration; "shut" as the time within 3 % of the lowest point. A step of exactly 50 ms would be twice as fast
as the lids of the Live Link Face takes. Lids open fast at first, then slowly, as there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.performance.dynamics import Array, minimum_jerk

REST_PER_MINUTE = 17.0
CONVERSATION_PER_MINUTE = 26.0
PERSON_SIGMA = 0.35
"""Log-normal spread of the rate across people; our choice within what the literature reports."""

REFRACTORY = 0.4
"""Shortest time between the starts of two blinks, seconds: a blink takes 0.25 to 0.4 s."""

PHRASE_WINDOW = 0.3
PHRASE_BOOST = 4.0
"""Within the seconds after a phrase end a blink is this many times as likely as elsewhere; our choice."""

PARTIAL_SHARE = 0.5
"""Share of the blinks that do not shut the eye."""

MIDDLE_SHARE = 0.506
"""Part of its duration in which a minimum-jerk step goes from 10 to 90 %."""

EARLY_OPENING = 0.8
"""Exponent on the phase of the opening: below 1 moves its middle forward."""

STEP = 0.02
"""Seconds between the trials of the blink process."""


@dataclass(frozen=True, eq=False)
class Blinks:
    """The blinks of one performance, N of them.

    Attributes:
        starts: (N,) seconds.
        closing: (N,) seconds from open to closed.
        shut: (N,) seconds at the lowest point.
        opening: (N,) seconds from closed to open.
        depths: (N,) how far the lids come down, 1 = shut.
        side_ratio: (N,) depth of the right lid / that of the left.
    """

    starts: Array
    closing: Array
    shut: Array
    opening: Array
    depths: Array
    side_ratio: Array


def draw_blinks(duration: float, per_minute: Array, phrase_ends: Array, rng: Generator) -> Blinks:
    """Draw the blinks of a performance.

    Args:
        duration: Seconds.
        per_minute: (ceil(duration / STEP),) wanted rate over time, blinks a minute.
        phrase_ends: Seconds at which phrases end.
        rng: Source of randomness.

    Returns:
        The blinks; none starts within the first 0.1 s, so that a performance begins with open eyes.
    """
    clock = np.arange(len(per_minute)) * STEP
    boost = np.ones(len(clock))
    for end in phrase_ends:
        boost[(clock >= end) & (clock < end + PHRASE_WINDOW)] = PHRASE_BOOST
    rate = per_minute / 60.0
    hazard = rate / np.maximum(1.0 - rate * REFRACTORY, 0.2)  # lost trials while the last blink runs
    hazard = hazard * boost / boost.mean()
    starts: list[float] = []
    for index in np.flatnonzero(rng.random(len(clock)) < hazard * STEP):
        if 0.1 <= clock[index] < duration and (not starts or clock[index] - starts[-1] >= REFRACTORY):
            starts.append(float(clock[index]))
    count = len(starts)
    is_partial = rng.random(count) < PARTIAL_SHARE
    return Blinks(
        starts=np.array(starts) + rng.random(count) * STEP,
        closing=rng.normal(0.050, 0.006, count).clip(0.04, 0.065) / MIDDLE_SHARE,
        shut=rng.uniform(0.0, 0.02, count),
        opening=rng.uniform(0.083, 0.150, count) / MIDDLE_SHARE,
        depths=np.where(is_partial, rng.uniform(0.40, 0.80, count), rng.uniform(0.92, 1.0, count)),
        side_ratio=rng.normal(1.0, 0.02, count).clip(0.93, 1.07),
    )


def lid_curves(times: Array, blinks: Blinks) -> NDArray[np.float64]:
    """Return how far blinks bring down the left and right lid, (2, T), 0...1."""
    if not len(blinks.starts):
        return np.zeros((2, len(times)))
    elapsed = times[:, None] - blinks.starts  # (T, N)
    down = minimum_jerk(elapsed / blinks.closing)
    opened = np.clip((elapsed - blinks.closing - blinks.shut) / blinks.opening, 0.0, 1.0)
    up = minimum_jerk(opened**EARLY_OPENING)
    left = ((down - up) * blinks.depths).max(axis=1)
    right = ((down - up) * np.minimum(blinks.depths * blinks.side_ratio, 1.0)).max(axis=1)
    return np.stack([left, right])
