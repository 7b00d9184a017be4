"""Pictures of the page: `python -m training.screens OUT`, and those of the README with `--readme`.

Starts the app as a user would and visits it in headless Chromium at the widths of a phone, a tablet and a desktop,
light and dark: every state that a person can meet becomes a picture, to be looked at; the study's, too, where one is
given. With reduced motion the player rests on a telling frame, so that pictures are alike from run to run.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from cteg.errors import InputError
from cteg.ui.examples import EXAMPLES
from training.benchmark.app import FLAGS, PLAYER, App
from training.common import plain_errors

SIZES = {360: 740, 768: 1024, 1440: 900}
"""Width -> height of the window, pixels."""

THEMES = ("light", "dark")
HOST = f"document.querySelector('{PLAYER}').parentElement.cteg"
NO_WEBGL = "HTMLCanvasElement.prototype.getContext = () => null"
FILM_STYLE = """
  .cteg-player :is(.heads, .detail, .question, .looks, .best, .seed, .number, .progress) { display: none !important; }
  .cteg-player .sentence { padding: 14px 0 10px; font-size: 27px; text-align: center; width: 100%; }
"""
STUDY = ".cteg-study"
PATIENCE = 180_000
"""Milliseconds for each step; a busy machine needs many."""

EVERY = 2
"""Of the 25 frames of a second, every second one goes into the README's moving picture."""


def visit(browser: Any, app: App, width: int, theme: str, script: str = "") -> Any:
    """Open the page and wait for the player."""
    page = browser.new_page(
        viewport={"width": width, "height": SIZES.get(width, 1000)}, color_scheme=theme, reduced_motion="reduce"
    )
    page.set_default_timeout(PATIENCE)
    if script:
        page.add_init_script(script)
    page.goto(app.url)
    page.wait_for_selector(f'{PLAYER}:is([data-state="empty"], [data-state="unavailable"])', state="attached")
    return page


def perform(page: Any, text: str, samples: int = 4) -> None:
    """Have a sentence performed and wait for the faces."""
    page.fill("#cteg-samples input[type=number]", str(samples))
    page.fill("#cteg-text textarea", text)
    page.click("#cteg-generate")
    page.wait_for_selector(f'{PLAYER}[data-state="ready"]')


def states(page: Any) -> Iterator[str]:
    """Lead a fresh page through its states, giving the name of each."""
    yield "empty"
    page.click("#cteg-generate")
    page.get_by_text("Please type a sentence first").wait_for()
    yield "error"
    page.reload()
    page.get_by_role("tab", name="About").click()
    yield "about"
    page.get_by_role("tab", name="Create").click()
    page.route("**/queue/join*", lambda _: None)  # the answer never comes
    page.fill("#cteg-text textarea", EXAMPLES["joy"])
    page.click("#cteg-generate")
    page.wait_for_selector(f'{PLAYER}[data-state="busy"]')
    yield "loading"
    page.unroute("**/queue/join*")
    page.reload()
    page.wait_for_selector(f'{PLAYER}[data-state="empty"]')
    perform(page, EXAMPLES["joy"])
    yield "result"
    for face, score in ((0, "4"), (1, "5")):
        page.locator(".face").nth(face).get_by_role("radio", name=score).click()
    page.locator(".best").nth(1).click()
    page.get_by_text("3 ratings from you so far").wait_for()
    yield "rated"
    for face in (1, 3):
        page.get_by_role("button", name=f"Compare face {face}").click()
    page.get_by_role("button", name="Captions").click()
    yield "compared"
    page.get_by_role("button", name="All faces", exact=True).click()
    page.get_by_role("button", name="Why do they look like this?").click()
    page.locator("#cteg-actions .legendtext").first.wait_for()
    yield "why"


def study_states(page: Any, app: App) -> Iterator[str]:
    """Lead a page through the beginning of the study, giving the name of each state."""
    page.goto(f"{app.url}study")
    page.wait_for_selector(f'{STUDY}[data-state="consent"]')
    yield "study_consent"
    page.locator(f"{STUDY} .text button").first.click()
    page.wait_for_selector(f'{STUDY}[data-state="ready"][data-loaded="true"]')
    yield "study_pair"


