"""Exports by the ending of the name: everything that was promised, and one sentence for what cannot be."""

import zipfile

import numpy as np
import pytest
import trimesh

import cteg
from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.export import FORMATS, TOGETHER, file_name, load, save, to_mesh, to_zip
from cteg.face.arkit import load_csv
from cteg.face.rig import Rig
from tests.poses import frame

SIGNATURES = {
    "npz": b"PK",
    "csv": b"Time",
    "glb": b"glTF",
    "gif": b"GIF8",
    "png": b"\x89PNG",
    "ply": b"ply",
    "obj": b"#",
}


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


def clips(count: int = 2, space: str = "open") -> list[Clip]:
    poses = np.stack([frame(), frame(jawOpen=0.3, browInnerUpLeft=0.6, browInnerUpRight=0.6)])
    return [Clip(poses, space=space, text="Oh!", seed=7 + index, weights="w") for index in range(count)]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_by_its_ending(head, kind, tmp_path):
    path = save(clips(1), head, tmp_path / f"a.{kind}")
    content = path.read_bytes()
    assert content[4:8] == b"ftyp" if kind == "mp4" else content.startswith(SIGNATURES[kind])


@pytest.mark.parametrize("kind", FORMATS)
def test_several_clips_go_into_films_and_sheets_alone(head, kind, tmp_path):
    if kind in TOGETHER:
        assert save(clips(2), head, tmp_path / f"a.{kind}").stat().st_size > 1000
    else:
        with pytest.raises(InputError, match=f"A .{kind} file holds one clip, got 2"):
            save(clips(2), head, tmp_path / f"a.{kind}")


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_what_can_be_read_comes_back(head, kind, tmp_path):
    (clip,) = clips(1)
    back = load(save(clip, head, tmp_path / f"a.{kind}"))
    np.testing.assert_allclose(back.coefficients, clip.coefficients, atol=1e-6)


def test_the_extra_columns_are_written_on_request(head, tmp_path):
    coefficients = np.random.default_rng(0).uniform(0, 0.1, (3, layout.D)).astype(np.float32)
    clip = Clip(coefficients)
    exact = load_csv(save(clip, head, tmp_path / "a.csv", full=True)).coefficients
    np.testing.assert_allclose(exact, coefficients, atol=1e-6)


def test_a_still_mesh_is_the_frame_that_was_asked_for(head, tmp_path):
    (clip,) = clips(1)
    for path, index in ((to_mesh(clip, head, tmp_path / "a.ply"), 1), (to_mesh(clip, head, tmp_path / "b.ply", 0), 0)):
        mesh = trimesh.load(path, process=False)
        np.testing.assert_allclose(mesh.vertices, head.vertices(clip)[index], atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, head.triangles)
        np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], head.color)
    with pytest.raises(InputError, match="frames 0 to 1, got 2"):
        to_mesh(clip, head, tmp_path / "c.ply", 2)
    with pytest.raises(InputError, match=r"Cannot write 'c\.fbx': a mesh ends in \.ply or \.obj"):
        to_mesh(clip, head, tmp_path / "c.fbx")


def test_the_archive_holds_every_sample(head, tmp_path):
    told = []
    path = to_zip(clips(2), head, tmp_path / "all.zip", told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        singles = [f"face{i + 1}_seed{7 + i}.{kind}" for i in range(2) for kind in ("csv", "glb", "npz")]
        assert sorted(archive.namelist()) == sorted([*singles, "faces_seed7-8.png", "faces_seed7-8.mp4"])
        archive.extract("face2_seed8.npz", tmp_path)
    assert load(tmp_path / "face2_seed8.npz").seed == 8
    with pytest.raises(InputError, match="got none"):
        to_zip([], head, tmp_path / "none.zip")


def test_names_tell_what_is_inside():
    assert file_name(clips(3), "glb", 1) == "face2_seed8.glb"
    assert file_name(clips(3), "mp4") == "faces_seed7-9.mp4"
    assert file_name(clips(1), "mp4") == "faces_seed7.mp4"


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "npz"])
def test_a_clip_of_another_space_is_refused_and_leaves_nothing(head, kind, tmp_path):
    with pytest.raises(SpaceError):
        save(clips(1, space="flame"), head, tmp_path / f"a.{kind}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_that_is_not_there_is_named(head, kind, tmp_path):
    with pytest.raises(InputError, match="Cannot write"):
        save(clips(1), head, tmp_path / "no" / f"a.{kind}")


def test_other_endings_are_refused(head, tmp_path):
    with pytest.raises(InputError, match=r"expected an ending of \.npz, \.csv, \.glb"):
        save(clips(1), head, tmp_path / "a.fbx")
    with pytest.raises(InputError, match=r"Cannot read 'a\.mp4'"):
        load(tmp_path / "a.mp4")


def test_the_package_offers_every_name_that_it_lists():
    assert cteg.export.save is save
    assert {name for name in cteg.__all__ if getattr(cteg, name) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'exporter'"):
        cteg.exporter  # noqa: B018
