"""One piece of the head (skin, eyeball, brow, ...) and how pieces become a rig file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cteg import layout
from cteg.face.rig import Rig

CORRECTIVE = "jawCorrective"
"""Name of the extra shape that follows the jaw angle."""

SMALLEST_MOVE = 1.2e-4
"""Displacements under 0.12 millimetres are dropped: a fifth of a pixel of a 512-pixel picture of the head."""

SMALLEST_HIDDEN_MOVE = 8e-4
"""The same for the back of the mouth, which is seen only through a wide open mouth, in the dark."""


@dataclass
class Part:
    """A mesh with its paint and its motion.

    Attributes:
        vertices: (V, 3) metres.
        triangles: (F, 3), counter-clockwise seen from outside.
        color: (V, 3) sRGB 0...255.
        gloss: (V,) 0...1.
        deltas: Shape name -> (V, 3) metres; absent = the shape does not move this part.
        joints: Joint name -> (V,) weight 0...1.
        occlusion: (V,) 0...1, or None to have it baked.
        hidden: (V,) True where small motion cannot be seen, or None.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.intp]
    color: NDArray[np.float64]
    gloss: NDArray[np.float64]
    deltas: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    joints: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    occlusion: NDArray[np.float64] | None = None
    hidden: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Joint:
    """A joint: pivot (3,) metres and drive (3, 53), rotation vector in radians per coefficient."""

    name: str
    pivot: NDArray[np.float64]
    drive: NDArray[np.float64]


def follow(skin: Part, binding: sparse.csr_matrix) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return deltas and joint weights of points bound to the skin by the weights `binding` (n, V)."""
    deltas = {name: binding @ delta for name, delta in skin.deltas.items()}
    joints = {name: binding @ weight for name, weight in skin.joints.items()}
    return deltas, joints


def grid_triangles(rows: int, columns: int, closed: bool = False) -> NDArray[np.intp]:
    """Return triangles of a grid of vertices numbered row by row; `closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    right = (column + 1) % columns
    a, b = (row * columns + column).ravel(), (row * columns + right).ravel()
    c, d = ((row + 1) * columns + right).ravel(), ((row + 1) * columns + column).ravel()
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def pack(
    parts: list[Part],
    joints: list[Joint],
    *,
    name: str,
    title: str,
    licence: str,
    origin: NDArray[np.float64],
    corrective_angle: float,
) -> Rig:
    """Join parts into a rig without vertices that no triangle uses; positions are relative to `origin` (3,)."""
    parts = [_without_loose(part) for part in parts]
    sizes = [len(part.vertices) for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    triangles = np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=True)])
    occlusion = np.concatenate([np.ones(len(p.vertices)) if p.occlusion is None else p.occlusion for p in parts])
    shapes = [_join(parts, shape) for shape in (*layout.OPEN_SHAPES, CORRECTIVE)]
    hidden = np.concatenate([np.zeros(len(p.vertices), bool) if p.hidden is None else p.hidden for p in parts])
    least = np.where(hidden, SMALLEST_HIDDEN_MOVE, SMALLEST_MOVE)
    shape_offsets, shape_vertices, shape_deltas, shape_scale = _sparse_shapes(shapes, least)
    joint_offsets, joint_vertices, joint_weights = _sparse_joints(parts, [joint.name for joint in joints])
    return Rig(
        name=name,
        title=title,
        licence=licence,
        space="open",
        shape_names=layout.OPEN_SHAPES,
        joint_names=tuple(joint.name for joint in joints),
        corrective="jaw_angle",
        neutral=(np.concatenate([part.vertices for part in parts]) - origin).astype(np.float32),
        triangles=triangles.astype(np.uint16),
        color=np.clip(np.concatenate([part.color for part in parts]) + 0.5, 0, 255).astype(np.uint8),
        occlusion=np.clip(occlusion * 255 + 0.5, 0, 255).astype(np.uint8),
        gloss=np.clip(np.concatenate([part.gloss for part in parts]) * 255 + 0.5, 0, 255).astype(np.uint8),
        shape_offsets=shape_offsets,
        shape_vertices=shape_vertices,
        shape_deltas=shape_deltas,
        shape_scale=shape_scale,
        joint_pivots=np.stack([joint.pivot - origin for joint in joints]).astype(np.float32),
        joint_drive=np.stack([joint.drive for joint in joints]).astype(np.float32),
        joint_offsets=joint_offsets,
        joint_vertices=joint_vertices,
        joint_weights=joint_weights,
        corrective_angle=np.array([corrective_angle], dtype=np.float32),
    )


def _without_loose(part: Part) -> Part:
    """Return the part without vertices that no triangle uses."""
    used, triangles = np.unique(part.triangles, return_inverse=True)
    return Part(
        part.vertices[used],
        triangles.reshape(-1, 3),
        part.color[used],
        part.gloss[used],
        {name: delta[used] for name, delta in part.deltas.items()},
        {name: weight[used] for name, weight in part.joints.items()},
        None if part.occlusion is None else part.occlusion[used],
        None if part.hidden is None else part.hidden[used],
    )


def _join(parts: list[Part], shape: str) -> NDArray[np.float64]:
    """Return one shape over all parts, (V, 3)."""
    return np.concatenate([part.deltas.get(shape, np.zeros_like(part.vertices)) for part in parts])


def _sparse_shapes(
    shapes: list[NDArray[np.float64]], least: NDArray[np.float64]
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return offsets, vertices, int16 deltas and scales of dense shapes (S lists of (V, 3)).

    Moves shorter than `least` (V,) metres are dropped.
    """
    offsets, vertices, deltas, scales = [0], [], [], []
    for shape in shapes:
        moved = np.flatnonzero(np.linalg.norm(shape, axis=1) > least)
        scale = max(float(np.abs(shape[moved]).max(initial=0.0)), 1e-6) / 32767
        offsets.append(offsets[-1] + len(moved))
        vertices.append(moved.astype(np.uint16))
        deltas.append(np.round(shape[moved] / scale).astype(np.int16))
        scales.append(scale)
    return (
        np.array(offsets, dtype=np.uint32),
        np.concatenate(vertices),
        np.concatenate(deltas),
        np.array(scales, dtype=np.float32),
    )


def _sparse_joints(parts: list[Part], names: list[str]) -> tuple[NDArray, NDArray, NDArray]:
    """Return offsets, vertices and uint8 weights of every joint."""
    offsets, vertices, weights = [0], [], []
    for name in names:
        dense = np.concatenate([part.joints.get(name, np.zeros(len(part.vertices))) for part in parts])
        level = np.round(np.clip(dense, 0, 1) * 255)
        used = np.flatnonzero(level)
        offsets.append(offsets[-1] + len(used))
        vertices.append(used.astype(np.uint16))
        weights.append(level[used].astype(np.uint8))
    return np.array(offsets, dtype=np.uint32), np.concatenate(vertices), np.concatenate(weights)
