"""Eyeballs: spheres with a painted iris, turned by the gaze shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from training.head.lids import Eye
from training.head.part import Joint, Part, grid_triangles

SECTORS = 32
IRIS_DEPTH = 0.56
"""Share of the iris' brightness at the pupil and at the rim."""
LIMBUS = np.array([30, 22, 20])
PUPIL = np.array([8, 7, 8])
SCLERA = np.array([240, 236, 231])
SCLERA_EDGE = np.array([222, 196, 186])


def rings(iris: NDArray[np.float64]) -> tuple[tuple[float, NDArray], ...]:
    """Return angle from the optic axis in degrees and colour of every ring.

    The iris spans 52 degrees, 13 mm on the default head's 15 mm eyeball: a little more than life so that gaze reads at
    small size; close pairs of rings make crisp edges.
    """
    deep = IRIS_DEPTH * iris
    return (
        (0.0, PUPIL),
        (10.2, PUPIL),
        (10.8, deep),
        (14.0, iris),
        (20.0, iris),
        (23.6, deep),
        (24.4, LIMBUS),
        (25.8, LIMBUS),
        (26.8, SCLERA),
        (34.0, SCLERA),
        (46.0, SCLERA),
        (58.0, SCLERA_EDGE),
        (75.0, SCLERA_EDGE),
        (112.0, SCLERA_EDGE),
    )


CATCHLIGHT_SECTORS = 12
CATCHLIGHT_RADIUS = 0.075
CATCHLIGHT_RISE = 0.0002
"""Angular radius (radians) and height over the eyeball (metres; lids keep three times that)."""

GAZE_DEGREES = {"Down": 24.0, "Up": 19.0, "In": 30.0, "Out": 30.0}
"""Turn of the eyeball at eyeLook* = 1; about the range of ARKit's gaze shapes."""


def sphere_fit(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return centre (3,) and radius of the least-squares sphere through points (K, 3)."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def eyeball(eye: Eye, iris: NDArray[np.float64]) -> Part:
    """Return a front-facing spherical cap in rings round the optic axis (+z); `iris` (3,) is its colour."""
    painted = rings(iris)
    angles = np.radians([degrees for degrees, _ in painted])
    around = 2 * np.pi * np.arange(SECTORS) / SECTORS
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(SECTORS)], axis=1)  # counter-clockwise from the front
    directions = np.sin(angles)[:, None, None] * ring + np.cos(angles)[:, None, None] * np.array([0.0, 0.0, 1.0])
    color = np.repeat(np.stack([paint for _, paint in painted])[:, None], SECTORS, axis=1).astype(np.float64)
    # Light fibres: every second sector of the iris is a shade lighter; the lower half catches more light.
    fibre = 1 + 0.16 * (np.arange(SECTORS) % 2 - 0.5) - 0.28 * np.sin(around)
    color[2:6] *= fibre[None, :, None]
    directions = directions.reshape(-1, 3)
    # Shade of the lids: baked light would turn with the gaze and leave black patches, so a mild one is painted.
    side = np.clip((np.abs(directions[:, 0]) - 0.45) / 0.5, 0, 1)
    top = np.clip((directions[:, 1] - 0.05) / 0.5, 0, 1)
    count = len(directions)
    return Part(
        vertices=eye.centre + eye.radius * directions,
        triangles=grid_triangles(len(painted), SECTORS, closed=True)[:, [0, 2, 1]],
        color=color.reshape(-1, 3),
        gloss=np.ones(count),
        joints={f"eye_{eye.side.lower()}": np.ones(count)},
        occlusion=0.95 - 0.3 * side - 0.35 * top,
    )


def catchlight(eye: Eye) -> Part:
    """Return a small white disc just over the eyeball: the reflection of the lamp that makes an eye look alive.

    It does not turn with the gaze, as a reflection does not; closed lids cover it.
    """
    direction = np.array([-0.17, 0.20, 1.0])
    direction /= np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], direction)
    right /= np.linalg.norm(right)
    around = 2 * np.pi * np.arange(CATCHLIGHT_SECTORS) / CATCHLIGHT_SECTORS
    rim = np.cos(around)[:, None] * right + np.sin(around)[:, None] * np.cross(direction, right)
    directions = np.concatenate([direction[None], direction + CATCHLIGHT_RADIUS * rim])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    corner = 1 + np.arange(CATCHLIGHT_SECTORS)
    fan = np.stack([np.zeros_like(corner), corner, np.roll(corner, -1)], axis=1)
    count = len(directions)
    return Part(
        vertices=eye.centre + (eye.radius + CATCHLIGHT_RISE) * directions,
        triangles=fan,
        color=np.full((count, 3), 255.0),
        gloss=np.zeros(count),
        occlusion=np.ones(count),
    )


def gaze_joint(eye: Eye) -> Joint:
    """Return the joint that turns one eyeball."""
    drive = np.zeros((3, layout.D))
    outward = 1.0 if eye.side == "Left" else -1.0  # a positive turn about y looks to the character's left
    drive[0, layout.INDEX[f"eyeLookDown{eye.side}"]] = np.radians(GAZE_DEGREES["Down"])
    drive[0, layout.INDEX[f"eyeLookUp{eye.side}"]] = -np.radians(GAZE_DEGREES["Up"])
    drive[1, layout.INDEX[f"eyeLookOut{eye.side}"]] = outward * np.radians(GAZE_DEGREES["Out"])
    drive[1, layout.INDEX[f"eyeLookIn{eye.side}"]] = -outward * np.radians(GAZE_DEGREES["In"])
    return Joint(f"eye_{eye.side.lower()}", eye.centre, drive)
