"""Skin colour, gloss and baked ambient occlusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg.face.render import rasterise
from cteg.face.rig import vertex_normals

OCCLUSION_DIRECTIONS = 160
OCCLUSION_PIXELS = 320
OCCLUSION_BIAS = 0.0012
"""Metres by which a vertex may lie behind the nearest surface and still count as seen."""


def blob(points: NDArray[np.float64], centre: NDArray[np.float64], radii: tuple[float, float, float]) -> NDArray:
    """Return a soft spot (V,), 1 at `centre` and falling off like a Gaussian with `radii` in metres."""
    return np.exp(-(((points - centre) / np.array(radii)) ** 2).sum(axis=1))


def mix(color: NDArray[np.float64], other: NDArray[np.float64], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blend colours (V, 3) towards `other` (3,) by `amount` (V,) 0...1."""
    return color + (other - color) * np.clip(amount, 0, 1)[:, None]


def sample_mask(mask: NDArray[np.float64], uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Read a picture (H, W) bilinearly at texture coordinates (V, 2), v up."""
    height, width = mask.shape
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1.001)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1.001)
    x0, y0 = x.astype(int), y.astype(int)
    fx, fy = x - x0, y - y0
    top = mask[y0, x0] * (1 - fx) + mask[y0, x0 + 1] * fx
    bottom = mask[y0 + 1, x0] * (1 - fx) + mask[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + bottom * fy


def bake_occlusion(vertices: NDArray[np.float64], triangles: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the cosine-weighted share (V,) of directions from which each vertex is seen.

    One depth picture per direction takes the place of rays: 160 pictures of 320 pixels take seconds.
    """
    normals = vertex_normals(vertices[None].astype(np.float32), triangles)[0].astype(np.float64)
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    scale = OCCLUSION_PIXELS / 2 / (np.linalg.norm(vertices - centre, axis=1).max() * 1.02)
    both_sides = np.concatenate([triangles, triangles[:, ::-1]])  # an open border must not let light through
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in _sphere_directions(OCCLUSION_DIRECTIONS):
        helper = np.array([1.0, 0, 0]) if abs(direction[0]) < 0.8 else np.array([0.0, 1.0, 0])
        right = np.cross(helper, direction)
        right /= np.linalg.norm(right)
        local = (vertices - centre) @ np.stack([right, np.cross(direction, right), direction]).T
        x, y = OCCLUSION_PIXELS / 2 + local[:, 0] * scale, OCCLUSION_PIXELS / 2 - local[:, 1] * scale
        screen = np.stack([x, y, -local[:, 2]], axis=1)
        hit, weights = rasterise(screen, both_sides, OCCLUSION_PIXELS)
        depth = (screen[both_sides[hit], 2] * weights).sum(axis=2)
        depth[hit < 0] = np.inf
        column, row = x.astype(int), y.astype(int)
        visible = -local[:, 2] <= depth[row, column] + OCCLUSION_BIAS
        cosine = np.maximum(normals @ direction, 0)
        total += cosine
        seen += cosine * visible
    return _smooth(seen / np.maximum(total, 1e-9), triangles)


def _smooth(values: NDArray[np.float64], triangles: NDArray[np.intp]) -> NDArray[np.float64]:
    """Average every vertex's value (V,) with its neighbours', twice: takes out specks where surfaces touch."""
    index, neighbours = triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()
    for _ in range(2):
        both = np.concatenate([index, neighbours])
        total = np.bincount(both, values[np.concatenate([neighbours, index])], len(values))
        count = np.bincount(both, minlength=len(values))
        values = np.where(count > 0, 0.4 * values + 0.6 * total / np.maximum(count, 1), values)
    return values


def _sphere_directions(count: int) -> NDArray[np.float64]:
    """Return evenly spread unit vectors (count, 3): the golden spiral."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)
