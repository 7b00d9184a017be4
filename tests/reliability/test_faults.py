"""Faults of machine, disk and network, F1 to F5 and F7 of `docs/reliability.md`, while visitors play and rate."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from cteg.settings import Settings
from cteg.study.hub import HubSync
from cteg.study.store import Store
from tests.conftest import RunningApp
from tests.hub import FakeHub
from tests.reliability.harness import (
    PATIENCE,
    TEXT,
    AppProcess,
    percentile_95,
    register,
    report,
    timed,
    vote_at,
    wait_for,
)
from tests.reliability.killable import KillableApp, forks, upload

WITHOUT_MODEL = {"CTEG_WEIGHTS": "none"}


# -- F1, F2: killed ----------------------------------------------------------------------------------------------------


def killed_while_voting(folder: Path, kills: int) -> None:
    """Four voters vote without a pause, the app is killed at a random moment, again and again."""
    folder.mkdir()
    app, pick = KillableApp(folder), random.Random(1)
    rater, acknowledged, sent = secrets.token_hex(16), {}, {}

    def keep_voting(token: str, stop: threading.Event) -> None:
        while not stop.is_set():
            event, score = secrets.token_hex(16), pick.randint(1, 5)
            sent[event] = score
            with contextlib.suppress(httpx.TransportError):
                reply = vote_at(app.url, token, rater, score, event)
                if reply.status_code == 200:
                    acknowledged[reply.json()["id"]] = score

    try:
        app.begin_life()
        tokens = register(app.settings, rater, 4)
        for _ in range(kills):
            before, stop = len(acknowledged), threading.Event()
            with ThreadPoolExecutor(4) as pool:
                for token in tokens:
                    pool.submit(keep_voting, token, stop)
                wait_for(lambda before=before: len(acknowledged) >= before + 4)
                time.sleep(pick.uniform(0, 0.1))
                app.kill()
                stop.set()
            app.begin_life()  # and the same raters go on with the same faces
        stored = app.ratings()
        assert vote_at(app.url, tokens[0], rater, 5).status_code == 200
    finally:
        with contextlib.suppress(Exception):
            app.kill()
        app.close()
    by_id = {rating.id: rating.score for rating in stored}
    lost = [event for event in acknowledged if event in sent and event not in by_id]
    assert lost == []
    assert all(by_id[event] == sent[event] for event in by_id if event in sent)
    for clip in {(rating.run, rating.sample) for rating in stored}:
        sequence = [rating.sequence for rating in stored if (rating.run, rating.sample) == clip]
        assert sequence == list(range(1, len(sequence) + 1))
    with contextlib.closing(sqlite3.connect(app.settings.database_file)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    report("F1", kills=kills, acknowledged=len(acknowledged), stored=len(stored), lost=len(lost))


def test_f1_killed_while_voting_loses_no_acknowledged_vote(tmp_path):
    killed_while_voting(tmp_path / "app", kills=2)


@pytest.mark.slow
def test_f1_killed_a_hundred_times(tmp_path):
    killed_while_voting(tmp_path / "app", kills=100)


def killed_while_uploading(settings: Settings, kills: int) -> None:
    """A server that rates and uploads is killed at a random moment; the Hub ends up with every rating once."""
    hub, pick = FakeHub(), random.Random(2)
    try:
        for number in range(kills):
            hub.failure = "lost reply" if number % 3 == 2 else ""
            commits = hub.commits
            server = forks.Process(target=upload, args=(settings, hub.url), daemon=True)
            server.start()
            wait_for(lambda commits=commits: hub.commits > commits)
            time.sleep(pick.uniform(0, 0.05))
            server.kill()
            server.join(PATIENCE)
        hub.failure = ""
        store = Store(settings)
        sync = HubSync(store, "owner/ratings", "hf_secret_token", hub.url)
        wait_for(lambda: not sync.step() and sync.status()["pending"] == 0)
        stored = [rating.id for rating in store.events()]
        store.close()
        assert Counter(row["id"] for row in hub.rows()) == Counter(stored)
        report("F2", kills=kills, ratings=len(stored), rows_on_the_Hub=len(hub.rows()), commits=hub.commits)
    finally:
        hub.close()


def test_f2_killed_during_an_upload_sends_every_rating_once(study_settings):
    killed_while_uploading(study_settings, kills=3)


@pytest.mark.slow
def test_f2_killed_during_forty_uploads(tmp_path):
    killed_while_uploading(Settings(data_dir=tmp_path / "data"), kills=40)


# -- F3, F4: disk and database -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def file_size_limit(app: AppProcess):
    """No file of the process may grow; works for every user, with another errno than a full disk."""
    process = psutil.Process(app.process.pid)
    soft, hard = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    process.rlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full_file_system(app: AppProcess):
    """The file system that holds the data is full to the last byte."""
    filler = app.settings.data_dir / "filler"
    with filler.open("wb") as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"x" * size)
    yield
    filler.unlink()


@contextlib.contextmanager
def small_file_system(folder: Path):
    """A file system of 2 MB at a folder."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def full_disk(app: AppProcess, make_full) -> None:
    """Votes are refused, never acknowledged, while the disk is full; and taken again afterwards."""
    rater = secrets.token_hex(16)
    tokens = register(app.settings, rater, 60)
    assert vote_at(app.url, tokens.pop(), rater, 3).status_code == 200
    with make_full(app):
        replies = [vote_at(app.url, token, rater, 4) for token in tokens[:50]]
        refusals = [reply.json()["error"] for reply in replies if reply.status_code != 200]
        assert set(refusals) == {"Not saved, please try again."}
        assert replies[-1].status_code == 503
        assert app.health()["store"] in ("ok", "off")
    taken = sum(reply.status_code == 200 for reply in replies)  # what still fitted into the last page
    assert sum(rating.rater == rater for rating in app.ratings()) == 1 + taken
    assert vote_at(app.url, tokens[-1], rater, 5).status_code == 200
    assert app.health()["store"] == "ok"
    report("F3", refused=len(refusals), taken_before_it_was_full=taken, stored=taken + 2)


