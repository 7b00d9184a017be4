"""How many raters a difference takes, found by whole simulated studies: assignment, votes, exclusion, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cteg.errors import InputError
from cteg.study import quality
from cteg.study.bradley_terry import newton, win_matrices, with_ridge, without_each
from cteg.study.measured import margin_without_each
from cteg.study.models import Vote
from cteg.study.simulate import Population, make_raters, make_study, simulate_votes, truth
from cteg.study.stats import comparisons
from cteg.study.stimuli import MISMATCHED, Condition, StimulusSet
from cteg.study.wording import FIT

CONDITIONS = (
    Condition("first", "main"),
    Condition("second", "system"),
    Condition("third", "system"),
    Condition("fourth", "system"),
    Condition("fifth", "system"),
    Condition("floor", "floor"),
    Condition("reference", "reference"),
    Condition(MISMATCHED, "control"),
)
OTHERS = {"third": -0.3, "fourth": -0.6, "fifth": -0.9, "floor": -2.0, "reference": 0.9, MISMATCHED: -0.6}
"""Planted strengths of the conditions beside the two that are to be told apart."""


def real_pairs(votes: Sequence[Vote]) -> list[Vote]:
    """Return the comparisons of two conditions, without those of own against wrong sentence."""
    return [v for v in votes if v.kind == "pair" and MISMATCHED not in (v.left_condition, v.right_condition)]


def differences(stimuli: StimulusSet, population: Population, raters: int, seed: int) -> np.ndarray:
    """Simulate one study and return estimate and interval of first - second on fit: (3,)."""
    votes = simulate_votes(stimuli, make_raters(population, raters, seed))
    votes = quality.included(votes, quality.inspect_raters(votes))
    wins, _ = win_matrices(comparisons(real_pairs(votes), FIT), stimuli.compared)
    total = wins.sum(0)
    (strengths,), without = newton(with_ridge(total, total)[None]), without_each(wins)
    gap, margin = strengths[0] - strengths[1], margin_without_each(without[:, 0] - without[:, 1])
    return np.array([gap, gap - margin, gap + margin])


def table(sizes: Sequence[int], gap: float, spread: float, careless: float, studies: int, seed: int) -> Iterator[str]:
    """Yield lines of a table: raters, power, mean estimate, how often the interval holds what attentive raters say.

    Raises:
        InputError: A number is out of range.
    """
    if studies < 1 or not 0 <= careless < 1 or spread < 0 or min(sizes) < 2:
        raise InputError("Power needs at least 1 study, 2 raters, a spread from 0 and a careless share from 0 to 1.")
    strengths = {"first": gap / 2, "second": -gap / 2, **OTHERS}
    population = Population(strengths, spread=spread, careless=careless, left_bias=0.1)
    stimuli = make_study(CONDITIONS, seed)
    wanted = truth(population, FIT, stimuli.compared)
    gap_wanted = wanted["first"] - wanted["second"]
    chance = 1 / (1 + np.exp(-gap / np.sqrt(1 + np.pi / 4 * spread**2)))  # over raters, MacKay 1992
    yield f"gap {gap:g} (a new rater prefers the first in {chance:.0%} of decided answers), spread {spread:g},"
    yield f"careless {careless:.0%}, {studies} studies of each size, seed {seed}"
    yield f"raters  power  mean estimate  interval holds the truth ({gap_wanted:.2f})"
    for raters in sizes:
        found = np.array([differences(stimuli, population, raters, seed + study) for study in range(studies)])
        held = ((found[:, 1] <= gap_wanted) & (gap_wanted <= found[:, 2])).mean()
        yield f"{raters:6d}  {(found[:, 1] > 0).mean():5.2f}  {found[:, 0].mean():13.2f}  {held:24.2f}"
