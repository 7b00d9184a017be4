"""A head from a user's copy of ICT-FaceKit, the light version under the MIT licence.

    git clone https://github.com/ICT-VGL/ICT-FaceKit
    python -m training.build_head ict --source ICT-FaceKit ict.safetensors

The folder `FaceXModel` holds a neutral mesh and 53 expressions as OBJ files in centimetres, named like ARKit's shapes
with `_L` and `_R` for the sides. 50 of them are the shapes of the `open` space. The other three are the jaw: `jawOpen`
becomes a hinge fitted to the lower teeth, skin weights and one corrective shape, so that the pose of jawOpen = 1 stays
exact; `jawLeft` and `jawRight` become turns of that hinge. The eyeballs get joints whose angles are measured on the
`eyeLook` shapes. The files hold no textures, so lips, brows and eyes are painted by the landmarks of the topology.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cteg import layout
from cteg.errors import CtegError, InputError
from cteg.face.rig import Rig
from training.head.ict_source import (
    BROW_LINES,
    JAW_OPEN,
    OUTER_LIPS,
    PARTS,
    Source,
    file_name,
    read_source,
)
from training.head.paint import bake_occlusion, mix
from training.head.part import CORRECTIVE, Joint, Part, pack
from training.head.shapes import Hinge, fit_hinge, jaw_shapes

# Dimensions: V vertices of the file, K points of a line.

LICENCE = "MIT; ICT-FaceKit, Copyright (c) 2020 USC Institute for Creative Technologies"
COLORS = {
    "skin": (224, 176, 150),
    "mouth": (112, 44, 46),
    "eye sockets": (206, 150, 130),
    "gums and tongue": (168, 84, 84),
    "upper teeth": (236, 228, 214),
    "lower teeth": (236, 228, 214),
    "sclera": (240, 236, 230),
    "iris": (92, 66, 44),
}
GLOSS = {"skin": 0.14, "mouth": 0.35, "eye sockets": 0.2, "gums and tongue": 0.4, "sclera": 0.8, "iris": 0.8}
TEETH_GLOSS = 0.5
LIPS, BROWS, PUPIL, LIMBUS = (188, 104, 98), (86, 62, 48), (12, 10, 10), (44, 32, 24)
PUPIL_RADIUS, LIMBUS_RADIUS = 0.0021, 0.0052
"""Metres from the middle of the iris: edge of the pupil, and from where on it darkens."""

BROW_HALF_WIDTH = 0.0042
SMALLEST_TURN, LARGEST_TURN = 0.1, 0.8
"""Radians between which the fitted jaw angle is believed."""

USUAL_HINGE = np.array([0.0, -0.045, -0.051])
"""Metres from the middle between the eyes to MakeHuman's jaw hinge, where jawOpen is no rotation."""


def build_ict(source: Source) -> Rig:
    """Return the head of the `open` space made of ICT-FaceKit's meshes."""
    vertices, deltas = source.vertices, dict(source.deltas)
    eyes = _eyeballs(source)
    pivots = {side: _eye_joint(source, side, ball) for side, ball in eyes.items()}
    if pivots:
        origin = np.mean([joint.pivot for joint in pivots.values()], axis=0)
    else:
        origin = np.mean([_centre_of(source, f"eyeBlink{side}") for side in ("Left", "Right")], axis=0)
    hinge = find_hinge(source, origin)
    opened, closed = deltas[JAW_OPEN], deltas["mouthClose"]
    corrective, mouth_close = jaw_shapes(vertices, opened, closed, hinge, hinge.angle)
    shapes = {name: deltas[name] for name in layout.OPEN_SHAPES} | {"mouthClose": mouth_close, CORRECTIVE: corrective}
    weights = {"jaw": hinge.weights}
    for side, ball in eyes.items():
        weights[f"eye_{side.lower()}"] = ball.astype(np.float64)
        for name in (name for name in shapes if name.startswith("eyeLook")):
            shapes[name] = np.where(ball[:, None], 0, shapes[name])  # the joint does it
    color, gloss = paint(source)
    kept = np.arange(PARTS["right iris"].stop if source.is_published else len(vertices))
    triangles = source.triangles[(source.triangles < len(kept)).all(axis=1)]
    part = Part(
        vertices[kept],
        triangles,
        color[kept],
        gloss[kept],
        {name: delta[kept] for name, delta in shapes.items()},
        {name: weight[kept] for name, weight in weights.items()},
        bake_occlusion(vertices[kept], triangles),
    )
    joints = [jaw_joint(hinge), *pivots.values()]
    return pack(
        [part],
        joints,
        name="ict",
        title="ICT-FaceKit",
        licence=LICENCE,
        origin=origin,
        corrective_angle=layout.JAW_OPEN_RADIANS,
    )


