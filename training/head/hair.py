"""Hair as locks: tapered, bent ribbons over a cap, combed back from the forehead, short or hanging down at the sides.

Places on the scalp are given by azimuth (degrees, 0 = front, + to the character's left) and share of the way from the
whorl to the hairline. They are found on the reference face and carried to another identity by the triangles there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from training.head.paint import mix
from training.head.part import Part, grid_triangles

HAIRLINE = np.array(
    [
        [0, 61],
        [12, 62],
        [24, 62],
        [34, 59],
        [42, 52],
        [49, 42],
        [55, 30],
        [60, 14],
        [64, -4],
        [67, -12],
        [71, -10],
        [75, 6],
        [80, 12],
        [92, 13],
        [99, 6],
        [105, -12],
        [112, -28],
        [124, -42],
        [150, -50],
        [180, -52],
    ],
    dtype=np.float64,
)
"""Hairline of one half: azimuth in degrees and height over the eyes in millimetres on the reference face."""

CROWN = np.array([0.0, 0.93, -0.37])
"""Direction of the whorl from the middle of the skull: up and back."""

SCALP_COLUMNS, SCALP_SHARES = 96, np.linspace(0.02, 1.06, 18)
"""The scalp is sampled on this grid of azimuths and shares."""

CAP_COLUMNS, CAP_SHARES = 36, np.array([0.04, 0.17, 0.3, 0.43, 0.55, 0.66, 0.76, 0.86, 0.94, 1.0])
CAP_RISE, CAP_TOP, CAP_EDGE = 4.2, 9.0, -1.2
"""Millimetres of the cap over the scalp at the sides and on top, and of its edge, which lies in the skin."""

EAR = 88.0
"""Azimuth of the ears in degrees."""

STUBBLE, BURIED = 0.3, 2.4
"""Share of the hair's colour on the skin at the hairline, and the cover from which on skin is left out: never seen."""

LOCK_ROWS = 5
LOCK_SEED = 5


@dataclass(frozen=True)
class Row:
    """One row of locks.

    Attributes:
        azimuth: First and last root, degrees; the row is mirrored if `both_sides`.
        count: How many locks.
        share: Share at the roots and at the tips.
        sweep: Degrees that tips lie behind their roots (beside them on the way to the character's right in front).
        lift: Millimetres over the scalp at root, middle and tip.
        width: Millimetres of a lock.
        both_sides: Whether the mirror image belongs to it.
        end: Millimetres over the eyes to which the second half of the locks hangs straight down, or None.
        over_ears: Millimetres that hanging locks stand farther off at the ears.
    """

    azimuth: tuple[float, float]
    count: int
    share: tuple[float, float]
    sweep: float
    lift: tuple[float, float, float]
    width: float
    both_sides: bool = False
    end: float | None = None
    over_ears: float = 0.0


ROWS: tuple[Row, ...] = (
    # The back, from the nape up, so that upper locks lie over lower ones.
    Row((100, 180), 9, (0.66, 1.0), 4, (3.5, 4.6, 0.5), 19, both_sides=True),
    Row((96, 180), 7, (0.36, 0.8), 6, (4.5, 6.5, 4.0), 24, both_sides=True),
    # The sides, combed back over the ears.
    Row((56, 68), 4, (0.86, 1.02), 9, (2.5, 3.5, 0.3), 11, both_sides=True),
    Row((62, 96), 5, (0.66, 0.99), 14, (3.6, 5.0, 1.5), 16, both_sides=True),
    Row((54, 88), 5, (0.4, 0.84), 16, (6.0, 7.5, 4.0), 21, both_sides=True),
    # The top, combed back and to the side.
    Row((-60, 75), 8, (0.34, 0.02), 22, (9.0, 10.5, 7.0), 21),
    Row((-54, 66), 9, (0.6, 0.22), 20, (9.0, 12.5, 9.0), 20),
    Row((-50, 58), 11, (0.82, 0.42), 20, (6.0, 13.5, 10.0), 18),
    Row((-52, 52), 15, (0.985, 0.62), 18, (-0.5, 12.5, 10.5), 15),
)


