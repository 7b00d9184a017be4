"""Links that restore a result, and the code that makes it again, in a real browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import cteg
from cteg.face.heads import bundled_heads
from tests.pages import ROOT, Page

pytestmark = pytest.mark.browser

TEXT = 'She said "no" & 50% left + 1, naïve?'


@pytest.fixture
def follow(visit: Any) -> Any:
    """Opens an address of the app."""

    def open_link(query: str, state: str = "ready", page: Page | None = None) -> Page:
        page = page or visit(reduced_motion="reduce")
        page.tab.goto(page.url + query)
        page.wait(state)
        return page

    return open_link


def form(page: Page) -> list[str]:
    names = ("text textarea", "samples input", "temperature input", "seed input", "guidance input")
    return [page.tab.input_value(f"#cteg-{name} >> nth=0") for name in names]


def test_a_link_restores_sentence_settings_seed_head_and_faces(visit, follow, app):
    head = bundled_heads()[1]
    page = visit(reduced_motion="reduce").open()
    for name, value in (("temperature", "0.5"), ("guidance", "1.5")):
        page.tab.fill(f"#cteg-{name} input[type=number]", value)
    page.tab.fill("#cteg-seed input", "123")
    page.perform(TEXT, samples=2)
    page.tab.get_by_role("radio", name=head.title).check(force=True)
    page.tab.wait_for_selector(f'{ROOT}[data-head="{head.name}"]')
    link = page.tab.input_value(".share input")
    query = parse_qs(urlsplit(link).query)
    want = {"samples": "2", "temperature": "0.5", "seed": "123", "guidance": "1.5", "head": head.name}
    assert query == {"text": [TEXT], **{name: [value] for name, value in want.items()}}

    calls = app.generator.calls
    other = follow(urlsplit(link)._replace(scheme="", netloc="", path="").geturl())
    other.tab.wait_for_selector(f'{ROOT}[data-head="{head.name}"]')
    assert form(other) == [TEXT, "2", "0.5", "123", "1.5"]
    assert TEXT in other.tab.inner_text(".sentence")
    assert other.state("faces") == "2"
    assert app.generator.calls == calls + 1
    other.tab.reload()  # shows the same faces again and generates nothing
    other.wait("ready")
    other.tab.wait_for_function(f"document.querySelector('#cteg-text textarea').value === {TEXT!r}")
    assert form(other) == [TEXT, "2", "0.5", "123", "1.5"]
    assert app.generator.calls == calls + 1
    assert other.complaints == []


@pytest.mark.parametrize("wrong", ["temperature=9", "temperature=nan", "temperature=0x1", "temperature="])
def test_what_a_link_asks_wrongly_is_told_in_a_sentence_and_left_as_usual(follow, wrong):
    page = follow(f"?text=Hello.&samples=1&{wrong}")
    page.tab.get_by_text("In this link the Temperature is not usable, so it was left as usual.").wait_for()
    assert form(page) == ["Hello.", "1", "1", "7", "0"]


def test_a_link_with_nothing_usable_generates_nothing(follow, app):
    calls = app.generator.calls
    page = follow(f"?text={'a' * 501}&samples=2.5&seed=-1&guidance=4&head=nobody&__theme=dark", "empty")
    page.tab.get_by_text("In this link the sentence, Faces, Seed, Clarity, and head are not usable").wait_for()
    assert form(page) == ["", "4", "1", "7", "0"]
    assert app.generator.calls == calls


def test_the_code_beside_a_result_makes_it_again(follow, app, monkeypatch):
    page = follow("?text=Say%20%22it%22%20%5C%20again&samples=2&temperature=0.5&seed=9&guidance=2")
    shown = app.generator.generate('Say "it" \\ again', 2, 0.5, 9, 2)
    python, client = page.tab.locator(".share code").all_text_contents()

    class Export:
        @staticmethod
        def to_glb(clip: Any, rig: Any, name: str) -> None:
            assert rig.name == "default"

    monkeypatch.setattr(cteg, "load", lambda name: app.generator if name == app.generator.name else None, raising=False)
    monkeypatch.setattr(cteg, "export", Export, raising=False)
    scope: dict[str, Any] = {}
    exec(python, scope)
    for got, want in zip(scope["clips"], shown, strict=True):
        assert np.array_equal(got.coefficients, want.coefficients)
    exec(client, scope)
    for got, want in zip(scope["result"]["clips"], shown, strict=True):
        assert np.array_equal(np.array(got["coefficients"], dtype=np.float32), want.coefficients)


def test_link_and_code_are_copied_by_a_press(browser, app):
    page = Page(browser, app.url, reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"])
    try:
        page.open().perform(samples=1)
        page.tab.get_by_role("button", name="Copy link").click()
        page.tab.get_by_role("button", name="Copied").wait_for()
        assert page.tab.evaluate("navigator.clipboard.readText()") == page.tab.input_value(".share input")
    finally:
        page.context.close()
