"""The study over HTTP: a small set with clips, the app that shows it, and a rater who sends requests."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa

from cteg import layout
from cteg.clip import Clip
from cteg.face.rig import HEADS_DIR
from cteg.settings import Settings
from cteg.study import make_stimuli, models, wording
from cteg.study.engine import Engine
from cteg.study.stimuli import Condition, StimulusSet, read_sentences
from cteg.study.store import Store
from cteg.ui.server import launch
from cteg.ui.services import GeneratorHandle, Services
from tests.conftest import FakeGenerator, free_port
from tests.study_session import START, Clock

NAMES = ("aurora", "borealis", "cumulus", "mismatched")
CONDITIONS = tuple(
    Condition(name, role, f"made by {name}")
    for name, role in zip(NAMES, ("main", "system", "floor", "control"), strict=True)
)


def make_set(folder: Path, frames: int = 6) -> StimulusSet:
    """A study whose conditions differ in length, size of motion and smoothness: whatever a leak would show."""
    rng = np.random.default_rng(5)

    def clips(place: int) -> list[Clip]:
        shape = (frames + 3 * place, layout.D)
        steady = np.full(shape, 0.05 * (place + 1), np.float32)
        return [Clip(steady + place * rng.random(shape, np.float32) * 0.2) for _ in range(3)]

    sentences = read_sentences()
    known = [sentence.feeling for sentence in sentences]
    sentences = [s for place, s in enumerate(sentences) if known[:place].count(s.feeling) < 4]  # just enough, for speed
    made = {condition: [clips(place) for _ in sentences] for place, condition in enumerate(CONDITIONS)}
    folder.mkdir()
    return make_stimuli.write(sentences, made, folder, 3, {})


class StudyApp:
    """The app with a study, on a port of its own, with a clock that is put forward by hand."""

    def __init__(
        self,
        folder: Path,
        stimuli: StimulusSet,
        is_alone: bool = False,
        clock: Any = None,
        port: int = 0,
        sync: Any = None,
    ) -> None:
        self.clock = clock or Clock(START)
        self.settings = Settings(data_dir=folder, study=stimuli.folder, study_only=is_alone)
        self.stimuli = stimuli
        self.store = Store(self.settings, "test", self.clock)
        study = Engine(self.store, stimuli, "Ada, ada@example.org")
        handle = GeneratorHandle(FakeGenerator)
        head = HEADS_DIR / "default.safetensors"
        self.services = Services(handle, head, self.store, self.settings, "test", study, sync)
        port = port or free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.blocks = launch(self.services, server_name="127.0.0.1", server_port=port, quiet=True)

    def rows(self) -> dict[str, int]:
        """How many rows every table of the study has."""
        tables = (models.study_sittings, models.study_trials, models.study_votes, models.study_events)
        with self.store.database.begin("") as connection:
            return {
                table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
                for table in tables
            }

    def close(self) -> None:
        self.blocks.close(verbose=False)
        self.store.close()


class Visitor:
    """A rater as a browser: every reply is kept."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.rater = secrets.token_hex(16)
        self.client = httpx.Client(base_url=url, timeout=30)
        self.clock = clock
        self.replies: list[tuple[str, httpx.Response, float]] = []

    def send(self, action: str, **fields: Any) -> httpx.Response:
        started = time.perf_counter()
        reply = self.client.post(f"cteg-study/{action}", json={"rater": self.rater, **fields})
        self.replies.append((action, reply, time.perf_counter() - started))
        return reply

    def ask(self, action: str, **fields: Any) -> dict:
        return self.send(action, **fields).raise_for_status().json()

    def consent(self) -> dict:
        return self.ask("consent", version=wording.CONSENT_VERSION, device="desktop")

    def report(self, page: dict, *kinds: str) -> dict:
        clips = [clip for side in page["sides"] for clip in side]
        return self.ask("report", token=page["token"], events=[{"kind": k, "clip": c} for k in kinds for c in clips])

    def watch(self, page: dict) -> dict:
        self.report(page, "play")
        self.pass_time(3)
        return self.report(page, "ended")

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def answer(self, page: dict) -> dict:
        """Watch a page and give the first answer to every question."""
        page = self.watch(page)
        while not page["complete"]:
            question = next(question for question in page["questions"] if question["answer"] is None)
            value = question["choices"][0][0]
            page = self.ask("answer", token=page["token"], question=question["name"], value=value)
        return page

    def next(self, page: dict) -> dict:
        return self.ask("next", token=page["token"])
