"""Laws of the assignment: balanced, blind, reproducible, connected."""

from collections import Counter
from itertools import combinations

import pytest

from cteg.errors import StudyError
from cteg.study import design
from cteg.study.design import Exposure, plan
from cteg.study.models import pseudonym
from tests.study import CONDITIONS, study_without_clips

RATERS = [pseudonym(str(number)) * 2 for number in range(12)]


@pytest.fixture(scope="module")
def study():
    return study_without_clips()


@pytest.fixture(scope="module")
def plans(study):
    exposure, plans = Exposure(), []
    for rater in RATERS:
        plans.append(plan(study, rater, exposure))
        for page in plans[-1]:
            exposure.add(page.kind, page.sentence, *page.conditions)
    return plans


def test_a_sitting_has_the_pages_of_the_protocol(plans):
    wanted = {"practice": 2, "pair": 16, "repeat": 2, "check": 2, "set": 2, "single": 5}
    for pages in plans:
        assert Counter(page.kind for page in pages) == wanted
        assert [page.kind for page in pages[:2]] == ["practice"] * 2
        assert [page.kind for page in pages[-7:]] == ["set"] * 2 + ["single"] * 5
        assert sum("mismatched" in page.conditions for page in pages if page.kind == "pair") == design.CONTROLS


def test_a_rater_sees_a_sentence_once_but_for_repeats(plans):
    for pages in plans:
        sentences = [page.sentence for page in pages if page.kind != "repeat"]
        assert len(set(sentences)) == len(sentences)


def test_repeats_show_the_same_clips_on_the_other_side_after_a_while(plans):
    for pages in plans:
        repeats = [(place, page) for place, page in enumerate(pages) if page.kind == "repeat"]
        assert len({page.repeats for _, page in repeats}) == 2
        for place, page in repeats:
            original = pages[page.repeats]
            assert original.kind == "pair"
            assert place - page.repeats > design.REPEAT_GAP
            assert (page.left, page.right) == (original.right, original.left)
            assert page.conditions == original.conditions[::-1]


def test_checks_ask_for_either_side_and_are_spread(plans):
    for pages in plans:
        checks = [(place, page.expected) for place, page in enumerate(pages) if page.kind == "check"]
        assert {expected for _, expected in checks} == {"left", "right"}
        assert checks[1][0] - checks[0][0] >= 2
    assert {next(p.expected for p in pages if p.kind == "check") for pages in plans} == {"left", "right"}


def test_pairs_of_conditions_meet_about_equally_often(plans, study):
    met = Counter(frozenset(p.conditions) for pages in plans for p in pages if p.kind == "pair")
    counts = [met[frozenset(pair)] for pair in combinations(study.compared, 2)]
    assert max(counts) - min(counts) <= 1
    sets = Counter(frozenset(p.conditions) for pages in plans for p in pages if p.kind == "set")
    assert max(sets.values()) - min(sets.values()) <= 1


def test_sides_do_not_tell_the_condition(plans):
    for name in ("cteg", "shuffled frames", "mismatched"):
        sides = Counter(p.conditions.index(name) for pages in plans for p in pages if name in p.conditions[:2])
        assert 0.3 < sides[0] / sides.total() < 0.7


def test_a_rater_sees_all_feelings(plans, study):
    for pages in plans:
        seen = Counter(study.by_sentence[page.sentence].feeling for page in pages if page.kind == "pair")
        assert len(seen) >= 6
        assert max(seen.values()) <= 5


def test_single_clips_are_shared_between_raters(plans):
    rated = Counter(page.left[0] for pages in plans for page in pages if page.kind == "single")
    assert sum(count >= 2 for count in rated.values()) >= 0.7 * len(rated)
    assert max(rated.values()) <= design.SHARED
    conditions = Counter(page.conditions[0] for pages in plans for page in pages if page.kind == "single")
    assert max(conditions.values()) - min(conditions.values()) <= 1


def test_a_new_clip_is_of_the_feeling_that_its_condition_has_least_of(study):
    """Otherwise cells of the heat map would fill by chance: 40 raters, 200 single clips, 42 cells."""
    exposure, cells = Exposure(), Counter()
    for number in range(40):
        for page in plan(study, pseudonym(f"rater {number}") * 2, exposure):
            exposure.add(page.kind, page.sentence, *page.conditions)
            if page.kind == "single":
                cells[page.conditions[0], study.feelings[page.sentence]] += 1
    assert len(cells) == len(study.conditions) * 7
    assert max(cells.values()) - min(cells.values()) <= design.SHARED


def test_sets_are_three_clips_of_one_condition(plans, study):
    for page in (page for pages in plans for page in pages if page.kind == "set"):
        for side, condition in zip((page.left, page.right), page.conditions, strict=True):
            assert len(set(side)) == 3
            assert {study.by_id[clip].condition for clip in side} == {condition}


def test_a_plan_depends_on_seed_rater_and_exposure_alone(study):
    first = plan(study, RATERS[0], Exposure())
    assert plan(study, RATERS[0], Exposure()) == first
    assert plan(study, RATERS[1], Exposure()) != first
    assert plan(study_without_clips(seed=2), RATERS[0], Exposure()) != first


def test_a_study_without_control_is_possible():
    pages = plan(study_without_clips(CONDITIONS[:2]), RATERS[0], Exposure())
    assert sum(page.kind == "pair" for page in pages) == 16


def test_too_little_to_show_is_said(study):
    with pytest.raises(StudyError, match="sentences"):
        plan(study_without_clips(sentences=study.sentences[:20]), RATERS[0], Exposure())
    with pytest.raises(StudyError, match="two conditions"):
        plan(study_without_clips(CONDITIONS[:1]), RATERS[0], Exposure())
    few = [s for s in study.stimuli if s.sample == 0]
    with pytest.raises(StudyError, match="3 clips"):
        plan(type(study)(study.study, 1, study.sentences, study.conditions, tuple(few)), RATERS[0], Exposure())
