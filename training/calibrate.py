"""Fit how widely step latents are drawn: `python -m training.calibrate --weights DIR --performances DIR ...`.

A step latent is trained with true frames before it. Drawn frame after frame, small doubts average out and faces move
less than the reference. One factor on the spread of the step latents (`CTEGConfig.step_spread`; the sequence latent
keeps its own) makes up for it. It is fitted on held-out sentences so that FgD equals the reference's, unless jerk would
leave its bound first.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cteg.checkpoint import load_pretrained, save_pretrained
from cteg.model.cteg import CTEG
from training.common import plain_errors
from training.judge import Judge

RANGE = (1.0, 2.0)
ROUNDS = 5
"""Halvings of the range: to 0.03."""

MOST_JERK = 1.15
"""Largest jerk, as a ratio to the reference's."""


def with_spread(model: CTEG, spread: float) -> CTEG:
    """Set the spread of the step latents in place and return the model."""
    model.config = dataclasses.replace(model.config, step_spread=spread)
    return model


def fit_spread(model: CTEG, judge: Judge) -> float:
    """Return the spread in `RANGE` at which FgD or jerk reaches its bound; both grow with it."""
    low, high = RANGE
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        figures = judge.figures(with_spread(model, middle))
        change, jerk = figures["fine_grained_diversity_ratio"], figures["jerk_ratio"]
        typer.echo(f"spread {middle:.3f}: FgD {change:.3f}, jerk {jerk:.3f}, fit {figures['fit']:.3f}")
        is_too_much = change > 1 or jerk > MOST_JERK
        low, high = (low, middle) if is_too_much else (middle, high)
    return round(low, 3)


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    classifier: Annotated[Path, typer.Option(help="file written by training.motion_classifier")],
    out: Annotated[Path, typer.Option(help="weights folder to write")],
    per_group: Annotated[int, typer.Option(help="held-out sentences per feeling")] = 12,
) -> None:
    """Fit the spread and write the weights with it."""
    model, encoder, name = load_pretrained(weights)
    judge = Judge.prepare(performances, weights / "text_encoder", classifier, per_group)
    spread = fit_spread(model, judge)
    typer.echo(f"step_spread = {spread}")
    save_pretrained(with_spread(model, spread), encoder, out, name)


if __name__ == "__main__":
    typer.run(main)
