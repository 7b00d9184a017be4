"""Laws of sealed files and snapshots: what was acknowledged outlives the disk, what was deleted does not."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cteg.errors import InputError, StudyError
from cteg.settings import Settings
from cteg.study import event_log, models
from cteg.study.database import Database
from cteg.study.models import pseudonym
from cteg.study.store import Store
from tests.study_session import RATER, Study
from tests.test_store import clip


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
    page = sealed.begin()
    for _ in range(3):
        page = sealed.engine.next(RATER, sealed.answer(page).token)
    (token,) = sealed.store.register(RATER, [clip()])
    for score in (2, 4):
        sealed.store.rate(token, RATER, score)
    votes, ratings = sealed.votes(), sealed.store.events()
    sealed.ballot.flag(pseudonym(RATER), "asked to be left out")
    for _ in range(2):
        lose_disk(sealed)
        assert sealed.ballot.flags() == {pseudonym(RATER): "asked to be left out"}
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
    assert caplog.text.count("was left out") == 3


class EventLogCopy:
    """Writes files as another server would have that never committed the sitting."""

    def __init__(self, study: Study, rater: str) -> None:
        self.study, self.rater = study, rater

    def vote_without_sitting(self) -> None:
        with self.study.store.database.begin("") as connection:
            vote = dict(connection.execute(sa.select(models.study_votes)).mappings().one())
        row = vote | {"id": "d" * 32, "sitting": "e" * 32, "trial": "nowhere"}
        self.study.store.database.log.seal(self.rater, "2031", [(models.study_votes, row)])


def rewrite(path, change) -> None:
    """Write a sealed file as another version would have: change its rows, seal them again."""
    content = json.loads(path.read_text())
    for name, row in content["rows"]:
        change(name, row)
    path.write_text(json.dumps({**content, "sha256": event_log._hash(content["rows"])}))


def test_files_of_earlier_versions_are_taken_and_those_of_later_ones_named(sealed, caplog):
    """Before schema 4 clips had no guidance, before schema 2 ratings had no head."""
    sealed.store.rate(
        sealed.store.register(RATER, [dataclasses.replace(clip(), guidance=1.5)])[0], RATER, 3, head="default"
    )
    sealed.store.rate(sealed.store.register(RATER, [clip()])[0], RATER, 4, head="default")
    first, second = sorted(sealed.store.events(), key=lambda event: event.score)
    later, earlier = sorted(
        (sealed.settings.event_log / RATER).iterdir(), key=lambda path: '"score": 4' in path.read_text()
    )
    rewrite(earlier, lambda name, row: row.pop("guidance" if name == "clips" else "head"))
    lose_disk(sealed)
    old = dataclasses.replace(second, guidance=0.0, head="")
    assert sorted(sealed.store.events(), key=lambda event: event.score) == [first, old]
    rewrite(later, lambda name, row: row.update(mood="calm"))
    lose_disk(sealed)
    assert sealed.store.events() == [old]
    assert "knows no column 'mood' of clips" in caplog.text
    later.write_text(later.read_text().replace("clips", "moods"))
    rewrite(later, lambda name, row: row.pop("mood", None))
    rewrite(earlier, lambda name, row: row.pop("seed", None))
    lose_disk(sealed)
    assert sealed.store.events() == []
    assert "lacks the column 'seed' of clips" in caplog.text
    assert "knows no table 'moods'" in caplog.text
    assert event_log._default(models.study_trials.c.expected) is None


def test_a_rating_that_keeps_colliding_is_not_saved(sealed, monkeypatch):
    (token,) = sealed.store.register(RATER, [clip()])
    tries = []

    def collide(*_):
        tries.append(1)
        raise IntegrityError("", {}, Exception())

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_append", collide)
        with pytest.raises(StudyError, match="Not saved"):
            sealed.store.rate(token, RATER, 3)
    assert len(tries) == 3
    sealed.store.rate(token, RATER, 3)


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
