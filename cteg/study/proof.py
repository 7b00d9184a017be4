"""Does a study find what is there? Whole studies of simulated raters, and how often what they report is true.

    assignment -> votes -> exclusion -> ranking        all real; only the raters are simulated

Preferences are planted, raters differ, some answer carelessly, and the left side draws answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cteg.errors import InputError
from cteg.study import quality
from cteg.study.bradley_terry import Ranking, newton, rank, win_matrices, with_ridge
from cteg.study.models import Vote, pseudonym
from cteg.study.power import CONDITIONS, DRAWS, OTHERS, real_pairs
from cteg.study.simulate import Population, Rater, make_raters, make_study, simulate_votes
from cteg.study.stats import comparisons
from cteg.study.stimuli import StimulusSet
from cteg.study.wording import FIT, NATURAL

STRENGTHS = {"first": 0.4, "second": 0.0, **OTHERS}
NATURALNESS = {**STRENGTHS, "first": 0.1, "third": 0.3, "floor": -3.0}
POPULATION = Population(STRENGTHS, NATURALNESS, spread=0.6, careless=0.1, left_bias=0.2)
ASKED = (FIT, NATURAL)

HONEST, SEED = 250, 1000
"""Raters that the truth is computed from, and their seed, which no simulated study has."""

Truth = Mapping[str, Mapping[str, float]]
"""Question -> condition -> log strength."""


def truth(stimuli: StimulusSet, population: Population) -> Truth:
    """Return what the protocol estimates: log strengths over hundreds of honest raters without a bias to a side.

    They are not the planted ones: averaged over raters that differ, preferences are less steep.
    """
    honest = Population(population.strengths, population.naturalness, population.spread)
    pairs = real_pairs(simulate_votes(stimuli, make_raters(honest, HONEST, SEED)))
    found = {}
    for question in ASKED:
        wins = win_matrices(comparisons(pairs, question), stimuli.compared)[0].sum(0)
        strengths = newton(with_ridge(wins, wins)[None])[0]
        found[question] = {name: float(value) for name, value in zip(stimuli.compared, strengths, strict=True)}
    return found


class Tally:
    """Counts over studies what was reported, and what of it was true.

    Args:
        wanted: The truth.
    """

    def __init__(self, wanted: Truth) -> None:
        self.wanted = wanted
        self.counts: Counter[tuple] = Counter()

    def add(self, stimuli: StimulusSet, raters: Sequence[Rater], votes: Sequence[Vote], seed: int) -> None:
        """Analyse one study and count."""
        records = quality.inspect_raters(votes)
        for rater in raters:
            self.counts["rater", rater.is_careless, records[pseudonym(rater.id)].is_excluded] += 1
        pairs = real_pairs(quality.included(votes, records))
        for question in ASKED:
            self._add_ranking(question, rank(comparisons(pairs, question), stimuli.compared, seed, DRAWS))

    def _add_ranking(self, question: str, ranking: Ranking) -> None:
        known = [
            (strength.low, strength.high, self.wanted[question][name])
            for name, strength in zip(ranking.conditions, ranking.strengths, strict=True)
            if strength.low is not None and strength.high is not None
        ]
        for low, high, wanted in known:
            self.counts[question, "interval", low <= wanted <= high] += 1
            for other_low, _, other in known:
                if high < other_low:  # the report ranks this one below the other
                    self.counts[question, "order", wanted < other] += 1

    def lines(self) -> Iterator[str]:
        """Yield what was counted, as text."""
        count = self.counts
        for question in ASKED:
            held, missed = count[question, "interval", True], count[question, "interval", False]
            right, wrong = count[question, "order", True], count[question, "order", False]
            yield (
                f"{question:8} {held} of {held + missed} intervals hold the truth ({_share(held, missed)}); "
                f"{wrong} of {right + wrong} stated orders are wrong"
            )
        for is_careless, name in ((True, "careless"), (False, "attentive")):
            out, kept = count["rater", is_careless, True], count["rater", is_careless, False]
            yield f"{out} of {out + kept} {name} raters are left out ({_share(out, kept)})"


def prove(raters: int, studies: int, seed: int) -> Iterator[str]:
    """Simulate studies and yield lines: how often intervals hold the truth, stated orders are right, who is left out.

    Raises:
        InputError: There are too few raters or studies.
    """
    if raters < 2 or studies < 1:
        raise InputError("A proof needs at least 2 raters and 1 study.")
    stimuli = make_study(CONDITIONS, seed)
    tally = Tally(truth(stimuli, POPULATION))
    for study in range(studies):
        group = make_raters(POPULATION, raters, seed + study)
        tally.add(stimuli, group, simulate_votes(stimuli, group), seed + study)
    yield f"{studies} studies of {raters} raters, 95 % intervals, seed {seed}"
    yield from tally.lines()


def _share(some: int, others: int) -> str:
    return f"{some / (some + others):.1%}" if some + others else "none"
