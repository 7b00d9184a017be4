"""ARKit CSV: the layout of Live Link Face, and the way there and back."""

import numpy as np
import pytest

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.arkit import ARKIT_COLUMNS, EXTRA_COLUMNS, arkit_weights, load_csv, save_csv
from cteg.layout import INDEX


def performance(frames: int = 60, fps: float = layout.FPS) -> Clip:
    """Every coefficient has its own value in every frame; the jaw turns about all three axes and shuts firmly."""
    random = np.random.default_rng(2)
    coefficients = random.uniform(0, 1, (frames, layout.D)).astype(np.float32)
    coefficients[:, layout.JAW] = random.uniform(*layout.JAW_LIMITS.T, (frames, 3))
    return Clip(coefficients, fps=fps)


def representable(clip: Clip) -> Clip:
    """The same without what the 52 shapes cannot say."""
    coefficients = clip.coefficients.copy()
    for shape in ("browInnerUp", "cheekPuff"):
        coefficients[:, INDEX[f"{shape}Right"]] = coefficients[:, INDEX[f"{shape}Left"]]
    coefficients[:, INDEX["jawOpen"]] = np.abs(coefficients[:, INDEX["jawOpen"]])
    coefficients[:, INDEX["jawRoll"]] = 0
    return Clip(coefficients, fps=clip.fps)


def test_a_clip_of_the_52_shapes_comes_back(tmp_path):
    clip = representable(performance())
    back = load_csv(save_csv(clip, tmp_path / "a.csv"))
    np.testing.assert_allclose(back.coefficients, clip.coefficients, atol=1e-6)
    assert (back.fps, back.space) == (clip.fps, "open")


def test_with_the_extra_columns_every_clip_comes_back(tmp_path):
    clip = performance()
    path = save_csv(clip, tmp_path / "a.csv", full=True)
    np.testing.assert_allclose(load_csv(path).coefficients, clip.coefficients, atol=1e-6)
    header, *rows = path.read_text().splitlines()
    assert header.split(",")[63:] == list(EXTRA_COLUMNS)
    assert header.split(",")[2:63] == list(ARKIT_COLUMNS)
    assert {row.split(",")[1] for row in rows} == {"61"}


def test_without_them_halves_are_averaged_and_nothing_else_changes(tmp_path):
    clip = performance()
    back = load_csv(save_csv(clip, tmp_path / "a.csv")).coefficients
    lost = [INDEX[name] for name in EXTRA_COLUMNS.values()]
    np.testing.assert_allclose(np.delete(back, lost, axis=1), np.delete(clip.coefficients, lost, axis=1), atol=1e-6)
    for shape in ("browInnerUp", "cheekPuff"):
        mean = (clip.coefficients[:, INDEX[f"{shape}Left"]] + clip.coefficients[:, INDEX[f"{shape}Right"]]) / 2
        for side in ("Left", "Right"):
            np.testing.assert_allclose(back[:, INDEX[shape + side]], mean, atol=1e-6)
    np.testing.assert_allclose(
        back[:, INDEX["jawOpen"]], np.maximum(clip.coefficients[:, INDEX["jawOpen"]], 0), atol=1e-6
    )
    assert not back[:, INDEX["jawRoll"]].any()


@pytest.mark.parametrize(("fps", "frames"), [(25, 7), (25, 25), (30, 31), (60, 200), (50, 50)])
def test_the_frame_rate_follows_from_the_timecode(fps, frames, tmp_path):
    assert load_csv(save_csv(performance(frames, fps), tmp_path / "a.csv")).fps == fps


def test_a_recording_with_other_columns_and_a_byte_order_mark_is_read(tmp_path):
    names = [*ARKIT_COLUMNS, "Something"]
    row = ["12:59:59:58.402", "61", *("0.5" if name == "JawOpen" else "0.0" for name in names)]
    later = ["13:00:00:00.017", *row[1:]]
    text = "\n".join(",".join(cells) for cells in (["Timecode", "BlendshapeCount", *names], row, later))
    path = tmp_path / "take.csv"
    path.write_text("\ufeff" + text + "\n", encoding="utf-8")
    clip = load_csv(path)
    assert (len(clip), clip.fps) == (2, 59)
    assert clip.coefficients[0, INDEX["jawOpen"]] == pytest.approx(0.5 * layout.JAW_OPEN_RADIANS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a table"),
        (b"\x89PNG\r\n\x1a\n\xff", "not a table"),
        (b"Timecode,BlendShapeCount\n", "no frame"),
        (b"Timecode,BlendShapeCount,JawOpen\n00:00:00:00.000,61,0.5\n", "lacks the column EyeBlinkLeft"),
        (b"Timecode,BlendShapeCount,JawOpen\n00:00:00:00.000,61,wide\n", "no number"),
        (b"Timecode,BlendShapeCount,JawOpen\nsoon,61,1\n", "no number"),
        (b"Timecode,BlendShapeCount,JawOpen\n0:0:0:inf,61,1\n", "no number"),
        (b"Timecode,BlendShapeCount,JawOpen\n0:0:0:0,61,1\n0:0:0:1,61\n", "a row is incomplete"),
        (b"Timecode,BlendShapeCount,JawOpen\n0:0:0:0,61,1,2\n", "another length"),
    ],
    ids=["empty", "binary", "header", "columns", "words", "time", "infinite", "short", "long"],
)
def test_what_is_no_table_is_refused_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_csv(path)


def test_other_refusals(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        load_csv(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="Cannot write"):
        save_csv(performance(2), tmp_path / "no" / "a.csv")
    with pytest.raises(SpaceError):
        save_csv(Clip(np.zeros((2, layout.D), dtype=np.float32), space="flame"), tmp_path / "a.csv")


def test_layout_and_timecode(tmp_path):
    coefficients = np.zeros((27, 53), dtype=np.float32)
    coefficients[1, layout.INDEX["browInnerUpLeft"]] = 1.0
    coefficients[2, layout.INDEX["jawOpen"]] = layout.JAW_OPEN_RADIANS
    coefficients[3, layout.INDEX["jawTurn"]] = -layout.JAW_TURN_RADIANS
    coefficients[4, layout.INDEX["mouthSmileLeft"]] = 0.25
    clip = Clip(coefficients)
    table = arkit_weights(clip)
    column = {name: table[:, i] for i, name in enumerate(ARKIT_COLUMNS)}
    assert column["BrowInnerUp"][1] == 0.5
    assert column["JawOpen"][2] == pytest.approx(1)
    assert (column["JawRight"][3], column["JawLeft"][3]) == (pytest.approx(1), 0)
    assert column["MouthSmileLeft"][4] == 0.25
    assert table.sum() == pytest.approx(2.75)
    lines = save_csv(clip, tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 28
    assert lines[0].split(",")[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert {len(line.split(",")) for line in lines} == {63}
    assert lines[26 + 1].startswith("00:00:01:01.000,61,")
