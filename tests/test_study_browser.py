"""The study in a real browser: watch, answer, change, reload, lose the server, go on, delete."""

from __future__ import annotations

import pytest

from cteg.study.ballot import read_votes
from cteg.study.database import utc_now
from tests.conftest import free_port
from tests.study_app import StudyApp, make_set
from tests.test_accessibility import AXE

pytestmark = pytest.mark.browser
PATIENCE = 120_000
LOADED = '.cteg-study[data-state="ready"][data-loaded="true"]'


def violations(tab) -> list[str]:
    """What axe-core finds wrong with the page that is shown; nothing where it is not installed."""
    if not AXE.exists():
        return []
    tab.evaluate(AXE.read_text())
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{v['impact']} {v['id']}: {[node['html'][:120] for node in v['nodes']]}" for v in found]


def test_a_rater_goes_through_the_study(browser, tmp_path):
    port, stimuli = free_port(), make_set(tmp_path / "set")
    app = StudyApp(tmp_path / "data", stimuli, clock=utc_now, port=port)
    context = browser.new_context(viewport={"width": 900, "height": 900}, reduced_motion="reduce")
    tab, complaints = context.new_page(), []
    tab.set_default_timeout(PATIENCE)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        tab.goto(f"{app.url}study")
        tab.wait_for_selector(".cteg-study[data-state='consent']")
        assert violations(tab) == []
        tab.click(".cteg-study .text .big")
        tab.wait_for_selector(LOADED)
        sentence = tab.inner_text(".sentence")
        assert tab.inner_text(".place") == "Practice · 1 of 29"
        assert tab.locator(".window").count() == 2
        tab.keyboard.press("1")  # nothing is watched yet
        assert tab.locator("fieldset:disabled").count() == 1
        assert tab.locator(".next:disabled").count() == 1

        tab.keyboard.press(" ")
        tab.wait_for_selector(".side.on")
        tab.wait_for_selector("fieldset:enabled")  # the server believes that both were watched
        tab.keyboard.press("2")
        tab.wait_for_selector("fieldset:nth-child(2):enabled")
        tab.keyboard.press("3")
        tab.wait_for_selector(".next:enabled")
        tab.click("fieldset:nth-child(1) label:nth-child(1)")  # another mind
        tab.wait_for_selector("fieldset:nth-child(1) label:nth-child(1) :checked", state="attached")
        tab.wait_for_timeout(300)

        assert violations(tab) == []

        tab.goto(f"{app.url}study?__theme=dark")
        tab.wait_for_selector(LOADED)
        tab.wait_for_selector(".next:enabled")
        assert tab.inner_text(".sentence") == sentence
        assert tab.locator("fieldset:nth-child(2) label:nth-child(3) :checked").count() == 1

        assert violations(tab) == []

        app.close()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".notice:has-text('cannot be reached')")
        assert tab.inner_text(".place") == "Practice · 1 of 29"
        app = StudyApp(tmp_path / "data", stimuli, clock=utc_now, port=port)
        tab.wait_for_selector(".place:has-text('2 of 29')")
        (vote,) = read_votes(app.store)
        assert (vote.fit, vote.natural, vote.plays, vote.device) == ("left", "equal", 2, "desktop")

        tab.click(".erase")
        assert tab.inner_text(".erase").startswith("Really delete")
        tab.click(".erase")
        tab.wait_for_selector(".cteg-study[data-state='deleted']")
        assert read_votes(app.store) == []
        assert complaints == []
    finally:
        context.close()
        app.close()
