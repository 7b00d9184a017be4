"""Wrinkles: what raised, lowered and squeezed skin shows, as relief in the shapes that make it.

A crease is a line on the reference face. Across it the skin sinks along its normal and swells beside it, so that it
keeps its volume (the second derivative of a Gaussian); along it the depth fades towards the ends. The mesh gets
vertices for it where the crease runs: `has_creases` and `is_too_long` tell `subdivide` where.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.head.shapes import folded, split_sides

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Crease:
    """One crease and its mirror image.

    Attributes:
        shapes: Shape name (without its side, if it has one) -> depth in millimetres at weight 1.
        line: Points (x, y) in millimetres on the reference face, on the character's left side.
        width: Millimetres from the deepest line to the level of the skin.
        fade: Shares of the length over which the depth fades in and out; 0 = not at this end.
    """

    shapes: dict[str, float]
    line: Line
    width: float
    fade: tuple[float, float] = (0.3, 0.3)


def _forehead(y: float, depth: float) -> tuple[Crease, Crease]:
    """Return the inner and the outer part of a line over the forehead."""
    inner = ((0.0, y - 1.2), (10.0, y - 0.4), (20.0, y + 0.6), (30.0, y + 1.0))
    outer = ((12.0, y - 0.3), (22.0, y + 0.8), (32.0, y + 1.0), (41.0, y - 0.8), (49.0, y - 4.5))
    return (
        Crease({"browInnerUp": depth}, inner, 2.5, (0.0, 0.7)),
        Crease({"browOuterUp": 0.9 * depth}, outer, 2.5, (0.5, 0.35)),
    )


CREASES: tuple[Crease, ...] = (
    *_forehead(34.0, 0.55),
    *_forehead(41.5, 0.7),
    *_forehead(49.0, 0.5),
    # Frown lines between the brows, and the cross line over the root of the nose.
    Crease({"browDown": 1.5}, ((5.0, 5.0), (5.8, 14.0), (7.6, 25.0)), 2.3, (0.35, 0.4)),
    Crease({"browDown": 0.6, "noseSneer": 0.7}, ((0.0, 2.5), (5.0, 3.0), (10.0, 4.5)), 1.7, (0.0, 0.6)),
    # Lines on the sides of the nose.
    Crease({"noseSneer": 1.2}, ((2.0, -3.0), (6.0, -6.0), (11.0, -12.0)), 1.6),
    Crease({"noseSneer": 1.1}, ((2.5, -9.0), (6.5, -12.0), (11.0, -18.0)), 1.6),
    # Crow's feet.
    *(
        Crease({"cheekSquint": 0.45, "eyeSquint": 0.18, "mouthSmile": 0.13}, line, 1.4)
        for line in (
            ((47.0, 4.0), (52.0, 7.5), (58.0, 12.0)),
            ((47.5, 0.0), (53.0, 1.0), (60.0, 2.5)),
            ((47.0, -4.5), (52.0, -6.5), (58.0, -8.5)),
        )
    ),
    # Under the eye.
    Crease({"eyeSquint": 0.7, "cheekSquint": 0.5}, ((18.5, -9.0), (24.0, -12.5), (32.0, -13.5), (40.0, -11.0)), 2.0),
    # From the wing of the nose to the corner of the mouth.
    Crease(
        {"mouthSmile": 1.8},
        ((17.0, -40.5), (22.5, -46.0), (28.5, -53.5), (33.0, -62.0), (34.5, -72.0)),
        3.0,
        (0.15, 0.45),
    ),
    Crease(
        {"noseSneer": 1.3, "mouthUpperUp": 0.6},
        ((17.0, -40.5), (22.0, -46.0), (26.5, -55.0), (29.0, -65.0)),
        3.2,
        (0.2, 0.5),
    ),
    # From the corner of the mouth down, and over the chin.
    Crease({"mouthFrown": 0.75, "mouthPress": 0.4}, ((24.5, -71.0), (27.5, -79.0), (28.5, -90.0)), 3.2, (0.3, 0.5)),
    Crease({"mouthShrugLower": 1.2}, ((0.0, -85.0), (8.0, -85.8), (15.0, -88.5)), 2.4, (0.0, 0.5)),
    Crease({"mouthDimple": 1.1}, ((26.0, -60.0), (28.0, -66.0), (27.0, -73.0)), 2.2, (0.4, 0.4)),
)

SPLIT_REACH = 2.3
"""Widths from a crease within which quads are split in four."""

LONGEST = 0.95
"""Widths that an edge may reach across a crease."""


def add_creases(
    deltas: dict[str, NDArray[np.float64]],
    place: NDArray[np.float64],
    normals: NDArray[np.float64],
    depth: float = 1.0,
) -> None:
    """Add the creases to the shapes in place.

    Args:
        deltas: Shape name -> (V, 3) metres.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        normals: (V, 3) unit normals of the skin at rest.
        depth: Factor on all depths.
    """
    for crease in CREASES:
        relief = depth * _relief(folded(place), crease) * _front(place)
        sides = split_sides(relief[:, None] * normals * 1e-3, place[:, 0] * 1e-3)
        for shape, weight in crease.shapes.items():
            if shape in deltas:
                deltas[shape] = deltas[shape] + weight * (sides["Left"] + sides["Right"])
                continue
            for side, half in sides.items():
                deltas[shape + side] = deltas[shape + side] + weight * half


def has_creases(place: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points (n, 3), millimetres, lie near a crease."""
    distance = np.min([_nearest(folded(place), crease.line)[0] / crease.width for crease in CREASES], axis=0)
    return (distance < SPLIT_REACH) & (_front(place) > 0.5)


