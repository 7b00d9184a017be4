"""Deforming the head: by all shapes, entry by entry, and as `Rig` does it.

What the player takes for a face is measured in the browser (`app.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import cteg
from cteg import layout
from cteg.face.rig import Rig
from training.benchmark.timing import in_turns


def entries(rig: Rig) -> list[tuple[NDArray[np.uint16], NDArray[np.float32]]]:
    """Of every shape: which vertices it moves (n,), and how far (n, 3) metres."""
    ranges = [slice(*pair) for pair in zip(rig.shape_offsets[:-1], rig.shape_offsets[1:], strict=True)]
    return [
        (rig.shape_vertices[own], rig.shape_deltas[own] * scale)
        for own, scale in zip(ranges, rig.shape_scale, strict=True)
    ]


def shape_weights(rig: Rig, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 53) coefficients -> (T, S) weights of expressions and correctives."""
    return np.concatenate([coefficients[:, layout.EXPRESSION], rig.corrective_weights(coefficients)], axis=1)


def apply_densely(rig: Rig, basis: NDArray[np.float32], coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Neutral and all shapes by one product with `basis` (S, 3 V), (T, V, 3)."""
    moved = shape_weights(rig, coefficients) @ basis
    return rig.neutral + moved.reshape(len(coefficients), -1, 3)


def apply_sparsely(rig: Rig, shapes: list, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same entry by entry."""
    posed = np.repeat(rig.neutral[None], len(coefficients), axis=0)
    for weight, (vertices, deltas) in zip(shape_weights(rig, coefficients).T, shapes, strict=True):
        if weight.any():
            posed[:, vertices] += weight[:, None, None] * deltas
    return posed


def measure_head(frames: int = 64, rounds: int = 5) -> dict[str, float]:
    """Seconds for a random clip, and ratios.

    Args:
        frames: Length of the clip.
        rounds: Turns of each way.
    """
    rig = cteg.load_rig()
    rng = np.random.default_rng(0)
    coefficients = np.zeros((frames, layout.D), dtype=np.float32)
    shown = rng.choice(50, 20, replace=False)  # a face at work uses some twenty of its shapes
    coefficients[:, shown] = rng.random((frames, 20))
    coefficients[:, layout.INDEX["jawOpen"]] = 0.3
    basis, shapes = rig._basis, entries(rig)
    dense, sparse, ours = "all shapes, one product", "shapes in use, entry by entry", "shapes in use, as Rig does"
    times = in_turns(
        {
            dense: lambda: apply_densely(rig, basis, coefficients),
            sparse: lambda: apply_sparsely(rig, shapes, coefficients),
            ours: lambda: rig._apply_shapes(coefficients),
            "shapes and joints": lambda: rig.vertices(coefficients),
        },
        rounds,
    )
    figures = {f"{name} (ms a frame)": 1000 * value / frames for name, value in times.items()}
    return figures | {
        "one product with all shapes takes times Rig": times[dense] / times[ours],
        "entry by entry takes times Rig": times[sparse] / times[ours],
        "dense shapes (MB)": basis.nbytes / 1e6,
        "the head's file (MB)": sum(getattr(rig, name).nbytes for name in ("shape_vertices", "shape_deltas")) / 1e6,
    }
