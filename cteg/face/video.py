"""Pictures and films of a clip: contact sheet, PNG, MP4, GIF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.render import render_frames
from cteg.face.rig import Rig, check_space

CELL = 256
"""Pixels of one face on a contact sheet."""

COLUMNS = 8
FILM_SIZE = 512
MAX_SHEET_FRAMES = 64
PAPER = (246, 247, 249)
INK = (32, 36, 44)
QUIET_INK = (96, 104, 118)


def contact_sheet(clip: Clip, rig: Rig, frames: int = 8) -> Image.Image:
    """Draw faces spread evenly over a clip, with the sentence above and the time below each.

    Args:
        clip: The performance.
        rig: A head of the clip's space.
        frames: Number of faces, 1...64; a shorter clip shows each of its frames once.

    Raises:
        InputError: `frames` is out of range.
        SpaceError: The head belongs to another space.
    """
    if not 1 <= frames <= MAX_SHEET_FRAMES:
        raise InputError(f"A contact sheet shows 1 to {MAX_SHEET_FRAMES} frames, got {frames}.")
    check_space(rig, clip.space)
    chosen = np.unique(np.linspace(0, len(clip) - 1, frames).round().astype(int))
    faces = render_frames(rig, clip.coefficients[chosen], CELL)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    caption_font, time_font = ImageFont.load_default(20), ImageFont.load_default(14)
    width, foot = columns * CELL, 24
    lines = _wrap(clip.text, caption_font, width - 24)
    head = 12 + 26 * len(lines) if lines else 8
    sheet = Image.new("RGB", (width, head + rows * (CELL + foot)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(lines):
        draw.text((12, 8 + 26 * line), text, INK, caption_font)
    for place, (frame, face) in enumerate(zip(chosen, faces, strict=True)):
        x, y = place % columns * CELL, head + place // columns * (CELL + foot)
        sheet.paste(Image.fromarray(face), (x, y))
        draw.text((x + CELL / 2, y + CELL + 3), f"{frame / clip.fps:.2f} s", QUIET_INK, time_font, anchor="ma")
    return sheet


def save_render(clip: Clip, rig: Rig, out_path: str | Path, frames: int = 8) -> Path:
    """Write a picture or a film of a clip and return its path.

    Args:
        clip: The performance.
        rig: A head of the clip's space.
        out_path: `.png` writes a contact sheet, `.mp4` and `.gif` a film.
        frames: Faces on the contact sheet.

    Raises:
        InputError: The ending is another one, or the file cannot be written.
        SpaceError: The head belongs to another space.
    """
    path = Path(out_path)
    ending = path.suffix.lower()
    if ending not in (".png", ".mp4", ".gif"):
        raise InputError(f"Cannot write '{path.name}': expected an ending of .png, .mp4 or .gif.")
    check_space(rig, clip.space)
    try:
        if ending == ".png":
            contact_sheet(clip, rig, frames).save(path)
        elif ending == ".mp4":
            _save_mp4(clip, rig, path)
        else:
            _save_gif(clip, rig, path)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror or 'the encoder failed'}.") from error
    return path


def _film(clip: Clip, rig: Rig) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a clip one by one, (512, 512, 3) each, so that a long clip fits the memory."""
    for frame in clip.coefficients:
        yield render_frames(rig, frame, FILM_SIZE)[0]


def _save_mp4(clip: Clip, rig: Rig, path: Path) -> None:
    """Encode with the ffmpeg that imageio-ffmpeg brings along; yuv420p plays everywhere."""
    writer = imageio_ffmpeg.write_frames(
        str(path), (FILM_SIZE, FILM_SIZE), fps=clip.fps, codec="libx264", quality=8, macro_block_size=2
    )
    writer.send(None)
    try:
        for frame in _film(clip, rig):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()


def _save_gif(clip: Clip, rig: Rig, path: Path) -> None:
    """Write an endlessly looping GIF; its clock ticks in hundredths of a second."""
    pictures = [Image.fromarray(frame).quantize(128) for frame in _film(clip, rig)]
    duration = max(20, round(100 / clip.fps) * 10)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a sentence into at most three lines of `width` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == 3:
            lines[-1] += " …"
            break
        else:
            lines.append(word)
    return lines
