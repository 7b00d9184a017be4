"""Eyes: a white that stays, an iris that the gaze shapes turn over it, a reflection and the pink inner corner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from training.head.lids import Eye, Opening
from training.head.part import Joint, Part, grid_triangles

WHITE_SECTORS = 24
WHITE_RINGS = np.array([0.0, 14.0, 28.0, 40.0, 50.0, 60.0, 72.0, 88.0, 112.0])
"""Degrees from the front of the rings of the white, whose paint follows the lids' shadow."""

SCLERA = np.array([243, 239, 234])
SCLERA_EDGE = np.array([226, 192, 180])
SHADOW_REACH, SHADOW_DEPTH = 0.0052, 0.62
"""Metres below the upper lid over which its shadow fades, and how much of the light it takes at the lid."""

SOCKET_RINGS, SOCKET_SECTORS = np.array([62.0, 82.0, 104.0, 130.0, 160.0]), 16
SOCKET_SIZE = 1.09
"""The shell behind the lids: degrees of its rings from the front, sectors, radius over the eyeball's."""

SOCKET_SHADE = np.array([0.62, 0.45, 0.42])
"""Factor on the colour of the skin."""

SECTORS = 32
IRIS_DEPTH = 0.5
"""Share of the iris' brightness at the pupil and at the rim."""

IRIS_RISE = 0.00012
"""Metres of the iris over the white; lids keep five times that from the eyeball."""

LIMBUS = np.array([30, 22, 20])
PUPIL = np.array([8, 7, 8])
FIBRES = 0.2
"""Difference of brightness between the fibres of the iris."""

CATCHLIGHT_SECTORS = 12
CATCHLIGHTS = ((-0.17, 0.2, 0.078), (0.16, -0.17, 0.03))
"""Right, up (tangents of the direction) and angular radius of the lamp's reflection and of the fill light's."""

CATCHLIGHT_RISE = 0.0003
"""Height over the eyeball in metres (lids keep twice that)."""

DUCT_COLOR = np.array([214, 146, 132])
DUCT_RADII, DUCT_DEPTH = (0.0026, 0.0011), 0.0004
DUCT_SECTORS = 10
"""The pink corner: half width and half height in metres, metres by which its middle stands before its rim."""

GAZE_DEGREES = {"Down": 24.0, "Up": 19.0, "In": 30.0, "Out": 30.0}
"""Turn of the iris at eyeLook* = 1; about the range of ARKit's gaze shapes."""


def rings(iris: NDArray[np.float64]) -> tuple[tuple[float, NDArray], ...]:
    """Return angle from the optic axis in degrees and colour of every ring of the iris.

    The iris spans 52 degrees, 13 mm on the default head's 15 mm eyeball: a little more than life so that gaze reads at
    small size; close pairs of rings make crisp edges.
    """
    deep = IRIS_DEPTH * iris
    return (
        (0.0, PUPIL),
        (10.0, PUPIL),
        (10.7, deep),
        (14.0, iris),
        (19.5, iris),
        (23.0, deep),
        (24.2, LIMBUS),
        (25.6, LIMBUS),
        (26.8, SCLERA * 0.93),
    )


