"""Things that lie on the skin: eyebrows and lashes, bound to the triangles below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import CubicSpline

from cteg.face.rig import vertex_normals
from training.head.part import Part, follow, grid_triangles

BROW_PATH = np.array([[-17.5, 15.5], [-9.0, 21.0], [4.0, 24.5], [14.0, 24.0], [23.5, 16.5]])
"""Middle line of the left brow in millimetres from the eye's centre, from the nose outwards (x, y)."""

BROW_HALF_WIDTH = np.array([3.1, 3.9, 3.3, 2.5, 0.5])
BROW_COLOR = np.array([52, 36, 28])
BROW_COLUMNS, BROW_ROWS = 26, 5
BROW_RISE = np.array([-0.5, 0.9, 1.35, 0.9, -0.5])
"""Height over the skin in millimetres across the brow; the borders lie in the skin, so that none stands off."""


def bind(points: NDArray[np.float64], skin: Part) -> tuple[sparse.csr_matrix, NDArray[np.float64]]:
    """Project points along z onto the frontmost skin triangle.

    Args:
        points: (n, 3); z is ignored.
        skin: The skin.

    Returns:
        Weights (n, V) that interpolate the skin at the points, and unit normals (n, 3) there.
    """
    corner = skin.vertices[skin.triangles]  # (F, 3, 3)
    normals = vertex_normals(skin.vertices[None].astype(np.float32), skin.triangles)[0]
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
        columns += list(skin.triangles[candidates[best]])
        weights += list(share[best])
    binding = sparse.csr_matrix((weights, (rows, columns)), (len(points), len(skin.vertices)))
    normal = binding @ normals
    return binding, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def brow(side: str, eye_centre: NDArray[np.float64], skin: Part) -> Part:
    """Return one eyebrow: a tapered ridge on the skin. `side` is Left or Right (the character's)."""
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
    flat = flat.reshape(-1, 2) * np.array([mirror, 1.0]) * 1e-3
    points = np.column_stack([eye_centre[:2] + flat, np.zeros(len(flat))])
    binding, normal = bind(points, skin)
    rise = np.repeat(BROW_RISE, BROW_COLUMNS).reshape(BROW_ROWS, BROW_COLUMNS)
    end = np.minimum(1.0, np.minimum(along, 1 - along) * 12)
    rise = np.where(rise > 0, rise * (0.35 + 0.65 * end) - 0.5 * (1 - end), rise)
    vertices = binding @ skin.vertices + normal * rise.reshape(-1, 1) * 1e-3
    triangles = grid_triangles(BROW_ROWS, BROW_COLUMNS)
    triangles = triangles if side == "Left" else triangles[:, [0, 2, 1]]
    strand = 1 + 0.10 * np.sin(np.arange(BROW_COLUMNS) * 2.4)[None, :] * np.ones((BROW_ROWS, 1))
    color = BROW_COLOR * strand.reshape(-1, 1)
    deltas, joints = follow(skin, binding)
    count = len(vertices)
    return Part(vertices, triangles, color, np.full(count, 0.08), deltas, joints, np.full(count, 0.92))
