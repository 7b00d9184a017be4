"""Made-up FLAME files: the true layout with numbers of our own, so that no test needs the licensed model."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from scipy import sparse

from cteg import layout
from cteg.face.rig import Rig
from training.import_flame import Flame

IDENTITY, EXPRESSION = 300, 100


def head_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An egg with two eyeballs: vertices (V, 3) in metres, triangles (F, 3), part (V,) 0 skin, 1 and 2 the eyes."""
    skin = trimesh.creation.icosphere(subdivisions=3, radius=0.09)
    skin.vertices *= [0.8, 1.2, 1.0]
    meshes = [skin]
    for side in (0.03, -0.03):
        eye = trimesh.creation.icosphere(subdivisions=1, radius=0.012)
        eye.vertices += [side, 0.03, 0.075]
        meshes.append(eye)
    part = np.repeat([0, 1, 2], [len(mesh.vertices) for mesh in meshes])
    whole = trimesh.util.concatenate(meshes)
    offset = [0.001, -0.02, 0.015]  # FLAME's own origin is not between the eyes
    return np.asarray(whole.vertices) + offset, np.asarray(whole.faces), part


def flame_content(seed: int = 0) -> dict[str, Any]:
    """A FLAME-shaped model of plain float64 arrays; components are smooth waves of millimetres, like FLAME's."""
    generator = np.random.default_rng(seed)
    template, triangles, part = head_mesh()
    count, components = len(template), IDENTITY + EXPRESSION
    waves = generator.normal(scale=25, size=(components, 3))
    phase = generator.uniform(0, 2 * np.pi, components)
    size = 0.003 / np.sqrt(1 + np.arange(components) % IDENTITY)
    direction = generator.normal(size=(3, components))
    shapedirs = np.sin(template @ waves.T + phase)[:, None] * direction * size  # (V, 3, 400)
    posedirs = generator.normal(scale=0.002, size=(count, 3, 36))
    jaw = np.clip((-template[:, 1] - 0.01) / 0.05, 0, 1) * np.clip(template[:, 2] / 0.05, 0, 1)
    weights = np.zeros((count, 5))
    weights[:, 2] = jaw * 0.97
    weights[:, 1] = (1 - weights[:, 2]) * 0.8
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    for joint in (3, 4):
        weights[part == joint - 2] = np.eye(5)[joint]
    regressor = np.zeros((5, count))
    for joint in range(3):
        some = generator.choice(np.flatnonzero(part == 0), 12, replace=False)
        regressor[joint, some] = generator.dirichlet(np.ones(12))
    for joint in (3, 4):
        regressor[joint, part == joint - 2] = 1 / (part == joint - 2).sum()
    return {
        "v_template": template,
        "f": triangles.astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def write_flame(path: Path, content: dict[str, Any], protocol: int = 2) -> Path:
    """Write a pickle as FLAME's: shapes as chumpy objects, the regressor as a sparse matrix."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    package.ch = module
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    shapes = module.Ch()
    shapes.__dict__.update(x=content["shapedirs"], _dirty_vars={"x"}, is_valid=False)
    whole = {**content, "shapedirs": shapes, "J_regressor": sparse.csc_matrix(content["J_regressor"])}
    sys.modules |= {"chumpy": package, "chumpy.ch": module}
    try:
        path.write_bytes(pickle.dumps(whole, protocol))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    return path


def decode(content: dict[str, Any], expression: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) of one frame by the whole chain of five joints, written out the long way in float64."""
    from scipy.spatial.transform import Rotation

    components = content["shapedirs"][:, :, IDENTITY : IDENTITY + len(expression)]
    shaped = content["v_template"] + components @ expression
    joints = content["J_regressor"] @ shaped
    local = [np.eye(3), np.eye(3), Rotation.from_rotvec(jaw).as_matrix(), np.eye(3), np.eye(3)]
    feature = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in local[1:]])
    posed = shaped + content["posedirs"] @ feature
    parents = [None, 0, 1, 1, 1]
    turns, places = [], []
    for joint, parent in enumerate(parents):
        if parent is None:
            turns.append(local[joint])
            places.append(joints[joint])
        else:
            turns.append(turns[parent] @ local[joint])
            places.append(places[parent] + turns[parent] @ (joints[joint] - joints[parent]))
    moved = [posed @ turn.T + place - turn @ rest for turn, place, rest in zip(turns, places, joints, strict=True)]
    return np.einsum("vj,jvc->vc", content["weights"], np.stack(moved))


def flame_of_open_head(
    rig: Rig, mixing: np.ndarray, scale: float = 1.0, bend: Callable[[np.ndarray], np.ndarray] | None = None
) -> Flame:
    """A FLAME model whose true map to the open space is known: the skin of an open head under other names.

    Args:
        rig: The open head.
        mixing: (50, 50); component k moves the skin as the open weights `mixing[:, k]`.
        scale: Size of the new head.
        bend: Turns the skin (V, 3) into another face; its motion stays.
    """
    motion = rig.vertices(np.eye(layout.D, dtype=np.float32)[:50]) - rig.neutral  # (50, V, 3)
    generator = np.random.default_rng(0)
    eyes = [rig.held(rig.joint_names.index(f"eye_{side}"))[0] for side in ("left", "right")]
    # Brows, hair and teeth are meshes of their own; the skin is the largest one.
    mesh = trimesh.Trimesh(rig.neutral, rig.triangles, process=False)
    _, label = sparse.csgraph.connected_components(mesh.edges_sparse, directed=False)
    kept = np.concatenate([np.flatnonzero(label == np.bincount(label).argmax()), *eyes])
    kept = generator.permutation(kept)  # another order of the vertices
    number = np.full(rig.vertex_count, -1)
    number[kept] = np.arange(len(kept))
    triangles = number[rig.triangles]
    jaw = np.zeros(rig.vertex_count)
    held, share = rig.held(rig.joint_names.index("jaw"))
    jaw[held] = share
    weights = np.zeros((rig.vertex_count, 5))
    weights[:, 2], weights[:, 0] = jaw, 1 - jaw
    for joint, eye in zip((3, 4), eyes, strict=True):
        weights[eye] = np.eye(5)[joint]
    template = (rig.neutral if bend is None else bend(rig.neutral)).astype(np.float64) * scale
    still = np.flatnonzero(np.linalg.norm(motion[:, kept], axis=2).max(axis=0) == 0)
    regressor = np.zeros((5, len(kept)))
    for joint, name in ((2, "jaw"), (3, "eye_left"), (4, "eye_right")):
        pivot = np.append(rig.joint_pivots[rig.joint_names.index(name)] * scale, 1)
        affine = np.column_stack([template[kept[still]], np.ones(len(still))])
        regressor[joint, still] = np.linalg.lstsq(affine.T, pivot, rcond=None)[0]
    return Flame(
        template=template[kept],
        triangles=triangles[(triangles >= 0).all(axis=1)],
        expressions=np.einsum("svc,sk->vck", motion[:, kept] * scale, mixing),
        correctives=np.zeros((len(kept), 3, 9)),
        joint_regressor=regressor,
        weights=weights[kept],
    )
