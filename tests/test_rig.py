"""Laws of the rig: what must hold for any head, and for the bundled one."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError, WeightsError
from cteg.face.rig import OLD_FORMAT, Rig, _digest, rotation_matrices, vertex_normals
from tests.poses import frame


def synthetic_rig(corrective: str = "none", space: str = "open") -> Rig:
    """A box of 8 vertices; shape s moves vertex s % 8 along x by (s + 1) mm; the jaw holds the four lower vertices."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32) * 0.1
    extra = {"none": 0, "jaw_angle": 1, "jaw_rotation": 9}[corrective]
    count = 50 + extra
    drive = np.zeros((1, 3, layout.D), dtype=np.float32)
    drive[0, :, layout.JAW] = np.eye(3)
    lower = np.flatnonzero(corners[:, 1] < 0)
    names = layout.OPEN_SHAPES if space == "open" else tuple(f"component{i}" for i in range(50))
    return Rig(
        name="box",
        title="Box",
        licence="CC0-1.0",
        space=space,
        shape_names=names,
        joint_names=("jaw",),
        corrective=corrective,
        neutral=corners,
        triangles=np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5]], dtype=np.uint16),
        color=np.full((8, 3), 200, dtype=np.uint8),
        occlusion=np.full(8, 255, dtype=np.uint8),
        gloss=np.zeros(8, dtype=np.uint8),
        shape_offsets=np.arange(count + 1, dtype=np.uint32),
        shape_vertices=(np.arange(count) % 8).astype(np.uint16),
        shape_deltas=np.tile(np.array([[1000, 0, 0]], dtype=np.int16), (count, 1)),
        shape_scale=((np.arange(count) + 1) * 1e-6).astype(np.float32),
        joint_pivots=np.array([[0.0, 0.02, -0.05]], dtype=np.float32),
        joint_drive=drive,
        joint_offsets=np.array([0, len(lower)], dtype=np.uint32),
        joint_vertices=lower.astype(np.uint16),
        joint_weights=np.full(len(lower), 255, dtype=np.uint8),
        corrective_angle=np.array([0.4], dtype=np.float32),
    )


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


def test_zero_coefficients_are_the_neutral_face(head):
    np.testing.assert_array_equal(head.vertices(layout.neutral())[0], head.neutral)


def test_shapes_are_linear_and_add_up(head):
    smile, frown = frame(mouthSmileLeft=0.8), frame(mouthFrownRight=0.6)
    moved = head.vertices(np.stack([smile, frown, smile + frown, smile / 2])) - head.neutral
    np.testing.assert_allclose(moved[2], moved[0] + moved[1], atol=1e-6)
    np.testing.assert_allclose(moved[3], moved[0] / 2, atol=1e-6)


def test_frames_do_not_depend_on_their_neighbours(head):
    coefficients = np.random.default_rng(1).uniform(0, 0.4, (70, layout.D)).astype(np.float32)
    together = head.vertices(coefficients)
    alone = np.concatenate([head.vertices(row) for row in coefficients[[0, 33, 69]]])
    np.testing.assert_allclose(together[[0, 33, 69]], alone, atol=1e-6)


def test_the_jaw_turns_rigidly_about_its_pivot():
    rig = synthetic_rig()
    posed = rig.vertices(frame(jawOpen=0.3, jawTurn=0.1))[0]
    lower, pivot = rig.joint_vertices, rig.joint_pivots[0]
    expected = Rotation.from_rotvec([0.3, 0.1, 0.0]).apply(rig.neutral[lower] - pivot) + pivot
    np.testing.assert_allclose(posed[lower], expected, atol=1e-6)
    upper = np.setdiff1d(np.arange(8), lower)
    np.testing.assert_array_equal(posed[upper], rig.neutral[upper])


def test_a_positive_jaw_opens_the_mouth(head):
    jaw = head.joint_names.index("jaw")
    entries = slice(head.joint_offsets[jaw], head.joint_offsets[jaw + 1])
    held = head.joint_vertices[entries][head.joint_weights[entries] == 255]
    chin = held[np.argmax(head.neutral[held, 2])]
    moved = head.vertices(frame(jawOpen=layout.JAW_OPEN_RADIANS))[0, chin] - head.neutral[chin]
    assert moved[1] < -0.02