def find_hinge(source: Source, origin: NDArray[np.float64]) -> Hinge:
    """Fit the jaw's hinge to the lower teeth, or to what `jawOpen` moves most where the teeth are not known.

    Where `jawOpen` does not turn the jaw, the usual place of the hinge is taken; the corrective then does the rest.
    """
    opened = source.deltas[JAW_OPEN]
    reach = np.linalg.norm(opened, axis=1)
    if reach.max() < 1e-4:
        raise InputError(f"{JAW_OPEN}.obj does not differ from the neutral mesh.")
    held = (
        np.arange(len(reach))[PARTS["lower teeth"]] if source.is_published else np.flatnonzero(reach > reach.max() / 2)
    )
    rest = source.vertices
    spread = np.linalg.matrix_rank(rest[held][:, 1:] - rest[held][:, 1:].mean(axis=0), tol=1e-4)
    if spread == 2:
        moved = rest[held] + opened[held]
        try:
            hinge = fit_hinge(rest[held], moved, rest, opened, full_angle=None)
        except np.linalg.LinAlgError:  # a pure shift has no fixed point
            hinge = None
        if hinge is not None and SMALLEST_TURN < hinge.angle < LARGEST_TURN:
            return hinge
    print(f"{JAW_OPEN} is not a rotation of the jaw; the hinge is put where it usually is.", file=sys.stderr)
    return usual_hinge(rest, opened, origin)


def usual_hinge(rest: NDArray[np.float64], opened: NDArray[np.float64], origin: NDArray[np.float64]) -> Hinge:
    """Return a hinge at MakeHuman's place and angle with weights fitted to `opened` (V, 3)."""
    pivot = origin + USUAL_HINGE
    turn = Rotation.from_rotvec([layout.JAW_OPEN_RADIANS, 0, 0])
    rigid = turn.apply(rest - pivot) - (rest - pivot)
    weights = np.clip((opened * rigid).sum(axis=1) / np.maximum((rigid**2).sum(axis=1), 1e-9), 0, 1)
    return Hinge(pivot, layout.JAW_OPEN_RADIANS, weights)


def jaw_joint(hinge: Hinge) -> Joint:
    """Return the jaw joint: at the coefficient of jawOpen = 1 it turns by this head's own angle."""
    drive = np.zeros((3, layout.D))
    drive[:, layout.JAW] = np.diag([hinge.angle / layout.JAW_OPEN_RADIANS, 1.0, 1.0])
    return Joint("jaw", hinge.pivot, drive)


def _eyeballs(source: Source) -> dict[str, NDArray[np.bool_]]:
    """Return the vertices (V,) of both eyeballs, or nothing where they are not known."""
    if not source.is_published:
        return {}
    eyes = {}
    for side in ("Left", "Right"):
        eyes[side] = np.zeros(len(source.vertices), dtype=bool)
        for name in ("sclera", "iris"):
            eyes[side][PARTS[f"{side.lower()} {name}"]] = True
    return eyes


def _eye_joint(source: Source, side: str, ball: NDArray[np.bool_]) -> Joint:
    """Measure how each `eyeLook` shape turns an eyeball; the pivot is the point that stays in all of them."""
    rest = source.vertices[ball]
    centre = rest.mean(axis=0)
    drive, left_sides, right_sides = np.zeros((3, layout.D)), [], []
    for direction in ("Down", "In", "Out", "Up"):
        shape = f"eyeLook{direction}{side}"
        moved = rest + source.deltas[shape][ball]
        turn, _ = Rotation.align_vectors(moved - moved.mean(axis=0), rest - centre)
        drive[:, layout.INDEX[shape]] = turn.as_rotvec()
        left_sides.append(np.eye(3) - turn.as_matrix())
        right_sides.append(moved.mean(axis=0) - turn.apply(centre))
    pivot = np.linalg.lstsq(np.concatenate(left_sides), np.concatenate(right_sides), rcond=None)[0]
    return Joint(f"eye_{side.lower()}", pivot, drive)


