"""Shared fixtures: an app with a fake generator, started once per run, and a browser to look at it."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cteg import layout, sampling
from cteg.clip import Clip
from cteg.sampling import check_settings
from cteg.sentences import split_sentences
from cteg.settings import Settings
from cteg.text import check_text

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

CHROMIUM = os.environ.get("CTEG_TEST_CHROMIUM", "/usr/bin/chromium")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class FakeGenerator:
    """Performs any sentence with a known motion: the jaw opens and closes, each seed smiles to its own degree."""

    name = "fake-weights"

    def __init__(self) -> None:
        self.calls = 0
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.next_part = threading.Event()  # closed, a longer text stays at its first part
        self.next_part.set()

    def generate(
        self, text: str, samples: int = 4, temperature: float = 1.0, seed: int = 7, guidance: float = 0.0
    ) -> list[Clip]:
        *_, clips = self.stream(text, samples, temperature, seed, guidance)
        return clips

    def stream(
        self, text: str, samples: int = 4, temperature: float = 1.0, seed: int = 7, guidance: float = 0.0
    ) -> Iterator[list[Clip]]:
        text, settings = check_text(text), check_settings(samples, temperature, seed, guidance)
        self.calls += 1
        self.open_gate.wait(20)
        if "explode" in text:
            raise RuntimeError("secret detail /etc/passwd")
        for part in range(1, len(split_sentences(text)) + 1):
            yield [self._clip(text, settings, settings.seed + index, part) for index in range(settings.samples)]
            self.next_part.wait(20)

    def read_feelings(self, text: str) -> dict[str, float]:
        return {"joy": 0.5, "love": 0.25, "<b>fear</b>": 0.125, **{f"feeling {i}": 0.025 for i in range(5)}}

    def _clip(self, text: str, settings: sampling.Settings, seed: int, parts: int) -> Clip:
        frames = 20 + 5 * (seed % 3)
        arc = np.sin(np.linspace(0, np.pi, frames))
        coefficients = np.zeros((frames, layout.D), dtype=np.float32)
        for side in ("Left", "Right"):
            coefficients[:, layout.INDEX[f"mouthSmile{side}"]] = arc * (
                0.3 + 0.1 * (seed % 7) + 0.03 * settings.guidance
            )
            coefficients[:, layout.INDEX[f"browOuterUp{side}"]] = arc
        coefficients[:, layout.INDEX["jawOpen"]] = 0.3 * arc
        coefficients = np.tile(coefficients, (parts, 1))
        return Clip(coefficients, layout.FPS, "open", text, seed, settings.temperature, self.name, settings.guidance)


class RunningApp:
    """The app on a port of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        from cteg.face.rig import HEADS_DIR
        from cteg.study.store import Store
        from cteg.ui.server import launch
        from cteg.ui.services import GeneratorHandle, Services

        self.settings = Settings(data_dir=folder, **settings)
        self.generator = FakeGenerator()
        self.store = Store(self.settings, "test")
        handle = GeneratorHandle(lambda: self.generator)
        self.services = Services(handle, HEADS_DIR / "default.safetensors", self.store, self.settings, "test")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.blocks = launch(self.services, server_name="127.0.0.1", server_port=port, quiet=True)

    def close(self) -> None:
        self.blocks.close(verbose=False)
        self.store.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> Any:
    """A PostgreSQL server: the one that CTEG_TEST_POSTGRESQL names, whose database is emptied, or one of our own."""
    from tests import study

    if "postgresql" not in request.config.option.markexpr:
        pytest.skip("run with pytest -m postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if os.environ.get("CTEG_TEST_POSTGRESQL"):
        yield os.environ["CTEG_TEST_POSTGRESQL"]
        return
    if study.binaries() is None:
        pytest.skip("there is no PostgreSQL server; apt-get install postgresql, or set CTEG_TEST_POSTGRESQL")
    with tempfile.TemporaryDirectory(prefix="cteg-postgresql-") as folder, study.postgresql(Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def study_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty database, of each kind that the ratings are tested with."""
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path / "data")
    import sqlalchemy as sa

    url = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return Settings(data_dir=tmp_path / "data", database_url=url)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = RunningApp(tmp_path_factory.mktemp("data"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser() -> Any:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; set CTEG_TEST_CHROMIUM")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, app: Any) -> Any:
    """Opens pages of the app, each in a browser session of its own."""
    from tests.pages import Page

    pages = []

    def open_page(**context: Any) -> Page:
        pages.append(Page(browser, app.url, **context))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
