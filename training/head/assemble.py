"""Put the head together: identity, crop, refinement, shapes, lids, parts, paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.face.rig import Rig
from training.head import paint, sculpt
from training.head.brows import brow, lashes
from training.head.eyes import catchlight, eyeball, gaze_joint, sphere_fit
from training.head.hair import hair
from training.head.lids import Eye, lid_joint, measure_opening
from training.head.mouth import teeth_row, tongue
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
from training.head.subdivide import Refined, clip, refine

LICENCE = "CC0-1.0; MakeHuman base mesh and targets, face units by Mika Suominen"
SIDES = ("Left", "Right")
SEXES = ("female", "male")
REGIONS = ("african", "asian", "caucasian")

IDENTITY = {
    **{f"macrodetails/{region}-{sex}-young": 1 / 6 for region in REGIONS for sex in SEXES},
    **{f"macrodetails/universal-{sex}-young-averagemuscle-averageweight": 1 / 2 for sex in SEXES},
    **{f"eyes/{side}-eye-scale-incr": 1.0 for side in "lr"},
    **{f"eyes/{side}-eye-height{part}-incr": 0.42 for side in "lr" for part in (1, 2, 3)},
    "eyebrows/eyebrows-trans-up": 0.3,
    "head/head-scale-vert-decr": 0.3,
    "head/head-round": 0.3,
    "neck/neck-scale-horiz-decr": 0.5,
    "neck/neck-scale-depth-decr": 0.3,
    "mouth/mouth-scale-horiz-incr": 0.4,
    "mouth/mouth-angles-up": 0.35,
}
"""MakeHuman targets of the neutral face: the even mean of all regions and both sexes, a young adult. Larger eyes, a
wider mouth and a rounder skull are a choice of style: what shows emotion takes more of the picture."""

SKIN = np.array([226, 178, 150])
FLUSH = np.array([222, 136, 118])
SHADE = np.array([186, 128, 112])
LIP = np.array([196, 108, 100])
MOUTH = np.array([84, 28, 30])
BLUSH: tuple[tuple[float, float, tuple[float, float], NDArray, float], ...] = (
    (42.0, -34.0, (20.0, 17.0), FLUSH, 0.55),
    (0.0, -38.0, (12.0, 12.0), FLUSH, 0.45),
    (0.0, -98.0, (20.0, 14.0), FLUSH, 0.2),
    (29.0, -10.0, (17.0, 6.0), SHADE, 0.35),
    (29.0, 9.0, (17.0, 6.0), SHADE, 0.3),
)
"""Soft spots on the skin: x and y from the middle of the eyes and radii in millimetres, colour, strength. Cheeks, nose,
chin, under the eyes, upper lids."""

MOUTH_DEPTH = -0.006
"""Metres behind (negative: before) the eyes' centres from which on the mouth is too deep to be seen."""

JAW_SHUT = 0.045
"""Share of `jawOpen` taken off the neutral face: it closes the gap of a millimetre that the lips leave at rest."""

NECK_BELOW_EYES = 0.12
CUT_NORMAL = np.array([0.0, 0.95, 0.31])
"""The neck is cut square to its own axis, which leans forward."""


def build(files: SourceFiles) -> Rig:
    """Build the default head."""
    mesh = read_mesh(files)
    partner = read_mirror(files, len(mesh.vertices))
    units = make_symmetric({name: read_face_unit(files, name, len(mesh.vertices)) for name in UNITS}, partner)
    source = identity(mesh, files) - JAW_SHUT * units[JAW_UNIT]
    source = (source + source[partner] * [-1, 1, 1]) / 2
    refined = refine_head(mesh, source, files)
    hinge = hinge_of(mesh, source, units, refined)
    eyes = [Eye(side, *sphere_fit(source[mesh.groups[f"helper-{side[0].lower()}-eye"]])) for side in SIDES]
    origin = (eyes[0].centre + eyes[1].centre) / 2
    skin = skin_part(source, units, refined, hinge, origin)
    paint_skin(skin, mesh, files, refined, eyes)
    joints = [jaw_joint(hinge)]
    parts = [skin]
    for eye in eyes:
        ball = eyeball(eye)
        opening = measure_opening(skin, eye, ball)
        joints += [gaze_joint(eye), lid_joint(skin, eye, opening)]
        parts += [ball, catchlight(eye), lashes(eye, opening, skin), brow(eye, skin)]
    parts += mouth_parts(mesh, source, units)
    parts.append(hair(skin, skull_triangles(skin, mesh, files, refined), eyes[0].centre[1]))
    bake(parts)
    return pack(
        parts,
        joints,
        name="default",
        title="MakeHuman, young adult",
        licence=LICENCE,
        origin=origin,
        corrective_angle=layout.JAW_OPEN_RADIANS,
    )


def identity(mesh: BaseMesh, files: SourceFiles) -> NDArray[np.float64]:
    """Return the source vertices of the neutral face, metres."""
    vertices = mesh.vertices.copy()
    for target, weight in IDENTITY.items():
        vertices += weight * read_target(files, f"{TARGETS}/{target}.target.gz", len(vertices))
    return vertices


