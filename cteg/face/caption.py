"""Captions: the sentence of a clip as lines of text that a font can draw.

Pillow's built-in font covers little more than ASCII. Where a sentence needs more, a font of the computer that covers it
is taken; what none can draw is spelled without its accents, or left out (an emoji, for instance).
"""

from __future__ import annotations

import unicodedata

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

OTHER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "NotoSansCJK-Regular.ttc")
"""Where they are is Pillow's business; it looks where each system keeps its fonts."""

NO_CHARACTER = "\uffff"
INVISIBLE = ("Cf", "Mn", "Cc")
"""Unicode categories that show nothing by themselves: joiners, variation selectors, combining marks."""


def fitting_font(text: str, size: int) -> tuple[Font, str]:
    """Return a font for a text, and the text as that font can draw it.

    Args:
        text: Any text.
        size: Height in pixels.
    """
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    best = _built_in(size)
    fewest = _missing(text, best)
    for name in OTHER_FONTS:
        if not fewest:
            break
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        missing = _missing(text, font)
        if len(missing) < len(fewest):
            best, fewest = font, missing
    spelled = "".join(_without_accents(c, best) if c in fewest else c for c in text if _is_visible(c))
    return best, " ".join(spelled.split())


def wrap(text: str, font: Font, width: float, most_lines: int = 3) -> list[str]:
    """Break a text into lines of at most `width` pixels; what does not fit into `most_lines` becomes an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        for piece in _pieces(word, font, width):
            longer = f"{lines[-1]} {piece}" if lines else piece
            if lines and font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    if len(lines) <= most_lines:
        return lines
    last = lines[most_lines - 1]
    while last and font.getlength(f"{last}…") > width:
        last = last[:-1].rstrip()
    return [*lines[: most_lines - 1], f"{last}…"]


def _built_in(size: int) -> Font:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _missing(text: str, font: Font) -> set[str]:
    """Return the visible characters for which a font only has its mark for unknown ones."""
    unknown = bytes(font.getmask(NO_CHARACTER))
    return {c for c in text if _is_visible(c) and not c.isspace() and bytes(font.getmask(c)) == unknown}


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in INVISIBLE


def _without_accents(character: str, font: Font) -> str:
    """Return the base letter of an accented one, or nothing if the font lacks that, too."""
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if _is_visible(c))
    return "" if _missing(base, font) else base


def _pieces(word: str, font: Font, width: float) -> list[str]:
    """Cut a word that is too long for a line."""
    pieces = [""]
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
