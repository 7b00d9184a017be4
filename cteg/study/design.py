"""Who sees what: the plan of one sitting, drawn from what has been shown least.

    2 practice | 20 comparisons: 16 real (4 of them own against wrong sentence), 2 repeats with sides swapped, 2 checks
    | 2 comparisons of sets of three | 5 single clips

A plan is a pure function of (study seed, rater, what was shown so far). Pairs of conditions that were shown least come
first, so every two conditions meet about equally often and the graph of comparisons is connected after the first few
sittings; a rater sees a sentence once, repeats aside. Single clips are shared: a clip that some have rated is rated by
up to `SHARED` raters before the next one begins, so that agreement between raters can be measured.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from cteg.errors import StudyError
from cteg.study.stimuli import PRACTICE, Sentence, StimulusSet

PRACTICES = 2
PAIRS = 16
CONTROLS = 4
"""How many of the pairs show the main system's clip for the sentence against one for another sentence."""

REPEATS = 2
REPEAT_GAP = 6
"""Pages between a pair and its repeat, at least."""

CHECKS = 2
SETS = 2
SET_SIZE = 3
SINGLES = 5
SHARED = 3
"""Raters who judge one single clip before the next one is begun."""

Pair = tuple[str, str]
"""Two conditions in alphabetical order."""


@dataclass(frozen=True)
class Planned:
    """One page of a sitting.

    Attributes:
        kind: See `cteg.study.models.KINDS`.
        sentence: Id of the sentence.
        conditions: What made the left and the right; the right is empty for a single clip.
        left: Ids of the clips on the left: one, or three for a set.
        right: The same for the right; none for a single clip.
        expected: Answer that a check tells the rater to give.
        repeats: Place of the page that this one repeats.
    """

    kind: str
    sentence: str
    conditions: tuple[str, str]
    left: tuple[str, ...]
    right: tuple[str, ...] = ()
    expected: str | None = None
    repeats: int | None = None

    def swapped(self) -> Planned:
        """Return the page with its sides swapped."""
        return Planned(self.kind, self.sentence, self.conditions[::-1], self.right, self.left)

    def columns(self) -> dict[str, Any]:
        """Return the page as the columns of a trial, see `cteg.study.models.Shown`."""
        return {
            "kind": self.kind,
            "sentence": self.sentence,
            "left_condition": self.conditions[0],
            "right_condition": self.conditions[1],
            "left_clips": ",".join(self.left),
            "right_clips": ",".join(self.right),
            "expected": self.expected,
            "repeats": self.repeats,
        }


@dataclass
class Exposure:
    """How often everything was shown so far.

    Attributes:
        pairs: Comparisons by (kind, pair of conditions).
        sentences: Comparisons by (kind, pair of conditions, sentence).
        singles: Single clips by (condition, sentence).
    """

    pairs: Counter[tuple[str, Pair]] = field(default_factory=Counter)
    sentences: Counter[tuple[str, Pair, str]] = field(default_factory=Counter)
    singles: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, sentence: str, left: str, right: str, times: int = 1) -> None:
        """Count a page that was shown so many times."""
        if kind == "single":
            self.singles[left, sentence] += times
        elif kind in ("pair", "set"):
            pair = _pair(left, right)
            self.pairs[kind, pair] += times
            self.sentences[kind, pair, sentence] += times


def plan(stimuli: StimulusSet, rater: str, exposure: Exposure) -> list[Planned]:
    """Draw the pages of one rater's sitting, in their order.

    Args:
        stimuli: The study.
        rater: Id of the rater; with the study's seed it decides everything that is left to chance.
        exposure: What was shown so far.

    Raises:
        StudyError: The study has too few sentences or clips for a sitting.
    """
    return _Planner(stimuli, rater, exposure).draw()


