"""How fast and how large: `python -m training.benchmark`.

Starts the app as a user would, drives it in headless Chromium (software rendering where there is no GPU) and prints a
table; `--out` writes it as JSON with the machine's description.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import cteg
from cteg import layout, sampling
from cteg.checkpoint import BUNDLED
from cteg.errors import InputError
from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG
from cteg.model.released import ReleasedConfig, ReleasedCTEG
from cteg.ui.examples import EXAMPLES
from training.common import plain_errors

ROOT = Path(__file__).resolve().parent.parent
PLAYER = ".cteg-player"
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking")
REPEATS = 5

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


def median_seconds(action: Callable[[], Any]) -> float:
    """Median time of an action after one run to warm up."""
    action()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure_generator() -> dict[str, float]:
    """Times of the generator alone, and the size of what it loads."""
    began = time.perf_counter()
    generator = cteg.load()
    figures = {"load the weights (s)": time.perf_counter() - began}
    text = EXAMPLES["joy"]
    figures["encode the sentence (s)"] = median_seconds(lambda: generator.encoder.encode([text]))
    for samples in (1, 4, 8):
        name = f"generate {samples} samples (s)"
        figures[name] = median_seconds(lambda samples=samples: generator.generate(text, samples=samples, seed=7))
    figures["generate 4 samples, uncached (s)"] = median_seconds(
        lambda: generator.generate(text, samples=4, seed=7, is_cached=False)
    )
    clip = generator.generate(text, samples=1, seed=7)[0]
    figures["frames of the first sample"] = len(clip)
    files = [path for path in BUNDLED.parent.rglob("*") if path.is_file()]
    figures["weights in all (MB)"] = sum(path.stat().st_size for path in files) / 1e6
    return figures


# -- decoding at the paper's size --------------------------------------------------------------------------------------

PAPER_FRAMES, PAPER_SEQUENCES, PAPER_TOKENS, PAPER_PADDING = 254, 4, 12, 128


@torch.inference_mode()
def measure_decoding(
    frames: int = PAPER_FRAMES, rounds: int = 3, changes: dict[str, int] | None = None
) -> dict[str, float]:
    """Seconds that decoding takes at the paper's size with random weights, and the same as ratios.

    Four sequences of 254 frames of one sentence of 12 tokens, which the ways that recompute all pad to 128, as the
    released code does. The ways take turns, and the shortest of the rounds counts, so that other work on the machine
    disturbs the ratios less.

    Args:
        frames: To write.
        rounds: How often each way is timed; those that recompute all, once.
        changes: Other sizes, for tests.
    """
    torch.manual_seed(0)
    sizes = {"hidden_size": 768, "heads": 12, "feed_forward_size": 2048} | (changes or {})
    size = sizes["hidden_size"]
    padded = torch.randn(1, PAPER_PADDING, size)
    real = torch.arange(PAPER_PADDING)[None] < PAPER_TOKENS
    seeds = list(range(PAPER_SEQUENCES))
    paper = CTEGConfig.paper(space="flame", stop="norm", stop_norm=0.0, max_frames=frames)
    ours = CTEG(dataclasses.replace(paper, text_size=size, latent_size=size, **sizes)).eval()
    config = ReleasedConfig(**sizes, layers=1, positions=frames + 2, writes_first_frame=False, max_frames=frames)
    released = ReleasedCTEG(config).eval()
    matrices = step_matrices(ours)
    inputs = {width: torch.randn(PAPER_SEQUENCES, width) for width in {matrix.shape[1] for matrix in matrices}}

    def multiply() -> None:
        for _ in range(frames):
            for matrix in matrices:
                torch.nn.functional.linear(inputs[matrix.shape[1]], matrix)

    def decode(model: CTEG | ReleasedCTEG, is_cached: bool) -> Callable[[], Any]:
        tokens = PAPER_TOKENS if is_cached else PAPER_PADDING
        return lambda: sampling.sample(model, padded[:, :tokens], real[:, :tokens], seeds, 1.0, is_cached=is_cached)

    ways = {
        "matrix products of cached decoding alone": multiply,
        "cached": decode(ours, True),
        "reference mode": decode(released, True),
        "reference mode, full prefix as released": decode(released, False),
        "full prefix": decode(ours, False),
    }
    times = dict.fromkeys(ways, math.inf)
    for turn in range(rounds):
        for name, action in ways.items():
            if turn == 0 or "prefix" not in name:
                began = time.perf_counter()
                action()
                times[name] = min(times[name], time.perf_counter() - began)
    figures = {f"{PAPER_SEQUENCES} x {frames} frames, {name} (s)": seconds for name, seconds in times.items()}
    products, cached, reference, as_released, full = times.values()
    return figures | {
        "cached: times faster than full prefix": full / cached,
        "cached: times its matrix products": cached / products,
        "reference mode: times faster than as released": as_released / reference,
    }


def step_matrices(model: CTEG) -> list[torch.Tensor]:
    """Random matrices (out, in) of the shapes that one cached step of a shared sentence multiplies by."""
    config = model.config
    size, folded = config.hidden_size, config.heads * PAPER_TOKENS
    attention, text = [(3 * size, size), (size, size)], [(folded, size), (size, folded)]
    feed_forward = [(config.feed_forward_size, size), (size, config.feed_forward_size)]
    ends = [(size, layout.D), (layout.D, size), (1 + 2 * config.latent_size, size), (size, size), (1, size)]
    return [torch.randn(shape) for shape in (*attention, *text, *attention, *text, *feed_forward, *ends)]


# -- the app -----------------------------------------------------------------------------------------------------------


class App:
    """`python app.py` on a free port, with a data folder of its own."""

    def __init__(self, data: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "CTEG_DATA_DIR": data}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_for(lambda: self.get("").startswith(b"<!"))
        self.seconds_to_page = time.perf_counter() - began
        self.wait_for(lambda: json.loads(self.get("health"))["model"] == "ready")
        self.seconds_to_model = time.perf_counter() - began

    def get(self, path: str) -> bytes:
        """Fetch a path of the app."""
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:  # noqa: S310
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

    def stop(self) -> None:
        """End the app and wait for it."""
        self.process.terminate()
        self.process.wait(30)


def measure_page(app: App, browser: Any) -> dict[str, float]:
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
        times = [page.evaluate(WATCH) / 1000 for _ in range(REPEATS + 1)]
        figures[f"Generate to {samples} moving faces, first press (s)"] = times[0]
        figures[f"Generate to {samples} moving faces, later presses, median (s)"] = statistics.median(times[1:])
    figures["head on the wire, once (bytes)"] = max(size for url, size in sizes.items() if ".safetensors" in url)
    page.close()
    return figures


def measure_player(app: App, browser: Any) -> dict[str, float]:
    """Frames a second that the player draws, and what one of its faces costs, at the page's usual size."""
    figures = {}
    for samples in (1, 4, 8):
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


def measure_app(chromium: Path) -> dict[str, float]:
    """Start the app and use it."""
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        app = App(data)
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            found["app start to first page (s)"] = app.seconds_to_page
            found["app start to model ready (s)"] = app.seconds_to_model
            found |= measure_page(app, browser) | measure_player(app, browser)
        finally:
            browser.close()
            app.stop()
    return found


@plain_errors
def main(
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    chromium: Annotated[Path, typer.Option(help="the browser")] = Path("/usr/bin/chromium"),
    is_decoding_only: Annotated[
        bool, typer.Option("--decoding-only", help="only decoding at the paper's size, no browser needed")
    ] = False,
) -> None:
    """Measure and print a table."""
    if not is_decoding_only and not chromium.is_file():
        raise InputError(f"There is no browser at {chromium}.")
    found = measure_decoding()
    if not is_decoding_only:
        found |= measure_generator() | measure_app(chromium)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    typer.echo(machine)
    for name, value in found.items():
        typer.echo(f"{name:60} {value:12.3f}")
    if out:
        out.write_text(json.dumps({"machine": machine, "figures": found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
