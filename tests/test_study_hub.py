"""Laws of the copies on the Hub: each row once whatever fails, nothing waits for them, no secret leaves."""

from __future__ import annotations

import secrets
import shutil
from datetime import UTC, datetime
from functools import partial

import pytest
import sqlalchemy as sa

from cteg.settings import Settings
from cteg.study import hub as hubs
from cteg.study.hub import HubSync
from cteg.study.models import pseudonym
from cteg.study.store import Store
from tests.hub import FakeHub
from tests.study_session import Clock
from tests.test_store import clip

TOKEN = "hf_secret_token"


@pytest.fixture
def hub():
    running = FakeHub()
    yield running
    running.close()


@pytest.fixture
def clock():
    return Clock(datetime(2030, 1, 2, tzinfo=UTC))


@pytest.fixture
def store(tmp_path, clock):
    store = Store(Settings(data_dir=tmp_path / "data"), "1.2", clock)
    yield store
    store.close()


@pytest.fixture
def sync(store, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # the client's own waits
    return HubSync(store, "owner/ratings", TOKEN, hub.url)


def rate(store: Store, rater: str = "a" * 32, score: int = 3) -> str:
    (token,) = store.register(rater, [clip()])
    return store.rate(token, rater, score).id


def test_every_row_arrives_once(store, hub, sync, monkeypatch):
    monkeypatch.setattr(hubs, "ROWS", 2)
    ids = [rate(store) for _ in range(5)]
    sync.flush()
    assert sorted(row["id"] for row in hub.rows()) == sorted(ids)
    assert len(hub.files) == 3
    sync.flush()
    assert hub.commits == 3
    assert sync.status() == {"pending": 0, "lag_seconds": 0, "failures": 0, "problem": ""}
    later = rate(store)
    sync.flush()
    assert sorted(row["id"] for row in hub.rows()) == sorted([*ids, later])


def test_no_identity_leaves(store, hub, sync):
    rate(store)
    sync.flush()
    (row,) = hub.rows()
    assert row["rater"] == pseudonym("a" * 32)
    assert "a" * 32 not in str(hub.files)
    assert (row["type"], row["mode"], row["text"]) == ("rating", "play", None)


def test_choices_of_a_best_face_are_sent_as_well(store, hub, sync):
    (token,) = store.register("a" * 32, [clip()])
    choice, _ = store.choose(token, "a" * 32, True)
    sync.flush()
    (row,) = hub.rows()
    assert (row["type"], row["id"], row["rater"], row["is_best"]) == ("choice", choice, pseudonym("a" * 32), 1)


@pytest.mark.parametrize("failure", [401, 403, 429, 500, 503, "stall", "reset"])
def test_failures_are_shown_waited_out_and_recovered_from(store, hub, sync, clock, failure, monkeypatch):
    first = rate(store)
    hub.failure = failure
    if failure == "stall":
        monkeypatch.setattr(hubs, "TIMEOUT", 0.5)
    waits = []
    for _ in range(2):
        assert sync.step() is False
        waits.append(sync.wait())
    clock.advance(600)
    second = rate(store)  # taking ratings goes on
    status = sync.status()
    assert (status["pending"], status["lag_seconds"], status["failures"]) == (2, 600, 2)
    assert (
        str(failure) in status["problem"] if isinstance(failure, int) else "could not be reached" in status["problem"]
    )
    assert TOKEN not in status["problem"]
    assert waits[0] >= hubs.FIRST_WAIT / 2
    if failure == 429:
        assert waits[0] >= 77
    hub.failure = ""
    monkeypatch.setattr(hubs, "TIMEOUT", 30.0)
    sync.flush()
    assert sorted(row["id"] for row in hub.rows()) == sorted([first, second])
    assert sync.wait() == hubs.INTERVAL


def test_no_name_resolution_is_a_failure_like_others(store, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    sync = HubSync(store, "owner/ratings", TOKEN, "http://hub.invalid:1")
    rate(store)
    assert sync.step() is False
    assert "could not be reached" in sync.status()["problem"]
    wrong = HubSync(store, "not a name!", TOKEN, "http://hub.invalid:1")
    wrong.step()
    assert "owner/name" in wrong.status()["problem"]


def test_waits_grow_up_to_a_limit(sync):
    for failures, most in ((1, 15), (2, 30), (5, 240), (30, 1800)):
        sync._failures = failures
        assert most / 2 <= sync.wait() <= most


def test_an_upload_whose_answer_was_lost_gives_no_second_copy(store, hub, sync, tmp_path):
    ids = [rate(store), rate(store)]
    hub.failure = "lost reply"
    assert sync.step() is False
    assert len(hub.rows()) == 2  # it arrived, but nobody here knows
    hub.failure = ""
    again = HubSync(store, "owner/ratings", TOKEN, hub.url)  # as after a crash
    again.flush()
    assert sorted(row["id"] for row in hub.rows()) == sorted(ids)
    assert len(hub.files) == 1


def test_a_missing_dataset_is_made_private(store, hub, sync):
    hub.exists = False
    rate(store)
    sync.flush()
    assert len(hub.rows()) == 1
    assert hub.private in (True, "private")


def test_deleted_rows_are_not_sent_and_sent_ones_are_withdrawn(store, hub, sync):
    gone, kept, sent = "a" * 32, "b" * 32, "c" * 32
    rate(store, gone)
    store.forget(gone)
    rate(store, sent)
    sync.flush()
    rate(store, kept)
    store.forget(sent)
    sync.flush()
    rows = hub.rows()
    assert {row["rater"] for row in rows if row["type"] == "rating"} == {pseudonym(kept), pseudonym(sent)}
    assert [row["rater"] for row in rows if row["type"] == "withdrawal"] == [pseudonym(sent)]


def test_rows_deleted_while_their_shard_is_under_way_are_taken_back(store, hub, sync):
    rater = secrets.token_hex(16)
    rate(store, rater)
    hub.failure = "lost reply"
    sync.step()
    store.forget(rater)
    hub.failure = ""
    sync.flush()
    assert [row["type"] for row in hub.rows()] == ["withdrawal"]


def test_a_shard_that_was_emptied_before_it_was_sent_is_not_sent(store, hub, sync):
    rate(store)
    sync._next_shard()
    store.forget("a" * 32)
    sync.flush()
    assert hub.files == {}
    assert sync.status()["pending"] == 0


def test_it_runs_in_the_background_and_flushes_when_stopped(store, hub, sync):
    sync.start()
    ids = [rate(store) for _ in range(3)]
    sync.stop()
    assert sorted(row["id"] for row in hub.rows()) == sorted(ids)


def test_a_database_that_is_rebuilt_sends_no_row_again(tmp_path, clock, hub, monkeypatch):
    """The disk is lost between two uploads, and once more while one is under way."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    folder = tmp_path / "data"
    store = Store(Settings(data_dir=folder, event_log=tmp_path / "log"), "1.2", clock)
    sync = HubSync(store, "owner/ratings", TOKEN, hub.url)

    send = sync._upload

    def send_for_a_second(*args) -> None:
        clock.advance(1)
        send(*args)

    monkeypatch.setattr(sync, "_upload", send_for_a_second)

    def lose_disk() -> None:
        store.close()
        shutil.rmtree(folder)

    ids = [rate(store), rate(store, "b" * 32)]
    sync.flush()
    lose_disk()
    assert sync.status()["pending"] == 0
    sync.flush()
    assert hub.commits == 1
    ids.append(rate(store, "c" * 32))
    hub.failure = "reset"
    sync.flush()
    lose_disk()
    hub.failure = None
    sync.flush()
    assert sorted(row["id"] for row in hub.rows()) == sorted(ids)
    store.forget("a" * 32)
    lose_disk()
    sync.flush()
    assert [row["rater"] for row in hub.rows() if row["type"] == "withdrawal"] == [pseudonym("a" * 32)]
    store.close()


def test_rows_that_another_server_took_in_the_same_moment_are_left_to_it(store, hub, sync, monkeypatch):
    rate(store)
    hub.failure = "reset"
    sync.flush()
    hub.failure = None
    monkeypatch.setattr(sync, "_next_shard", partial(_blind, sync, monkeypatch))
    sync.flush()
    assert sync.status()["problem"] == "Another server is sending the same ratings."
    assert hub.rows() == []
    sync.stop()  # it was never started


def _blind(sync: HubSync, monkeypatch) -> str | None:
    """Look for the next shard as before the other server had noted its own."""
    with monkeypatch.context() as patch:
        patch.setattr(hubs, "_in_no_shard", lambda *_: sa.true())
        patch.setattr(hubs.SHARDS.c.uploaded, "is_", lambda _: sa.false())
        return HubSync._next_shard(sync)
