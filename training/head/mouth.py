"""Teeth in rounded rows and the tongue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.head.part import Part, grid_triangles

ENAMEL = np.array([238, 230, 214])
GROOVE = np.array([186, 160, 140])
GUM = np.array([186, 92, 92])
TONGUE = np.array([196, 92, 94])
TONGUE_ROWS, TONGUE_COLUMNS = 9, 9
TONGUE_SIDES = np.array([0.55, 0.62, 0.66, 0.67, 0.66, 0.62, 0.53, 0.36, 0.1])
"""Half width from root to tip as a share of the tooth arch's."""

TONGUE_TOP = np.array([-13.0, -6.0, -2.0, -0.5, -0.8, -1.8, -3.2, -4.8, -7.0])
"""Height of the middle of the tongue from root to tip over the edge of the lower teeth, millimetres."""

TONGUE_GROOVE, TONGUE_ROUND = 1.3, 5.5
"""Millimetres: depth of the groove along the middle, drop of the sides."""

UPPER_WIDTHS = np.array([8.6, 6.6, 7.6, 7.0, 6.8, 10.0])
LOWER_WIDTHS = np.array([5.3, 5.9, 6.8, 7.0, 7.1, 11.0])
"""Crown widths in millimetres from the middle to the first molar (textbook means); scaled to the arch."""

UPPER_LENGTH = np.array([1.0, 0.93, 0.99, 0.91, 0.86, 0.82])
LOWER_LENGTH = np.array([0.97, 0.97, 1.0, 0.95, 0.92, 0.9])
"""Crown height from the middle to the molar relative to the highest."""

ARCH_SHARE = 0.8
"""Share of the arch that the teeth fill; what lies behind is never seen."""

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
    (0.86, -2.6, True),
)
"""Cross-section from the gum over the crown and the biting edge to the inner side: height (0 gum, 1 edge), outward
millimetres, enamel or gum."""

PHASES = np.array([0.015, 0.13, 0.5, 0.87, 0.985])
BULGE = np.array([0.0, 0.78, 1.0, 0.78, 0.0])
WHITE = np.array([0.0, 0.92, 1.0, 0.92, 0.0])
"""Columns of vertices over a tooth: share of its width, how far it stands out, how white it is. Narrow dark grooves and
nearly flat faces make single teeth."""


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
    borders = np.concatenate([[0.0], np.cumsum(widths)]) / widths.sum() * length[-1] * ARCH_SHARE
    position, bulge, white, tooth = _columns(borders)
    arch = np.stack([np.interp(np.abs(position), length, points[:, axis]) for axis in (0, 1)], axis=1)
    arch[:, 0] *= np.sign(position)
    arch[:, 1] -= TEETH_BACK if upper else TEETH_BACK + OVERBITE
    ahead = np.gradient(arch, axis=0)
    outward = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    low, high = teeth[:, 1].min(), teeth[:, 1].max()
    gum, edge = (high, low - UPPER_DROP) if upper else (low, high - LOWER_DROP)
    tip = gum + (edge - gum) * (UPPER_LENGTH if upper else LOWER_LENGTH)[tooth] * (0.9 + 0.1 * bulge)
    rows, colors = [], []
    for height, out, is_enamel in PROFILE:
        swell = (out + (0.75 * (bulge - 0.75) if is_enamel else 0.25 * bulge)) * 1e-3
        x, z = arch[:, 0] + outward[:, 0] * swell, arch[:, 1] + outward[:, 1] * swell
        scallop = 0.09 * (1 - bulge) if 0 < height < 0.5 else 0.0  # the gum reaches further between two teeth
        rows.append(np.stack([x, gum + (tip - gum) * (height + scallop), z], axis=1))
        shade = white[:, None]
        colors.append(
            GROOVE * (1 - shade) + ENAMEL * shade if is_enamel else np.repeat(GUM[None], len(position), axis=0)
        )
    vertices = np.concatenate(rows)
    triangles = grid_triangles(len(PROFILE), len(position))
    triangles = triangles[:, [0, 2, 1]] if upper else triangles
    side = _side_shade(vertices, teeth)
    color = np.concatenate(colors) * (1 - 0.85 * side)[:, None]
    return Part(vertices, triangles, color, 0.5 * (1 - side), occlusion=_mouth_shadow(vertices, teeth))


def tongue(teeth: NDArray[np.float64]) -> Part:
    """Return the tongue: a rounded tip behind the lower teeth, a groove along the middle, its back in the dark.

    Args:
        teeth: (K, 3) vertices of MakeHuman's lower helper teeth, metres.
    """
    low, high = teeth.min(axis=0), teeth.max(axis=0)
    along, across = np.meshgrid(np.linspace(0, 1, TONGUE_ROWS), np.linspace(-1, 1, TONGUE_COLUMNS), indexing="ij")
    side = np.sin(across * np.pi / 2)  # closer columns at the sides, where the surface turns down
    half = high[0] * TONGUE_SIDES[:, None]
    front, back = high[2] - 0.0095, low[2] + 0.004
    tip = np.clip((along - 0.75) / 0.25, 0, 1)
    z = back + (front - back) * along - 0.003 * tip * np.abs(side) ** 2
    edge = high[1] - LOWER_DROP
    groove = TONGUE_GROOVE * np.exp(-((side / 0.16) ** 2)) * np.clip(1.15 - along, 0, 1)
    y = edge + (TONGUE_TOP[:, None] - TONGUE_ROUND * np.abs(side) ** 3.2 - groove) * 1e-3
    vertices = np.stack([side * half, y, z], axis=2).reshape(-1, 3)
    depth = along.ravel()
    shade = (0.3 + 0.7 * depth)[:, None] * (1 - 0.12 * np.exp(-((side.ravel() / 0.16) ** 2)))[:, None]
    count = len(vertices)
    return Part(
        vertices,
        grid_triangles(TONGUE_ROWS, TONGUE_COLUMNS)[:, [0, 2, 1]],
        TONGUE * shade,
        np.full(count, 0.42),
        occlusion=0.06 + 0.6 * depth**1.5,
    )


def _columns(borders: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return signed arc position, bulge, whiteness and tooth index of every column, right to left."""
    count = len(borders) - 1
    position = (borders[:-1, None] + PHASES * np.diff(borders)[:, None]).ravel()
    half = [position, np.tile(BULGE, count), np.tile(WHITE, count), np.repeat(np.arange(count), len(PHASES))]
    other = [-position, *half[1:]]
    return tuple(np.concatenate([right[::-1], left]) for right, left in zip(other, half, strict=True))


def _mouth_shadow(vertices: NDArray[np.float64], teeth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return occlusion that darkens towards the back and the corners of the mouth; baking sees only closed lips."""
    depth = np.clip((vertices[:, 2] - teeth[:, 2].min()) / np.ptp(teeth[:, 2]), 0, 1)
    return (0.15 + 0.8 * depth**1.2) * (1 - 0.9 * _side_shade(vertices, teeth))


def _side_shade(vertices: NDArray[np.float64], teeth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 0 at the front teeth and 1 from the mouth's corners on: the dark corridor beside a smile's teeth."""
    return np.clip((np.abs(vertices[:, 0]) / teeth[:, 0].max() - 0.41) / 0.14, 0, 1)
