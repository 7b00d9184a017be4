"""GLB: a head that performs a clip, for Blender, three.js, game engines and anything else that reads glTF 2.0.

glTF moves a mesh as a rig does, morph targets first, then joints, so the file holds the rig itself, not baked frames:

    50 shapes + correctives ──► morph targets, named         coefficients ──► animation of their weights
    jaw, eyes, lids         ──► joints of a skin                          └─► animation of the joints' rotations
    colour x occlusion      ──► COLOR_0, linear light        gloss ──► roughness, by a texture of one row

Shading: each morph target carries the change of the normals, too. It is not the change that the shape alone makes but
the one that, *after* the joints have turned the normals, gives the true normals of the head posed by that coefficient
(a blink is almost all joint). Skinning leaves out that weights differ from vertex to vertex; this puts it back.

Only glTF 2.0 as it stands is used, no extension: targets are sparse accessors of floats.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cteg
from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.gltf import ARRAY_BUFFER, ELEMENT_BUFFER, Binary
from cteg.face.render import DARKEST, HIGHLIGHT, to_linear
from cteg.face.rig import Rig, check_space, rotation_matrices, vertex_normals

# Dimensions: T frames, V vertices, K = 50 + C morph targets, J joints.

ROOT_JOINT = "root"
"""The static joint: it holds what no other joint moves."""

NORMAL_STEP = 0.004
"""Changes of a normal below this (a quarter of a degree) are left out of a morph target."""

LINEAR_FILTER, CLAMP = 9729, 33071


def glb_bytes(clip: Clip, rig: Rig) -> bytes:
    """Return a GLB file of a head that performs a clip.

    Args:
        clip: The performance.
        rig: A head of the clip's space.

    Returns:
        The file; metres, y up, z out of the face, key frames at the clip's rate.

    Raises:
        SpaceError: The head belongs to another space.
    """
    check_space(rig, clip.space)
    binary = Binary()
    primitive = _surface(rig, binary) | {"targets": _targets(rig, binary), "material": 0}
    names = _target_names(rig)
    joints = [ROOT_JOINT, *rig.joint_names]
    mesh_node, root = 0, 1
    document: dict[str, Any] = {
        "asset": {
            "version": "2.0",
            "generator": f"CTEG {cteg.__version__}",
            "copyright": rig.licence,
            "extras": _provenance(clip, rig),
        },
        "scene": 0,
        "scenes": [{"name": rig.title, "nodes": [mesh_node, root]}],
        "nodes": [{"name": rig.name, "mesh": 0, "skin": 0}, *_joint_nodes(rig, joints, root)],
        "meshes": [
            {
                "name": rig.name,
                "primitives": [primitive],
                "weights": [0.0] * len(names),
                "extras": {"targetNames": names},
            }
        ],
        "skins": [
            {
                "name": rig.name,
                "joints": [root + joint for joint in range(len(joints))],
                "skeleton": root,
                "inverseBindMatrices": binary.accessor(_inverse_binds(rig)),
            }
        ],
        "materials": [_material()],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": LINEAR_FILTER, "minFilter": LINEAR_FILTER, "wrapS": CLAMP, "wrapT": CLAMP}],
        "images": [{"name": "roughness", "mimeType": "image/png", "bufferView": binary.view(_roughness_picture())}],
        "animations": [_animation(clip, rig, binary, mesh_node, root)],
    }
    return binary.pack(document)


def save_glb(clip: Clip, rig: Rig, path: str | Path) -> Path:
    """Write `glb_bytes` to a file and return its path.

    Raises:
        SpaceError: The head belongs to another space.
        InputError: The file cannot be written.
    """
    path, content = Path(path), glb_bytes(clip, rig)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.") from error
    return path


def _provenance(clip: Clip, rig: Rig) -> dict[str, Any]:
    """Return what made this performance."""
    return {
        "text": clip.text,
        "seed": clip.seed,
        "temperature": clip.temperature,
        "guidance": clip.guidance,
        "weights": clip.weights,
        "space": clip.space,
        "fps": clip.fps,
        "head": rig.name,
    }


# -- the head at rest --------------------------------------------------------------------------------------------------


def _surface(rig: Rig, binary: Binary) -> dict[str, Any]:
    """Store the neutral mesh and its binding to the joints; return the primitive without targets."""
    base = to_linear(rig.color) * (DARKEST + (1 - DARKEST) * rig.occlusion[:, None] / 255)
    color = np.concatenate([base, np.ones((rig.vertex_count, 1))], axis=1)
    ramp = np.stack([(rig.gloss + 0.5) / 256, np.full(rig.vertex_count, 0.5)], axis=1)
    attributes = {
        "POSITION": binary.accessor(rig.neutral, ARRAY_BUFFER, bounds=True),
        "NORMAL": binary.accessor(_normals(rig, rig.neutral), ARRAY_BUFFER),
        "COLOR_0": binary.accessor(_unit_uint16(color), ARRAY_BUFFER, normalized=True),
        "TEXCOORD_0": binary.accessor(_unit_uint16(ramp), ARRAY_BUFFER, normalized=True),
    }
    joints, weights = _binding(rig)
    for group in range(joints.shape[1] // 4):
        columns = slice(4 * group, 4 * group + 4)
        attributes[f"JOINTS_{group}"] = binary.accessor(joints[:, columns], ARRAY_BUFFER)
        attributes[f"WEIGHTS_{group}"] = binary.accessor(weights[:, columns], ARRAY_BUFFER, normalized=True)
    return {"attributes": attributes, "indices": binary.accessor(rig.triangles.reshape(-1), ELEMENT_BUFFER)}


def _binding(rig: Rig) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | NDArray[np.uint16]]:
    """Return joints and weights (V, 4 n), n as many groups as the vertex with the most joints needs.

    Weights keep the rig's own steps (255 or 65,535), so they are exact. A row adds up to the largest step: the rest
    belongs to the root joint, which is joint 0.
    """
    largest = np.iinfo(rig.joint_weights.dtype).max
    dense = np.zeros((rig.vertex_count, 1 + len(rig.joint_names)), dtype=np.int64)
    for joint in range(len(rig.joint_names)):
        entries = slice(rig.joint_offsets[joint], rig.joint_offsets[joint + 1])
        dense[rig.joint_vertices[entries], 1 + joint] = rig.joint_weights[entries]
    # The root may not count negatively, so where the joints hold more than all, the smallest share gives way.
    excess = np.maximum(dense.sum(axis=1) - largest, 0)
    for vertex in np.flatnonzero(excess):
        smallest = min(np.flatnonzero(dense[vertex]), key=lambda joint: dense[vertex, joint])
        dense[vertex, smallest] -= excess[vertex]
    dense[:, 0] = largest - dense.sum(axis=1)
    groups = -(-int((dense > 0).sum(axis=1).max()) // 4)
    order = np.argsort(-dense, axis=1, kind="stable")[:, : 4 * groups]
    weights = np.zeros((rig.vertex_count, 4 * groups), dtype=rig.joint_weights.dtype)
    joints = np.zeros(weights.shape, dtype=np.uint8)
    weights[:, : order.shape[1]] = np.take_along_axis(dense, order, axis=1)
    joints[:, : order.shape[1]] = order
    joints[weights == 0] = 0
    return joints, weights


def _joint_nodes(rig: Rig, names: list[str], root: int) -> list[dict[str, Any]]:
    """Return the nodes of the joints: a static root, the others at their pivots below it."""
    nodes: list[dict[str, Any]] = [{"name": names[0]}]
    if len(names) > 1:
        nodes[0]["children"] = list(range(root + 1, root + len(names)))
    for name, pivot in zip(names[1:], rig.joint_pivots, strict=True):
        nodes.append({"name": name, "translation": pivot.tolist()})
    return nodes


def _inverse_binds(rig: Rig) -> NDArray[np.float32]:
    """Return the matrices (J + 1, 16), column by column, that move each pivot to the origin."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (1 + len(rig.joint_names), 1, 1))
    matrices[1:, 3, :3] = -rig.joint_pivots
    return matrices.reshape(-1, 16)


