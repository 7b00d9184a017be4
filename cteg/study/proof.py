"""Does a study find what is there? Whole studies of simulated raters, and how often what they report is true.

    assignment -> votes -> exclusion -> ranking        all real; only the raters are simulated

Preferences are planted, raters differ, some answer carelessly, and the left side draws answers. A report is compared
with two truths: what attentive raters say, and what all raters say that the rules let through, a few careless ones
among them. An interval promises the second; how far that is from the first says how good the rules are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from cteg.errors import InputError
from cteg.study import quality
from cteg.study.bradley_terry import Ranking, rank
from cteg.study.models import Vote, pseudonym
from cteg.study.power import CONDITIONS, OTHERS, real_pairs
from cteg.study.simulate import Population, Rater, make_raters, make_study, simulate_votes, truth
from cteg.study.stats import comparisons
from cteg.study.stimuli import StimulusSet
from cteg.study.wording import FIT, NATURAL

STRENGTHS = {"first": 0.4, "second": 0.0, **OTHERS}
NATURALNESS = {**STRENGTHS, "first": 0.1, "third": 0.3, "floor": -3.0}
POPULATION = Population(STRENGTHS, NATURALNESS, spread=0.6, careless=0.1, left_bias=0.2)
ASKED = (FIT, NATURAL)

Truth = Mapping[str, float]
"""Condition -> log strength."""


class Tally:
    """Counts over studies what was reported, and what of it was true."""

    def __init__(self) -> None:
        self.raters: Counter[tuple[bool, bool]] = Counter()  # (is careless, is left out)
        self.rankings: dict[str, list[Ranking]] = defaultdict(list)

    def add(self, stimuli: StimulusSet, raters: Sequence[Rater], votes: Sequence[Vote]) -> None:
        """Analyse one study."""
        records = quality.inspect_raters(votes)
        self.raters.update((rater.is_careless, records[pseudonym(rater.id)].is_excluded) for rater in raters)
        pairs = real_pairs(quality.included(votes, records))
        for question in ASKED:
            self.rankings[question].append(rank(comparisons(pairs, question), stimuli.compared))

    @property
    def careless(self) -> float:
        """Share of careless raters among those that the rules let through."""
        careless, attentive = self.raters[True, False], self.raters[False, False]
        return careless / max(careless + attentive, 1)

    def held(self, question: str, wanted: Truth) -> tuple[int, int]:
        """Return how many intervals hold the truth, and how many there are."""
        held = [
            strength.low <= wanted[name] <= strength.high
            for ranking in self.rankings[question]
            for name, strength in zip(ranking.conditions, ranking.strengths, strict=True)
            if strength.low is not None and strength.high is not None
        ]
        return sum(held), len(held)

    def wrong_orders(self, question: str, wanted: Truth) -> tuple[int, int]:
        """Return how many stated orders are wrong, and how many are stated: two intervals that do not meet."""
        wrong = [
            wanted[lower] > wanted[upper]
            for ranking in self.rankings[question]
            for upper, lower in permutations(ranking.conditions, 2)
            if ranking.is_above(upper, lower)
        ]
        return sum(wrong), len(wrong)

    def lines(self, stimuli: StimulusSet, population: Population) -> Iterator[str]:
        """Yield what was counted, as text."""
        for question in ASKED:
            attentive = truth(replace(population, left_bias=0.0), question, stimuli.compared)
            counted = truth(population, question, stimuli.compared, self.careless)
            yield f"{question:8} {_of(*self.held(question, counted))} intervals hold what counted raters say,"
            yield f"{'':8} {_of(*self.held(question, attentive))} what attentive raters say;"
            yield f"{'':8} {_of(*self.wrong_orders(question, attentive))} stated orders are wrong"
        for is_careless, name in ((True, "careless"), (False, "attentive")):
            out, kept = self.raters[is_careless, True], self.raters[is_careless, False]
            yield f"{_of(out, out + kept)} {name} raters are left out"


def prove(sizes: Sequence[int], studies: int, seed: int) -> Iterator[str]:
    """Simulate studies and yield lines: how often intervals hold the truth, stated orders are right, who is left out.

    Args:
        sizes: Raters of a study, each with as many studies.
        studies: Of each size.
        seed: Of the raters and their answers.

    Raises:
        InputError: There are too few raters or studies.
    """
    if min(sizes) < 2 or studies < 1:
        raise InputError("A proof needs at least 2 raters and 1 study.")
    stimuli = make_study(CONDITIONS, seed)
    for raters in sizes:
        tally = Tally()
        for study in range(studies):
            group = make_raters(POPULATION, raters, seed + study)
            tally.add(stimuli, group, simulate_votes(stimuli, group))
        yield f"{studies} studies of {raters} raters, 95 % intervals, seed {seed}"
        yield from tally.lines(stimuli, POPULATION)


def _of(some: int, everything: int) -> str:
    return f"{some} of {everything}" + (f" ({some / everything:.1%})" if everything else "")
