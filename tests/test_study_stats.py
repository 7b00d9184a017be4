"""Laws of the statistics: planted truth is found, order and sides do not matter, and nothing is ever NaN."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from cteg.errors import InputError
from cteg.study import bradley_terry as bt
from cteg.study import quality, report, stats
from cteg.study.bradley_terry import Comparison, rank
from cteg.study.measured import Measured, holm, margin_without_each, missing, share
from cteg.study.models import pseudonym
from cteg.study.power import differences, table
from cteg.study.proof import Tally, prove
from cteg.study.simulate import Population, make_raters, make_study, simulate_votes, truth
from cteg.study.stats import agreement, analyse, summarise
from tests.study import CONDITIONS
from tests.test_study_agreement import RELIABILITY

STRENGTHS = {
    "cteg": 0.6,
    "cteg cool": 0.2,
    "reference": 1.0,
    "nearest text": 0.0,
    "shuffled frames": -1.8,
    "mismatched": -0.8,
}
NAMES = ("A", "B", "C")


@pytest.fixture(scope="module")
def study():
    return make_study(CONDITIONS)


@pytest.fixture(scope="module")
def votes(study):
    return simulate_votes(study, make_raters(Population(STRENGTHS, careless=0.15, left_bias=0.2), 24, seed=8))


@pytest.fixture(scope="module")
def found(study, votes):
    return analyse(votes, study)


def answers(text: str, rater: str = "r") -> list[Comparison]:
    """`A>B A=B`: answers in short."""
    pairs = [(word[0], word[2], 1.0 if word[1] == ">" else 0.5) for word in text.split()]
    return [Comparison(rater, *pair) for pair in pairs]


# -- Bradley-Terry -----------------------------------------------------------------------------------------------------


def test_two_conditions_have_the_strengths_of_the_textbook():
    ranking = rank(answers("A>B A>B A>B B>A"), ("A", "B"))
    gap = ranking.strength("A").value - ranking.strength("B").value
    assert gap == pytest.approx(math.log(3.05 / 1.05), abs=1e-4)  # the ridge adds a tie of weight 0.1
    assert ranking.strength("A").n == 4
    assert ranking.reason == bt.ONE_RATER


def test_newton_and_evalica_agree():
    wins = np.random.default_rng(3).integers(1, 9, (6, 5, 5)).astype(float)
    for matrix in wins:
        np.fill_diagonal(matrix, 0)
        ours = bt.newton(bt.with_ridge(matrix, matrix)[None])[0]
        assert np.allclose(ours, bt.estimate(matrix, list("abcde")), atol=1e-4)


def test_order_of_votes_and_sides_change_nothing(votes, study):
    pairs = [
        vote
        for vote in votes
        if vote.kind == "pair" and study.control not in (vote.left_condition, vote.right_condition)
    ]
    mirror = {"left": "right", "right": "left"}
    turned = [
        replace(
            v,
            left_condition=v.right_condition,
            right_condition=v.left_condition,
            fit=mirror.get(v.fit, v.fit),
        )
        for v in pairs
    ]
    random.Random(0).shuffle(turned)
    first, second = (rank(stats.comparisons(some, "fit"), study.compared) for some in (pairs, turned))
    assert first.conditions == second.conditions
    for one, other in zip(first.strengths, second.strengths, strict=True):
        assert one.value == pytest.approx(other.value)
        assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", bt.NO_VOTES),
        ("A>B B>A", bt.DISCONNECTED),
        ("A=B B=C A=C", bt.ALL_TIES),
        ("A>B A>C B>C", bt.UNANIMOUS),
    ],
)
def test_what_cannot_be_ranked_has_a_reason(given, reason):
    ranking = rank(answers(given), NAMES)
    assert ranking.reason == reason
    assert {strength.value for strength in ranking.strengths} == {None}
    assert ranking.ranks is None


def test_a_condition_that_always_wins_stays_finite():
    comparisons = [c for r in "12345" for c in answers("A>B A>C B>C C>B", r)]
    ranking = rank(comparisons, NAMES)
    assert ranking.conditions[0] == "A"
    assert 1 < ranking.strength("A").value < 6
    assert all(math.isfinite(s.high) for s in ranking.strengths)


def test_ranks_are_given_only_where_intervals_separate():
    comparisons = [c for r in "1234" for c in answers("A>B A>B A>C A>C B>C B>A", r)]
    comparisons += [c for r in "5678" for c in answers("A>B A>B A>C A>C C>B C>A", r)]
    ranking = rank(comparisons, NAMES)
    assert ranking.conditions[0] == "A"
    assert ranking.ranks == ((1, 1), (2, 3), (2, 3))


# -- recovery of what was planted --------------------------------------------------------------------------------------


def test_strengths_are_within_two_standard_errors_in_nine_of_ten_studies():
    """The model alone: raters that answer as Bradley-Terry says, 200 seeds."""
    planted = np.array([0.8, 0.2, -0.3, -0.7])
    hits = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        wins = np.zeros((15, 4, 4))
        for rater in range(15):
            for first, second in rng.permuted(np.arange(4)[None].repeat(12, 0), axis=1)[:, :2]:
                is_first = rng.random() < 1 / (1 + np.exp(planted[second] - planted[first]))
                wins[(rater, first, second) if is_first else (rater, second, first)] += 1
        estimate = bt.newton(bt.with_ridge(wins.sum(0), wins.sum(0))[None])[0]
        error = margin_without_each(bt.without_each(wins)) / t.ppf(0.975, 14)
        hits.append(np.abs(estimate - planted) < 2 * error)
    assert np.mean(hits) >= 0.9


def test_a_whole_study_recovers_what_was_planted(found, study):
    wanted = truth(Population(STRENGTHS), "fit", study.compared)
    for question in ("fit", "natural"):
        ranking = found.after.rankings[question]
        inside = [s.low <= wanted[n] <= s.high for n, s in zip(ranking.conditions, ranking.strengths, strict=True)]
        assert sum(inside) >= 4
        assert ranking.conditions[-1] == "shuffled frames"
        assert ranking.ranks[-1] == (5, 5)
    assert found.after.matched.low > 0.5
    assert found.after.left.value > 0.5  # the planted bias to the left


def test_intervals_hold_at_the_stated_rate():
    """Over 40 whole studies of 12 raters, some careless, with a side bias, stated 95 %: at least 90 %."""
    names = ("first", "second", "third", "reference")
    study = make_study([replace(c, name=n) for c, n in zip(CONDITIONS, names, strict=False)])
    strengths = dict(zip(names, (0.4, -0.4, -0.8, 0.8), strict=True))
    population = Population(strengths, spread=0.6, careless=0.1, left_bias=0.2)
    wanted = truth(population, "fit", study.compared)
    gap = wanted["first"] - wanted["second"]
    runs = np.array([differences(study, population, 12, seed) for seed in range(40)])
    assert ((runs[:, 1] <= gap) & (gap <= runs[:, 2])).mean() >= 0.9
    assert runs[:, 0].mean() == pytest.approx(gap, abs=0.12)


def test_the_truth_is_what_very_many_raters_say(study):
    """Quadrature against raters without a plan: every two conditions, ties and the bias to the left included."""
    population = Population(STRENGTHS, spread=0.9, left_bias=0.3, ties=0.5)
    raters, rng = make_raters(population, 4000, seed=1), np.random.default_rng(0)
    votes = []
    for rater in raters:
        left, right = rng.permutation(study.compared)[:2]
        votes.append(Comparison("r", left, right, stats.WINS[rater.answer("fit", left, right)]))
    wins = bt.win_matrices(votes, study.compared)[0].sum(0)
    found = bt.newton(bt.with_ridge(wins, wins)[None])[0]
    wanted = truth(population, "fit", study.compared)
    assert found == pytest.approx(list(wanted.values()), abs=0.15)
    assert abs(wanted["shuffled frames"] - wanted["reference"]) < 0.9 * (1.8 + 1.0)  # less steep than planted
    by_lot = truth(population, "fit", study.compared, careless=1.0)
    assert list(by_lot.values()) == pytest.approx([0] * len(by_lot), abs=1e-9)


def test_the_margin_without_each_is_students_for_a_mean():
    values = np.random.default_rng(0).normal(size=(9, 2))
    without = (values.sum(0) - values) / 8
    usual = t.ppf(0.975, 8) * values.std(0, ddof=1) / 3
    assert margin_without_each(without) == pytest.approx(usual)


def test_careless_raters_are_found_and_honest_ones_left_alone(study):
    raters = make_raters(Population(STRENGTHS, careless=0.5), 40, seed=9)
    records = quality.inspect_raters(simulate_votes(study, raters))
    caught = Counter((rater.is_careless, records[pseudonym(rater.id)].is_excluded) for rater in raters)
    assert caught[False, True] == 0
    assert caught[True, True] >= 0.5 * (caught[True, True] + caught[True, False])


def test_the_proof_counts_what_is_true_and_what_is_not(study):
    population, tally = Population(STRENGTHS, careless=0.3), Tally()
    raters = make_raters(population, 24, seed=2)
    tally.add(study, raters, simulate_votes(study, raters))
    right = truth(population, "fit", study.compared)
    upside_down = {name: -value for name, value in right.items()}
    (held, n), (wrong, orders) = tally.held("fit", right), tally.wrong_orders("fit", right)
    assert n == len(study.compared)
    assert held >= n - 1
    assert orders > 0
    assert wrong == 0
    assert tally.held("fit", upside_down)[0] < held
    assert tally.wrong_orders("fit", upside_down) == (orders, orders)
    kept = tally.raters[True, False] + tally.raters[False, False]
    assert tally.careless == pytest.approx(tally.raters[True, False] / kept)
    assert sum(tally.raters.values()) == 24
    lines = list(tally.lines(study, population))
    assert [line.split()[0] for line in (lines[0], lines[3])] == ["fit", "natural"]
    assert "careless raters are left out" in lines[6]
    assert len(list(prove([2, 3], 1, 0))) == 18
    with pytest.raises(InputError, match="at least 2 raters"):
        list(prove([30, 1], 1, 0))


def test_the_power_table_has_a_line_per_size():
    lines = list(table([4, 6], 1.5, 0.2, 0.0, 2, 0))
    assert len(lines) == 5
    assert lines[3].split()[0] == "4"


# -- quality -----------------------------------------------------------------------------------------------------------


def only(votes, **changes):
    rater = votes[0].rater
    return [replace(vote, **changes) for vote in votes if vote.rater == rater]


def test_a_rater_is_left_out_for_reasons_that_were_fixed_before(votes):
    honest = next(r for r in quality.inspect_raters(votes).values() if not r.is_excluded)
    mine = [replace(vote, seconds=2 * vote.longest) for vote in votes if vote.rater == honest.rater]
    assert honest.is_finished

    def reasons(some, flags=None):
        return quality.inspect_raters(some, flags)[honest.rater].reasons

    def with_checks(*states):
        left = iter(states)
        return [replace(v, check_state=next(left)) if v.kind == "check" else v for v in mine]

    assert reasons(with_checks("failed", "failed")) == (quality.FAILED_CHECKS,)
    assert reasons(with_checks("failed", "unknown")) == ()
    assert reasons(with_checks("unknown", "unknown")) == ()
    assert reasons(with_checks("failed", "passed")) == ()
    one_side = [replace(v, fit="left", natural="left") if v.kind in ("pair", "repeat") else v for v in mine]
    assert quality.ONE_SIDED in reasons(one_side)
    assert quality.CARELESS not in reasons(one_side)  # repeats disagree, but time was taken
    hasty = [replace(v, seconds=0.5 * v.longest) for v in one_side]
    assert quality.CARELESS in reasons(hasty)
    assert reasons(mine, {honest.rater: "a test"}) == ("flagged by hand: a test",)


def test_repeats_agree_when_the_sides_are_swapped_back(votes):
    mine = [v for v in votes if v.rater == votes[0].rater]
    repeat = next(v for v in mine if v.kind == "repeat")
    original = next(v for v in mine if v.place == repeat.repeats)
    pair = [replace(original, fit="left", natural="equal"), replace(repeat, fit="right", natural="equal")]
    assert quality.repeat_agreement(pair) == (2, 2)
    assert quality.repeat_agreement([pair[0], replace(pair[1], fit="left", natural="left")]) == (0, 2)
    assert quality.repeat_agreement([pair[0], replace(pair[1], flag="trouble")]) == (0, 0)
    assert quality.repeat_agreement(pair[1:]) == (0, 0)


def test_exclusions_change_the_results_and_both_are_kept(found, votes):
    left_out = [record for record in found.records.values() if record.is_excluded]
    assert left_out
    assert found.before.raters == found.after.raters + len(left_out)
    assert len(found.records) == 24


# -- other figures -----------------------------------------------------------------------------------------------------


def test_a_share_has_its_exact_interval():
    measured = share(8, 10, "", against=0.5)
    assert (measured.low, measured.high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))
    assert measured.p == pytest.approx(0.109375)
    assert share(0, 0, "nothing").reason == "nothing"


def test_p_values_are_corrected_as_holm_did():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_alpha_is_that_of_the_votes(votes):
    """Scores of 1 to 5 by raters and clips, as `tests/test_study_agreement.py` has them from the literature."""
    measured = agreement(scored(votes, RELIABILITY))
    assert measured.value == pytest.approx(0.815, abs=5e-4)
    assert -1 <= measured.low < measured.value < measured.high <= 1
    assert measured.n == 11
    turned = agreement(scored(votes, RELIABILITY)[::-1])
    assert (turned.value, turned.low) == (pytest.approx(measured.value), pytest.approx(measured.low))


def scored(votes, table):
    single = next(vote for vote in votes if vote.kind == "single")
    return [
        replace(single, rater=f"{rater}", left_clips=f"{unit}", score=score)
        for rater, row in enumerate(table)
        for unit, score in enumerate(row)
        if score is not None
    ]


def test_agreement_that_cannot_be_told_has_a_reason(votes):
    assert "two raters" in agreement([]).reason
    assert "two raters" in agreement(scored(votes, [(1, 2, 3)])).reason
    assert "the same" in agreement(scored(votes, [(3, 3), (3, 3)])).reason
    few = agreement(scored(votes, [(1, 3), (1, 2)]))
    assert few.value > 0
    assert few.low is None
    assert "too few" in few.reason


def test_no_votes_give_reasons_and_no_numbers(study):
    found = analyse([], study)
    values = json.loads(report.as_json(found, study))
    assert values["pilot"] is True
    for measured in (found.after.alpha, found.after.matched, found.after.repeats, found.after.left):
        assert measured.value is None
        assert measured.reason
    assert all(ranking.reason == bt.NO_VOTES for ranking in found.after.rankings.values())
    assert "Pilot." in report.as_html(found, study, "1.2", "now")
    assert "no votes" in report.as_text(found)


def test_one_rater_gives_values_without_intervals(study, votes):
    one = only(votes)
    found = summarise(one, study)
    for ranking in found.rankings.values():
        assert ranking.reason
    assert all(mean.low is None for mean in found.means.values())
    assert all(cell.value.value is None for cell in found.preferred)  # never fewer than five people


def test_a_vote_whose_clips_did_not_play_is_counted_and_not_used(study, votes):
    broken = [replace(vote, flag="trouble", fit=None) if vote.place == 5 else vote for vote in votes]
    found = summarise(broken, study)
    assert found.trouble == 24


def test_tests_on_the_scale_need_enough_raters(votes):
    assert stats._signed_rank(np.zeros(0)).reason == "no rater rated both"
    assert "alike" in stats._signed_rank(np.zeros(9)).reason
    assert "fewer than 6" in stats._signed_rank(np.array([1.0, 1, 1, 1, 1, 0])).reason
    assert stats._signed_rank(np.arange(1.0, 7)).p == pytest.approx(2 / 64)


def test_the_signed_rank_test_is_exact_with_ties():
    from scipy.stats import PermutationMethod, wilcoxon

    plain = np.array([1.0, -2, 3, 4, -5, 6, 7, 8])
    assert stats.signed_rank_p(plain) == pytest.approx(wilcoxon(plain, method="exact").pvalue)
    tied = np.array([1.0, 1, -1, 2, 2, 2, -0.5, 0, 3])
    exact = wilcoxon(tied, method=PermutationMethod(n_resamples=2**9)).pvalue
    assert stats.signed_rank_p(tied) == pytest.approx(exact)


def test_a_figure_that_is_not_finite_cannot_be_made():
    for bad in ({"value": math.nan}, {"value": 1.0, "low": -math.inf}, {}):
        with pytest.raises(ValueError, match="reason"):
            Measured(**bad)
    assert missing("why").text() == "(why)"
    assert Measured(0.5, 0.25, 0.75).text() == "0.50 [0.25, 0.75]"
