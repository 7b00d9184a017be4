"""All statistics of a study: what was fixed in the protocol, computed from votes.

Every figure says what it rests on; one that cannot be computed gives the reason. Nothing here looks at which condition
is ours. SciPy and evalica are imported where they are needed, so that the app starts without them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cteg.study import quality
from cteg.study.agreement import alpha
from cteg.study.bradley_terry import Comparison, Ranking, rank
from cteg.study.measured import Measured, holm, margin_without_each, missing, need, share
from cteg.study.models import Vote
from cteg.study.quality import RaterRecord
from cteg.study.stimuli import StimulusSet
from cteg.study.wording import FIT, NATURAL, VARIETY

PILOT = 10
"""Below this number of raters a report calls itself a pilot."""

FEWEST_PAIRED = 6
"""Raters below which no signed-rank test can reach 5 %."""

SCORES = (1, 2, 3, 4, 5)
"""Steps of the scale."""

FEWEST_PEOPLE = 5
"""A cell that fewer people stand behind is not shown."""

EVERY = "all"
"""Column of a heat map over all feelings together."""

GROUPS = {
    "joy": "joy, surprise",
    "surprise": "joy, surprise",
    "anger": "anger, disgust",
    "disgust": "anger, disgust",
    "sadness": "sadness, fear",
    "fear": "sadness, fear",
}
"""Columns for feelings taken together, as long as people are too few for each of them; others stay alone."""


@dataclass(frozen=True)
class Contrast:
    """Two conditions on the 5-point scale.

    Attributes:
        first: Name of one condition.
        second: Name of the other condition.
        difference: Mean over raters of the difference of their means (first - second), with the corrected p value.
    """

    first: str
    second: str
    difference: Measured


@dataclass(frozen=True)
class Cell:
    """One cell of a heat map.

    Attributes:
        row: Condition.
        column: Feeling, one of `GROUPS`, or `EVERY`.
        value: The figure; with a reason instead where fewer than `FEWEST_PEOPLE` stand behind it.
        people: Raters behind it.
    """

    row: str
    column: str
    value: Measured
    people: int


@dataclass(frozen=True)
class Results:
    """The results of one set of votes.

    Attributes:
        raters: How many people voted.
        votes: How many votes count: real pairs, sets and single clips.
        by_kind: Votes by kind.
        trouble: Votes left out because clips could not be played.
        rankings: For each question of comparisons its ranking.
        means: 5-point mean of every condition, mean over raters of their means.
        contrasts: All pairs of conditions on the 5-point scale.
        alpha: Agreement of raters on the 5-point scale, Krippendorff's alpha, ordinal.
        matched: Share of decided answers that prefer the clip of the sentence itself, against one half.
        repeats: Share of repeated answers that agree.
        left: Share of decided answers that say left, against one half.
        consistency: Heat map of the 5-point scale, conditions by feelings.
        preferred: Heat map of the share of comparisons of fit that were won, ties as half.
    """

    raters: int
    votes: int
    by_kind: dict[str, int]
    trouble: int
    rankings: dict[str, Ranking]
    means: dict[str, Measured]
    contrasts: list[Contrast]
    alpha: Measured
    matched: Measured
    repeats: Measured
    left: Measured
    consistency: list[Cell]
    preferred: list[Cell]

    @property
    def is_pilot(self) -> bool:
        """Whether there are too few raters for more than a pilot."""
        return self.raters < PILOT


@dataclass(frozen=True)
class Report:
    """Results before and after exclusions, and who was left out.

    Attributes:
        after: Without the raters that the rules leave out: the results.
        before: With everyone.
        records: All raters.
    """

    after: Results
    before: Results
    records: dict[str, RaterRecord]


def analyse(votes: Sequence[Vote], stimuli: StimulusSet, flags: Mapping[str, str] | None = None) -> Report:
    """Compute everything, before and after exclusions.

    Args:
        votes: All votes of one study.
        stimuli: The study.
        flags: Raters flagged by hand, with the reasons.
    """
    records = quality.inspect_raters(votes, flags)
    return Report(summarise(quality.included(votes, records), stimuli), summarise(votes, stimuli), records)


def summarise(votes: Sequence[Vote], stimuli: StimulusSet) -> Results:
    """Compute everything from votes that all count; see `analyse`."""
    conditions, main, control = stimuli.compared, stimuli.main, stimuli.control
    votes = sorted(votes, key=lambda vote: (vote.rater, vote.place, vote.id))  # so that no result depends on the order
    usable = [vote for vote in votes if vote.is_usable]
    pairs = [vote for vote in usable if vote.kind == "pair"]
    sets = [vote for vote in usable if vote.kind == "set"]
    singles = [vote for vote in usable if vote.kind == "single"]
    compared = [vote for vote in pairs if control not in (vote.left_condition, vote.right_condition)]
    matched = [vote for vote in pairs if {vote.left_condition, vote.right_condition} == {main, control}]
    everyone = [*conditions, *([control] if control else [])]
    asked = {FIT: compared, NATURAL: compared, VARIETY: sets}
    return Results(
        raters=len({vote.rater for vote in votes}),
        votes=len(pairs) + len(sets) + len(singles),
        by_kind={"pair": len(pairs), "set": len(sets), "single": len(singles)},
        trouble=len(votes) - len(usable),
        rankings={name: rank(comparisons(some, name), conditions) for name, some in asked.items()},
        means={name: scale_mean(singles, name) for name in everyone},
        contrasts=contrasts(singles, everyone),
        alpha=agreement(singles),
        matched=match_test(matched, main),
        repeats=share(*quality.repeat_agreement(usable), "nothing was asked twice"),
        left=side_bias(pairs),
        consistency=consistency_cells(singles, everyone, stimuli.feelings),
        preferred=preference_cells(compared, conditions, stimuli.feelings),
    )


# -- comparisons -------------------------------------------------------------------------------------------------------


WINS = {"left": 1.0, "right": 0.0, "equal": 0.5}
"""How much of a win for the left an answer is."""


def comparisons(votes: Iterable[Vote], question: str) -> list[Comparison]:
    """Return the answers to a question as wins of the left; who cannot tell says nothing."""
    found = []
    for vote in votes:
        score = WINS.get(getattr(vote, question))
        if score is not None:
            found.append(Comparison(vote.rater, vote.left_condition, vote.right_condition, score))
    return found


def match_test(votes: Sequence[Vote], main: str) -> Measured:
    """Share of decided answers on fit that prefer the sentence's own clip; exact binomial test against one half."""
    answers = [(vote.fit, vote.left_condition == main) for vote in votes if vote.fit in ("left", "right")]
    hits = sum((answer == "left") == is_left for answer, is_left in answers)
    return share(hits, len(answers), "no decided answer to own against wrong sentence", against=0.5)


