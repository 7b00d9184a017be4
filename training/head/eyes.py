"""Eyeballs: spheres with a painted iris, turned by the gaze shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from training.head.part import Joint, Part, grid_triangles

SECTORS = 32
IRIS = np.array([104, 72, 44])
IRIS_DEEP = np.array([58, 38, 26])
LIMBUS = np.array([30, 22, 20])
PUPIL = np.array([8, 7, 8])
SCLERA = np.array([240, 236, 231])
SCLERA_EDGE = np.array([222, 196, 186])

RINGS: tuple[tuple[float, NDArray], ...] = (
    (0.0, PUPIL),
    (10.2, PUPIL),
    (10.8, IRIS_DEEP),
    (14.0, IRIS),
    (20.0, IRIS),
    (23.6, IRIS_DEEP),
    (24.4, LIMBUS),
    (25.8, LIMBUS),
    (26.8, SCLERA),
    (34.0, SCLERA),
    (46.0, SCLERA),
    (58.0, SCLERA_EDGE),
    (75.0, SCLERA_EDGE),
    (112.0, SCLERA_EDGE),
)
"""Angle from the optic axis in degrees and colour. The iris spans 52 degrees, 13 mm on this head's 15 mm eyeball: a
little more than life so that gaze reads at small size; close pairs of rings make crisp edges."""

GAZE_DEGREES = {"Down": 26.0, "Up": 22.0, "In": 30.0, "Out": 30.0}
"""Turn of the eyeball at eyeLook* = 1; about the range of ARKit's gaze shapes."""


def sphere_fit(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return centre (3,) and radius of the least-squares sphere through points (K, 3)."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def eyeball(centre: NDArray[np.float64], radius: float, joint: str) -> Part:
    """Return a front-facing spherical cap in rings round the optic axis (+z)."""
    angles = np.radians([degrees for degrees, _ in RINGS])
    around = 2 * np.pi * np.arange(SECTORS) / SECTORS
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(SECTORS)], axis=1)  # counter-clockwise from the front
    directions = np.sin(angles)[:, None, None] * ring + np.cos(angles)[:, None, None] * np.array([0.0, 0.0, 1.0])
    color = np.repeat(np.stack([paint for _, paint in RINGS])[:, None], SECTORS, axis=1).astype(np.float64)
    # Light fibres: every second sector of the iris is a shade lighter; the lower half catches more light.
    fibre = 1 + 0.16 * (np.arange(SECTORS) % 2 - 0.5) - 0.28 * np.sin(around)
    color[2:6] *= fibre[None, :, None]
    vertices = centre + radius * directions.reshape(-1, 3)
    triangles = grid_triangles(len(RINGS), SECTORS, closed=True)[:, [0, 2, 1]]
    count = len(vertices)
    return Part(
        vertices=vertices,
        triangles=triangles,
        color=color.reshape(-1, 3),
        gloss=np.ones(count),
        joints={joint: np.ones(count)},
        occlusion=np.full(count, 0.9),
    )


def gaze_joint(side: str, centre: NDArray[np.float64]) -> Joint:
    """Return the joint that turns one eyeball; `side` is Left or Right (the character's)."""
    drive = np.zeros((3, layout.D))
    outward = 1.0 if side == "Left" else -1.0  # a positive turn about y looks to the character's left
    drive[0, layout.INDEX[f"eyeLookDown{side}"]] = np.radians(GAZE_DEGREES["Down"])
    drive[0, layout.INDEX[f"eyeLookUp{side}"]] = -np.radians(GAZE_DEGREES["Up"])
    drive[1, layout.INDEX[f"eyeLookOut{side}"]] = outward * np.radians(GAZE_DEGREES["Out"])
    drive[1, layout.INDEX[f"eyeLookIn{side}"]] = -outward * np.radians(GAZE_DEGREES["In"])
    return Joint(f"eye_{side.lower()}", centre, drive)
