"""kill -9 while raters vote and while votes are uploaded: nothing that was acknowledged is lost, nothing is half there.

`pytest -m slow tests/test_study_kill.py` kills a hundred times.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import httpx
import pytest
import sqlalchemy as sa

from cteg.study import models
from cteg.study.ballot import read_votes
from cteg.study.hub import HubSync
from cteg.study.models import pseudonym
from cteg.study.store import Store
from tests.conftest import free_port
from tests.hub import FakeHub
from tests.study_app import Visitor
from tests.study_lives import Lives, settings_in, short_study

RATERS = 3
COUNTS = pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])


class Persistent(Visitor):
    """A rater who sends every request until it is answered, as the page does, and writes down what was acknowledged."""

    def __init__(self, url: str, is_over: threading.Event) -> None:
        super().__init__(url)
        self.is_over = is_over
        self.acknowledged: list[tuple[int, str, list]] = []
        self.retried = 0

    def send(self, action: str, **fields) -> httpx.Response:
        while True:
            try:
                return super().send(action, **fields)
            except httpx.TransportError:
                self.retried += 1
                time.sleep(0.01)

    def pass_time(self, seconds: float) -> None:
        time.sleep(0.12)  # the longest clip

    def run(self) -> None:
        page = self.consent()
        while page["step"] != "thanks" and not self.is_over.is_set():
            page = self.answer(page)
            again = self.ask("page")  # as after a reload
            assert (again["token"], again["done"]) == (page["token"], page["done"])
            given = [question["answer"] for question in again["questions"]]
            assert given == [question["answer"] for question in page["questions"]]
            following = self.next(page)
            assert following["done"] == page["done"] + 1
            self.acknowledged.append((page["done"], page["token"], given))
            page = following


@COUNTS
def test_no_acknowledged_vote_is_lost_and_none_is_half_there(tmp_path, kills):
    """F1 of the study."""
    chance, is_over = random.Random(7), threading.Event()
    lives = Lives(free_port(), tmp_path)
    lives.begin()
    raters: list[Persistent] = []
    failures: list[BaseException] = []

    def vote() -> None:
        try:
            while not is_over.is_set():  # one sitting after another
                raters.append(Persistent(lives.url, is_over))
                raters[-1].run()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=vote, daemon=True) for _ in range(RATERS)]
    for thread in threads:
        thread.start()
    httpx.Client(transport=httpx.HTTPTransport(retries=50)).post(f"{lives.url}cteg-study/page")  # it is up
    for _ in range(kills):
        wanted = sum(len(rater.acknowledged) for rater in raters) + chance.randint(0, 2)
        while sum(len(rater.acknowledged) for rater in raters) < wanted and not failures:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.2)  # in the middle of whatever happens then
        lives.kill()
        lives.begin()
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    lives.kill()
    lives.close()
    assert failures == []
    assert sum(rater.retried for rater in raters) >= kills / 2
    store = Store(settings_in(tmp_path), "test")
    check(store, raters)
    store.close()
    settings_in(tmp_path).database_file.unlink()  # the sealed files alone hold the same
    for rest in settings_in(tmp_path).data_dir.iterdir():
        rest.unlink()
    again = Store(settings_in(tmp_path), "test")
    check(again, raters)
    again.close()


def check(store: Store, raters: list[Persistent]) -> None:
    votes = {(vote.rater, vote.place): vote for vote in read_votes(store)}
    assert len(votes) == len(read_votes(store))
    acknowledged = [(pseudonym(rater.rater), *noted) for rater in raters for noted in rater.acknowledged]
    assert len(acknowledged) >= 20
    for rater, place, _, given in acknowledged:
        vote = votes[rater, place]
        assert [answer for answer in (vote.fit, vote.natural, vote.variety, vote.score) if answer is not None] == given
    assert len(votes) <= len(acknowledged) + len(raters)  # one may have been on its way for each rater
    with store.database.begin("") as connection:
        claimed = sa.select(models.study_trials.c.token).where(models.study_trials.c.claimed.is_not(None))
        voted = sa.select(models.study_votes.c.trial)
        assert set(connection.execute(claimed).scalars()) == set(connection.execute(voted).scalars())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").first() is None


@COUNTS
def test_an_upload_that_is_killed_leaves_each_vote_once(tmp_path, kills):
    """F2 of the study."""
    from cteg.study.engine import Engine

    chance, hub = random.Random(11), FakeHub()
    store = Store(settings_in(tmp_path), "test")
    engine, raters = Engine(store, short_study()), iter(range(10**6))

    def vote() -> None:
        rater = f"{next(raters):032x}"
        page = engine.consent(rater, "2026-1")
        for _ in range(3):
            engine.report(rater, page.token, [{"kind": "trouble"}])
            page = engine.next(rater, page.token)

    lives = Lives(free_port(), tmp_path, hub.url)
    for number in range(kills):
        if number % 4 == 0:
            vote()
        hub.failure = chance.choice(["", "", "lost reply"])
        lives.begin()
        time.sleep(chance.random() * 0.25)
        lives.kill()
    lives.close()
    hub.failure = ""
    sync = HubSync(store, "owner/ratings", "token", hub.url)
    sync.flush()
    counts = Counter(row["id"] for row in hub.rows())
    assert counts == Counter(vote.id for vote in read_votes(store))
    assert sync.status()["pending"] == 0
    assert hub.commits >= len(hub.files) >= 2
    store.close()
    hub.close()
