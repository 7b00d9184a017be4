"""Simulated raters with planted preferences: they prove that the study recovers what is there, and how many it takes.

A rater answers a comparison by the difference of the planted strengths of the two conditions, plus what only this rater
thinks of each of them, plus a bias to the left; close calls are ties. On the 5-point scale a rater rounds strength, own
taste and noise. A careless rater answers by lot, as fast as the server allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cteg.study.bradley_terry import newton
from cteg.study.design import Exposure, Planned, plan
from cteg.study.models import Vote, pseudonym
from cteg.study.stimuli import Condition, Sentence, Stimulus, StimulusSet, opaque_id, read_sentences
from cteg.study.wording import ASKED, CONSENT_VERSION, NATURAL, SCORE, VARIETY

ATTENTIVE, CARELESS = 2.4, 0.95
"""Time on a page in lengths of its longest clip; the server lets nobody be much faster than the clips."""

NODES = 60
"""Points of the quadrature over raters."""


@dataclass(frozen=True)
class Population:
    """How simulated raters are.

    Attributes:
        strengths: Planted strength of each condition, natural logarithm.
        naturalness: The same for the question of naturalness; as `strengths` where not given.
        spread: Standard deviation over raters of what a rater thinks of a condition beside its strength.
        careless: Share of careless raters.
        left_bias: Added to the strength of whatever is on the left.
        ties: Comparisons closer than this (in strength, after noise) are called equal.
        scale_center: Mean score of a condition of strength 0.
        scale_slope: Steps of the scale per unit of strength.
    """

    strengths: Mapping[str, float]
    naturalness: Mapping[str, float] | None = None
    spread: float = 0.5
    careless: float = 0.0
    left_bias: float = 0.0
    ties: float = 0.3
    scale_center: float = 3.0
    scale_slope: float = 0.6

    def planted(self, question: str) -> Mapping[str, float]:
        """Return the strengths that a question about two conditions is answered by."""
        return self.naturalness or self.strengths if question == NATURAL else self.strengths


@dataclass
class Rater:
    """One simulated rater."""

    id: str
    population: Population
    rng: np.random.Generator
    is_careless: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_careless = bool(self.rng.random() < self.population.careless)
        names = sorted(self.population.strengths)
        self.taste = dict(zip(names, self.population.spread * self.rng.standard_normal(len(names)), strict=True))

    def answer(self, question: str, left: str, right: str, expected: str | None = None) -> Any:
        """Answer one question about two conditions (or, on the 5-point scale, about the left one)."""
        population, rng = self.population, self.rng
        if question == SCORE:
            if self.is_careless:
                return int(rng.integers(1, 6))
            noise = rng.standard_normal() * 0.7
            felt = population.strengths[left] + self.taste[left]
            return int(np.clip(np.rint(population.scale_center + population.scale_slope * felt + noise), 1, 5))
        if self.is_careless:
            return str(rng.choice(["left", "right"]))
        if expected is not None:
            return expected
        strengths = population.planted(question)
        gap = strengths[left] - strengths[right] + self.taste[left] - self.taste[right] + population.left_bias
        felt = gap + rng.logistic()
        if abs(felt) < population.ties:
            return "equal"
        return "left" if felt > 0 else "right"

    def seconds(self, longest: float) -> float:
        """Return the time spent on a page."""
        return longest * (CARELESS if self.is_careless else ATTENTIVE)


def make_raters(population: Population, count: int, seed: int) -> list[Rater]:
    """Return raters; equal arguments give equal ones."""
    rng = np.random.default_rng(seed)
    return [Rater(rng.bytes(16).hex(), population, np.random.default_rng([seed, n])) for n in range(count)]


def truth(population: Population, question: str, conditions: Sequence[str], careless: float = 0.0) -> dict[str, float]:
    """Return what the protocol estimates: log strengths over endlessly many raters, every two conditions as often.

    They are not the planted ones: averaged over raters that differ, preferences are less steep.

    Args:
        population: How the raters are; its own share of careless ones is not used, because the rules leave most out.
        question: What they are asked.
        conditions: C conditions.
        careless: Share of raters that answer by lot.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    planted = np.array([population.planted(question)[name] for name in conditions])
    gap = (planted[:, None] - planted)[..., None] + np.sqrt(2) * population.spread * nodes  # (C, C, nodes)
    edges = [sign * population.left_bias + tie for sign in (1, -1) for tie in (population.ties, -population.ties)]
    wins = np.mean([1 / (1 + np.exp(-gap - edge)) for edge in edges], axis=0) @ (weights / weights.sum())  # (C, C)
    wins = (1 - careless) * wins + careless / 2
    np.fill_diagonal(wins, 0)
    return dict(zip(conditions, newton(wins[None])[0].tolist(), strict=True))


def make_study(conditions: Sequence[Condition], seed: int = 0, frames: int = 75) -> StimulusSet:
    """Return a study whose clips are never played: the bundled sentences with three clips of every condition."""
    sentences: list[Sentence] = read_sentences()
    stimuli = tuple(
        Stimulus(opaque_id("simulated", s.id, c.name, sample), s.id, c.name, sample, frames, "0" * 64)
        for s in sentences
        for c in conditions
        for sample in range(3)
    )
    return StimulusSet(f"simulated-{seed}", seed, tuple(sentences), tuple(conditions), stimuli)


def simulate_votes(stimuli: StimulusSet, raters: Sequence[Rater]) -> list[Vote]:
    """Let raters go through whole sittings, one after the other, without a database."""
    exposure, votes = Exposure(), []
    for rater in raters:
        for place, page in enumerate(plan(stimuli, rater.id, exposure)):
            exposure.add(page.kind, page.sentence, *page.conditions)
            votes.append(_vote(stimuli, rater, place, page))
    return votes


def _vote(stimuli: StimulusSet, rater: Rater, place: int, page: Planned) -> Vote:
    left, right = page.conditions
    answers = {name: rater.answer(name, left, right, page.expected) for name in ASKED[page.kind]}
    passed = all(answer == page.expected for answer in answers.values())
    longest = stimuli.seconds((*page.left, *page.right))
    return Vote(
        id=f"{rater.id[:24]}{place:08x}",
        study=stimuli.study,
        rater=pseudonym(rater.id),
        device="unknown",
        consent=CONSENT_VERSION,
        place=place,
        attempt=1,
        **page.columns(),
        **{name: answers.get(name) for name in ("fit", "natural", VARIETY, SCORE)},
        check_state=("passed" if passed else "failed") if page.kind == "check" else None,
        seconds=rater.seconds(longest),
        plays=2,
        seeks=0,
        flag="",
        longest=longest,
        app_version="simulated",
        created=f"2030-01-01T00:00:{place:02d}.000Z",
    )
