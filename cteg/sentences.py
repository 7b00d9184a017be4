"""Cutting a text into what is performed one after the other: sentences, short ones together.

The model learned from texts of one or two sentences and performs each in some four seconds, however short. So a text is
performed sentence by sentence, but a sentence too short for a performance of its own shares the next one's.
"""

from __future__ import annotations

import re

SHORTEST = 20
"""Characters of the shortest part: about one and a half seconds read aloud. "What? Again?" is shorter and shares the
performance of what follows it."""

MOST_PARTS = 8
"""Parts of one text; a text of more sentences has several of them in a part."""

_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|sr|jr|rev|gen|col|sgt|capt|lt|hon|vs|etc|eg|ie|approx|dept|est|inc|ltd|vol"
    r"|jan|feb|apr|jun|jul|aug|sep|sept|oct|nov|mt|ave|blvd|rd",
    re.IGNORECASE,
)
_END = re.compile(
    r"""
    ([.!?\u2026]+)              # what ends a sentence
    ["'\u2019\u201d)\]]*        # what may close after it
    (?=\s)
    """,
    re.VERBOSE,
)
_LAST_WORD = re.compile(r"([^\s\"'(\[\u2018\u201c]+)$")


def split_sentences(text: str) -> list[str]:
    """Return the parts of a checked text that are performed one after the other.

    A sentence ends at a full stop, a question or exclamation mark or an ellipsis before white space, unless it goes on
    in lower case or the full stop belongs to an abbreviation, an initial or a number of a list. Sentences are joined
    until every part has `SHORTEST` characters and there are at most `MOST_PARTS`.

    Args:
        text: In normal form, see `cteg.text.check_text`.

    Returns:
        One part or more; joined by blanks they are the text.
    """
    shortest = max(SHORTEST, -(-len(text) // MOST_PARTS))
    parts: list[str] = []
    for sentence in _sentences(text):
        if parts and len(parts[-1]) < shortest:
            parts[-1] += f" {sentence}"
        else:
            parts.append(sentence)
    if len(parts) > 1 and len(parts[-1]) < shortest:
        last = parts.pop()
        parts[-1] += f" {last}"
    return parts


def _sentences(text: str) -> list[str]:
    found, begin = [], 0
    for match in _END.finditer(text):
        rest = text[match.end() :].lstrip()
        if not rest or rest[0].islower() or _is_abbreviated(text[begin : match.start()], match[1], rest):
            continue
        found.append(text[begin : match.end()].strip())
        begin = match.end()
    return [*found, text[begin:].strip()] if text[begin:].strip() else found


def _is_abbreviated(before: str, mark: str, rest: str) -> bool:
    """Whether a single full stop after `before` belongs to its last word: "Dr.", "J.", "e.g.", "No. 7", "2. Milk"."""
    word = _LAST_WORD.search(before)
    if mark != "." or word is None:
        return False
    letters = word[1].replace(".", "")
    if letters.lower() == "no":
        return rest[0].isdigit()
    is_initial = len(letters) == 1 and letters.isalpha() and letters != "I"
    is_dotted = "." in word[1] and letters.isalpha() and len(letters) <= 4  # "e.g", "U.S", "a.m"
    is_number = letters.isdigit() and before.strip() == letters
    return bool(_ABBREVIATIONS.fullmatch(letters)) or is_initial or is_dotted or is_number
