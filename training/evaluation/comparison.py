"""All figures of several systems on the same sentences and bootstrap draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cteg import metrics
from cteg.baselines.system import Frames, System
from cteg.model.cteg import CTEG, TrainingNoise
from cteg.model.released import ReleasedCTEG
from cteg.sampling import Model
from training.data import pad_clips
from training.evaluation import report
from training.evaluation.estimates import Counts, Statistic, bootstrap_counts, estimate, over_pairs, ratio
from training.evaluation.figures import copy_last_references, figures, perplexities, predict_references, spectrum
from training.judge import Judge

ABSOLUTE = ("calibration", "length_distance", "frechet")
"""Figures that are not divided by the reference's."""

LATENTS = 3000
"""Step latents that are clustered."""


@dataclass(frozen=True)
class Row:
    """A system at a temperature, as one row of the tables."""

    name: str
    system: System
    temperature: float


def with_intervals(
    found: Mapping[str, Statistic], reference: Mapping[str, Statistic], counts: Counts
) -> dict[str, dict[str, float]]:
    """Figures as JSON values: `value`, `margin`, and where the reference has one `ratio`, `ratio_margin`."""
    written = {}
    for name, statistic in found.items():
        plain = estimate(statistic, counts)
        if not np.isfinite(plain.value):
            continue  # such as the jerk of clips that all end after three frames
        written[name] = {"value": plain.value, "margin": plain.margin}
        if name in reference and name not in ABSOLUTE:
            divided = estimate(ratio(statistic, reference[name]), counts)
            written[name] |= {"ratio": divided.value, "ratio_margin": divided.margin}
    return written


def perplexity_figures(
    predicted: list[list[Frames]], judge: Judge, scale: NDArray[np.floating], counts: Counts, stride: int
) -> dict[str, dict[str, float]]:
    """CPPL of predicted reference clips, with its stride."""
    found = with_intervals(perplexities(predicted, judge.references, scale), {}, counts)
    return {**found, "stride": {"value": stride, "margin": 0.0}}


class Comparison:
    """All figures of all systems on the same sentences and bootstrap draws.

    Args:
        judge: The sentences.
        free: Reference clips that Diversity is compared with, as many as there are sentences.
        scale: (53,) standard deviation of every coefficient over the training data, for CPPL.
        seed: Of samples and bootstrap.
        draws: Of the bootstrap.
    """

    def __init__(self, judge: Judge, free: list[Frames], scale: NDArray[np.floating], seed: int, draws: int) -> None:
        self.judge, self.scale, self.seed = judge, scale, seed
        self.counts = bootstrap_counts(len(judge.sentences), np.random.default_rng(seed), draws)
        self.reference = {**figures(judge, judge.references), "diversity": over_pairs(free)}
        own = with_intervals(self.reference, self.reference, self.counts)
        own.pop("frechet", None)  # a set's distance from itself is 0 and says nothing
        own.pop("length_distance")
        self.systems: dict[str, dict[str, dict[str, float]]] = {report.REFERENCE: own}
        self.spectra = {report.REFERENCE: spectrum(judge.references)}
        self.lengths = {report.REFERENCE: [len(clip) for clips in judge.references for clip in clips]}

    def judge_clips(self, groups: list[list[Frames]]) -> dict[str, dict[str, float]]:
        """Figures of clips for the judge's sentences."""
        return with_intervals(figures(self.judge, groups), self.reference, self.counts)

    def add(self, row: Row, samples: int) -> None:
        """Let a system generate and predict, and write down its figures."""
        groups = row.system.generate(self.judge.sentences, samples, row.temperature, self.seed)
        found = self.judge_clips(groups)
        free = row.system.generate_freely(len(self.judge.sentences), row.temperature, self.seed)
        if free is not None:
            found |= with_intervals({"diversity": over_pairs(free)}, self.reference, self.counts)
        predicted = predict_references(row.system, self.judge)
        if predicted is not None:
            found |= perplexity_figures(predicted, self.judge, self.scale, self.counts, row.system.stride)
        self.systems[row.name] = found
        self.spectra[row.name] = spectrum(groups)
        self.lengths[row.name] = [len(clip) for clips in groups for clip in clips]

    def add_copies(self) -> None:
        """Write down the control of CPPL for every stride that a system has, and for single frames."""
        strides = {int(found["stride"]["value"]) for found in self.systems.values() if "stride" in found}
        for stride in sorted({1, *strides}):
            predicted = copy_last_references(self.judge, stride)
            self.systems[report.copy_last(stride)] = perplexity_figures(
                predicted, self.judge, self.scale, self.counts, stride
            )


@torch.inference_mode()
def step_latent_means(model: Model, judge: Judge, seed: int) -> NDArray[np.float32] | None:
    """Posterior means of the lowest layer's step latents over reference clips, at most `LATENTS` of them: (n, Z)."""
    if isinstance(model, CTEG) and not model.config.has_step_latent:
        return None
    torch.manual_seed(seed)
    owners = np.repeat(np.arange(len(judge.references)), [len(clips) for clips in judge.references])
    clips = [clip for clips in judge.references for clip in clips]
    means = []
    for start in range(0, len(clips), 64):
        frames, valid = pad_clips(clips[start : start + 64], model.config.frames_per_step)
        sentences = judge.sentences.rows(owners[start : start + 64].tolist())
        if isinstance(model, ReleasedCTEG):
            longest = model.config.positions - 3  # less the start row, the mean frame and the end row
            frames, valid = (rows[:, :longest] for rows in (frames, valid))
            means.append(model.posterior_means(sentences.states, sentences.mask, frames, valid)[valid].numpy())
            continue
        noise = TrainingNoise.draw(model.config, len(frames), frames.shape[1] // model.config.frames_per_step)
        prediction = model(frames, valid, sentences.states, sentences.mask, noise)
        real = valid.unflatten(1, (-1, model.config.frames_per_step)).any(-1)
        means.append(prediction.traces[0].posterior.mean[real].numpy())
    joined = np.concatenate(means)
    return joined[np.random.default_rng(seed).permutation(len(joined))[:LATENTS]]


def latent_clusters(model: Model, judge: Judge, seed: int) -> int | None:
    """Clusters of the step latents; None for a model without."""
    means = step_latent_means(model, judge, seed)
    return None if means is None else metrics.latent_clusters(means)
