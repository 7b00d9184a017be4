"""Layout, clips and their files."""

import numpy as np
import pytest

from cteg import layout
from cteg.clip import MAX_ARRAY_BYTES, MAX_FRAMES, Clip
from cteg.errors import InputError
from cteg.face.arkit import ARKIT_COLUMNS


def some_clip(frames=10, **changes):
    rng = np.random.default_rng(0)
    coefficients = rng.uniform(0, 0.4, (frames, layout.D)).astype(np.float32)
    return Clip(
        coefficients,
        **{"text": "Hello, “Wörld” 🙂", "seed": 7, "temperature": 0.8, "weights": "w", "guidance": 0.5} | changes,
    )


def test_layout_is_arkit_without_jaw_and_tongue_and_with_two_splits():
    assert len(layout.OPEN_SHAPES) == len(set(layout.OPEN_SHAPES)) == 50
    from_shapes = {n.removesuffix("Left").removesuffix("Right") for n in layout.OPEN_SHAPES}
    from_arkit = {(n[0].lower() + n[1:]).removesuffix("Left").removesuffix("Right") for n in ARKIT_COLUMNS[:52]}
    assert from_arkit - from_shapes == {"jaw", "jawOpen", "tongueOut"}
    assert len(ARKIT_COLUMNS) == 61


def test_mirror_is_an_involution_that_swaps_sides():
    order = layout.mirror_index()
    assert (order[order] == np.arange(50)).all()
    assert order[layout.INDEX["mouthSmileLeft"]] == layout.INDEX["mouthSmileRight"]
    assert order[layout.INDEX["mouthLeft"]] == layout.INDEX["mouthRight"]
    assert order[layout.INDEX["jawForward"]] == layout.INDEX["jawForward"]


def test_clamp_open():
    wild = np.full((2, 53), 9.0, dtype=np.float32)
    assert layout.clamp_open(wild)[:, :50].max() == 1
    np.testing.assert_allclose(layout.clamp_open(-wild)[0, 50:], layout.JAW_LIMITS[:, 0])


def test_clip_file_round_trip(tmp_path):
    clip = some_clip()
    back = Clip.load(clip.save(tmp_path / "a.npz"))
    np.testing.assert_array_equal(back.coefficients, clip.coefficients)
    for name in ("fps", "space", "text", "seed", "temperature", "weights", "guidance"):
        assert getattr(back, name) == getattr(clip, name)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["coefficients"].dtype == np.float32
        assert all(archive[name].shape == () for name in archive.files if name != "coefficients")


@pytest.mark.parametrize(
    "coefficients",
    [np.zeros((0, 53)), np.zeros((4, 52)), np.zeros(53), np.full((2, 53), np.nan), np.full((2, 53), np.inf)],
    ids=["empty", "52", "flat", "nan", "inf"],
)
def test_wrong_coefficients_are_refused(coefficients):
    with pytest.raises(InputError, match="A clip needs"):
        Clip(coefficients)


def test_wrong_clip_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no clip file"):
        Clip.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="damaged"):
        Clip.load(tmp_path / "text.npz")
    whole = some_clip().save(tmp_path / "cut.npz")
    whole.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        Clip.load(whole)
    np.savez(tmp_path / "other.npz", frames=np.zeros((3, 53)))
    with pytest.raises(InputError, match="no array 'coefficients'"):
        Clip.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", coefficients=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        Clip.load(tmp_path / "pickle.npz")


def test_a_file_with_damaged_bytes_is_refused_unless_they_say_nothing(tmp_path):
    content, refused = some_clip().save(tmp_path / "a.npz").read_bytes(), 0
    for place in range(0, len(content), 53):
        damaged = bytearray(content)
        damaged[place : place + 4] = b"\xff\xff\xff\xff"
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            back = Clip.load(tmp_path / "a.npz")
        except InputError:
            refused += 1
        else:  # the bytes were a date, for instance
            np.testing.assert_array_equal(back.coefficients, some_clip().coefficients)
    assert refused > 0.7 * len(content) / 53


def test_a_file_that_would_fill_the_memory_is_refused_unread(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "long.npz", coefficients=np.zeros((MAX_FRAMES + 100, 53)))
    np.savez_compressed(tmp_path / "more.npz", coefficients=np.zeros((2, 53)), other=np.zeros(MAX_ARRAY_BYTES // 8 + 1))
    monkeypatch.setattr("numpy.lib.npyio.NpzFile.__getitem__", lambda *_: pytest.fail("an array was unpacked"))
    for name in ("long.npz", "more.npz"):
        with pytest.raises(InputError, match=f"{name} is too large: a clip has at most {MAX_FRAMES} frames"):
            Clip.load(tmp_path / name)
