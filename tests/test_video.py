"""Films, contact sheets and their captions."""

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageFont

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError, SpaceError
from cteg.face.caption import fitting_font, wrap
from cteg.face.render import render_frames
from cteg.face.rig import Rig
from cteg.face.video import MAX_GIF_SECONDS, contact_sheet, film_frames, save_film, save_sheet
from tests.poses import frame

TEXT = "I can't believe you came!"


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


def clip(frames: int, text: str = TEXT, level: float = 1.0, fps: float = layout.FPS) -> Clip:
    levels = np.linspace(0, level, frames)
    poses = [frame(mouthSmileLeft=v, mouthSmileRight=v, jawOpen=0.2 * v) for v in levels]
    return Clip(np.stack(poses), text=text, fps=fps, seed=7, weights="w")


def film_of(path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(picture, np.uint8).reshape(height, width, 3).astype(int) for picture in reader]


# -- films -------------------------------------------------------------------------------------------------------------


def test_an_mp4_shows_every_frame_below_its_sentence(head, tmp_path):
    told = []
    meta, pictures = film_of(save_film(clip(6), head, tmp_path / "a.mp4", told.append))
    assert meta["fps"] == pytest.approx(layout.FPS)
    assert len(pictures) == 6
    assert told == pytest.approx([(index + 1) / 6 for index in range(6)])
    height, width, _ = pictures[0].shape
    assert (width % 2, height % 2) == (0, 0)
    assert height > width == 512
    assert pictures[0][:40].min() < 90  # ink
    expected = render_frames(head, clip(6).coefficients[5], 512)[0].astype(int)
    top = next(y for y in range(height - 512) if np.abs(pictures[5][y : y + 512] - expected).mean() < 3)
    assert np.abs(pictures[0][top : top + 512] - pictures[5][top : top + 512]).max() > 60


def test_several_clips_keep_step_and_shorter_ones_rest(head):
    clips = [clip(6), clip(3, level=0.5), clip(4, level=0.2)]
    pictures = list(film_frames(clips, head, 64))
    assert len(pictures) == 6
    height, width, _ = pictures[0].shape
    assert width == 3 * 64
    for index, one in enumerate(clips):
        for number, picture in enumerate(pictures):
            face = render_frames(head, one.coefficients[min(number, len(one) - 1)], 64)[0]
            cell = picture[:, 64 * index : 64 * (index + 1)]
            assert any((cell[y : y + 64] == face).all() for y in range(height - 64)), (index, number)


def test_clips_of_different_rates_keep_time(head):
    pictures = list(film_frames([clip(4, fps=50), clip(2, fps=25)], head, 32))
    slow = [picture[:, 32:] for picture in pictures]
    assert len(pictures) == 4
    assert (slow[0] == slow[1]).all()
    assert (slow[2] == slow[3]).all()
    assert (slow[1] != slow[2]).any()


@pytest.mark.parametrize("count", range(1, 9))
def test_any_number_of_faces_has_its_place(head, count):
    (picture,) = film_frames([clip(1)] * count, head, 32)
    face = render_frames(head, clip(1).coefficients[0], 32)[0]
    places = [
        (x, y)
        for y in range(picture.shape[0] - 31)
        for x in range(0, picture.shape[1] - 31, 16)
        if (picture[y : y + 32, x : x + 32] == face).all()
    ]
    assert len(places) == count


def test_a_gif_loops_at_the_clips_pace(head, tmp_path):
    with Image.open(save_film(clip(5), head, tmp_path / "a.gif")) as moving:
        assert moving.n_frames == 5
        assert moving.info["duration"] == 40
        assert moving.info["loop"] == 0
    with Image.open(save_film([clip(2), clip(3)], head, tmp_path / "two.gif")) as moving:
        assert moving.n_frames == 3


def test_films_that_cannot_be_made_are_refused(head, tmp_path):
    with pytest.raises(InputError, match=r"\.mp4 or \.gif"):
        save_film(clip(2), head, tmp_path / "a.avi")
    with pytest.raises(InputError, match="Cannot write"):
        save_film(clip(2), head, tmp_path / "no" / "folder" / "a.mp4")
    with pytest.raises(InputError, match="1 to 8 clips, got 9"):
        save_film([clip(2)] * 9, head, tmp_path / "a.mp4")
    with pytest.raises(InputError, match="write an MP4"):
        save_film(clip((MAX_GIF_SECONDS + 1) * 25), head, tmp_path / "a.gif")
    with pytest.raises(SpaceError):
        save_film(Clip(np.zeros((2, layout.D), dtype=np.float32), space="flame"), head, tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


# -- contact sheets ----------------------------------------------------------------------------------------------------


def test_a_contact_sheet_spreads_faces_over_the_clip(head, tmp_path):
    sheet = contact_sheet(clip(20), head, frames=4)
    assert sheet.width == 4 * 256
    first, last = (render_frames(head, clip(20).coefficients[index], 256)[0] for index in (0, 19))
    pixels = np.asarray(sheet)
    top = next(y for y in range(sheet.height - 255) if (pixels[y : y + 256, :256] == first).all())
    assert (pixels[top : top + 256, 768:] == last).all()
    short = contact_sheet(clip(2, text=""), head, frames=8)
    assert (short.width, short.height < sheet.height) == (2 * 256, True)
    assert contact_sheet([clip(3), clip(3)], head).height > 1.8 * short.height
    with Image.open(save_sheet(clip(2), head, tmp_path / "a.png")) as saved:
        assert saved.size == contact_sheet(clip(2), head).size


def test_sheets_that_cannot_be_made_are_refused(head, tmp_path):
    with pytest.raises(InputError, match="frames"):
        contact_sheet(clip(2), head, frames=0)
    with pytest.raises(InputError, match="Cannot write"):
        save_sheet(clip(2), head, tmp_path / "no" / "a.png", frames=1)


# -- captions ----------------------------------------------------------------------------------------------------------


def test_long_sentences_wrap_and_end_in_an_ellipsis():
    font, text = fitting_font("word " * 200, 20)
    lines = wrap(text, font, 300)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 300 for line in lines)
    assert wrap("short", font, 300) == ["short"]
    assert wrap("", font, 300) == []


def test_a_word_without_end_is_cut():
    font, text = fitting_font("a" * 500, 20)
    assert all(font.getlength(line) <= 200 for line in wrap(text, font, 200))


@pytest.mark.parametrize(
    "text", ["plain", "José, a “naïve” café — well…", "sí 😊 ok", "👩‍👩‍👧", "Привет", "中文", "a\n\tb"]
)
def test_no_caption_shows_the_mark_of_unknown_characters(text):
    font, drawn = fitting_font(text, 20)
    unknown = bytes(font.getmask("\uffff"))
    assert not [c for c in drawn if not c.isspace() and bytes(font.getmask(c)) == unknown]


def test_without_other_fonts_accents_go_and_emoji_vanish(monkeypatch):
    monkeypatch.setattr("cteg.face.caption.OTHER_FONTS", ("no such font.ttf",))
    font, drawn = fitting_font("José is naïve 😊 now", 20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert drawn == "Jose is naive now"