def test_a_pivot_moves_with_the_coefficients():
    drive = np.zeros((1, 3, layout.D), dtype=np.float32)
    drive[0, 1, 7] = 0.01
    rig = dataclasses.replace(synthetic_rig(), pivot_drive=drive)
    coefficients = np.stack([frame(jawOpen=0.3), frame(jawOpen=0.3, **{layout.OPEN_SHAPES[7]: 2.0})])
    lower = rig.joint_vertices
    linear = rig.vertices(coefficients * (np.arange(layout.D) < 50))
    for got, rest, lift in zip(rig.vertices(coefficients), linear, (0.0, 0.02), strict=True):
        pivot = rig.joint_pivots[0] + [0, lift, 0]
        expected = Rotation.from_rotvec([0.3, 0, 0]).apply(rest[lower] - pivot) + pivot
        np.testing.assert_allclose(got[lower], expected, atol=1e-6)


def test_joint_weights_may_have_8_or_16_bits():
    coarse = dataclasses.replace(synthetic_rig(), joint_weights=np.array([51, 102, 153, 255], dtype=np.uint8))
    fine = dataclasses.replace(coarse, joint_weights=np.array([13107, 26214, 39321, 65535], dtype=np.uint16))
    np.testing.assert_allclose(coarse.held(0)[1], [0.2, 0.4, 0.6, 1.0], atol=1e-6)
    opened = frame(jawOpen=0.4)
    np.testing.assert_allclose(fine.vertices(opened), coarse.vertices(opened), atol=1e-7)


def test_the_corrective_follows_the_jaw_angle_and_stops():
    rig, plain = synthetic_rig("jaw_angle"), synthetic_rig()
    vertex = rig.shape_vertices[50]
    full = 1000 * rig.shape_scale[50]
    for angle, weight in ((0.2, 0.5), (0.4, 1.0), (0.8, 1.0)):
        extra = rig.vertices(frame(jawTurn=angle))[0] - plain.vertices(frame(jawTurn=angle))[0]
        assert np.linalg.norm(extra[vertex]) == pytest.approx(weight * full, rel=1e-3)


def test_nine_correctives_follow_the_entries_of_the_rotation():
    rig, plain = synthetic_rig("jaw_rotation"), synthetic_rig()
    rig = dataclasses.replace(rig, joint_weights=np.zeros_like(rig.joint_weights))
    plain = dataclasses.replace(plain, joint_weights=np.zeros_like(plain.joint_weights))
    vector = np.array([0.3, -0.1, 0.05])
    extra = rig.vertices(frame(jawOpen=0.3, jawTurn=-0.1, jawRoll=0.05))[0] - plain.neutral
    entries = (Rotation.from_rotvec(vector).as_matrix() - np.eye(3)).ravel()
    expected = np.zeros(8)
    np.add.at(expected, rig.shape_vertices[50:], entries * 1000 * rig.shape_scale[50:])
    np.testing.assert_allclose(extra[:, 0], expected, atol=1e-7)


