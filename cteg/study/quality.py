"""Which raters count: the rules that are fixed before there are data, and what they found.

A rater is left out of the statistics, never out of the data, if

- both checks failed (a check that could not run is unknown and counts for nobody's disadvantage),
- answers to repeats agree in fewer than half of the cases *and* the median comparison took less time than its clips, or
- more than 95 % of the answers to at least 15 comparisons say the same side,

or if a person flagged the rater, with a reason. Results are given with and without them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from cteg.study.models import Vote
from cteg.study.wording import FIT, NATURAL

VERSION = "2026-1"
"""Of the rules; changes with every change of them, and is written into every report."""

LEAST_AGREEMENT = 0.5
ONE_SIDE = 0.95
ONE_SIDE_PAIRS = 15

FAILED_CHECKS = "both checks failed"
CARELESS = "repeats disagree and pages took less time than their clips"
ONE_SIDED = "almost always the same side"
BY_HAND = "flagged by hand"

MIRROR = {"left": "right", "right": "left"}
"""What an answer becomes when the sides are swapped; the others stay."""


@dataclass(frozen=True)
class RaterRecord:
    """What is known about how a rater worked.

    Attributes:
        rater: Pseudonym.
        votes: Votes of the rater, those for practice included.
        is_finished: Whether the sitting was answered to its last page (of those that the protocol has).
        checks: States of the checks.
        repeats: Answers to repeated questions that agree with the first ones.
        repeated: All answers to repeated questions.
        left: Answers to comparisons that say left.
        right: Answers to comparisons that say right.
        compared: All answers to comparisons, two for each.
        median_ratio: Median over comparisons of time on the page divided by the length of its clips; None without any.
        reasons: Why the rater is left out; empty for most.
    """

    rater: str
    votes: int
    is_finished: bool
    checks: tuple[str, ...]
    repeats: int
    repeated: int
    left: int
    right: int
    compared: int
    median_ratio: float | None
    reasons: tuple[str, ...] = field(default=())

    @property
    def is_excluded(self) -> bool:
        """Whether the rater is left out of the statistics."""
        return bool(self.reasons)


def inspect_raters(votes: Sequence[Vote], flags: Mapping[str, str] | None = None) -> dict[str, RaterRecord]:
    """Return a record of every rater by pseudonym, with the reasons for leaving some out.

    Args:
        votes: All votes of a study.
        flags: Raters that were flagged by hand, with the reasons.
    """
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    flags = flags or {}
    return {rater: _inspect(rater, mine, flags.get(rater)) for rater, mine in sorted(by_rater.items())}


def included(votes: Sequence[Vote], records: Mapping[str, RaterRecord]) -> list[Vote]:
    """Return the votes of the raters that are not left out."""
    return [vote for vote in votes if not records[vote.rater].is_excluded]


def repeat_agreement(votes: Sequence[Vote]) -> tuple[int, int]:
    """Return how many answers to repeats agree with the first ones, sides swapped back, and how many there are."""
    first = {(vote.rater, vote.place): vote for vote in votes}
    agreed = asked = 0
    for vote in votes:
        original = first.get((vote.rater, vote.repeats)) if vote.repeats is not None else None
        if original is None or not (vote.is_usable and original.is_usable):
            continue
        for name in (FIT, NATURAL):
            before, again = getattr(original, name), getattr(vote, name)
            asked += 1
            agreed += before == MIRROR.get(again, again)
    return agreed, asked


def _inspect(rater: str, votes: list[Vote], flag: str | None) -> RaterRecord:
    compared = [vote for vote in votes if vote.kind in ("pair", "repeat") and vote.is_usable]
    sides = [getattr(vote, name) for vote in compared for name in (FIT, NATURAL)]
    ratios = [vote.seconds / vote.longest for vote in compared if vote.longest > 0]
    agreed, asked = repeat_agreement(votes)
    record = RaterRecord(
        rater=rater,
        votes=len(votes),
        is_finished=any(vote.kind == "single" for vote in votes) and len(votes) == 1 + max(v.place for v in votes),
        checks=tuple(vote.check_state or "unknown" for vote in votes if vote.kind == "check"),
        repeats=agreed,
        repeated=asked,
        left=sides.count("left"),
        right=sides.count("right"),
        compared=len(sides),
        median_ratio=median(ratios) if ratios else None,
    )
    return RaterRecord(**{**record.__dict__, "reasons": tuple(_reasons(record, len(compared), flag))})


def _reasons(record: RaterRecord, pairs: int, flag: str | None) -> list[str]:
    reasons = []
    if len(record.checks) >= 2 and set(record.checks) == {"failed"}:
        reasons.append(FAILED_CHECKS)
    hasty = record.median_ratio is not None and record.median_ratio < 1
    if record.repeated and record.repeats < LEAST_AGREEMENT * record.repeated and hasty:
        reasons.append(CARELESS)
    if pairs >= ONE_SIDE_PAIRS and max(record.left, record.right) > ONE_SIDE * record.compared:
        reasons.append(ONE_SIDED)
    if flag is not None:
        reasons.append(f"{BY_HAND}: {flag}")
    return reasons
