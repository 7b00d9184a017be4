"""What is read out of a result: right, for laymen, and at no cost before it is opened."""

from __future__ import annotations

import re
from collections import Counter

import gradio as gr
import numpy as np
import pytest

from cteg import layout
from cteg.checkpoint import save_module
from cteg.clip import Clip
from cteg.emotion import MotionClassifier
from cteg.errors import WeightsError
from cteg.metrics import clip_distance
from cteg.ui import insights
from cteg.ui.actions import Actions
from cteg.ui.insights import ACTIONS, Explainer, action_curves, actions_figure, strongest_actions
from cteg.ui.services import weights_folder
from tests.conftest import FakeGenerator


def test_every_named_shape_belongs_to_one_action():
    used = Counter(shape for shapes in ACTIONS.values() for shape in shapes)
    assert set(used) == {*layout.OPEN_SHAPES, "jawOpen"}
    assert set(used.values()) == {1}


def test_curves_show_what_moves_and_how_far():
    frames = np.zeros((4, layout.D), dtype=np.float32)
    frames[:, layout.INDEX["mouthSmileLeft"]] = [0, 0.4, 0.8, 0.4]
    frames[:, layout.INDEX["jawOpen"]] = layout.JAW_OPEN_RADIANS
    clip = Clip(frames)
    assert strongest_actions([clip], 2) == ["jaw opens", "lip corners up"]
    curves = action_curves(clip)
    np.testing.assert_allclose(curves["jaw opens"], 1, rtol=1e-6)
    np.testing.assert_allclose(curves["lip corners up"], [0, 0.2, 0.4, 0.2], rtol=1e-6)


@pytest.mark.parametrize("faces", [1, 2, 3, 8])
def test_the_figure_has_a_panel_for_every_face_and_one_legend(faces):
    clips = FakeGenerator().generate("Hello.", faces)
    figure = actions_figure(clips)
    assert [title.text for title in figure.layout.annotations] == [f"Face {index + 1}" for index in range(faces)]
    assert len(figure.data) == faces * insights.SHOWN_ACTIONS
    assert sum(line.showlegend for line in figure.data) == insights.SHOWN_ACTIONS
    assert len({line.xaxis + line.yaxis for line in figure.data}) == faces
    assert figure.data[-1].x[-1] == pytest.approx((len(clips[-1]) - 1) / 25)


def test_the_reading_of_a_sentence_adds_up_and_is_text(tmp_path):
    found = Explainer(tmp_path / "none").explain(FakeGenerator(), FakeGenerator().generate("Hello.", 1))
    shares = [float(share) for share in re.findall(r"--share:([\d.]+)%", found.feelings)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert shares[:2] == [50, 25]
    assert "<b>fear" not in found.feelings
    assert "4.1 equally likely" in found.feelings  # exp of the entropy, 1.414 nats
    assert found.motion is None  # no classifier
    assert found.distances is None  # one face


def test_distances_are_in_units_of_what_is_usual():
    clips = FakeGenerator().generate("Hello.", 3)
    unit = clip_distance(clips[0].coefficients, clips[1].coefficients)
    table = insights.distances_html(clips, unit, 2 * unit)
    cells = re.findall(r"<td[^>]*>([^<]+)</td>", table)
    assert cells[0] == cells[4] == cells[8] == "·"
    assert cells[1] == cells[3] == "1.0"
    assert "usually 2.0 apart" in table


def test_what_is_usual_is_measured_on_the_examples():
    same, other = insights.typical_distances(FakeGenerator())
    assert same > 0
    assert other == 0  # the fake generator performs every sentence alike


def test_a_classifier_is_used_where_there_is_one(tmp_path):
    path = tmp_path / "motion_classifier.safetensors"
    classifier = MotionClassifier()
    classifier.network[-1].bias.data[:] = 0
    classifier.network[-1].weight.data[:] = 0
    classifier.network[-1].bias.data[2] = 9
    save_module(classifier, path)
    clips = FakeGenerator().generate("Hello.", 2)
    found = Explainer(path).explain(FakeGenerator(), clips)
    assert found.motion.count("<span>anger</span>") == 2
    assert "Face 2" in found.motion
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        Explainer(path).explain(FakeGenerator(), clips)


def test_clips_without_named_shapes_have_no_curves(tmp_path):
    clips = [Clip(np.zeros((3, layout.D)), space="flame") for _ in range(2)]
    found = Explainer(tmp_path / "none").explain(FakeGenerator(), clips)
    assert found.actions is None
    assert found.motion is None
    assert found.distances is not None


@pytest.mark.browser
def test_the_page_explains_on_demand_and_follows_new_faces(visit, app):
    page = visit(reduced_motion="reduce").open().perform("Tell me why.", samples=2)
    assert not any("Plotly" in url for url in page.requests)
    page.tab.get_by_role("button", name="Why do they look like this?").click()
    page.tab.get_by_role("heading", name="What the model hears").wait_for(timeout=60_000)
    page.tab.locator("#cteg-actions").get_by_text("jaw opens").first.wait_for(timeout=60_000)
    page.tab.get_by_role("heading", name="How different they are").wait_for()
    assert page.tab.locator(".distances tbody tr").count() == 2
    has_classifier = (weights_folder(app.settings) / "motion_classifier.safetensors").is_file()
    assert page.tab.get_by_role("heading", name="without words").count() == has_classifier
    page.perform("And these?", samples=3)
    page.tab.wait_for_function("document.querySelectorAll('.distances tbody tr').length === 3")
    outside = [url for url in page.requests if not url.startswith((app.url, "data:", "blob:"))]
    assert outside == []
    assert page.complaints == []


@pytest.mark.parametrize("run", ["", None, "0" * 32, ["x"], 7])
def test_a_request_that_is_gone_is_told(app, run):
    with pytest.raises(gr.Error, match=r"Generate some faces first|no longer holds"):
        Actions(app.services).explain(run)
