"""Short hair as a sculpted cap: a grid from the crown to the hairline, raised off the skull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.head.part import Part, grid_triangles

COLUMNS, ROWS = 112, 12

HAIRLINE = np.array(
    [
        [0, 60],
        [12, 62],
        [24, 63],
        [34, 60],
        [42, 53],
        [49, 43],
        [55, 31],
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
"""Hairline of one half: azimuth in degrees (0 = front, 180 = back) and height over the eyes in millimetres."""

CROWN = np.array([0.0, 0.93, -0.37])
"""Direction of the whorl from the middle of the skull: up and back."""

TUFT = 0.0011
"""Metres by which locks of hair roughen the hairline."""

SHORT, VOLUME = 0.0055, 0.0055
"""Thickness in metres at the sides, and what the top of the forehead adds."""


def cast(
    origins: NDArray[np.float64], directions: NDArray[np.float64], corners: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance (n,) to the farthest of the triangles (F, 3, 3) that each ray hits, NaN without a hit.

    Reference: Moeller and Trumbore 1997.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    distance = np.full(len(origins), np.nan)
    for ray in range(len(origins)):
        across = np.cross(directions[ray], second)
        determinant = (first * across).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = origins[ray] - corners[:, 0]
            u = (offset * across).sum(axis=1) / determinant
            turned = np.cross(offset, first)
            v = (turned @ directions[ray]) / determinant
            t = (second * turned).sum(axis=1) / determinant
        hits = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
        if hits.any():
            distance[ray] = t[hits].max()
    return distance


def hair(skin: Part, place: NDArray[np.float64], skull: NDArray[np.bool_], tint: NDArray[np.float64]) -> Part:
    """Return the hair cap.

    Args:
        skin: The skin part.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        skull: (F,) True for skin triangles that may carry hair (no ears, no inner surfaces).
        eye_height: Height of the eyes, metres.
        tint: (3,) colour in the shade.
    """
    eye_height = skin.vertices[:, 1].max() - place[:, 1].max() * 1e-3
    corners = skin.vertices[skin.triangles[skull]]
    top = corners[:, :, 1].max()
    dome = corners[corners[:, :, 1].min(axis=1) > eye_height + 0.02]
    centre = np.array([0.0, (eye_height + top) / 2, (dome[:, :, 2].min() + dome[:, :, 2].max()) / 2])
    border = _border(corners, centre, eye_height)
    crown = CROWN / np.linalg.norm(CROWN)
    share = 1 - (1 - np.linspace(0.02, 1.0, ROWS)) ** 1.35  # closer rows at the hairline
    directions = _slerp(crown, border, share)  # (rows, columns, 3)
    flat = directions.reshape(-1, 3)
    radius = cast(np.repeat(centre[None], len(flat), axis=0), flat, corners).reshape(ROWS, COLUMNS)
    radius = _fill(radius)
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    forehead = np.exp(-(((directions - np.array([0.0, 0.72, 0.69])) / 0.7) ** 2).sum(axis=2))
    rim = np.clip((1 - share) / 0.22, 0, 1)[:, None]
    rim = rim * (2 - rim)  # rises steeply from the hairline and levels out
    bend = 2.2 * share[:, None]  # locks turn a little on their way from the whorl
    strands = 0.55 * np.sin(angle * 26 + bend) + 0.35 * np.sin(angle * 43 - bend + 1.0)
    thickness = (
        (SHORT + VOLUME * forehead) * rim
        + 0.0011 * strands * rim * np.linspace(0, 1, ROWS)[:, None]
        - 0.0012 * (1 - rim)
    )
    vertices = centre + directions * (radius + thickness)[:, :, None]
    light = np.clip(0.35 + 0.4 * strands, 0, 1)[:, :, None]
    lit = tint + np.minimum(0.7 * tint, (255 - tint) / 2)
    color = (tint * (1 - light) + lit * light).reshape(-1, 3)
    count = ROWS * COLUMNS
    cap = np.arange(COLUMNS)
    pole = (centre + crown * (radius[0].mean() + SHORT))[None]
    fan = np.stack([np.full(COLUMNS, count), cap, np.roll(cap, -1)], axis=1)
    triangles = np.concatenate([grid_triangles(ROWS, COLUMNS, closed=True)[:, [0, 2, 1]], fan])
    return Part(
        np.concatenate([vertices.reshape(-1, 3), pole]),
        triangles,
        np.concatenate([color, tint[None]]),
        np.full(count + 1, 0.13),
    )


def _border(corners: NDArray, centre: NDArray, eye_height: float) -> NDArray[np.float64]:
    """Return unit directions (COLUMNS, 3) from `centre` to the hairline on the skull."""
    azimuth = np.linspace(0, 360, COLUMNS, endpoint=False)
    height = np.interp(np.minimum(azimuth, 360 - azimuth), HAIRLINE[:, 0], HAIRLINE[:, 1]) * 1e-3
    height = gaussian_filter(height, 0.6, mode="wrap")
    height += TUFT * (np.sin(np.radians(azimuth) * 19) + 0.6 * np.sin(np.radians(azimuth) * 31 + 0.7))
    outward = np.stack([np.sin(np.radians(azimuth)), np.zeros(COLUMNS), np.cos(np.radians(azimuth))], axis=1)
    origins = np.repeat(centre[None], COLUMNS, axis=0)
    origins[:, 1] = eye_height + height
    distance = _fill(cast(origins, outward, corners)[None])[0]
    towards = origins + outward * distance[:, None] - centre
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def _slerp(start: NDArray, ends: NDArray, share: NDArray) -> NDArray[np.float64]:
    """Return directions (rows, columns, 3) on the great circles from `start` (3,) to `ends` (columns, 3)."""
    angle = np.arccos(np.clip(ends @ start, -1, 1))[None, :, None]
    portion = share[:, None, None]
    return (np.sin((1 - portion) * angle) * start + np.sin(portion * angle) * ends[None]) / np.sin(angle)


def _fill(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill gaps (rays through the ear) from their neighbours and take out single outliers, (rows, columns)."""
    known = np.isfinite(radius).astype(float)
    smooth = gaussian_filter(np.nan_to_num(radius), (0.8, 2.0), mode=("nearest", "wrap"))
    weight = gaussian_filter(known, (0.8, 2.0), mode=("nearest", "wrap"))
    estimate = smooth / np.maximum(weight, 1e-6)
    off = ~np.isfinite(radius) | (np.abs(np.nan_to_num(radius) - estimate) > 0.006)
    return np.where(off, estimate, np.nan_to_num(radius))
