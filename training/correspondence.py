"""Find for points of one face where they lie on another, without landmarks by hand.

Both heads stand in the same frame: origin between the eyes, y up, z out. What is left is size, proportions and form:

    scale by the eyes' distance ──► stretch below the eyes until the lips meet ──► bend one face towards the other

Points correspond if they are close, their surfaces face the same way and, round the mouth, they belong to the same lip,
which the jaw's weights tell. The bending is smooth: neighbours move alike, ever less strictly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from cteg.errors import InputError
from cteg.face.rig import Rig, vertex_normals

# Dimensions: V vertices of a head, N points of the face, K neighbours.

VISIBLE, HALF_HIDDEN = 0.45, 0.15
"""Baked occlusion from which on a vertex counts as skin, on the face whose points are moved and on the other one: the
latter has the inner lips as well, so that a point beside them finds its like."""

NORMAL_WEIGHT, LIP_WEIGHT = 0.006, 0.02
"""Metres that opposite surfaces (unit normals), and an upper and a lower lip, count as distance."""

LIP_REACH = 0.012
"""Metres below and above the mouth over which lips are told apart. Farther off, the jaw weights of two heads may differ
a lot at the same place of the face."""

LIP_GAP = 0.004
"""Metres within which points are neighbours when the mouth is looked for."""

STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
STEPS_PER_STIFFNESS = 4
NEIGHBOURS = 4


@dataclass(frozen=True)
class Face:
    """The outer skin of a head, where expressions move it.

    Attributes:
        index: (N,) vertices of the head.
        points: (N, 3) metres.
        normals: (N, 3) unit.
        jaw: (N,) jaw weight 0...1.
        area: (N,) square metres that a point stands for.
        edges: (E, 2) neighbours, as places in `index`.
    """

    index: NDArray[np.intp]
    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    jaw: NDArray[np.float64]
    area: NDArray[np.float64]
    edges: NDArray[np.intp]


def face_of(rig: Rig, moved: NDArray[np.floating], occlusion: float = VISIBLE) -> Face:
    """Return the face of a head.

    Args:
        rig: The head, with the joints `jaw`, `eye_left` and `eye_right`.
        moved: (V,) how far each vertex ever moves, metres; still vertices are left out.
        occlusion: Lowest baked occlusion of a vertex, 0...1.
    """
    jaw = np.zeros(rig.vertex_count)
    vertices, weights = rig.held(_joint(rig, "jaw"))
    jaw[vertices] = weights
    chosen = (rig.occlusion >= occlusion * 255) & (moved > 5e-4)
    for name in ("eye_left", "eye_right"):
        chosen[rig.held(_joint(rig, name))[0]] = False
    triangles = rig.triangles[chosen[rig.triangles].all(axis=1)].astype(np.intp)
    index = np.unique(triangles)
    place = np.zeros(rig.vertex_count, dtype=np.intp)
    place[index] = np.arange(len(index))
    triangles = place[triangles]
    points = rig.neutral[index].astype(np.float64)
    corner = points[triangles]
    sizes = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
    area = np.bincount(triangles.ravel(), np.repeat(sizes / 3, 3), len(index))
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1), axis=0
    )
    normals = vertex_normals(rig.neutral[None], rig.triangles)[0, index].astype(np.float64)
    return Face(index, points, normals, jaw[index], area, edges)


def lip_line(face: Face) -> NDArray[np.float64]:
    """Return height and depth (y, z) of the closed mouth in the middle, and the jaw weight between both lips.

    The mouth is where neighbours differ most in how the jaw holds them: one on the upper lip, one on the lower.
    """
    middle = (np.abs(face.points[:, 0]) < 0.006) & (face.points[:, 1] < 0) & (face.points[:, 2] > 0)
    points, jaw = face.points[middle], face.jaw[middle]
    pairs = cKDTree(points).query_pairs(LIP_GAP, output_type="ndarray")
    difference = np.abs(jaw[pairs[:, 0]] - jaw[pairs[:, 1]]) if len(pairs) else np.zeros(1)
    if difference.max() < 0.2:
        raise InputError("Cannot find the mouth of the head: its jaw joint does not part the lips.")
    lips = pairs[difference > 0.8 * difference.max()]
    between = points[lips].mean(axis=1)
    return np.array([np.median(between[:, 1]), between[:, 2].max(), jaw[lips].mean()])


def register(source: Face, target: Face, eye_ratio: float) -> NDArray[np.float64]:
    """Bend the points of `source` onto `target`; returns their places (N, 3).

    Args:
        source: The face whose points are moved.
        target: The face that they are moved onto.
        eye_ratio: Distance of the target's eyes over that of the source's.
    """
    start = source.points * eye_ratio
    mouth, aim = lip_line(source)[:2] * eye_ratio, lip_line(target)[:2]
    below = np.clip(start[:, 1] / mouth[0], 0, None)  # 0 at the eyes, 1 at the lips
    start[:, 1] += below * (aim[0] - mouth[0])
    start[:, 2] += np.clip(below, 0, 1) * (aim[1] - mouth[1])
    count = len(start)
    i, j = source.edges.T
    adjacency = sparse.coo_matrix((np.ones(len(i)), (i, j)), (count, count))
    adjacency = (adjacency + adjacency.T).tocsr()
    laplacian = sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency
    trust = source.area / source.area.mean()
    places = start
    for stiffness in STIFFNESS:
        solver = splu((sparse.diags(trust) + stiffness * laplacian).tocsc())
        for _ in range(STEPS_PER_STIFFNESS):
            goal = blend(source, target, places) @ target.points
            places = start + solver.solve(trust[:, None] * (goal - start))
    return places


def blend(source: Face, target: Face, places: NDArray[np.float64]) -> sparse.csr_matrix:
    """Return weights (N, M) of the target's M points that stand for those of `source` at their `places` (N, 3)."""
    mouth, ours = lip_line(target), lip_line(source)[2]
    tree = cKDTree(_features(target.points, target.normals, target.jaw - mouth[2], mouth[0]))
    distance, neighbour = tree.query(_features(places, source.normals, source.jaw - ours, mouth[0]), NEIGHBOURS)
    weight = 1 / (distance + 1e-5) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(places)), NEIGHBOURS)
    return sparse.csr_matrix((weight.ravel(), (rows, neighbour.ravel())), (len(places), len(target.points)))


