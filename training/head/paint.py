"""Skin colour, gloss and baked ambient occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cteg.face.render import rasterise
from cteg.face.rig import vertex_normals
from training.head.part import Part

ORGANS = ("lips", "inside-mouth", "ears")
"""MakeHuman's masks that the paint needs."""

OCCLUSION_DIRECTIONS = 160
OCCLUSION_PIXELS = 320
OCCLUSION_BIAS = 0.0012
"""Metres by which a vertex may lie behind the nearest surface and still count as seen."""


@dataclass(frozen=True)
class Palette:
    """Colours of a head, each (3,) sRGB 0...255."""

    skin: NDArray[np.float64]
    lip: NDArray[np.float64]
    brow: NDArray[np.float64]
    hair: NDArray[np.float64]
    iris: NDArray[np.float64]


FLUSH, SHADE = np.array([0.98, 0.765, 0.785]), np.array([0.82, 0.72, 0.745])
"""Skin with more blood in it and skin in a hollow, as factors on the colour of the skin."""

MOUTH = np.array([84, 28, 30])
BLUSH: tuple[tuple[float, float, tuple[float, float], NDArray, float], ...] = (
    (42.0, -34.0, (20.0, 17.0), FLUSH, 0.55),
    (0.0, -38.0, (12.0, 12.0), FLUSH, 0.45),
    (0.0, -98.0, (20.0, 14.0), FLUSH, 0.2),
    (29.0, -10.0, (17.0, 6.0), SHADE, 0.35),
    (29.0, 9.0, (17.0, 6.0), SHADE, 0.3),
)
"""Soft spots on the skin: x and y from the middle of the eyes and radii in millimetres, tint, strength. Cheeks, nose,
chin, under the eyes, upper lids."""

MOUTH_DEPTH = 6.0
"""Millimetres before the eyes' centres up to which the mouth is too deep to be seen."""

CHIN_SHADOW = 0.45
"""Share of the light that the chin takes from the neck right below it."""


def paint_skin(skin: Part, place: NDArray[np.float64], masks: dict[str, NDArray[np.float64]], palette: Palette) -> None:
    """Colour the skin and set its gloss.

    Args:
        skin: Changed in place.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        masks: Organ -> (V,) 0...1, read from MakeHuman's masks.
        palette: The colours.
    """
    # Texture seams mix coordinates from far apart, so every mask counts only where its organ is.
    at_mouth = (np.abs(place[:, 0]) < 40) & (np.abs(place[:, 1] + 70) < 30)
    lips = masks["lips"] * at_mouth * (place[:, 2] > 0)
    inside = masks["inside-mouth"] * at_mouth * (place[:, 1] > -90)
    # The masks leave a line between lips and mouth, which would be a light seam where lips part a little.
    lips = np.maximum(lips, np.minimum(_grown(lips, skin.triangles, 2), _grown(inside, skin.triangles, 2)))
    ears = masks["ears"] * (np.abs(place[:, 0]) > 55)
    color = np.repeat(palette.skin[None], len(place), axis=0)
    for x, y, radii, tint, amount in BLUSH:
        for side in (-1.0, 1.0) if x else (1.0,):
            spot = blob(place, np.array([side * x, y, 20.0]), (*radii, 60.0))
            color = mix(color, palette.skin * tint, amount * spot)
    color = mix(color, palette.skin * FLUSH, 0.35 * ears)
    color = mix(color, palette.lip, lips)
    skin.color = mix(color, MOUTH, inside)
    skin.hidden = (inside > 0.5) & (place[:, 2] < MOUTH_DEPTH)
    skin.gloss = 0.14 + 0.26 * lips


def chin_shadow(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of light (V,) that the chin leaves to the neck: lamps hang above it.

    Args:
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
    """
    below, behind = -place[:, 1] - 88.0, 10.0 - place[:, 2]
    fade = np.clip(1 - (below - 25.0) / 40.0, 0, 1)
    return 1 - CHIN_SHADOW * np.clip(below / 16.0, 0, 1) * np.clip(behind / 22.0, 0, 1) * fade


def blob(points: NDArray[np.float64], centre: NDArray[np.float64], radii: tuple[float, float, float]) -> NDArray:
    """Return a soft spot (V,), 1 at `centre` and falling off like a Gaussian with `radii`."""
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


def _grown(values: NDArray[np.float64], triangles: NDArray[np.intp], rounds: int) -> NDArray[np.float64]:
    """Return at every vertex (V,) the largest of its value and its neighbours', `rounds` times over."""
    for _ in range(rounds):
        largest = values.copy()
        np.maximum.at(largest, triangles, values[triangles].max(axis=1, keepdims=True))
        values = largest
    return values


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