def sphere_fit(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return centre (3,) and radius of the least-squares sphere through points (K, 3)."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def white(eye: Eye) -> Part:
    """Return the white of the eye, a front-facing cap of a sphere that does not turn: it looks alike from all sides."""
    directions = _cap(WHITE_RINGS, WHITE_SECTORS)
    edge = np.clip((np.abs(directions[:, :1]) - 0.5) / 0.4, 0, 1)
    count = len(directions)
    return Part(
        vertices=eye.centre + eye.radius * directions,
        triangles=grid_triangles(len(WHITE_RINGS), WHITE_SECTORS, closed=True)[:, [0, 2, 1]],
        color=SCLERA * (1 - edge) + SCLERA_EDGE * edge,
        gloss=np.ones(count),
        occlusion=np.ones(count),
    )


def socket(eye: Eye, skin: NDArray[np.float64]) -> Part:
    """Return a dark shell behind the lids that faces the eyeball: one sees it past its edge in a corner of the eye."""
    directions = _cap(SOCKET_RINGS, SOCKET_SECTORS)
    count = len(directions)
    return Part(
        vertices=eye.centre + SOCKET_SIZE * eye.radius * directions,
        triangles=grid_triangles(len(SOCKET_RINGS), SOCKET_SECTORS, closed=True),
        color=np.repeat(SOCKET_SHADE * skin[None], count, axis=0),
        gloss=np.full(count, 0.1),
        occlusion=np.full(count, 0.35),
    )


def shade_white(ball: Part, eye: Eye, opening: Opening) -> None:
    """Paint the shadow of the lids at rest onto the white: baked light would see only the dark behind closed lids."""
    arm = ball.vertices - eye.centre
    under = np.interp(arm[:, 0], opening.x, opening.upper) - arm[:, 1]
    side = np.minimum(arm[:, 0] - opening.x[0], opening.x[-1] - arm[:, 0])
    top = SHADOW_DEPTH * np.clip(1 - under / SHADOW_REACH, 0, 1) ** 1.5
    ball.occlusion = np.clip(0.97 - top - 0.4 * np.clip(1 - side / 0.005, 0, 1), 0.15, 1)


def iris(eye: Eye, tint: NDArray[np.float64]) -> Part:
    """Return iris and pupil, a cap just over the white that the gaze turns; `tint` (3,) is its colour."""
    painted = rings(tint)
    directions = _cap(np.array([degrees for degrees, _ in painted]), SECTORS)
    around = 2 * np.pi * np.arange(SECTORS) / SECTORS
    color = np.repeat(np.stack([paint for _, paint in painted])[:, None], SECTORS, axis=1).astype(np.float64)
    # Light fibres: every second sector is a shade lighter; the lower half catches more light.
    color[2:6] *= (1 + FIBRES * (np.arange(SECTORS) % 2 - 0.5) - 0.3 * np.sin(around))[None, :, None]
    count = len(directions)
    return Part(
        vertices=eye.centre + (eye.radius + IRIS_RISE) * directions,
        triangles=grid_triangles(len(painted), SECTORS, closed=True)[:, [0, 2, 1]],
        color=color.reshape(-1, 3),
        gloss=np.ones(count),
        joints={f"eye_{eye.side.lower()}": np.ones(count)},
        occlusion=0.97 - 0.5 * np.clip((directions[:, 1] - 0.1) / 0.35, 0, 1),
    )


def catchlights(eye: Eye) -> Part:
    """Return small white discs just over the eyeball: the reflections of the lamps that make an eye look alive.

    They do not turn with the gaze, as reflections do not; closed lids cover them.
    """
    vertices, triangles = [], []
    for right, up, radius in CATCHLIGHTS:
        disc = _disc(np.array([right, up, 1.0]), (radius, radius), CATCHLIGHT_SECTORS)
        triangles.append(_fan(CATCHLIGHT_SECTORS) + sum(len(part) for part in vertices))
        vertices.append(eye.centre + (eye.radius + CATCHLIGHT_RISE) * disc)
    count = sum(len(part) for part in vertices)
    return Part(
        vertices=np.concatenate(vertices),
        triangles=np.concatenate(triangles),
        color=np.full((count, 3), 255.0),
        gloss=np.zeros(count),
        occlusion=np.ones(count),
    )


def tear_duct(eye: Eye, opening: Opening) -> Part:
    """Return the pink flesh in the inner corner of the eye, a low mound on the eyeball."""
    inner = 0 if eye.side == "Left" else -1
    towards_eye = 1.0 if eye.side == "Left" else -1.0
    x = opening.x[inner] + towards_eye * DUCT_RADII[0] * 0.1
    y = 0.35 * opening.upper[inner] + 0.65 * opening.lower[inner]
    direction = np.array([x, y, np.sqrt(max(eye.radius**2 - x**2 - y**2, 0.0))])
    disc = _disc(direction, (DUCT_RADII[0] / eye.radius, DUCT_RADII[1] / eye.radius), DUCT_SECTORS)
    height = np.full(len(disc), -0.0001)
    height[0] = DUCT_DEPTH
    count = len(disc)
    return Part(
        vertices=eye.centre + disc * (eye.radius + height)[:, None],
        triangles=_fan(DUCT_SECTORS),
        color=np.repeat(DUCT_COLOR[None].astype(np.float64), count, axis=0),
        gloss=np.full(count, 0.75),
        occlusion=np.full(count, 0.7),
    )


def gaze_joint(eye: Eye) -> Joint:
    """Return the joint that turns one iris."""
    drive = np.zeros((3, layout.D))
    outward = 1.0 if eye.side == "Left" else -1.0  # a positive turn about y looks to the character's left
    drive[0, layout.INDEX[f"eyeLookDown{eye.side}"]] = np.radians(GAZE_DEGREES["Down"])
    drive[0, layout.INDEX[f"eyeLookUp{eye.side}"]] = -np.radians(GAZE_DEGREES["Up"])
    drive[1, layout.INDEX[f"eyeLookOut{eye.side}"]] = outward * np.radians(GAZE_DEGREES["Out"])
    drive[1, layout.INDEX[f"eyeLookIn{eye.side}"]] = -outward * np.radians(GAZE_DEGREES["In"])
    return Joint(f"eye_{eye.side.lower()}", eye.centre, drive)


def _cap(degrees: NDArray[np.float64], sectors: int) -> NDArray[np.float64]:
    """Return unit directions (rings * sectors, 3) in rings round +z, counter-clockwise from the front."""
    angles, around = np.radians(degrees), 2 * np.pi * np.arange(sectors) / sectors
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(sectors)], axis=1)
    directions = np.sin(angles)[:, None, None] * ring + np.cos(angles)[:, None, None] * np.array([0.0, 0.0, 1.0])
    return directions.reshape(-1, 3)


def _disc(direction: NDArray[np.float64], radii: tuple[float, float], sectors: int) -> NDArray[np.float64]:
    """Return unit directions: the middle of an ellipse on the sphere and its rim; radii across and up in radians."""
    direction = direction / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0], direction)
    right /= np.linalg.norm(right)
    around = 2 * np.pi * np.arange(sectors) / sectors
    offset = radii[0] * np.cos(around)[:, None] * right
    offset = offset + radii[1] * np.sin(around)[:, None] * np.cross(direction, right)
    directions = np.concatenate([direction[None], direction + offset])
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _fan(sectors: int) -> NDArray[np.intp]:
    """Return the triangles of a disc: middle first, then the rim."""
    corner = 1 + np.arange(sectors)
    return np.stack([np.zeros_like(corner), corner, np.roll(corner, -1)], axis=1)