def similarity(source: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray:
    """Return the (3, 3) matrix, rotation times scale, that best takes directions of `source` to those of `target`.

    Reference: Umeyama 1991, weighted.
    """
    weight = weight / weight.sum()
    a, b = source - weight @ source, target - weight @ target
    u, stretch, vt = np.linalg.svd(b.T @ (weight[:, None] * a))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (u * sign) @ vt * ((stretch * sign).sum() / (weight @ (a**2).sum(axis=1)))


def eye_distance(rig: Rig) -> float:
    """Return the distance of a head's eyes in metres."""
    left, right = (rig.joint_pivots[_joint(rig, name)] for name in ("eye_left", "eye_right"))
    return float(np.linalg.norm(left - right))


def _joint(rig: Rig, name: str) -> int:
    if name not in rig.joint_names:
        raise InputError(f"The head '{rig.name}' has no joint '{name}'.")
    return rig.joint_names.index(name)


def _features(points: NDArray, normals: NDArray, side: NDArray, mouth: float) -> NDArray[np.float64]:
    """Return (N, 7) coordinates in which corresponding points are close: place, direction, which lip.

    Args:
        points: (N, 3).
        normals: (N, 3).
        side: (N,) jaw weight less that between the lips: positive on the lower lip.
        mouth: Height of the mouth.
    """
    is_near = np.exp(-(((points[:, 1] - mouth) / LIP_REACH) ** 2))
    lip = np.clip(side * 3, -0.5, 0.5) * is_near
    return np.concatenate([points, normals * NORMAL_WEIGHT / 2, lip[:, None] * LIP_WEIGHT], axis=1)
