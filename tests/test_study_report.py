"""The page of results: it stands alone, holds every result, and says no more than the figures allow."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from cteg.study import figures, quality, report, stats
from cteg.study.bradley_terry import Comparison, rank
from cteg.study.measured import Measured, missing
from cteg.study.simulate import Population, make_raters, make_study, simulate_votes
from cteg.study.stats import EVERY, GROUPS, Cell, analyse
from tests.study import CONDITIONS

STRENGTHS = {
    "cteg": 0.6,
    "cteg cool": 0.2,
    "reference": 1.0,
    "nearest text": 0.0,
    "shuffled frames": -1.8,
    "mismatched": -0.8,
}


@pytest.fixture(scope="module")
def study():
    return replace(
        make_study(CONDITIONS), made={"weights": {"cteg/model": "abc"}, "version": "9", "key": "secret of the ids"}
    )


@pytest.fixture(scope="module")
def votes(study):
    return simulate_votes(study, make_raters(Population(STRENGTHS, careless=0.15, left_bias=0.2), 24, seed=8))


@pytest.fixture(scope="module")
def found(study, votes):
    return analyse(votes, study)


@pytest.fixture(scope="module")
def page(found, study):
    return report.as_html(found, study, "1.2", "2030-01-01")


def words(html: str) -> str:
    return re.sub(r"<[^>]*>", " ", html.partition("</style>")[2])


def test_the_page_stands_alone_and_holds_every_result(found, study, page):
    assert page.count('class="heat"') == 2
    for outside in ("<script", "<link", "<img", "src=", "@import", "url(", "http"):
        assert outside not in page
    for name in study.compared:
        assert name in page
    assert "Pilot." not in page
    for ranking in found.after.rankings.values():
        assert all(strength.text() in page for strength in ranking.strengths)
    assert found.after.alpha.text() in page
    assert "nan" not in words(page).lower().split()
    assert "NaN" not in report.as_json(found, study)


def test_the_key_of_the_clips_stays_in_the_manifest(found, study, page):
    assert json.loads(report.as_json(found, study))["made"] == {"weights": {"cteg/model": "abc"}, "version": "9"}
    assert "<th scope=row>cteg/model</th><td>abc</td>" in page
    assert "version: 9" in page
    assert "secret of the ids" not in page + report.as_json(found, study)


def test_figures_before_exclusions_are_shown_where_raters_are_left_out(found, study, votes, page):
    assert found.before.raters > found.after.raters
    assert "before exclusions" in page
    assert f"24 raters, 24 to the last page; {24 - found.after.raters} left out" in page
    kept = quality.included(votes, found.records)
    everyone = analyse(kept, study)
    assert "before exclusions" not in report.as_html(everyone, study, "1.2", "now")


def standing(text: str, raters: str = "123456", names=("A", "B", "C")) -> str:
    """What the page says of A after every rater has given some answers, `A>B` in short."""
    given = [Comparison(r, w[0], w[2], 1.0 if w[1] == ">" else 0.5) for r in raters for w in text.split()]
    return report._standing(rank(given, names), "A", "Fit")


def test_the_summary_says_what_intervals_allow():
    assert standing("A>B A>C A>B A>C B>C C>B") == "Fit: A is ahead of B and C (36 answers)."
    assert standing("B>A C>A B>A C>A B>C C>B") == "Fit: A is behind B and C (36 answers)."
    assert standing("A=B B=C B>C C>B") == "Fit: between A and the others the order is open (24 answers)."
    assert standing("A>B B>A A>C B>C A>C B>C") == "Fit: A is ahead of C; with B the order is open (36 answers)."
    assert standing("A>B B>A", names=("A", "B", "C")).startswith("Fit: nothing can be said, because of: the comp")


def test_an_advantage_that_may_be_chance_is_called_so(found):
    half = replace(found.after, matched=Measured(0.52, 0.4, 0.6, 50))
    assert "that may be chance" in report._summary(half, "cteg")
    assert "that may be chance" not in report._summary(replace(half, matched=Measured(0.7, 0.6, 0.8, 50)), "cteg")
    assert "Right or wrong" not in report._summary(replace(half, matched=missing("none")), "cteg")


# -- heat maps ---------------------------------------------------------------------------------------------------------


def test_feelings_are_taken_together_until_people_are_enough(found):
    columns = list(dict.fromkeys(cell.column for cell in found.after.preferred))
    assert columns[0] == EVERY
    assert set(GROUPS) | set(GROUPS.values()) | {"neutral"} == set(columns[1:])
    many = report._columns(found.after.preferred)
    assert {cell.column for cell in many} == {EVERY, "neutral", *GROUPS}
    few = report._columns(found.after.consistency)
    assert {cell.column for cell in few} == {EVERY, "neutral", *GROUPS.values()}
    assert "taken together" in report._filled(found.after.consistency)
    assert "taken together" not in report._filled(found.after.preferred)


def test_a_column_of_several_feelings_holds_all_their_votes(found):
    cells = {(cell.row, cell.column): cell for cell in found.after.preferred}
    for row in dict.fromkeys(row for row, _ in cells):
        alone = [cells[row, feeling].value.n for feeling in GROUPS] + [cells[row, "neutral"].value.n]
        assert cells[row, EVERY].value.n == sum(alone)
        pair = cells[row, "joy, surprise"]
        joy, surprise = cells[row, "joy"].value, cells[row, "surprise"].value
        assert pair.value.n == joy.n + surprise.n
        assert pair.value.value == pytest.approx((joy.value * joy.n + surprise.value * surprise.n) / pair.value.n)


def test_a_cell_shows_value_and_people_or_only_how_many_there_are():
    cells = [Cell("a", "joy", Measured(0.75, n=9), 7), Cell("a", "fear", missing("fewer than 5 people", 4), 4)]
    drawn = figures.heat_map(cells, 0, 1, figures.percent, "name")
    assert "75 %<small>n = 7</small>" in drawn
    assert 'title="9 answers"' in drawn
    assert "&ndash;<small>n = 4</small>" in drawn


def test_cells_are_paler_the_fewer_people_there_are_and_dark_letters_can_be_read():
    def distance(colour):
        return sum(abs(part - middle) for part, middle in zip(colour, figures.MIDDLE, strict=True))

    shades = [distance(figures.colour(0.9, people, 0, 1)) for people in (5, 10, 40)]
    assert shades == sorted(set(shades))
    assert figures.colour(0.5, 40, 0, 1) == figures.MIDDLE
    low, high = (figures.colour(value, 10**6, 0, 1) for value in (-3, 3))
    assert (low, high) == (figures.LOW, figures.HIGH)

    def light(colour):
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ink = light((0x1F, 0x29, 0x33))
    assert min((light(colour) + 0.05) / (ink + 0.05) for colour in (low, high, figures.MIDDLE)) >= 4.5


def test_a_bar_lies_where_its_figure_is():
    drawn = figures.bar(Measured(0.5, 0.0, 1.0), -1, 1, 0)
    assert "left:50.0%;width:50.0%" in drawn
    assert '<b style="left:75.0%">' in drawn
    assert "<i" not in figures.bar(Measured(0.5), -1, 1, 0)
    assert figures.span([Measured(2.0, 1.0, 3.0), missing("x")]) == (-0.5, 3.0)


def test_names_are_written_as_text():
    assert "<b>" not in words(figures.table(["<b>"], [["<b>", 1]]))
    assert "&lt;b&gt;" in figures.table(["<b>"], [["<b>", 1]])


def test_a_pilot_is_called_so(study):
    empty = analyse([], study)
    assert "Pilot." in report.as_html(empty, study, "1.2", "now")
    assert "nothing can be said" in report.as_html(empty, study, "1.2", "now")
    assert stats.PILOT == 10
