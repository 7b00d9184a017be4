"""A small glTF 2.0 player in numpy, written from the specification: what any viewer must make of a GLB file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Gltf:
    """A file with one skinned mesh and one animation.

    Args:
        path: The GLB file.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON"
        self.json = json.loads(content[20 : 20 + size])
        binary_size, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0"
        self.binary = content[28 + size : 28 + size + binary_size]
        self.mesh = self.json["meshes"][0]
        (self.primitive,) = self.mesh["primitives"]
        self.animation = self.json["animations"][0]

    def array(self, index: int) -> np.ndarray:
        """Return an accessor as an array (count, components), sparse rows and normalisation applied."""
        accessor = self.json["accessors"][index]
        kind, width = np.dtype(TYPES[accessor["componentType"]]), SIZES[accessor["type"]]
        values = np.zeros((accessor["count"], width), dtype=kind)
        if "bufferView" in accessor:
            values[:] = self._view(accessor["bufferView"], kind, accessor["count"] * width).reshape(-1, width)
        if sparse := accessor.get("sparse"):
            rows = self._view(sparse["indices"]["bufferView"], TYPES[sparse["indices"]["componentType"]])
            chosen = self._view(sparse["values"]["bufferView"], kind).reshape(-1, width)
            values[rows[: sparse["count"]]] = chosen[: sparse["count"]]
        return values / np.iinfo(kind).max if accessor.get("normalized") else values

    def attribute(self, name: str) -> np.ndarray:
        return self.array(self.primitive["attributes"][name]).astype(np.float64)

    def target(self, name: str, attribute: str = "POSITION") -> np.ndarray:
        place = self.mesh["extras"]["targetNames"].index(name)
        return self.array(self.primitive["targets"][place][attribute]).astype(np.float64)

    @property
    def triangles(self) -> np.ndarray:
        return self.array(self.primitive["indices"]).reshape(-1, 3)

    @property
    def times(self) -> np.ndarray:
        return self.array(self.animation["samplers"][0]["input"])[:, 0]

    def pose(self, time: float, morph_normals: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return vertices and unit normals (V, 3) at a time in seconds."""
        weights, moves = self._sample(time)
        vertices, normals = self.attribute("POSITION"), self.attribute("NORMAL")
        for weight, target in zip(weights, self.primitive["targets"], strict=True):
            if weight:
                vertices += weight * self.array(target["POSITION"])
                if morph_normals:
                    normals += weight * self.array(target["NORMAL"])
        matrices = self._joint_matrices(moves)
        blend = np.zeros((len(vertices), 4, 4))
        for group in range(sum(name.startswith("JOINTS") for name in self.primitive["attributes"])):
            joints, shares = self.attribute(f"JOINTS_{group}").astype(int), self.attribute(f"WEIGHTS_{group}")
            blend += (shares[:, :, None, None] * matrices[joints]).sum(axis=1)
        vertices = np.einsum("vij,vj->vi", blend[:, :3, :3], vertices) + blend[:, :3, 3]
        normals = np.einsum("vij,vj->vi", blend[:, :3, :3], normals)
        return vertices, normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def _view(self, index: int, kind: str | np.dtype, count: int = -1) -> np.ndarray:
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return np.frombuffer(self.binary[start : start + view["byteLength"]], kind, count)

    def _sample(self, time: float) -> tuple[np.ndarray, dict[tuple[int, str], np.ndarray]]:
        """Return the morph weights, and rotation (x, y, z, w) or translation of each animated node, at a time."""
        weights, moves = np.array(self.mesh["weights"]), {}
        for channel in self.animation["channels"]:
            sampler = self.animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
            values = values.reshape(len(times), -1).astype(np.float64)
            found = np.array([np.interp(time, times, column) for column in values.T])
            path = channel["target"]["path"]
            if path == "weights":
                weights = found
            else:
                moves[channel["target"]["node"], path] = found / (np.linalg.norm(found) if path == "rotation" else 1)
        return weights, moves

    def _joint_matrices(self, moves: dict[tuple[int, str], np.ndarray]) -> np.ndarray:
        skin = self.json["skins"][0]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
        return np.stack([self._world(node, moves) for node in skin["joints"]]) @ inverse

    def _world(self, node: int, moves: dict[tuple[int, str], np.ndarray]) -> np.ndarray:
        local = np.eye(4)
        local[:3, 3] = moves.get((node, "translation"), self.json["nodes"][node].get("translation", (0, 0, 0)))
        x, y, z, w = moves.get((node, "rotation"), (0, 0, 0, 1))
        local[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        parents = [index for index, other in enumerate(self.json["nodes"]) if node in other.get("children", ())]
        return self._world(parents[0], moves) @ local if parents else local