@dataclass(frozen=True)
class Cut:
    """How a haircut differs from the short one of `ROWS`; all cuts have the same locks.

    Attributes:
        lift: Factor on the lift of locks and cap.
        end: Millimetres over the eyes where locks of sides and back end that hang down from the hairline, or None.
        over_ears: Millimetres that hanging locks stand farther off, to clear the ears.
    """

    lift: float = 1.0
    end: float | None = None
    over_ears: float = 0.0

    def row(self, row: Row) -> Row:
        """Return a row of locks in this cut."""
        root, middle, tip = (self.lift * lift for lift in row.lift)
        if self.end is None or not row.both_sides:
            return replace(row, lift=(root, middle, tip))
        return replace(
            row,
            lift=(root, middle, 0.6 * middle),
            share=(row.share[0], 0.98),
            sweep=0.3 * row.sweep,
            width=1.25 * row.width,
            end=self.end,
            over_ears=self.over_ears,
        )


CUTS = {
    "short": Cut(),
    "cropped": Cut(lift=0.45),
    "full": Cut(lift=2.0),
    "bob": Cut(end=-52, over_ears=11),
    "long": Cut(lift=1.1, end=-88, over_ears=12),
}


def hair(
    skin: Part,
    place: NDArray[np.float64],
    skull: NDArray[np.bool_],
    tint: NDArray[np.float64],
    cut: Cut = CUTS["short"],
) -> Part:
    """Return the hair; the skin at its edge takes on some of its colour, what lies deep under it is taken away.

    Args:
        skin: The painted skin.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        skull: (F,) True for skin triangles that may carry hair (no ears, no inner surfaces).
        tint: (3,) colour in the shade.
        cut: The haircut.
    """
    scalp = _Scalp(skin, place, skin.triangles[skull])
    cover = scalp.cover(place)
    skin.color = mix(skin.color, tint, STUBBLE * cover)
    skin.triangles = skin.triangles[~(cover >= BURIED)[skin.triangles].all(axis=1)]
    light = tint + np.minimum(0.75 * tint, (255 - tint) / 2)
    pieces = [_cap(scalp, cut.lift)]
    generator = np.random.default_rng(LOCK_SEED)
    for row in (cut.row(row) for row in ROWS):
        for azimuth in np.linspace(*row.azimuth, row.count):
            for side in (-1.0, 1.0) if row.both_sides else (1.0,):
                pieces.append(_lock(scalp, row, azimuth, side, generator))
    starts = np.cumsum([0] + [len(points) for points, _, _ in pieces])
    vertices = np.concatenate([points for points, _, _ in pieces])
    triangles = np.concatenate([faces + start for (_, faces, _), start in zip(pieces, starts, strict=False)])
    glow = np.concatenate([glow for _, _, glow in pieces])[:, None]
    return Part(vertices, triangles, tint * (1 - glow) + light * glow, np.full(len(vertices), 0.16))


