"""The app as a user meets it: imports, start, memory, and the page in headless Chromium."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from cteg.errors import InputError
from cteg.ui.examples import EXAMPLES
from training.benchmark.timing import REPEATS

ROOT = Path(__file__).resolve().parents[2]
PLAYER = ".cteg-player"
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking")

WATCH = """
() => new Promise((resolve, reject) => {
  const began = performance.now();
  const player = document.querySelector('.cteg-player');
  let begun = false; // until then the faces of the last press are still there
  const observer = new MutationObserver(() => {
    begun ||= player.dataset.state === 'busy';
    if (!begun || player.dataset.state !== 'ready' || Number(player.dataset.frame) === 0) return;
    observer.disconnect();
    resolve(performance.now() - began);
  });
  observer.observe(player, { attributes: true });
  setTimeout(() => reject(new Error('no moving faces within 60 s')), 60000);
  document.querySelector('#cteg-generate').click();
})
"""
"""Milliseconds from pressing Generate until the faces have moved on from their first frame."""

PACE = """
() => new Promise((resolve) => {
  const player = document.querySelector('.cteg-player');
  const { stage } = player.parentElement.cteg;
  const drawn = stage.framesDrawn, began = performance.now();
  setTimeout(() => {
    const pace = (1000 * (stage.framesDrawn - drawn)) / (performance.now() - began);
    const coefficients = new Float32Array(53), posed = performance.now();
    for (let frame = 0; frame < 20; frame++) {
      stage.clips[0].sample(coefficients, frame);
      stage.rig.pose(coefficients);
    }
    resolve([pace, (performance.now() - posed) / 20]);
  }, 5000);
})
"""
"""Frames a second over five seconds, and milliseconds to work out one face."""


class App:
    """`python app.py` on a free port, with a data folder of its own."""

    def __init__(self, data: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "CTEG_DATA_DIR": data}
        environment |= {"GRADIO_ANALYTICS_ENABLED": "False", "PYTHONPATH": str(ROOT)}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self.wait_for(lambda: self.get("").startswith(b"<!"))
            self.seconds_to_page = time.perf_counter() - began
            self.wait_for(lambda: json.loads(self.get("health"))["model"] == "ready")
            self.seconds_to_model = time.perf_counter() - began
        except BaseException:
            self.stop()
            raise

    def get(self, path: str, timeout: float = 10) -> bytes:
        """Fetch a path of the app."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as reply:  # noqa: S310
            return reply.read()

    def wait_for(self, is_there: Callable[[], bool], limit: float = 120) -> None:
        """Ask every 50 ms until something is there."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            try:
                if is_there():
                    return
            except (urllib.error.URLError, OSError):
                pass
            if self.process.poll() is not None:
                raise InputError("The app stopped while it was starting.")
            time.sleep(0.05)
        raise InputError("The app did not come up in time.")

    def post(self, path: str, values: dict[str, Any]) -> bytes:
        """Send values as JSON."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path, json.dumps(values).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
            return reply.read()

    def generate(self, samples: int) -> None:
        """Perform a sentence through the web API, and wait for the result."""
        event = json.loads(self.post("gradio_api/call/generate", {"data": [EXAMPLES["joy"], samples, 1.0, 7]}))
        if b"event: complete" not in self.get(f"gradio_api/call/generate/{event['event_id']}", 120):
            raise InputError("The app did not perform the sentence.")

    def memory(self) -> float:
        """Resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def stop(self) -> None:
        """End the app and wait for it, without mercy after half a minute."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure_page(app: App, browser: Any, presses: int) -> dict[str, float]:
    """Time from Generate to moving faces, and what travels to the browser."""
    page = browser.new_page(viewport={"width": 1240, "height": 1000})
    sizes: dict[str, int] = {}
    page.on("response", lambda reply: sizes.__setitem__(reply.url, int(reply.headers.get("content-length", 0))))
    page.goto(app.url)
    page.wait_for_selector(f'{PLAYER}[data-state="empty"]')
    figures = {}
    for samples in (1, 4):
        page.fill("#cteg-samples input[type=number]", str(samples))
        page.fill("#cteg-text textarea", EXAMPLES["joy"])
        times = [page.evaluate(WATCH) / 1000 for _ in range(presses + 1)]
        figures[f"Generate to {samples} moving faces, first press (s)"] = times[0]
        figures[f"Generate to {samples} moving faces, later presses, median (s)"] = statistics.median(times[1:])
    figures["head on the wire, once (bytes)"] = max(size for url, size in sizes.items() if ".safetensors" in url)
    page.close()
    return figures


def measure_player(app: App, browser: Any, counts: tuple[int, ...]) -> dict[str, float]:
    """Frames a second that the player draws, and what one of its faces costs, at the page's usual size."""
    figures = {}
    for samples in counts:
        page = browser.new_page(viewport={"width": 1240, "height": 1000})
        page.goto(app.url)
        page.wait_for_selector(f'{PLAYER}[data-state="empty"]')
        page.fill("#cteg-samples input[type=number]", str(samples))
        page.fill("#cteg-text textarea", EXAMPLES["joy"])
        page.press("#cteg-text textarea", "Enter")
        page.wait_for_selector(f'{PLAYER}[data-state="ready"]')
        page.wait_for_timeout(3000)  # until the player has found the sharpness that this computer can draw
        figures[f"frames a second, {samples} faces"], posing = page.evaluate(PACE)
        page.close()
    figures["posing a face (ms)"] = posing
    return figures


IMPORTS = {"numpy": "import numpy", "torch": "import torch", "gradio": "import gradio", "cteg": "import cteg"}


def measure_start(imports: dict[str, str] | None = None) -> dict[str, float]:
    """Seconds that imports and the app's start take, and the memory of the app in three states."""
    figures = {}
    for name, code in (IMPORTS if imports is None else imports).items():
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)  # noqa: S603
        figures[f"python -c 'import {name}' (s)"] = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as data, running_app(data) as app:
        figures["app start to first page (s)"] = app.seconds_to_page
        figures["app start to model ready (s)"] = app.seconds_to_model
        figures["memory, model ready (MB)"] = app.memory()
        app.generate(4)
        figures["memory after a sentence with 4 samples (MB)"] = app.memory()
        for _ in range(10):
            app.generate(8)
        figures["memory after ten more with 8 samples (MB)"] = app.memory()
    return figures


@contextmanager
def running_app(data: str) -> Iterator[App]:
    """The app, stopped at the end whatever happens."""
    app = App(data)
    try:
        yield app
    finally:
        app.stop()


@contextmanager
def browser_at(chromium: Path) -> Iterator[Any]:
    """Headless Chromium that draws in software where there is no graphics card.

    Raises:
        InputError: There is no browser.
    """
    from playwright.sync_api import sync_playwright

    if not chromium.is_file():
        raise InputError(f"There is no browser at {chromium}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def measure_browser(chromium: Path, presses: int = REPEATS, samples: tuple[int, ...] = (1, 4, 8)) -> dict[str, float]:
    """What the page needs until faces move, and how fast it draws them.

    Args:
        chromium: The browser.
        presses: How often Generate is pressed after the first time.
        samples: Numbers of faces to draw.
    """
    with tempfile.TemporaryDirectory() as data, running_app(data) as app, browser_at(chromium) as browser:
        return measure_page(app, browser, presses) | measure_player(app, browser, samples)
