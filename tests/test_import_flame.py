"""FLAME files become heads that move as FLAME does: against the written-out chain, and against the package smplx."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.render import render_frames
from cteg.face.rig import Rig
from tests.flame import decode, flame_content, write_flame
from tests.malice import Call
from training.import_flame import app, read_flame

runner = CliRunner()


@pytest.fixture(scope="module")
def content():
    return flame_content()


@pytest.fixture(scope="module")
def rig(content, tmp_path_factory):
    """The head as a user gets it: through the pickle, the command and the head file."""
    folder = tmp_path_factory.mktemp("flame")
    source = write_flame(folder / "generic_model.pkl", content)
    result = runner.invoke(app, [str(source), str(folder / "new" / "mine.safetensors")])
    assert result.exit_code == 0, result.output
    assert "FLAME licence" in result.output
    return Rig.load(folder / "new" / "mine.safetensors")


@pytest.fixture(scope="module")
def frames():
    """Frames of the size that EmoAva has: expressions of norm 27 at most, mean 8; the jaw over its range."""
    generator = np.random.default_rng(1)
    coefficients = np.zeros((12, layout.D), dtype=np.float32)
    coefficients[:, layout.EXPRESSION] = generator.normal(size=(12, 50)) * np.exp(-np.arange(50) / 15)
    norms = np.linspace(3, 27, 12)[:, None]
    coefficients *= norms / np.linalg.norm(coefficients, axis=1, keepdims=True)
    coefficients[:, layout.JAW] = generator.uniform([-0.02, -0.15, -0.08], [0.52, 0.15, 0.08], (12, 3))
    coefficients[0] = 0
    return coefficients


def eyes_middle(content) -> np.ndarray:
    return (content["J_regressor"] @ content["v_template"])[[3, 4]].mean(axis=0)


def test_the_head_moves_as_flame(rig, content, frames):
    expected = np.stack([decode(content, f[layout.EXPRESSION], f[layout.JAW]) for f in frames.astype(np.float64)])
    got = rig.vertices(frames)[:, : len(content["v_template"])] + eyes_middle(content)
    assert np.abs(expected - expected[0]).max() > 0.01
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_head_agrees_with_smplx(rig, content, frames, tmp_path):
    smplx = pytest.importorskip("smplx", reason="smplx, which is for non-commercial research, is not installed")
    import torch

    (tmp_path / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(content))  # smplx would need chumpy for its objects
    landmarks = {"lmk_face_idx": np.zeros(51, dtype=np.int64), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(landmarks))
    model = smplx.FLAME(str(tmp_path), num_expression_coeffs=50, dtype=torch.float64)
    still = torch.zeros(len(frames), 3, dtype=torch.float64)
    coefficients = torch.from_numpy(frames.astype(np.float64))
    with torch.no_grad():
        output = model(
            betas=torch.zeros(len(frames), 10, dtype=torch.float64),
            expression=coefficients[:, layout.EXPRESSION],
            jaw_pose=coefficients[:, layout.JAW],
            **dict.fromkeys(("global_orient", "neck_pose", "leye_pose", "reye_pose", "transl"), still),
        )
    got = rig.vertices(frames)[:, : len(content["v_template"])] + eyes_middle(content)
    np.testing.assert_allclose(got, output.vertices.numpy(), atol=1e-5)


def test_the_origin_is_between_the_eyes_and_the_lining_is_inside(rig, content):
    eyes = rig.joint_pivots[[rig.joint_names.index(f"eye_{side}") for side in ("left", "right")]]
    np.testing.assert_allclose(eyes.mean(axis=0), 0, atol=1e-6)
    assert eyes[0, 0] > 0 > eyes[1, 0]
    skin = len(content["v_template"])
    corner = rig.neutral[rig.triangles]
    volumes = np.linalg.det(corner)
    is_lining = (rig.triangles >= skin).all(axis=1)
    assert volumes[~is_lining].sum() > 0 > volumes[is_lining].sum()  # turned inside out
    assert not is_lining[(rig.triangles < skin).any(axis=1)].any()


def test_the_head_can_be_drawn(rig):
    frame = np.zeros(layout.D, dtype=np.float32)
    face = render_frames(rig, frame, 128)[0].astype(int)
    assert (np.abs(face - face[2, 2]).sum(axis=2) > 60).mean() > 0.3
    frame[layout.JAW] = [0.4, 0, 0]
    assert np.abs(render_frames(rig, frame, 128)[0].astype(int) - face).max() > 50


def test_its_clips_are_of_the_flame_space(rig, frames):
    assert rig.space == "flame"
    np.testing.assert_array_equal(rig.vertices(Clip(frames, space="flame")), rig.vertices(frames))
    with pytest.raises(SpaceError, match="default"):
        rig.vertices(Clip(frames))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_every_protocol_is_read(content, protocol, tmp_path):
    flame = read_flame(write_flame(tmp_path / "model.pkl", content, protocol))
    np.testing.assert_array_equal(flame.joint_regressor, content["J_regressor"])
    np.testing.assert_array_equal(flame.expressions, content["shapedirs"][:, :, 300:350])


def test_a_malicious_file_is_refused_and_does_nothing(content, tmp_path):
    mark, out = tmp_path / "mark", tmp_path / "head.safetensors"
    for place in ("v_template", "shapedirs", "comment"):
        source = tmp_path / f"{place}.pkl"
        source.write_bytes(pickle.dumps({**content, place: Call(os.system, f"touch {mark}")}))
        result = runner.invoke(app, [str(source), str(out)])
        assert result.exit_code == 2
        assert f"{os.system.__module__}.system" in result.output
        assert len(result.output.strip().splitlines()) == 1
        assert not mark.exists()
        assert not out.exists()


def without_shape(matrix: sparse.csc_matrix) -> sparse.csc_matrix:
    """A sparse matrix that does not say its shape."""
    matrix._shape = None
    return matrix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": np.zeros((4, 3))}, "has shape"),
        ({"shapedirs": np.zeros((726, 3, 20))}, "300 of identity"),
        ({"weights": np.zeros((726, 5))}, "sum to 1"),
        ({"posedirs": np.full((726, 3, 36), np.nan)}, "NaN"),
        ({"kintree_table": np.zeros((2, 5))}, "skeleton"),
        ({"f": np.array([[0, 1, 726]])}, "outside"),
        ({"J_regressor": "text"}, "instead of numbers"),
        ({"J_regressor": None}, "instead of numbers"),
        ({"J_regressor": without_shape(sparse.csc_matrix(np.eye(5, 726)))}, "instead of numbers"),
        ({"v_template": np.array(1.0)}, "single number"),
        ({"shapedirs": np.zeros((726, 3))}, "300 of identity"),
    ],
)
def test_a_file_that_is_not_flame_is_told_apart(content, change, message, tmp_path):
    source = tmp_path / "model.pkl"
    source.write_bytes(pickle.dumps({**content, **change}))
    with pytest.raises(InputError, match=message):
        read_flame(source)
    for other in ([1, 2], {"v_template": 1}):
        source.write_bytes(pickle.dumps(other))
        with pytest.raises(InputError, match="not a FLAME model"):
            read_flame(source)
