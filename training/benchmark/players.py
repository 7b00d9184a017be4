"""The player against what Gradio offers otherwise, with the same clips of the same head in headless Chromium.

| way | what it is |
|---|---|
| `player` | the page of this app, with a generator that hands out the clips at once |
| `plotly` | `gr.Plot` of one `Mesh3d` per face; Gradio leaves out a figure's frames, so that a script adds them |
| `Model3D` | one `gr.Model3D` per face, each with its `.glb` |

A face counts as drawn when WebGL is asked for a mesh of its size, whoever asks: the same few lines count for all three.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import cteg
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.rig import HEADS_DIR, Rig
from cteg.settings import Settings
from cteg.study.store import Store
from cteg.ui.server import launch
from cteg.ui.services import GeneratorHandle, Services
from training.benchmark.app import PLAYER, browser_at
from training.benchmark.files import sample_clip

PATIENCE = 180
"""Seconds until the first frame after which a way counts as not showing anything."""

COUNT_DRAWS = """
(() => {
  const contexts = new Map(), least = 3000; // entries of a mesh that can be a face
  let tick = 0;
  const next = () => { tick += 1; requestAnimationFrame(next); };
  requestAnimationFrame(next);
  const note = (context) => {
    const seen = contexts.get(context) ?? { meshes: 0, tick: -1, times: [] };
    contexts.set(context, seen);
    seen.meshes += 1;
    if (seen.tick !== tick) { seen.times.push(performance.now()); seen.tick = tick; }
  };
  for (const kind of [WebGLRenderingContext, WebGL2RenderingContext]) {
    for (const [name, place] of [['drawElements', 1], ['drawArrays', 2]]) {
      const draw = kind.prototype[name];
      kind.prototype[name] = function (...values) {
        if (values[place] > least) note(this);
        return draw.apply(this, values);
      };
    }
  }
  window.countDraws = {
    shows: (number, meshes) => [...contexts.values()].filter((seen) => seen.meshes >= meshes).length >= number,
    times: () => [...contexts.values()].map((seen) => seen.times),
    clear: () => contexts.clear(),
  };
})();
"""

PRESS = """
([button, contexts, meshes]) => new Promise((resolve) => {
  window.countDraws.clear();
  const began = performance.now();
  const look = () => {
    if (window.countDraws.shows(contexts, meshes)) resolve(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
  document.querySelector(button).click();
})
"""
"""Milliseconds from a press of a button until every context has drawn its faces."""

FOLLOW = """
([contexts, wanted, limit]) => new Promise((resolve) => {
  const began = performance.now();
  const look = () => {
    const times = window.countDraws.times();
    const isEnough = times.filter((some) => some.length > wanted).length >= contexts;
    if (isEnough || performance.now() - began > 1000 * limit) resolve(times);
    else setTimeout(look, 50);
  };
  look();
})
"""
"""When each context drew a frame, in milliseconds: more than a wanted number each, unless a limit in seconds is up."""

LIMIT = 60
"""Seconds that the faces are followed at most."""

FEWEST = 4
"""Frames that a context draws at least if it is to count as playing."""

TIMING = {"frame": {"duration": 40, "redraw": True}, "transition": {"duration": 0}, "mode": "immediate"}
ADD_FRAMES = f"""
async (frames) => {{
  while (window.firstFrame === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  const plot = document.querySelector(".js-plotly-plot");
  await Plotly.addFrames(plot, frames);
  window.countDraws.clear();
  Plotly.animate(plot, null, {json.dumps(TIMING)});
  window.isPlaying = true;
}}
"""


@dataclass(frozen=True)
class Way:
    """How faces are shown: by which button, in how many WebGL contexts of how many meshes, and when they move."""

    name: str
    serve: Callable[[Sequence[Clip], Rig, Path], Any]
    button: str
    contexts: int
    meshes: int
    moving: str = "true"


class Shelf:
    """A generator that hands out clips that are there already."""

    name = "shelf"

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = list(clips)

    def generate(self, *_: Any, **__: Any) -> list[Clip]:
        """Return the clips."""
        return self.clips

    def stream(self, *_: Any, **__: Any) -> Iterator[list[Clip]]:
        """Yield the clips."""
        yield self.clips

    def to(self, _: str) -> Shelf:
        """Stay."""
        return self

    def read_feelings(self, _: str) -> dict[str, float]:
        """Read nothing."""
        return {}


def serve_player(clips: Sequence[Clip], rig: Rig, folder: Path) -> gr.Blocks:
    """The app with the clips on the shelf."""
    settings = Settings(data_dir=folder)
    shelf, store = GeneratorHandle(lambda: Shelf(clips)), Store(settings, "benchmark")
    services = Services(shelf, HEADS_DIR / f"{rig.name}.safetensors", store, settings, "benchmark")
    return launch(services, server_name="127.0.0.1", quiet=True)


def serve_plotly(clips: Sequence[Clip], rig: Rig, folder: Path) -> gr.Blocks:
    """A page with a button that shows the clips as a figure and plays it."""

    def show() -> tuple[go.Figure, list[dict[str, Any]]]:
        figure = plotly_figure(clips, rig)
        frames, figure.frames = json.loads(figure.to_json())["frames"], []
        return figure, frames

    with gr.Blocks(analytics_enabled=False) as blocks:
        button, plot, frames = gr.Button("Show", elem_id="show"), gr.Plot(), gr.JSON(visible=False)
        shown = button.click(show, None, [plot, frames], api_name=False)
        shown.success(None, frames, None, js=ADD_FRAMES, api_name=False)
    return _launch(blocks)


def plotly_figure(clips: Sequence[Clip], rig: Rig) -> go.Figure:
    """One scene per clip, with all its frames."""
    figure = make_subplots(1, len(clips), specs=[[{"type": "mesh3d"}] * len(clips)])
    posed = [rig.vertices(clip) for clip in clips]  # each (T, V, 3)
    i, j, k = rig.triangles.T
    for place, vertices in enumerate(posed, start=1):
        x, y, z = vertices[0].T
        figure.add_trace(go.Mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, vertexcolor=rig.color), 1, place)
    figure.frames = [
        go.Frame(
            data=[go.Mesh3d(x=x, y=y, z=z) for x, y, z in (vertices[frame].T for vertices in posed)],
            traces=list(range(len(clips))),
        )
        for frame in range(min(len(clip) for clip in clips))
    ]
    return figure


def serve_models(clips: Sequence[Clip], rig: Rig, folder: Path) -> gr.Blocks:
    """A page with a button that shows every clip in a viewer of Gradio's."""
    paths = [str(cteg.export.to_glb(clip, rig, folder / f"{place}.glb")) for place, clip in enumerate(clips)]
    with gr.Blocks(analytics_enabled=False) as blocks:
        button = gr.Button("Show", elem_id="show")
        with gr.Row():
            viewers = [gr.Model3D() for _ in clips]
        shown = paths if len(paths) > 1 else paths[0]  # Gradio takes no list for a single output
        button.click(lambda: shown, None, viewers, api_name=False)
    return _launch(blocks, allowed_paths=[str(folder)])


def _launch(blocks: gr.Blocks, **options: Any) -> gr.Blocks:
    blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, **options)
    return blocks


def measure_players(chromium: Path, frames: int = 64, faces: int = 4) -> dict[str, float]:
    """Bytes, time to the first frame and frames a second of every way, and what the others take of the player's.

    What comes after the press are the clips, and for the others the code of their viewer, which Gradio fetches with the
    first of them; the player's code and head come with the page.

    Args:
        chromium: The browser.
        frames: Length of the clips.
        faces: How many clips, 1...8.
    """
    ways = (
        Way("player", serve_player, "#cteg-generate", 1, faces),
        Way("plotly", serve_plotly, "#show", faces, 1, "window.isPlaying"),
        Way("Model3D", serve_models, "#show", faces, 1),
    )
    rig, clips = cteg.load_rig(), [sample_clip(frames, seed) for seed in range(7, 7 + faces)]
    found: dict[str, dict[str, float]] = {}
    with browser_at(chromium) as browser:
        for way in ways:
            with tempfile.TemporaryDirectory() as folder, _served(way, clips, rig, Path(folder)) as url:
                found[way.name] = watch_way(browser, url, way, frames // 2)
    figures = {f"{way}: {name}": value for way, values in found.items() for name, value in values.items()}
    for name, values in found.items():
        if name != "player":
            for key in ("bytes after the press (MB)", "first frame (s)"):
                figures[f"{name} takes times the player, {key}"] = values[key] / found["player"][key]
            pace = found["player"]["frames a second"] / values["frames a second"]
            figures[f"the player draws times as many frames as {name}"] = pace
    return figures


@contextmanager
def _served(way: Way, clips: Sequence[Clip], rig: Rig, folder: Path) -> Iterator[str]:
    blocks = way.serve(clips, rig, folder)
    try:
        yield blocks.local_url
    finally:
        blocks.close(verbose=False)


def count_bytes(page: Any) -> dict[str, int]:
    """Bytes that a page receives, by request, counted from now on; of streams that have not ended those that came."""
    sizes: dict[str, int] = defaultdict(int)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def received(event: dict[str, Any]) -> None:
        sizes[event["requestId"]] += event["dataLength"]

    def finished(event: dict[str, Any]) -> None:
        sizes[event["requestId"]] = int(event["encodedDataLength"])  # compressed, with headers

    session.on("Network.dataReceived", received)
    session.on("Network.loadingFinished", finished)
    return sizes


def watch_way(browser: Any, url: str, way: Way, frames: int) -> dict[str, float]:
    """Open the page, press the button, and follow that many frames: half a clip, because plotly stops at its end.

    Raises:
        InputError: It showed nothing that moves, so that there is nothing to compare.
    """
    from playwright.sync_api import TimeoutError as TooLate

    page = browser.new_page(viewport={"width": 1240, "height": 1000})
    page.set_default_timeout(1000 * PATIENCE)
    page.add_init_script(COUNT_DRAWS)
    sizes = count_bytes(page)
    page.goto(url)
    page.wait_for_selector(way.button)
    if way.name == "player":
        page.wait_for_selector(f'{PLAYER}[data-state="empty"]')
        page.fill("#cteg-samples input[type=number]", str(way.meshes))
        page.fill("#cteg-text textarea", "Hello.")
    page.wait_for_timeout(1000)
    before = sum(sizes.values())
    try:
        page.evaluate(f"window.pressed = ({PRESS})({[way.button, way.contexts, way.meshes]!r}); null")
        page.evaluate("window.pressed.then((time) => { window.firstFrame = time; }); null")
        page.wait_for_function("window.firstFrame !== undefined")
        page.wait_for_function(way.moving)
    except TooLate as error:
        raise InputError(f"{way.name} showed nothing within {PATIENCE} s.") from error
    first = page.evaluate("window.firstFrame") / 1000
    times = page.evaluate(FOLLOW, [way.contexts, frames, LIMIT])
    sent = sum(sizes.values()) - before
    page.close()
    return {
        "bytes of the page (MB)": before / 1e6,
        "bytes after the press (MB)": sent / 1e6,
        "first frame (s)": first,
        "frames a second": pace(times, way),
    }


def pace(times: Sequence[Sequence[float]], way: Way) -> float:
    """Frames a second of a context, on average over them, by the median time from one to the next: the player rests.

    Args:
        times: When each context drew a frame, in milliseconds.
        way: What drew them.

    Raises:
        InputError: A context drew next to nothing.
    """
    if len(times) < way.contexts or min(map(len, times)) < FEWEST:
        raise InputError(f"{way.name} drew {[len(some) for some in times]} frames: too few to time.")
    return statistics.mean(1000 / statistics.median(np.diff(some).tolist()) for some in times)
