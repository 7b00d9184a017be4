"""Choosing another head in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

from cteg.face.heads import Head, bundled_heads
from cteg.face.rig import Rig
from tests.pages import HOST, ROOT, Page

pytestmark = pytest.mark.browser

POSITIONS = f"{HOST}.heads.rig({HOST}.heads.chosen).then((rig) => Array.from(rig.positions))"


def choose_head(page: Page, head: Head) -> None:
    page.tab.get_by_role("radiogroup", name="Head").get_by_role("radio", name=head.title).check(force=True)
    page.tab.wait_for_selector(f'{ROOT}[data-head="{head.name}"]')


def test_another_head_performs_the_same_clip_at_once(visit, app):
    page = visit(reduced_motion="reduce").open().perform("On another head.", samples=1)
    (clip,) = app.generator.generate("On another head.", 1, 1.0, 7)
    calls, first, other = app.generator.calls, *bundled_heads()[:2]
    page.set_frame(8)
    (before,) = page.faces()
    for head in (other, first, other):
        choose_head(page, head)
        assert page.state("frame") == "8"
        want = Rig.load(head.path).vertices(clip.coefficients[8])[0]
        assert np.abs(np.reshape(page.tab.evaluate(POSITIONS), (-1, 3)) - want).max() < 1e-4
    (after,) = page.faces()
    assert (np.abs(before - after).sum(axis=2) > 60).mean() > 0.1
    assert app.generator.calls == calls
    fetched = [url for url in page.requests if url.endswith(".safetensors")]
    assert len(fetched) == len(set(fetched)) == 2  # each once, and no head that nobody chose


def test_a_rating_names_the_head_and_a_reload_keeps_it(visit, app):
    head = bundled_heads()[1]
    page = visit(reduced_motion="reduce").open()
    choose_head(page, head)
    page.perform("Rated on another head.", samples=1)
    rater = page.tab.evaluate("localStorage.getItem('cteg.rater')")
    page.tab.locator(".face").get_by_role("radio", name="4").click()
    page.tab.wait_for_selector(".rating[data-state=saved]")
    assert [rating.head for rating in app.store.ratings() if rating.rater == rater] == [head.name]
    page.open("ready")
    assert page.state("head") == head.name


def test_a_head_that_does_not_arrive_changes_nothing(visit):
    first, other = bundled_heads()[:2]
    page = visit(reduced_motion="reduce").open().perform(samples=1)
    page.tab.route("**/head-*.safetensors", lambda route: route.abort())
    page.tab.get_by_role("radio", name=other.title).check(force=True)
    page.tab.get_by_text(f"{other.title} could not be loaded").wait_for()
    assert page.state("head") == first.name
    assert page.tab.get_by_role("radio", name=first.title).is_checked()
    page.tab.unroute("**/head-*.safetensors")
    choose_head(page, other)


OFFER = """async (folder) => {
  const { HeadChooser } = await import(folder + "heads.js");
  const head = (name, space) => ({ name, space, title: name, url: "x", portrait: "data:," });
  const heads = [head("a", "open"), head("b", "flame"), head("c", "open"), head("d", "flame")];
  const chooser = new HeadChooser(heads, heads[0], new URL(document.baseURI), () => {});
  const inputs = () => [...chooser.node.querySelectorAll("label:not([hidden]) input")];
  const shown = () => inputs().map((input) => input.value).join("");
  const seen = [shown()];
  seen.push(chooser.offer("flame").name, shown());
  chooser.choose(heads[3]);
  seen.push(chooser.offer("flame").name, chooser.offer("another") === undefined, shown());
  return seen;
}"""


def test_only_heads_of_the_clips_space_are_offered(visit):
    page = visit().open()
    seen = page.tab.evaluate(OFFER, page.player_folder())
    assert seen == ["ac", "b", "bd", "d", True, "bd"]
