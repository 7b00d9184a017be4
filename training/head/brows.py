"""Things that lie on the skin: eyebrows and lashes, bound to the triangles below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import CubicSpline

from cteg.face.rig import vertex_normals
from training.head.lids import Eye, Opening
from training.head.part import SMALLEST_MOVE, Part, follow, grid_triangles
from training.head.shapes import folded

BROW_PATH = np.array([[12.0, 18.0], [21.0, 21.4], [33.5, 24.2], [44.8, 23.4], [55.0, 16.6]])
"""Middle line of the left brow in millimetres on the reference face, from the nose outwards (x, y)."""

BROW_HALF_WIDTH = np.array([3.5, 4.5, 4.0, 2.9, 0.8])
BROW_COLUMNS, BROW_ROWS = 18, 5
BROW_COVER = np.array([0.0, 0.95, 1.0, 0.95, 0.0])
"""Share of the hair's colour on the strip of skin under the hairs, across the brow; the borders keep the skin's."""

BROW_RISE = np.array([-0.4, 0.3, 0.5, 0.3, -0.4])
"""Height of that strip over the skin in millimetres; the borders lie in the skin, so that none stands off."""

BROW_HAIRS = 110
BROW_SEED = 11
HAIR_LENGTH, HAIR_WIDTH, HAIR_RISE = 6.2, 0.85, 0.75
"""Millimetres of one hair: length, width at its root, height of its tip over the skin."""

BROW_DEGREE = 3
"""Degree of the polynomial along the brow that its movement follows: the brow slides and tilts but does not kink."""

LASH_COLUMNS = 31
LASH_COLOR = np.array([34, 24, 22])
LASH_BASE = 0.0004
"""Metres over the margin where the lashes are bound: on the lid's outer skin, not on its inner side."""

LASH_INNER, LASH_OUTER = 0.0022, 0.0002
"""Metres that the lashes stay away from the inner and the outer corner."""


def bind(points: NDArray[np.float64], vertices: NDArray[np.float64], triangles: NDArray[np.intp]) -> sparse.csr_matrix:
    """Project points (n, 2) or (n, 3; z is ignored) along z onto the frontmost or else the nearest triangle.

    Returns:
        Weights (n, V) that interpolate the surface at the points.
    """
    corner = vertices[triangles]  # (F, 3, 3)
    origin, first, second = corner[:, 0, :2], corner[:, 1, :2] - corner[:, 0, :2], corner[:, 2, :2] - corner[:, 0, :2]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    facing = area > 1e-12
    rows, columns, weights = [], [], []
    for index, point in enumerate(points):
        offset = point[:2] - origin
        with np.errstate(divide="ignore", invalid="ignore"):
            b = (offset[:, 0] * second[:, 1] - offset[:, 1] * second[:, 0]) / area
            c = (first[:, 0] * offset[:, 1] - first[:, 1] * offset[:, 0]) / area
        inside = facing & (b >= -1e-9) & (c >= -1e-9) & (b + c <= 1 + 1e-9)
        candidates = np.flatnonzero(inside)
        if not candidates.size:  # in the opening of an eye: the nearest edge
            outside = np.minimum(np.minimum(b, c), 1 - b - c) * np.sqrt(np.abs(area))
            candidates = np.nanargmax(np.where(facing, outside, np.nan), keepdims=True)
        share = np.stack([1 - b[candidates] - c[candidates], b[candidates], c[candidates]], axis=1).clip(0, 1)
        share /= share.sum(axis=1, keepdims=True)
        depth = (share * corner[candidates, :, 2]).sum(axis=1)
        best = int(np.argmax(depth))
        rows += [index] * 3
        columns += list(triangles[candidates[best]])
        weights += list(share[best])
    return sparse.csr_matrix((weights, (rows, columns)), (len(points), len(vertices)))


