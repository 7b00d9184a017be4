"""Put the head together: identity, crop, refinement, shapes, lids, parts, paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.face.rig import Rig, vertex_normals
from training.head import creases, paint, sculpt
from training.head.brows import brow, lashes
from training.head.eyes import catchlights, gaze_joint, iris, shade_white, socket, sphere_fit, tear_duct, white
from training.head.hair import CUTS, hair
from training.head.identities import DEFAULT, Identity, rgb
from training.head.lids import Eye, lid_joint, measure_opening
from training.head.mouth import teeth_row, tongue
from training.head.paint import Palette
from training.head.part import CORRECTIVE, Joint, Part, pack
from training.head.shapes import JAW_UNIT, SPLIT_UNITS, UNITS, Hinge, fit_hinge, jaw_shapes, make_symmetric, split_sides
from training.head.source import (
    TARGETS,
    BaseMesh,
    SourceFiles,
    read_face_unit,
    read_mask,
    read_mesh,
    read_mirror,
    read_target,
)
from training.head.subdivide import Refined, clip, halve_edges, keep_triangles, refine

LICENCE = "CC0-1.0; MakeHuman base mesh and targets, face units by Mika Suominen"
SIDES = ("Left", "Right")
JAW_SHUT = 0.045
"""Share of `jawOpen` taken off the neutral face: it closes the gap of a millimetre that the lips leave at rest."""

NECK_BELOW_EYES = 0.12
CUT_NORMAL = np.array([0.0, 0.95, 0.31])
"""The neck is cut square to its own axis, which leans forward."""


def build(files: SourceFiles, row: Identity = DEFAULT) -> Rig:
    """Build the head of a row of the table.

    Every sculpted place (creases, brows, hairline, blush) is given on the default face and carried to another identity
    by vertex correspondence; so is the choice of triangles, which all heads share.
    """
    mesh = read_mesh(files)
    partner = read_mirror(files, len(mesh.vertices))
    units = make_symmetric({name: read_face_unit(files, name, len(mesh.vertices)) for name in UNITS}, partner)
    reference, source = (neutral_face(mesh, files, wanted, units, partner) for wanted in (DEFAULT, row))
    refined = refine_head(mesh, reference, files)
    place = (refined.operator @ reference - between_eyes(mesh, reference)) * 1e3
    scale = face_scale(refined.operator @ source, refined.operator @ reference, place)
    units = {name: delta * scale for name, delta in units.items()}
    hinge = hinge_of(mesh, source, units, refined)
    eyes = [Eye(side, *sphere_fit(source[mesh.groups[f"helper-{side[0].lower()}-eye"]])) for side in SIDES]
    skin = skin_part(source, units, refined, hinge, place)
    normals = vertex_normals(skin.vertices[None].astype(np.float32), skin.triangles)[0]
    creases.add_creases(skin.deltas, place, normals, row.crease_depth)
    uv = vertex_uv(mesh, refined)
    palette = Palette(*(rgb(digits) for digits in (row.skin, row.lips, row.brows, row.hair, row.iris)))
    masks = {organ: paint.sample_mask(read_mask(files, f"mpfb_{organ}"), uv) for organ in paint.ORGANS}
    paint.paint_skin(skin, place, masks, palette)
    joints = [jaw_joint(hinge)]
    parts = [skin]
    for eye in eyes:
        ball = white(eye)
        opening = measure_opening(skin, eye, ball)
        joints += [gaze_joint(eye), lid_joint(skin, eye, opening)]
        shade_white(ball, eye, opening)
        parts += [
            ball,
            socket(eye, palette.skin),
            iris(eye, palette.iris),
            catchlights(eye),
            tear_duct(eye, opening),
            lashes(eye, opening, skin),
            brow(eye.side, skin, place, palette.brow),
        ]
    parts += mouth_parts(mesh, source, units)
    is_skull = ~(masks["ears"] > 0.2)[skin.triangles].any(axis=1)
    parts.append(hair(skin, place, is_skull, palette.hair, CUTS[row.cut]))
    bake(parts)
    skin.occlusion = skin.occlusion * paint.chin_shadow(place)
    return pack(
        parts,
        joints,
        name=row.name,
        title=row.title,
        licence=LICENCE,
        origin=(eyes[0].centre + eyes[1].centre) / 2,
        corrective_angle=layout.JAW_OPEN_RADIANS,
    )


def neutral_face(
    mesh: BaseMesh,
    files: SourceFiles,
    row: Identity,
    units: dict[str, NDArray[np.float64]],
    partner: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the source vertices of a symmetric neutral face with lips that touch, metres."""
    vertices = mesh.vertices - JAW_SHUT * units[JAW_UNIT]
    for target, weight in row.targets().items():
        vertices += weight * read_target(files, f"{TARGETS}/{target}.target.gz", len(vertices))
    return (vertices + vertices[partner] * [-1, 1, 1]) / 2


