"""Speech: syllables of a sentence, their times, and mouth motion cut from real captures.

A phrase of n syllables takes about as many pieces of a capture (`captures.py`) in a row and plays them in the time of
its syllables: jaw, lips and their co-articulation are real, their words are not those of the sentence.

Dimension letters: S syllables, C = 24 mouth coefficients, T frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cteg import layout
from training.performance.captures import CAPTURE_FPS, SpeechBank
from training.performance.dynamics import Array, minimum_jerk

RATE = (4.2, 5.5)
"""Syllables a second of conversational English, pauses left out."""

FASTEST_RATE = 6.2
PAUSES: dict[str, tuple[float, float]] = {",": (0.15, 0.30), ".": (0.28, 0.55)}
"""Seconds of silence after a comma (also ; : and dashes) and after a sentence (also ! ? ...)."""

PIECES_PER_SYLLABLE = 0.75
"""Openings of the mouth per syllable: syllables such as the second of "very" share an opening with their neighbour."""

EDGE = 0.12
"""Seconds over which the mouth comes out of, and returns to, the rest position at the ends of a phrase."""

_VOWELS = re.compile(r"[aeiouyàáèéíóúäöü]+")
_FUNCTION_WORDS = frozenset(
    """
    a an the and or but of to in on at for with from by as is am are was were be been do does did have has had it its i
    you he she we they me him her us them my your his our their this that there here so if then than will would can
    could should just not don't i'm it's that's i've you're he's she's we're they're what who when how
    """.split()  # noqa: SIM905 - a list of words is read more easily than 80 quoted strings
)


@dataclass(frozen=True, eq=False)
class Phrase:
    """A stretch of speech without pause.

    Attributes:
        starts: (S,) seconds at which the syllables start, from the start of the speech.
        end: Seconds at which the last one ends.
    """

    starts: Array
    end: float


@dataclass(frozen=True, eq=False)
class Speech:
    """Who speaks when.

    Attributes:
        phrases: In order; empty where nothing is said.
        stressed: (N,) seconds of the stressed vowels, from the start of the speech.
    """

    phrases: tuple[Phrase, ...]
    stressed: Array

    @property
    def duration(self) -> float:
        """Seconds from the first syllable to the end of the last."""
        return self.phrases[-1].end if self.phrases else 0.0


def count_syllables(word: str) -> int:
    """Count the syllables of a word: vowel groups, less a silent final e; digits count two each."""
    word = word.lower().strip("'\".,!?;:()-*")
    digits = sum(character.isdigit() for character in word)
    if digits:
        return min(2 * digits, 8)
    count = len(_VOWELS.findall(word))
    if count > 1 and re.search(r"[^aeiouyl]e$|[^aeiouytd]es$|[^aeiouytd]ed$", word):
        count -= 1
    return max(count, 1)


def tokens_of(text: str) -> list[tuple[str, int, str]]:
    """Return the words of a text with their syllables and the pause mark that follows: ',', '.' or ''."""
    tokens: list[tuple[str, int, str]] = []
    for part in text.split():
        if not any(character.isalnum() for character in part):
            continue
        tail = part.rstrip("\"')")
        mark = "." if tail.endswith((".", "!", "?")) else "," if tail.endswith((",", ";", ":", "-")) else ""
        tokens.append((part, count_syllables(part), mark))
    return tokens


def syllables_of(text: str) -> int:
    """Return the number of syllables of a text."""
    return sum(count for _, count, _ in tokens_of(text))


def is_stressed(word: str) -> bool:
    """Say whether a word may carry a brow raise: a content word, or one in capitals or with an exclamation mark."""
    bare = word.strip("\"'.,!?;:()-*")
    if (len(bare) > 1 and bare.isupper()) or "!" in word:
        return True
    return bare.lower() not in _FUNCTION_WORDS and len(bare) >= 4


def draw_speech(text: str, longest: float, rng: Generator) -> Speech:
    """Draw when each syllable of a sentence is spoken.

    Args:
        text: What is said.
        longest: Seconds there are; a long sentence is spoken faster, up to `FASTEST_RATE`, and cut where even that is
            too long.
        rng: Source of randomness.
    """
    tokens = tokens_of(text)
    rate = rng.uniform(*RATE)
    total = sum(count for _, count, _ in tokens)
    rate = min(max(rate, total / longest * 1.1), FASTEST_RATE)
    phrases: list[Phrase] = []
    stressed: list[float] = []
    starts: list[float] = []
    now = 0.0
    for index, (word, count, mark) in enumerate(tokens):
        lengths = np.exp(0.2 * rng.standard_normal(count)) / rate
        if now + lengths.sum() > longest:
            break
        if is_stressed(word):
            stressed.append(now + 0.5 * float(lengths[0]))
        starts.extend(now + np.cumsum(lengths) - lengths)
        now += float(lengths.sum())
        if mark and index < len(tokens) - 1 and len(starts) >= (1 if mark == "." else 3):
            phrases.append(Phrase(np.array(starts), now))
            starts = []
            now += rng.uniform(*PAUSES[mark])
    if starts:
        phrases.append(Phrase(np.array(starts), now))
    return Speech(tuple(phrases), np.array(stressed))


def speaking_gate(times: Array, speech: Speech, start: float) -> Array:
    """Return how much the mouth is taken by speech, (T,) 0...1: it rises shortly before a phrase and falls after it."""
    free = np.ones(len(times))
    for phrase in speech.phrases:
        begin, end = start + phrase.starts[0], start + phrase.end
        rise = minimum_jerk((times - begin + 0.20) / 0.30)
        fall = minimum_jerk((times - end + 0.06) / 0.42)
        free *= 1.0 - (rise - fall)  # the product joins two phrases without a corner, the maximum would not
    return 1.0 - free


def mouth_motion(times: Array, speech: Speech, start: float, bank: SpeechBank, rng: Generator) -> NDArray[np.float64]:
    """Return the speech part of the coefficients, (T, 53).

    Args:
        times: (T,) seconds.
        speech: What is said when.
        start: Seconds at which the speech starts.
        bank: Mouth motion of captures.
        rng: Source of randomness; one snippet is drawn per phrase.
    """
    coefficients = np.zeros((len(times), layout.D))
    for phrase in speech.phrases:
        begin, end = start + phrase.starts[0], start + phrase.end
        frames = np.flatnonzero((times > begin - EDGE / 2) & (times < end + EDGE))
        elapsed = times[frames] - begin
        position, effort = _capture_positions(elapsed, phrase, bank, rng)
        window = minimum_jerk((elapsed + EDGE / 2) / EDGE) - minimum_jerk((elapsed - (end - begin)) / EDGE)
        coefficients[np.ix_(frames, bank.columns)] += effort * _sample(bank.frames, position) * window[:, None]
    return coefficients


def _capture_positions(elapsed: Array, phrase: Phrase, bank: SpeechBank, rng: Generator) -> tuple[Array, float]:
    """Map seconds within a phrase to frames of the bank: pieces in a row, each in the time of its syllables.

    Of some snippets drawn the one whose own length is nearest is taken, so that it is warped least.

    Returns:
        Positions (T,) in frames of the bank, and the factor on the motion: speech that is played faster than it was
        captured is made smaller, as fast speakers undershoot.
    """
    length = phrase.end - phrase.starts[0]
    longest_run = int(bank.run_left.max())
    count = min(max(1, round(PIECES_PER_SYLLABLE * len(phrase.starts))), longest_run)
    possible = np.flatnonzero(bank.run_left >= count)
    drawn = possible[rng.integers(len(possible), size=8)]
    natural = (bank.cuts[drawn + count] - bank.cuts[drawn]) / CAPTURE_FPS
    first = drawn[np.argmin(np.abs(np.log(natural / length)))]
    cuts = bank.cuts[first : first + count + 1].astype(np.float64)
    syllable_ends = np.append(phrase.starts - phrase.starts[0], length)
    spoken = np.interp(np.linspace(0, 1, count + 1), np.linspace(0, 1, len(syllable_ends)), syllable_ends)
    own = (cuts - cuts[0]) / (cuts[-1] - cuts[0]) * length
    effort = min(1.0, (CAPTURE_FPS * length / (cuts[-1] - cuts[0])) ** 0.7)
    return np.interp(elapsed, 0.5 * (spoken + own), cuts), float(effort)


def _sample(frames: NDArray[np.float32], position: Array) -> NDArray[np.float32]:
    """Read frames (F, C) at fractional positions (T,) by Catmull-Rom interpolation: linear would leave corners."""
    whole = np.floor(position).astype(np.intp)
    x = (position - whole)[:, None].astype(np.float32)
    before, here, after, later = (frames[np.clip(whole + k, 0, len(frames) - 1)] for k in (-1, 0, 1, 2))
    slope = 0.5 * (after - before)
    bend = before - 2.5 * here + 2.0 * after - 0.5 * later
    twist = 0.5 * (later - before) + 1.5 * (here - after)
    return np.maximum(here + x * (slope + x * (bend + x * twist)), 0.0)