class _Planner:
    def __init__(self, stimuli: StimulusSet, rater: str, exposure: Exposure) -> None:
        digest = hashlib.sha256(f"{stimuli.study} {stimuli.seed} {rater}".encode()).digest()
        self.rng = np.random.default_rng(int.from_bytes(digest, "big"))
        self.stimuli, self.exposure = stimuli, exposure
        self.unused = list(stimuli.real_sentences)
        self.feelings: Counter[str] = Counter()
        needed = PAIRS + CHECKS + SETS + SINGLES
        if len(self.unused) < needed or len(stimuli.sentences) - len(self.unused) < PRACTICES:
            raise StudyError(f"A sitting needs {needed} sentences and {PRACTICES} to practise.")
        if len(stimuli.compared) < 2:
            raise StudyError("A study needs at least two conditions to compare.")

    def draw(self) -> list[Planned]:
        """Return all pages."""
        sets = [self._set(pair) for pair in self._least("set", SETS)]
        singles = self._singles()
        controls = CONTROLS if self.stimuli.control else 0
        pairs = self._least("pair", PAIRS - controls)
        if self.stimuli.control:
            pairs += [_pair(self.stimuli.main, self.stimuli.control)] * controls
        real = self._balanced([self._comparison("pair", pair, self._sentence("pair", pair)) for pair in pairs])
        pages = self._practices()
        first = len(pages)
        pages += self._with_checks(self._with_repeats(real))
        place = {id(page): number for number, page in enumerate(pages)}
        for number, page in enumerate(pages[first:], first):
            if isinstance(page, _Repeat):
                swapped = page.original.swapped()
                pages[number] = Planned(
                    "repeat", swapped.sentence, swapped.conditions, swapped.left, swapped.right,
                    repeats=place[id(page.original)],
                )  # fmt: skip
        return [*pages, *sets, *singles]

    # -- choosing ------------------------------------------------------------------------------------------------------

    def _shuffled(self, items: Iterable) -> list:
        items = list(items)
        return [items[i] for i in self.rng.permutation(len(items))]

    def _least(self, kind: str, count: int) -> list[Pair]:
        """Return the pairs of conditions that were shown least; a pair again only after all others."""
        shown = {pair: self.exposure.pairs[kind, pair] for pair in self._pairs()}
        chosen: list[Pair] = []
        for _ in range(count):
            pair = min(self._shuffled(shown), key=shown.__getitem__)
            shown[pair] += 1
            chosen.append(pair)
        return chosen

    def _pairs(self) -> list[Pair]:
        return [_pair(*two) for two in combinations(self.stimuli.compared, 2)]

    def _take(self, badness: Callable[[Sentence], tuple]) -> Sentence:
        """Take the best unused sentence; among equals one of a feeling that this rater has seen least, then by lot."""
        chosen = min(self._shuffled(self.unused), key=lambda s: (*badness(s), self.feelings[s.feeling]))
        self.unused.remove(chosen)
        self.feelings[chosen.feeling] += 1
        return chosen

    def _sentence(self, kind: str, pair: Pair) -> Sentence:
        return self._take(lambda sentence: (self.exposure.sentences[kind, pair, sentence.id],))

    def _sample(self, sentence: Sentence, condition: str) -> str:
        return str(self.rng.choice(self.stimuli.samples[sentence.id, condition]))

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _comparison(self, kind: str, pair: Pair, sentence: Sentence, expected: str | None = None) -> Planned:
        left, right = self._shuffled(pair)
        clips = [(self._sample(sentence, condition),) for condition in (left, right)]
        return Planned(kind, sentence.id, (left, right), *clips, expected=expected)

    def _set(self, pair: Pair) -> Planned:
        sentence = self._sentence("set", pair)
        left, right = self._shuffled(pair)
        clips = [tuple(self.stimuli.samples[sentence.id, condition][:SET_SIZE]) for condition in (left, right)]
        if min(map(len, clips)) < SET_SIZE:
            raise StudyError(f"A study needs {SET_SIZE} clips of every condition for every sentence.")
        return Planned("set", sentence.id, (left, right), *clips)

    def _singles(self) -> list[Planned]:
        """Single clips: of conditions that were rated least; clips that others have begun, then feelings in need."""
        shown = Counter({condition: 0 for condition in (*self.stimuli.compared, self.stimuli.control) if condition})
        feelings: Counter[tuple[str, str]] = Counter()
        for (condition, sentence), count in self.exposure.singles.items():
            shown[condition] += count
            feelings[condition, self.stimuli.by_sentence[sentence].feeling] += count
        pages = []
        for _ in range(SINGLES):
            condition = min(self._shuffled(shown), key=shown.__getitem__)
            shown[condition] += 1

            def badness(sentence: Sentence, condition: str = condition) -> tuple:
                count = self.exposure.singles[condition, sentence.id]
                return (count >= SHARED, -(count % SHARED), feelings[condition, sentence.feeling])

            sentence = self._take(badness)
            feelings[condition, sentence.feeling] += 1
            clip = self.stimuli.samples[sentence.id, condition][0]
            pages.append(Planned("single", sentence.id, (condition, ""), (clip,)))
        return self._shuffled(pages)

    def _practices(self) -> list[Planned]:
        """The main system against whatever should lose most plainly, for sentences that are used for nothing else."""
        roles = {condition.role: condition.name for condition in self.stimuli.conditions}
        other = roles.get("floor") or next(name for name in self.stimuli.compared if name != self.stimuli.main)
        sentences = self._shuffled(s for s in self.stimuli.sentences if s.feeling == PRACTICE)[:PRACTICES]
        return [self._comparison("practice", _pair(self.stimuli.main, other), sentence) for sentence in sentences]

    def _balanced(self, pages: list[Planned]) -> list[Planned]:
        """Shuffle pages and swap the sides of half of them, whatever they are."""
        flip = self.rng.permutation(len(pages)) < len(pages) // 2
        return self._shuffled(
            page.swapped() if is_flipped else page for page, is_flipped in zip(pages, flip, strict=True)
        )

    def _with_repeats(self, pages: list[Planned]) -> list[Planned | _Repeat]:
        """Put repeats of early pages among the late ones."""
        mixed: list[Planned | _Repeat] = list(pages)
        for original in self._shuffled(pages[: len(pages) - REPEAT_GAP])[:REPEATS]:
            earliest = mixed.index(original) + REPEAT_GAP + 1
            mixed.insert(int(self.rng.integers(earliest, len(mixed) + 1)), _Repeat(original))
        return mixed

    def _with_checks(self, pages: list[Planned | _Repeat]) -> list:
        """Put one check into each half; one tells the rater to choose the left, the other the right."""
        answers = self._shuffled(("left", "right"))
        half = len(pages) // 2
        for number, expected in reversed(list(enumerate(answers))):
            pair = self._shuffled(self._pairs())[0]
            page = self._comparison("check", pair, self._take(lambda _: ()), expected)
            low = number * half + 2
            pages.insert(int(self.rng.integers(low, low + half - 2)), page)
        return pages


@dataclass(frozen=True, eq=False)
class _Repeat:
    """Stands for a repeat until places are known."""

    original: Planned


def _pair(first: str, second: str) -> Pair:
    return (first, second) if first <= second else (second, first)
