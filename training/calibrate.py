"""Fit what is drawn to what is real: `python -m training.calibrate --weights DIR --performances DIR ...`.

Three numbers of `CTEGConfig` that training does not see are fitted on held-out sentences, in this order:

- `sequence_guidance`, so that the mix of feelings over a sentence's clips is nearest to its labels;
- `amplitude`, so that the two readings of Variation, within a frame and over time, lie about the reference's (their
  geometric mean equals it). What a model is unsure of it averages, and faces come out weak. Speech synthesis knows the
  same loss and the same cure, as global variance compensation (Toda and Tokuda 2007);
- `step_spread`, so that FgD equals the reference's, unless jerk would leave its bound first. Drawn frame after frame,
  small doubts average out and faces move less than they should; only the step latents are spread, the sequence latent
  keeps its own.

Amplitude and spread depend on each other, and are fitted together.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.optimize import brentq

from cteg import layout, metrics
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.system import Frames
from cteg.checkpoint import load_pretrained, save_pretrained
from cteg.model.cteg import CTEG
from training.common import plain_errors
from training.evaluation.figures import figures
from training.judge import Judge

GUIDANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
AMPLITUDES = (0.25, 4.0)
SPREADS = (0.8, 1.6)
ROUNDS = 5
"""Halvings of the range of spreads: to 0.03."""

MOST_JERK = 1.15
"""Largest jerk, as a ratio to the reference's."""

SAMPLES = 8
"""Clips per sentence."""


def draw(model: CTEG, judge: Judge, **changes: float) -> list[list[Frames]]:
    """Draw clips of a model with other numbers than its own, which it keeps."""
    own = model.config
    model.config = dataclasses.replace(own, **changes)
    clips = CTEGSystem(model, "").generate(judge.sentences, SAMPLES, 1.0, seed=0)
    model.config = own
    return clips


def fit_guidance(model: CTEG, judge: Judge) -> float:
    """Return the guidance of `GUIDANCES` with the lowest divergence of mixes from labels."""
    found, each_once = {}, np.ones(len(judge.sentences))
    for guidance in GUIDANCES:
        read = figures(judge, draw(model, judge, sequence_guidance=guidance))
        found[guidance] = read["calibration"](each_once)
        typer.echo(f"guidance {guidance:.2f}: calibration {found[guidance]:.3f}, fit {read['fit'](each_once):.3f}")
    return min(found, key=found.get)


def variation(clips: list[Frames]) -> float:
    """Geometric mean of the two readings of Variation."""
    return math.sqrt(metrics.variation_within_frame(clips) * metrics.variation_over_time(clips))


def movement(model: CTEG, judge: Judge, spread: float, guidance: float) -> tuple[float, float, float]:
    """Return the amplitude that a spread needs, and with it FgD and jerk, divided by the reference's."""
    drawn = draw(model, judge, step_spread=spread, amplitude=1.0, sequence_guidance=guidance)
    ours, true = ([clip for group in groups for clip in group] for groups in (drawn, judge.references))
    wanted, first = variation(true), model.first_frame.cpu().numpy()

    def at(amplitude: float) -> list[Frames]:
        clips = [first + amplitude * (clip - first) for clip in ours]
        return [layout.clamp_open(clip) for clip in clips] if model.config.space == "open" else clips

    amplitude = brentq(lambda tried: variation(at(tried)) - wanted, *AMPLITUDES, xtol=1e-3)
    change = metrics.fine_grained_diversity(at(amplitude)) / metrics.fine_grained_diversity(true)
    jerk = metrics.jerk(at(amplitude)) / metrics.jerk(true)
    typer.echo(f"spread {spread:.3f}: amplitude {amplitude:.3f}, FgD {change:.3f}, jerk {jerk:.3f}")
    return amplitude, change, jerk


def fit_movement(model: CTEG, judge: Judge, guidance: float) -> tuple[float, float]:
    """Return the spread in `SPREADS` at which FgD or jerk reaches its bound, and its amplitude; both grow with it."""
    low, high = SPREADS
    for _ in range(ROUNDS):
        spread = (low + high) / 2
        _, change, jerk = movement(model, judge, spread, guidance)
        low, high = (low, spread) if change > 1 or jerk > MOST_JERK else (spread, high)
    return round(low, 3), round(movement(model, judge, low, guidance)[0], 3)


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    classifier: Annotated[Path, typer.Option(help="file written by training.motion_classifier")],
    out: Annotated[Path, typer.Option(help="weights folder to write")],
    per_group: Annotated[int, typer.Option(min=1, help="held-out sentences per feeling")] = 12,
) -> None:
    """Fit the three numbers and write the weights with them."""
    model, encoder, name = load_pretrained(weights)
    judge = Judge.prepare(performances, weights / "text_encoder", classifier, per_group)
    guidance = fit_guidance(model, judge) if model.config.sequence_latent_size else 0.0
    spread, amplitude = fit_movement(model, judge, guidance)
    typer.echo(f"sequence_guidance = {guidance}, step_spread = {spread}, amplitude = {amplitude}")
    model.config = dataclasses.replace(
        model.config, sequence_guidance=guidance, step_spread=spread, amplitude=amplitude
    )
    save_pretrained(model, encoder, out, name)


if __name__ == "__main__":
    typer.run(main)
