"""Eyelids that slide on the eyeball and close exactly.

MakeHuman's blink moves lid vertices along straight lines, so a half closed lid would cut into the eyeball, and it
overshoots on a head with larger eyes. Here the upper lid is a joint that turns about the eyeball's centre:

    margins of the opening (measured in a front view) ──► how far the blink must go at every x
    closed position = rest + k(x) · blink unit, kept outside the eyeball
    joint weight = share of the turn that a vertex makes; the rest is a small linear shape (`shapes.undo_joint`)

The same joint serves eyeWide, eyeSquint, eyeLookUp and eyeLookDown, so that they add up with a blink as angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cteg import layout
from cteg.face.render import rasterise
from training.head.part import Joint, Part
from training.head.shapes import undo_joint

# Dimensions: V skin vertices, X columns of the measured opening.

VIEW_HALF = 0.026
VIEW_PIXELS = 1040
"""The opening is measured in a front view of 52 mm at 50 micrometres a pixel."""

CLEARANCE = 0.0006
"""Metres that lids keep from the eyeball."""

CLOSED_LIFT = 0.0024
"""Metres more that the closed upper lid keeps, so that it lies over a lower lid raised by a squint."""

OVERLAP = 0.0013
"""Metres by which the closed upper lid covers the edge of the lower one: a hairline gap would show white."""

MEET_MIDDLE, MEET_CORNER, CORNER = 0.12, 0.5, 0.007
"""Where closed lids meet, as shares of the opening over the lower margin, and how many metres a corner reaches."""

LOWER_REACH = 0.005
"""Metres below the margin over which the lower lid rises along."""

FOLLOW = {"eyeLookDown": 0.8, "eyeLookUp": 1.6, "eyeSquint": 1.0, "eyeWide": 1.2}
"""Strength of the lid part of MakeHuman's units on this joint; looking down with the full unit hides the pupil."""


@dataclass(frozen=True)
class Opening:
    """The visible part of an eyeball.

    Attributes:
        x: (X,) metres from the eyeball's centre, ascending, from corner to corner.
        upper: (X,) height of the upper margin over the centre, metres.
        lower: (X,) height of the lower margin.
    """

    x: NDArray[np.float64]
    upper: NDArray[np.float64]
    lower: NDArray[np.float64]


@dataclass(frozen=True)
class Eye:
    """An eyeball: side Left or Right (the character's), centre (3,) and radius in metres."""

    side: str
    centre: NDArray[np.float64]
    radius: float


def measure_opening(skin: Part, eye: Eye, ball: Part) -> Opening:
    """Measure the margins of the lids in a front view."""
    vertices = np.concatenate([skin.vertices, ball.vertices]) - eye.centre
    triangles = np.concatenate([skin.triangles, ball.triangles + len(skin.vertices)])
    scale = VIEW_PIXELS / 2 / VIEW_HALF
    screen = np.stack(
        [VIEW_PIXELS / 2 + vertices[:, 0] * scale, VIEW_PIXELS / 2 - vertices[:, 1] * scale, -vertices[:, 2]], axis=1
    )
    hit, _ = rasterise(screen, triangles, VIEW_PIXELS)
    parts, count = ndimage.label(hit >= len(skin.triangles))
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel(), minlength=count + 1)[1:]))
    columns = np.flatnonzero(largest.any(axis=0))
    top = largest[:, columns].argmax(axis=0)
    bottom = VIEW_PIXELS - largest[::-1, columns].argmax(axis=0)
    x = (columns + 0.5 - VIEW_PIXELS / 2) / scale
    heights = [(VIEW_PIXELS / 2 - ndimage.gaussian_filter1d(rows.astype(float), 6)) / scale for rows in (top, bottom)]
    return Opening(x, *heights)


def lid_joint(skin: Part, eye: Eye, opening: Opening) -> Joint:
    """Rebuild the eye shapes of one side on a lid joint; changes `skin` and returns the joint."""
    lid = _LidFrame(skin.vertices, eye, opening)
    keep_outside(skin, eye)
    blink = f"eyeBlink{eye.side}"
    closed_delta = lid.fit_blink(skin.deltas[blink])
    closed = push_out(skin.vertices + closed_delta, skin.vertices, eye, CLEARANCE + CLOSED_LIFT * lid.is_upper)
    turn = lid.turn(closed) * lid.is_upper
    full = float(np.max(turn))
    own_side = skin.vertices[:, 0] * eye.centre[0] > 0  # near the axis noise makes any angle, also across the nose
    weights = np.clip(turn / full, 0, 1) * own_side
    drive = np.zeros((3, layout.D))
    targets = {blink: (closed, full)}
    for unit, strength in FOLLOW.items():
        moved = skin.vertices + strength * skin.deltas[unit + eye.side]
        target = push_out(moved, skin.vertices, eye)
        angle = float(np.average(lid.turn(target), weights=lid.middle_of_margin))
        targets[unit + eye.side] = (target, angle)
    for shape, (target, angle) in targets.items():
        drive[0, layout.INDEX[shape]] = angle
        vector = np.array([angle, 0.0, 0.0])
        skin.deltas[shape] = undo_joint(target, skin.vertices, eye.centre, vector, weights)
    name = f"lid_{eye.side.lower()}"
    skin.joints[name] = weights
    return Joint(name, eye.centre, drive)