def normals_at(binding: sparse.csr_matrix, skin: Part) -> NDArray[np.float64]:
    """Return unit normals (n, 3) of the skin at bound points."""
    normal = binding @ vertex_normals(skin.vertices[None].astype(np.float32), skin.triangles)[0]
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def brow(side: str, skin: Part, place: NDArray[np.float64], tint: NDArray[np.float64]) -> Part:
    """Return the eyebrow of a side: hairs on a strip that fades into the skin.

    Args:
        side: Left or Right, the character's.
        skin: The painted skin that it moves with.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        tint: (3,) sRGB 0...255.
    """
    strip, hairs = _strip(), _hairs(np.random.default_rng(BROW_SEED))
    along, level, rise, cover, shade = (np.concatenate(values) for values in zip(strip, hairs, strict=True))
    mirror = np.array([1.0 if side == "Left" else -1.0, 1.0])
    near = skin.triangles[
        (np.linalg.norm(folded(place) - BROW_PATH.mean(axis=0), axis=1) < 60)[skin.triangles].all(axis=1)
    ]
    binding = bind(_on_face(along, level) * mirror, place, near)
    spine = bind(_on_face(along, np.zeros_like(level)) * mirror, place, near)
    lift = normals_at(binding, skin) * rise[:, None] * 1e-3
    triangles = np.concatenate(
        [grid_triangles(BROW_ROWS, BROW_COLUMNS), len(strip[0]) + np.arange(3 * BROW_HAIRS).reshape(-1, 3)]
    )
    ground = binding @ skin.color
    color = ground + (tint * shade[:, None] - ground) * cover[:, None]
    deltas, joints = follow(skin, binding)
    for name, delta in skin.deltas.items():
        slide = spine @ delta
        if np.abs(slide).max() > SMALLEST_MOVE:
            deltas[name] = _slide(along, slide, binding @ skin.vertices, skin.vertices + delta, near)
    count = len(along)
    return Part(
        binding @ skin.vertices + lift,
        triangles if side == "Left" else triangles[:, [0, 2, 1]],
        color,
        np.full(count, 0.1),
        deltas,
        joints,
        np.full(count, 0.92),
    )


def _slide(
    along: NDArray[np.float64], move: NDArray[np.float64], rest: NDArray[np.float64], posed: NDArray, near: NDArray
) -> NDArray[np.float64]:
    """Return the displacements (n, 3) of a brow that slides over the moved skin.

    Args:
        along: (n,) place along the brow, 0...1.
        move: (n, 3) displacement of the skin under its middle line.
        rest: (n, 3) skin under the brow at rest.
        posed: (V, 3) skin after the move.
        near: (F, 3) triangles that the brow may lie on.
    """
    powers = np.polynomial.legendre.legvander(2 * along - 1, BROW_DEGREE)
    smooth = powers @ np.linalg.lstsq(powers, move, rcond=None)[0]
    target = rest + smooth
    return bind(target, posed, near) @ posed - rest


