"""Intervals, figures of systems, tables: what `training.evaluate` and `training.ablate` are made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cteg import metrics
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.retrieval import ShuffledFrames
from cteg.baselines.system import Sentences
from cteg.emotion import SEVEN, MotionClassifier
from cteg.model.config import CTEGConfig
from tests.models import sentence, small_model
from training.configs import CONFIGS
from training.evaluation import report
from training.evaluation.comparison import Comparison, Row, latent_clusters
from training.evaluation.estimates import bootstrap_counts, estimate, of_clips, over_pairs, ratio, weighted_mean
from training.evaluation.figures import copy_last_references, figures, perplexities, predict_references
from training.evaluation.setting import code_version, describe_command
from training.judge import Judge
from training.performance.labels import LABEL_INDEX, SEVEN_NAMES, label_matrix, to_seven
from training.variants import VARIANTS

SENTENCES = 14


def performances(seed: int, counts: list[int]) -> list[list[np.ndarray]]:
    """Smooth random clips of 20 to 40 frames."""
    rng = np.random.default_rng(seed)

    def clip() -> np.ndarray:
        frames, channels = int(rng.integers(20, 40)), rng.uniform(0, 0.5, 53)
        return (np.sin(np.linspace(0, np.pi, frames))[:, None] * channels).astype(np.float32)

    return [[clip() for _ in range(count)] for count in counts]


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    classifier = MotionClassifier(16).eval()
    groups = np.arange(SENTENCES) % 7
    states, mask = sentence(5, SENTENCES)
    texts = [f"sentence {number}" for number in range(SENTENCES)]
    references = performances(1, [2, 3] * (SENTENCES // 2))
    return Judge(Sentences(texts, states, mask), np.eye(7)[groups], groups, references, classifier)


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_the_margin_of_a_mean_is_that_of_the_textbook():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = estimate(weighted_mean(values, np.ones(400)), bootstrap_counts(400, np.random.default_rng(1), 2000))
    assert found.value == pytest.approx(values.mean())
    assert found.margin == pytest.approx(1.96 * values.std() / 20, rel=0.06)


def test_a_ratio_of_a_figure_to_itself_is_certain():
    statistic = weighted_mean([1.0, 5.0, 2.0], [1, 1, 1])
    found = estimate(ratio(statistic, statistic), bootstrap_counts(3, np.random.default_rng(0), 50))
    assert (found.value, found.margin) == (1, 0)


def test_clips_that_are_too_short_do_not_count():
    groups = [[np.zeros((3, 53)), np.ones((9, 53))], [np.zeros((2, 53))]]
    found = of_clips(lambda clips: float(np.mean([clip.mean() for clip in clips])), groups, shortest=4)
    assert found(np.array([1, 1])) == 1
    assert np.isnan(found(np.array([0, 2])))


def test_pairs_are_those_of_diversity():
    clips = [clip for clip, *_ in performances(3, [1] * 6)]
    rng = np.random.default_rng(0)
    statistic = over_pairs(clips)
    assert statistic(np.ones(6, dtype=int)) == pytest.approx(metrics.diversity(clips, rng))
    without_last = statistic(np.array([1, 1, 1, 1, 1, 0]))
    assert without_last == pytest.approx(metrics.diversity_on_test(clips[:5], rng))
    assert np.isnan(statistic(np.array([6, 0, 0, 0, 0, 0])))  # a clip is no pair with itself


# -- figures of a system -----------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_metrics(judge):
    groups = performances(2, [3] * SENTENCES)
    clips = [clip for group in groups for clip in group]
    found = {name: statistic(np.ones(SENTENCES, dtype=int)) for name, statistic in figures(judge, groups).items()}
    assert found["fit"] == pytest.approx(judge.fit(groups))
    assert found["fit"] == pytest.approx(np.mean([found[f"fit_{name}"] for name in SEVEN]))
    assert found["multimodality"] == pytest.approx(metrics.multimodality(groups))
    assert found["jerk"] == pytest.approx(metrics.jerk(clips))
    assert found["fine_grained_diversity"] == pytest.approx(metrics.fine_grained_diversity(clips))
    assert found["variation_over_time"] == pytest.approx(metrics.variation_over_time(clips))
    assert found["variation_within_frame"] == pytest.approx(metrics.variation_within_frame(clips))
    references = [clip for group in judge.references for clip in group]
    lengths = [len(clip) for clip in clips]
    assert found["length_distance"] == pytest.approx(metrics.length_distance(lengths, [len(c) for c in references]))
    features = (judge.classifier.embed(some) for some in (clips, references))
    assert found["frechet"] == pytest.approx(metrics.frechet_distance(*features))
    reading = judge.classifier.probabilities(groups[0]).argmax(1)
    first = metrics.jensen_shannon(np.bincount(reading, minlength=7), judge.mixes[0])
    only_first = np.eye(SENTENCES, dtype=int)[0]
    assert figures(judge, groups)["calibration"](only_first) == pytest.approx(first)


def test_fit_of_a_source_is_that_of_its_sentences(judge):
    groups, every = performances(2, [3] * SENTENCES), np.ones(SENTENCES, dtype=int)
    split = replace(judge, sources=["own"] * (SENTENCES - 2) + ["xed"] * 2)
    found = figures(split, groups)
    only_last = replace(judge, groups=judge.groups[-2:])
    assert found["fit_xed"](every) == pytest.approx(only_last.fit(groups[-2:]))
    own = found["fit_own"](every) * (SENTENCES - 2) + found["fit_xed"](every) * 2
    assert own == pytest.approx(found["fit"](every) * SENTENCES)


def test_one_clip_per_sentence_has_no_multimodality(judge):
    assert "multimodality" not in figures(judge, performances(2, [1] * SENTENCES))


def test_perplexities_are_those_of_the_metric(judge):
    scale = np.full(53, 0.3)
    predicted = copy_last_references(judge, 2)
    found = perplexities(predicted, judge.references, scale)
    flat = [[clip for clips in some for clip in clips] for some in (predicted, judge.references)]
    every = np.ones(SENTENCES, dtype=int)
    assert found["cppl"](every) == pytest.approx(metrics.continuous_perplexity(*flat, scale))
    two_sided = metrics.continuous_perplexity(*flat, scale, is_two_sided=True)
    assert found["cppl_two_sided"](every) == pytest.approx(two_sided)
    assert found["cppl_two_sided_bits"](every) == pytest.approx(np.log2(two_sided))


def test_predictions_go_back_to_their_sentences(judge):
    predicted = predict_references(CTEGSystem(small_model(), "CTEG"), judge)
    assert [[len(c) for c in group] for group in predicted] == [[len(c) for c in g] for g in judge.references]
    assert predict_references(ShuffledFrames(judge.references), judge) is None


def test_a_comparison_sets_the_reference_to_1_and_shuffling_apart(judge):
    free = [clips[0] for clips in judge.references]
    comparison = Comparison(judge, free, np.full(53, 0.3), seed=0, draws=8)
    comparison.add(Row("shuffled", ShuffledFrames(judge.references), 1.0), samples=2)
    model = small_model(max_frames=48)
    comparison.add(Row("CTEG", CTEGSystem(model, "CTEG"), 1.0), samples=2)
    comparison.add_copies()
    reference, shuffled, ours = (comparison.systems[name] for name in (report.REFERENCE, "shuffled", "CTEG"))
    assert reference["jerk"]["ratio"] == 1
    assert reference["jerk"]["ratio_margin"] == 0
    assert "frechet" not in reference
    assert shuffled["jerk"]["ratio"] > 5
    assert shuffled["variation_within_frame"]["ratio"] == pytest.approx(1, abs=0.2)
    assert "cppl" not in shuffled
    assert ours["stride"]["value"] == 4
    assert "ratio" in ours["diversity"]
    assert {"copy-last, 1 frame", "copy-last, 4 frames"} <= comparison.systems.keys()
    copied = comparison.systems["copy-last, 1 frame"]
    assert copied["cppl_bits"]["value"] < ours["cppl_bits"]["value"]
    assert 1 <= latent_clusters(model, judge, seed=0) <= 500
    assert latent_clusters(small_model(has_step_latent=False, max_frames=48), judge, seed=0) is None


def test_labels_add_up_to_seven_groups():
    weights = label_matrix([{"labels": {"amusement": 0.5, "love": 0.25, "disgust": 0.25}}])
    assert weights[0, LABEL_INDEX["love"]] == 0.25
    assert weights.sum() == 1
    assert to_seven(weights)[0].tolist() == [0.75, 0, 0, 0, 0, 0.25, 0]
    assert SEVEN_NAMES == SEVEN  # what the reader of clips and the reader of texts call them


# -- reports -----------------------------------------------------------------------------------------------------------


def test_cells_show_figures_ratios_and_margins():
    figure = {"jerk": {"value": 0.0123, "margin": 0.0011, "ratio": 1.234, "ratio_margin": 0.056}}
    assert report.cell(figure, "jerk", "ratio", is_reference=False) == "1.23 ± 0.06"
    assert report.cell(figure, "jerk", "ratio", is_reference=True) == "0.012 ± 0.001"
    assert report.cell(figure, "jerk", "share", is_reference=True) == "1.23 ± 0.06"
    assert report.cell(figure, "fit", "value", is_reference=False) == report.NOTHING
    perplexity = {"cppl": {"value": 262.39, "margin": 30.0}}
    assert report.cell(perplexity, "cppl", "value", is_reference=False) == "262"


def test_a_table_leaves_out_systems_without_any_of_its_figures():
    systems = {"a": {"fit": {"value": 0.5, "margin": 0.0}}, "b": {"cppl": {"value": 9.0, "margin": 1.0}}}
    assert report.table(systems, [("fit", "fit", "value")]) == "| | fit |\n|---|---|\n| a | 0.50 |"


def test_aims_are_met_or_not_by_the_figures():
    ratios = dict.fromkeys(
        ("fit", "multimodality", "variation_over_time", "variation_within_frame", "fine_grained_diversity", "jerk"), 1.0
    )
    ours = {name: {"value": 0.5, "ratio": value} for name, value in ratios.items()}
    ours |= {name: {"value": 0.08} for name in ("calibration", "frechet", "cppl", "cppl_two_sided")}
    ours |= {"stride": {"value": 5}, "jerk": {"value": 1.0, "ratio": 1.2}}
    systems = {"CTEG": ours, "LM-Listener": {"frechet": {"value": 0.1}}}
    systems["copy-last, 5 frames"] = {"cppl": {"value": 4.0}, "cppl_two_sided": {"value": 0.01}}
    curve = {"0": {"multimodality": {"value": 0.0}}, "1": {"multimodality": {"value": 1.0}}}
    found = report.aims({"systems": systems, "main": "CTEG", "curve": curve})
    missed = [text for text, is_met in found if not is_met]
    assert len(found) == 11
    assert [text.split(" ")[0] for text in missed] == ["jerk", "Fréchet", "cppl_two_sided"]


def test_the_control_of_a_model_of_single_frames_has_the_name_that_the_aims_look_for(judge):
    comparison = Comparison(judge, [clips[0] for clips in judge.references], np.full(53, 0.3), seed=0, draws=4)
    comparison.add_copies()
    assert set(comparison.systems) == {report.REFERENCE, report.copy_last(1)}
    assert [report.copy_last(stride) for stride in (1, 5)] == ["copy-last, 1 frame", "copy-last, 5 frames"]


def test_the_version_is_that_of_the_code_wherever_a_command_is_run(tmp_path, monkeypatch):
    here = code_version()
    monkeypatch.chdir(tmp_path)
    assert code_version() == here
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert code_version() == "unknown"


def test_a_command_is_written_without_the_folders_of_this_machine():
    options = {"weights": Path("weights/cteg-open"), "out": Path("/home/me/results"), "also": None, "per_group": 3}
    written = describe_command("training.evaluate", options | {"only": ["no EwA", "base"]})
    expected = "--weights weights/cteg-open --out results --per-group 3 --only 'no EwA' --only base"
    assert written == f"python -m training.evaluate {expected}"


# -- variants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_the_base_in_what_it_says_only(name):
    base = CONFIGS["small"]
    changed = VARIANTS[name].apply(base)
    keys = CTEGConfig.__dataclass_fields__
    differing = {key for key in keys if getattr(base.model, key) != getattr(changed.model, key)}
    assert differing == set(VARIANTS[name].model)
    assert (changed.loss_weights != base.loss_weights) == bool(VARIANTS[name].losses)
    assert changed.steps == base.steps
    assert VARIANTS[name].needs_training == ("output noise" not in name)


def test_the_papers_comparisons_are_among_the_variants():
    changes = [dict(variant.model) for variant in VARIANTS.values()]
    for form in ("global", "none"):
        assert {"expression_attention": form} in changes
    for form in ("flat", "none"):
        assert {"latent_attention": form} in changes
    assert all({"layers": count} in changes for count in (2, 3, 4, 5))