def test_rotations_agree_with_scipy():
    vectors = np.vstack([np.random.default_rng(0).normal(size=(50, 3)), np.zeros((1, 3)), [[1e-9, 0, 0]]])
    np.testing.assert_allclose(rotation_matrices(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-6)


def test_mirrored_coefficients_give_the_mirrored_face(head):
    tree = cKDTree(head.neutral)
    gap, partner = tree.query(head.neutral * [-1, 1, 1])
    paired = gap < 1e-5
    moving = np.union1d(head.shape_vertices, head.joint_vertices)  # hair and reflections are neither moving nor alike
    assert paired[moving].mean() > 0.95
    coefficients = np.zeros((50, layout.D), dtype=np.float32)
    coefficients[:, layout.EXPRESSION] = np.eye(50) * 0.7
    mirrored = coefficients.copy()
    mirrored[:, layout.EXPRESSION] = coefficients[:, layout.mirror_index()]
    moved, other = head.vertices(coefficients), head.vertices(mirrored)
    error = np.abs(other[:, partner] * [-1, 1, 1] - moved)[:, paired].max(axis=(1, 2))
    assert error.max() < 6e-4, layout.OPEN_SHAPES[int(error.argmax())]


def test_every_shape_moves_the_face_visibly(head):
    coefficients = np.zeros((50, layout.D), dtype=np.float32)
    coefficients[:, layout.EXPRESSION] = np.eye(50)
    reach = np.linalg.norm(head.vertices(coefficients) - head.neutral, axis=2).max(axis=1)
    assert reach.min() > 0.002, layout.OPEN_SHAPES[int(reach.argmin())]
    assert reach.max() < 0.06


def test_gaze_turns_the_eyes_towards_the_named_side(head):
    for side, sign in (("Left", 1), ("Right", -1)):
        joint = head.joint_names.index(f"eye_{side.lower()}")
        entries = slice(head.joint_offsets[joint], head.joint_offsets[joint + 1])
        ball = head.joint_vertices[entries]
        pupil = ball[np.argmax(head.neutral[ball, 2])]
        outward = head.vertices(frame(**{f"eyeLookOut{side}": 1.0}))[0, pupil] - head.neutral[pupil]
        upward = head.vertices(frame(**{f"eyeLookUp{side}": 1.0}))[0, pupil] - head.neutral[pupil]
        assert sign * outward[0] > 0.004
        assert upward[1] > 0.003


def test_normals_point_outwards_and_have_unit_length(head):
    normals = vertex_normals(head.neutral[None], head.triangles)[0]
    used = np.unique(head.triangles)
    np.testing.assert_allclose(np.linalg.norm(normals[used], axis=1), 1, atol=1e-4)
    top = np.argmax(head.neutral[:, 1])
    assert normals[top, 1] > 0.7


def test_save_and_load_give_the_same_rig(head, tmp_path):
    again = Rig.load(head.save(tmp_path / "copy.safetensors"))
    coefficients = np.random.default_rng(2).uniform(0, 0.5, (3, layout.D)).astype(np.float32)
    np.testing.assert_array_equal(again.vertices(coefficients), head.vertices(coefficients))
    assert (again.name, again.licence, again.joint_names) == (head.name, head.licence, head.joint_names)


def test_the_first_format_is_still_read(tmp_path):
    rig = synthetic_rig()
    path = rig.save(tmp_path / "box.safetensors")
    tensors = {name: tensor for name, tensor in load_file(path).items() if name != "pivot_drive"}
    names = {"shape_names": json.dumps(rig.shape_names), "joint_names": json.dumps(rig.joint_names)}
    plain = {key: getattr(rig, key) for key in ("name", "title", "licence", "space", "corrective")}
    save_file(tensors, path, {**plain, **names, "format": OLD_FORMAT, "sha256": _digest(tensors)})
    np.testing.assert_array_equal(Rig.load(path).vertices(frame(jawOpen=0.3)), rig.vertices(frame(jawOpen=0.3)))


def test_damaged_files_are_refused(tmp_path):
    path = synthetic_rig().save(tmp_path / "box.safetensors")
    raw = bytearray(path.read_bytes())
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        Rig.load(path)
    raw[-5] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(WeightsError, match="checksum"):
        Rig.load(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="damaged"):
        Rig.load(path)


def test_files_of_another_kind_are_refused(tmp_path):
    path = synthetic_rig().save(tmp_path / "box.safetensors")
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="not a head"):
        Rig.load(path)
    del tensors["neutral"]
    save_file(tensors, path, {"format": "cteg-rig-1"})
    with pytest.raises(WeightsError, match="lacks neutral"):
        Rig.load(path)


@pytest.mark.parametrize("source", ["no-such-head", "missing.safetensors"])
def test_missing_heads_are_named(source):
    with pytest.raises(WeightsError, match="There is no head"):
        Rig.load(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triangles": np.array([[0, 1, 99]], dtype=np.uint16)}, "triangles points outside"),
        ({"neutral": np.full((8, 3), np.nan, dtype=np.float32)}, "NaN"),
        ({"color": np.zeros((7, 3), dtype=np.uint8)}, "color has shape"),
        ({"shape_scale": np.ones(50)}, "shape_scale is not"),
        ({"shape_offsets": np.zeros(51, dtype=np.uint32)}, "offsets"),
        ({"corrective": "magic"}, "corrective"),
        ({"joint_weights": np.ones(4, dtype=np.float32)}, "joint_weights is not a uint8 or uint16"),
        ({"pivot_drive": np.zeros((2, 3, 53), dtype=np.float32)}, "pivot_drive has shape"),
        ({"corrective_angle": np.zeros(1, dtype=np.float32)}, "corrective_angle"),
        ({"shape_names": tuple(reversed(layout.OPEN_SHAPES))}, "shape names"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(WeightsError, match=message):
        dataclasses.replace(synthetic_rig(), **change)


def test_a_clip_of_another_space_is_refused_with_the_way_out(head):
    clip = Clip(np.zeros((2, layout.D), dtype=np.float32), space="flame")
    with pytest.raises(SpaceError, match="import_flame"):
        head.vertices(clip)
    with pytest.raises(SpaceError, match="default"):
        synthetic_rig(space="flame").vertices(Clip(np.zeros((1, layout.D), dtype=np.float32)))


@pytest.mark.parametrize("wrong", [np.zeros((2, 52)), np.full((1, 53), np.inf), np.zeros((1, 1, 53))])
def test_wrong_coefficients_are_refused(wrong):
    with pytest.raises(InputError):
        synthetic_rig().vertices(wrong)