def test_f3_a_full_disk_is_said_and_gotten_over(tmp_path):
    app = AppProcess(tmp_path, WITHOUT_MODEL)
    try:
        full_disk(app.wait_until_up(), file_size_limit)
    finally:
        app.end()


@pytest.mark.slow
def test_f3_a_full_file_system_is_said_and_gotten_over(tmp_path):
    with small_file_system(tmp_path / "data"):
        app = AppProcess(tmp_path, WITHOUT_MODEL)
        try:
            full_disk(app.wait_until_up(), full_file_system)
        finally:
            app.end()


def test_f4_a_folder_that_cannot_be_written_leaves_the_page_up(tmp_path):
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv (util-linux)")
    (tmp_path / "data").mkdir(mode=0o555)
    as_anyone = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.getuid() == 0 else ()
    app = AppProcess(tmp_path, WITHOUT_MODEL, as_anyone)
    try:
        app.wait_until_up()
        health = app.health()
        assert (health["status"], health["store"]) == ("degraded", "off")
        assert app.http.get("").status_code == 200
        reply = vote_at(app.url, "a token", "a" * 32, 3)
        assert reply.status_code == 503
        assert "Not saved" in reply.json()["error"]
        (tmp_path / "data").chmod(0o755)
        assert app.health()["store"] == "ok"
    finally:
        app.end()


def page_without_ratings(app: RunningApp) -> str:
    """Generate as the page does: the faces come, without tokens; returns what the page says."""
    from tests.test_app import page_generate

    value = page_generate(app, "a" * 32)
    assert {clip["token"] for clip in value["clips"]} == {None}
    assert len(value["clips"]) == 2
    return value["notice"]