def _on_face(along: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (n, 2), millimetres on the reference face, for places along (0...1) and across (-1...1)."""
    knots = np.linspace(0, 1, len(BROW_PATH))
    path = CubicSpline(knots, BROW_PATH)
    tangent = path(along, 1)
    across = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return path(along) + (level * np.interp(along, knots, BROW_HALF_WIDTH))[:, None] * across


def _strip() -> tuple[NDArray, ...]:
    """Return along, level, rise, cover and shade of the strip, row by row (n,)."""
    along = np.tile(np.linspace(0, 1, BROW_COLUMNS), BROW_ROWS)
    end = np.clip(np.minimum(along * 5, (1 - along) * 8), 0, 1)
    rise = np.repeat(BROW_RISE, BROW_COLUMNS)
    rise = np.where(rise > 0, rise * end - 0.4 * (1 - end), rise)
    cover = np.repeat(BROW_COVER, BROW_COLUMNS) * end
    return along, np.repeat(np.linspace(-1, 1, BROW_ROWS), BROW_COLUMNS), rise, cover, np.ones_like(along)


def _hairs(generator: np.random.Generator) -> tuple[NDArray, ...]:
    """Return along, level, rise, cover and shade of the hairs' corners (root, root, tip), hair by hair (n,).

    Hairs stand up at the nose and lie down towards the temple; upper ones point down and lower ones up, so that they
    meet in the middle of the tail.
    """
    length = np.linalg.norm(np.diff(BROW_PATH, axis=0), axis=1).sum()
    root = np.sort(generator.uniform(0.0, 0.93, BROW_HAIRS))
    level = generator.uniform(-0.95, 0.75, BROW_HAIRS)
    upright = np.clip(1 - root / 0.5, 0, 1)
    slant = np.radians(52 * upright - 26 * (level + 0.05) * (1 - upright) + generator.normal(0, 7, BROW_HAIRS))
    reach = HAIR_LENGTH * (0.75 + 0.4 * generator.random(BROW_HAIRS)) * (1 - 0.25 * upright)
    half = np.interp(root, np.linspace(0, 1, len(BROW_HALF_WIDTH)), BROW_HALF_WIDTH)
    thick = HAIR_WIDTH / 2
    ahead, up = np.cos(slant), np.sin(slant)
    corners = [
        (root + thick * up / length, level - thick * ahead / half),
        (root + reach * ahead / length, np.clip(level + reach * up / half, -1.1, 1.15)),
        (root - thick * up / length, level + thick * ahead / half),
    ]
    along = np.clip(np.stack([corner[0] for corner in corners], axis=1).ravel(), -0.02, 1.03)
    across = np.stack([corner[1] for corner in corners], axis=1).ravel()
    shade = np.repeat(generator.uniform(0.72, 1.35, BROW_HAIRS), 3) * np.tile([0.9, 1.15, 0.9], BROW_HAIRS)
    rise = np.tile([0.12, HAIR_RISE, 0.12], BROW_HAIRS) + np.repeat(generator.uniform(0, 0.3, BROW_HAIRS), 3)
    return along, across, rise, np.tile([0.9, 0.95, 0.9], BROW_HAIRS), shade


def lashes(eye: Eye, opening: Opening, skin: Part) -> Part:
    """Return the upper lashes: a dark edge with points along the margin of the lid that reads as a line from afar."""
    inner, outer = (opening.x[0], opening.x[-1]) if eye.side == "Left" else (opening.x[-1], opening.x[0])
    outward = np.sign(outer - inner)
    x = np.linspace(inner + outward * LASH_INNER, outer - outward * LASH_OUTER, LASH_COLUMNS)
    margin = np.interp(x, opening.x, opening.upper)
    flat = np.stack([x, margin + LASH_BASE], axis=1)
    binding = bind(eye.centre[:2] + flat, skin.vertices, skin.triangles)
    base = binding @ skin.vertices
    share = np.linspace(0, 1, LASH_COLUMNS)
    taper = np.clip(np.minimum(share * 5, (1 - share) * 9), 0.12, 1) * (0.65 + 0.5 * share)
    point = taper * np.where(np.arange(LASH_COLUMNS) % 2, 1.2, 0.8)
    radial = base - eye.centre
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    up, aside = np.array([0.0, 1.0, 0.0]), np.array([outward, 0.0, 0.0])
    tip = base + (radial * 0.0017 + up * 0.0004 + aside * 0.0007) * point[:, None]
    top = base + radial * 0.00015 + up * 0.0007 * taper[:, None]
    under = base - radial * 0.0004 - up * (LASH_BASE + 0.0004 * taper[:, None])
    vertices = np.concatenate([under, tip, top])
    triangles = grid_triangles(3, LASH_COLUMNS)
    triangles = triangles if eye.side == "Left" else triangles[:, [0, 2, 1]]
    deltas, joints = follow(skin, sparse.vstack([binding] * 3).tocsr())
    count = len(vertices)
    color = np.repeat(LASH_COLOR[None].astype(np.float64), count, axis=0)
    return Part(vertices, triangles, color, np.full(count, 0.05), deltas, joints, np.full(count, 0.8))
