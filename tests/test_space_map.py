"""The map from `flame` to `open`: its solver, its file, and the fit against a FLAME whose true map is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.optimize import lsq_linear
from typer.testing import CliRunner

from cteg import cli, layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.rig import Rig
from cteg.face.space_map import SpaceMap, clips_for, solve_bounded
from cteg.generator import Generator
from tests import models
from tests.flame import flame_of_open_head
from training import correspondence, fit_flame_map
from training.import_flame import build_rig

JAW = layout.INDEX["jawOpen"]
CLOSE = layout.INDEX["mouthClose"]


def plain_map(**changes) -> SpaceMap:
    """Component k pulls open shape k with the same weight; jaw angles are doubled."""
    parts = {"gram": np.eye(50), "cross": np.eye(50), "upper": np.ones(50), "jaw_scale": np.full(3, 2.0)}
    return SpaceMap(**{name: value.astype(np.float32) for name, value in (parts | changes).items()})


def flame_clip(coefficients: np.ndarray) -> Clip:
    return Clip(coefficients.astype(np.float32), 30, "flame", "Hello.", 3, 0.5, "mine")


# -- the map -----------------------------------------------------------------------------------------------------------


def test_the_solver_finds_the_bounded_least_squares_of_scipy():
    generator = np.random.default_rng(0)
    motion = generator.normal(size=(90, 50)) @ (np.eye(50) + 0.5 * generator.normal(size=(50, 50)))
    wanted = generator.normal(size=(20, 90)) * 3
    upper = generator.uniform(0.2, 1, (20, 50))
    got = solve_bounded(motion.T @ motion, wanted @ motion, upper)
    for row, target, bound in zip(got, wanted, upper, strict=True):
        best = lsq_linear(motion, target, (0, bound), tol=1e-12).x
        np.testing.assert_allclose(row, best, atol=5e-3)
        assert np.linalg.norm(motion @ row - target) <= np.linalg.norm(motion @ best - target) * (1 + 1e-5)


def test_weights_stay_in_range_and_the_jaw_is_scaled():
    coefficients = np.zeros((3, layout.D))
    coefficients[:, :50] = np.random.default_rng(1).normal(scale=2, size=(3, 50))
    coefficients[:, layout.JAW] = [[0.1, 0.02, -0.01], [0.4, 0.3, 0], [-0.3, 0, 0]]
    mapped = plain_map().apply(flame_clip(coefficients))
    free = [index for index in range(50) if index != CLOSE]
    np.testing.assert_allclose(mapped.coefficients[:, free], np.clip(coefficients[:, free], 0, 1), atol=1e-3)
    np.testing.assert_allclose(mapped.coefficients[0, layout.JAW], [0.2, 0.04, -0.02], atol=1e-6)
    np.testing.assert_array_equal(layout.clamp_open(mapped.coefficients), mapped.coefficients)
    assert mapped.space == "open"
    assert (mapped.fps, mapped.text, mapped.seed, mapped.weights) == (30, "Hello.", 3, "mine")


def test_lips_close_only_a_mouth_that_is_open():
    coefficients = np.zeros((3, layout.D))
    coefficients[:, CLOSE] = 1
    coefficients[:, JAW] = [0, layout.JAW_OPEN_RADIANS / 4, layout.JAW_OPEN_RADIANS]
    np.testing.assert_allclose(
        plain_map().apply(flame_clip(coefficients)).coefficients[:, CLOSE], [0, 0.5, 1], atol=1e-5
    )


def test_the_file_comes_back(tmp_path):
    path = dataclasses.replace(plain_map(), source="mine", target="default").save(tmp_path / "map.safetensors")
    again = SpaceMap.load(path)
    np.testing.assert_array_equal(again.cross, np.eye(50))
    assert (again.source, again.target) == ("mine", "default")


def test_wrong_files_are_told(tmp_path):
    path = plain_map().save(tmp_path / "map.safetensors")
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(InputError, match="not a map"):
        SpaceMap.load(path)
    save_file({**tensors, "gram": -tensors["gram"]}, path, {"format": "cteg-space-map-1"})
    with pytest.raises(InputError, match="positive definite"):
        SpaceMap.load(path)
    save_file({**tensors, "cross": tensors["cross"] * np.float32(np.nan)}, path, {"format": "cteg-space-map-1"})
    with pytest.raises(InputError, match="cross"):
        SpaceMap.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged"):
        SpaceMap.load(path)
    with pytest.raises(InputError, match="fit_flame_map"):
        SpaceMap.load(tmp_path / "none.safetensors")


def test_only_a_flame_clip_on_an_open_head_is_mapped(head, flame_head, tmp_path):
    path = plain_map().save(tmp_path / "map.safetensors")
    ours, theirs = Clip(np.zeros((2, layout.D))), flame_clip(np.zeros((2, layout.D)))
    assert clips_for(head, [ours], path) == [ours]
    assert clips_for(flame_head, [theirs], path) == [theirs]
    assert clips_for(head, [theirs], None) == [theirs]
    mapped = clips_for(head, [ours, theirs], path)
    assert [clip.space for clip in mapped] == ["open", "open"]
    assert mapped[0] is ours
    with pytest.raises(SpaceError, match=r"import_flame.*fit_flame_map"):
        head.vertices(theirs)
    with pytest.raises(SpaceError, match="default"):
        flame_head.vertices(ours)
    with pytest.raises(SpaceError, match="open"):
        plain_map().apply(ours)


# -- the fit -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def mixing() -> np.ndarray:
    """Every FLAME component moves the face as three open shapes do."""
    generator = np.random.default_rng(0)
    names = [name for name in layout.OPEN_SHAPES if not name.startswith(("eyeLook", "mouthClose"))]
    mixing = np.zeros((50, 50))
    for component in range(50):
        for name in generator.choice(names, 3, replace=False):
            mixing[layout.INDEX[name], component] = generator.uniform(0.2, 0.5)
    return mixing


def another_face(points: np.ndarray) -> np.ndarray:
    """A lower and fuller mouth, a longer nose, a broader and longer jaw: by 4 to 8 mm."""

    def near(centre, radii):
        return np.exp(-(((points - np.array(centre)) / radii) ** 2).sum(axis=1))

    bent = points.astype(np.float64)
    mouth, nose = near([0, -0.065, 0.03], [0.03, 0.02, 0.04]), near([0, -0.035, 0.05], [0.012, 0.02, 0.03])
    below = np.clip(-points[:, 1] / 0.1, 0, 1)
    bent[:, 1] -= 0.006 * mouth + 0.004 * below
    bent[:, 2] += 0.004 * mouth + 0.006 * nose
    bent[:, 0] *= 1 + 0.08 * below
    return bent


@pytest.fixture(scope="module")
def flame_head(head, mixing) -> Rig:
    """A FLAME of another size and another face than the head's, with its vertices in another order."""
    return build_rig(flame_of_open_head(head, mixing, scale=0.93, bend=another_face), "synthetic")


