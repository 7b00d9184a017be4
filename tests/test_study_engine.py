"""Laws of the vote path: only what was watched, answered and in time is stored, once, and nothing of it is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from cteg.errors import InputError, StudyError
from cteg.settings import Settings
from cteg.study import ballot as ballots
from cteg.study import models, wording
from cteg.study.ballot import Ballot, Event, read_votes
from cteg.study.database import Database, timestamp
from cteg.study.engine import MOST_PER_PAGE, Engine, visible_seconds
from cteg.study.models import pseudonym
from cteg.study.simulate import Clock, Population, make_raters, visit
from cteg.study.store import Store
from tests.study import CONDITIONS, study_without_clips

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
RATER = "a" * 32


class Study:
    """A study with a clock, and its rows as a rater cannot see them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.clock = settings, Clock(START)
        self.stimuli = study_without_clips()
        self.start()

    def start(self) -> None:
        self.store = Store(self.settings, "1.2", self.clock)
        self.engine = Engine(self.store, self.stimuli)
        self.ballot = Ballot(self.store, self.stimuli.study)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def trials(self) -> list:
        with self.store.database.begin("") as connection:
            query = sa.select(models.study_trials).order_by(models.study_trials.c.place, models.study_trials.c.attempt)
            return list(connection.execute(query))

    def truth(self) -> dict:
        return {t.token: (t.left_condition, t.right_condition, t.expected, t.longest) for t in self.trials()}

    def votes(self) -> list:
        return read_votes(self.store, self.stimuli.study)

    def begin(self, rater: str = RATER):
        return self.engine.consent(rater, wording.CONSENT_VERSION, "desktop")

    def watch(self, page, rater: str = RATER):
        self.clock.advance(3)
        clips = [clip for side in page.sides for clip in side]
        return self.engine.report(rater, page.token, [{"kind": "ended", "clip": clip} for clip in clips])

    def answer(self, page, rater: str = RATER):
        page = self.watch(page, rater)
        while not page.complete:
            question = next(question for question in page.questions if question.answer is None)
            page = self.engine.answer(rater, page.token, question.name, question.choices[0][0])
        return page

    def skip_to(self, kind: str, rater: str = RATER):
        """Answer pages until one of a kind (as the database calls it) is shown."""
        page = self.engine.page(rater)  # first: what ran out of time gets a new token here
        kinds = {trial.token: trial.kind for trial in self.trials()}
        while kinds[page.token] != kind:
            page = self.engine.next(rater, self.answer(page, rater).token)
        return page


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
    page = visit(study.engine, study.stimuli, rater, study.clock, study.truth())
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
    events = [{"kind": "ended", "clip": clip} for clip in (0, 1)]
    study.clock.advance(1.0)  # the clips last 2 s
    assert study.engine.report(RATER, page.token, events).unwatched == (0, 1)
    study.clock.advance(1.0)
    assert study.engine.report(RATER, page.token, events).unwatched == ()


def test_an_answer_may_change_until_next_and_every_change_is_kept(study):
    page = study.watch(study.begin())
    for value in ("left", "equal", "right"):
        page = study.engine.answer(RATER, page.token, "fit", value)
    page = study.engine.answer(RATER, page.token, "natural", "cannot_tell")
    assert [question.answer for question in page.questions] == ["right", "cannot_tell"]
    following = study.engine.next(RATER, page.token)
    (vote,) = study.votes()
    assert (vote.fit, vote.natural) == ("right", "cannot_tell")
    trial = next(Ballot.find(study.ballot, RATER, t.token)[0] for t in study.trials() if t.token == page.token)
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
    assert MOST_PER_PAGE == 2000
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


def test_a_second_sitting_or_attempt_that_lost_the_race_is_not_stored(study, monkeypatch):
    page = study.answer(study.begin())
    sitting = study.ballot.sitting(RATER)
    assert study.ballot.open(RATER, "c", "desktop", [], []) == sitting
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
    assert study.ballot.exposure().pairs.total() == 18
    study.clock.advance(4 * 3600)
    assert study.ballot.exposure().pairs.total() == 0
    study.skip_to("pair")
    study.engine.next(RATER, study.answer(study.engine.page(RATER)).token)
    assert study.ballot.exposure().pairs.total() == 1


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


# -- sealed files, snapshots, failures ---------------------------------------------------------------------------------


@pytest.fixture
def sealed(tmp_path):
    running = Study(Settings(data_dir=tmp_path / "data", event_log=tmp_path / "log"))
    yield running
    running.store.close()


def lose_disk(study: Study) -> None:
    study.store.close()
    shutil.rmtree(study.settings.data_dir)
    study.start()


def test_all_is_rebuilt_from_sealed_files(sealed):
    from tests.test_store import clip

    page = sealed.begin()
    for _ in range(3):
        page = sealed.engine.next(RATER, sealed.answer(page).token)
    (token,) = sealed.store.register(RATER, [clip()])
    for score in (2, 4):
        sealed.store.rate(token, RATER, score)
    votes, ratings = sealed.votes(), sealed.store.events()
    lose_disk(sealed)
    assert sealed.votes() == votes
    assert sealed.store.events() == ratings
    again = sealed.engine.page(RATER)
    assert (again.done, again.sentence) == (3, page.sentence)
    sealed.engine.next(RATER, sealed.answer(again).token)
    sealed.restart()  # nothing is missing now
    assert len(sealed.votes()) == 4


