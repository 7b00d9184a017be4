"""Teeth in rounded rows and the tongue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.head.part import Part, grid_triangles

ENAMEL = np.array([238, 230, 214])
GROOVE = np.array([186, 160, 140])
GUM = np.array([186, 92, 92])
TONGUE = np.array([190, 86, 88])
TONGUE_DROP, TONGUE_FLATTENING = 0.002, 0.55
"""Metres, and share of the height: MakeHuman's tongue fills the opened mouth like a wall."""


UPPER_WIDTHS = np.array([8.6, 6.6, 7.6, 7.0, 6.8, 10.0, 9.5])
LOWER_WIDTHS = np.array([5.3, 5.9, 6.8, 7.0, 7.1, 11.0, 10.5])
"""Crown widths in millimetres from the middle to the molars (textbook means); scaled to the arch."""

UPPER_LENGTH = np.array([1.0, 0.97, 1.0, 0.93, 0.86, 0.82, 0.78])
LOWER_LENGTH = np.array([0.97, 0.97, 1.0, 0.95, 0.92, 0.9, 0.88])
"""Crown height from the middle to the molars relative to the highest."""

TEETH_BACK = 0.0012
"""Metres that both rows stand behind MakeHuman's strips, so that stretched lips do not touch them."""

UPPER_DROP, LOWER_DROP = 0.003, 0.0042
OVERBITE = 0.0026
"""Metres: the upper incisors reach lower than MakeHuman's strip, to show in a smile; the lower ones stand behind."""

PROFILE = (
    (-0.35, -0.6, False),
    (0.22, 0.6, False),
    (0.34, 0.3, True),
    (0.62, 0.9, True),
    (0.9, 0.5, True),
    (1.0, -0.5, True),
    (0.9, -2.2, True),
    (0.2, -4.5, False),
)
"""Cross-section from the gum over the crown and the biting edge to the inner side: height (0 gum, 1 edge), outward
millimetres, enamel or gum."""

PER_TOOTH = 5
"""Columns of vertices per tooth."""


def arch_curve(teeth: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a smooth arch through the outer side of a helper strip of teeth.

    Returns:
        Arc length (n,) from the middle, metres, and points (n, 2) in x and z of the half arch with x >= 0.
    """
    low, high = teeth.min(axis=0), teeth.max(axis=0)
    half_width, depth = high[0], high[2] - low[2]
    turn = np.linspace(0, np.pi / 2, 200)
    # A superellipse: flatter at the front teeth and straighter at the sides than an ellipse.
    points = np.stack([half_width * np.sin(turn) ** 0.86, low[2] + depth * np.cos(turn) ** 0.86], axis=1)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return length, points


def teeth_row(teeth: NDArray[np.float64], *, upper: bool) -> Part:
    """Return one row of teeth built along the arch of a helper strip.

    Args:
        teeth: (K, 3) vertices of MakeHuman's helper teeth, metres.
        upper: Upper row (gum above) or lower row.
    """
    length, points = arch_curve(teeth)
    widths = UPPER_WIDTHS if upper else LOWER_WIDTHS
    borders = np.concatenate([[0.0], np.cumsum(widths)]) / widths.sum() * length[-1] * 0.97
    position, phase, tooth = _columns(borders)
    arch = np.stack([np.interp(np.abs(position), length, points[:, axis]) for axis in (0, 1)], axis=1)
    arch[:, 0] *= np.sign(position)
    arch[:, 1] -= TEETH_BACK if upper else TEETH_BACK + OVERBITE
    ahead = np.gradient(arch, axis=0)
    outward = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    bulge = np.sin(np.pi * phase)  # 0 in the groove between two teeth, 1 in the middle of a tooth
    low, high = teeth[:, 1].min(), teeth[:, 1].max()
    gum, edge = (high, low - UPPER_DROP) if upper else (low, high - LOWER_DROP)
    tip = gum + (edge - gum) * (UPPER_LENGTH if upper else LOWER_LENGTH)[tooth] * (0.95 + 0.05 * bulge**0.5)
    rows, colors = [], []
    for height, out, is_enamel in PROFILE:
        swell = (out + (0.9 * (bulge**0.6 - 0.75) if is_enamel else 0.25 * bulge)) * 1e-3
        x, z = arch[:, 0] + outward[:, 0] * swell, arch[:, 1] + outward[:, 1] * swell
        rows.append(np.stack([x, gum + (tip - gum) * height, z], axis=1))
        shade = np.clip(bulge * 1.6, 0, 1)[:, None]
        colors.append(
            GROOVE * (1 - shade) + ENAMEL * shade if is_enamel else np.repeat(GUM[None], len(position), axis=0)
        )
    vertices = np.concatenate(rows)
    triangles = grid_triangles(len(PROFILE), len(position))
    triangles = triangles[:, [0, 2, 1]] if upper else triangles
    side = _side_shade(vertices, teeth)
    color = np.concatenate(colors) * (1 - 0.75 * side)[:, None]
    return Part(vertices, triangles, color, 0.5 * (1 - side), occlusion=_mouth_shadow(vertices, teeth))


def tongue(vertices: NDArray[np.float64], quads: NDArray[np.intp]) -> Part:
    """Return the tongue from MakeHuman's helper (K, 3) and its quads."""
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    count = len(vertices)
    depth = (vertices[:, 2] - vertices[:, 2].min()) / np.ptp(vertices[:, 2])
    base = vertices.min(axis=0)[1]
    flat = vertices * np.array([0.86, TONGUE_FLATTENING, 1.0])
    flat[:, 1] += base * (1 - TONGUE_FLATTENING) - TONGUE_DROP
    groove = np.exp(-((vertices[:, 0] / 0.0025) ** 2))
    color = TONGUE * (0.35 + 0.65 * depth)[:, None] * (1 - 0.14 * groove)[:, None]
    return Part(flat, triangles, color, np.full(count, 0.3), occlusion=0.05 + 0.65 * depth**1.6)


def _columns(borders: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray]:
    """Return signed arc position, phase 0...1 within the tooth and tooth index of every column, right to left."""
    steps = (np.arange(PER_TOOTH) + 0.02) / (PER_TOOTH - 1 + 0.04)
    position, phase, tooth = [], [], []
    for index in range(len(borders) - 1):
        position.append(borders[index] + steps * (borders[index + 1] - borders[index]))
        phase.append(steps)
        tooth.append(np.full(PER_TOOTH, index))
    half = [np.concatenate(values) for values in (position, phase, tooth)]
    return (
        np.concatenate([-half[0][::-1], half[0]]),
        np.concatenate([half[1][::-1], half[1]]),
        np.concatenate([half[2][::-1], half[2]]),
    )


def _mouth_shadow(vertices: NDArray[np.float64], teeth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return occlusion that darkens towards the back and the corners of the mouth; baking sees only closed lips."""
    depth = np.clip((vertices[:, 2] - teeth[:, 2].min()) / np.ptp(teeth[:, 2]), 0, 1)
    return (0.15 + 0.8 * depth**1.2) * (1 - 0.75 * _side_shade(vertices, teeth))


def _side_shade(vertices: NDArray[np.float64], teeth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 at the front teeth and 1 from the mouth's corners on: the dark corridor beside a smile's teeth."""
    return np.clip((np.abs(vertices[:, 0]) / teeth[:, 0].max() - 0.42) / 0.25, 0, 1)
