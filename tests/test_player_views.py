"""Ways to look at the faces in a real browser: large, compared, with captions, by touch, growing, or as a film."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pages import HOST, ROOT, Page

pytestmark = pytest.mark.browser


def shown(page: Page) -> list[int]:
    return [i for i, face in enumerate(page.tab.locator(".face").all()) if face.is_visible()]


def moved(before: np.ndarray, after: np.ndarray) -> float:
    return float((np.abs(before - after).sum(axis=2) > 60).mean())


# -- large and side by side --------------------------------------------------------------------------------------------


def test_one_face_fills_the_page_and_escape_brings_back_all(visit):
    page = visit(reduced_motion="reduce").open().perform(samples=3)
    before = page.tab.locator(".window").nth(1).bounding_box()["width"]
    page.tab.get_by_role("button", name="Enlarge face 2").click()
    assert shown(page) == [1]
    assert page.tab.locator(".window").nth(1).bounding_box()["width"] > 1.4 * before
    page.tab.keyboard.press("Escape")
    assert shown(page) == [0, 1, 2]


def test_two_faces_are_compared_side_by_side_and_exchanged(visit):
    page = visit(reduced_motion="reduce").open().perform(samples=4)
    before = page.tab.locator(".window").nth(0).bounding_box()["width"]
    page.tab.get_by_role("button", name="Compare face 1").click()
    assert shown(page) == [0, 1, 2, 3]
    page.tab.get_by_role("button", name="Compare face 3").click()
    assert shown(page) == [0, 2]
    left, right = (page.tab.locator(".window").nth(i).bounding_box() for i in (0, 2))
    assert left["y"] == right["y"]
    assert left["width"] > 1.4 * before
    page.set_frame(10)
    pictures = [window.screenshot() for window in page.tab.locator(".enlarged .window").all()]
    assert len(pictures) == 2
    assert pictures[0] != pictures[1]
    views = page.tab.get_by_role("group", name="Faces shown large")
    views.get_by_role("button", name="Face 4").click()  # the one that was picked first makes room
    assert shown(page) == [2, 3]
    views.get_by_role("button", name="Face 3").click()
    assert shown(page) == [3]
    views.get_by_role("button", name="All faces").click()
    assert shown(page) == [0, 1, 2, 3]


# -- captions ----------------------------------------------------------------------------------------------------------

LONG = {"parts": ["It was quiet.", "Then <it> broke!"], "ends": [10, 20]}
SHOW = """([player, changes]) => {
  const { run } = JSON.parse(sessionStorage.getItem("cteg.last-run"));
  return player.show({ ...run, ...changes, clips: run.clips.map((clip) => ({ ...clip, ends: changes.ends })) });
}"""


def test_captions_are_shown_on_request_and_remembered(visit):
    page = visit(reduced_motion="reduce").open().perform("Said in one go.", samples=2)
    caption = page.tab.locator(".caption")
    assert not caption.is_visible()
    page.tab.get_by_role("button", name="Captions").click()
    assert caption.inner_text() == "Said in one go."
    page.tab.get_by_role("button", name="Enlarge face 2").click()
    assert caption.is_visible()
    page.open("ready")
    assert caption.is_visible()
    page.tab.get_by_role("button", name="Captions").click()
    assert not caption.is_visible()


def test_captions_of_a_longer_text_follow_the_clip_and_show_without_asking(visit):
    page = visit(reduced_motion="reduce").open().perform(samples=1)
    page.tab.evaluate(SHOW, [page.tab.evaluate_handle(HOST), LONG])
    for frame, part in ((0, 0), (9, 0), (10, 1), (19, 1)):
        page.set_frame(frame)
        assert page.tab.inner_text(".caption") == LONG["parts"][part]


# -- touch -------------------------------------------------------------------------------------------------------------


def touch(page: Page, *paths: list[tuple[float, float]]) -> None:
    """Move fingers along paths of equal length, as a touch screen reports it."""
    session = page.context.new_cdp_session(page.tab)

    def send(kind: str, points: list[tuple[float, float]]) -> None:
        fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    send("touchStart", [path[0] for path in paths])
    for points in zip(*(path[1:] for path in paths), strict=True):
        send("touchMove", list(points))
    send("touchEnd", [])


def line(begin: tuple[float, float], end: tuple[float, float], steps: int = 8) -> list[tuple[float, float]]:
    return [tuple(np.add(begin, np.multiply(np.subtract(end, begin), i / steps)).tolist()) for i in range(steps + 1)]


def test_on_a_phone_a_finger_turns_two_zoom_and_the_page_still_scrolls(visit):
    page = visit(reduced_motion="reduce", has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    page.open().perform(samples=2)
    assert page.tab.evaluate("document.documentElement.scrollWidth") == 360
    page.tab.locator(".window").nth(0).scroll_into_view_if_needed()
    box = page.tab.locator(".window").nth(0).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    camera = f"(({{ yaw, pitch, zoom }}) => [yaw, pitch, zoom])({HOST}.stage.camera)"
    touch(page, line((x, y), (x + 50, y)))
    yaw, _, zoom = page.tab.evaluate(camera)
    assert yaw < -0.2
    assert zoom == 1
    touch(page, line((x - 15, y), (x - 60, y)), line((x + 15, y), (x + 60, y)))
    assert page.tab.evaluate(camera)[2] > 1.5
    before = page.tab.evaluate("scrollY")
    touch(page, line((x, y), (x, y - 200)))
    page.tab.wait_for_function(f"scrollY > {before} + 50")
    assert page.complaints == []


# -- what grows --------------------------------------------------------------------------------------------------------


def test_the_first_sentence_plays_while_the_next_one_is_made(visit, app):
    page = visit().open()
    page.tab.fill("#cteg-samples input[type=number]", "2")
    app.generator.next_part.clear()
    try:
        page.tab.fill("#cteg-text textarea", "This is the first sentence. And here is the second.")
        page.tab.press("#cteg-text textarea", "Enter")
        page.wait("growing")
        first = int(page.state("frames"))
        page.tab.get_by_role("button", name="Enlarge face 2").click()
        page.tab.wait_for_selector(f'{ROOT}[data-frame="{first - 1}"]')
        page.tab.evaluate("() => new Promise((done) => setTimeout(done, 900))")
        assert int(page.state("frame")) == first - 1  # it waits there for more, and does not begin again
        assert page.tab.inner_text(".caption") == "This is the first sentence."
        assert not page.tab.locator(".take").is_visible()
    finally:
        app.generator.next_part.set()
    page.wait("ready")
    assert int(page.state("frames")) > first
    assert shown(page) == [1]
    page.tab.wait_for_function("document.querySelector('.caption').textContent === 'And here is the second.'")
    page.tab.locator(".face").nth(1).get_by_role("radio", name="3").click()
    page.tab.wait_for_selector(".face:nth-of-type(2) .rating[data-state=saved]")
    assert page.complaints == []


# -- without WebGL -----------------------------------------------------------------------------------------------------


def test_without_webgl_a_film_is_made_shown_and_rated(visit, app):
    page = visit(reduced_motion="reduce")
    page.tab.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.open("unavailable")
    assert "WebGL2" in page.tab.inner_text(".detail")
    page.perform("Said & <shown> in a film.", samples=2)
    assert not page.tab.locator(".controls").is_visible()
    page.tab.wait_for_selector(f'{ROOT}[data-film="shown"]', timeout=60_000)
    page.tab.wait_for_function("document.querySelector('.film video').readyState >= 2", timeout=30_000)
    film = page.tab.evaluate(
        """() => {
          const video = document.querySelector(".film video");
          const [cue] = video.textTracks[0].cues;
          return [video.duration, video.videoWidth > video.videoHeight, video.controls, video.loop, cue.text];
        }"""
    )
    longest = max(len(clip) for clip in app.generator.generate("x", 2))
    assert film[0] == pytest.approx(longest / 25, abs=0.2)
    assert film[1:4] == [True, True, True]
    assert film[4] == "Said &amp; &lt;shown&gt; in a film."
    page.tab.locator(".face").nth(1).get_by_role("radio", name="3").click()
    page.tab.wait_for_selector(".face:nth-of-type(2) .rating[data-state=saved]")
    outside = [url for url in page.requests if not url.startswith((app.url, "data:", "blob:"))]
    assert outside == []
    assert page.complaints == []
