"""Pictures and films of clips: contact sheet (PNG), MP4, GIF; one clip, or several side by side in step."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.caption import fitting_font, wrap
from cteg.face.render import render_frames
from cteg.face.rig import Rig, check_space

Progress = Callable[[float], object]
"""Called with the share of the work that is done, 0...1."""

SHEET_CELL = 256
"""Pixels of one face on a contact sheet."""

SHEET_COLUMNS = 8
MAX_SHEET_FRAMES = 64
MAX_FACES = 8
FILM_CELL = {".mp4": (512, 384), ".gif": (360, 256)}
"""Pixels of a face alone and of one among several; a GIF holds every pixel, so it is smaller."""

FILM_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 7: 4, 8: 4}
MAX_GIF_SECONDS = 30
"""The encoder keeps a whole GIF in memory to choose its colours."""

THREADS = min(4, os.cpu_count() or 1)
PAPER = (246, 247, 249)
INK = (32, 36, 44)
QUIET_INK = (88, 96, 110)
MARGIN = 12


def contact_sheet(clips: Clip | Sequence[Clip], rig: Rig, frames: int = 8) -> Image.Image:
    """Draw faces spread evenly over each clip, with the sentence above and the time below each face.

    Args:
        clips: The performance, or several of them, one below the other.
        rig: A head of the clips' space.
        frames: Number of faces of a clip, 1...64; a shorter clip shows each of its frames once.

    Raises:
        InputError: `frames` is out of range.
        SpaceError: The head belongs to another space.
    """
    if not 1 <= frames <= MAX_SHEET_FRAMES:
        raise InputError(f"A contact sheet shows 1 to {MAX_SHEET_FRAMES} frames, got {frames}.")
    clips = _checked(clips, rig)
    rows = [_sheet_rows(clip, rig, frames, _label(clips, index)) for index, clip in enumerate(clips)]
    caption = _caption(clips[0].text, max(row.width for row in rows), 20)
    sheet = Image.new("RGB", (caption.width, caption.height + sum(row.height for row in rows)), PAPER)
    sheet.paste(caption, (0, 0))
    top = caption.height
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def save_sheet(clips: Clip | Sequence[Clip], rig: Rig, path: str | Path, frames: int = 8) -> Path:
    """Write a contact sheet as a picture and return its path.

    Raises:
        InputError: `frames` is out of range, or the file cannot be written.
        SpaceError: The head belongs to another space.
    """
    path, sheet = Path(path), contact_sheet(clips, rig, frames)
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot write '{path}': {getattr(error, 'strerror', None) or error}.") from error
    return path


def save_film(clips: Clip | Sequence[Clip], rig: Rig, path: str | Path, progress: Progress | None = None) -> Path:
    """Write a film and return its path.

    Args:
        clips: The performance, or several of one sentence, side by side in step; shorter ones rest on their last frame.
        rig: A head of the clips' space.
        path: `.mp4` or `.gif`.
        progress: Called now and then while the film is drawn.

    Raises:
        InputError: The ending is another one, there are too many clips, or the file cannot be written.
        SpaceError: The head belongs to another space.
    """
    path, clips = Path(path), _checked(clips, rig)
    ending = path.suffix.lower()
    if ending not in FILM_CELL:
        raise InputError(f"Cannot write '{path.name}': a film ends in .mp4 or .gif.")
    longest = max(clip.duration for clip in clips)
    if ending == ".gif" and longest > MAX_GIF_SECONDS:
        raise InputError(f"A GIF lasts {MAX_GIF_SECONDS} seconds at most, this one {longest:.0f}; write an MP4.")
    pictures = film_frames(clips, rig, FILM_CELL[ending][len(clips) > 1], progress)
    try:
        path.open("wb").close()  # a clear message where the folder is missing; the encoder would only say that it ended
        _encode(pictures, max(clip.fps for clip in clips), path)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror or 'the encoder failed'}.") from error
    return path


def film_frames(
    clips: Sequence[Clip], rig: Rig, cell: int, progress: Progress | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a film, (height, width, 3) with even sides, caption and labels included.

    Args:
        clips: 1 to 8 performances.
        rig: A head of their space.
        cell: Pixels of one face.
        progress: Called after each picture.
    """
    columns = FILM_COLUMNS[len(clips)]
    paper, corners = _film_paper(clips, cell, columns)
    fps = max(clip.fps for clip in clips)
    total = max(round(clip.duration * fps) for clip in clips)
    for number, faces in enumerate(_faces(clips, rig, cell, fps, total)):
        picture = paper.copy()
        for (x, y), face in zip(corners, faces, strict=True):
            picture[y : y + cell, x : x + cell] = face
        yield picture
        if progress is not None:
            progress((number + 1) / total)


