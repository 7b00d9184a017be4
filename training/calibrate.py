"""Fit what is drawn to what is real: `python -m training.calibrate --weights DIR --performances DIR ...`.

Four numbers of `CTEGConfig` that training does not see are fitted on held-out sentences, in this order:

- `sequence_guidance`, so that the mix of feelings over a sentence's clips is nearest to its labels;
- `contrast`, so that the coefficients' mean is as far below their root mean square as the reference's: averaged, too
  many are a little above nothing, and too few at nothing or at their most;
- `amplitude`, so that the two readings of Variation, within a frame and over time, lie about the reference's (their
  geometric mean equals it). What a model is unsure of it averages, and faces come out weak. Speech synthesis knows the
  same loss and the same cure, as global variance compensation (Toda and Tokuda 2007);
- `step_spread`, so that FgD equals the reference's, unless jerk would leave its bound first. Drawn frame after frame,
  small doubts average out and faces move less than they should; only the step latents are spread, the sequence latent
  keeps its own.

The last three depend on each other, and are fitted together.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.optimize import brentq
from torch import Tensor

from cteg import layout, metrics
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.system import Frames
from cteg.checkpoint import load_pretrained, save_pretrained
from cteg.emphasis import emphasised
from cteg.model.cteg import CTEG
from training.common import plain_errors
from training.evaluation.figures import figures
from training.judge import Judge

GUIDANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
AMPLITUDES = (0.25, 6.0)
CONTRASTS = (0.5, 2.0)
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


@dataclass(frozen=True)
class Movement:
    """What a spread of the step latents needs, and FgD and jerk with it, divided by the reference's."""

    amplitude: float
    contrast: float
    change: float
    jerk: float


def mean_to_rms(deviation: Tensor, contrast: float = 1.0) -> float:
    """Mean size of the expression coefficients of all frames (F, 53), divided by their root mean square."""
    shapes = emphasised(deviation, 1.0, contrast)[:, layout.EXPRESSION]
    return float(shapes.abs().mean() / shapes.square().mean().sqrt())


def movement(model: CTEG, judge: Judge, spread: float, guidance: float) -> Movement:
    """Fit contrast and amplitude to a spread."""
    drawn = draw(model, judge, step_spread=spread, amplitude=1.0, contrast=1.0, sequence_guidance=guidance)
    ours, true = ([clip for group in groups for clip in group] for groups in (drawn, judge.references))
    first = model.first_frame.cpu()
    lengths = [len(clip) for clip in ours]
    deviation, wanted = (torch.from_numpy(np.concatenate(clips)) - first for clips in (ours, true))
    contrast = brentq(lambda tried: mean_to_rms(deviation, tried) - mean_to_rms(wanted), *CONTRASTS, xtol=1e-3)

    def at(amplitude: float) -> list[Frames]:
        frames = (first + emphasised(deviation, amplitude, contrast)).numpy()
        frames = layout.clamp_open(frames) if model.config.space == "open" else frames
        return np.split(frames, np.cumsum(lengths)[:-1])

    amplitude = brentq(lambda tried: variation(at(tried)) - variation(true), *AMPLITUDES, xtol=1e-3)
    clips = at(amplitude)
    change = metrics.fine_grained_diversity(clips) / metrics.fine_grained_diversity(true)
    jerk = metrics.jerk(clips) / metrics.jerk(true)
    typer.echo(
        f"spread {spread:.3f}: contrast {contrast:.3f}, amplitude {amplitude:.3f}, FgD {change:.3f}, jerk {jerk:.3f}"
    )
    return Movement(amplitude, contrast, change, jerk)


def fit_movement(model: CTEG, judge: Judge, guidance: float) -> dict[str, float]:
    """Find the spread in `SPREADS` at which FgD or jerk, which grow with it, reaches its bound.

    Returns:
        Fields of `CTEGConfig`: that spread, and its amplitude and contrast.
    """
    low, high = SPREADS
    for _ in range(ROUNDS):
        spread = (low + high) / 2
        found = movement(model, judge, spread, guidance)
        low, high = (low, spread) if found.change > 1 or found.jerk > MOST_JERK else (spread, high)
    found = movement(model, judge, low, guidance)
    return {
        "step_spread": round(low, 3),
        "amplitude": round(found.amplitude, 3),
        "contrast": round(found.contrast, 3),
    }


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    classifier: Annotated[Path, typer.Option(help="file written by training.motion_classifier")],
    out: Annotated[Path, typer.Option(help="weights folder to write")],
    per_group: Annotated[int, typer.Option(min=1, help="held-out sentences per feeling")] = 12,
) -> None:
    """Fit the four numbers and write the weights with them."""
    model, encoder, name = load_pretrained(weights)
    judge = Judge.prepare(performances, weights / "text_encoder", classifier, per_group)
    guidance = fit_guidance(model, judge) if model.config.sequence_latent_size else 0.0
    fitted = {"sequence_guidance": guidance, **fit_movement(model, judge, guidance)}
    typer.echo(", ".join(f"{name} = {value}" for name, value in fitted.items()))
    model.config = dataclasses.replace(model.config, **fitted)
    save_pretrained(model, encoder, out, name)


if __name__ == "__main__":
    typer.run(main)
