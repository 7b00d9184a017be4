"""Laws of choosing the best of several faces: one for each request, and every change of mind is kept."""

from __future__ import annotations

import secrets
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cteg.clip import Clip
from cteg.errors import InputError, StudyError
from cteg.settings import Settings
from cteg.study.store import Store

TEXT = "I can't believe you came!"
RATER, OTHER = "a" * 32, "b" * 32


def clips(count: int = 3) -> list[Clip]:
    return [Clip(np.zeros((30, 53), np.float32), text=TEXT, seed=7 + i, weights="w") for i in range(count)]


@pytest.fixture
def store(study_settings):
    store = Store(study_settings, "1.2")
    yield store
    store.close()


def test_a_request_has_one_best_face_and_the_latest_choice_counts(store):
    tokens, others = store.register(RATER, clips()), store.register(RATER, clips(2))
    store.choose(tokens[1], RATER, True, head="amara", text=TEXT)
    store.choose(others[0], RATER, True)
    first, second = store.choices()
    assert (first.sample, first.seed, first.faces) == (1, 8, 3)
    assert (first.head, first.text, first.mode) == ("amara", TEXT, "play")
    assert (second.sample, second.faces, second.text) == (0, 2, None)
    assert store.choose(tokens[2], RATER, True)[1] == 2
    assert [choice.sample for choice in store.choices()] == [2, 0]
    assert [(event.sample, event.sequence, event.is_best) for event in store.choice_events()] == [
        (1, 1, 1),
        (2, 2, 1),
        (0, 1, 1),
    ]


def test_a_choice_can_be_taken_back(store):
    tokens = store.register(RATER, clips())
    store.choose(tokens[1], RATER, True)
    store.choose(tokens[1], RATER, False)
    assert store.choices() == []
    assert len(store.choice_events()) == 2
    assert store.ratings() == []  # choices are no scores


def test_the_same_choice_sent_20_times_at_once_is_stored_once(store):
    tokens, event = store.register(RATER, clips()), secrets.token_hex(16)
    with ThreadPoolExecutor(20) as pool:
        receipts = set(pool.map(lambda _: store.choose(tokens[0], RATER, True, event), range(20)))
    assert receipts == {(event, 1)}
    store.choose(tokens[0], RATER, True)  # says nothing new
    assert len(store.choice_events()) == 1
    with pytest.raises(InputError, match="used for another"):
        store.choose(tokens[1], RATER, True, event)


def test_what_is_malformed_or_not_ones_own_is_refused(store):
    (token,) = store.register(RATER, clips(1))
    for wrong in (None, 1, "yes", 0.5):
        with pytest.raises(InputError):
            store.choose(token, RATER, wrong)
    with pytest.raises(StudyError, match="cannot be rated"):
        store.choose(token, OTHER, True)
    with pytest.raises(InputError, match="does not belong"):
        store.choose(token, RATER, True, text="another sentence")
    assert store.choice_events() == []


def test_choices_are_forgotten_with_their_rater(store):
    for rater in (RATER, OTHER):
        store.choose(store.register(rater, clips())[0], rater, True)
    assert store.forget(RATER) == 1
    assert [choice.rater for choice in store.choices()] == [OTHER]


def test_a_lost_database_is_rebuilt_with_choices_and_what_they_were_chosen_from(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", event_log=tmp_path / "log")
    store = Store(settings)
    tokens = store.register(RATER, clips(4))
    store.choose(tokens[3], RATER, True)
    before = store.choice_events()
    store.close()
    again = Store(replace(settings, data_dir=tmp_path / "elsewhere"))
    assert again.choice_events() == before
    assert before[0].faces == 4
    again.close()


def test_the_database_itself_refuses_what_must_not_be(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    store = Store(settings)
    (token,) = store.register(RATER, clips(1))
    store.choose(token, RATER, True)
    store.close()
    with sqlite3.connect(settings.database_file) as raw:
        raw.execute("PRAGMA foreign_keys = ON")
        for change in ("is_best = 2", "sequence = 0", "clip = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError):
                raw.execute(f"UPDATE choices SET {change}")