def _faces(clips: Sequence[Clip], rig: Rig, cell: int, fps: float, total: int) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield the faces of each picture, drawn ahead by a few threads (the renderer lets go of Python's lock)."""

    def draw(clip: Clip, frame: int) -> NDArray[np.uint8]:
        return render_frames(rig, clip.coefficients[frame], cell)[0]

    waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
    latest: dict[int, tuple[int, Future[NDArray[np.uint8]]]] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(total):
            for index, clip in enumerate(clips):
                frame = min(int(number / fps * clip.fps + 1e-6), len(clip) - 1)
                if index not in latest or latest[index][0] != frame:  # a clip at rest is drawn once
                    latest[index] = (frame, pool.submit(draw, clip, frame))
            waiting.append([latest[index][1] for index in range(len(clips))])
            if len(waiting) > 2 * THREADS:
                yield [face.result() for face in waiting.popleft()]
        while waiting:
            yield [face.result() for face in waiting.popleft()]


def _film_paper(clips: Sequence[Clip], cell: int, columns: int) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Return the picture without faces and the upper left corner (x, y) of each face."""
    caption = _caption(clips[0].text, columns * cell, 24 if cell > 300 else 18)
    font, _ = fitting_font("", 15 if cell > 300 else 13)
    foot = font.size + 2 * 6
    rows = -(-len(clips) // columns)
    height = caption.height + rows * (cell + foot)
    paper = Image.new("RGB", (columns * cell, height + height % 2), PAPER)
    paper.paste(caption, (0, 0))
    draw, corners = ImageDraw.Draw(paper), []
    for index in range(len(clips)):
        row, column = divmod(index, columns)
        in_row = min(columns, len(clips) - row * columns)
        x = (columns - in_row) * cell // 2 + column * cell  # an incomplete last row stands in the middle
        y = caption.height + row * (cell + foot)
        corners.append((x, y))
        draw.text((x + cell / 2, y + cell + foot / 2), _label(clips, index), QUIET_INK, font, anchor="mm")
    return np.asarray(paper), corners


def _sheet_rows(clip: Clip, rig: Rig, frames: int, label: str) -> Image.Image:
    """Draw the faces of one clip with their times; the label stands before the first time."""
    chosen = np.unique(np.linspace(0, len(clip) - 1, frames).round().astype(int))
    columns = min(SHEET_COLUMNS, len(chosen))
    font, _ = fitting_font("", 14)
    foot = 24
    rows = Image.new("RGB", (columns * SHEET_CELL, -(-len(chosen) // columns) * (SHEET_CELL + foot)), PAPER)
    draw = ImageDraw.Draw(rows)
    for place, frame in enumerate(chosen):
        x, y = place % columns * SHEET_CELL, place // columns * (SHEET_CELL + foot)
        rows.paste(Image.fromarray(render_frames(rig, clip.coefficients[frame], SHEET_CELL)[0]), (x, y))
        time = f"{frame / clip.fps:.2f} s"
        text = f"{label} · {time}" if place == 0 and label else time
        draw.text((x + SHEET_CELL / 2, y + SHEET_CELL + foot / 2), text, QUIET_INK, font, anchor="mm")
    return rows


def _caption(text: str, width: int, size: int) -> Image.Image:
    """Draw a sentence in the middle of a strip of paper as high as it needs."""
    font, text = fitting_font(text, size)
    lines = wrap(text, font, width - 2 * MARGIN)
    step = round(1.3 * size)
    strip = Image.new("RGB", (width, 2 * MARGIN + step * len(lines) if lines else 0), PAPER)
    draw = ImageDraw.Draw(strip)
    for index, line in enumerate(lines):
        draw.text((width / 2, MARGIN + (index + 0.5) * step), line, INK, font, anchor="mm")
    return strip


def _label(clips: Sequence[Clip], index: int) -> str:
    """Return what stands below a face: which one it is, and the seed that makes it again."""
    seed = f"seed {clips[index].seed}" if clips[index].weights else ""
    number = str(index + 1) if len(clips) > 1 else ""
    return " · ".join(part for part in (number, seed) if part)


def _checked(clips: Clip | Sequence[Clip], rig: Rig) -> list[Clip]:
    """Return a list of clips after checking that the head can perform them."""
    clips = [clips] if isinstance(clips, Clip) else list(clips)
    if not 1 <= len(clips) <= MAX_FACES:
        raise InputError(f"A picture or film shows 1 to {MAX_FACES} clips, got {len(clips)}.")
    for clip in clips:
        check_space(rig, clip.space)
    return clips


def _encode(pictures: Iterator[NDArray[np.uint8]], fps: float, path: Path) -> None:
    """Encode pictures with the ffmpeg that imageio-ffmpeg brings along."""
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    if path.suffix.lower() == ".gif":
        shared_palette = "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer:bayer_scale=4"
        options = {"codec": "gif", "pix_fmt_out": "pal8", "output_params": ["-filter_complex", shared_palette]}
    else:  # yuv420p plays everywhere; the index in front lets a browser start at once
        options = {
            "codec": "libx264",
            "quality": 8,
            "output_params": ["-preset", "veryfast", "-movflags", "+faststart"],
        }
    options |= {"macro_block_size": 2, "ffmpeg_log_level": "error"}
    writer = imageio_ffmpeg.write_frames(str(path), size, fps=fps, **options)
    writer.send(None)
    try:
        writer.send(first)
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