def _centre_of(source: Source, shape: str) -> NDArray[np.float64]:
    """Return the middle (3,) of what a shape moves."""
    reach = np.linalg.norm(source.deltas[shape], axis=1)
    if reach.max() < 1e-5:
        raise InputError(f"{file_name(shape)}.obj does not differ from the neutral mesh.")
    return np.average(source.vertices, axis=0, weights=reach)


def paint(source: Source) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sRGB colours (V, 3) and gloss (V,) 0...1."""
    count = len(source.vertices)
    color = np.tile(np.array(COLORS["skin"], dtype=np.float64), (count, 1))
    gloss = np.full(count, GLOSS["skin"])
    if not source.is_published:
        return color, gloss
    for name, place in PARTS.items():
        kind = name.split()[-1] if name.endswith(("sclera", "iris")) else name
        color[place], gloss[place] = COLORS[kind], GLOSS.get(kind, TEETH_GLOSS)
    points, skin = source.vertices, PARTS["skin"]
    lips = inside_outline(points[skin, :2], points[list(OUTER_LIPS), :2], 0.0012)
    front = points[list(OUTER_LIPS), 2].min() - 0.006
    lips *= points[skin, 2] > front
    color[skin] = mix(color[skin], np.array(LIPS, dtype=np.float64), lips)
    gloss[skin] += 0.25 * lips
    for line in BROW_LINES:
        distance = distance_to_line(points[skin], points[list(line)])
        amount = 1 / (1 + np.exp((distance - BROW_HALF_WIDTH) / 0.0006))
        color[skin] = mix(color[skin], np.array(BROWS, dtype=np.float64), 0.85 * amount)
    for side in ("left", "right"):
        iris = PARTS[f"{side} iris"]
        radius = np.linalg.norm(points[iris, :2] - points[iris, :2].mean(axis=0), axis=1)
        color[iris] = np.where((radius > LIMBUS_RADIUS)[:, None], LIMBUS, color[iris])
        color[iris] = np.where((radius < PUPIL_RADIUS)[:, None], PUPIL, color[iris])
    return color, gloss


def inside_outline(points: NDArray[np.float64], outline: NDArray[np.float64], soft: float) -> NDArray[np.float64]:
    """Return how far (N,) 0...1 flat points (N, 2) lie inside a polygon (K, 2); the edge is `soft` metres wide."""
    start, end = outline, np.roll(outline, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    slope = (end[:, 0] - start[:, 0]) / np.where(end[:, 1] == start[:, 1], 1, end[:, 1] - start[:, 1])
    is_inside = (crosses & (x < start[:, 0] + slope * (y - start[:, 1]))).sum(axis=1) % 2 == 1
    distance = distance_to_line(points, np.concatenate([outline, outline[:1]]))
    return np.clip(0.5 + np.where(is_inside, distance, -distance) / soft, 0, 1)


def distance_to_line(points: NDArray[np.float64], line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (N,) of points (N, C) from a line through (K, C)."""
    start, step = line[:-1], np.diff(line, axis=0)
    share = ((points[:, None] - start) * step).sum(axis=2) / np.maximum((step**2).sum(axis=1), 1e-12)
    nearest = start + np.clip(share, 0, 1)[:, :, None] * step
    return np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1)


def main(arguments: list[str]) -> int:
    """Run the builder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.build_head ict", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="rig file to write, *.safetensors")
    parser.add_argument("--source", type=Path, required=True, metavar="FOLDER", help="your copy of ICT-FaceKit")
    options = parser.parse_args(arguments)
    try:
        rig = build_ict(read_source(options.source))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rig.save(options.out)
    except CtegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {rig.vertex_count} vertices, {options.out.stat().st_size / 1e6:.2f} MB. {LICENCE}")
    return 0
