"""The container of a GLB file: arrays in, views and accessors of glTF 2.0 out."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, UINT8, UINT16 = 5126, 5121, 5123
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
COMPONENTS = {np.dtype("<f4"): FLOAT, np.dtype("u1"): UINT8, np.dtype("<u2"): UINT16}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Binary:
    """Collects arrays for the binary part of a GLB file."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._views: list[dict[str, int]] = []
        self._accessors: list[dict[str, Any]] = []

    def view(self, content: bytes, target: int | None = None) -> int:
        """Store bytes at a multiple of four; return the index of their view."""
        self._content.extend(b"\0" * (-len(self._content) % 4))
        view = {"buffer": 0, "byteOffset": len(self._content), "byteLength": len(content)}
        self._views.append(view if target is None else view | {"target": target})
        self._content.extend(content)
        return len(self._views) - 1

    def accessor(
        self, values: NDArray, target: int | None = None, normalized: bool = False, bounds: bool = False
    ) -> int:
        """Store an array (n,) or (n, components); return the index of its accessor."""
        values = _little_endian(values)
        accessor = {"bufferView": self.view(values.tobytes(), target), **_description(values, bounds)}
        return self._add(accessor | {"normalized": True} if normalized else accessor)

    def sparse(self, values: NDArray[np.float32], bounds: bool = False) -> int:
        """Store an array (V, 3) by its rows that are not zero, or as it is where that is shorter."""
        rows = np.flatnonzero(values.any(axis=1))
        if 14 * len(rows) >= 12 * len(values):  # 12 bytes a row, 2 for its index
            return self.accessor(values, ARRAY_BUFFER, bounds=bounds)
        values = _little_endian(values)
        accessor = _description(values, bounds)
        if len(rows):
            indices = self.view(rows.astype("<u2").tobytes())
            chosen = self.view(values[rows].tobytes())
            accessor["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": indices, "componentType": UINT16},
                "values": {"bufferView": chosen},
            }
        return self._add(accessor)

    def pack(self, document: dict[str, Any]) -> bytes:
        """Return the file of a document whose views and accessors are those collected here."""
        self._content.extend(b"\0" * (-len(self._content) % 4))
        document = document | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._content)}],
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._content), b"BIN\0") + self._content
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _add(self, accessor: dict[str, Any]) -> int:
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _little_endian(values: NDArray) -> NDArray:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def _description(values: NDArray, bounds: bool) -> dict[str, Any]:
    """Return the part of an accessor that describes an array."""
    rows = values.reshape(len(values), -1)
    found = {"componentType": COMPONENTS[values.dtype], "count": len(values), "type": KINDS[rows.shape[1]]}
    if bounds:
        found |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
    return found
