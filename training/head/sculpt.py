"""What the face units lack, sculpted by soft moves: strength, a smile with cheeks, deeper creases.

Every entry is judged on rendered sheets (`python -m training.head.sheet`); positions are millimetres from the middle
between the eyes of the reference face on the character's left side, moves are millimetres, and the other side is the
mirror image. Another identity gets the same moves at the same vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from training.head.shapes import folded, split_sides

SIDES = {"Left": 1.0, "Right": -1.0}

GAIN = {
    "browInnerUp": 1.65,
    "browOuterUp": 1.35,
    "browDown": 1.4,
    "cheekSquint": 1.15,
    "mouthFrown": 1.5,
    "mouthStretch": 1.5,
    "mouthDimple": 1.3,
    "mouthShrugLower": 1.15,
    "mouthUpperUp": 1.3,
    "mouthLowerDown": 1.4,
    "mouthPucker": 1.15,
    "mouthRollLower": 0.85,
    "noseSneer": 1.6,
}
"""Strength of units that are hardly visible at 1 (by the start of their names); others stay as they are."""

SMILE_CORNER = (21.0, -67.0)
SMILE_SMOOTHING = 36
"""Corner of the mouth in millimetres, and rounds of averaging over neighbours beyond 7 mm from it."""

SNEER_BROWS_OUT = 0.6
"""Share of the lowering of the brows taken out of `noseSneer`: with it, disgust looks like anger."""

PRESS_ROLL = 0.38
"""Share of both lip rolls in `mouthPress`: MakeHuman's unit alone widens the mouth and looks like a smile."""


SEAL = {"mouthPress": 1.0, "mouthRollUpper": 0.7, "mouthRollLower": 0.7, "mouthFrown": 0.5}
SEAL_SPOT, SEAL_RADIUS = (19.5, -61.8), (6.0, 3.0)
"""Millimetres by which each lip moves towards the other near the corners, which gape, and where that is."""

REST_SEAL = 3.2
REST_SPOT, REST_RADIUS = (21.0, -67.3), (6.0, 5.0)
"""The same for the face at rest."""


@dataclass(frozen=True)
class Move:
    """One soft move of a one-sided shape.

    Attributes:
        shape: Name without its side.
        spot: (x, y) millimetres.
        radius: (x, y) millimetres of the Gaussian.
        move: (x, y, z) millimetres at the middle of the spot.
        end: Other end of a crease that starts at `spot`, or None for a round spot.
    """

    shape: str
    spot: tuple[float, float]
    radius: tuple[float, float]
    move: tuple[float, float, float]
    end: tuple[float, float] | None = None


MOVES = (
    Move("mouthSmile", (22.0, -67.0), (9.0, 8.0), (2.0, 2.2, -1.6)),  # corners up and in: a curve, not a stretched line
    Move("mouthSmile", (0.0, -72.0), (6.0, 7.0), (0.0, -0.2, 0.0)),
    Move("mouthSmile", (12.0, -68.0), (6.5, 7.0), (0.4, -2.0, 0.4)),  # a bow, not a wedge
    Move("mouthSmile", (39.0, -36.0), (15.0, 13.0), (1.0, 3.5, 4.0)),  # the cheek bunches up
    Move("mouthSmile", (30.0, -46.0), (7.0, 7.0), (0.6, 0.8, 1.8), (38.0, -60.0)),  # and the cheek beside it
    Move("cheekSquint", (36.0, -25.0), (15.0, 9.0), (0.0, 2.2, 2.2)),
    Move("cheekSquint", (29.0, -9.5), (14.0, 4.5), (0.0, 0.6, 0.2)),  # the lower lid rises with the cheek
    Move("eyeSquint", (29.0, -7.5), (14.0, 4.5), (0.0, 0.5, -0.3)),
    Move("mouthFrown", (21.0, -70.0), (8.0, 8.0), (0.5, -2.5, -0.8)),
    Move("mouthFrown", (25.0, -80.0), (8.0, 10.0), (0.0, 0.0, -0.8)),
    Move("browDown", (10.0, 17.0), (11.0, 10.0), (-2.6, -3.6, 1.6)),  # inner ends together and down
    Move("browDown", (46.0, 20.0), (14.0, 9.0), (0.0, 2.0, 0.0)),  # and the tails up: the slant reads as anger
    Move("browInnerUp", (13.0, 20.0), (9.0, 10.0), (-0.8, 3.2, 0.6)),  # oblique brows carry sadness, also over
    Move("browInnerUp", (45.0, 18.0), (11.0, 9.0), (0.0, -1.6, 0.0)),  # a browDown of its own (units 1 + 4)
    Move("noseSneer", (13.0, -42.0), (8.0, 9.0), (1.2, 2.2, 0.6)),  # wing of the nose lifts
    Move("noseSneer", (8.0, -6.0), (6.0, 8.0), (0.0, 0.8, 1.0)),
    Move("noseSneer", (27.0, -9.0), (13.0, 5.0), (0.0, 2.2, 0.4)),  # cheeks and lower lids rise with the nose
    Move("noseSneer", (30.0, -26.0), (13.0, 10.0), (0.0, 2.0, 1.8)),
    Move("mouthPress", (0.0, -69.0), (20.0, 16.0), (0.0, -1.6, 0.0)),  # the unit lifts the whole mouth
    Move("mouthPress", (23.0, -62.5), (10.0, 10.0), (-4.6, -5.4, -1.0)),
    Move("mouthStretch", (22.0, -69.0), (8.0, 8.0), (1.5, -2.0, -0.5)),
    Move("mouthPress", (12.0, -84.0), (14.0, 6.0), (0.0, 1.2, 1.4)),  # the chin tightens
    Move("mouthPress", (12.0, -58.0), (14.0, 4.0), (0.0, -0.6, 1.0)),
)