def keep_outside(skin: Part, eye: Eye) -> None:
    """Keep the lids at rest and in every single shape outside the eyeball."""
    rest = push_out(skin.vertices, skin.vertices, eye)
    for name, delta in skin.deltas.items():
        if np.abs(delta[_lid_zone(skin.vertices, eye)]).max() > 1e-4:
            skin.deltas[name] = push_out(skin.vertices + delta, skin.vertices, eye) - rest
    skin.vertices = rest


def push_out(
    points: NDArray[np.float64], rest: NDArray[np.float64], eye: Eye, clearance: float | NDArray = CLEARANCE
) -> NDArray[np.float64]:
    """Move lid points (V, 3) nearer to the eyeball than `clearance` (metres) out along its radius."""
    arm = points - eye.centre
    distance = np.linalg.norm(arm, axis=1)
    least = eye.radius + clearance
    near = _lid_zone(rest, eye) & (distance < least) & (arm[:, 2] > 0)
    scale = np.where(near, least / np.maximum(distance, 1e-9), 1.0)
    return eye.centre + arm * scale[:, None]


def _lid_zone(rest: NDArray[np.float64], eye: Eye) -> NDArray[np.bool_]:
    """Return which vertices (V,) belong to the lids: in front of the eyeball and near its surface."""
    arm = rest - eye.centre
    distance = np.linalg.norm(arm, axis=1)
    return (distance > 0.8 * eye.radius) & (distance < 1.6 * eye.radius) & (arm[:, 2] > 0.1 * eye.radius)


class _LidFrame:
    """Lid vertices in the angles of one eyeball.

    Attributes:
        is_upper: (V,) 1 for vertices over the middle of the opening, 0 below it.
        middle_of_margin: (V,) weights of the vertices on the upper margin near the middle of the eye.
    """

    def __init__(self, rest: NDArray[np.float64], eye: Eye, opening: Opening) -> None:
        self._rest, self._eye, self._opening = rest, eye, opening
        arm = rest - eye.centre
        self._x = np.clip(arm[:, 0], opening.x[0], opening.x[-1])
        self._upper = np.interp(self._x, opening.x, opening.upper)
        self._lower = np.interp(self._x, opening.x, opening.lower)
        zone = _lid_zone(rest, eye)
        self.is_upper = ((arm[:, 1] > (self._upper + self._lower) / 2) & (arm[:, 2] > 0)).astype(float)
        self._beyond = beyond = np.abs(arm[:, 0] - self._x)
        on_upper = np.exp(-(((arm[:, 1] - self._upper) / 0.0008) ** 2) - (beyond / 0.001) ** 2) * zone * self.is_upper
        on_lower = (
            np.exp(-(((arm[:, 1] - self._lower) / 0.0008) ** 2) - (beyond / 0.001) ** 2) * zone * (1 - self.is_upper)
        )
        self._on_upper, self._on_lower = on_upper, on_lower
        middle = (opening.x[0] + opening.x[-1]) / 2
        self.middle_of_margin = on_upper * np.exp(-(((arm[:, 0] - middle) / 0.004) ** 2))

    def angle(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the elevation (V,) of points over the eyeball's horizon, radians."""
        arm = points - self._eye.centre
        return np.arctan2(arm[:, 1], np.maximum(arm[:, 2], 1e-4))

    def turn(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far (V,) points have turned downwards from rest, radians (positive closes)."""
        return self.angle(self._rest) - self.angle(points)

    def fit_blink(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a blink (V, 3) whose lids just meet: the unit, scaled above and with a risen lower lid.

        They meet low in the middle of the eye and half-way at its corners, where a long way down would fold the lid.
        """
        opening = self._opening
        corner = 1 - np.clip(np.minimum(opening.x - opening.x[0], opening.x[-1] - opening.x) / CORNER, 0, 1)
        gap = opening.upper - opening.lower
        rise = (MEET_MIDDLE + (MEET_CORNER - MEET_MIDDLE) * corner**1.5) * gap
        have = self._along(self._on_upper, -unit[:, 1])
        factor = (gap - rise + OVERLAP) / np.maximum(have, 0.0012)
        factor = ndimage.gaussian_filter1d(np.clip(factor, 0.2, 1.6), 40)
        extra = ndimage.gaussian_filter1d(rise - self._along(self._on_lower, unit[:, 1]), 40)
        blink = unit * np.where(self.is_upper > 0, np.interp(self._x, opening.x, factor), 1.0)[:, None]
        below = (self._lower - (self._rest - self._eye.centre)[:, 1]) / LOWER_REACH
        lower = (
            (1 - self.is_upper) * _lid_zone(self._rest, self._eye) * np.exp(-(below**2) - (self._beyond / 0.002) ** 2)
        )
        blink[:, 1] += lower * np.interp(self._x, opening.x, extra)
        return blink

    def _along(self, weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a smooth curve (X,) through `values` (V,) of the vertices with `weights` (V,)."""
        used = weights > 1e-3
        x = (self._rest - self._eye.centre)[used, 0]
        kernel = weights[used] * np.exp(-(((self._opening.x[:, None] - x) / 0.0016) ** 2)) + 1e-12
        return (kernel * values[used]).sum(axis=1) / kernel.sum(axis=1)
