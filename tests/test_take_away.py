"""Taking files away from the page in a real browser: what arrives opens, and holds the clips that were shown."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from cteg.clip import Clip
from cteg.errors import InputError
from cteg.export import load
from cteg.face.heads import bundled_heads
from cteg.face.rig import Rig
from cteg.ui.take_away import MOST_FRAMES, RecentRuns, drop_oldest
from tests.gltf.reader import Gltf
from tests.pages import Page

TEXT = "Take this with you."
FORGET = """() => {
  const kept = JSON.parse(sessionStorage.getItem("cteg.last-run"));
  kept.run.run = "a run before the server was started again";
  sessionStorage.setItem("cteg.last-run", JSON.stringify(kept));
}"""


@pytest.fixture(scope="module")
def page(browser, app) -> Any:
    page = Page(browser, app.url, reduced_motion="reduce").open().perform(TEXT, samples=2)
    yield page
    page.context.close()


def take(page: Page, group: str, kind: str, folder: Path) -> Path:
    with page.tab.expect_download(timeout=60_000) as download:
        page.tab.get_by_role("group", name=group).get_by_role("button", name=kind, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    page.tab.wait_for_selector(".take[aria-busy=false]")
    return path


def shown(app: Any, seed: int) -> Clip:
    return app.generator.generate(TEXT, 1, 1.0, seed)[0]


@pytest.mark.browser
def test_the_clip_that_was_shown_arrives_bit_for_bit(page, app, tmp_path):
    calls = app.generator.calls
    page.tab.select_option(".take select", "1")
    clip = Clip.load(take(page, "One face", "NPZ", tmp_path))
    assert app.generator.calls == calls
    assert [path.name for path in tmp_path.iterdir()] == ["face2_seed8.npz"]
    np.testing.assert_array_equal(clip.coefficients, shown(app, 8).coefficients)
    assert (clip.text, clip.seed, clip.weights) == (TEXT, 8, "fake-weights")


@pytest.mark.browser
def test_tables_heads_and_pictures_open(page, app, tmp_path):
    page.tab.select_option(".take select", "0")
    clip = shown(app, 7)
    table = load(take(page, "One face", "ARKit CSV", tmp_path))
    np.testing.assert_allclose(table.coefficients, clip.coefficients, atol=1e-6)
    head = Gltf(take(page, "One face", "GLB", tmp_path))
    rig = Rig.load(app.services.rig_path)
    assert np.abs(head.pose(8 / 25)[0] - rig.vertices(clip)[8]).max() < 1e-3
    assert head.json["asset"]["extras"]["head"] == rig.name
    with Image.open(take(page, "One face", "PNG", tmp_path)) as sheet:
        assert sheet.width == 8 * 256
    assert {path.name for path in tmp_path.iterdir()} == {f"face1_seed7.{kind}" for kind in ("csv", "glb", "png")}


@pytest.mark.browser
def test_all_faces_arrive_together(page, app, tmp_path):
    longest = max(len(shown(app, seed)) for seed in (7, 8))
    with zipfile.ZipFile(take(page, "All faces together", "ZIP", tmp_path)) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".npz", ".csv", ".glb", ".mp4", ".png"}
        with np.load(io.BytesIO(archive.read("face2_seed8.npz"))) as arrays:
            np.testing.assert_array_equal(arrays["coefficients"], shown(app, 8).coefficients)
        film = archive.extract("faces_seed7-8.mp4", tmp_path)
    reader = imageio_ffmpeg.read_frames(film)
    assert next(reader)["size"][0] == 2 * 384
    assert sum(1 for _ in reader) == longest


@pytest.mark.browser
def test_the_chosen_head_goes_along(visit, app, tmp_path):
    heads = bundled_heads()
    if len(heads) < 2:
        pytest.skip("one head ships")
    page = visit(reduced_motion="reduce").open().perform(TEXT, samples=1)
    page.tab.get_by_role("radio", name=heads[1].title).check(force=True)
    page.tab.wait_for_selector(f'.cteg-player[data-head="{heads[1].name}"]')
    assert page.tab.locator(".take .kinds").nth(1).is_hidden()  # there is nothing to put together
    head = Gltf(take(page, "One face", "GLB", tmp_path))
    assert head.json["asset"]["extras"]["head"] == heads[1].name


@pytest.mark.browser
def test_a_film_shows_how_far_it_is(visit):
    page = visit(reduced_motion="reduce").open().perform(TEXT, samples=1)
    with page.tab.expect_download(timeout=60_000):
        page.tab.get_by_role("group", name="One face").get_by_role("button", name="GIF").click()
        assert page.tab.locator(".take button").first.is_disabled()
        page.tab.get_by_text("Making face1_seed7.gif").first.wait_for()
    page.tab.wait_for_selector(".take[aria-busy=false]")


@pytest.mark.browser
def test_faces_that_the_server_forgot_are_told_and_the_bar_recovers(visit):
    page = visit(reduced_motion="reduce").open().perform(TEXT, samples=1)
    page.tab.evaluate(FORGET)
    page.open("ready")
    page.tab.get_by_role("button", name="NPZ", exact=True).click()
    page.tab.get_by_text("generate them again").first.wait_for()
    page.tab.wait_for_selector(".take[aria-busy=false]")
    assert page.tab.locator(".take button").first.is_enabled()


def test_only_the_latest_runs_are_kept():
    runs, clip = RecentRuns(), Clip(np.zeros((MOST_FRAMES // 100, 53), dtype=np.float32))
    first, second = runs.new(), runs.new()
    runs.keep(first, [clip])
    runs.keep(second, [clip])
    runs.keep(first, [clip, clip])  # it grew
    assert runs.find(first) == [clip, clip]
    for _ in range(98):
        runs.keep(runs.new(), [clip])
    assert runs.find(first) == [clip, clip]
    for _ in range(2):
        runs.keep(runs.new(), [clip])
    for unknown in (first, second, "nonsense", None, 7, ["x"]):
        with pytest.raises(InputError, match="generate them again"):
            runs.find(unknown)


def test_the_oldest_files_go_when_there_are_too_many(tmp_path):
    files = {str(tmp_path / name) for name in "abcd"}
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 40)
        time.sleep(0.02)  # so that their ages differ
    drop_oldest(files, 80)
    assert files == {str(tmp_path / name) for name in "bc"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    drop_oldest(files, 80)
    assert len(files) == 2