def draw_states(browser: Any, app: App, out: Path, widths: list[int], themes: list[str], has_study: bool) -> None:
    """Write one picture for every state, width and theme."""
    for width, theme in ((width, theme) for width in widths for theme in themes):
        page = visit(browser, app, width, theme)
        for state in states(page):
            shoot(page, out / f"{state}_{width}_{theme}.png")
        for state in study_states(page, app) if has_study else ():
            shoot(page, out / f"{state}_{width}_{theme}.png")
        page.close()
        page = visit(browser, app, width, theme, NO_WEBGL)
        shoot(page, out / f"no_webgl_{width}_{theme}.png")
        perform(page, EXAMPLES["joy"], samples=2)
        page.wait_for_selector(f'{PLAYER}[data-film="shown"]')
        page.wait_for_function("document.querySelector('.film video').readyState >= 2")
        shoot(page, out / f"film_{width}_{theme}.png")
        page.close()


def shoot(page: Any, path: Path) -> None:
    """Write a picture of the whole page, with nothing in focus."""
    page.evaluate("document.activeElement?.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)  # for what fades
    page.screenshot(path=path, full_page=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    note = "" if width <= page.viewport_size["width"] else f"  wider than the window: {width}"
    typer.echo(f"{path}{note}")


def draw_readme(browser: Any, app: App, out: Path, text: str) -> None:
    """Write the README's pictures: the page, light and dark, and faces that move."""
    for theme, sentence in (("light", EXAMPLES["joy"]), ("dark", EXAMPLES["fear"])):
        page = visit(browser, app, 1240, theme)
        perform(page, sentence)
        page.evaluate("document.activeElement?.blur()")
        page.wait_for_timeout(400)
        bottom = page.evaluate("document.querySelector('.controls').getBoundingClientRect().bottom + scrollY")
        clip = {"x": 0, "y": 0, "width": 1240, "height": bottom + 24}
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
        picture.save(out / f"page_{theme}.webp", quality=86, method=6)
        page.close()
    page = visit(browser, app, 1000, "light")
    perform(page, text)
    page.add_style_tag(content=FILM_STYLE)
    frames = list(film(page))
    rest = [1000 * EVERY // 25] * (len(frames) - 1) + [900]
    path = out / "faces.webp"
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=rest, loop=0, quality=84, method=6, minimize_size=True
    )
    page.close()
    typer.echo(f"{path}: {len(frames)} frames, {path.stat().st_size / 1e6:.2f} MB")


def film(page: Any) -> Iterator[Image.Image]:
    """Draw the frames of what the player shows, without its controls."""
    page.evaluate("document.activeElement?.blur()")
    top = page.evaluate("document.querySelector('.sentence').getBoundingClientRect().top + scrollY")
    bottom = page.evaluate("document.querySelector('.window').getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": top, "width": 1000, "height": bottom - top + 8}
    last = page.evaluate(f"{HOST}.clock.frames") - 1
    for frame in range(0, last + 1, EVERY):
        page.evaluate(f"{HOST}.setFrame({frame})")
        picture = page.screenshot(full_page=True, clip=clip)
        yield Image.open(io.BytesIO(picture)).convert("RGB")


@contextmanager
def browsing(chromium: Path) -> Iterator[tuple[App, Any]]:
    """Start the app and a browser for it."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        app = App(data)
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            yield app, browser
        finally:
            browser.close()
            app.stop()


@plain_errors
def main(
    out: Annotated[Path, typer.Argument(help="folder for the pictures")],
    is_readme: Annotated[bool, typer.Option("--readme", help="only the README's pictures")] = False,
    sentence: Annotated[str, typer.Option(help="what the README's moving faces say")] = EXAMPLES["joy"],
    widths: Annotated[
        list[int] | None, typer.Option("--width", help=f"only these of {', '.join(map(str, SIZES))}")
    ] = None,
    themes: Annotated[list[str] | None, typer.Option("--theme", help=f"only these of {', '.join(THEMES)}")] = None,
    study: Annotated[Path | None, typer.Option(help="folder of a study's stimuli, to show its pages, too")] = None,
    chromium: Annotated[Path, typer.Option(help="the browser")] = Path("/usr/bin/chromium"),
) -> None:
    """Draw the page."""
    if not chromium.is_file():
        raise InputError(f"There is no browser at {chromium}.")
    if not set(widths or ()) <= SIZES.keys() or not set(themes or ()) <= set(THEMES):
        raise InputError(f"There are the widths {', '.join(map(str, SIZES))} and the themes {', '.join(THEMES)}.")
    out.mkdir(parents=True, exist_ok=True)
    if study is not None:
        os.environ["CTEG_STUDY"] = str(study.absolute())  # the app that is started reads it
    with browsing(chromium) as (app, browser):
        if is_readme:
            draw_readme(browser, app, out, sentence)
        else:
            draw_states(browser, app, out, widths or list(SIZES), themes or list(THEMES), study is not None)


if __name__ == "__main__":
    typer.run(main)
