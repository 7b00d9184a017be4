"""The app as a process of its own, spoken to in plain HTTP as anyone could, and what its behaviour is measured with."""

from __future__ import annotations

import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from cteg.clip import Clip
from cteg.settings import Settings
from cteg.study.models import Rating
from cteg.study.store import Store
from tests.conftest import free_port
from tests.reliability.observed_app import PERFORMED

ROOT = Path(__file__).resolve().parents[2]
TEXT = "I can't believe you came!"
JSON = {"Content-Type": "application/json"}
PATIENCE = 120.0
"""Seconds to wait for what should come at once: the machine may be busy with other tests."""
STARTING = 300.0
"""Seconds that the app may take to start on such a machine; on an idle one it takes nine."""


class AppProcess:
    """The app on a port of its own, its data in `folder`.

    Args:
        folder: Empty or what an earlier process left.
        environment: Settings beyond the data folder.
        prefix: Command that the app is started through, such as one that takes privileges away.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.settings = Settings(data_dir=folder / "data", database_url=(environment or {}).get("CTEG_DATABASE_URL"))
        self.log_file = folder / "log"
        self._temporary = folder / "temporary"
        self._temporary.mkdir(exist_ok=True)
        settings = {
            "GRADIO_SERVER_PORT": str(port),
            "CTEG_DATA_DIR": str(self.settings.data_dir),
            "TMPDIR": str(self._temporary),
            "PYTHONPATH": str(ROOT),
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tests.reliability.observed_app"],
                cwd=ROOT,
                env={**os.environ, **settings, **(environment or {})},
                stdout=log,
                stderr=log,
            )
        self.http = new_client(self.url)

    # -- life ----------------------------------------------------------------------------------------------------------

    def wait_until_up(self) -> AppProcess:
        """Wait for the page."""
        wait_for(lambda: self.process.poll() is not None or self._answers(), STARTING)
        assert self.process.poll() is None, self.log()[-2000:]
        return self

    def wait_until_ready(self) -> AppProcess:
        """Wait for page and model."""
        self.wait_until_up()
        wait_for(lambda: self.health()["model"] != "loading", STARTING)
        return self

    def _answers(self) -> bool:
        try:
            return self.http.get("health").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.http.close()

    # -- looking -------------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, str]:
        return self.http.get("health").json()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def calls_of_the_model(self) -> int:
        return self.log().count(PERFORMED)

    def ratings(self) -> list[Rating]:
        """Every rating event that is in the database."""
        store = Store(self.settings)
        try:
            return store.events()
        finally:
            store.close()

    def memory(self) -> float:
        """Resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def processor_seconds(self) -> float:
        """Processor time that the app has taken so far, which other work on the machine changes little."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def open_files(self) -> int:
        return psutil.Process(self.process.pid).num_fds()

    def temporary_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._temporary.rglob("*") if path.is_file())

    # -- asking --------------------------------------------------------------------------------------------------------

    def call(self, name: str, data: list | bytes, headers: dict[str, str] | None = None) -> tuple[str, Any]:
        """Call a named endpoint as the web API describes it: the last event's name and data, or what refused it."""
        body = data if isinstance(data, bytes) else to_json({"data": data})
        reply = self.http.post(f"gradio_api/call/{name}", content=body, headers={**JSON, **(headers or {})})
        if reply.status_code != 200:
            return f"status {reply.status_code}", reply.text
        event, payload = last_event(self.http, f"gradio_api/call/{name}/{reply.json()['event_id']}")
        return event, json.loads(payload)

    def indices(self) -> dict[str, int]:
        """Number of every event of the page, by name."""
        events = self.http.get("config").json()["dependencies"]
        return {event["api_name"]: event["id"] for event in events if event["api_name"]}

    def join(self, index: int, data: list, session: str, **fields: Any) -> httpx.Response:
        """Ask for an event of the page by its number, as the page does."""
        body = to_json({"data": data, "fn_index": index, "session_hash": session, **fields})
        return self.http.post("gradio_api/queue/join", content=body, headers=JSON)

    def messages(self, session: str) -> Iterator[dict]:
        """What the page is told about its events."""
        for line in lines(self.http, "gradio_api/queue/data", {"session_hash": session}):
            if line.startswith("data:"):
                yield json.loads(line[5:])

    def press(self, name: str, data: list, session: str = "", **fields: Any) -> dict:
        """Run an event of the page to its end and return its last message."""
        session = session or secrets.token_hex(5)
        reply = self.join(self.indices()[name], data, session, **fields)
        if reply.status_code != 200:
            return {"success": False, "output": reply.json(), "status": reply.status_code}
        return next(m for m in self.messages(session) if m["msg"] == "process_completed")

    def perform(self, text: str = TEXT, samples: int = 2, seed: int = 7, rater: str = "0" * 32) -> dict:
        """Generate as the page does and return the player's value."""
        message = self.press("generate_for_page", [text, samples, 1.0, seed, 0, rater])
        assert message["success"], message
        return message["output"]["data"][0]

    def rate(self, *values: Any) -> httpx.Response:
        return vote(self.http, *values)