def side_bias(votes: Sequence[Vote]) -> Measured:
    """Share of decided answers on fit that say left; exact binomial test against one half."""
    answers = [vote.fit for vote in votes if vote.fit in ("left", "right")]
    return share(answers.count("left"), len(answers), "no decided answer", against=0.5)


# -- the 5-point scale -------------------------------------------------------------------------------------------------


def rater_means(votes: Sequence[Vote], condition: str) -> dict[str, float]:
    """Return the mean score that each rater gave to a condition."""
    scores: dict[str, list[int]] = defaultdict(list)
    for vote in votes:
        if vote.left_condition == condition and vote.score is not None:
            scores[vote.rater].append(vote.score)
    return {rater: float(np.mean(given)) for rater, given in scores.items()}


def scale_mean(votes: Sequence[Vote], condition: str) -> Measured:
    """Mean over raters of their means for a condition, with its interval over raters."""
    means = np.array(list(rater_means(votes, condition).values()))
    if len(means) == 0:
        return missing("no ratings")
    if len(means) == 1:
        return Measured(float(means[0]), n=1, reason="one rater: no interval without a second one")
    mean = float(means.mean())
    margin = float(margin_without_each((means.sum() - means) / (len(means) - 1)))
    return Measured(mean, max(mean - margin, SCORES[0]), min(mean + margin, SCORES[-1]), len(means))


def contrasts(votes: Sequence[Vote], conditions: Sequence[str]) -> list[Contrast]:
    """Compare all pairs of conditions by Wilcoxon's signed-rank test over raters, p values corrected by Holm."""
    means = {condition: rater_means(votes, condition) for condition in conditions}
    found: list[Contrast] = []
    for first, second in combinations(conditions, 2):
        both = sorted(means[first].keys() & means[second].keys())
        gaps = np.array([means[first][rater] - means[second][rater] for rater in both])
        found.append(Contrast(first, second, _signed_rank(gaps)))
    tested = [index for index, contrast in enumerate(found) if contrast.difference.p is not None]
    corrected = holm([found[index].difference.p or 0.0 for index in tested])
    for index, p in zip(tested, corrected, strict=True):
        old = found[index]
        found[index] = Contrast(old.first, old.second, Measured(**{**old.difference.__dict__, "p": p}))
    return found