def test_a_vote_that_cannot_be_sealed_is_not_acknowledged(sealed, monkeypatch):
    page = sealed.answer(sealed.begin())
    with monkeypatch.context() as patch:
        patch.setattr("cteg.study.event_log.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
        with pytest.raises(StudyError, match="Not saved"):
            sealed.engine.next(RATER, page.token)
    assert sealed.votes() == []
    assert len(list(sealed.settings.event_log.glob("*/*.json"))) == 1  # the sitting
    sealed.engine.next(RATER, page.token)
    assert len(sealed.votes()) == 1


def test_torn_and_foreign_files_are_left_out_and_orphans_too(sealed, caplog):
    sealed.engine.next(RATER, sealed.answer(sealed.begin()).token)
    folder = sealed.settings.event_log / RATER
    whole = sorted(folder.iterdir())[-1]
    (folder / "1-torn.json").write_text(whole.read_text()[:-40])
    (folder / "2-changed.json").write_text(whole.read_text().replace('"left"', '"right"'))
    (folder / "3-other.json").write_text('{"format": 1, "sha256": "x", "rows": [["secrets", {}]]}')
    orphan = EventLogCopy(sealed, "c" * 32)
    orphan.vote_without_sitting()
    lose_disk(sealed)
    assert [vote.fit for vote in sealed.votes()] == ["left"]
    assert caplog.text.count("damaged") == 3


class EventLogCopy:
    """Writes files as another server would have that never committed the sitting."""

    def __init__(self, study: Study, rater: str) -> None:
        self.study, self.rater = study, rater

    def vote_without_sitting(self) -> None:
        with self.study.store.database.begin("") as connection:
            vote = dict(connection.execute(sa.select(models.study_votes)).mappings().one())
        row = vote | {"id": "d" * 32, "sitting": "e" * 32, "trial": "nowhere"}
        self.study.store.database.log.seal(self.rater, "2031", [(models.study_votes, row)])


def test_of_two_files_for_one_vote_the_later_counts(sealed, monkeypatch):
    page = sealed.watch(sealed.begin())
    for question in ("fit", "natural"):
        page = sealed.engine.answer(RATER, page.token, question, "left")
    real = sa.engine.base.RootTransaction.commit

    def fail(transaction):
        monkeypatch.setattr(sa.engine.base.RootTransaction, "commit", real)
        raise sa.exc.OperationalError("", {}, Exception("disk full"))

    real_seal = sealed.store.database.seal

    def seal_then_lose(*args):
        real_seal(*args)
        monkeypatch.setattr(sa.engine.base.RootTransaction, "commit", fail)

    monkeypatch.setattr(sealed.store.database, "seal", seal_then_lose)
    with pytest.raises(StudyError, match="Not saved"):
        sealed.engine.next(RATER, page.token)
    monkeypatch.undo()
    sealed.clock.advance(1)
    sealed.engine.answer(RATER, page.token, "fit", "right")
    sealed.engine.next(RATER, page.token)
    lose_disk(sealed)
    assert [vote.fit for vote in sealed.votes()] == ["right"]


def test_deletion_reaches_the_sealed_files(sealed):
    sealed.engine.next(RATER, sealed.answer(sealed.begin()).token)
    sealed.engine.forget(RATER)
    sealed.engine.forget(RATER)
    lose_disk(sealed)
    assert sealed.votes() == []
    assert list(sealed.settings.event_log.iterdir()) == []


def test_a_snapshot_holds_what_was_committed_while_the_database_is_in_use(sealed, tmp_path):
    sealed.engine.next(RATER, sealed.answer(sealed.begin()).token)
    target = sealed.store.database.snapshot(tmp_path / "copy.sqlite3")
    with sqlite3.connect(target) as copy:
        assert copy.execute("SELECT count(*) FROM study_votes").fetchone() == (1,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.sqlite3"]
    with pytest.raises(InputError, match="exists"):
        sealed.store.database.snapshot(target)
    with pytest.raises(StudyError, match="could not be made"):
        sealed.store.database.snapshot(tmp_path / "missing" / "copy.sqlite3")
    blocked = Database(Settings(data_dir=target / "data"))
    with pytest.raises(StudyError, match="could not be made"):
        blocked.snapshot(tmp_path / "other.sqlite3")


def test_a_missing_driver_is_named(tmp_path, monkeypatch):
    def no_driver(*_, **__):
        raise ModuleNotFoundError(name="psycopg")

    monkeypatch.setattr(sa, "create_engine", no_driver)
    with pytest.raises(StudyError, match="pip install psycopg"):
        Store(Settings(database_url="postgresql+psycopg://localhost/x")).check()


def test_a_clip_goes_out_by_number_only(study):
    page = study.begin()
    for number in (2, -1, "0", None, True):
        with pytest.raises(InputError, match="numbered"):
            study.engine.clip(RATER, page.token, number)
    with pytest.raises(InputError, match="no such clip"):  # this study has none on disk
        study.engine.clip(RATER, page.token, 0)
