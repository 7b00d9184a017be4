"""Laws of the vote path: only what was watched, answered and in time is stored, once, and nothing of it is lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import combinations

import pytest
import sqlalchemy as sa

from cteg.errors import InputError, StudyError
from cteg.study import ballot as ballots
from cteg.study import models, wording
from cteg.study.ballot import Event
from cteg.study.database import timestamp
from cteg.study.engine import visible_seconds
from cteg.study.models import pseudonym
from cteg.study.simulate import Population, make_raters
from tests.study import CONDITIONS
from tests.study_session import RATER, START, Study, visit


@pytest.fixture
def study(study_settings):
    running = Study(study_settings)
    yield running
    running.store.close()


def test_nothing_is_stored_before_consent(study):
    page = study.engine.page(RATER)
    assert (page.step, page.sentence, page.token) == ("consent", wording.CONSENT, "")
    for bad in ({"version": "old"}, {"version": wording.CONSENT_VERSION, "device": "toaster"}):
        with pytest.raises(InputError):
            study.engine.consent(RATER, **bad)
    with pytest.raises(StudyError, match="does not belong"):
        study.engine.next(RATER, "guess")
    assert study.trials() == []


def test_a_whole_sitting_is_stored_vote_by_vote(study):
    population = Population(dict.fromkeys((c.name for c in CONDITIONS), 0.0))
    (rater,) = make_raters(population, 1, seed=3)
    study.begin(rater.id)
    page = visit(study.engine, rater, study.clock, study.truth())
    assert (page.step, page.done, page.total) == ("thanks", 29, 29)
    votes = study.votes()
    assert [vote.place for vote in votes] == list(range(29))
    assert {vote.check_state for vote in votes if vote.kind == "check"} == {"passed"}
    assert {(vote.rater, vote.device, vote.consent) for vote in votes} == {
        (pseudonym(rater.id), "desktop", wording.CONSENT_VERSION)
    }
    assert all(vote.seconds == pytest.approx(2.4 * vote.longest, abs=0.01) for vote in votes)
    assert all(vote.plays == len(f"{vote.left_clips},{vote.right_clips}".strip(",").split(",")) for vote in votes)
    assert all((vote.score is not None) == (vote.kind == "single") for vote in votes)
    assert all((vote.variety is not None) == (vote.kind == "set") for vote in votes)


def test_a_page_tells_nothing_about_what_made_its_clips(study):
    page = study.begin()
    for _ in range(29):
        shown = json.dumps(asdict(page))
        assert not [c.name for c in CONDITIONS if c.name in shown.replace(page.sentence, "")]
        assert not [stimulus.id for stimulus in study.stimuli.stimuli if stimulus.id in shown]
        assert page.step in ("practice", "pair", "set", "single")  # checks and repeats look like pairs
        page = study.engine.next(RATER, study.answer(page).token)
    assert page.step == "thanks"


def test_questions_come_one_after_the_other_once_all_is_watched(study):
    page = study.begin()
    with pytest.raises(StudyError, match="watch"):
        study.engine.answer(RATER, page.token, "fit", "left")
    study.engine.report(RATER, page.token, [{"kind": "play", "clip": clip} for clip in (0, 1)])
    study.clock.advance(3)
    page = study.engine.report(RATER, page.token, [{"kind": "ended", "clip": 0}])
    assert page.unwatched == (1,)
    with pytest.raises(StudyError, match="watch"):
        study.engine.answer(RATER, page.token, "fit", "left")
    with pytest.raises(StudyError, match="watch"):
        study.engine.next(RATER, page.token)
    page = study.engine.report(RATER, page.token, [{"kind": "ended", "clip": 1}])
    assert [question.name for question in page.questions] == ["fit"]
    with pytest.raises(StudyError, match="before this one"):
        study.engine.answer(RATER, page.token, "natural", "left")
    page = study.engine.answer(RATER, page.token, "fit", "left")
    assert [question.name for question in page.questions] == ["fit", "natural"]
    assert not page.complete
    with pytest.raises(StudyError, match="every question"):
        study.engine.next(RATER, page.token)
    assert study.votes() == []


def test_a_clip_that_ended_before_it_can_have_is_not_watched(study):
    page = study.begin()

    def report(kind: str, *clips: int) -> tuple[int, ...]:
        return study.engine.report(RATER, page.token, [{"kind": kind, "clip": clip} for clip in clips]).unwatched

    study.clock.advance(60)
    assert report("ended", 0, 1) == (0, 1)  # never started
    report("play", 0)
    study.clock.advance(1.0)  # the clips last 2 s
    assert report("ended", 0) == (0, 1)
    report("play", 1)
    study.clock.advance(1.0)
    assert report("ended", 0, 1) == (1,)
    report("play", 0, 1)  # once watched, a clip may be started again
    study.clock.advance(2.0)
    assert report("ended", 1) == ()


def test_an_answer_may_change_until_next_and_every_change_is_kept(study):
    page = study.watch(study.begin())
    for value in ("left", "equal", "right"):
        page = study.engine.answer(RATER, page.token, "fit", value)
    page = study.engine.answer(RATER, page.token, "natural", "cannot_tell")
    assert [question.answer for question in page.questions] == ["right", "cannot_tell"]
    following = study.engine.next(RATER, page.token)
    (vote,) = study.votes()
    assert (vote.fit, vote.natural) == ("right", "cannot_tell")
    trial, _ = study.ballot.find(RATER, page.token)
    changes = [event.data["value"] for event in study.ballot.events(trial) if event.kind == "answer"]
    assert changes == ["left", "equal", "right", "cannot_tell"]
    with pytest.raises(StudyError, match="over"):
        study.engine.answer(RATER, page.token, "fit", "left")
    assert study.engine.next(RATER, page.token).token == following.token  # sent again: nothing new
    assert len(study.votes()) == 1


def test_a_rater_goes_on_where_they_were_after_a_restart(study):
    page = study.answer(study.begin())
    page = study.engine.next(RATER, page.token)
    page = study.engine.answer(RATER, study.watch(page).token, "fit", "equal")
    study.restart()
    again = study.engine.page(RATER)
    assert again == page
    assert study.begin() == page  # consent given twice changes nothing
    assert (again.done, again.questions[0].answer) == (1, "equal")


def test_a_page_that_ran_out_of_time_comes_again_under_a_new_token(study):
    page = study.answer(study.begin())
    study.clock.advance(601)
    with pytest.raises(StudyError, match="expired"):
        study.engine.next(RATER, page.token)
    assert study.votes() == []
    again = study.engine.page(RATER)
    assert again.token != page.token
    assert (again.done, again.sentence, again.unwatched) == (page.done, page.sentence, (0, 1))
    with pytest.raises(StudyError, match="over"):
        study.engine.answer(RATER, page.token, "fit", "left")
    study.engine.next(RATER, study.answer(again).token)
    assert [(vote.place, vote.attempt) for vote in study.votes()] == [(0, 2)]


def test_pages_of_others_and_pages_not_shown_yet_are_refused(study):
    page, other = study.begin(), "b" * 32
    study.begin(other)
    unseen = study.trials()[-1].token
    for rater, token in ((other, page.token), (RATER, unseen), (RATER, "guess")):
        with pytest.raises(StudyError, match="does not belong"):
            study.engine.next(rater, token)
        with pytest.raises(StudyError, match="does not belong"):
            study.engine.answer(rater, token, "fit", "left")
    for token in (None, "", 7, "x" * 65, ["t"]):
        with pytest.raises(InputError, match="token"):
            study.engine.next(RATER, token)
    for rater in ("", "A" * 32, None, 7):
        with pytest.raises(InputError, match="hexadecimal"):
            study.engine.page(rater)
    assert study.votes() == []


def test_answers_and_events_that_do_not_exist_are_refused(study):
    page = study.watch(study.begin())
    wrong = [
        ("fit", "up"),
        ("fit", 1),
        ("fit", None),
        ("score", 3),
        ("variety", "left"),
        ("x", "left"),
        ("fit", ["left"]),
    ]
    for question, value in wrong:
        with pytest.raises(InputError, match="no such answer"):
            study.engine.answer(RATER, page.token, question, value)
    report = study.engine.report
    bad = ["play", {}, {"kind": "vote"}, {"kind": "answer"}, {"kind": "play"}, {"kind": "play", "clip": 2}]
    bad += [{"kind": "play", "clip": True}, {"kind": "play", "clip": -1}, {"kind": "hidden", "extra": 1}, {"kind": []}]
    for event in bad:
        with pytest.raises(InputError):
            report(RATER, page.token, [event])
    for events in ("play", [{"kind": "hidden"}] * 51):
        with pytest.raises(InputError, match="at most 50"):
            report(RATER, page.token, events)
    page = study.skip_to("single")
    page = study.watch(page)
    for score in (0, 6, 2.5, "3", True, None, 3.0):
        with pytest.raises(InputError):
            study.engine.answer(RATER, page.token, "score", score)


def test_events_of_a_page_are_bounded(study, monkeypatch):
    monkeypatch.setattr("cteg.study.engine.MOST_PER_PAGE", 60)
    page = study.begin()
    study.engine.report(RATER, page.token, [{"kind": "seek", "clip": 0}] * 50)
    with pytest.raises(InputError, match="Too much"):
        study.engine.report(RATER, page.token, [{"kind": "seek", "clip": 0}] * 11)


def test_checks_are_judged_and_one_that_could_not_run_is_unknown(study):
    study.begin()
    page = study.skip_to("check")
    assert "please choose 'the" in page.instruction
    page = study.engine.report(RATER, page.token, [{"kind": "trouble"}])
    assert page.complete
    assert page.instruction == wording.TROUBLE_NOTICE
    study.engine.next(RATER, page.token)
    study.skip_to("single")  # always the left: right for one check
    checks = {(vote.check_state, vote.flag, vote.expected) for vote in study.votes() if vote.kind == "check"}
    assert ("unknown", "trouble") in {check[:2] for check in checks}
    answered = next(check for check in checks if check[0] != "unknown")
    assert answered[0] == ("passed" if answered[2] == "left" else "failed")
    assert [vote.fit for vote in study.votes() if vote.flag] == [None]


def test_time_is_counted_while_the_page_is_visible():
    def at(second: float) -> str:
        return timestamp(START + timedelta(seconds=second))

    kinds = [("visible", 1), ("hidden", 2), ("hidden", 3), ("play", 4), ("visible", 10), ("visible", 11)]
    events = [Event(kind, {}, at(second)) for kind, second in kinds]
    assert visible_seconds(at(0), at(20), events) == 12
    assert visible_seconds(at(0), at(20), events[:2]) == 2


def test_the_same_vote_sent_50_times_at_once_is_stored_once(study):
    page = study.answer(study.begin())
    with ThreadPoolExecutor(10) as pool:
        following = list(pool.map(lambda _: study.engine.next(RATER, page.token), range(50)))
    assert len({page.token for page in following}) == 1
    assert len(study.votes()) == 1


def test_consent_sent_many_times_at_once_opens_one_sitting(study):
    barrier = threading.Barrier(4)

    def agree(_: int) -> str:
        barrier.wait()
        return study.begin().token

    with ThreadPoolExecutor(4) as pool:
        tokens = set(pool.map(agree, range(4)))
    assert len(tokens) == 1
    assert len(study.trials()) == 29


def test_a_second_sitting_or_attempt_that_lost_the_race_is_not_stored(study):
    page = study.answer(study.begin())
    sitting = study.ballot.sitting(RATER)
    assert study.ballot.open(RATER, "c", "desktop", lambda _: []) == sitting
    old, _ = study.ballot.find(RATER, page.token)
    study.clock.advance(601)
    again = study.answer(study.engine.page(RATER))
    study.engine.next(RATER, again.token)
    late = replace(old, deadline=timestamp(study.clock.moment + timedelta(minutes=1)))
    answers = {"fit": "left", "natural": "left", "seconds": 1.0, "plays": 0, "seeks": 0, "flag": ""}
    assert study.ballot.vote(RATER, late, answers) is False  # the place is taken by the other attempt
    assert study.ballot.vote(RATER, replace(late, token=again.token), answers) is False  # the trial is
    assert len(study.votes()) == 1


def test_two_windows_that_reopen_a_page_at_once_get_the_same_one(study, monkeypatch):
    study.begin()
    study.clock.advance(601)
    sitting = study.ballot.sitting(RATER)
    tokens = iter(["first", "second"])
    real, nested = ballots._append, []

    def meanwhile(*args):
        real(*args)
        if not nested:  # another server opened it in the same moment
            nested.append(True)
            raise sa.exc.IntegrityError("", {}, Exception())

    monkeypatch.setattr(ballots, "_append", meanwhile)
    monkeypatch.setattr(ballots.secrets, "token_urlsafe", lambda _: next(tokens))
    assert study.ballot.present(sitting).token == "first"


def test_shown_pages_count_until_their_sitting_is_abandoned(study):
    study.begin()
    assert study.exposure().pairs.total() == 18
    study.skip_to("pair")
    study.clock.advance(601)
    study.engine.page(RATER)  # the page has run out of time and has a second trial now
    assert study.exposure().pairs.total() == 18
    study.clock.advance(4 * 3600)
    assert study.exposure().pairs.total() == 0
    study.engine.next(RATER, study.answer(study.engine.page(RATER)).token)
    assert study.exposure().pairs.total() == 1


def test_raters_who_come_at_once_share_the_conditions_as_if_one_came_after_the_other(study):
    raters = [f"{number:032x}" for number in range(9)]
    barrier = threading.Barrier(len(raters))

    def agree(rater: str) -> None:
        barrier.wait()
        study.begin(rater)

    with ThreadPoolExecutor(len(raters)) as pool:
        list(pool.map(agree, raters))
    pairs, singles = study.exposure().pairs, study.exposure().singles
    compared = [tuple(sorted(pair)) for pair in combinations(study.stimuli.compared, 2)]
    shown = [pairs["pair", pair] for pair in compared]
    assert sum(shown) == 12 * len(raters)
    assert max(shown) - min(shown) <= 1
    rated = Counter(condition for (condition, _), count in singles.items() for _ in range(count))
    assert len(rated) == len(study.stimuli.conditions)
    assert max(rated.values()) - min(rated.values()) <= 1


def test_a_rater_can_be_flagged_by_hand_and_is_not_deleted(study):
    study.engine.next(RATER, study.answer(study.begin()).token)
    study.ballot.flag(pseudonym(RATER), "tried it out")
    assert study.ballot.flags() == {pseudonym(RATER): "tried it out"}
    assert len(study.votes()) == 1
    with pytest.raises(StudyError, match="no rater"):
        study.ballot.flag("0" * 16, "x")


def test_a_rater_can_delete_everything(study):
    other = "b" * 32
    for rater in (RATER, other):
        study.engine.next(rater, study.answer(study.begin(rater), rater).token)
    assert study.engine.forget(RATER) == 1
    assert {vote.rater for vote in study.votes()} == {pseudonym(other)}
    assert study.engine.page(RATER).step == "consent"
    with study.store.database.begin("") as connection:
        for table in (models.study_events, models.study_trials):
            rows = connection.execute(sa.select(table.c.sitting).distinct()).all()
            assert len(rows) == 1


def test_the_database_itself_refuses_what_must_not_be(study):
    study.engine.next(RATER, study.answer(study.begin()).token)
    with study.store.database.begin("") as connection:
        good = dict(connection.execute(sa.select(models.study_votes)).mappings().one())
    tokens = [trial.token for trial in study.trials()]
    new = good | {"id": "f" * 32, "trial": tokens[1], "place": 1}
    wrong = [
        {"trial": good["trial"]},
        {"place": 0},
        {"trial": "none"},
        {"fit": "up"},
        {"fit": None},
        {"check_state": "x"},
    ]
    wrong += [{"kind": "single"}, {"kind": "set"}, {"kind": "single", "score": 6}, {"kind": "set", "variety": "x"}]
    for change in wrong:
        with pytest.raises(sa.exc.IntegrityError), study.store.database.begin("") as connection:
            connection.execute(models.study_votes.insert(), new | change)
    with study.store.database.begin("") as connection:
        connection.execute(models.study_votes.insert(), new)


def test_a_clip_goes_out_by_number_only(study):
    page = study.begin()
    for number in (2, -1, "0", None, True):
        with pytest.raises(InputError, match="numbered"):
            study.engine.clip(RATER, page.token, number)
    with pytest.raises(InputError, match="no such clip"):  # this study has none on disk
        study.engine.clip(RATER, page.token, 0)
