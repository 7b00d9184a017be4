"""Read a user's copy of ICT-FaceKit: a neutral mesh and 53 expressions as OBJ files, and the parts of the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.errors import InputError

# Dimensions: V vertices of the file, F triangles.

NEUTRAL = "generic_neutral_mesh"
METRES = 0.01
"""The files are in centimetres."""

JAW_OPEN = "jawOpen"
JAW_SIDES = ("jawLeft", "jawRight")
FULL_COUNT = 26719
"""Vertices of the published mesh; `PARTS` and the landmarks are about that mesh alone."""

PARTS: dict[str, slice] = {
    "skin": slice(0, 11248),
    "mouth": slice(11248, 13294),
    "eye sockets": slice(13294, 14062),
    "gums and tongue": slice(14062, 17039),
    "upper teeth": slice(17039, 19247),
    "lower teeth": slice(19247, 21451),
    "left sclera": slice(21451, 22221),
    "left iris": slice(22221, 23021),
    "right sclera": slice(23021, 23791),
    "right iris": slice(23791, 24591),
}
"""Vertices by part, from the table of ICT-FaceKit's README. What follows there (tear fluid, blends, lashes) consists of
see-through sheets, which a head without transparency leaves out."""

OUTER_LIPS = (5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841)
BROW_LINES = ((268, 493, 1914, 2044, 1401), (3615, 4240, 4114, 2734, 2509))
"""Landmarks 49 to 60 and 18 to 27 of Multi-PIE, from the same README."""

SHAPES = (*layout.OPEN_SHAPES, JAW_OPEN, *JAW_SIDES)
"""The 53 expressions: the 50 of the `open` space and three of the jaw."""


@dataclass(frozen=True)
class Source:
    """What the folder holds, in metres.

    Attributes:
        vertices: (V, 3) of the neutral mesh.
        triangles: (F, 3).
        deltas: Displacements (V, 3) of the 53 expressions, by ARKit's names (`_L` as `Left`).
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.intp]
    deltas: dict[str, NDArray[np.float64]]

    @property
    def is_published(self) -> bool:
        """Whether this is the published mesh, whose parts and landmarks are known."""
        return len(self.vertices) == FULL_COUNT


def file_name(shape: str) -> str:
    """Return the file (without ending) of a shape: `mouthSmileLeft` is in `mouthSmile_L`."""
    for side in ("Left", "Right"):
        if shape.endswith(side) and shape not in (*JAW_SIDES, "mouthLeft", "mouthRight"):
            return f"{shape.removesuffix(side)}_{side[0]}"
    return shape


def read_source(folder: Path) -> Source:
    """Read the folder of ICT-FaceKit, or its folder `FaceXModel`.

    Raises:
        InputError: Files are missing or do not fit each other.
    """
    folder = folder / "FaceXModel" if (folder / "FaceXModel").is_dir() else folder
    missing = [name for name in (NEUTRAL, *map(file_name, SHAPES)) if not (folder / f"{name}.obj").is_file()]
    if missing:
        names = ", ".join(f"{name}.obj" for name in missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise InputError(f"{folder} lacks {len(missing)} files of ICT-FaceKit's FaceXModel: {names}")
    vertices = _read_vertices(folder / f"{NEUTRAL}.obj")
    deltas = {}
    for shape in SHAPES:
        posed = _read_vertices(folder / f"{file_name(shape)}.obj")
        if posed.shape != vertices.shape:
            raise InputError(f"{file_name(shape)}.obj has {len(posed)} vertices, the neutral mesh {len(vertices)}.")
        deltas[shape] = posed - vertices
    return Source(vertices, _read_triangles(folder / f"{NEUTRAL}.obj", len(vertices)), deltas)


def _read_vertices(path: Path) -> NDArray[np.float64]:
    """Return the vertices (V, 3) of an OBJ file in metres."""
    words = [
        line.split()[1:4]
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line[:2] == "v "
    ]
    try:
        vertices = np.array(words, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path.name} is damaged: a vertex is not three numbers.") from error
    if not len(vertices) or not np.isfinite(vertices).all():
        raise InputError(f"{path.name} is damaged: it has no vertices, or some that are not finite.")
    return vertices * METRES


def _read_triangles(path: Path, count: int) -> NDArray[np.intp]:
    """Return the faces of an OBJ file as triangles (F, 3): polygons become fans."""
    triangles = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line[:2] == "f ":
            try:
                corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            except ValueError as error:
                raise InputError(f"{path.name} is damaged: a face is not a list of vertices.") from error
            triangles += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    faces = np.array(triangles, dtype=np.intp).reshape(-1, 3)
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise InputError(f"{path.name} is damaged: it has no faces, or some that point outside of its vertices.")
    return faces
