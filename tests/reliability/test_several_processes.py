"""Several processes: two apps with one PostgreSQL, two processes that train as one."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import httpx
import pytest

from cteg.study.ballot import Ballot
from cteg.study.design import Exposure, plan
from cteg.study.store import Store
from cteg.study.wording import CONSENT_VERSION
from tests.conftest import free_port
from tests.reliability.harness import (
    ROOT,
    STARTING,
    TEXT,
    AppProcess,
    last_event,
    new_client,
    percentile_95,
    register,
    report,
    timed,
    vote_at,
)
from tests.study_app import make_set
from tests.test_training import corpus, train_arguments  # noqa: F401 - a fixture

# -- two apps, one database --------------------------------------------------------------------------------------------


class Proxy:
    """Hands every connection to the next of several servers, in turn."""

    def __init__(self, ports: list[int]) -> None:
        self.ports, self.count, self.port = ports, 0, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.ports[self.count % len(self.ports)]))
            self.count += 1
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # either side hung up

    def close(self) -> None:
        self._listener.close()


def vote_text(url: str, *values: object) -> tuple[int, str]:
    reply = vote_at(url, *values)
    return reply.status_code, reply.text


@pytest.fixture
def two_apps(study_settings, tmp_path):
    """Two processes with one database behind a proxy; with SQLite they share the data folder."""
    environment = {"CTEG_WEIGHTS": "none"}
    if study_settings.database_url:
        environment["CTEG_DATABASE_URL"] = study_settings.database_url
    else:
        environment["CTEG_DATABASE_URL"] = f"sqlite:///{tmp_path}/shared.sqlite3"
    apps = [AppProcess(tmp_path / str(number), environment) for number in range(2)]
    try:
        proxy = Proxy([int(app.wait_until_up().url.rsplit(":")[-1].strip("/")) for app in apps])
        yield apps, proxy
        proxy.close()
    finally:
        for app in apps:
            app.end()


@pytest.mark.slow
@pytest.mark.parametrize("study_settings", ["sqlite"], indirect=True)
def test_two_apps_with_one_file_store_every_vote_once(two_apps):
    check_votes(*two_apps)


@pytest.mark.postgresql
@pytest.mark.parametrize("study_settings", ["postgresql"], indirect=True)
def test_two_apps_with_one_postgresql_store_every_vote_once(two_apps):
    check_votes(*two_apps)


def check_votes(apps: list[AppProcess], proxy: Proxy) -> None:
    """Every vote is sent to both apps at the same time, and further votes of many come through the proxy."""
    settings, raters = apps[0].settings, [secrets.token_hex(16) for _ in range(20)]
    tokens = {rater: register(settings, rater, 5) for rater in raters}
    times: list[float] = []

    def visit(rater: str) -> list[tuple[str, int]]:
        given = []
        for number, token in enumerate(tokens[rater]):
            event, score = secrets.token_hex(16), 1 + number
            with ThreadPoolExecutor(4) as pool, timed(times):
                urls = [apps[0].url, apps[1].url, proxy.url, proxy.url]
                replies = set(pool.map(lambda url, e=event, s=score, t=token: vote_text(url, t, rater, s, e), urls))
            assert len(replies) == 1
            assert next(iter(replies))[0] == 200
            given.append((event, score))
        return given

    with ThreadPoolExecutor(len(raters)) as pool:
        given = [row for rows in pool.map(visit, raters) for row in rows]
    store = Store(settings)
    stored = Counter((rating.id, rating.score) for rating in store.events())
    store.close()
    assert stored == Counter(given)
    handled = [app.log().count("two ratings of one clip met") for app in apps]
    assert proxy.count == 2 * len(given)
    report(
        "two apps",
        votes=len(given),
        sent=4 * len(given),
        stored=sum(stored.values()),
        met=sum(handled),
        p95_s=percentile_95(times),
    )


@pytest.mark.slow
def test_two_apps_behind_a_proxy_share_sentences_fairly(tmp_path):
    """Visitors who keep their connection get all their faces, and each app performs for half of them."""
    apps = [AppProcess(tmp_path / str(number)) for number in range(2)]
    try:
        for app in apps:
            app.wait_until_ready()
        before = [app.calls_of_the_model() for app in apps]
        proxy = Proxy([int(app.url.rsplit(":", 1)[1].strip("/")) for app in apps])

        def visit(number: int) -> list[str]:
            limits = httpx.Limits(max_connections=1)
            with httpx.Client(base_url=proxy.url, timeout=STARTING, limits=limits) as client:
                events = []
                for seed in (number, 100 + number):
                    asked = client.post("gradio_api/call/generate", json={"data": [TEXT, 4, 1.0, seed]}).json()
                    events.append(last_event(client, f"gradio_api/call/generate/{asked['event_id']}")[0])
                return events

        with ThreadPoolExecutor(12) as pool:
            events = Counter(event for found in pool.map(visit, range(12)) for event in found)
        proxy.close()
        performed = [app.calls_of_the_model() - earlier for app, earlier in zip(apps, before, strict=True)]
    finally:
        for app in apps:
            app.end()
    report("two apps, sentences", complete=events["complete"], first=performed[0], second=performed[1])
    assert events == Counter(complete=24)
    assert performed == [12, 12]


def spread(counts: Counter) -> int:
    return max(counts.values()) - min(counts.values())


@pytest.mark.postgresql
@pytest.mark.parametrize("study_settings", ["postgresql"], indirect=True)
def test_two_apps_with_one_postgresql_share_a_study_fairly(study_settings, tmp_path):
    """Raters who come at the same time, half to either app, are given what they would be given one by one."""
    stimuli = make_set(tmp_path / "stimuli")
    database = {"CTEG_DATABASE_URL": study_settings.database_url, "CTEG_WEIGHTS": "none"}
    environment = {**database, "CTEG_STUDY": str(stimuli.folder), "CTEG_STUDY_ONLY": "1"}
    apps = [AppProcess(tmp_path / str(number), environment) for number in range(2)]
    raters = [secrets.token_hex(16) for _ in range(30)]
    try:
        urls = [app.wait_until_up().url for app in apps]

        def agree(number: int) -> int:
            with new_client(urls[number % 2]) as client:
                fields = {"rater": raters[number], "version": CONSENT_VERSION, "device": "desktop"}
                return client.post("cteg-study/consent", json=fields).status_code

        with ThreadPoolExecutor(10) as pool:
            assert set(pool.map(agree, range(len(raters)))) == {200}
    finally:
        for app in apps:
            app.end()
    store = Store(study_settings)
    with store.database.begin("") as connection:
        shown = Ballot(store, stimuli.study).exposure(connection)
    store.close()
    alone = Exposure()
    for rater in raters:
        for page in plan(stimuli, rater, alone):
            alone.add(page.kind, page.sentence, *page.conditions)
    compared = list(combinations(sorted(stimuli.compared), 2))
    pairs = Counter({pair: shown.pairs["pair", pair] for pair in compared})
    assert pairs.total() == 12 * len(raters)
    assert spread(pairs) <= 1
    everyone = [condition.name for condition in stimuli.conditions]
    rated = Counter({name: sum(n for (other, _), n in shown.singles.items() if other == name) for name in everyone})
    assert spread(rated) <= 1
    together, one_by_one = (
        max(
            spread(Counter({s.id: some.sentences["pair", pair, s.id] for s in stimuli.real_sentences}))
            for pair in compared
        )
        for some in (shown, alone)
    )
    assert together <= one_by_one + 1
    report("two apps share a study", raters=len(raters), pairs=spread(pairs), single=spread(rated), sentence=together)


# -- two processes train -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_along_the_curve_of_one(corpus, tmp_path):  # noqa: F811
    curves = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        # What `accelerate launch` does on machines with GPUs; without them it starts a single process.
        launch = ("-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port()))
        command = [sys.executable, *launch, "-m", "tests.reliability.exact_training"]
        command += [str(argument) for argument in train_arguments(corpus, out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=1800)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count(f"of {processes} processes") == processes
        curves[processes] = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert len(curves[1]) == len(curves[2]) == 12
    gaps = [abs(one["total"] - two["total"]) / one["total"] for one, two in zip(*curves.values(), strict=True)]
    report("two trainers", steps=12, largest_gap=max(gaps), first=curves[1][0]["total"], last=curves[1][-1]["total"])
    assert curves[1][-1]["total"] < curves[1][0]["total"]
    for one, two in zip(*curves.values(), strict=True):
        assert two == pytest.approx(one, rel=0.01, abs=0.01)
