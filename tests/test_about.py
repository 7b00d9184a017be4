"""The page that says what this is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cteg.ui.about import BOXES, about_html

ROOT = Path(__file__).parent.parent


def test_the_boxes_of_the_figure_are_modules():
    for box in BOXES:
        folder = ROOT / "cteg/model" if box.module.startswith("model/") else ROOT
        for name in box.module.removeprefix("model/").split(", "):
            assert (folder / name).exists(), name
        assert box.module in about_html()


def test_the_documents_that_it_names_exist():
    named = re.findall(r"<code>(docs/[^<]+)</code>", about_html())
    assert len(named) >= 3
    assert all((ROOT / name).is_file() for name in named)


def test_the_citation_can_be_read_by_bibtex():
    (entry,) = re.findall(r"<pre[^>]*>(@inproceedings.*)</pre>", about_html(), re.DOTALL)
    assert entry.count("{") == entry.count("}")
    fields = dict(re.findall(r"^  (\w+) += \{(.*?)\},?$", entry, re.DOTALL | re.MULTILINE))
    assert {"title", "author", "booktitle", "year"} <= fields.keys()
    assert len(" ".join(fields["author"].split()).split(" and ")) == 7


@pytest.mark.browser
def test_it_fits_a_phone_and_leaves_the_faces_alone(visit, app):
    page = visit(reduced_motion="reduce", viewport={"width": 360, "height": 800}).open().perform(samples=1)
    page.set_frame(5)
    before = page.faces()[0]
    page.tab.get_by_role("tab", name="About").click()
    page.tab.get_by_role("heading", name="How it works").wait_for()
    assert page.tab.get_by_role("img", name="A sentence gives").is_visible()
    assert page.tab.evaluate("document.documentElement.scrollWidth") == 360
    assert page.tab.locator(".cteg-about").bounding_box()["width"] < 360
    page.tab.get_by_role("tab", name="Create").click()
    page.tab.locator(".window").wait_for()
    page.set_frame(5)
    assert abs(page.faces()[0] - before).max() <= 2
    assert [url for url in page.requests if not url.startswith((app.url, "data:", "blob:"))] == []
    assert page.complaints == []
