"""Laws of the ratings store: what was acknowledged is there, once, and belongs to who gave it."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cteg.clip import Clip
from cteg.errors import InputError, StudyError
from cteg.settings import Settings
from cteg.study.store import Store, check_score, text_hash

TEXT = "I can't believe you came!"
ROOT = Path(__file__).parent.parent


def clip(seed: int = 7, text: str = TEXT) -> Clip:
    return Clip(np.zeros((30, 53), np.float32), text=text, seed=seed, temperature=0.8, weights="w")


@pytest.fixture
def rater() -> str:
    return secrets.token_hex(16)


only_sqlite = pytest.mark.parametrize("study_settings", ["sqlite"], indirect=True)


@pytest.fixture
def settings(study_settings) -> Settings:
    return study_settings


@pytest.fixture
def store(settings):
    store = Store(settings, "1.2", clock=lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    yield store
    store.close()


def test_a_rating_carries_the_identity_of_its_clip(store, rater):
    tokens = store.register(rater, [clip(7), clip(8)])
    store.rate(tokens[1], rater, 4, text=TEXT, head="amara")
    (rating,) = store.ratings()
    assert rating.head == "amara"
    assert (rating.score, rating.sequence, rating.mode, rating.rater) == (4, 1, "play", rater)
    assert (rating.seed, rating.sample, rating.position, rating.frames) == (8, 1, 1, 30)
    assert (rating.weights, rating.temperature, rating.app_version) == ("w", 0.8, "1.2")
    assert (rating.text, rating.text_sha256) == (TEXT, text_hash(TEXT))
    assert rating.created == "2030-01-02T03:04:05.000Z"


@only_sqlite
def test_the_sentence_is_kept_only_on_request(store, settings, rater):
    (token,) = store.register(rater, [clip()])
    store.rate(token, rater, 2)
    assert store.ratings()[0].text is None
    store.close()
    assert TEXT.encode() not in settings.database_file.read_bytes()


def test_a_change_is_a_new_event_and_the_latest_counts(store, rater):
    (token,) = store.register(rater, [clip()])
    for score in (2, 5, None, 3):
        store.rate(token, rater, score)
    assert [event.score for event in store.events()] == [2, 5, None, 3]
    assert [event.sequence for event in store.events()] == [1, 2, 3, 4]
    assert [rating.score for rating in store.ratings()] == [3]
    store.rate(token, rater, None)
    assert store.ratings() == []


def test_ratings_survive_a_restart(store, settings, rater):
    (token,) = store.register(rater, [clip()])
    store.rate(token, rater, 5)
    store.close()
    again = Store(settings)
    assert [rating.score for rating in again.ratings()] == [5]
    assert again.rate(token, rater, 1).sequence == 2
    again.close()


def test_the_same_rating_sent_50_times_at_once_is_stored_once(store, rater):
    (token,) = store.register(rater, [clip()])
    event = secrets.token_hex(16)
    with ThreadPoolExecutor(50) as pool:
        receipts = list(pool.map(lambda _: store.rate(token, rater, 4, event), range(50)))
    assert set(receipts) == {receipts[0]}
    assert len(store.events()) == 1


def test_concurrent_raters_lose_nothing(store):
    raters = [secrets.token_hex(16) for _ in range(10)]

    def visit(rater: str) -> None:
        for token in store.register(rater, [clip(seed) for seed in range(5)]):
            store.rate(token, rater, 3)
            store.rate(token, rater, 4)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(visit, raters))
    assert len(store.events()) == 100
    assert {rating.score for rating in store.ratings()} == {4}
    assert len(store.ratings()) == 50


def test_two_different_changes_at_once_get_two_places(store, rater):
    (token,) = store.register(rater, [clip()])
    barrier = threading.Barrier(4)

    def change(score: int) -> int:
        barrier.wait()
        return store.rate(token, rater, score).sequence

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, (1, 2, 3, 4))) == [1, 2, 3, 4]


def test_only_the_rater_it_was_made_for_can_rate_a_clip(store, rater):
    (token,) = store.register(rater, [clip()])
    for wrong_token, wrong_rater in ((token, "0" * 32), ("guess", rater), ("", rater), (token + "x", rater)):
        with pytest.raises(StudyError, match="cannot be rated"):
            store.rate(wrong_token, wrong_rater, 3)
    assert store.events() == []


def test_malformed_ratings_are_refused(store, rater):
    (token,) = store.register(rater, [clip()])
    for score in (0, 6, -1, 2.5, "3", True, float("nan"), [4], 10**30):
        with pytest.raises(InputError):
            store.rate(token, rater, score)
    for bad in ("", "short", "G" * 32, None, 7, rater + "0", rater.upper() + "A"):
        with pytest.raises(InputError):
            store.rate(token, bad, 3)
    with pytest.raises(InputError, match="does not belong"):
        store.rate(token, rater, 3, text="another sentence")
    with pytest.raises(InputError):
        store.rate(["x"], rater, 3)
    for head in ("h" * 81, 7, None):
        with pytest.raises(InputError, match="name of a head"):
            store.rate(token, rater, 3, head=head)
    assert store.events() == []
    store.rate(token, rater, 3, head="h" * 80)


def test_an_event_id_belongs_to_one_rating(store, rater):
    first, second = store.register(rater, [clip(1), clip(2)])
    event = secrets.token_hex(16)
    store.rate(first, rater, 3, event)
    with pytest.raises(InputError, match="used"):
        store.rate(second, rater, 3, event)
    with pytest.raises(InputError, match="used"):
        store.rate(first, rater, 4, event)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
def test_a_score_is_1_to_5_or_nothing(score):
    fits = score is None or (type(score) is int and 1 <= score <= 5)
    if fits:
        check_score(score)
    else:
        with pytest.raises(InputError):
            check_score(score)


def test_a_rater_can_be_forgotten(store, rater):
    other = secrets.token_hex(16)
    for who in (rater, other):
        (token,) = store.register(who, [clip()])
        store.rate(token, who, 3)
    assert store.forget(rater) == 1
    assert [rating.rater for rating in store.ratings()] == [other]


@only_sqlite
def test_the_database_itself_refuses_what_must_not_be(store, settings, rater):
    (token,) = store.register(rater, [clip()])
    store.rate(token, rater, 3)
    with sqlite3.connect(settings.database_file) as raw:
        raw.execute("PRAGMA foreign_keys = ON")
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        good = ("b" * 32, token, rater, "play", 2, 4, "v", "t")
        for place, wrong in ((1, "unknown clip"), (3, "mode"), (4, 1), (4, 0), (5, 6)):
            row = [*good[:place], wrong, *good[place + 1 :]]
            with pytest.raises(sqlite3.IntegrityError):
                raw.execute(
                    "INSERT INTO ratings (id, clip, rater, mode, sequence, score, app_version, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )


def test_a_folder_that_cannot_be_written_turns_ratings_off(tmp_path, rater):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    store = Store(Settings(data_dir=blocker / "data"))
    with pytest.raises(StudyError, match="Ratings are off"):
        store.check()
    with pytest.raises(StudyError):
        store.register(rater, [clip()])
    blocker.unlink()
    store.check()  # and it recovers by itself
    store.close()


@only_sqlite
def test_a_failed_write_says_so_and_stores_nothing(store, settings, rater, monkeypatch):
    monkeypatch.setattr("cteg.study.database.BUSY_SECONDS", 0.1)
    (token,) = store.register(rater, [clip()])
    store.close()
    lock = sqlite3.connect(settings.database_file, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(StudyError, match="Not saved"):
        store.rate(token, rater, 3)
    lock.execute("ROLLBACK")
    assert store.events() == []
    assert store.rate(token, rater, 3).sequence == 1


@only_sqlite
def test_a_damaged_file_is_set_aside_unchanged(settings, rater):
    file = settings.database_file
    file.parent.mkdir()
    garbage = b"this was a database once" * 400
    file.write_bytes(garbage)
    store = Store(settings)
    for _ in range(2):
        with pytest.raises(StudyError, match="damaged"):
            store.check()
    (aside,) = file.parent.glob("*.damaged-*")
    assert aside.read_bytes() == garbage
    assert not file.exists()
    Store(settings).check()


@only_sqlite
def test_a_database_of_version_1_is_upgraded_and_keeps_its_ratings(store, settings, rater):
    (token,) = store.register(rater, [clip()])
    store.rate(token, rater, 4, head="amara")
    store.close()
    with sqlite3.connect(settings.database_file) as raw:  # what version 1 lacked
        raw.execute("ALTER TABLE ratings DROP COLUMN head")
        raw.execute("ALTER TABLE clips DROP COLUMN guidance")
        raw.execute("DROP TABLE choices")
        raw.execute("UPDATE schema_versions SET version = 1")
    for _ in range(2):  # the second start finds nothing to do
        again = Store(settings)
        assert [(rating.score, rating.head, rating.guidance) for rating in again.ratings()] == [(4, "", 0.0)]
        again.close()
    again = Store(settings)
    again.rate(token, rater, 5, head="jun")
    assert [(rating.score, rating.head) for rating in again.ratings()] == [(5, "jun")]
    again.choose(token, rater, True)
    assert [choice.is_best for choice in again.choices()] == [1]
    again.close()


@only_sqlite
def test_a_database_of_a_newer_version_is_left_alone(store, settings):
    store.check()
    store.close()
    with sqlite3.connect(settings.database_file) as raw:
        raw.execute("INSERT INTO schema_versions VALUES (999, 'later')")
    with pytest.raises(StudyError, match="newer version"):
        Store(settings).check()


@only_sqlite
def test_any_database_url_is_used(settings, tmp_path, rater):
    elsewhere = replace(settings, database_url=f"sqlite:///{tmp_path}/elsewhere.db")
    store = Store(elsewhere)
    (token,) = store.register(rater, [clip()])
    store.rate(token, rater, 1)
    store.close()
    assert (tmp_path / "elsewhere.db").exists()
    assert not settings.data_dir.exists()


RATE_FOREVER = """
import sys, secrets
from pathlib import Path
import numpy as np
from cteg.clip import Clip
from cteg.settings import Settings
from cteg.study.store import Store

store = Store(Settings(data_dir=Path(sys.argv[1])))
rater = "a" * 32
while True:
    (token,) = store.register(rater, [Clip(np.zeros((1, 53)))])
    print(store.rate(token, rater, 3).id, flush=True)
"""


@only_sqlite
def test_a_killed_process_loses_no_acknowledged_rating(settings):
    command = [sys.executable, "-c", RATE_FOREVER, str(settings.data_dir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.read().split()
    process.wait()
    stored = {event.id for event in Store(settings).events()}
    assert set(acknowledged[:-1]) <= stored  # the last line may have been cut short
    assert len(stored) - len(acknowledged) in (0, 1)


@pytest.mark.postgresql
@pytest.mark.parametrize("study_settings", ["postgresql"], indirect=True)
def test_snapshots_of_a_server_are_left_to_its_own_tools(store, tmp_path):
    with pytest.raises(InputError, match="for postgresql use the tools of that database"):
        store.database.snapshot(tmp_path / "copy")
    assert list(tmp_path.glob("copy*")) == []