def _material() -> dict[str, Any]:
    """Return the one material; colour comes from the vertices, roughness from their gloss."""
    surface = {"metallicFactor": 0.0, "roughnessFactor": 1.0, "metallicRoughnessTexture": {"index": 0}}
    return {"name": "face", "pbrMetallicRoughness": surface}


def _roughness_picture() -> bytes:
    """Return a PNG of 256 x 1 pixels: green is the roughness that matches the highlight of each gloss."""
    gloss = np.arange(256) / 255
    exponent = HIGHLIGHT[0] + HIGHLIGHT[1] * gloss**2
    roughness = (2 / (exponent + 2)) ** 0.25  # roughness squared is alpha, alpha squared is 2 / (exponent + 2)
    pixels = np.zeros((1, 256, 3), dtype=np.uint8)
    pixels[0, :, 1] = np.round(255 * roughness)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


# -- what moves --------------------------------------------------------------------------------------------------------


def _target_names(rig: Rig) -> list[str]:
    """Return the names of the K morph targets."""
    correctives = len(rig.shape_scale) - len(rig.shape_names)
    if correctives == 1:
        return [*rig.shape_names, "jawCorrective"]
    return [*rig.shape_names, *(f"jawCorrective{index}" for index in range(correctives))]


def _targets(rig: Rig, binary: Binary) -> list[dict[str, int]]:
    """Store the K morph targets."""
    return [
        {"POSITION": binary.sparse(moved, bounds=True), "NORMAL": binary.sparse(turned)}
        for moved, turned in _morphs(rig)
    ]


