"""GLB: what comes out of the file is what the rig does, by our own reader, Khronos' validator, trimesh and three.js."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

import cteg
from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.glb import glb_bytes, save_glb
from cteg.face.render import to_linear
from cteg.face.rig import Rig, vertex_normals
from tests.flame import flame_content, write_flame
from tests.gltf.reader import Gltf
from tests.poses import frame
from tests.test_rig import synthetic_rig
from training.import_flame import build_rig, read_flame

FOLDER = Path(__file__).parent / "gltf"
MODULES = FOLDER / "node_modules"
INSTALL = "install them with 'npm ci --prefix tests/gltf'"
TEXT = "I can't believe you came! “Schön” 😊"


def performance(frames: int = 9, space: str = "open") -> Clip:
    """Everything moves, within its range, and nothing moves alone."""
    random = np.random.default_rng(5)
    low, high = random.uniform(0, 0.6, (2, layout.D)).astype(np.float32)
    blend = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
    coefficients = (1 - blend) * low + blend * high
    coefficients[:, layout.JAW] = np.linspace([0, -0.1, 0.05], [0.45, 0.1, -0.05], frames)
    return Clip(coefficients, space=space, text=TEXT, seed=7, temperature=0.8, weights="w")


def odd_rigs() -> list[Rig]:
    """Small heads of every kind that the format allows."""
    random = np.random.default_rng(1)
    drive = random.normal(0, 0.01, (1, 3, layout.D)).astype(np.float32)
    box = synthetic_rig("jaw_rotation", "flame")
    moving = dataclasses.replace(
        box,
        name="moving pivot",
        pivot_drive=drive,
        joint_weights=np.array([65535, 40000, 7, 1], dtype=np.uint16),
    )
    crowded = dataclasses.replace(
        synthetic_rig(),
        name="five joints",
        joint_names=("jaw", "a", "b", "c", "d"),
        joint_pivots=random.normal(0, 0.1, (5, 3)).astype(np.float32),
        joint_drive=random.normal(0, 0.1, (5, 3, layout.D)).astype(np.float32),
        joint_offsets=(4 * np.arange(6)).astype(np.uint32),
        joint_vertices=np.tile(np.arange(4), 5).astype(np.uint16),
        joint_weights=np.full(20, 40, dtype=np.uint8),
        pivot_drive=np.zeros((5, 3, layout.D), dtype=np.float32),
    )
    return [synthetic_rig("none"), synthetic_rig("jaw_angle"), box, moving, crowded]


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def exported(head, tmp_path_factory) -> Path:
    return save_glb(performance(), head, tmp_path_factory.mktemp("glb") / "clip.glb")


def overfull(head: Rig) -> np.ndarray:
    """Mask of vertices whose joints hold more than all of them; glTF cannot say that, so they may differ a little."""
    total = np.zeros(head.vertex_count)
    for joint in range(len(head.joint_names)):
        vertices, weights = head.held(joint)
        total[vertices] += weights
    return total > 1 + 1e-6


# -- motion and shading ------------------------------------------------------------------------------------------------


def test_vertices_at_every_frame_are_the_rigs(head, exported):
    gltf, clip = Gltf(exported), performance()
    expected = head.vertices(clip)
    np.testing.assert_allclose(gltf.times, np.arange(len(clip)) / clip.fps, atol=1e-6)
    exact = ~overfull(head)
    assert exact.sum() >= head.vertex_count - 8
    for index in (0, 4, 8):
        vertices, _ = gltf.pose(index / clip.fps)
        assert np.abs(vertices - expected[index])[exact].max() < 1e-6
        assert np.abs(vertices - expected[index]).max() < 1e-3


@pytest.mark.parametrize("rig", odd_rigs(), ids=lambda rig: f"{rig.name} {rig.corrective}")
def test_heads_of_every_kind_move_as_their_rig(rig, tmp_path):
    clip = performance(space=rig.space)
    gltf = Gltf(save_glb(clip, rig, tmp_path / "clip.glb"))
    for index, expected in enumerate(rig.vertices(clip)):
        np.testing.assert_allclose(gltf.pose(index / clip.fps)[0], expected, atol=2e-6)


def test_a_flame_head_moves_as_its_rig(tmp_path):
    rig = build_rig(read_flame(write_flame(tmp_path / "model.pkl", flame_content())))
    random = np.random.default_rng(4)
    coefficients = random.normal(0, 1, (4, layout.D)).astype(np.float32)  # components have both signs
    coefficients[:, layout.JAW] = random.uniform(-0.1, 0.4, (4, 3))
    clip = Clip(coefficients, space="flame")
    path = save_glb(clip, rig, tmp_path / "clip.glb")
    for index, expected in enumerate(rig.vertices(clip)):
        assert np.abs(Gltf(path).pose(index / clip.fps)[0] - expected).max() < 1e-6
    assert validate(path)["issues"]["messages"] == []


def angles(normals: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((normals * expected).sum(axis=1), -1, 1)))


@pytest.mark.parametrize(
    "pose",
    [frame(jawOpen=layout.JAW_OPEN_RADIANS), frame(eyeBlinkLeft=1), frame(mouthSmileLeft=1), frame(browDownRight=1)],
    ids=["jaw", "blink", "smile", "brow"],
)
def test_shading_is_right_where_one_shape_is_fully_on(head, pose, tmp_path):
    gltf = Gltf(save_glb(Clip(pose[None]), head, tmp_path / "clip.glb"))
    true = vertex_normals(head.vertices(pose), head.triangles)[0]
    _, normals = gltf.pose(0)
    wrong = angles(normals, true)
    assert np.delete(wrong, np.flatnonzero(overfull(head))).max() < 0.6  # what NORMAL_STEP leaves out
    without = angles(gltf.pose(0, morph_normals=False)[1], true)
    assert np.percentile(without, 99) > 5


def test_shading_of_a_real_performance_is_close(head, tmp_path):
    clip = cteg.Clip(np.stack([frame(jawOpen=0.2, mouthSmileLeft=0.7, mouthSmileRight=0.5, cheekSquintLeft=0.6)]))
    gltf = Gltf(save_glb(clip, head, tmp_path / "clip.glb"))
    true = vertex_normals(head.vertices(clip), head.triangles)[0]
    wrong, without = (angles(gltf.pose(0, morph)[1], true) for morph in (True, False))
    assert wrong.mean() < 1
    assert wrong.mean() < 0.4 * without.mean()


# -- what else is in the file ------------------------------------------------------------------------------------------


def test_the_head_at_rest_has_its_colours_and_names(head, exported):
    gltf = Gltf(exported)
    assert gltf.mesh["extras"]["targetNames"] == [*head.shape_names, "jawCorrective"]
    nodes = gltf.json["nodes"]
    assert [nodes[joint]["name"] for joint in gltf.json["skins"][0]["joints"]] == ["root", *head.joint_names]
    np.testing.assert_array_equal(gltf.triangles, head.triangles)
    np.testing.assert_array_equal(gltf.attribute("POSITION"), head.neutral)
    color, shadow = gltf.attribute("COLOR_0")[:, :3], 0.35 + 0.65 * head.occlusion[:, None] / 255
    np.testing.assert_allclose(color, to_linear(head.color) * shadow, atol=1e-4)
    shares = gltf.attribute("WEIGHTS_0")
    assert (np.round(shares * 255).sum(axis=1) == 255).all()
    asset = gltf.json["asset"]
    assert asset["generator"] == f"CTEG {cteg.__version__}"
    assert asset["copyright"] == head.licence
    assert (asset["extras"]["text"], asset["extras"]["seed"], asset["extras"]["temperature"]) == (TEXT, 7, 0.8)


def test_smoother_skin_is_rougher(head, exported):
    ramp = Gltf(exported).attribute("TEXCOORD_0")[:, 0]
    np.testing.assert_allclose(ramp, (head.gloss + 0.5) / 256, atol=1e-4)
    (pixels,) = np.asarray(trimesh.load(exported).geometry["default"].visual.material.metallicRoughnessTexture)
    roughness = pixels[:, 1].astype(int)
    assert (np.diff(roughness) <= 0).all()
    assert roughness[255] < 80 < 140 < roughness[0]
    assert not pixels[:, 2].any()  # not a metal


def test_trimesh_reads_the_head(head, exported):
    (mesh,) = trimesh.load(exported, process=False).geometry.values()
    np.testing.assert_allclose(mesh.vertices, head.neutral, atol=1e-7)
    np.testing.assert_array_equal(mesh.faces, head.triangles)


def test_the_file_of_one_frame_and_the_same_file_twice(head):
    clip = Clip(frame(jawOpen=0.3)[None])
    assert glb_bytes(clip, head) == glb_bytes(clip, head)


def test_a_size_fit_to_send(exported):
    assert exported.stat().st_size < 8_000_000


def test_what_cannot_be_written_is_said(head, tmp_path):
    with pytest.raises(SpaceError):
        save_glb(performance(space="flame"), head, tmp_path / "a.glb")
    with pytest.raises(InputError, match="Cannot write"):
        save_glb(performance(1), head, tmp_path / "no" / "a.glb")
    assert not list(tmp_path.iterdir())


# -- other people's programs -------------------------------------------------------------------------------------------


def node() -> str:
    """Return a Node.js: the system's, or the one that playwright brings along."""
    if found := shutil.which("node"):
        return found
    driver = pytest.importorskip("playwright", reason="there is no Node.js")
    return str(Path(driver.__file__).parent / "driver" / "node")


