"""The page in a real browser: faces are seen, move, keep time together and can be rated."""

from __future__ import annotations

import numpy as np
import pytest

from cteg import layout
from cteg.face.rig import Rig, vertex_normals
from tests.pages import ROOT, TEXT, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def playing(browser, app):
    """One page with four faces, for tests that leave it as they found it."""
    page = Page(browser, app.url, reduced_motion="reduce").open().perform()
    yield page
    page.context.close()


def covered(face: np.ndarray) -> float:
    """Share of a window that shows a face: pixels far from the colour of the window's upper left."""
    return float((np.abs(face - face[30, 30]).sum(axis=2) > 60).mean())


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_every_window_shows_a_large_face(playing):
    playing.set_frame(0)
    faces = playing.faces()
    assert len(faces) == 4
    for face in faces:
        assert 0.3 < covered(face) < 0.9


def test_frames_differ_and_a_frame_is_always_the_same(playing):
    playing.set_frame(0)
    first = playing.faces()
    playing.set_frame(10)
    later = playing.faces()
    playing.set_frame(0)
    for before, after, again in zip(first, later, playing.faces(), strict=True):
        assert np.abs(before - after).sum(axis=2).max() > 100
        assert np.abs(before - again).max() <= 2


def test_different_seeds_look_different(playing):
    playing.set_frame(10)
    faces = playing.faces()
    size = [min(face.shape[axis] for face in faces) for axis in (0, 1)]
    one, other = (face[: size[0], : size[1]] for face in faces[:2])
    assert np.abs(one - other).sum(axis=2).max() > 100


def test_turning_and_zooming_moves_all_faces(playing):
    playing.set_frame(0)
    before = playing.faces()
    playing.tab.focus(".faces")
    for key in ("ArrowRight", "ArrowUp", "+"):
        playing.tab.keyboard.press(key)
    playing.set_frame(0)
    assert all(np.abs(a - b).max() > 50 for a, b in zip(before, playing.faces(), strict=True))
    playing.tab.click("button[aria-label='Reset view']")
    playing.set_frame(0)
    assert all(np.abs(a - b).max() <= 2 for a, b in zip(before, playing.faces(), strict=True))


@pytest.mark.parametrize(("samples", "width"), [(1, 1000), (8, 1440), (3, 360)])
def test_any_number_of_faces_fits(visit, samples, width):
    page = visit(reduced_motion="reduce")
    page.tab.set_viewport_size({"width": width, "height": 900})
    page.open().perform(samples=samples)
    page.set_frame(5)
    faces = page.faces()
    assert len(faces) == samples
    assert all(covered(face) > 0.25 for face in faces)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


# -- time --------------------------------------------------------------------------------------------------------------


def test_scrubbing_and_keys_set_the_frame(playing):
    playing.tab.evaluate(
        """() => {
          const scrubber = document.querySelector('.controls input');
          scrubber.value = 12;
          scrubber.dispatchEvent(new Event('input', { bubbles: true }));
        }"""
    )
    playing.tab.wait_for_selector(f'{ROOT}[data-frame="12"]')
    assert "frame 13 of" in playing.tab.get_attribute(".controls input", "aria-valuetext")
    playing.tab.focus(".faces")
    playing.tab.keyboard.press(".")
    playing.tab.wait_for_selector(f'{ROOT}[data-frame="13"]')
    playing.tab.keyboard.press(",")
    playing.tab.wait_for_selector(f'{ROOT}[data-frame="12"]')


def test_a_shorter_clip_rests_on_its_last_frame(playing):
    lengths = [20 + 5 * (seed % 3) for seed in range(7, 11)]
    assert int(playing.state("frames")) == max(lengths)
    shortest = lengths.index(min(lengths))
    playing.set_frame(min(lengths) - 1)
    resting = playing.faces()[shortest]
    playing.set_frame(max(lengths) - 1)
    assert np.abs(resting - playing.faces()[shortest]).max() <= 2


def test_it_plays_by_itself_and_stops_on_space(visit):
    page = visit().open().perform()
    assert page.state("playing") == "true"
    page.tab.wait_for_function(f"document.querySelector('{ROOT}').dataset.frame > 3")
    page.tab.focus(".faces")
    page.tab.keyboard.press(" ")
    page.tab.wait_for_selector(f'{ROOT}[data-playing="false"]')
    page.tab.select_option(".controls select", "0.25")
    page.tab.wait_for_selector(f'{ROOT}[data-speed="0.25"]')


def test_with_reduced_motion_it_waits_on_an_expressive_frame(visit):
    page = visit(reduced_motion="reduce").open().perform()
    assert page.state("playing") == "false"
    assert int(page.state("frame")) > 3


CLOCK = """async (folder) => {
  const { Clock, REST } = await import(folder + "clock.js");
  const clock = new Clock(), seen = [];
  clock.reset(26, 25);
  clock.play();
  let now = 0;
  const pass = (seconds) => { for (let t = 0; t < seconds - 1e-9; t += 0.02) clock.tick(now += 20); };
  clock.tick(now);
  pass(0.5); seen.push(clock.frame);
  clock.speed = 2; pass(0.2); seen.push(clock.frame);
  pass(5); clock.loop = false; pass(5); seen.push(clock.frame, clock.playing);
  clock.play(); seen.push(clock.frame);
  clock.seek(999); seen.push(clock.frame);
  clock.step(-1); seen.push(clock.frame, clock.playing);
  return seen;
}"""


def test_the_clock(playing, app):
    assert playing.tab.evaluate(CLOCK, playing.player_folder()) == [12, 22, 25, False, 0, 25, 24, False]


# -- mathematics -------------------------------------------------------------------------------------------------------