def strengthen(deltas: dict[str, NDArray[np.float64]], x: NDArray[np.float64], place: NDArray[np.float64]) -> None:
    """Scale weak shapes in place, thin the lips in `mouthPress` and keep most of the brows out of `noseSneer`.

    Args:
        deltas: Shape name -> (V, 3) metres.
        x: (V,) metres to the character's left.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
    """
    for name in deltas:
        for start, gain in GAIN.items():
            if name.startswith(start):
                deltas[name] = deltas[name] * gain
    for side in SIDES:
        kept = 1 - SNEER_BROWS_OUT * np.clip((place[:, 1] - 4.0) / 10.0, 0, 1)
        deltas["noseSneer" + side] = deltas["noseSneer" + side] * kept[:, None]
    thinning = split_sides(PRESS_ROLL * (deltas["mouthRollUpper"] + deltas["mouthRollLower"]), x)
    for side in SIDES:
        deltas["mouthPress" + side] = 0.7 * deltas["mouthPress" + side] + thinning[side]


def add_moves(deltas: dict[str, NDArray[np.float64]], place: NDArray[np.float64]) -> None:
    """Add the soft moves to the one-sided shapes in place.

    Args:
        deltas: Shape name -> (V, 3) metres.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
    """
    front = np.clip((place[:, 2] + 25.0) / 15.0, 0, 1)  # fades out behind the face
    for move in MOVES:
        for side, sign in SIDES.items():
            flip = np.array([sign, 1.0])
            weight = front * np.exp(-(_distance(place[:, :2] * flip, move) ** 2))
            share = 0.5 if move.spot[0] == 0 else 1.0  # a spot in the middle is shared by both sides
            name = move.shape + side
            deltas[name] = deltas[name] + share * weight[:, None] * np.array(move.move) * [sign, 1, 1] * 1e-3


def seal_lips(
    rest: NDArray[np.float64],
    deltas: dict[str, NDArray[np.float64]],
    place: NDArray[np.float64],
) -> None:
    """Close the gaps between the lips at their corners, in place; a lip is known by the shapes that move it.

    Args:
        rest: (V, 3) skin at rest, metres.
        deltas: Shape name -> (V, 3) metres.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
    """
    flat = folded(place)
    upper, lower = (
        sum(np.linalg.norm(deltas[shape + side], axis=1) for side in SIDES)
        for shape in ("mouthUpperUp", "mouthLowerDown")
    )
    towards = np.clip((place[:, 2] + 5) / 10, 0, 1) * (lower - upper) / (lower + upper + 1e-5) * 1e-3
    rest[:, 1] += REST_SEAL * towards * np.exp(-(((flat - REST_SPOT) / REST_RADIUS) ** 2).sum(axis=1))
    rise = towards * np.exp(-(((flat - SEAL_SPOT) / SEAL_RADIUS) ** 2).sum(axis=1))
    halves = split_sides(np.stack([np.zeros_like(rise), rise, np.zeros_like(rise)], axis=1), rest[:, 0])
    for shape, amount in SEAL.items():
        for side, half in halves.items():
            name = shape + side if shape + side in deltas else shape
            deltas[name] = deltas[name] + amount * half


def _distance(place: NDArray[np.float64], move: Move) -> NDArray[np.float64]:
    """Return the distance (V,) of points (V, 2) from a spot or a crease, in radii."""
    start = np.array(move.spot)
    way = np.zeros(2) if move.end is None else np.array(move.end) - start
    along = np.clip((place - start) @ way / max(way @ way, 1e-9), 0, 1)
    return np.linalg.norm((place - start - along[:, None] * way) / move.radius, axis=1)


def soften_smile(
    deltas: dict[str, NDArray[np.float64]],
    place: NDArray[np.float64],
    triangles: NDArray[np.intp],
) -> None:
    """Smooth `mouthSmile` away from the lips in place: the unit draws a hard line down the cheek.

    Args:
        deltas: Shape name -> (V, 3) metres.
        place: (V, 3) skin of the reference face, millimetres from the middle between its eyes.
        triangles: (F, 3).
    """
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    count = len(place)
    average = sparse.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
    average = sparse.diags(1 / np.maximum(np.asarray(average.sum(axis=1)).ravel(), 1)) @ average
    for side, sign in SIDES.items():
        away = np.linalg.norm(place[:, :2] - [sign * SMILE_CORNER[0], SMILE_CORNER[1]], axis=1)
        share = (0.6 * np.clip((away - 7.0) / 6.0, 0, 1))[:, None]
        name = "mouthSmile" + side
        for _ in range(SMILE_SMOOTHING):
            deltas[name] = deltas[name] + share * (average @ deltas[name] - deltas[name])
    gap, partner = cKDTree(place).query(place * [-1, 1, 1])  # triangles are not all mirrored, so neither is an average
    paired = (gap < 1e-3)[:, None]
    left, right = deltas["mouthSmileLeft"], deltas["mouthSmileRight"]
    even = np.where(paired, (left + right[partner] * [-1, 1, 1]) / 2, left)
    deltas["mouthSmileLeft"], deltas["mouthSmileRight"] = even, np.where(paired, even[partner] * [-1, 1, 1], right)
