"""The page as axe-core judges it, in both themes: nothing serious, and nothing of ours at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import Page

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "axe/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    page.tab.evaluate(AXE.read_text())
    context = "{ exclude: ['.toast-header'] }"  # Gradio's message holds its close button inside another button
    found = page.tab.evaluate(f"axe.run({context}, {{ resultTypes: ['violations'] }})")["violations"]
    return [f"{v['impact']} {v['id']}: {[node['html'][:120] for node in v['nodes']]}" for v in found]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/axe")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out(visit, theme):
    page = visit(reduced_motion="reduce", color_scheme=theme)
    page.url += f"?__theme={theme}"
    page.open()
    assert violations(page) == []
    page.tab.click("#cteg-generate")
    page.tab.get_by_text("Please type a sentence first").wait_for()
    assert violations(page) == []
    page.perform(samples=3)
    page.tab.locator(".face").nth(0).get_by_role("radio", name="4").click()
    page.tab.locator(".best").nth(1).click()
    page.tab.get_by_text("2 ratings from you so far").wait_for()
    page.tab.locator(".share summary").click()
    page.tab.get_by_role("button", name="Captions").click()
    page.tab.get_by_role("button", name="Why do they look like this?").click()
    page.tab.locator("#cteg-actions .legendtext").first.wait_for(timeout=60_000)
    assert violations(page) == []
    for face in (1, 2):
        page.tab.get_by_role("button", name=f"Compare face {face}").click()
    assert violations(page) == []
    page.tab.get_by_role("tab", name="About").click()
    page.tab.get_by_role("heading", name="How it works").wait_for()
    assert violations(page) == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/axe")
def test_nobody_is_shut_out_of_a_film(visit):
    page = visit(reduced_motion="reduce")
    page.tab.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.open("unavailable").perform(samples=2)
    page.tab.wait_for_selector('.cteg-player[data-film="shown"]', timeout=60_000)
    assert violations(page) == []