@pytest.fixture(scope="module")
def fit(flame_head, head):
    return fit_flame_map.fit_map(flame_head, head)


def test_the_true_map_is_recovered(fit, mixing):
    generator = np.random.default_rng(2)
    coefficients = np.zeros((100, layout.D))
    for frame in coefficients:
        frame[generator.choice(50, 3, replace=False)] = generator.uniform(0, 0.8, 3)
    truth = coefficients[:, :50] @ mixing.T
    inside = truth.max(axis=1) < 0.9  # beyond 1 the bound rightly spreads the motion over other shapes
    got = fit.map.apply(flame_clip(coefficients)).coefficients[:, :50]
    error = np.abs(got - truth)[inside]
    assert inside.sum() > 50
    assert error.mean() < 0.004
    assert np.quantile(error, 0.99) < 0.05
    assert fit.gap < 2e-4


def test_other_jaw_weights_matter_little(head, mixing):
    """FLAME's jaw holds the cheeks in its own way; only the lips are told apart by it."""
    flame = flame_of_open_head(head, mixing)
    weights = flame.weights.copy()
    weights[:, 2] **= 2
    weights[:, 0] = 1 - weights[:, 2:].sum(axis=1)
    fitted = fit_flame_map.fit_map(build_rig(dataclasses.replace(flame, weights=weights)), head).map
    coefficients = np.zeros((50, layout.D))
    coefficients[np.arange(50), np.arange(50)] = 1
    error = np.abs(fitted.apply(flame_clip(coefficients)).coefficients[:, :50] - mixing.T)
    assert error.mean() < 0.01
    assert error.max() < 0.25