def new_client(url: str, timeout: float = PATIENCE) -> httpx.Client:
    """An HTTP client that uses every connection once: on a busy machine the server may just have closed a kept one."""
    return httpx.Client(base_url=url, timeout=timeout, limits=httpx.Limits(max_keepalive_connections=0))


def vote(
    client: httpx.Client, token: Any, rater: Any, score: Any, event: Any = "", text: Any = "", head: Any = ""
) -> httpx.Response:
    """Rate as the page does; `event` is the id of the vote."""
    fields = {"token": token, "rater": rater, "score": score, "id": event, "text": text, "head": head}
    return client.post("cteg-vote/rate", content=to_json(fields), headers=JSON)


def vote_at(url: str, *values: Any) -> httpx.Response:
    """The same as a visitor who comes for one vote."""
    with new_client(url) as client:
        return vote(client, *values)


def to_json(value: Any) -> bytes:
    """Encode as Python does: NaN, Infinity and lone surrogates are let through."""
    return json.dumps(value).encode()


def lines(
    client: httpx.Client, path: str, params: dict[str, str] | None = None, limit: float = STARTING
) -> Iterator[str]:
    """Read a stream of events line by line: heartbeats keep it open for ever, so the time is limited here."""
    end = time.monotonic() + limit
    with client.stream("GET", path, params=params) as stream:
        for line in stream.iter_lines():
            assert time.monotonic() < end, f"{path} did not end within {limit:.0f} s"
            yield line


def last_event(client: httpx.Client, path: str, limit: float = STARTING) -> tuple[str, str]:
    """Read a stream of events to its end: the name and the data of the last one."""
    event = data = ""
    for line in lines(client, path, limit=limit):
        name, _, value = line.partition(": ")
        event, data = (value, "") if name == "event" else (event, value if name == "data" else data)
    return event, data


def register(settings: Settings, rater: str, count: int) -> list[str]:
    """Record clips as shown to a rater, as the app does, and return their tokens."""
    store = Store(settings, "test")
    try:
        clips = [Clip(np.zeros((30, 53), np.float32), text=TEXT, seed=seed, weights="w") for seed in range(count)]
        return store.register(rater, clips)
    finally:
        store.close()


def wait_for(is_there: Callable[[], bool], limit: float = PATIENCE) -> float:
    """Wait until something is so and return the seconds that it took."""
    began = time.monotonic()
    while not is_there():
        assert time.monotonic() - began < limit, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes."""
    began = time.perf_counter()
    yield
    times.append(time.perf_counter() - began)


def percentile_95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


def report(row: str, **figures: float | int | str) -> None:
    """Print the figures of a row of the table; shown by `pytest -s` or `-rP`."""
    shown = ", ".join(
        f"{name.replace('_', ' ')} {round(value, 3) if isinstance(value, float) else value}"
        for name, value in figures.items()
    )
    print(f"[{row}] {shown}")
