"""`python -m cteg site`: the page is complete, asks nobody else, plays, and keeps ratings in the browser."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cteg.cli import app as command_line
from cteg.errors import InputError, SpaceError
from cteg.face.heads import bundled_heads
from cteg.site import Sentence, example_sentences, read_sentences, write_site
from tests.conftest import FakeGenerator
from tests.pages import HOST, Page

AXE = Path(__file__).parent / "axe/node_modules/axe-core/axe.min.js"
SETTINGS = {"samples": 2, "temperature": 1.0, "seed": 7, "guidance": 0.0}
SENTENCES = [
    Sentence("joy", "I got the job!"),
    Sentence("", 'Said "<b>no</b>" & left. And then it was quiet for a while.'),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    heads = [head.path for head in bundled_heads()[:2]]
    page = write_site(tmp_path_factory.mktemp("site") / "out", FakeGenerator(), SENTENCES, heads, SETTINGS)
    return page.parent


def facts(site: Path) -> dict:
    return json.loads(re.search(r'id="cteg-site">(.*)</script>', (site / "index.html").read_text())[1])


# -- the files ---------------------------------------------------------------------------------------------------------


def test_the_page_has_what_it_needs_and_nothing_else(site):
    page = (site / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert name == "data:," or (site / name).is_file(), name
    for module in (site / "player").glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', module.read_text()):
            assert (site / "player" / name).is_file(), name
    names = {path.name for path in (site / "player").iterdir()}
    assert not {name for name in names if name.startswith("study")} | names & {"app.js", "server.js"}
    assert [head["name"] for head in facts(site)["heads"]] == [head.name for head in bundled_heads()[:2]]
    for head in facts(site)["heads"]:
        assert (site / head["url"]).is_file()
        assert (site / head["portrait"]).is_file()


def test_no_file_names_another_host(site):
    harmless = {"http://www.w3.org/2000/svg", "http://127.0.0.1:8000"}
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".css", ".json"):
            assert set(re.findall(r"(?:https?:)?//[\w.:/-]*\w\.[\w.:/-]*", path.read_text())) <= harmless, path.name


def test_the_clips_are_those_of_the_generator(site):
    import base64

    entry = facts(site)["sentences"][1]
    run = json.loads((site / entry["url"]).read_text())
    want = FakeGenerator().generate(SENTENCES[1].text, **SETTINGS)
    assert (run["text"], run["parts"]) == (SENTENCES[1].text, SENTENCES[1].text.replace(". ", ".|").split("|"))
    assert len({clip["token"] for clip in run["clips"]}) == 2
    for got, clip in zip(run["clips"], want, strict=True):
        decoded = np.frombuffer(base64.b64decode(got["data"]), "<i2").reshape(-1, 53) * got["scale"]
        assert np.abs(decoded - clip.coefficients).max() < 1e-3
        assert got["ends"] == [len(clip) // 2, len(clip)]


def test_a_page_is_replaced_and_anything_else_is_left_alone(tmp_path):
    head = [bundled_heads()[0].path]
    out = tmp_path / "out"
    write_site(out, FakeGenerator(), SENTENCES, head, SETTINGS)
    before = {path.name for path in (out / "clips").iterdir()}
    (out / "CNAME").write_text("mine")
    write_site(out, FakeGenerator(), SENTENCES[:1], head, SETTINGS | {"seed": 3})
    after = {path.name for path in (out / "clips").iterdir()}
    assert (len(before), len(after), before & after) == (2, 1, set())
    assert (out / "CNAME").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("somebody's page")
    for folder in (other, other / "index.html"):
        with pytest.raises(InputError):
            write_site(folder, FakeGenerator(), SENTENCES, head, SETTINGS)
    assert (other / "index.html").read_text() == "somebody's page"
    with pytest.raises(InputError, match="Cannot write to the folder"):
        write_site(other / "index.html" / "out", None, SENTENCES, head, SETTINGS)  # before anything is performed


def test_sentences_come_from_a_file(tmp_path):
    file = tmp_path / "sentences.txt"
    file.write_text("# mine\njoy\tWe won!\n\nPlain one.\nPlain one.\n")
    assert read_sentences(file) == [Sentence("joy", "We won!"), Sentence("", "Plain one.")]
    assert len(example_sentences()) == 8
    for content, cause in (("Fine.\n" + "a" * 600, "Line 2"), ("\n", "0 sentences"), ("x\t \n", "Line 1")):
        file.write_text(content)
        with pytest.raises(InputError, match=cause):
            read_sentences(file)
    file.write_bytes(b"\xff\xfe\x00")
    for path in (file, tmp_path / "none.txt"):
        with pytest.raises(InputError, match="cannot be read"):
            read_sentences(path)


def test_bad_input_is_a_sentence_before_anything_is_loaded(tmp_path):
    for arguments, cause in (
        (["--samples", "9"], "number of samples"),
        (["--sentences", str(tmp_path / "none")], "cannot be read"),
        (["--head", "nobody"], "no head 'nobody'"),
    ):
        result = CliRunner().invoke(command_line, ["site", str(tmp_path / "out"), *arguments])
        assert result.exit_code == 2
        assert cause in result.output
    assert not (tmp_path / "out").exists()


def test_a_head_of_another_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cteg.site.read_head", lambda path: bundled_heads()[0].__class__(path, "f", "F", "flame"))
    with pytest.raises(SpaceError, match="'flame'"):
        write_site(tmp_path / "out", FakeGenerator(), SENTENCES, [bundled_heads()[0].path], SETTINGS)


# -- the page in a browser ---------------------------------------------------------------------------------------------


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=site))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def look(browser: Any, address: str) -> Any:
    pages = []

    def open_page(query: str = "", state: str = "ready", **context: Any) -> Page:
        pages.append(Page(browser, address + query, **{"reduced_motion": "reduce", **context}))
        return pages[-1].open(state)

    yield open_page
    for page in pages:
        page.context.close()


@pytest.mark.browser
def test_faces_move_are_rated_and_the_ratings_stay_and_are_downloaded(look, address):
    page = look(reduced_motion="no-preference")
    assert page.tab.evaluate(f"{HOST}.clock.playing")
    page.set_frame(0)
    first = page.faces()
    page.set_frame(10)
    assert all(np.abs(a - b).sum(axis=2).max() > 100 for a, b in zip(first, page.faces(), strict=True))
    page.tab.locator(".face").nth(0).get_by_role("radio", name="4").click()
    page.tab.locator(".best").nth(1).click()
    page.tab.get_by_text("2 ratings in this browser").wait_for()
    page.tab.locator(".cteg-sentence").nth(1).click()
    page.tab.wait_for_selector('.cteg-sentence[aria-pressed="true"] >> text=Said')
    page.wait("ready")
    page.tab.locator(".faces").focus()
    page.tab.locator(".face").nth(1).get_by_role("radio", name="1").focus()
    page.tab.keyboard.press("2")
    page.tab.get_by_text("3 ratings in this browser").wait_for()
    page.tab.reload()  # comes back to the sentence that was chosen, with what was answered
    page.tab.wait_for_selector('.face:nth-of-type(2) .rating[data-score="2"]')
    assert "<b>no</b>" in page.tab.inner_text(".sentence")
    with page.tab.expect_download() as download:
        page.tab.get_by_role("button", name="Download (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [(row["text"], row["score"], row["best"]) for row in rows] == [
        (SENTENCES[0].text, "4", "false"),
        (SENTENCES[0].text, "", "true"),
        (SENTENCES[1].text, "2", "false"),
    ]
    assert (rows[0]["seed"], rows[0]["weights"], rows[0]["head"]) == ("7", "fake-weights", "default")
    page.tab.on("dialog", lambda dialog: dialog.accept())
    page.tab.get_by_role("button", name="Delete").click()
    page.tab.get_by_text("None in this browser yet").wait_for()
    page.tab.wait_for_selector('.face:nth-of-type(2) .rating[data-score=""]')
    assert page.complaints == []
    assert all(url.startswith((address, "data:", "blob:")) for url in page.requests)


@pytest.mark.browser
def test_keys_captions_heads_links_and_a_phone(look):
    link = "?text=I%20got%20the%20job!&samples=2&seed=7&head=" + bundled_heads()[1].name
    page = look(link, viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.tab.wait_for_selector(f'.cteg-player[data-head="{bundled_heads()[1].name}"]')
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 360
    page.tab.locator(".faces").focus()
    frame = int(page.state("frame"))
    page.tab.keyboard.press(".")
    page.tab.wait_for_selector(f'.cteg-player[data-frame="{frame + 1}"]')
    page.tab.keyboard.press(" ")
    assert page.tab.evaluate(f"{HOST}.clock.playing")
    page.tab.get_by_role("button", name="Captions").click()
    assert page.tab.inner_text(".caption") == SENTENCES[0].text
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.tab.evaluate(colour)
    page.tab.get_by_role("button", name="Light colours").click()
    light = page.tab.evaluate(colour)
    assert dark != light
    page.tab.reload()
    page.wait("ready")
    assert page.tab.evaluate(colour) == light
    assert "gradio_client" not in page.tab.inner_text("body")
    assert page.complaints == []


@pytest.mark.browser
def test_a_link_to_a_sentence_that_is_not_here_says_so(look):
    page = look("?text=Something%20else.")
    page.tab.get_by_text("In this link the sentence is not usable").wait_for()
    assert SENTENCES[0].text in page.tab.inner_text(".sentence")


@pytest.mark.browser
def test_without_webgl_the_page_says_so(browser, address):
    page = Page(browser, address)
    page.tab.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.open("unavailable")
    assert "WebGL2" in page.tab.inner_text(".detail")
    assert not page.tab.locator(".rating").count()
    page.context.close()


@pytest.mark.browser
@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/axe")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out(browser, address, theme):
    page = Page(browser, address, reduced_motion="reduce", color_scheme=theme, bypass_csp=True).open("ready")
    page.tab.locator(".cteg-more summary").click()
    page.tab.evaluate(AXE.read_text())
    found = page.tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [(one["id"], [node["html"][:100] for node in one["nodes"]]) for one in found] == []
    page.context.close()
