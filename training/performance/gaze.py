"""Gaze: fixations joined by saccades, with habits for feelings that avert the eyes.

A gaze is a pair (yaw, pitch) in shares of the full range of the ARKit look shapes, positive to the character's left and
upwards; (0, 0) looks at the viewer, since the head does not turn. Habits, sizes and times are our choice; gaze averted
in shame and in thought is a finding of the FACS literature.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cteg import layout
from training.performance.dynamics import Array, step_curves

SACCADE_SECONDS = (0.08, 0.13)
"""Faster ones exist (a saccade of 10 degrees takes 50 ms), but at 25 frames a second they are one jump."""

LID_FOLLOWS_DOWN = 0.12
"""Lid closing per look down; small, because the look-down shapes of a head lower the lid themselves."""


@dataclass(frozen=True)
class Habit:
    """Where the eyes rest: centre and spread of the fixations, their median length, how often they return.

    Attributes:
        yaw: Mean distance to one side.
        pitch: Mean pitch.
        spread: Standard deviation of both.
        seconds: Median length of a fixation.
        contact: Probability that a fixation is on the viewer instead.
        changes_side: Whether the side is drawn anew for each fixation.
    """

    yaw: float
    pitch: float
    spread: float
    seconds: float
    contact: float
    changes_side: bool = False


HABITS: dict[str, Habit] = {
    "direct": Habit(0.02, 0.0, 0.035, 0.9, 0.75, changes_side=True),
    "soft": Habit(0.08, -0.06, 0.07, 0.9, 0.5, changes_side=True),
    "down": Habit(0.12, -0.30, 0.06, 1.1, 0.25),
    "aside": Habit(0.45, -0.05, 0.08, 0.9, 0.35),
    "up": Habit(0.25, 0.38, 0.08, 0.9, 0.35),
    "scan": Habit(0.30, 0.0, 0.10, 0.38, 0.3, changes_side=True),
    "away": Habit(0.50, -0.15, 0.08, 1.2, 0.25),
}
GLANCE_SHARE = 0.12
"""Share of fixations that are glances aside whatever the habit: speakers look away to plan."""


def draw_gaze(habits: list[tuple[float, float, str]], rng: Generator) -> tuple[Array, Array, Array]:
    """Draw the fixations of a performance.

    Args:
        habits: Start (seconds), end (seconds) and habit, one after the other; before the first the eyes rest on the
            viewer.
        rng: Source of randomness.

    Returns:
        Saccade starts (K, 1), durations (K, 1) in seconds and gaze levels (K + 1, 2), the first being (0, 0).
    """
    starts: list[float] = []
    targets: list[tuple[float, float]] = [(0.0, 0.0)]
    side = 1.0 if rng.random() < 0.5 else -1.0
    for begin, end, name in habits:
        habit = HABITS[name]
        now = begin
        is_first = True
        while now < end - 0.1:
            if habit.changes_side and rng.random() < 0.5:
                side = -side
            starts.append(now)
            targets.append(_fixation(habit, side, is_first, rng))
            now += max(0.22, habit.seconds * float(np.exp(0.45 * rng.standard_normal())))
            is_first = False
    count = len(starts)
    durations = rng.uniform(*SACCADE_SECONDS, (count, 1))
    return np.array(starts).reshape(count, 1), durations, np.array(targets)


def _fixation(habit: Habit, side: float, is_first: bool, rng: Generator) -> tuple[float, float]:
    """Draw one fixation; the first of an averted habit is averted, so that it can be seen."""
    yaw_noise, pitch_noise = rng.standard_normal(2)
    chance = rng.random()
    if chance < GLANCE_SHARE and not is_first:
        return side * 0.28 + 0.08 * yaw_noise, 0.12 * pitch_noise - 0.05
    is_contact = chance < GLANCE_SHARE + habit.contact and not is_first
    if is_contact or habit is HABITS["direct"]:
        return 0.03 * yaw_noise, 0.03 * pitch_noise
    return side * habit.yaw + habit.spread * yaw_noise, habit.pitch + habit.spread * pitch_noise


def look_shapes(times: Array, starts: Array, durations: Array, targets: Array) -> NDArray[np.float64]:
    """Return what the gaze adds to the coefficients, (T, 53): look shapes of both eyes and lids that follow down."""
    coefficients = np.zeros((len(times), layout.D))
    if not len(starts):
        return coefficients
    yaw, pitch = np.clip(step_curves(times, targets, starts, durations), -0.85, 0.85).T  # (T,), (T,)
    left, right, up, down = np.maximum([yaw, -yaw, pitch, -pitch], 0.0)
    for name, curve in (("OutLeft", left), ("InRight", left), ("InLeft", right), ("OutRight", right)):
        coefficients[:, layout.INDEX["eyeLook" + name]] = curve
    for side in ("Left", "Right"):
        coefficients[:, layout.INDEX["eyeLookUp" + side]] = up
        coefficients[:, layout.INDEX["eyeLookDown" + side]] = down
        coefficients[:, layout.INDEX["eyeBlink" + side]] = LID_FOLLOWS_DOWN * down
    return coefficients
