"""Refine quads where the face moves, as one linear operator from source vertices to refined vertices.

One Catmull-Clark step gives smooth positions; only chosen quads are split in four. A whole quad beside a split one
becomes a polygon through the shared edge point, so there are no cracks. Where creases need more, chosen edges are
halved once or twice. Because the operator is linear it carries every shape along: refined displacement = operator @
source displacement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

EdgeChoice = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]

# Dimensions: N source vertices, Q quads, E edges, V refined vertices, F triangles.


@dataclass(frozen=True)
class Refined:
    """A refined surface.

    Attributes:
        operator: (V, N) sparse, refined positions = operator @ source positions.
        triangles: (F, 3) int.
        origin: (V,) source vertex that a refined vertex stands for, or -1 for edge and face points.
    """

    operator: sparse.csr_matrix
    triangles: NDArray[np.intp]
    origin: NDArray[np.intp]


def refine(quads: NDArray[np.intp], split: NDArray[np.bool_], vertex_count: int) -> Refined:
    """Apply one Catmull-Clark step to `quads` (Q, 4) and split those where `split` (Q,) is True."""
    edges, quad_edges = _edges(quads)
    face_points = _rows(quads, np.full(4, 0.25), vertex_count)
    edge_faces = sparse.csr_matrix(
        (np.ones(quads.size), (quad_edges.ravel(), np.repeat(np.arange(len(quads)), 4))), (len(edges), len(quads))
    )
    border = np.asarray(edge_faces.sum(axis=1)).ravel() < 2
    middle = _rows(edges, np.full(2, 0.5), vertex_count)
    inner = 0.5 * middle + 0.25 * edge_faces @ face_points
    edge_points = sparse.diags(border.astype(float)) @ middle + sparse.diags((~border).astype(float)) @ inner
    vertex_points = _vertex_points(quads, edges, border, face_points, middle, vertex_count)
    everything = sparse.vstack([vertex_points, edge_points, face_points]).tocsr()
    triangles = _triangles(quads, quad_edges, split, vertex_count, len(edges))
    used = np.unique(triangles)
    renumber = np.full(everything.shape[0], -1)
    renumber[used] = np.arange(len(used))
    origin = np.where(used < vertex_count, used, -1)
    return Refined(everything[used], renumber[triangles], origin)


def _edges(quads: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return unique edges (E, 2) and the edge (Q, 4) between corner k and k + 1 of every quad."""
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, inverse = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
    return edges, inverse.reshape(quads.shape)


def _rows(index: NDArray[np.intp], weights: NDArray[np.float64], columns: int) -> sparse.csr_matrix:
    """Return a sparse matrix whose row r holds `weights` at the columns `index[r]`."""
    rows = np.repeat(np.arange(len(index)), index.shape[1])
    return sparse.csr_matrix((np.tile(weights, len(index)), (rows, index.ravel())), (len(index), columns))


def _vertex_points(
    quads: NDArray[np.intp],
    edges: NDArray[np.intp],
    border: NDArray[np.bool_],
    face_points: sparse.csr_matrix,
    middle: sparse.csr_matrix,
    vertex_count: int,
) -> sparse.csr_matrix:
    """Return the moved source vertices: (Q + 2R + (n - 3) P) / n inside, (1, 6, 1) / 8 along a border."""
    to_quads = _rows(quads, np.ones(4), vertex_count).T.tocsr()
    to_edges = _rows(edges, np.ones(2), vertex_count).T.tocsr()
    valence = np.maximum(np.asarray(to_quads.sum(axis=1)).ravel(), 1)
    edge_valence = np.maximum(np.asarray(to_edges.sum(axis=1)).ravel(), 1)
    identity = sparse.identity(vertex_count)
    inside = (
        sparse.diags(1 / valence**2) @ to_quads @ face_points
        + sparse.diags(2 / (valence * edge_valence)) @ to_edges @ middle
        + sparse.diags((valence - 3) / valence) @ identity
    )
    border_edges = to_edges @ sparse.diags(border.astype(float))
    border_count = np.asarray(border_edges.sum(axis=1)).ravel()
    # Half of the vertex plus a quarter of each of the two border edges' middles is (1, 6, 1) / 8.
    along = 0.5 * identity + 0.25 * border_edges @ middle
    smooth_border = border_count == 2
    corner = (border_count > 0) & ~smooth_border
    plain = border_count == 0
    return (
        sparse.diags(plain.astype(float)) @ inside
        + sparse.diags(smooth_border.astype(float)) @ along
        + sparse.diags(corner.astype(float)) @ identity
    )


