"""Put the head together: identity, crop, refinement, shapes, lids, parts, paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.face.rig import Rig
from training.head import paint
from training.head.brows import brow
from training.head.eyes import eyeball, gaze_joint, sphere_fit
from training.head.mouth import teeth_row, tongue
from training.head.part import CORRECTIVE, Joint, Part, pack
from training.head.shapes import JAW_UNIT, SPLIT_UNITS, UNITS, Hinge, fit_hinge, jaw_shapes, split_sides
from training.head.source import TARGETS, BaseMesh, SourceFiles, read_face_unit, read_mask, read_mesh, read_target
from training.head.subdivide import Refined, refine

LICENCE = "CC0-1.0; MakeHuman base mesh and targets, face units by Mika Suominen"
SIDES = ("Left", "Right")

IDENTITY = {
    **{
        f"macrodetails/{region}-{sex}-young": 1 / 6
        for region in ("african", "asian", "caucasian")
        for sex in ("female", "male")
    },
    **{f"macrodetails/universal-{sex}-young-averagemuscle-averageweight": 0.5 for sex in ("female", "male")},
}
"""MakeHuman targets of the neutral face: the even mean of all regions and both sexes, a young adult."""


def build(files: SourceFiles) -> Rig:
    """Build the default head."""
    mesh = read_mesh(files)
    source = identity(mesh, files)
    units = {name: read_face_unit(files, name, len(source)) for name in UNITS}
    refined = refine_head(mesh, source)
    hinge = hinge_of(mesh, source, units, refined)
    skin = skin_part(mesh, source, units, refined, hinge)
    eyes = {side: sphere_fit(source[mesh.groups[f"helper-{side[0].lower()}-eye"]]) for side in SIDES}
    paint_skin(skin, mesh, files, refined, eyes)
    parts = [skin]
    parts += [eyeball(*eyes[side], f"eye_{side.lower()}") for side in SIDES]
    parts += [brow(side, eyes[side][0], skin) for side in SIDES]
    parts += mouth_parts(mesh, source, units)
    joints = [jaw_joint(hinge), *(gaze_joint(side, eyes[side][0]) for side in SIDES)]
    bake(parts)
    origin = (eyes["Left"][0] + eyes["Right"][0]) / 2
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


def refine_head(mesh: BaseMesh, source: NDArray[np.float64]) -> Refined:
    """Crop to head and neck and split the quads of the face in four."""
    neck = source[mesh.groups["joint-neck"]].mean(axis=0)
    quads = mesh.quads[source[mesh.quads][:, :, 1].min(axis=1) > neck[1] - 0.012]
    eyes = [source[mesh.groups[f"helper-{side}-eye"]].mean(axis=0) for side in "lr"]
    mouth = source[mesh.groups["helper-upper-teeth"]].max(axis=0) * [0, 1, 1]
    centre = source[quads].mean(axis=1)
    near_eye = np.min([np.linalg.norm((centre - eye) / [1, 1, 1.3], axis=1) for eye in eyes], axis=0) < 0.036
    near_mouth = np.linalg.norm((centre - mouth) / [1.15, 1, 1.2], axis=1) < 0.036
    return refine(quads, near_eye | near_mouth, len(source))


def hinge_of(mesh: BaseMesh, source: NDArray, units: dict[str, NDArray], refined: Refined) -> Hinge:
    """Fit the jaw hinge of this identity."""
    teeth = mesh.groups["helper-lower-teeth"]
    opened = units[JAW_UNIT]
    operator = refined.operator
    return fit_hinge(source[teeth], source[teeth] + opened[teeth], operator @ source, operator @ opened)


def skin_part(mesh: BaseMesh, source: NDArray, units: dict[str, NDArray], refined: Refined, hinge: Hinge) -> Part:
    """Return the unpainted skin with all shapes."""
    operator = refined.operator
    rest = operator @ source
    deltas = {name: operator @ units[name] for name in UNITS}
    for unit in SPLIT_UNITS:
        whole = deltas.pop(unit)
        deltas |= {unit + side: part for side, part in split_sides(whole, rest[:, 0]).items()}
    opened = deltas.pop(JAW_UNIT)
    deltas[CORRECTIVE], deltas["mouthClose"] = jaw_shapes(rest, opened, deltas["mouthClose"], hinge)
    count = len(rest)
    return Part(rest, refined.triangles, np.zeros((count, 3)), np.zeros(count), deltas, {"jaw": hinge.weights})


def paint_skin(skin: Part, mesh: BaseMesh, files: SourceFiles, refined: Refined, eyes: dict) -> None:
    """Colour the skin and set its gloss."""
    lips = paint.sample_mask(read_mask(files, "mpfb_lips"), vertex_uv(mesh, refined))
    color = np.repeat(np.array([[224, 172, 146]], dtype=np.float64), len(skin.vertices), axis=0)
    color = paint.mix(color, np.array([186, 92, 88]), lips)
    skin.color = color
    skin.gloss = 0.16 + 0.2 * lips


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
