"""Turn a user's FLAME file into a head of the `flame` space.

    python -m training.import_flame generic_model.pkl ~/cteg/flame.safetensors

FLAME (2020 or 2023, https://flame.is.tue.mpg.de) is licensed to persons: neither its file nor the head made of it may
be passed on. The pickle is read without running anything of it (`training.unpickle`).

What FLAME computes from the first 50 expression components e and the jaw rotation, with everything else at rest:

    v = template + sum_k e_k B_k + sum_n (R_jaw - 1)_n P_n        expression shapes, pose corrective
    p = jaw row of the joint regressor times (template + sum_k e_k B_k)
    v' = v + w_jaw (R_jaw (v - p) + p - v)                        linear blend skinning, a vertex's weights sum to 1

and that is what a rig with the corrective `jaw_rotation` and a `pivot_drive` computes. One thing changes: the origin
moves to the middle between FLAME's eye joints, as in every head of CTEG. The first vertices are FLAME's, in its order;
a dark lining of the inside follows, because FLAME has no mouth cavity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from cteg import layout
from cteg.errors import InputError
from cteg.face.rig import Rig
from training.common import plain_errors
from training.head.paint import bake_occlusion
from training.unpickle import Stub, read_pickle

# Dimensions: V vertices of FLAME, F triangles, J = 5 joints, S shape and expression components.

LICENCE = "FLAME licence of the Max Planck Society; for the licensed user only, do not pass on"
IDENTITY_COMPONENTS = 300
EXPRESSIONS = 50
NECK, JAW, LEFT_EYE, RIGHT_EYE = 1, 2, 3, 4
PARENTS = (0, NECK, NECK, NECK)
"""Parents of joints 1 to 4; joint 0 is the root."""

FEATURES = slice(9 * (JAW - 1), 9 * JAW)
"""Pose features of the jaw: the nine entries of R - 1, row by row; those of the neck come first."""

CLAY, LINING = (205, 178, 160), (52, 22, 22)
SCLERA, IRIS, PUPIL = (238, 236, 232), (84, 60, 42), (14, 12, 12)
IRIS_DEGREES, PUPIL_DEGREES = 29.0, 12.0
"""Angles of the edges from the gaze, seen from the middle of the eyeball: an iris of 11.7 mm in a ball of 24 mm."""

LINING_MOVE = 5e-5
"""Metres per unit; the lining leaves out smaller moves, which keeps the file small and shows nowhere."""

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Flame:
    """The parts of a FLAME file that a head needs, as plain float64 arrays in FLAME's own frame, metres.

    Attributes:
        template: (V, 3).
        triangles: (F, 3).
        expressions: (V, 3, 50) displacement per unit of each expression component.
        correctives: (V, 3, 9) displacement per unit of each entry of the jaw's R - 1.
        joint_regressor: (5, V).
        weights: (V, 5) skin weights.
    """

    template: NDArray[np.float64]
    triangles: NDArray[np.intp]
    expressions: NDArray[np.float64]
    correctives: NDArray[np.float64]
    joint_regressor: NDArray[np.float64]
    weights: NDArray[np.float64]


def read_flame(path: Path) -> Flame:
    """Read a FLAME pickle and check that its parts fit.

    Raises:
        InputError: The file is not FLAME's, damaged, or asks for something that is not allowed.
    """
    content = read_pickle(path, stubs=("chumpy", "scipy"))
    keys = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise InputError(f"{path.name} is not a FLAME model: expected a dictionary with {', '.join(keys)}.")
    parts = {key: _array(content[key], key, path.name) for key in keys}
    count, joints = len(parts["v_template"]), 5
    expected = {
        "v_template": (count, 3),
        "f": (len(parts["f"]), 3),
        "posedirs": (count, 3, 9 * (joints - 1)),
        "J_regressor": (joints, count),
        "weights": (count, joints),
        "kintree_table": (2, joints),
    }
    for key, shape in expected.items():
        if parts[key].shape != shape:
            raise InputError(f"{path.name} is not a FLAME model: {key} has shape {parts[key].shape}, expected {shape}.")
    components = parts["shapedirs"]
    if (
        components.ndim != 3
        or components.shape[:2] != (count, 3)
        or components.shape[2] < IDENTITY_COMPONENTS + EXPRESSIONS
    ):
        raise InputError(
            f"{path.name} has shapedirs of shape {components.shape}, expected ({count}, 3, 400): 300 of identity and "
            f"100 of expression, as in FLAME 2020 and 2023."
        )
    if tuple(parts["kintree_table"][0, 1:]) != PARENTS:
        raise InputError(f"{path.name} has another skeleton than FLAME's root, neck, jaw and two eyes.")
    if parts["f"].min() < 0 or parts["f"].max() >= count:
        raise InputError(f"{path.name} is damaged: its triangles point outside of the {count} vertices.")
    if np.abs(parts["weights"].sum(axis=1) - 1).max() > 1e-3:
        raise InputError(f"{path.name} is damaged: skin weights do not sum to 1.")
    return Flame(
        parts["v_template"],
        parts["f"].astype(np.intp),
        components[:, :, IDENTITY_COMPONENTS : IDENTITY_COMPONENTS + EXPRESSIONS],
        parts["posedirs"][:, :, FEATURES],
        parts["J_regressor"],
        parts["weights"],
    )


def _array(value: Any, key: str, name: str) -> NDArray[np.float64]:
    """Return a part as a dense finite array: numpy's own, the values of a chumpy object or a sparse matrix."""
    if isinstance(value, Stub) and isinstance(value.state, dict):
        state = value.state
        if value.kind.module.startswith("scipy.sparse") and value.kind.name.startswith(("csc", "csr")):
            value = _dense(state, by_column=value.kind.name.startswith("csc"))
        elif value.kind.module.startswith("chumpy"):
            value = state.get("x")
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name} is not a FLAME model: {key} is {value!r:.60} instead of numbers.")
    if not value.ndim:
        raise InputError(f"{name} is not a FLAME model: {key} is a single number.")
    value = value.astype(np.float64)
    if not np.isfinite(value).all():
        raise InputError(f"{name} is damaged: {key} holds NaN or infinity.")
    return value