def _triangles(
    quads: NDArray[np.intp],
    quad_edges: NDArray[np.intp],
    split: NDArray[np.bool_],
    vertex_count: int,
    edge_count: int,
) -> NDArray[np.intp]:
    """Return triangles over (vertex, edge, face) points: split quads in eight, their neighbours as polygons."""
    edge_points = vertex_count + quad_edges
    edge_is_split = np.zeros(edge_count, dtype=bool)
    edge_is_split[quad_edges[split]] = True
    triangles: list[tuple[int, int, int]] = []
    for quad in range(len(quads)):
        corners, mids = quads[quad], edge_points[quad]
        if split[quad]:
            centre = vertex_count + edge_count + quad
            for k in range(4):
                # The diagonal from the corner to the middle keeps the four small quads symmetric.
                triangles += [(corners[k], mids[k], centre), (corners[k], centre, mids[k - 1])]
            continue
        polygon: list[int] = []
        for k in range(4):
            polygon.append(corners[k])
            if edge_is_split[quad_edges[quad, k]]:
                polygon.append(mids[k])
        if len(polygon) > 4:  # start the fan at an edge point, or its triangles would lie on one line
            start = next(i for i, vertex in enumerate(polygon) if vertex >= vertex_count)
            polygon = polygon[start:] + polygon[:start]
        triangles += [(polygon[0], polygon[i], polygon[i + 1]) for i in range(1, len(polygon) - 1)]
    return np.array(triangles, dtype=np.intp)


def halve_edges(refined: Refined, reference: NDArray[np.float64], choose: EdgeChoice, rounds: int = 2) -> Refined:
    """Put a vertex in the middle of chosen edges and split the triangles beside them, so that no crack opens.

    Args:
        refined: The surface.
        reference: (V, 3) positions that decide.
        choose: Called with the middles (E, 3) and the vectors (E, 3) of edges; returns which (E,) to halve.
        rounds: How often an edge may be halved.
    """
    for _ in range(rounds):
        triangles = refined.triangles
        pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges, inverse = np.unique(pairs, axis=0, return_inverse=True)
        ends = reference[edges]
        chosen = choose(ends.mean(axis=1), ends[:, 1] - ends[:, 0])
        middle = np.full(len(edges), -1)
        middle[chosen] = len(reference) + np.arange(chosen.sum())
        rows = _rows(edges[chosen], np.full(2, 0.5), len(reference))
        reference = np.concatenate([reference, rows @ reference])
        split = _split(triangles, middle[inverse.reshape(-1, 3)], reference)
        origin = np.concatenate([refined.origin, np.full(chosen.sum(), -1)])
        refined = Refined(sparse.vstack([refined.operator, rows @ refined.operator]).tocsr(), split, origin)
    return refined


def _split(triangles: NDArray[np.intp], middles: NDArray[np.intp], place: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the triangles (F, 3) split at the vertices (F, 3) on their edges 01, 12, 20 (-1 = none)."""
    pieces: list[tuple[int, int, int]] = []
    for corners, mids in zip(triangles, middles, strict=True):
        count = int((mids >= 0).sum())
        if count == 0:
            pieces.append(tuple(corners))
        elif count == 3:
            (a, b, c), (ab, bc, ca) = corners, mids
            pieces += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        else:  # turn the triangle so that the edge 01 (one) or the edges 01 and 12 (two) are the halved ones
            turn = int(np.flatnonzero(mids >= 0)[0]) if count == 1 else (int(np.flatnonzero(mids < 0)[0]) + 1) % 3
            (a, b, c), (ab, bc, _) = np.roll(corners, -turn), np.roll(mids, -turn)
            if count == 1:
                pieces += [(a, ab, c), (ab, b, c)]
            elif np.linalg.norm(place[a] - place[bc]) < np.linalg.norm(place[ab] - place[c]):
                pieces += [(ab, b, bc), (a, ab, bc), (a, bc, c)]
            else:
                pieces += [(ab, b, bc), (a, ab, c), (ab, bc, c)]
    return np.array(pieces, dtype=np.intp)


def clip(refined: Refined, height: NDArray[np.float64]) -> Refined:
    """Cut the surface where `height` (V,) is zero and keep the side above.

    New vertices lie on the cut edges; they are linear in their ends, so the operator stays linear.
    """
    triangles, origin = refined.triangles, list(refined.origin)
    above = height > 0
    rows = [refined.operator]
    new_vertex: dict[tuple[int, int], int] = {}
    kept = [tuple(t) for t in triangles[above[triangles].all(axis=1)]]

    def crossing(a: int, b: int) -> int:
        """Return the vertex on the edge between a (above) and b (below)."""
        key = (min(a, b), max(a, b))
        if key not in new_vertex:
            share = height[a] / (height[a] - height[b])
            new_vertex[key] = len(origin)
            origin.append(-1)
            rows.append((1 - share) * refined.operator[a] + share * refined.operator[b])
        return new_vertex[key]

    for triangle in triangles[above[triangles].any(axis=1) & ~above[triangles].all(axis=1)]:
        count = int(above[triangle].sum())
        turn = int(np.flatnonzero(above[triangle] == (count == 1))[0])  # the corner that stands alone comes first
        a, b, c = np.roll(triangle, -turn)
        if count == 1:
            kept.append((a, crossing(a, b), crossing(a, c)))
        else:
            on_b, on_c = crossing(b, a), crossing(c, a)
            kept += [(on_b, b, c), (on_b, c, on_c)]
    return keep_triangles(
        Refined(sparse.vstack(rows).tocsr(), np.array(kept), np.array(origin)), np.ones(len(kept), bool)
    )


def keep_triangles(refined: Refined, keep: NDArray[np.bool_]) -> Refined:
    """Return the surface with the chosen triangles only and no unused vertices."""
    used, triangles = np.unique(refined.triangles[keep], return_inverse=True)
    return Refined(refined.operator[used], triangles.reshape(-1, 3), refined.origin[used])