POSE = """async ([folder, head, frames]) => {
  const { Rig } = await import(folder + "rig.js");
  const rig = new Rig(await (await fetch(head)).arrayBuffer());
  return frames.map((frame) => {
    rig.pose(frame);
    return [Array.from(rig.positions), Array.from(rig.normals)];
  });
}"""


def test_vertices_and_normals_are_those_of_python(playing, app):
    random = np.random.default_rng(3)
    frames = random.uniform(0, 1, (3, layout.D)).astype(np.float32)
    frames[:, layout.JAW] = random.uniform(*layout.JAW_LIMITS.T, (3, 3))
    frames[2] = 0
    rig = Rig.load(app.services.rig_path)
    expected = rig.vertices(frames)
    normals = vertex_normals(expected, rig.triangles)
    head = next(url for url in playing.requests if url.endswith(".safetensors"))
    size = np.ptp(rig.neutral, axis=0).max()
    results = playing.tab.evaluate(POSE, [playing.player_folder(), head, frames.tolist()])
    for (got, got_normals), want, want_normals in zip(results, expected, normals, strict=True):
        assert np.abs(np.reshape(got, (-1, 3)) - want).max() < 1e-4 * size
        assert np.quantile(np.abs(np.reshape(got_normals, (-1, 3)) - want_normals), 0.999) < 1e-3


# -- the page ----------------------------------------------------------------------------------------------------------


def test_no_request_leaves_for_elsewhere_and_nothing_complains(visit, app):
    page = visit().open().perform()
    page.tab.click("#cteg-examples button >> nth=2")
    page.tab.wait_for_function("document.querySelector('#cteg-text textarea').value.startsWith('How dare')")
    page.tab.click("#cteg-dice")
    page.tab.wait_for_function("document.querySelector('#cteg-seed input').value !== '7'")
    page.tab.click("#cteg-generate")
    page.tab.wait_for_function("document.querySelector('.sentence').textContent.startsWith('How dare')")
    outside = [url for url in page.requests if not url.startswith((app.url, "data:", "blob:"))]
    assert outside == []
    assert page.complaints == []


def test_a_second_press_while_busy_changes_nothing(visit, app):
    page = visit(reduced_motion="reduce").open()
    app.generator.open_gate.clear()
    calls = app.generator.calls
    try:
        page.tab.fill("#cteg-text textarea", TEXT)
        page.tab.press("#cteg-text textarea", "Enter")
        page.wait("busy")
        assert TEXT in page.tab.inner_text(".sentence")
        page.tab.click("#cteg-generate")
        page.tab.press("#cteg-text textarea", "Enter")
    finally:
        app.generator.open_gate.set()
    page.wait("ready")
    assert app.generator.calls == calls + 1


def test_characters_are_counted_and_end_at_the_limit(visit):
    page = visit(reduced_motion="reduce").open()
    page.tab.click("#cteg-examples button >> nth=6")
    page.tab.wait_for_selector("#cteg-text[data-count='46 / 500']")
    page.tab.focus("#cteg-text textarea")
    page.tab.keyboard.insert_text("x" * 600)
    page.tab.wait_for_selector("#cteg-text[data-count='500 / 500']")


def test_an_empty_sentence_is_answered_and_the_page_recovers(visit, app):
    calls = app.generator.calls
    page = visit(reduced_motion="reduce").open()
    page.tab.click("#cteg-generate")
    page.tab.get_by_text("Please type a sentence first").wait_for()
    page.wait("empty")
    assert app.generator.calls == calls
    page.perform(samples=1)


def test_a_full_queue_is_told_and_the_page_recovers(visit):
    page = visit(reduced_motion="reduce").open()
    full = {"detail": "Queue is full. Max size is 32 and size is 32."}
    page.tab.route("**/queue/join*", lambda route: route.fulfill(status=503, json=full))
    page.tab.fill("#cteg-text textarea", TEXT)
    page.tab.press("#cteg-text textarea", "Enter")
    page.tab.get_by_text("currently busy").first.wait_for()
    page.wait("empty")
    page.tab.unroute("**/queue/join*")
    page.perform(samples=1)


def test_markup_in_a_sentence_is_shown_as_text(visit):
    page = visit(reduced_motion="reduce").open().perform("<img src=x onerror=document.title='pwned'> ${1+1}", samples=1)
    assert "<img src=x" in page.tab.inner_text(".sentence")
    assert page.tab.title() != "pwned"
    assert page.tab.locator(".sentence img").count() == 0


def test_a_lost_context_comes_back(playing):
    playing.set_frame(3)
    before = playing.faces()
    playing.tab.evaluate(
        """() => {
          const gl = document.querySelector('.faces canvas').getContext('webgl2');
          window.loss = gl.getExtension('WEBGL_lose_context');
          window.loss.loseContext();
        }"""
    )
    playing.tab.wait_for_selector(f'{ROOT}[data-context="lost"]')
    playing.tab.evaluate("window.loss.restoreContext()")
    playing.tab.wait_for_selector(f'{ROOT}[data-context="restored"]')
    playing.set_frame(3)
    assert all(np.abs(a - b).max() <= 2 for a, b in zip(before, playing.faces(), strict=True))


def test_nothing_is_drawn_out_of_sight(visit):
    page = visit()
    page.open().perform()
    page.tab.evaluate("document.querySelector('.faces').style.marginTop = '9000px'")
    page.tab.evaluate("() => new Promise((done) => setTimeout(done, 400))")
    drawn = page.state("drawn")
    page.tab.evaluate("() => new Promise((done) => setTimeout(done, 400))")
    assert page.state("drawn") == drawn
