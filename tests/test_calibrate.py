"""Guidance, amplitude, contrast and spread are fitted to what is measured."""

import numpy as np
import pytest
import torch

from cteg.emphasis import emphasised, plain
from tests.models import small_model
from training import calibrate

MODEL = small_model(space="flame")
RNG = np.random.default_rng(0)
TRUE = [[np.cumsum(RNG.normal(size=(60, 53)), axis=0).astype(np.float32) for _ in range(2)] for _ in range(3)]


class Labelled:
    """A judge of three sentences whose references move as they please."""

    references = TRUE
    sentences = range(3)


def weaker(model, judge, **changes):
    """Smooth clips of half the amplitude that shake more the wider steps are spread."""
    shaking = np.random.default_rng(0)
    spread = changes["step_spread"]
    smooth = [[np.apply_along_axis(np.convolve, 0, clip, np.ones(9) / 9, "same") for clip in group] for group in TRUE]
    return [[0.5 * clip + 0.25 * spread * shaking.normal(size=clip.shape) for clip in group] for group in smooth]


def test_amplitude_makes_up_for_weak_faces(monkeypatch):
    monkeypatch.setattr(calibrate, "draw", weaker)
    found = calibrate.movement(MODEL, Labelled(), 0.0, 0.0)
    drawn = [clip for group in weaker(None, None, step_spread=0.0) for clip in group]
    first = MODEL.first_frame
    strong = [
        (first + emphasised(torch.from_numpy(clip) - first, found.amplitude, found.contrast)).numpy() for clip in drawn
    ]
    wanted = calibrate.variation([clip for group in TRUE for clip in group])
    assert calibrate.variation(strong) == pytest.approx(wanted, rel=0.01)


def test_contrast_makes_up_for_vague_faces(monkeypatch):
    """Clips whose coefficients are those of the references bent by 1/1.4 need 1.4, whatever their amplitude."""
    first = MODEL.first_frame.numpy()

    def vague(model, judge, **changes):
        deviations = [[clip - first for clip in group] for group in TRUE]
        bent = [[plain(torch.from_numpy(d), 1.0, 1.4).numpy() for d in group] for group in deviations]
        return [[first + 0.3 * clip for clip in group] for group in bent]

    monkeypatch.setattr(calibrate, "draw", vague)
    assert calibrate.movement(MODEL, Labelled(), 1.0, 0.0).contrast == pytest.approx(1.4, abs=0.01)


def test_spread_grows_until_the_first_bound_is_met(monkeypatch):
    monkeypatch.setattr(calibrate, "draw", weaker)
    fitted = calibrate.fit_movement(MODEL, Labelled(), 0.0)
    spread = fitted["step_spread"]
    low, high = calibrate.SPREADS
    assert low < spread < high
    found = calibrate.movement(MODEL, Labelled(), spread, 0.0)
    assert found.change <= 1
    assert found.jerk <= calibrate.MOST_JERK
    assert fitted["amplitude"] == pytest.approx(found.amplitude, abs=1e-3)
    assert fitted["contrast"] == pytest.approx(found.contrast, abs=1e-3)
    wider = calibrate.movement(MODEL, Labelled(), spread + 0.06, 0.0)
    assert wider.change > 1 or wider.jerk > calibrate.MOST_JERK


def test_guidance_with_the_best_mix_of_feelings_is_taken(monkeypatch):
    def figures(judge, clips):
        return {"calibration": lambda counts: abs(clips - 0.6), "fit": lambda counts: 0.5}

    monkeypatch.setattr(calibrate, "figures", figures)
    monkeypatch.setattr(calibrate, "draw", lambda model, judge, sequence_guidance: sequence_guidance)
    assert calibrate.fit_guidance(MODEL, Labelled()) == 0.5


def test_drawing_with_other_numbers_leaves_the_model_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr(
        calibrate.CTEGSystem, "generate", lambda system, *_, **__: seen.append(system.model.config.amplitude)
    )
    model = small_model(amplitude=1.1)
    calibrate.draw(model, Labelled(), amplitude=1.4)
    assert seen == [1.4]
    assert model.config.amplitude == 1.1