def _dense(state: dict[str, Any], by_column: bool) -> NDArray[np.float64] | None:
    """Return the matrix that a compressed sparse matrix of scipy stands for, or None if it is not whole."""
    data, indices, starts = (state.get(key) for key in ("data", "indices", "indptr"))
    shape = state.get("_shape", state.get("shape"))
    if not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in (data, indices, starts)):
        return None
    if (
        not isinstance(shape, tuple)
        or len(shape) != 2
        or any(part.dtype.kind not in "iu" for part in (indices, starts))
    ):
        return None
    rows, columns = shape
    major, minor = (columns, rows) if by_column else (rows, columns)
    lengths = np.diff(starts)
    if len(lengths) != major or (lengths < 0).any() or lengths.sum() != len(indices) or len(data) != len(indices):
        return None
    if major * minor > 10**7 or (len(indices) and not 0 <= indices.min() <= indices.max() < minor):
        return None
    dense = np.zeros((major, minor))
    np.add.at(dense, (np.repeat(np.arange(major), lengths), indices), data)
    return dense.T if by_column else dense


def build_rig(flame: Flame, name: str = "flame") -> Rig:
    """Return the head of the `flame` space that moves as FLAME does."""
    joints = flame.joint_regressor @ flame.template  # (5, 3)
    origin = (joints[LEFT_EYE] + joints[RIGHT_EYE]) / 2
    template, count = flame.template - origin, len(flame.template)
    is_eye = flame.weights[:, [LEFT_EYE, RIGHT_EYE]].sum(axis=1) > 0.5
    inner = np.flatnonzero(~is_eye)
    number = np.zeros(count, dtype=np.intp)
    number[inner] = count + np.arange(len(inner))
    lining = number[flame.triangles[~is_eye[flame.triangles].any(axis=1)]][:, ::-1]  # seen from within only
    occlusion = bake_occlusion(template, flame.triangles)
    shapes = np.concatenate([flame.expressions, flame.correctives], axis=2)  # (V, 3, 59)
    lined = np.where(np.linalg.norm(shapes, axis=1, keepdims=True) > LINING_MOVE, shapes, 0)[inner]
    offsets, vertices, deltas, scales = _pack_shapes(np.concatenate([shapes, lined]))
    jaw_weights = np.round(np.clip(flame.weights[:, JAW], 0, 1) * 65535)
    held = np.flatnonzero(np.concatenate([jaw_weights, jaw_weights[inner]]))
    eyes = [np.flatnonzero(flame.weights[:, joint] > 0.5) for joint in (LEFT_EYE, RIGHT_EYE)]
    drive = np.zeros((3, 3, layout.D), dtype=np.float32)
    drive[0, :, layout.JAW] = np.eye(3)
    pivot_drive = np.zeros_like(drive)
    pivot_drive[0, :, layout.EXPRESSION] = np.einsum("v,vck->ck", flame.joint_regressor[JAW], flame.expressions)
    inside = np.ones(len(inner))
    return Rig(
        name=name,
        title="FLAME",
        licence=LICENCE,
        space="flame",
        shape_names=tuple(f"expression{index:02d}" for index in range(1, EXPRESSIONS + 1)),
        joint_names=("jaw", "eye_left", "eye_right"),
        corrective="jaw_rotation",
        neutral=np.concatenate([template, template[inner]]).astype(np.float32),
        triangles=np.concatenate([flame.triangles, lining]).astype(np.uint16),
        color=np.concatenate([_paint(flame, joints), inside[:, None] * LINING]).round().astype(np.uint8),
        occlusion=np.round(np.concatenate([occlusion, 0.25 * inside]) * 255).astype(np.uint8),
        gloss=np.concatenate([np.where(is_eye, 200, 30), 0 * inside]).astype(np.uint8),
        shape_offsets=offsets,
        shape_vertices=vertices,
        shape_deltas=deltas,
        shape_scale=scales,
        joint_pivots=(joints[[JAW, LEFT_EYE, RIGHT_EYE]] - origin).astype(np.float32),
        joint_drive=drive,
        joint_offsets=np.cumsum([0, len(held), *(len(eye) for eye in eyes)]).astype(np.uint32),
        joint_vertices=np.concatenate([held, *eyes]).astype(np.uint16),
        joint_weights=np.concatenate(
            [np.concatenate([jaw_weights, jaw_weights[inner]])[held], *(np.full(len(eye), 65535) for eye in eyes)]
        ).astype(np.uint16),
        corrective_angle=np.ones(1, dtype=np.float32),
        pivot_drive=pivot_drive,
    )