def is_too_long(middle: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which edges, given by middle (E, 3) and vector (E, 3) in millimetres, are too long across a crease."""
    flat, way = folded(middle), edge[:, :2] * np.where(middle[:, :1] < 0, [-1.0, 1.0], 1.0)
    wanted = np.zeros(len(middle), dtype=bool)
    for crease in CREASES:
        distance, share, tangent = _nearest(flat, crease.line)
        across = np.abs(way[:, 0] * tangent[:, 1] - way[:, 1] * tangent[:, 0])
        wanted |= (distance < 1.5 * crease.width) & (across > LONGEST * crease.width) & (share > 0) & (share < 1)
    return wanted & (_front(middle) > 0.5)


def _relief(flat: NDArray[np.float64], crease: Crease) -> NDArray[np.float64]:
    """Return the height (V,) of points (V, 2) over the skin for a crease of depth 1."""
    distance, share, _ = _nearest(flat, crease.line)
    start, end = (
        np.clip(x / fade, 0, 1) if fade else 1.0 for x, fade in zip((share, 1 - share), crease.fade, strict=True)
    )
    strength = start * end
    square = (distance / crease.width) ** 2
    return -(1 - square) * np.exp(-square / 1.4) * strength * strength * (3 - 2 * strength)


def _nearest(flat: NDArray[np.float64], line: Line) -> tuple[NDArray, NDArray, NDArray]:
    """Return distance (n,), share of the length (n,) and direction (n, 2) at the nearest point of a line."""
    points = np.array(line)
    ways = np.diff(points, axis=0)
    lengths = np.linalg.norm(ways, axis=1)
    offset = flat[:, None] - points[:-1]  # (n, segments, 2)
    along = np.clip((offset * ways).sum(axis=2) / lengths**2, 0, 1)
    distance = np.linalg.norm(offset - along[..., None] * ways, axis=2)
    best = distance.argmin(axis=1)
    row = np.arange(len(flat))
    before = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    share = (before[best] + along[row, best] * lengths[best]) / lengths.sum()
    return distance[row, best], share, ways[best] / lengths[best][:, None]


def _front(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 on the face and 0 behind it (n,)."""
    return np.clip((place[:, 2] + 40.0) / 12.0, 0, 1)