def validate(path: Path) -> dict:
    if not (MODULES / "gltf-validator").is_dir():
        pytest.skip(f"Khronos' gltf-validator is not there; {INSTALL}")
    command = [node(), str(FOLDER / "validate.cjs"), str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_khronos_validator_finds_nothing(exported, tmp_path):
    files = [exported]
    for index, rig in enumerate(odd_rigs()):
        files.append(save_glb(performance(space=rig.space), rig, tmp_path / f"{index}.glb"))
    for path in files:
        issues = validate(path)["issues"]
        assert issues["messages"] == []
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0)


def test_the_validator_would_find_a_mistake(exported, tmp_path):
    broken = bytearray(exported.read_bytes())
    place = broken.index(b'"max":[') + len('"max":[')
    broken[place : place + 1] = b"9"
    path = tmp_path / "broken.glb"
    path.write_bytes(broken)
    assert validate(path)["issues"]["numErrors"] > 0


@pytest.mark.browser
def test_three_js_moves_the_vertices_like_the_rig(browser, head, exported):
    if not (MODULES / "three").is_dir():
        pytest.skip(f"three.js is not there; {INSTALL}")
    clip = performance()
    page = browser.new_page(viewport={"width": 512, "height": 512})
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def serve(route):
        name = route.request.url.removeprefix("http://three.test/")
        route.fulfill(path=str(exported if name == "clip.glb" else FOLDER / name))

    page.route("http://three.test/**", serve)
    page.goto("http://three.test/three.html")
    page.wait_for_function("window.about")
    about = page.evaluate("window.about")
    assert about["targets"] == [*head.shape_names, "jawCorrective"]
    assert about["morphNormals"]
    assert about["duration"] == pytest.approx((len(clip) - 1) / clip.fps)
    exact = ~overfull(head)
    for index in (0, len(clip) - 1):
        page.evaluate(f"window.show({index / clip.fps})")
        vertices = np.reshape(page.evaluate("window.vertices()"), (-1, 3))
        assert np.abs(vertices - head.vertices(clip)[index])[exact].max() < 1e-6
    assert complaints == []
    page.close()
