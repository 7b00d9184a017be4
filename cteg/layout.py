"""The 53 coefficients of a facial expression: spaces, names, slices, units.

One frame is a vector of `D = 53` numbers: 50 expression coefficients followed by the jaw rotation as an axis-angle
vector in radians (a positive rotation about x opens the mouth). Two coefficient spaces share this layout:

- `open`: the 50 are weights (0...1) of named blendshapes, `OPEN_SHAPES`. They are the 52 ARKit shapes without
  `jawOpen`, `jawLeft`, `jawRight` (the jaw rotation takes their place) and `tongueOut`, with `browInnerUp` and
  `cheekPuff` split into left and right.
- `flame`: the 50 are FLAME / EMOCA expression components, unbounded principal components of a user's own FLAME file.

Axes of every head: x to the character's left, y up, z out of the face; metres.
"""

import numpy as np
from numpy.typing import NDArray

D = 53
EXPRESSION = slice(0, 50)
JAW = slice(50, 53)
FPS = 25

SPACES = ("open", "flame")

OPEN_SHAPES: tuple[str, ...] = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUpLeft",
    "browInnerUpRight",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuffLeft",
    "cheekPuffRight",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
)
JAW_NAMES = ("jawOpen", "jawTurn", "jawRoll")
COEFFICIENT_NAMES: tuple[str, ...] = (*OPEN_SHAPES, *JAW_NAMES)
INDEX: dict[str, int] = {name: index for index, name in enumerate(COEFFICIENT_NAMES)}

JAW_OPEN_RADIANS = 0.4346
"""Jaw angle of ARKit's `jawOpen` = 1: 24.9 degrees, the hinge measured on the MakeHuman teeth between both poses."""

JAW_TURN_RADIANS = 0.12
"""Jaw angle about y of ARKit's `jawLeft` = 1 (positive turns the chin to the character's left); our choice."""

JAW_LIMITS: NDArray[np.float32] = np.array([[-0.02, 0.52], [-0.15, 0.15], [-0.08, 0.08]], dtype=np.float32)
"""Lowest and highest jaw rotation (radians) per axis in the `open` space; wider than any training performance."""


def neutral() -> NDArray[np.float32]:
    """Return the neutral frame of either space: all 53 coefficients zero, (53,)."""
    return np.zeros(D, dtype=np.float32)


def clamp_open(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring `open` coefficients (..., 53) into their range: shapes 0...1, jaw within `JAW_LIMITS`."""
    clamped = np.empty_like(coefficients)
    clamped[..., EXPRESSION] = np.clip(coefficients[..., EXPRESSION], 0.0, 1.0)
    clamped[..., JAW] = np.clip(coefficients[..., JAW], JAW_LIMITS[:, 0], JAW_LIMITS[:, 1])
    return clamped


def mirror_index() -> NDArray[np.intp]:
    """Return the permutation (50,) that swaps every left shape with its right partner."""
    partner = {"Left": "Right", "Right": "Left"}
    order = []
    for name in OPEN_SHAPES:
        side = next((s for s in partner if name.endswith(s)), None)
        order.append(INDEX[name if side is None else name.removesuffix(side) + partner[side]])
    return np.array(order, dtype=np.intp)