def test_the_bounded_fit_keeps_more_than_a_clamped_linear_map(fit, head, mixing):
    """Why the solver runs for every frame: components have both signs, weights only one."""
    coefficients = np.zeros((100, layout.D))
    coefficients[:, :50] = np.random.default_rng(3).normal(size=(100, 50))
    motion = (head.vertices(np.eye(layout.D, dtype=np.float32)[:50]) - head.neutral).reshape(50, -1)
    wanted = coefficients[:, :50] @ mixing.T @ motion
    linear = np.linalg.solve(fit.map.gram.astype(np.float64), fit.map.cross)
    clamped = np.clip(coefficients[:, :50] @ linear.T, 0, 1) * fit.map.upper
    bounded = fit.map.apply(flame_clip(coefficients)).coefficients[:, :50]

    def kept(weights):
        return 1 - ((weights @ motion - wanted) ** 2).sum() / (wanted**2).sum()

    assert kept(bounded) > 0.7
    assert kept(bounded) > kept(clamped) + 0.15


def test_gaze_is_left_alone_and_the_jaw_opens_as_far(fit):
    assert all(fit.map.upper[layout.INDEX[name]] == 0 for name in layout.OPEN_SHAPES if name.startswith("eyeLook"))
    np.testing.assert_allclose(fit.map.jaw_scale, 1, atol=0.08)


def test_an_upper_lip_never_corresponds_to_a_lower_one(flame_head, head):
    reach = [np.linalg.norm(fit_flame_map._shape_motion(rig), axis=2).max(axis=0) for rig in (flame_head, head)]
    source = correspondence.face_of(flame_head, reach[0])
    target = correspondence.face_of(head, reach[1], correspondence.HALF_HIDDEN)
    ratio = correspondence.eye_distance(head) / correspondence.eye_distance(flame_head)
    places = correspondence.register(source, target, ratio)
    jaw = correspondence.blend(source, target, places) @ target.jaw
    assert np.abs(jaw - source.jaw).max() < 0.2


def test_the_command_writes_a_map(flame_head, tmp_path):
    runner = CliRunner()
    source, out = flame_head.save(tmp_path / "mine.safetensors"), tmp_path / "maps" / "map.safetensors"
    result = runner.invoke(fit_flame_map.app, [str(source), str(out)])
    assert result.exit_code == 0, result.output
    assert "mm" in result.output
    assert SpaceMap.load(out).source == "synthetic"
    result = runner.invoke(fit_flame_map.app, ["default", str(out)])
    assert result.exit_code == 2
    assert "expected one of 'flame'" in result.output


# -- commands ----------------------------------------------------------------------------------------------------------


def test_render_needs_the_map_for_a_flame_clip(tmp_path, monkeypatch):
    clip, out = tmp_path / "clip.npz", tmp_path / "sheet.png"
    flame_clip(np.zeros((2, layout.D))).save(clip)
    path = plain_map().save(tmp_path / "map.safetensors")
    command = ["render", str(clip), "--out", str(out), "--frames", "1"]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 2
    assert "--map" in result.output
    assert CliRunner().invoke(cli.app, [*command, "--map", str(path)]).exit_code == 0
    out.unlink()
    monkeypatch.setenv("CTEG_FLAME_MAP", str(path))
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_flame_weights_perform_for_an_open_head_through_a_map():
    model, encoder = models.small_model(space="flame"), models.small_encoder()
    plain = Generator(model, encoder, "small").generate("Hello.", 1)
    generator = Generator(model, encoder, "small", plain_map())
    mapped = generator.generate("Hello.", 1)
    assert (plain[0].space, mapped[0].space, generator.space) == ("flame", "open", "open")
    np.testing.assert_array_equal(plain_map().apply(plain[0]).coefficients, mapped[0].coefficients)
