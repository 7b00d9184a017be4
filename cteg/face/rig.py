"""The head: one file format and the one place where coefficients become vertices.

A rig holds a neutral mesh, sparse linear shapes and a few joints. Deformation has two steps:

    coefficients (T, 53) ──► linear shapes: v = neutral + sum_s weight_s · delta_s      (50 expressions + correctives)
                        └──► joints: v' = v + sum_j w_j (R_j (v - p_j) + p_j - v)        (jaw, eyes, lids)

`R_j` is the rotation by the vector `joint_drive[j] @ coefficients`. The jaw joint picks the three jaw coefficients; eye
and lid joints are driven by the eye shapes, so that gaze turns real spheres and lids slide over them on an arc. The
pivot is `p_j = joint_pivots[j] + pivot_drive[j] @ coefficients`: FLAME's jaw joint moves a little with the expression,
all other heads leave that at zero.

The file is one safetensors file (no pickle): shapes are int16 with one scale each. `save` writes a digest of all
tensors into the metadata and `load` checks it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError, WeightsError

# Dimensions: T frames, V vertices, F triangles, S shapes (50 expressions + C correctives), J joints; sparse entries:
# N of all shapes, M of all joints (in `held`: of one).

FORMAT = "cteg-rig-2"
OLD_FORMAT = "cteg-rig-1"
"""Without `pivot_drive`; still read."""

HEADS_DIR = Path(__file__).resolve().parents[2] / "weights" / "heads"
DEFAULT_HEAD = "default"
CORRECTIVES = {"none": 0, "jaw_angle": 1, "jaw_rotation": 9}
"""Number of corrective shapes by the kind that the metadata name."""

CHUNK = 64
"""Frames deformed at once: bounds the work memory (64 frames of 15,000 vertices take 12 MB)."""

TENSORS: dict[str, tuple[str, int]] = {
    "neutral": ("float32", 2),
    "triangles": ("uint16", 2),
    "color": ("uint8", 2),
    "occlusion": ("uint8", 1),
    "gloss": ("uint8", 1),
    "shape_offsets": ("uint32", 1),
    "shape_vertices": ("uint16", 1),
    "shape_deltas": ("int16", 2),
    "shape_scale": ("float32", 1),
    "joint_pivots": ("float32", 2),
    "joint_drive": ("float32", 3),
    "joint_offsets": ("uint32", 1),
    "joint_vertices": ("uint16", 1),
    "joint_weights": ("uint8 uint16", 1),
    "pivot_drive": ("float32", 3),
    "corrective_angle": ("float32", 1),
}
"""Every tensor of the file: element types that it may have and number of axes."""


class HasSpace(Protocol):
    """A rig, or what lists one."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def space(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Rig:
    """A head that can be posed by coefficients of one space.

    Attributes:
        name: Short name, also the file name of a bundled head.
        title: Name for people.
        licence: Licence and credit of the geometry, one line.
        space: Coefficient space that the shapes belong to, `open` or `flame`.
        shape_names: Names of the 50 expression shapes in coefficient order.
        joint_names: Names of the J joints.
        corrective: Kind of the corrective shapes, a key of `CORRECTIVES`.
        neutral: (V, 3) float32, metres; x to the character's left, y up, z out of the face.
        triangles: (F, 3) uint16, counter-clockwise seen from outside.
        color: (V, 3) uint8, sRGB base colour.
        occlusion: (V,) uint8, baked ambient occlusion, 255 = open.
        gloss: (V,) uint8, specular strength.
        shape_offsets: (S + 1,) uint32, shape s owns entries `shape_offsets[s]:shape_offsets[s + 1]`.
        shape_vertices: (N,) uint16, the vertex of each entry.
        shape_deltas: (N, 3) int16; times `shape_scale[s]` in metres.
        shape_scale: (S,) float32, metres per unit.
        joint_pivots: (J, 3) float32, metres.
        joint_drive: (J, 3, 53) float32, rotation vector (radians) of joint j = `joint_drive[j] @ coefficients`.
        joint_offsets: (J + 1,) uint32, joint j owns entries `joint_offsets[j]:joint_offsets[j + 1]`.
        joint_vertices: (M,) uint16, the vertex of each entry.
        joint_weights: (M,) uint8 or uint16, the weight as a share of the type's largest value; the remainder belongs
            to the static head. `held` returns it as a number.
        corrective_angle: (1,) float32, jaw angle (radians) at which the `jaw_angle` corrective is fully on.
        pivot_drive: (J, 3, 53) float32, metres by which a pivot moves per coefficient; zeros if not given.
    """

    name: str
    title: str
    licence: str
    space: str
    shape_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    corrective: str
    neutral: NDArray[np.float32]
    triangles: NDArray[np.uint16]
    color: NDArray[np.uint8]
    occlusion: NDArray[np.uint8]
    gloss: NDArray[np.uint8]
    shape_offsets: NDArray[np.uint32]
    shape_vertices: NDArray[np.uint16]
    shape_deltas: NDArray[np.int16]
    shape_scale: NDArray[np.float32]
    joint_pivots: NDArray[np.float32]
    joint_drive: NDArray[np.float32]
    joint_offsets: NDArray[np.uint32]
    joint_vertices: NDArray[np.uint16]
    joint_weights: NDArray[np.uint8] | NDArray[np.uint16]
    corrective_angle: NDArray[np.float32]
    pivot_drive: NDArray[np.float32] = None  # type: ignore[assignment] - filled in below
    _basis: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.pivot_drive is None:
            object.__setattr__(self, "pivot_drive", np.zeros((len(self.joint_names), 3, layout.D), dtype=np.float32))
        _check(self)
        for tensor in TENSORS:
            getattr(self, tensor).setflags(write=False)
        object.__setattr__(self, "_basis", _dense_shapes(self))

    @property
    def vertex_count(self) -> int:
        """Number of vertices V."""
        return len(self.neutral)

    def held(self, joint: int) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        """Return the vertices (M,) that a joint holds and their weights (M,), 0...1."""
        entries = slice(self.joint_offsets[joint], self.joint_offsets[joint + 1])
        largest = np.iinfo(self.joint_weights.dtype).max
        return self.joint_vertices[entries], self.joint_weights[entries].astype(np.float32) / np.float32(largest)

    def vertices(self, source: Clip | NDArray[np.floating]) -> NDArray[np.float32]:
        """Pose the head.

        Args:
            source: A clip, or coefficients (T, 53) or (53,) of the rig's own space.

        Returns:
            (T, V, 3) float32, metres.

        Raises:
            SpaceError: The clip belongs to another coefficient space.
            InputError: The coefficients have the wrong shape or are not finite.
        """
        coefficients = self._coefficients(source)
        posed = np.empty((len(coefficients), self.vertex_count, 3), dtype=np.float32)
        for start in range(0, len(coefficients), CHUNK):
            frames = coefficients[start : start + CHUNK]
            linear = self._apply_shapes(frames)
            posed[start : start + CHUNK] = self._apply_joints(linear, frames)
        return posed

    def _coefficients(self, source: Clip | NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the frames (T, 53) of a clip or array after checking that they fit this rig."""
        if isinstance(source, Clip):
            check_space(self, source.space)
            return source.coefficients
        coefficients = np.atleast_2d(np.asarray(source, dtype=np.float32))
        if coefficients.ndim != 2 or coefficients.shape[1] != layout.D:
            raise InputError(f"A head needs coefficients of shape (frames, {layout.D}), got {coefficients.shape}.")
        if not np.isfinite(coefficients).all():
            raise InputError("A head needs finite coefficients, got NaN or infinity.")
        return coefficients

    def _apply_shapes(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return neutral + weighted shapes, (T, V, 3)."""
        weights = np.concatenate([coefficients[:, layout.EXPRESSION], self.corrective_weights(coefficients)], axis=1)
        active = np.flatnonzero(weights.any(axis=0))
        posed = weights[:, active] @ self._basis[active]  # (T, A) @ (A, 3 V)
        posed += self.neutral.reshape(-1)
        return posed.reshape(len(coefficients), -1, 3)

    def corrective_weights(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weights (T, C) of the corrective shapes for coefficients (T, 53); they follow the jaw alone."""
        jaw = coefficients[:, layout.JAW]
        if self.corrective == "jaw_angle":
            angle = np.linalg.norm(jaw, axis=1, keepdims=True)
            return np.clip(angle / self.corrective_angle[0], 0.0, 1.0).astype(np.float32)
        if self.corrective == "jaw_rotation":
            return (rotation_matrices(jaw) - np.eye(3, dtype=np.float32)).reshape(-1, 9)
        return np.zeros((len(coefficients), 0), dtype=np.float32)

    def _apply_joints(self, linear: NDArray[np.float32], coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return v + sum_j w_j (R_j (v - p_j) + p_j - v) for v = `linear` (T, V, 3)."""
        posed = linear.copy()
        for joint in range(len(self.joint_names)):
            rotation_vectors = coefficients @ self.joint_drive[joint].T  # (T, 3)
            if not rotation_vectors.any():
                continue
            index, weight = self.held(joint)
            pivot = self.joint_pivots[joint] + coefficients @ self.pivot_drive[joint].T  # (T, 3)
            arm = linear[:, index] - pivot[:, None]  # (T, M, 3)
            turned = arm @ rotation_matrices(rotation_vectors).transpose(0, 2, 1)
            posed[:, index] += weight[:, None] * (turned - arm)
        return posed

    def save(self, path: str | Path) -> Path:
        """Write the rig as one safetensors file and return its path."""
        path = Path(path)
        tensors = {tensor: np.ascontiguousarray(getattr(self, tensor)) for tensor in TENSORS}
        metadata = {
            "format": FORMAT,
            "name": self.name,
            "title": self.title,
            "licence": self.licence,
            "space": self.space,
            "shape_names": json.dumps(self.shape_names),
            "joint_names": json.dumps(self.joint_names),
            "corrective": self.corrective,
            "sha256": _digest(tensors),
        }
        unfinished = path.with_name(path.name + ".part")
        save_file(tensors, unfinished, metadata)
        os.replace(unfinished, path)
        return path

    @classmethod
    def load(cls, source: str | Path = DEFAULT_HEAD) -> Rig:
        """Read a rig.

        Args:
            source: Name of a bundled head (a file in `weights/heads`) or the path of a rig file.

        Raises:
            WeightsError: The file is missing, damaged or not a rig.
        """
        path = _find(source)
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                tensors = {tensor: file.get_tensor(tensor) for tensor in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise WeightsError(f"The head file {path.name} is damaged or not a safetensors file.") from error
        found = metadata.get("format")
        if found not in (FORMAT, OLD_FORMAT):
            raise WeightsError(f"{path.name} is not a head of format {FORMAT}, got {found!r}.")
        wanted = [tensor for tensor in TENSORS if found == FORMAT or tensor != "pivot_drive"]
        if missing := sorted(set(wanted) - set(tensors)):
            raise WeightsError(f"The head file {path.name} lacks {', '.join(missing)}.")
        tensors = {tensor: tensors[tensor] for tensor in wanted}
        if metadata.get("sha256") != _digest(tensors):
            raise WeightsError(f"The head file {path.name} is damaged: its contents do not match their checksum.")
        try:
            return cls(
                **{key: metadata[key] for key in ("name", "title", "licence", "space", "corrective")},
                shape_names=tuple(json.loads(metadata["shape_names"])),
                joint_names=tuple(json.loads(metadata["joint_names"])),
                **tensors,
            )
        except (KeyError, json.JSONDecodeError, TypeError) as error:
            raise WeightsError(f"The head file {path.name} has incomplete metadata.") from error


def load_rig(source: str | Path = DEFAULT_HEAD) -> Rig:
    """Read a rig by name or path; short for `Rig.load`, whose errors it raises."""
    return Rig.load(source)


def check_space(rig: HasSpace, space: str) -> None:
    """Raise `SpaceError` if a clip of `space` cannot drive `rig`; the message names the way out."""
    if rig.space == space:
        return
    if space == "flame":
        way_out = (
            "choose a head made of your FLAME file ('python -m training.import_flame'), "
            "or give a map to this space ('python -m training.fit_flame_map', --map, CTEG_FLAME_MAP)"
        )
    else:
        way_out = f"choose the bundled head '{DEFAULT_HEAD}'"
    raise SpaceError(f"This clip is in the space '{space}' but the head '{rig.name}' is in '{rig.space}': {way_out}.")


def rotation_matrices(rotation_vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Turn rotation vectors (T, 3) in radians into matrices (T, 3, 3) by Rodrigues' formula."""
    vectors = np.asarray(rotation_vectors, dtype=np.float64)
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)  # cross(a) @ v = a x v
    # np.sinc is sin(pi x) / (pi x): both factors stay exact as the angle goes to zero.
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return (np.eye(3) + first * cross + second * (cross @ cross)).astype(np.float32)


def vertex_normals(vertices: NDArray[np.float32], triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return area-weighted unit normals (T, V, 3) of posed vertices (T, V, 3)."""
    corner = vertices[:, triangles]  # (T, F, 3 corners, 3)
    face = np.cross(corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0])
    count = vertices.shape[1]
    normals = np.empty_like(vertices)
    for frame in range(len(vertices)):
        for axis in range(3):
            spread = np.repeat(face[frame, :, axis], 3)
            normals[frame, :, axis] = np.bincount(triangles.ravel(), weights=spread, minlength=count)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return normals / np.maximum(length, 1e-20)


def _find(source: str | Path) -> Path:
    """Return the file of a bundled head's name or of a path."""
    path = Path(source)
    if path.suffix != ".safetensors" and path.name == str(source):
        path = HEADS_DIR / f"{source}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in HEADS_DIR.glob("*.safetensors"))) or "none"
        raise WeightsError(f"There is no head '{source}'; bundled heads: {known}.")
    return path


def _digest(tensors: dict[str, NDArray]) -> str:
    """Return the SHA-256 of all tensors in alphabetical order, with type and shape."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _dense_shapes(rig: Rig) -> NDArray[np.float32]:
    """Unpack the shapes for one matrix product over all vertices: deltas (S, 3 V) in metres.

    A third of the vertices is moved by no shape; to leave them out costs ten times as much as to add nothing to them.
    """
    basis = np.zeros((len(rig.shape_scale), rig.vertex_count, 3), dtype=np.float32)
    for shape, scale in enumerate(rig.shape_scale):
        entries = slice(rig.shape_offsets[shape], rig.shape_offsets[shape + 1])
        basis[shape, rig.shape_vertices[entries]] = rig.shape_deltas[entries] * scale
    return basis.reshape(len(rig.shape_scale), -1)


def _check(rig: Rig) -> None:
    """Raise `WeightsError` with one sentence if any part of a rig does not fit the others."""

    def require(good: bool, what: str) -> None:
        if not good:
            raise WeightsError(f"The head '{rig.name}' is damaged: {what}.")

    for name, (dtype, axes) in TENSORS.items():
        tensor = getattr(rig, name)
        fits = tensor.dtype.name in dtype.split() and tensor.ndim == axes
        require(fits, f"{name} is not a {dtype.replace(' ', ' or ')} array with {axes} axes")
        require(dtype != "float32" or bool(np.isfinite(tensor).all()), f"{name} holds NaN or infinity")
    require(rig.space in layout.SPACES, f"unknown coefficient space {rig.space!r}")
    require(rig.corrective in CORRECTIVES, f"unknown corrective {rig.corrective!r}")
    require(len(rig.shape_names) == 50, f"expected 50 shape names, got {len(rig.shape_names)}")
    require(rig.space != "open" or rig.shape_names == layout.OPEN_SHAPES, "the shape names are not those of 'open'")
    count, shapes, joints = rig.vertex_count, 50 + CORRECTIVES[rig.corrective], len(rig.joint_names)
    expected = {
        "neutral": (count, 3),
        "triangles": (len(rig.triangles), 3),
        "color": (count, 3),
        "occlusion": (count,),
        "gloss": (count,),
        "shape_offsets": (shapes + 1,),
        "shape_deltas": (len(rig.shape_vertices), 3),
        "shape_scale": (shapes,),
        "joint_pivots": (joints, 3),
        "joint_drive": (joints, 3, layout.D),
        "joint_offsets": (joints + 1,),
        "joint_weights": (len(rig.joint_vertices),),
        "pivot_drive": (joints, 3, layout.D),
        "corrective_angle": (1,),
    }
    for name, shape in expected.items():
        got = getattr(rig, name).shape
        require(got == shape, f"{name} has shape {got}, expected {shape}")
    for name in ("triangles", "shape_vertices", "joint_vertices"):
        require(bool((getattr(rig, name) < count).all()), f"{name} points outside the {count} vertices")
    for offsets, entries in ((rig.shape_offsets, rig.shape_vertices), (rig.joint_offsets, rig.joint_vertices)):
        rising = bool((np.diff(offsets.astype(np.int64)) >= 0).all())
        require(rising and offsets[0] == 0 and offsets[-1] == len(entries), "offsets do not match their entries")
    require(float(rig.corrective_angle[0]) > 0, "corrective_angle is not positive")
