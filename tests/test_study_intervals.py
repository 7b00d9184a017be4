"""Which interval holds its rate with few raters: the one of the report beside others (`docs/study.md`).

    python -m pytest -m slow -s tests/test_study_intervals.py

Raters differ, some answer by lot (as many as the rules let through), assignments are those of the study. No exclusion,
so that thousands of studies take minutes; `python -m cteg study prove` goes the whole way with the report's interval.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from cteg.study.bradley_terry import newton, with_ridge, without_each
from cteg.study.design import Exposure, plan
from cteg.study.measured import margin_without_each
from cteg.study.power import CONDITIONS
from cteg.study.proof import POPULATION
from cteg.study.simulate import make_raters, make_study, simulate_votes, truth
from cteg.study.stats import agreement
from cteg.study.wording import FIT

CARELESS = 0.03
"""Share of careless raters that the rules let through in the studies of `prove`."""

DRAWS, STUDIES, PLANS = 400, 400, 6


def assignments(study, raters: int) -> list[list[list[tuple[int, int]]]]:
    """Conditions on the left and right of every real comparison: plans x raters x pages."""
    place = {name: index for index, name in enumerate(study.compared)}
    found = []
    for number in range(PLANS):
        exposure, sittings = Exposure(), []
        for rater in make_raters(POPULATION, raters, 10_000 + number):
            pages = plan(study, rater.id, exposure)
            for page in pages:
                exposure.add(page.kind, page.sentence, *page.conditions)
            pairs = [page.conditions for page in pages if page.kind == "pair" and study.control not in page.conditions]
            sittings.append([(place[left], place[right]) for left, right in pairs])
        found.append(sittings)
    return found


def wins_of(study, sittings, population, seed: int) -> np.ndarray:
    """(R, C, C), wins by rater."""
    names, size = study.compared, len(study.compared)
    wins = np.zeros((len(sittings), size, size))
    for number, rater in enumerate(make_raters(population, len(sittings), seed)):
        for left, right in sittings[number]:
            score = {"left": 1.0, "right": 0.0, "equal": 0.5}[rater.answer(FIT, names[left], names[right])]
            wins[number, left, right] += score
            wins[number, right, left] += 1 - score
    return wins


def intervals(wins: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Low and high ends (C,) by every method, the report's last."""
    raters, size, total = len(wins), wins.shape[1], wins.sum(0)
    quantile = t.ppf(0.975, raters - 1)
    counts = rng.multinomial(raters, np.full(raters, 1 / raters), size=DRAWS)
    drawn = newton(with_ridge(np.tensordot(counts, wins, axes=1), total))
    padded = with_ridge(total, total)
    values = newton(padded[None])[0]
    level = norm.cdf(-np.sqrt(raters / (raters - 1)) * quantile)  # Hesterberg 2015, section 4.4
    chance = 1 / (1 + np.exp(values - values[:, None]))
    weight = (padded + padded.T) * chance * (1 - chance)
    scores = wins.sum(2) - ((wins + wins.swapaxes(1, 2)) * chance).sum(2)
    influence = scores @ np.linalg.inv(np.diag(weight.sum(1)) - weight + 1 / size)
    sandwich = quantile * np.sqrt(raters / (raters - 1) * (influence**2).sum(0))
    jackknife = margin_without_each(without_each(wins))
    return {
        "percentiles of a bootstrap over raters": tuple(np.quantile(drawn, [0.025, 0.975], axis=0)),
        "the same, levels widened for few raters": tuple(np.quantile(drawn, [level, 1 - level], axis=0)),
        "sandwich over raters, t": (values - sandwich, values + sandwich),
        "jackknife over raters, t": (values - jackknife, values + jackknife),
    }


def rates(raters: int, population, seed: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """How often every method holds what it promises, by condition (C,), and its mean width."""
    study = make_study(CONDITIONS)
    wanted = np.array(list(truth(population, FIT, study.compared, CARELESS).values()))
    plans, rng = assignments(study, raters), np.random.default_rng(seed)
    held: dict[str, list] = {}
    widths: dict[str, list] = {}
    for number in range(STUDIES):
        wins = wins_of(study, plans[number % PLANS], population, seed + number)
        for name, (low, high) in intervals(wins, rng).items():
            held.setdefault(name, []).append((low <= wanted) & (wanted <= high))
            widths.setdefault(name, []).append((high - low).mean())
    return {n: np.mean(some, axis=0) for n, some in held.items()}, {n: float(np.mean(w)) for n, w in widths.items()}


@pytest.mark.slow
def test_the_interval_of_the_report_holds_its_rate_and_percentiles_do_not():
    population = replace(POPULATION, careless=CARELESS)
    for raters in (12, 30, 60):
        held, widths = rates(raters, population, seed=raters)
        for name, share in held.items():
            print(f"{raters:3d} raters  {name:40} {share.mean():.1%}  width {widths[name]:.2f}", flush=True)
        assert 0.935 <= held["jackknife over raters, t"].mean() <= 0.975
        if raters == 12:
            assert held["percentiles of a bootstrap over raters"].mean() < 0.925


@pytest.mark.slow
def test_the_interval_of_alpha_holds_what_studies_find_on_average():
    """The truth is the mean over all studies of one size: alpha depends on how many raters share a clip."""
    study, studies = make_study(CONDITIONS), 200
    for raters in (12, 30):
        found = []
        for number in range(studies):
            group = make_raters(POPULATION, raters, 5_000 + number)
            found.append(agreement([v for v in simulate_votes(study, group) if v.kind == "single"]))
        mean = np.mean([measured.value for measured in found])
        held = np.mean([measured.low <= mean <= measured.high for measured in found])
        print(f"{raters:3d} raters, alpha {mean:.2f}  jackknife over clips, t  {held:.1%}", flush=True)
        assert held >= 0.88


@pytest.mark.slow
def test_a_condition_that_loses_nearly_always_takes_thirty_raters():
    population = replace(POPULATION, strengths={**POPULATION.strengths, "floor": -4.0}, careless=CARELESS)
    floor = make_study(CONDITIONS).compared.index("floor")
    for raters in (12, 30):
        held, _ = rates(raters, population, seed=100 + raters)
        for name, share in held.items():
            print(f"{raters:3d} raters, the condition that loses  {name:40} {share[floor]:.1%}", flush=True)
    assert held["jackknife over raters, t"][floor] > 0.92
