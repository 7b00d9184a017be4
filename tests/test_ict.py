"""Heads from ICT-FaceKit: a small folder of its layout through the command, and the published topology in memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cteg import layout
from cteg.face.render import render_frames
from cteg.face.rig import Rig
from tests.flame import head_mesh
from tests.poses import frame
from training import build_head
from training.head import ict
from training.head.ict import build_ict, distance_to_line, inside_outline
from training.head.ict_source import FULL_COUNT, PARTS, SHAPES, Source, file_name

JAW_ANGLE = 0.31
HINGE = np.array([0.0, -0.02, -0.05])
OPEN = layout.JAW_OPEN_RADIANS


def small_source() -> Source:
    """An egg in the layout of ICT-FaceKit; every shape is a soft push of its own, jawOpen a true rotation below."""
    vertices, triangles, _ = head_mesh()
    generator = np.random.default_rng(0)
    deltas = {}
    for shape in SHAPES:
        side = 0.03 if shape.endswith("Left") else -0.03 if shape.endswith("Right") else 0.0
        centre = np.array([side, generator.uniform(-0.06, 0.05), 0.09])
        push = np.exp(-(((vertices - centre) / 0.03) ** 2).sum(axis=1))
        deltas[shape] = push[:, None] * generator.uniform(-0.006, 0.006, 3)
    share = np.clip((-vertices[:, 1] - 0.03) / 0.03, 0, 1)
    turned = Rotation.from_rotvec([JAW_ANGLE, 0, 0]).apply(vertices - HINGE) + HINGE
    deltas["jawOpen"] = share[:, None] * (turned - vertices)
    return Source(vertices, triangles, deltas)


def write_folder(folder, source: Source) -> None:
    """Write OBJ files in centimetres with texture corners and a few quads, as the published ones are."""
    folder.mkdir(parents=True)
    faces = [" ".join(f"{corner + 1}/{corner + 1}" for corner in triangle) for triangle in source.triangles]
    a, b, c = source.triangles[0] + 1
    faces[0] = f"{a}/1 {b}/1 {c}/1 {c}/1"  # a quad: the fan's second triangle is empty
    names = {"generic_neutral_mesh": 0.0} | {file_name(shape): source.deltas[shape] for shape in SHAPES}
    for name, delta in names.items():
        points = (source.vertices + delta) * 100
        lines = ["mtllib ICTFaceModelMaterial.mtl", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points)]
        lines += ["vt 0.5 0.5", *(f"f {face}" for face in faces)]
        (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def small():
    return small_source()


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    root = tmp_path_factory.mktemp("ict") / "ICT-FaceKit"
    write_folder(root / "FaceXModel", small)
    return root


@pytest.fixture(scope="module")
def rig(folder):
    out = folder.parent / "new" / "ict.safetensors"
    assert build_head.main(["ict", "--source", str(folder), str(out)]) == 0
    return Rig.load(out)


def test_the_names_are_those_of_the_repository():
    assert len(SHAPES) == 53
    expected = {
        "browInnerUpLeft": "browInnerUp_L",
        "mouthLeft": "mouthLeft",
        "jawRight": "jawRight",
        "jawOpen": "jawOpen",
    }
    expected |= {"eyeLookInRight": "eyeLookIn_R", "mouthRollLower": "mouthRollLower", "cheekPuffLeft": "cheekPuff_L"}
    assert {shape: file_name(shape) for shape in expected} == expected
    assert len(set(map(file_name, SHAPES))) == 53


def test_every_shape_moves_the_head_as_its_file(rig, small):
    origin = small.vertices[0] - rig.neutral[0]
    np.testing.assert_allclose(rig.neutral + origin, small.vertices, atol=1e-6)
    for shape in layout.OPEN_SHAPES:
        if shape != "mouthClose":  # needs an open jaw, below
            moved = rig.vertices(frame(**{shape: 1.0}))[0] - rig.neutral
            np.testing.assert_allclose(moved, small.deltas[shape], atol=1.3e-4, err_msg=shape)


def test_the_jaw_is_a_hinge_whose_open_pose_is_exact(rig, small):
    origin = small.vertices[0] - rig.neutral[0]
    np.testing.assert_allclose(rig.joint_pivots[0, 1:] + origin[1:], HINGE[1:], atol=8e-3)  # there are no teeth to fit
    opened = rig.vertices(frame(jawOpen=OPEN))[0] - rig.neutral
    np.testing.assert_allclose(opened, small.deltas["jawOpen"], atol=3e-4)
    closed = rig.vertices(frame(jawOpen=OPEN, mouthClose=1.0))[0] - rig.neutral
    np.testing.assert_allclose(closed, small.deltas["jawOpen"] + small.deltas["mouthClose"], atol=4e-4)
    # Half way the chin lies on an arc, not on the straight line of the shape.
    chin = np.argmax(np.linalg.norm(small.deltas["jawOpen"], axis=1))
    half = rig.vertices(frame(jawOpen=OPEN / 2))[0, chin] + origin
    arc = Rotation.from_rotvec([JAW_ANGLE / 2, 0, 0]).apply(small.vertices[chin] - HINGE) + HINGE
    np.testing.assert_allclose(half, arc, atol=5e-4)


def test_the_head_is_credited_and_can_be_drawn(rig):
    assert rig.licence.startswith("MIT")
    assert "USC Institute for Creative Technologies" in rig.licence
    faces = render_frames(rig, np.stack([frame(), frame(jawOpen=0.4)]), 96).astype(int)
    assert np.abs(faces[0] - faces[1]).max() > 50


def test_a_jaw_that_only_slides_gets_the_usual_hinge(small, capsys):
    deltas = dict(small.deltas)
    share = np.clip((-small.vertices[:, 1] - 0.03) / 0.03, 0, 1)
    deltas["jawOpen"] = share[:, None] * np.array([0, -0.02, 0.0])
    rig = build_ict(Source(small.vertices, small.triangles, deltas))
    assert "not a rotation" in capsys.readouterr().err
    opened = rig.vertices(frame(jawOpen=OPEN))[0] - rig.neutral
    np.testing.assert_allclose(opened, deltas["jawOpen"], atol=3e-4)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mouthSmile_L.obj", None, "mouthSmile_L.obj"),
        ("jawOpen.obj", "v 1 2 3\n", "jawOpen.obj has 1 vertices"),
        ("browDown_R.obj", "v 1 2 x\n", "browDown_R.obj is damaged"),
        ("generic_neutral_mesh.obj", "f 1 2 3\n", "damaged"),
    ],
)
def test_an_incomplete_folder_is_told_in_one_sentence(small, file, content, message, tmp_path, capsys):
    write_folder(tmp_path / "FaceXModel", small)
    target = tmp_path / "FaceXModel" / file
    target.unlink()
    if content is not None:
        target.write_text(content)
    out = tmp_path / "out.safetensors"
    assert build_head.main(["ict", "--source", str(tmp_path), str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


# -- the published topology --------------------------------------------------------------------------------------------


def published_source() -> Source:
    """A point cloud with the published count and parts: teeth and eyeballs that turn by known angles."""
    generator = np.random.default_rng(1)
    vertices = generator.normal(size=(FULL_COUNT, 3))
    vertices *= 0.09 / np.linalg.norm(vertices, axis=1, keepdims=True)
    for part, centre, radius in (
        ("upper teeth", [0, -0.055, 0.06], 0.02),
        ("lower teeth", [0, -0.065, 0.06], 0.02),
        ("left sclera", [0.032, 0.036, 0.08], 0.012),
        ("left iris", [0.032, 0.036, 0.09], 0.006),
        ("right sclera", [-0.032, 0.036, 0.08], 0.012),
        ("right iris", [-0.032, 0.036, 0.09], 0.006),
    ):
        cloud = vertices[PARTS[part]]
        vertices[PARTS[part]] = cloud / np.linalg.norm(cloud, axis=1, keepdims=True) * radius + centre
    deltas = {shape: np.zeros((FULL_COUNT, 3)) for shape in SHAPES}
    teeth = vertices[PARTS["lower teeth"]]
    turned = Rotation.from_rotvec([JAW_ANGLE, 0, 0]).apply(teeth - HINGE) + HINGE
    deltas["jawOpen"][PARTS["lower teeth"]] = turned - teeth
    for side, x in (("Left", 0.032), ("Right", -0.032)):
        for direction, angles in {
            "Down": [0.4, 0, 0],
            "Up": [-0.3, 0, 0],
            "In": [0, -9 * x, 0],
            "Out": [0, 9 * x, 0],
        }.items():
            for name in ("sclera", "iris"):
                place = PARTS[f"{side.lower()} {name}"]
                arm = vertices[place] - [x, 0.036, 0.08]
                deltas[f"eyeLook{direction}{side}"][place] = Rotation.from_rotvec(angles).apply(arm) - arm
    triangles = np.arange(FULL_COUNT - 2)[:, None] + np.arange(3)
    return Source(vertices, triangles, deltas)


def test_teeth_and_eyes_of_the_published_mesh_become_joints(monkeypatch):
    monkeypatch.setattr(ict, "bake_occlusion", lambda vertices, _: np.ones(len(vertices)))  # minutes for a cloud
    rig = build_ict(published_source())
    assert rig.joint_names == ("jaw", "eye_left", "eye_right")
    assert rig.vertex_count == PARTS["right iris"].stop  # see-through sheets are left out
    origin = np.array([0, 0.036, 0.08])
    np.testing.assert_allclose(rig.joint_pivots, [HINGE - origin, [0.032, 0, 0], [-0.032, 0, 0]], atol=1e-5)
    drive = rig.joint_drive[1] @ frame(eyeLookDownLeft=1.0, eyeLookOutLeft=0.5)
    np.testing.assert_allclose(drive, [0.4, 0.5 * 9 * 0.032, 0], atol=1e-5)
    np.testing.assert_allclose(rig.joint_drive[0] @ frame(jawOpen=OPEN, jawTurn=0.1), [JAW_ANGLE, 0.1, 0], atol=1e-6)
    vertices, weights = rig.held(0)
    assert set(range(*PARTS["lower teeth"].indices(FULL_COUNT))) <= set(vertices[weights > 0.99].tolist())
    iris = rig.color[PARTS["left iris"]].astype(int)
    assert iris.max() < 100 < rig.color[PARTS["left sclera"]].min()
    looked = rig.vertices(frame(eyeLookUpRight=1.0))[0] - rig.neutral
    expected = published_source().deltas["eyeLookUpRight"][: rig.vertex_count]
    np.testing.assert_allclose(looked, expected, atol=1e-6)


def test_paint_finds_the_inside_of_an_outline_and_the_distance_from_a_line():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    points = np.array([[0.5, 0.5], [1.5, 0.5], [0.99, 0.5], [-0.2, 1.1]])
    np.testing.assert_allclose(inside_outline(points, square, 0.1), [1, 0, 0.6, 0], atol=1e-9)
    line = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=float)
    points = np.array([[0.5, 0.2, 0], [2, 1, 0], [-1, 0, 0], [0.5, 0, 2]], dtype=float)
    np.testing.assert_allclose(distance_to_line(points, line), [0.2, 1, 1, 2])
