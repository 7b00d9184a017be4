"""Turn raw lines of the two text sources into readable sentences.

GoEmotions holds Reddit comments with masked names ("[NAME]") and markup; XED holds film subtitles, partly tokenised
("Oh , great , [PERSON] ."), with speaker dashes, speaker tags and scanning errors ("l will"). A reader of a sentence,
and a text encoder, should meet neither masks nor artefacts.
"""

import hashlib
import re

MIN_WORDS = 2
MAX_WORDS = 40

NAMES = ("Alex", "Sam", "Maria", "Daniel", "Emma", "Chris", "Anna", "James", "Sarah", "David", "Laura", "Michael")
PLACES = ("London", "Paris", "Boston", "Chicago", "Berlin", "Dublin")
MASKS: dict[str, tuple[str, ...]] = {"NAME": NAMES, "PERSON": NAMES, "LOCATION": PLACES, "RELIGION": ("Christian",)}

_CHARACTERS = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u00b4": "'",
        "`": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2026": "...",
        "\u2013": "-",
        "\u2014": "-",
        "\u00a0": " ",
    }
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"&amp;", "&"),
        (r"&[lg]t;|&nbsp;", " "),
        (r"\[([^\]]*)\]\([^)]*\)", r"\1"),  # Markdown links
        (r"https?://\S+|www\.\S+", " "),
        (r"\^+|~~|\*\*?|(?<!\w)_+|_+(?!\w)", ""),  # Markdown emphasis and superscripts
        (r"^\s*(>\s*)+", ""),  # quoted lines
        (r"(?<!\w)/?[ur]/(?=\[?\w)|(?<!\w)/(?=\[)", ""),  # u/name, r/forum
        (r"(?<=\s)/s+\b\s*$", ""),  # the mark of irony
        (r"(?i)\bmy \[(NAME|PERSON)\](?=!|\.|,|$)", "my God"),
        (r"^\s*[A-Z][\w.]*( [A-Z][\w.]*)?\s?:\s+(?=\S)", ""),  # a speaker tag
        (r"(?<=\w)\s+'(?=(m|s|re|ll|ve|d|t)\b)", "'"),
        (r"\b[lI]'(?=(m|ll|ve|d)\b)", "I'"),  # scanned I read as l
        (r"\bl\b", "I"),
        (r"\b(wan|gon|Wan|Gon) na\b", r"\1na"),
        (r"\b(got|Got) ta\b", r"\1ta"),
        (r"^\s*-+\s*", ""),  # a speaker dash at the start
        (r"(?<=[.!?])\s*-+\s*(?=[A-Z\[\"'I])", " "),  # a speaker dash between two sentences
        (r"(?<=[a-z]) - (?=[a-z])", "-"),  # tokenised compounds: mother - in - law
        (r"\s+-+\s+", ", "),
        (r"--+", ", "),
        (r"[#=|\\{}<>~]+", " "),
        (r"\s+([.,!?;%]|[:)](?![-()DPp/*]))", r"\1"),  # tokenised marks, but no emoticons
        (r"([$(]) +", r"\1"),
        (r"([!?])\1{2,}", r"\1\1"),
        (r"\.{4,}", "..."),
        (r",(\s*,)+", ","),
        (r"(.)\1{4,}", r"\1\1\1"),  # soooooooo
        (r"\s+", " "),
    )
)
_MASK = re.compile(r"\[([A-Z][A-Z -]*)\]")
_STAGE_DIRECTION = re.compile(r"\[[^\]]*\]|^\([^)]*\)\s*")
_UNKEPT = re.compile(r"[^\x20-\x7E\u00a3\u20ac\u00c0-\u024f]")  # emoji, braille art, notes: the encoder knows none
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d+")


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, in order."""
    return _WORD.findall(text)


def normalised(text: str) -> str:
    """Return the key by which two texts count as the same: lower-case words only."""
    return " ".join(words_of(text.lower()))


def pick(options: tuple[str, ...], key: str, position: int) -> str:
    """Choose one of `options` by the text and the position in it, the same on every run and machine."""
    digest = hashlib.sha256(key.encode()).digest()
    return options[(int.from_bytes(digest[:4], "big") + position) % len(options)]


def _unmask(text: str) -> str | None:
    """Put a plain word where a name was masked; None where the mask hides a slur."""
    masks = _MASK.findall(text)
    if any(mask not in MASKS for mask in masks):
        return None
    position = iter(range(len(masks)))
    return _MASK.sub(lambda match: pick(MASKS[match[1]], text, next(position)), text)


def clean(raw: str) -> str | None:
    """Return a readable sentence, or None where the line is none.

    Args:
        raw: One line of GoEmotions or XED, masks and artefacts included.

    Returns:
        The sentence, of 2 to 40 words, or a single word that is called or asked ("Wow!", "Really?"): people type such
        words too. None for lines that hide a slur, are mostly signs, or are longer or shorter.
    """
    text = raw.translate(_CHARACTERS).strip()
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):  # a field quoted by the CSV rules
        text = text[1:-1].replace('""', '"')
    text = _UNKEPT.sub(" ", text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    unmasked = _unmask(text)
    if unmasked is None:
        return None
    text = _STAGE_DIRECTION.sub("", unmasked).replace("[", "").replace("]", "").strip(" ,;:-/")
    if text.count('"') % 2:
        text = text.replace('"', "")
    return text if _is_sentence(text) else None


def _is_sentence(text: str) -> bool:
    words = words_of(text)
    is_called = len(words) == 1 and text.endswith(("!", "?")) and words[0].isalpha()
    signs = sum(not (character.isalpha() or character in " '\".,!?") for character in text)
    return (MIN_WORDS <= len(words) <= MAX_WORDS or is_called) and signs <= 0.25 * len(text)
