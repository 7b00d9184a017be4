"""Ratings that wait for their turn are written to disk together: all of them or none, and each on its own merits."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy as sa

from cteg.clip import Clip
from cteg.errors import StudyError
from cteg.settings import Settings
from cteg.study import database as databases
from cteg.study.store import NOT_SAVED, Store
from tests.reliability.harness import wait_for

RATER = "a" * 32
PEOPLE = 12


@pytest.fixture
def store(tmp_path):
    store = Store(Settings(data_dir=tmp_path / "data"))
    yield store
    store.close()


@pytest.fixture
def tokens(store):
    return store.register(RATER, [Clip(np.zeros((30, 53), np.float32), seed=seed) for seed in range(PEOPLE)])


def rate_together(store, tokens, raters):
    """Hold the turn until everyone waits, then let go: receipts or what was raised, and how many commits there were."""
    database, commits = store.database, []
    sa.event.listen(database._connected(), "commit", commits.append)

    def rate(token, rater):
        try:
            return store.rate(token, rater, 4, secrets.token_hex(16))
        except (StudyError, UnicodeEncodeError) as error:
            return error

    with ThreadPoolExecutor(len(tokens)) as pool:
        with database._writing:
            found = [pool.submit(rate, *one) for one in zip(tokens, raters, strict=True)]
            wait_for(lambda: len(database._queue) == len(tokens))
        found = [one.result(60) for one in found]
    return found, len(commits)


def test_what_waits_is_written_in_one_transaction(store, tokens):
    receipts, commits = rate_together(store, tokens, [RATER] * PEOPLE)
    assert commits == 1
    assert {(receipt.score, receipt.sequence) for receipt in receipts} == {(4, 1)}
    assert {rating.id for rating in store.ratings()} == {receipt.id for receipt in receipts}


def test_who_is_refused_takes_nobody_along(store, tokens):
    raters = [RATER] * PEOPLE
    raters[3] = "b" * 32  # not theirs
    found, commits = rate_together(store, tokens, raters)
    assert commits == 1
    assert [place for place, one in enumerate(found) if isinstance(one, StudyError)] == [3]
    assert "made for another page" in str(found[3])
    assert len(store.ratings()) == PEOPLE - 1


def test_a_defect_in_one_takes_nobody_along(store, tokens):
    tokens = [*tokens[:3], "\ud800", *tokens[4:]]  # which SQLite's driver cannot encode
    with pytest.raises(UnicodeEncodeError):
        store.rate(tokens[3], RATER, 4)
    found, _ = rate_together(store, tokens, [RATER] * PEOPLE)
    assert [place for place, one in enumerate(found) if isinstance(one, UnicodeEncodeError)] == [3]
    assert len(store.ratings()) == PEOPLE - 1


def test_a_transaction_that_fails_is_acknowledged_to_nobody(store, tokens):
    def refuse(_):
        raise OSError("no space left on device")

    engine = store.database._connected()
    sa.event.listen(engine, "commit", refuse)
    found, _ = rate_together(store, tokens, [RATER] * PEOPLE)
    assert {str(one) for one in found} == {NOT_SAVED}
    sa.event.remove(engine, "commit", refuse)
    assert store.ratings() == []
    store.rate(tokens[0], RATER, 5)  # and it goes on
    assert [rating.score for rating in store.ratings()] == [5]


def test_who_waits_too_long_is_refused_and_not_written_later(store, tokens, monkeypatch):
    monkeypatch.setattr(databases, "MOST_WAITING_SECONDS", 0.05)
    with store.database._writing, pytest.raises(StudyError, match=NOT_SAVED):
        store.rate(tokens[0], RATER, 4)
    store.rate(tokens[1], RATER, 5)
    assert [rating.score for rating in store.events()] == [5]


def test_a_defect_in_one_write_is_acknowledged_to_nobody(store, tokens):
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.database.write(broken, NOT_SAVED)
    assert store.rate(tokens[0], RATER, 2).score == 2