@lru_cache(maxsize=2)  # most of the work, and the same for every clip of a head
def _morphs(rig: Rig) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return what each of the K morph targets adds to positions and normals, (V, 3) each."""
    rest = _normals(rig, rig.neutral)
    morphs = []
    for shape, scale in enumerate(rig.shape_scale):
        entries = slice(rig.shape_offsets[shape], rig.shape_offsets[shape + 1])
        moved = np.zeros((rig.vertex_count, 3), dtype=np.float32)
        moved[rig.shape_vertices[entries]] = rig.shape_deltas[entries] * scale
        turned = _normals_before_joints(rig, shape, moved) - rest
        turned[np.abs(turned).max(axis=1) < NORMAL_STEP] = 0
        morphs.append((moved, turned))
    return morphs


def _normals_before_joints(rig: Rig, shape: int, moved: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normals (V, 3) which the joints turn into the true ones where `shape` is fully on."""
    pose = _pose_of(rig, shape)
    if pose is None:
        return _normals(rig, rig.neutral + moved)
    wanted = _normals(rig, rig.vertices(pose)[0])
    blend = np.tile(np.eye(3, dtype=np.float32), (rig.vertex_count, 1, 1))
    for joint in range(len(rig.joint_names)):
        turn = rotation_matrices((rig.joint_drive[joint] @ pose)[None])[0] - np.eye(3, dtype=np.float32)
        vertices, weight = rig.held(joint)
        blend[vertices] += weight[:, None, None] * turn
    before = np.linalg.solve(blend, wanted[:, :, None])[:, :, 0]
    return before / np.linalg.norm(before, axis=1, keepdims=True)


def _normals(rig: Rig, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the unit normals (V, 3) of a pose (V, 3); a vertex of no triangle looks out of the face."""
    normals = vertex_normals(vertices[None], rig.triangles)[0]
    normals[~normals.any(axis=1)] = (0, 0, 1)
    return normals


def _pose_of(rig: Rig, shape: int) -> NDArray[np.float32] | None:
    """Return the coefficients (53,) that turn one shape fully on, or None where none turn on this shape alone."""
    pose = np.zeros(layout.D, dtype=np.float32)
    if shape < len(rig.shape_names):
        pose[shape] = 1
    elif rig.corrective == "jaw_angle":
        pose[layout.JAW.start] = rig.corrective_angle[0]
    else:
        return None
    return pose


def _animation(clip: Clip, rig: Rig, binary: Binary, mesh_node: int, root: int) -> dict[str, Any]:
    """Store the key frames: weights of the morph targets and rotations of the joints."""
    coefficients = clip.coefficients
    times = binary.accessor((np.arange(len(clip)) / clip.fps).astype(np.float32), bounds=True)
    weights = np.concatenate([coefficients[:, layout.EXPRESSION], rig.corrective_weights(coefficients)], axis=1)
    samplers = [{"input": times, "output": binary.accessor(weights.reshape(-1)), "interpolation": "LINEAR"}]
    channels: list[dict[str, Any]] = [{"sampler": 0, "target": {"node": mesh_node, "path": "weights"}}]
    for joint in range(len(rig.joint_names)):
        turn = coefficients @ rig.joint_drive[joint].T
        moves = {"rotation": _quaternions(turn)}
        if rig.pivot_drive[joint].any():
            moves["translation"] = _joint_origins(rig, joint, coefficients, turn)
        for path, values in moves.items():
            channels.append({"sampler": len(samplers), "target": {"node": root + 1 + joint, "path": path}})
            samplers.append({"input": times, "output": binary.accessor(values), "interpolation": "LINEAR"})
    return {"name": clip.text or "clip", "samplers": samplers, "channels": channels}


def _joint_origins(
    rig: Rig, joint: int, coefficients: NDArray[np.float32], turn: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return where the origin (T, 3) of a joint goes whose pivot p moves away from its bind p0: p + R (p0 - p)."""
    shift = coefficients @ rig.pivot_drive[joint].T
    return rig.joint_pivots[joint] + shift - np.einsum("tij,tj->ti", rotation_matrices(turn), shift)


def _quaternions(rotation_vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Turn rotation vectors (T, 3) in radians into unit quaternions (T, 4), x y z w."""
    vectors = rotation_vectors.astype(np.float64)
    half = np.linalg.norm(vectors, axis=1, keepdims=True) / 2
    return np.concatenate([0.5 * np.sinc(half / np.pi) * vectors, np.cos(half)], axis=1).astype(np.float32)


def _unit_uint16(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return values 0...1 in 65,535 steps: linear light in 8 bits would show bands in the shadows."""
    return np.round(np.clip(values, 0, 1) * 65535).astype(np.uint16)
