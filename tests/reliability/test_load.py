"""Load, L1 to L6 of `docs/reliability.md`: in small by default, at the stated size with `pytest -m slow -s`.

The figures that the small ones are held to are loose, because a machine that runs tests does other things, too.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.reliability.harness import (
    JSON,
    PATIENCE,
    TEXT,
    AppProcess,
    last_event,
    new_client,
    percentile_95,
    register,
    report,
    timed,
    to_json,
    vote,
    wait_for,
)

# -- L1, L5: votes -----------------------------------------------------------------------------------------------------


def many_vote(app: AppProcess, users: int, votes: int, pause: float = 0) -> None:
    """Everyone votes at the same time, each vote once; every reply must be a receipt for what was sent.

    Without a pause, in seconds, a person's next vote follows the reply at once, as no person's does.
    """
    raters = [secrets.token_hex(16) for _ in range(users)]
    tokens = {rater: register(app.settings, rater, votes) for rater in raters}
    together, times = threading.Barrier(users), []

    def visit(rater: str) -> list[tuple[str, str, int]]:
        given = []
        with new_client(app.url) as client:
            together.wait(PATIENCE)
            for number, token in enumerate(tokens[rater]):
                event, score = secrets.token_hex(16), 1 + number % 5
                with timed(times):
                    reply = vote(client, token, rater, score, event)
                assert reply.status_code == 200, reply.text
                assert reply.json() == {"id": event, "sequence": 1, "score": score}
                given.append((event, rater, score))
                time.sleep(pause)
        return given

    began, before = time.monotonic(), app.processor_seconds()
    with ThreadPoolExecutor(users) as pool:
        given = [row for rows in pool.map(visit, raters) for row in rows]
    seconds, busy = time.monotonic() - began, app.processor_seconds() - before
    stored = Counter((rating.id, rating.rater, rating.score) for rating in app.ratings() if rating.rater in tokens)
    assert stored == Counter(given)
    assert len(stored) == users * votes
    report(
        "L1",
        users=users,
        pause_s=pause,
        votes=len(given),
        stored=len(stored),
        p95_s=percentile_95(times),
        longest_s=max(times),
        seconds=seconds,
        processor_ms_per_vote=1000 * busy / len(given),
    )


def test_l1_votes_of_many_are_all_stored_once(real_app):
    many_vote(real_app, users=10, votes=5)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0, 1])
def test_l1_fifty_users_give_a_thousand_votes(real_app, pause):
    many_vote(real_app, users=50, votes=20, pause=pause)


def test_l5_one_vote_sent_fifty_times_at_once_is_one_row(real_app, rater):
    (token,) = register(real_app.settings, rater, 1)
    event, together = secrets.token_hex(16), threading.Barrier(50)

    def send(_: int) -> str:
        with new_client(real_app.url) as client:
            together.wait(PATIENCE)
            return vote(client, token, rater, 4, event).text

    with ThreadPoolExecutor(50) as pool:
        replies = set(pool.map(send, range(50)))
    assert len(replies) == 1
    assert [(rating.id, rating.score) for rating in real_app.ratings() if rating.rater == rater] == [(event, 4)]


# -- L2, L3: sentences -------------------------------------------------------------------------------------------------


def ask(url: str, seed: int, samples: int) -> str:
    """Ask for faces; return `complete`, or which status refused."""
    with new_client(url, 4 * PATIENCE) as client:
        reply = client.post(
            "gradio_api/call/generate", content=to_json({"data": [TEXT, samples, 1.0, seed]}), headers=JSON
        )
        if reply.status_code != 200:
            assert reply.status_code == 503
            assert "full" in reply.json()["detail"].lower()
            return "refused"
        path = f"gradio_api/call/generate/{reply.json()['event_id']}"
        event, data = last_event(client, path, 10 * PATIENCE)  # a crowd is before it
        assert data.count('"coefficients"') == samples
        return event


def generate_and_vote(app: AppProcess, users: int, rounds: int) -> None:
    """Many generate while others vote: every request ends, and votes do not wait for faces."""
    rater = secrets.token_hex(16)
    tokens, times, ended = register(app.settings, rater, 400), [], threading.Event()

    def visit(user: int) -> list[str]:
        return [ask(app.url, 1000 * user + number, 4) for number in range(rounds)]

    def keep_voting() -> int:
        with new_client(app.url) as client:
            for number, token in enumerate(tokens):
                if ended.is_set():
                    return number
                with timed(times):
                    assert vote(client, token, rater, 3).status_code == 200
                time.sleep(0.1)
        return len(tokens)

    began = time.monotonic()
    with ThreadPoolExecutor(users + 1) as pool:
        voting = pool.submit(keep_voting)
        outcomes = Counter(outcome for found in pool.map(visit, range(users)) for outcome in found)
        ended.set()
        votes = voting.result()
    assert set(outcomes) <= {"complete", "refused"}
    assert outcomes["complete"] >= users * rounds - max(0, users - 32) * rounds
    assert sum(rating.rater == rater for rating in app.ratings()) == votes
    report(
        "L2",
        users=users,
        requests=sum(outcomes.values()),
        complete=outcomes["complete"],
        refused=outcomes["refused"],
        seconds=time.monotonic() - began,
        votes_meanwhile=votes,
        vote_p95_s=percentile_95(times),
    )


def test_l2_votes_do_not_wait_for_faces(real_app):
    generate_and_vote(real_app, users=8, rounds=1)


@pytest.mark.slow
def test_l2_twenty_users_generate_four_faces_each(real_app):
    generate_and_vote(real_app, users=20, rounds=3)


def crowd_arrives(app: AppProcess, people: int, seconds: float) -> None:
    """More come than can be served: a full queue is told at once, the rest is served, health answers all along."""
    stop, states, waits = threading.Event(), Counter(), []

    def watch() -> None:
        with new_client(app.url) as client:
            while not stop.is_set():
                with timed(waits):
                    states[client.get("health").status_code] += 1
                time.sleep(0.2)

    def arrive(number: int) -> str:
        time.sleep(seconds * number / people)
        return ask(app.url, number, 8)

    with ThreadPoolExecutor(people + 1) as pool:
        watching = pool.submit(watch)
        outcomes = Counter(pool.map(arrive, range(people)))
        stop.set()
        watching.result()
    assert set(outcomes) <= {"complete", "refused"}
    assert outcomes["complete"] >= 32
    assert set(states) == {200}
    report(
        "L3",
        arrived=people,
        complete=outcomes["complete"],
        refused=outcomes["refused"],
        health_asked=sum(states.values()),
        health_longest_s=max(waits),
    )


def test_l3_who_comes_to_a_full_queue_is_told(real_app):
    crowd_arrives(real_app, people=45, seconds=0.5)


@pytest.mark.slow
def test_l3_two_hundred_arrive_in_ten_seconds(real_app):
    crowd_arrives(real_app, people=200, seconds=10)


# -- L4: for a long time -----------------------------------------------------------------------------------------------


def soak(app: AppProcess, visits: int, warm_up: int) -> None:
    """Visit after visit with faces, votes, a file and an explanation: nothing may pile up."""
    memory = files = 0.0
    began = time.monotonic()
    for number in range(visits):
        if number == warm_up:
            memory, files = app.memory(), app.open_files()
        rater = secrets.token_hex(16)
        value = app.perform(f"{TEXT} This is visit {number}.", samples=2, seed=number, rater=rater)
        for clip in value["clips"]:
            assert app.rate(clip["token"], rater, 1 + number % 5).status_code == 200
        if number % 5 == 0:
            assert app.press("explain", [value["run"]])["success"]
            wish = {"run": value["run"], "head": "default", "kind": ("npz", "csv", "glb")[number // 5 % 3], "face": 0}
            made = app.press("take_away", [], event_data=wish)
            assert made["success"], made
    growth = app.memory() / memory - 1
    report(
        "L4",
        visits=visits,
        minutes=(time.monotonic() - began) / 60,
        memory_MB=app.memory(),
        growth_after_warm_up=growth,
        open_files=app.open_files(),
        open_files_after_warm_up=files,
        temporary_MB=app.temporary_bytes() / 1e6,
    )
    assert growth < 0.10
    assert app.open_files() <= files + 10
    assert app.temporary_bytes() < 200e6


def test_l4_visits_leave_little_behind(real_app):
    soak(real_app, visits=16, warm_up=11)


@pytest.mark.slow
def test_l4_soak(real_app):
    soak(real_app, visits=600, warm_up=300)  # the clips of 200 runs are kept: then the memory is as full as it gets


# -- L6: clients that leave --------------------------------------------------------------------------------------------


def leave(app: AppProcess, times: int) -> None:
    """Ask as the page does and go away when the faces begin to be made; then somebody else comes."""
    index = app.indices()["generate_for_page"]
    for number in range(times):
        session = secrets.token_hex(5)
        data = [TEXT, 8, 1.0, number, 0, secrets.token_hex(16)]
        wait_for(lambda data=data, session=session: app.join(index, data, session).status_code == 200)
        for message in app.messages(session):
            if message["msg"] in ("process_starts", "process_generating", "process_completed"):
                break  # and with it the connection
    began = time.monotonic()
    event, _ = app.call("generate", [TEXT, 1, 1.0, 7])
    seconds = time.monotonic() - began
    assert event == "complete"
    report("L6", left=times, next_result_after_s=seconds)
    assert seconds < 5


def test_l6_clients_that_leave_free_the_worker(real_app):
    leave(real_app, 10)


@pytest.mark.slow
def test_l6_a_hundred_clients_leave(real_app):
    leave(real_app, 100)