class _Scalp:
    """Points on the scalp by azimuth and share.

    Attributes:
        points: (shares, columns, 3) metres.
        outward: (shares, columns, 3) unit vectors off the scalp.
    """

    def __init__(self, skin: Part, place: NDArray[np.float64], triangles: NDArray[np.intp]) -> None:
        corners = place[triangles]
        dome = corners[corners[:, :, 1].min(axis=1) > 20.0]
        centre = np.array([0.0, corners[:, :, 1].max() / 2, (dome[:, :, 2].min() + dome[:, :, 2].max()) / 2])
        azimuth = np.arange(SCALP_COLUMNS) * 360.0 / SCALP_COLUMNS
        directions = _slerp(CROWN / np.linalg.norm(CROWN), _border(corners, centre, azimuth), SCALP_SHARES)
        flat = directions.reshape(-1, 3)
        binding, hit = _bind_rays(np.repeat(centre[None], len(flat), axis=0), flat, place, triangles)
        self._reference = cKDTree((binding @ place)[hit])
        self._share = np.repeat(SCALP_SHARES, SCALP_COLUMNS)[hit]
        shape = directions.shape
        self.points = _fill((binding @ skin.vertices).reshape(shape), hit.reshape(shape[:2]))
        middle = np.array([0.0, *(self.points.min(axis=(0, 1)) + self.points.max(axis=(0, 1)))[1:] / 2])
        arms = self.points - middle
        self.eye_height = float(skin.vertices[np.abs(place[:, 1]) < 2.0, 1].mean())
        self.outward = arms / np.linalg.norm(arms, axis=2, keepdims=True)

    def cover(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 at the hairline and 0 from a few millimetres before it on, up to 2.5 deep under the hair, (V,)."""
        distance, nearest = self._reference.query(place)
        return np.where(distance < 9, np.clip((1.05 - self._share[nearest]) / 0.07, 0, 2.5), 0.0)

    def at(self, azimuth: NDArray[np.float64], share: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
        """Return points and outward directions (n, 3) at azimuths in degrees and shares (n,)."""
        row = np.interp(share, SCALP_SHARES, np.arange(len(SCALP_SHARES)))
        place = np.stack([row, azimuth % 360 * SCALP_COLUMNS / 360])
        # The first column once more at the end closes the circle.
        closed = [np.concatenate([grid, grid[:, :1]], axis=1) for grid in (self.points, self.outward)]
        points, outward = (
            np.stack([map_coordinates(grid[..., axis], place, order=1, mode="nearest") for axis in range(3)], axis=1)
            for grid in closed
        )
        return points, outward / np.linalg.norm(outward, axis=1, keepdims=True)


def _cap(scalp: _Scalp, lift: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return vertices, triangles and light of the dark cap under the locks."""
    azimuth = np.arange(CAP_COLUMNS) * 360.0 / CAP_COLUMNS
    share, turn = (grid.ravel() for grid in np.meshgrid(CAP_SHARES, azimuth, indexing="ij"))
    points, outward = scalp.at(turn, share)
    edge = np.clip((1 - share) / 0.16, 0, 1)
    full = CAP_RISE + (CAP_TOP - CAP_RISE) * np.clip(1.15 - np.minimum(turn, 360 - turn) / 75, 0, 1) * (1 - share**4)
    full += 3.0 * np.clip(1 - share / 0.3, 0, 1)  # over the whorl
    full *= lift
    points = points + outward * ((CAP_EDGE + (full - CAP_EDGE) * edge * (2 - edge)) * 1e-3)[:, None]
    ring = np.arange(CAP_COLUMNS)
    fan = np.stack([np.full(CAP_COLUMNS, len(points)), ring, np.roll(ring, -1)], axis=1)
    triangles = np.concatenate([grid_triangles(len(CAP_SHARES), CAP_COLUMNS, closed=True)[:, [0, 2, 1]], fan])
    pole = points[:CAP_COLUMNS].mean(axis=0, keepdims=True)
    return np.concatenate([points, pole]), triangles, np.zeros(len(points) + 1)


def _lock(
    scalp: _Scalp, row: Row, azimuth: float, side: float, generator: np.random.Generator
) -> tuple[NDArray, NDArray, NDArray]:
    """Return vertices (left edge, ridge, right edge of every step), triangles and light of one lock."""
    step = np.linspace(0, 1, LOCK_ROWS)
    jitter = generator.normal(size=6)
    spacing = abs(row.azimuth[1] - row.azimuth[0]) / max(row.count - 1, 1)
    sweep = row.sweep * (1 + 0.3 * jitter[0]) * step**1.3
    turn = side * (azimuth + 0.2 * spacing * jitter[1] + sweep) if row.both_sides else azimuth - sweep
    share = row.share[0] + (row.share[1] - row.share[0]) * step * (1 + 0.07 * jitter[2])
    lift = np.interp(step, [0, 0.5, 1], row.lift) + 1.4 * jitter[3] * np.sin(np.pi * step)
    lift = gaussian_filter(lift, 0.6, mode="nearest")
    if not row.both_sides:  # locks of the top lie down where they reach the sides
        lift *= np.clip(1.3 - np.abs(turn) / 95, 0.45, 1)
    if row.end is not None:  # along the scalp to the hairline, then straight down
        share = np.interp(step, [0, 0.5], row.share)
        lift += row.over_ears * np.exp(-(((azimuth - EAR) / 24) ** 2)) * np.clip(2 * step, 0, 1)
    points, outward = scalp.at(np.broadcast_to(turn, step.shape), np.clip(share, 0.02, 1.06))
    if row.end is not None:
        end = scalp.eye_height + (row.end + 5 * jitter[2]) * 1e-3
        points[:, 1] += np.clip(2 * step - 1, 0, 1) * (end - points[:, 1])
        outward = outward * [1, 0, 1] / np.linalg.norm(outward[:, [0, 2]], axis=1, keepdims=True)
    ahead = np.gradient(points, axis=0)
    across = np.cross(ahead, outward)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    half = 0.5 * row.width * (1 + 0.12 * jitter[4]) * (0.55 + 0.45 * np.sin(np.pi * np.clip(step * 1.15, 0, 1)))
    half[-1] *= 0.25 if row.end is None else 0.6
    depth = 0.42 * half  # the edges lie lower than the ridge: a rounded strand
    ridge = points + outward * (lift * 1e-3)[:, None]
    edges = [ridge + (sign * across * half[:, None] - outward * depth[:, None]) * 1e-3 for sign in (1.0, -1.0)]
    vertices = np.stack([edges[0], ridge, edges[1]], axis=1).reshape(-1, 3)
    triangles = grid_triangles(LOCK_ROWS, 3)[:, [0, 2, 1]]
    glow = 0.35 + 0.16 * jitter[5] + 0.2 * step
    light = np.stack([0.45 * glow - 0.12, 1.3 * glow, 0.45 * glow - 0.12], axis=1).ravel()
    if row.both_sides:  # the inner side, seen where hair hangs
        lining = np.stack([edges[0], edges[1]], axis=1)
        triangles = np.concatenate([triangles, len(vertices) + grid_triangles(LOCK_ROWS, 2)])
        vertices = np.concatenate([vertices, lining.reshape(-1, 3)])
        light = np.concatenate([light, np.full(2 * LOCK_ROWS, -0.25)])
    return vertices, triangles, np.clip(light, -0.25, 1.0)


def _border(corners: NDArray, centre: NDArray, azimuth: NDArray) -> NDArray[np.float64]:
    """Return unit directions (columns, 3) from `centre` to the hairline on the reference skull."""
    height = np.interp(np.minimum(azimuth, 360 - azimuth), HAIRLINE[:, 0], HAIRLINE[:, 1])
    height = gaussian_filter(height, 0.6, mode="wrap")
    outward = np.stack([np.sin(np.radians(azimuth)), np.zeros_like(azimuth), np.cos(np.radians(azimuth))], axis=1)
    origins = np.repeat(centre[None], len(azimuth), axis=0)
    origins[:, 1] = height
    distance = np.array([_cast(origin, way, corners)[1] for origin, way in zip(origins, outward, strict=True)])
    towards = origins + outward * distance[:, None]
    towards = _fill(towards[None], np.isfinite(distance)[None])[0] - centre
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def _cast(origin: NDArray, direction: NDArray, corners: NDArray) -> tuple[int, float, float, float]:
    """Return the farthest of the triangles (F, 3, 3) that a ray hits, the distance and the shares of corners 2 and 3.

    Without a hit the triangle is -1 and the distance NaN.

    Reference: Moeller and Trumbore 1997.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    determinant = (first * across).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = origin - corners[:, 0]
        u = (offset * across).sum(axis=1) / determinant
        turned = np.cross(offset, first)
        v = (turned @ direction) / determinant
        t = (second * turned).sum(axis=1) / determinant
    hits = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0))
    if not hits.size:
        return -1, np.nan, 0.0, 0.0
    best = hits[np.argmax(t[hits])]
    return int(best), float(t[best]), float(u[best]), float(v[best])


def _bind_rays(
    origins: NDArray, directions: NDArray, place: NDArray, triangles: NDArray
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """Return weights (n, V) of the skin at the farthest hit of every ray, and which rays hit (n,)."""
    corners = place[triangles]
    rows, columns, weights = [], [], []
    hit = np.zeros(len(origins), dtype=bool)
    for index, (origin, direction) in enumerate(zip(origins, directions, strict=True)):
        triangle, _, u, v = _cast(origin, direction, corners)
        if triangle >= 0:
            hit[index] = True
            rows += [index] * 3
            columns += list(triangles[triangle])
            weights += [1 - u - v, u, v]
    return sparse.csr_matrix((weights, (rows, columns)), (len(origins), len(place))), hit


def _slerp(start: NDArray, ends: NDArray, share: NDArray) -> NDArray[np.float64]:
    """Return directions (rows, columns, 3) on the great circles from `start` (3,) to `ends` (columns, 3)."""
    angle = np.arccos(np.clip(ends @ start, -1, 1))[None, :, None]
    portion = share[:, None, None]
    return (np.sin((1 - portion) * angle) * start + np.sin(portion * angle) * ends[None]) / np.sin(angle)


def _fill(points: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill gaps (rays through the ear) of a grid (rows, columns, 3) from known neighbours."""
    weight = gaussian_filter(known.astype(float), (0.8, 2.5), mode=("nearest", "wrap"))
    filled = np.where(known[..., None], points, 0.0)
    smooth = np.stack([gaussian_filter(filled[..., a], (0.8, 2.5), mode=("nearest", "wrap")) for a in range(3)], axis=2)
    return np.where(known[..., None], filled, smooth / np.maximum(weight, 1e-9)[..., None])