def test_f4_a_locked_database_is_waited_for_and_then_said(tmp_path, monkeypatch):
    app = RunningApp(tmp_path)
    try:
        app.store.check()
        (token,) = register(app.settings, "a" * 32, 1)
        app.store.close()
        monkeypatch.setattr("cteg.study.database.BUSY_SECONDS", 1)  # 5; a lock of 10 s outlasts both
        with contextlib.closing(sqlite3.connect(app.settings.database_file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert page_without_ratings(app).startswith("Ratings are off")
            reply = vote_at(app.url, token, "a" * 32, 3)
            assert (reply.status_code, reply.json()["error"]) == (503, "Not saved, please try again.")
            other.execute("ROLLBACK")
        assert vote_at(app.url, token, "a" * 32, 3).status_code == 200
        assert [rating.score for rating in app.store.ratings()] == [3]
    finally:
        app.close()


def test_f4_a_corrupt_database_is_set_aside_and_never_overwritten(tmp_path):
    rater = "a" * 32
    settings = RunningApp(tmp_path)
    try:
        (token,) = register(settings.settings, rater, 1)
        settings.store.rate(token, rater, 3)
    finally:
        settings.close()
    file = settings.settings.database_file
    content = b"not a header...." + file.read_bytes()[16:]
    file.write_bytes(content)
    app = RunningApp(tmp_path)
    try:
        assert "set aside" in page_without_ratings(app)
        health = httpx.get(f"{app.url}health", timeout=PATIENCE).json()
        assert (health["status"], health["store"]) == ("degraded", "off")
        assert "set aside" in vote_at(app.url, token, rater, 4).json()["error"]
        (aside,) = file.parent.glob("*.damaged-*")
        assert aside.read_bytes() == content
        assert not file.exists()
    finally:
        app.close()


# -- F5: the Hub -------------------------------------------------------------------------------------------------------

HUB_FAILURES = {401: "401", 403: "403", 429: "429", 500: "500"}
HUB_FAILURES |= dict.fromkeys(("reset", "stall", "no name"), "reached")


@contextlib.contextmanager
def hub_fails(hub: FakeHub, failure: int | str):
    """The Hub fails in one way; nobody knows its name, its address does not answer, or it answers something else."""
    hub.failure = failure
    look_up = socket.getaddrinfo

    def forget(host, *rest, **options):
        if failure == "no name" and rest[0] == hub.server.server_port:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.getaddrinfo", forget)
        yield
    hub.failure = ""


def test_f5_whatever_the_hub_does_votes_are_taken_and_sent_later(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # the client's own waits
    monkeypatch.setattr("cteg.study.hub.TIMEOUT", 0.5)
    app, hub, rater, times = RunningApp(tmp_path), FakeHub(), secrets.token_hex(16), []
    sync = HubSync(app.store, "owner/ratings", "hf_secret_token", hub.url)
    try:
        tokens, given = register(app.settings, rater, 3 * len(HUB_FAILURES)), 0
        for failure, said in HUB_FAILURES.items():
            with hub_fails(hub, failure):
                uploading = threading.Thread(target=sync.flush)
                uploading.start()
                for token in tokens[given : given + 3]:
                    with timed(times):
                        assert vote_at(app.url, token, rater, 3).status_code == 200
                uploading.join(PATIENCE)
                assert not sync.step()
            given += 3
            status = sync.status()
            assert status["pending"] == given
            assert said in status["problem"]
            assert "hf_secret_token" not in status["problem"]
        sync.flush()
        assert Counter(row["id"] for row in hub.rows()) == Counter(rating.id for rating in app.store.ratings())
        assert len(hub.rows()) == given
        report("F5", ways_to_fail=len(HUB_FAILURES), votes=given, vote_p95_s=percentile_95(times))
    finally:
        hub.close()
        app.close()


# -- F7: asked to end --------------------------------------------------------------------------------------------------


def test_f7_asked_to_end_it_finishes_within_ten_seconds_and_keeps_what_it_said(tmp_path):
    app, rater = AppProcess(tmp_path), secrets.token_hex(16)
    acknowledged, stop = [], threading.Event()

    def keep_voting(tokens: list[str]) -> None:
        for token in tokens:
            if stop.is_set():
                return
            with contextlib.suppress(httpx.TransportError):
                reply = vote_at(app.url, token, rater, 3)
                if reply.status_code == 200:
                    acknowledged.append(reply.json()["id"])

    def keep_generating() -> None:
        while not stop.is_set():
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                app.call("generate", [TEXT, 8, 1.0, 7])

    try:
        app.wait_until_ready()
        tokens = register(app.settings, rater, 2000)
        with ThreadPoolExecutor(4) as pool:
            pool.submit(keep_voting, tokens[:1000])
            pool.submit(keep_voting, tokens[1000:])
            pool.submit(keep_generating)
            pool.submit(keep_generating)
            wait_for(lambda: len(acknowledged) >= 4)
            began = time.monotonic()
            app.process.send_signal(signal.SIGTERM)
            code = app.process.wait(PATIENCE)
            seconds = time.monotonic() - began
            stop.set()
        assert code == 0
        assert seconds < 10
        with pytest.raises(httpx.TransportError):
            httpx.get(app.url)
        assert not (app.settings.data_dir / "ratings.sqlite3-wal").exists()  # closed in good order
        stored = {rating.id for rating in app.ratings()}
        assert set(acknowledged) <= stored
        assert "Traceback" not in app.log().partition("stopping")[2]
        report("F7", seconds=seconds, acknowledged=len(acknowledged), lost=len(set(acknowledged) - stored))
    finally:
        stop.set()
        app.end()
