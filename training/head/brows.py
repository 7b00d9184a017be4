"""Things that lie on the skin: eyebrows and lashes, bound to the triangles below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import CubicSpline

from cteg.face.rig import vertex_normals
from training.head.lids import Eye, Opening
from training.head.part import Part, follow, grid_triangles

BROW_PATH = np.array([[13.3, 19.0], [22.3, 21.6], [34.3, 24.0], [44.8, 23.6], [54.8, 17.5]])
"""Middle line of the left brow in millimetres on the reference face, from the nose outwards (x, y)."""

BROW_HALF_WIDTH = np.array([3.0, 3.6, 3.1, 2.3, 0.5])
BROW_STIFFNESS = 0.75
BROW_COLUMNS, BROW_ROWS = 26, 5
BROW_RISE = np.array([-0.5, 0.9, 1.35, 0.9, -0.5])
"""Height over the skin in millimetres across the brow; the borders lie in the skin, so that none stands off."""

LASH_COLUMNS = 22
LASH_COLOR = np.array([34, 24, 22])
LASH_BASE = 0.0004
"""Metres over the margin where the lashes are bound: on the lid's outer skin, not on its inner side."""


def bind(points: NDArray[np.float64], vertices: NDArray[np.float64], triangles: NDArray[np.intp]) -> sparse.csr_matrix:
    """Project points (n, 2) or (n, 3; z is ignored) along z onto the frontmost triangle of a surface.

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
        share = np.stack([1 - b[candidates] - c[candidates], b[candidates], c[candidates]], axis=1)
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
    """Return the eyebrow of a side: a tapered ridge on the skin.

    Args:
        side: Left or Right, the character's.
        skin: The skin that it moves with.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        tint: (3,) sRGB 0...255.
    """
    mirror = 1.0 if side == "Left" else -1.0
    knots = np.linspace(0, 1, len(BROW_PATH))
    along = np.linspace(0, 1, BROW_COLUMNS)
    middle = CubicSpline(knots, BROW_PATH)(along)
    tangent = CubicSpline(knots, BROW_PATH).derivative()(along)
    across = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    half_width = np.interp(along, knots, BROW_HALF_WIDTH)
    half_width[0] *= 0.55  # a rounded inner end
    level = np.linspace(-1, 1, BROW_ROWS)
    flat = middle[None] + level[:, None, None] * (across * half_width[:, None])[None]  # (rows, columns, 2)
    flat = flat.reshape(-1, 2) * np.array([mirror, 1.0])
    binding = bind(flat, place, skin.triangles)
    normal = normals_at(binding, skin)
    rise = np.repeat(BROW_RISE, BROW_COLUMNS).reshape(BROW_ROWS, BROW_COLUMNS)
    end = np.minimum(1.0, np.minimum(along, 1 - along) * 12)
    rise = np.where(rise > 0, rise * (0.35 + 0.65 * end) - 0.5 * (1 - end), rise)
    vertices = binding @ skin.vertices + normal * rise.reshape(-1, 1) * 1e-3
    triangles = grid_triangles(BROW_ROWS, BROW_COLUMNS)
    triangles = triangles if side == "Left" else triangles[:, [0, 2, 1]]
    strand = 1 + 0.10 * np.sin(np.arange(BROW_COLUMNS) * 2.4)[None, :] * np.ones((BROW_ROWS, 1))
    color = tint * strand.reshape(-1, 1)
    deltas, joints = follow(skin, _stiff(binding))
    count = len(vertices)
    return Part(vertices, triangles, color, np.full(count, 0.08), deltas, joints, np.full(count, 0.92))


def _stiff(binding: sparse.csr_matrix) -> sparse.csr_matrix:
    """Let every row of the brow follow its middle row for the most part: skin alone would squeeze it to a line."""
    middle = binding[BROW_ROWS // 2 * BROW_COLUMNS : (BROW_ROWS // 2 + 1) * BROW_COLUMNS]
    return (BROW_STIFFNESS * sparse.vstack([middle] * BROW_ROWS) + (1 - BROW_STIFFNESS) * binding).tocsr()


def lashes(eye: Eye, opening: Opening, skin: Part) -> Part:
    """Return the upper lashes: a dark wedge along the margin of the lid that reads as a line from afar."""
    x = np.linspace(opening.x[0] + 0.0008, opening.x[-1] - 0.0002, LASH_COLUMNS)
    if eye.side == "Right":
        x = x[::-1] * 1.0
    margin = np.interp(x, opening.x, opening.upper)
    flat = np.stack([x, margin + LASH_BASE], axis=1)
    binding = bind(eye.centre[:2] + flat, skin.vertices, skin.triangles)
    base = binding @ skin.vertices
    outer = np.linspace(0, 1, LASH_COLUMNS)
    taper = np.clip(np.minimum(outer * 5, (1 - outer) * 9), 0.12, 1) * (0.65 + 0.5 * outer)
    radial = base - eye.centre
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    tip = base + (radial * 0.0016 + up * 0.0002) * taper[:, None]
    top = base + radial * 0.00015 + up * 0.0007 * taper[:, None]
    under = base - radial * 0.0004 - up * (LASH_BASE + 0.0004 * taper[:, None])
    vertices = np.concatenate([under, tip, top])
    triangles = grid_triangles(3, LASH_COLUMNS)
    triangles = triangles if eye.side == "Left" else triangles[:, [0, 2, 1]]
    deltas, joints = follow(skin, sparse.vstack([binding] * 3).tocsr())
    count = len(vertices)
    color = np.repeat(LASH_COLOR[None].astype(np.float64), count, axis=0)
    return Part(vertices, triangles, color, np.full(count, 0.05), deltas, joints, np.full(count, 0.8))