def refine_head(mesh: BaseMesh, source: NDArray[np.float64], files: SourceFiles) -> Refined:
    """Crop to head and neck and split the quads of the face in four."""
    neck = source[mesh.groups["joint-neck"]].mean(axis=0)
    chosen = source[mesh.quads][:, :, 1].min(axis=1) > neck[1] - 0.012
    quads = mesh.quads[chosen]
    inside = paint.sample_mask(read_mask(files, "mpfb_inside-mouth"), mesh.uv[mesh.quad_uv[chosen]].mean(axis=1)) > 0.5
    eyes = [source[mesh.groups[f"helper-{side}-eye"]].mean(axis=0) for side in "lr"]
    mouth = source[mesh.groups["helper-upper-teeth"]].max(axis=0) * [0, 1, 1]
    centre = source[quads].mean(axis=1)
    near_eye = np.min([np.linalg.norm((centre - eye) / [1, 1, 1.3], axis=1) for eye in eyes], axis=0) < 0.029
    near_mouth = np.linalg.norm((centre - mouth) / [1.15, 1, 1.2], axis=1) < 0.031
    refined = refine(quads, (near_eye | near_mouth) & ~inside, len(source))
    eye_height = np.mean(eyes, axis=0)[1]
    rest = refined.operator @ source
    return clip(refined, (rest - [0.0, eye_height - NECK_BELOW_EYES, neck[2]]) @ CUT_NORMAL)


def skull_triangles(skin: Part, mesh: BaseMesh, files: SourceFiles, refined: Refined) -> NDArray[np.bool_]:
    """Return which skin triangles (F,) may carry hair: neither ears nor inner surfaces."""
    ears = paint.sample_mask(read_mask(files, "mpfb_ears"), vertex_uv(mesh, refined)) > 0.2
    return ~ears[skin.triangles].any(axis=1)


def hinge_of(mesh: BaseMesh, source: NDArray, units: dict[str, NDArray], refined: Refined) -> Hinge:
    """Fit the jaw hinge of this identity."""
    teeth = mesh.groups["helper-lower-teeth"]
    opened = units[JAW_UNIT]
    operator = refined.operator
    return fit_hinge(source[teeth], source[teeth] + opened[teeth], operator @ source, operator @ opened)


def skin_part(source: NDArray, units: dict[str, NDArray], refined: Refined, hinge: Hinge, origin: NDArray) -> Part:
    """Return the unpainted skin with all shapes."""
    operator = refined.operator
    rest = operator @ source
    deltas = {name: operator @ units[name] for name in UNITS}
    for unit in SPLIT_UNITS:
        whole = deltas.pop(unit)
        deltas |= {unit + side: part for side, part in split_sides(whole, rest[:, 0]).items()}
    opened = deltas.pop(JAW_UNIT)
    sculpt.strengthen(deltas, rest[:, 0])
    sculpt.soften_smile(deltas, rest, refined.triangles, origin)
    sculpt.add_moves(deltas, rest, origin)
    deltas[CORRECTIVE], deltas["mouthClose"] = jaw_shapes(rest, opened, deltas["mouthClose"], hinge)
    count = len(rest)
    return Part(rest, refined.triangles, np.zeros((count, 3)), np.zeros(count), deltas, {"jaw": hinge.weights})


def paint_skin(skin: Part, mesh: BaseMesh, files: SourceFiles, refined: Refined, eyes: list[Eye]) -> None:
    """Colour the skin and set its gloss."""
    uv = vertex_uv(mesh, refined)
    lips = paint.sample_mask(read_mask(files, "mpfb_lips"), uv)
    inside = paint.sample_mask(read_mask(files, "mpfb_inside-mouth"), uv)
    ears = paint.sample_mask(read_mask(files, "mpfb_ears"), uv)
    points, centre = skin.vertices, (eyes[0].centre + eyes[1].centre) / 2
    # Texture seams mix coordinates from far apart, so every mask counts only where its organ is.
    at_mouth = (np.abs(points[:, 0]) < 0.04) & (np.abs(points[:, 1] - centre[1] + 0.07) < 0.03)
    lips *= at_mouth & (points[:, 2] > centre[2])
    inside *= at_mouth & (points[:, 1] > centre[1] - 0.09)
    ears *= np.abs(points[:, 0]) > 0.055
    color = np.repeat(SKIN[None].astype(np.float64), len(points), axis=0)
    for x, y, radii, tint, amount in BLUSH:
        for side in (-1.0, 1.0) if x else (1.0,):
            spot = np.array([side * x * 1e-3, centre[1] + y * 1e-3, centre[2] + 0.02])
            color = paint.mix(color, tint, amount * paint.blob(points, spot, (*(np.array(radii) * 1e-3), 0.06)))
    color = paint.mix(color, FLUSH, 0.35 * ears)
    color = paint.mix(color, LIP, lips)
    color = paint.mix(color, MOUTH, inside)
    skin.color = color
    skin.hidden = (inside > 0.5) & (points[:, 2] < centre[2] - MOUTH_DEPTH)
    skin.gloss = 0.14 + 0.26 * lips


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
    flesh = tongue(source[groups["helper-tongue"]], mesh.tongue_quads - groups["helper-tongue"][0])
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