def _signed_rank(gaps: np.ndarray) -> Measured:
    """Mean of paired differences with the p value of the signed-rank test."""
    if len(gaps) == 0:
        return missing("no rater rated both")
    mean = float(gaps.mean())
    if not gaps.any():
        return Measured(mean, n=len(gaps), reason="every rater rated both alike: nothing to test")
    if (gaps != 0).sum() < FEWEST_PAIRED:
        return Measured(mean, n=len(gaps), reason=f"fewer than {FEWEST_PAIRED} raters rated both differently: no test")
    return Measured(mean, n=len(gaps), p=signed_rank_p(gaps))


def signed_rank_p(gaps: np.ndarray) -> float:
    """Return the exact two-sided p value of Wilcoxon's signed-rank test, ties included, zeros left out.

    The sum of the ranks of positive differences is distributed as a sum over independent signs; ranks are doubled, so
    that tied ones are whole numbers, and the distribution is built one rank at a time.
    """
    try:
        from scipy.stats import rankdata
    except ImportError as error:
        raise need("scipy") from error
    decided = gaps[gaps != 0]
    ranks = np.rint(2 * rankdata(np.abs(decided).round(9))).astype(int)  # rounded: equal means may differ in a last bit
    chances = np.ones(1)
    for doubled in ranks:
        apart = np.zeros(doubled)
        chances = (np.concatenate([chances, apart]) + np.concatenate([apart, chances])) / 2
    positive = int(ranks[decided > 0].sum())
    return float(min(1.0, 2 * min(chances[: positive + 1].sum(), chances[positive:].sum())))


def agreement(votes: Sequence[Vote]) -> Measured:
    """Krippendorff's alpha of the scores, ordinal; interval over clips, since a clip is what raters agree on."""
    counts = value_counts(votes)
    counts = counts[counts.sum(1) >= 2]  # (U, 5)
    if len(counts) == 0:
        return missing("no clip was rated by two raters")
    value = float(alpha(counts, SCORES))
    if np.isnan(value):
        return missing("all shared ratings are the same: agreement cannot be told from chance", len(counts))
    others = np.broadcast_to(counts, (len(counts), *counts.shape)) * ~np.eye(len(counts), dtype=bool)[:, :, None]
    without = alpha(others, SCORES)  # (U,)
    if np.isnan(without).any():
        return Measured(value, n=len(counts), reason="too few shared ratings for an interval")
    margin = float(margin_without_each(without))
    return Measured(value, max(value - margin, -1.0), min(value + margin, 1.0), len(counts))


def value_counts(votes: Sequence[Vote]) -> np.ndarray:
    """Return how often each clip got each score, (clips, 5)."""
    scored = [vote for vote in votes if vote.score is not None]
    clips = {clip: row for row, clip in enumerate(sorted({vote.left_clips for vote in scored}))}
    counts = np.zeros((len(clips), len(SCORES)))
    for vote in scored:
        counts[clips[vote.left_clips], vote.score - 1] += 1
    return counts


# -- heat maps ---------------------------------------------------------------------------------------------------------


def consistency_cells(votes: Sequence[Vote], rows: Sequence[str], feelings: Mapping[str, str]) -> list[Cell]:
    """Mean score of every condition for every feeling."""
    given: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for vote in votes:
        if vote.score is not None:
            given[vote.left_condition, feelings[vote.sentence]].append((vote.rater, float(vote.score)))
    return _cells(given, rows, feelings)


def preference_cells(votes: Sequence[Vote], rows: Sequence[str], feelings: Mapping[str, str]) -> list[Cell]:
    """Share of comparisons of fit that a condition won, ties as half, for every feeling."""
    given: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for vote in votes:
        score = WINS.get(vote.fit or "")
        if score is not None:
            feeling = feelings[vote.sentence]
            given[vote.left_condition, feeling].append((vote.rater, score))
            given[vote.right_condition, feeling].append((vote.rater, 1 - score))
    return _cells(given, rows, feelings)


def _cells(
    given: Mapping[tuple[str, str], list[tuple[str, float]]], rows: Sequence[str], feelings: Mapping[str, str]
) -> list[Cell]:
    cells = []
    for row in rows:
        by_column: dict[str, list[tuple[str, float]]] = {EVERY: []}
        for feeling in dict.fromkeys(feelings.values()):
            for column in dict.fromkeys((EVERY, GROUPS.get(feeling, feeling), feeling)):
                by_column.setdefault(column, []).extend(given.get((row, feeling), []))
        for column, values in by_column.items():
            people = len({rater for rater, _ in values})
            if people < FEWEST_PEOPLE:
                value = missing(f"fewer than {FEWEST_PEOPLE} people" if people else "no votes")
            else:
                value = Measured(float(np.mean([score for _, score in values])), n=len(values))
            cells.append(Cell(row, column, value, people))
    return cells
