"""All figures of one system, as functions of how often each sentence counts (see `estimates`).

Letters: S sentences, N clips per sentence, T frames, D = 53.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cteg import layout, metrics
from cteg.baselines.system import Frames, Sentences, System
from cteg.emotion import SEVEN
from training.evaluation.estimates import Counts, Statistic, of_clips, over_pairs, weighted_mean
from training.judge import Judge

FAST_HERTZ = 4.0
"""Facial movement above this is blinks, lips, and roughness."""

FRECHET_CLIPS = 8
"""Clips per sentence that enter the Fréchet distance: enough for it, and the bootstrap takes it 200 times."""

Groups = Sequence[Sequence[Frames]]
"""For every sentence its clips."""


def figures(judge: Judge, groups: Groups) -> dict[str, Statistic]:
    """Figures of clips that were made for the judge's sentences, one or more for each.

    Returns:
        By name: `fit`, `fit_<feeling>` and `fit_<source>`, `calibration`, `multimodality` (where every sentence has two
        clips), `diversity_on_test`, `variation_over_time`, `variation_within_frame`, `fine_grained_diversity`, `jerk`,
        `fast_power`, `length`, `length_distance`, `frechet`. Without feelings in the corpus, none of those that the
        reader of feelings is needed for: fit, calibration, Fréchet distance.
    """
    found = _readings(judge, groups) if judge.classifier else {}
    if min(map(len, groups)) > 1:
        pairs = [len(clips) * (len(clips) - 1) / 2 for clips in groups]
        found["multimodality"] = weighted_mean([metrics.multimodality([clips]) for clips in groups], pairs)
    found["diversity_on_test"] = over_pairs([clips[0] for clips in groups])
    found["variation_over_time"] = of_clips(metrics.variation_over_time, groups)
    found["variation_within_frame"] = of_clips(metrics.variation_within_frame, groups)
    found["fine_grained_diversity"] = of_clips(metrics.fine_grained_diversity, groups, shortest=2)
    found["jerk"] = of_clips(metrics.jerk, groups, shortest=4)
    found["fast_power"] = of_clips(_fast_power, groups, shortest=2)
    found["length"] = of_clips(lambda clips: float(np.mean([len(clip) for clip in clips])), groups)
    found["length_distance"] = _length_distance(groups, judge.references)
    return found


def _readings(judge: Judge, groups: Groups) -> dict[str, Statistic]:
    """Figures by what the classifier reads and by its features."""
    readings = [judge.classifier.probabilities(list(clips)).argmax(1) for clips in groups]
    hits = [float((read == group).mean()) for read, group in zip(readings, judge.groups, strict=True)]
    found: dict[str, Statistic] = {"fit": weighted_mean(hits, np.ones(len(hits)))}
    for index, name in enumerate(SEVEN):
        if (judge.groups == index).any():
            found[f"fit_{name}"] = weighted_mean(hits, judge.groups == index)
    for name in sorted(set(judge.sources)):
        found[f"fit_{name}"] = weighted_mean(hits, np.array(judge.sources) == name)
    mixes = [np.bincount(read, minlength=len(SEVEN)) for read in readings]
    divergence = [metrics.jensen_shannon(mix, labels) for mix, labels in zip(mixes, judge.mixes, strict=True)]
    found["calibration"] = weighted_mean(divergence, np.ones(len(groups)))
    found["frechet"] = _frechet(judge, groups)
    return found


def _fast_power(clips: Sequence[Frames]) -> float:
    return float(metrics.speed_spectrum(clips, layout.FPS, (0.0, FAST_HERTZ))[1])


def _flat(groups: Groups) -> tuple[list[Frames], NDArray[np.intp]]:
    """All clips in a row, and the sentence of each."""
    return [clip for clips in groups for clip in clips], np.repeat(np.arange(len(groups)), [len(c) for c in groups])


def _length_distance(groups: Groups, references: Groups) -> Statistic:
    sides = [([len(clip) for clip in clips], owner) for clips, owner in (_flat(groups), _flat(references))]

    def statistic(counts: Counts) -> float:
        return metrics.length_distance(*(np.repeat(lengths, counts[owner]) for lengths, owner in sides))

    return statistic


def _frechet(judge: Judge, groups: Groups) -> Statistic:
    sides = [_flat([clips[:FRECHET_CLIPS] for clips in some]) for some in (groups, judge.references)]
    features = [(judge.classifier.embed(clips), owner) for clips, owner in sides]

    def statistic(counts: Counts) -> float:
        return metrics.frechet_distance(*(np.repeat(rows, counts[owner], axis=0) for rows, owner in features))

    return statistic


def spectrum(groups: Groups) -> list[float]:
    """Power of frame-to-frame changes in bands of 1 Hz, without the half band below half the frame rate."""
    clips = _flat(groups)[0]
    return metrics.speed_spectrum(clips, layout.FPS, np.arange(0.0, layout.FPS // 2 + 1))[:-1].tolist()


# -- continuous perplexity ---------------------------------------------------------------------------------------------


def perplexities(predicted: Groups, true: Groups, scale: NDArray[np.floating]) -> dict[str, Statistic]:
    """CPPL as published and two-sided, and the bits per frame that both are 2 to the power of.

    Args:
        predicted: For every sentence its reference clips as predicted one step ahead.
        true: The reference clips.
        scale: (53,) standard deviation of every coefficient over the data.
    """
    count = np.array([len(clips) for clips in true], np.float64)
    found = {}
    for name, is_two_sided in (("cppl", False), ("cppl_two_sided", True)):
        bits = [
            np.log2(metrics.continuous_perplexity(guess, truth, scale, is_two_sided))
            for guess, truth in zip(predicted, true, strict=True)
        ]
        found[f"{name}_bits"] = weighted_mean(bits, count)
        found[name] = _power_of_two(found[f"{name}_bits"])
    return found


def _power_of_two(bits: Statistic) -> Statistic:
    return lambda counts: float(2 ** bits(counts))


def predict_references(system: System, judge: Judge) -> list[list[Frames]] | None:
    """Let a system predict every reference clip one step ahead; None where it cannot."""
    clips, owner = _flat(judge.references)
    sentences: Sentences = judge.sentences.rows(owner.tolist())
    predicted = system.predict(sentences, clips)
    if predicted is None:
        return None
    return [[predicted[i] for i in np.flatnonzero(owner == row)] for row in range(len(judge.references))]


def copy_last_references(judge: Judge, stride: int) -> list[list[Frames]]:
    """The control: every stretch of `stride` frames is the frame before it; clips begin after the judge's first one."""
    return [[metrics.copy_last(clip, stride, judge.first) for clip in clips] for clips in judge.references]