def between_eyes(mesh: BaseMesh, source: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle (3,) between the centres of both eyeballs, metres."""
    return np.mean([sphere_fit(source[mesh.groups[f"helper-{side}-eye"]])[0] for side in "lr"], axis=0)


def refine_head(mesh: BaseMesh, source: NDArray[np.float64], files: SourceFiles) -> Refined:
    """Crop to head and neck and split the quads of the face in four."""
    neck = source[mesh.groups["joint-neck"]].mean(axis=0)
    chosen = source[mesh.quads][:, :, 1].min(axis=1) > neck[1] - 0.012
    quads = mesh.quads[chosen]
    inside = paint.sample_mask(read_mask(files, "mpfb_inside-mouth"), mesh.uv[mesh.quad_uv[chosen]].mean(axis=1)) > 0.5
    eyes = np.array([source[mesh.groups[f"helper-{side}-eye"]].mean(axis=0) for side in "lr"])
    mouth = source[mesh.groups["helper-upper-teeth"]].max(axis=0) * [0, 1, 1]
    centre = source[quads].mean(axis=1)
    near_eye = np.min([np.linalg.norm((centre - eye) / [1, 1, 1.3], axis=1) for eye in eyes], axis=0) < 0.029
    near_mouth = np.linalg.norm((centre - mouth) / [1.15, 1, 1.2], axis=1) < 0.031
    middle = between_eyes(mesh, source)
    creased = creases.has_creases((centre - middle) * 1e3)
    refined = refine(quads, (near_eye | near_mouth | creased) & ~inside, len(source))
    place = (refined.operator @ source - middle) * 1e3
    hidden = in_socket(
        place, vertex_normals(place[None].astype(np.float32), refined.triangles)[0], (eyes - middle) * 1e3
    )
    refined = keep_triangles(refined, ~hidden[refined.triangles].all(axis=1))
    refined = halve_edges(refined, (refined.operator @ source - middle) * 1e3, creases.is_too_long)
    eye_height = np.mean(eyes, axis=0)[1]
    rest = refined.operator @ source
    return clip(refined, (rest - [0.0, eye_height - NECK_BELOW_EYES, neck[2]]) @ CUT_NORMAL)


def face_scale(rest: NDArray, reference: NDArray, place: NDArray) -> NDArray[np.float64]:
    """Return how much wider, higher and deeper (3,) a face is than the reference face, by least squares.

    MakeHuman's face units are the same millimetres for a child and a grown man; ours grow with the face.
    """
    is_face = (place[:, 1] > -110) & (place[:, 1] < 40) & (place[:, 2] > -30)
    here, there = (points[is_face] - points[is_face].mean(axis=0) for points in (rest, reference))
    return (here * there).sum(axis=0) / (there**2).sum(axis=0)


def in_socket(place: NDArray[np.float64], normals: NDArray[np.float64], eyes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points (V, 3), millimetres, line an eye's socket or the inner side of a lid; see `eyes.socket`."""
    arms = place[:, None] - eyes  # (V, 2 eyes, 3)
    distance, height, ahead = np.linalg.norm(arms, axis=2), arms[:, :, 1], arms[:, :, 2]
    socket = ((distance < 15.9) & (ahead < -1.0)) | ((distance < 17.0) & (ahead < -4.0))
    faces_eye = (arms * normals[:, None]).sum(axis=2) < -0.35 * distance
    lining = (distance < 17.5) & faces_eye & ((height > 5.0) | (ahead < -1.0))
    return (socket | lining).any(axis=1)


def hinge_of(mesh: BaseMesh, source: NDArray, units: dict[str, NDArray], refined: Refined) -> Hinge:
    """Fit the jaw hinge of this identity."""
    teeth = mesh.groups["helper-lower-teeth"]
    opened = units[JAW_UNIT]
    operator = refined.operator
    return fit_hinge(source[teeth], source[teeth] + opened[teeth], operator @ source, operator @ opened)


def skin_part(source: NDArray, units: dict[str, NDArray], refined: Refined, hinge: Hinge, place: NDArray) -> Part:
    """Return the unpainted skin with all shapes but no creases; `place` (V, 3) in millimetres on the reference face."""
    operator = refined.operator
    rest = operator @ source
    deltas = {name: operator @ units[name] for name in UNITS}
    for unit in SPLIT_UNITS:
        whole = deltas.pop(unit)
        deltas |= {unit + side: part for side, part in split_sides(whole, rest[:, 0]).items()}
    opened = deltas.pop(JAW_UNIT)
    sculpt.strengthen(deltas, rest[:, 0], place)
    sculpt.soften_smile(deltas, place, refined.triangles)
    sculpt.add_moves(deltas, place)
    sculpt.seal_lips(rest, deltas, place)
    deltas[CORRECTIVE], deltas["mouthClose"] = jaw_shapes(rest, opened, deltas["mouthClose"], hinge)
    count = len(rest)
    return Part(rest, refined.triangles, np.zeros((count, 3)), np.zeros(count), deltas, {"jaw": hinge.weights})


def vertex_uv(mesh: BaseMesh, refined: Refined) -> NDArray[np.float64]:
    """Return texture coordinates (V, 2) of the refined skin."""
    source_uv = np.zeros((refined.operator.shape[1], 2))
    source_uv[mesh.quads.ravel()] = mesh.uv[mesh.quad_uv.ravel()]
    return refined.operator @ source_uv


def mouth_parts(mesh: BaseMesh, source: NDArray, units: dict[str, NDArray]) -> list[Part]:
    """Return both rows of teeth and the tongue; lower teeth and tongue follow the jaw."""
    groups = mesh.groups
    upper = teeth_row(source[groups["helper-upper-teeth"]], upper=True)
    lower = teeth_row(source[groups["helper-lower-teeth"]], upper=False)
    flesh = tongue(source[groups["helper-lower-teeth"]])
    forward = units["jawForward"][groups["helper-lower-teeth"]].mean(axis=0)
    for part in (lower, flesh):
        part.joints["jaw"] = np.ones(len(part.vertices))
        part.deltas["jawForward"] = np.repeat(forward[None], len(part.vertices), axis=0)
    return [upper, lower, flesh]


def jaw_joint(hinge: Hinge) -> Joint:
    """Return the joint that the three jaw coefficients turn."""
    drive = np.zeros((3, layout.D))
    drive[:, layout.JAW] = np.eye(3)
    return Joint("jaw", hinge.pivot, drive)


def bake(parts: list[Part]) -> None:
    """Fill in the occlusion of every part that has none."""
    sizes = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts])
    triangles = np.concatenate([part.triangles + start for part, start in zip(parts, sizes, strict=False)])
    occlusion = paint.bake_occlusion(vertices, triangles)
    for part, start in zip(parts, sizes, strict=False):
        if part.occlusion is None:
            part.occlusion = occlusion[start : start + len(part.vertices)]
