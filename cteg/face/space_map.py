"""From the `flame` space to the `open` space, so that weights trained on FLAME data can drive the bundled heads.

A map belongs to one user's FLAME file and is fitted on their machine (`python -m training.fit_flame_map`); none ships.
It holds what a least-squares fit of open shapes to FLAME's motion needs, summed up over the faces' surfaces:

    minimise over w in 0...1:   |D w - B e|^2  =  w' (D'D) w - 2 w' (D'B) e + const

D is the motion of the 50 open shapes, B that of the 50 FLAME components at corresponding points of the faces. `gram` is
D'D and `cross` is D'B; the bounds are kept exactly in every frame. The jaw is carried over on its own: it is a rotation
in both spaces, scaled so that the chins move alike.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.rig import Rig

# Dimensions: T frames; 50 open shapes, 50 FLAME components.

FORMAT = "cteg-space-map-1"
SHAPES = {"gram": (50, 50), "cross": (50, 50), "upper": (50,), "jaw_scale": (3,)}
MOUTH_CLOSE = layout.INDEX["mouthClose"]
TOLERANCE = 2e-4
"""Largest change of a weight in the last sweep of the solver."""

MAX_SWEEPS = 2000


@dataclass(frozen=True, eq=False)
class SpaceMap:
    """A fitted map from `flame` to `open`.

    Attributes:
        gram: (50, 50) float32, products of the open shapes' motions, positive definite.
        cross: (50, 50) float32, products of open shapes (rows) and FLAME components (columns).
        upper: (50,) float32, highest weight of each open shape, 0...1; 0 where FLAME's components say nothing (gaze).
        jaw_scale: (3,) float32, open jaw rotation per FLAME jaw rotation, by axis.
        source: Name of the FLAME head it was fitted to.
        target: Name of the open head it was fitted to.
    """

    gram: NDArray[np.float32]
    cross: NDArray[np.float32]
    upper: NDArray[np.float32]
    jaw_scale: NDArray[np.float32]
    source: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        for name, shape in SHAPES.items():
            tensor = getattr(self, name)
            if tensor.shape != shape or tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise InputError(f"The map is damaged: {name} is not a finite float32 array of shape {shape}.")
        if np.linalg.eigvalsh(self.gram.astype(np.float64))[0] <= 0:
            raise InputError("The map is damaged: gram is not positive definite.")

    def apply(self, clip: Clip) -> Clip:
        """Return the clip in the `open` space.

        Raises:
            SpaceError: The clip is not in the `flame` space.
        """
        if clip.space != "flame":
            raise SpaceError(f"This map is for clips of the space 'flame', got one of '{clip.space}'.")
        jaw = clip.coefficients[:, layout.JAW] * self.jaw_scale
        jaw = np.clip(jaw, layout.JAW_LIMITS[:, 0], layout.JAW_LIMITS[:, 1])
        upper = np.tile(self.upper, (len(clip), 1))
        # Lips can only close a mouth that is open: more of this shape would push them through each other.
        upper[:, MOUTH_CLOSE] *= np.clip(jaw[:, 0] / layout.JAW_OPEN_RADIANS, 0, 1)
        pull = clip.coefficients[:, layout.EXPRESSION] @ self.cross.T
        weights = solve_bounded(self.gram, pull, upper)
        return dataclasses.replace(clip, coefficients=np.concatenate([weights, jaw], axis=1), space="open")

    def save(self, path: str | Path) -> Path:
        """Write the map as a safetensors file and return its path."""
        path = Path(path)
        unfinished = path.with_name(path.name + ".part")
        metadata = {"format": FORMAT, "source": self.source, "target": self.target}
        save_file({name: np.ascontiguousarray(getattr(self, name)) for name in SHAPES}, unfinished, metadata)
        os.replace(unfinished, path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> SpaceMap:
        """Read a map written by `save`.

        Raises:
            InputError: The file is missing, damaged or not a map.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"There is no map {path}; make one with 'python -m training.fit_flame_map'.")
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in SHAPES if name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise InputError(f"{path.name} is damaged or not a map.") from error
        if metadata.get("format") != FORMAT or len(tensors) != len(SHAPES):
            raise InputError(f"{path.name} is not a map of format {FORMAT}.")
        return cls(**tensors, source=metadata.get("source", ""), target=metadata.get("target", ""))


def clips_for(rig: Rig, clips: Sequence[Clip], map_path: str | Path | None) -> list[Clip]:
    """Return clips that drive `rig`: `flame` clips are mapped for an `open` head where a map is given.

    All others come back as they are; whoever draws them refuses what does not fit (`cteg.face.rig.check_space`).

    Raises:
        InputError: The map cannot be read.
    """
    if map_path is None or rig.space != "open" or all(clip.space == "open" for clip in clips):
        return list(clips)
    fitted = SpaceMap.load(map_path)
    return [fitted.apply(clip) if clip.space == "flame" else clip for clip in clips]


def solve_bounded(
    gram: NDArray[np.floating], pull: NDArray[np.floating], upper: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Minimise w' gram w / 2 - pull' w for 0 <= w <= upper in every frame.

    Coordinate descent: each weight in turn takes its best value given the others, for all frames at once. The task is
    strictly convex, so this ends at the one solution.

    Args:
        gram: (S, S), symmetric and positive definite.
        pull: (T, S).
        upper: (T, S), at least 0.

    Returns:
        (T, S) float32.
    """
    gram, gradient = np.asarray(gram, dtype=np.float64), -np.asarray(pull, dtype=np.float64)
    weights = np.zeros_like(gradient)
    for _ in range(MAX_SWEEPS):
        largest = 0.0
        for shape in range(gradient.shape[1]):
            best = np.clip(weights[:, shape] - gradient[:, shape] / gram[shape, shape], 0, upper[:, shape])
            change = best - weights[:, shape]
            weights[:, shape] = best
            gradient += change[:, None] * gram[shape]
            largest = max(largest, float(np.abs(change).max(initial=0)))
        if largest < TOLERANCE:
            break
    return weights.astype(np.float32)
