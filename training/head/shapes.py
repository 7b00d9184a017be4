"""From MakeHuman's face units to the 50 shapes, the jaw joint and its corrective.

The units come as displacements of the whole open face. What changes here: `browInnerUp` and `cheekPuff` are split into
left and right, weak units are strengthened, `jawOpen` becomes a hinge with skin weights and one corrective shape, and
`mouthClose` is turned into the frame of the opened jaw, where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.face.rig import rotation_matrices

SPLIT_SCALE = 0.002
"""Logistic scale in metres of the left/right split: 12 % to 88 % within 8 mm of the middle."""

SPLIT_UNITS = ("browInnerUp", "cheekPuff")
JAW_UNIT = "jawOpen"
UNITS: tuple[str, ...] = (
    *(name for name in layout.OPEN_SHAPES if not name.startswith(SPLIT_UNITS)),
    *SPLIT_UNITS,
    JAW_UNIT,
)
"""Face units that the builder reads."""


@dataclass(frozen=True)
class Hinge:
    """The jaw hinge.

    Attributes:
        pivot: (3,) metres, on the axis, in the middle of the head.
        angle: Radians at `jawOpen` = 1; the rotation is about +x.
        weights: (V,) skin weights 0...1.
    """

    pivot: NDArray[np.float64]
    angle: float
    weights: NDArray[np.float64]


def make_symmetric(units: dict[str, NDArray[np.float64]], partner: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    """Average every unit with the mirror image of its partner: hand-made units differ a little between the sides.

    Args:
        units: Unit name -> (N, 3).
        partner: (N,) vertex on the other side.
    """
    swap = {"Left": "Right", "Right": "Left"}
    even = {}
    for name, delta in units.items():
        side = next((s for s in swap if name.endswith(s)), None)
        other = units[name if side is None else name.removesuffix(side) + swap[side]]
        even[name] = (delta + other[partner] * [-1, 1, 1]) / 2
    return even


def split_sides(delta: NDArray[np.float64], x: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Split displacements (V, 3) into a left and a right part that add up to the whole."""
    left = 1 / (1 + np.exp(-np.clip(x / SPLIT_SCALE, -50, 50)))
    return {"Left": delta * left[:, None], "Right": delta * (1 - left)[:, None]}


def folded(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x and y (V, 2) of points (V, 3) with the right side laid over the left one."""
    return np.stack([np.abs(place[:, 0]), place[:, 1]], axis=1)


def fit_hinge(
    teeth: NDArray[np.float64],
    opened_teeth: NDArray[np.float64],
    skin: NDArray[np.float64],
    opened_delta: NDArray[np.float64],
    full_angle: float | None = layout.JAW_OPEN_RADIANS,
) -> Hinge:
    """Fit the jaw's rotation to the lower teeth and read skin weights off the displacement.

    The axis is x (the data are symmetric); the pivot is the fixed point of the planar rigid motion of the teeth. The
    weight of a vertex is the share of the rigid displacement that it makes: <d, rigid> / |rigid|^2.

    Args:
        teeth: (K, 3) lower teeth at rest, metres.
        opened_teeth: (K, 3) at jawOpen = 1.
        skin: (V, 3) vertices.
        opened_delta: (V, 3) displacement of the skin at jawOpen = 1.
        full_angle: Radians that the joint turns at jawOpen = 1; None for the angle of the teeth.
    """
    centre, opened_centre = teeth.mean(axis=0), opened_teeth.mean(axis=0)
    a, b = (teeth - centre)[:, 1:], (opened_teeth - opened_centre)[:, 1:]
    sine, cosine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()
    angle = float(np.arctan2(sine, cosine))  # Kabsch in the y-z plane; y to z is the positive turn about x
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    fixed = np.linalg.solve(np.eye(2) - turn, opened_centre[1:] - turn @ centre[1:])
    pivot = np.array([0.0, *fixed])
    rotation = rotation_matrices(np.array([[full_angle or angle, 0.0, 0.0]]))[0]
    rigid = (skin - pivot) @ rotation.T - (skin - pivot)
    weights = np.clip((opened_delta * rigid).sum(axis=1) / np.maximum((rigid**2).sum(axis=1), 1e-9), 0, 1)
    return Hinge(pivot, angle, weights)


def undo_joint(
    target: NDArray[np.float64],
    rest: NDArray[np.float64],
    pivot: NDArray[np.float64],
    rotation_vector: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the linear displacement (V, 3) that the joint then carries exactly to `target` (V, 3).

    Skinning maps u = v - p to ((1 - w) I + w R) u, so the displacement is that matrix's inverse on `target` - p, less
    the arm at rest.
    """
    rotation = rotation_matrices(rotation_vector[None])[0].astype(np.float64)
    blend = (1 - weights)[:, None, None] * np.eye(3) + weights[:, None, None] * rotation
    arm = np.linalg.solve(blend, (target - pivot)[:, :, None])[:, :, 0]
    return arm - (rest - pivot)


def jaw_shapes(
    rest: NDArray[np.float64],
    opened_delta: NDArray[np.float64],
    closed_delta: NDArray[np.float64],
    hinge: Hinge,
    full_angle: float = layout.JAW_OPEN_RADIANS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the jaw corrective and `mouthClose` (V, 3 each), exact where the joint has turned by `full_angle`."""
    vector = np.array([full_angle, 0.0, 0.0])
    corrective = undo_joint(rest + opened_delta, rest, hinge.pivot, vector, hinge.weights)
    both = undo_joint(rest + opened_delta + closed_delta, rest, hinge.pivot, vector, hinge.weights)
    return corrective, both - corrective