def _pack_shapes(shapes: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return offsets, vertices, int16 deltas and scales of dense shapes (V, 3, S); nothing visible is dropped."""
    offsets, vertices, deltas, scales = [0], [], [], []
    for shape in np.moveaxis(shapes, 2, 0):
        scale = max(float(np.abs(shape).max()), 1e-9) / 32767
        steps = np.round(shape / scale).astype(np.int16)
        moved = np.flatnonzero(steps.any(axis=1))
        offsets.append(offsets[-1] + len(moved))
        vertices.append(moved.astype(np.uint16))
        deltas.append(steps[moved])
        scales.append(scale)
    return (
        np.array(offsets, dtype=np.uint32),
        np.concatenate(vertices),
        np.concatenate(deltas),
        np.array(scales, dtype=np.float32),
    )


def _paint(flame: Flame, joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB colours (V, 3): clay, and eyes whose iris looks straight ahead (the file holds no colours)."""
    color = np.tile(np.array(CLAY, dtype=np.float64), (len(flame.template), 1))
    for joint in (LEFT_EYE, RIGHT_EYE):
        ball = np.flatnonzero(flame.weights[:, joint] > 0.5)
        if not len(ball):
            continue
        arm = flame.template[ball] - joints[joint]
        angle = np.degrees(np.arccos(np.clip(arm[:, 2] / np.maximum(np.linalg.norm(arm, axis=1), 1e-9), -1, 1)))
        color[ball] = np.where((angle < IRIS_DEGREES)[:, None], IRIS, SCLERA)
        color[ball[angle < PUPIL_DEGREES]] = PUPIL
    return color


@app.command()
@plain_errors
def main(
    pickle: Annotated[Path, typer.Argument(help="your FLAME file, e.g. generic_model.pkl or flame2023.pkl")],
    out: Annotated[Path, typer.Argument(help="head file to write, *.safetensors")],
) -> None:
    """Turn your FLAME file into a head for clips of the flame space."""
    flame = read_flame(pickle)
    if len(flame.template) * 2 > 65535:
        raise InputError(f"{pickle.name} has {len(flame.template)} vertices; a head may have 65,535 with its lining.")
    out.parent.mkdir(parents=True, exist_ok=True)
    rig = build_rig(flame, out.stem)
    rig.save(out)
    x, y, z = (flame.joint_regressor @ flame.template)[[LEFT_EYE, RIGHT_EYE]].mean(axis=0)
    typer.echo(f"{out}: {len(flame.template)} vertices of FLAME, {rig.vertex_count} with the lining.")
    typer.echo(f"FLAME's coordinates less ({x:.6f}, {y:.6f}, {z:.6f}) m, the middle between its eyes, are the head's.")
    typer.echo("This head is under your FLAME licence: keep it to yourself.")


if __name__ == "__main__":
    app()
