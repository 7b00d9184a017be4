"""Guidance, amplitude and spread are fitted to what is measured."""

import numpy as np
import pytest

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
    amplitude, *_ = calibrate.movement(MODEL, Labelled(), 0.0, 0.0)
    drawn = [clip for group in weaker(None, None, step_spread=0.0) for clip in group]
    wanted = calibrate.variation([clip for group in TRUE for clip in group])
    assert calibrate.variation([amplitude * clip for clip in drawn]) == pytest.approx(wanted, rel=0.01)


def test_spread_grows_until_the_first_bound_is_met(monkeypatch):
    monkeypatch.setattr(calibrate, "draw", weaker)
    spread, amplitude = calibrate.fit_movement(MODEL, Labelled(), 0.0)
    low, high = calibrate.SPREADS
    assert low < spread < high
    *_, change, jerk = calibrate.movement(MODEL, Labelled(), spread, 0.0)
    assert change <= 1
    assert jerk <= calibrate.MOST_JERK
    *_, change, jerk = calibrate.movement(MODEL, Labelled(), spread + 0.06, 0.0)
    assert change > 1 or jerk > calibrate.MOST_JERK
    assert amplitude == pytest.approx(calibrate.movement(MODEL, Labelled(), spread, 0.0)[0], abs=1e-3)


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
