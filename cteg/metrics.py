"""Figures of merit for clips, one function per metric.

A clip here is an array (T, 53). Clips of different lengths are compared over their common beginning, frame by frame:
distance = mean over t < min(T, T') of the Euclidean norm of the difference. Resampling would change speeds, and
padding would count silence; the paper does not say which it uses.

References: Xu et al. 2025, section 6 (Diversity, MModality, Variation, FgD, DoT, CPPL); the Fréchet distance follows
Heusel et al. 2017; jerk, spectrum, lengths, divergence of feelings, count of clusters and the two-sided CPPL are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

Frames = NDArray[np.floating]

CPPL_HALF_WIDTH = 0.8
CPPL_STD = 0.2
CPPL_FLOOR = 1e-10
"""Box, spread and floor of the published CPPL."""

EMOCA_STD = 0.93
"""Mean standard deviation of a coefficient in EmoAva: box and spread of CPPL are made for it."""


def clip_distance(first: Frames, second: Frames) -> float:
    """Mean Euclidean distance of corresponding frames over the common length of two clips."""
    common = min(len(first), len(second))
    return float(np.linalg.norm(first[:common] - second[:common], axis=1).mean())


# -- variety between clips ---------------------------------------------------------------------------------------------


def diversity(clips: Sequence[Frames], rng: np.random.Generator, pairs: int = 2000) -> float:
    """Diversity: mean distance of random pairs of clips that were generated without a text.

    Args:
        clips: Two or more clips.
        rng: Draws the pairs.
        pairs: How many; all there are if that is fewer.
    """
    every = len(clips) * (len(clips) - 1) // 2
    first, second = np.triu_indices(len(clips), 1)
    chosen = rng.permutation(every)[:pairs]
    return float(np.mean([clip_distance(clips[first[i]], clips[second[i]]) for i in chosen]))


def diversity_on_test(clips: Sequence[Frames], rng: np.random.Generator, pairs: int = 2000) -> float:
    """DoT: the same over the generations for all test texts together."""
    return diversity(clips, rng, pairs)


def multimodality(groups: Sequence[Sequence[Frames]]) -> float:
    """MModality: mean distance between two performances of the same text, over all pairs of all texts.

    Args:
        groups: For every text its clips, two or more.
    """
    return float(np.mean([clip_distance(a, b) for clips in groups for a, b in combinations(clips, 2)]))


# -- movement within a clip --------------------------------------------------------------------------------------------


def variation_over_time(clips: Sequence[Frames]) -> float:
    """Variation, read as movement: mean over clips of the variance over time, averaged over the 53 dimensions."""
    return float(np.mean([clip.var(axis=0).mean() for clip in clips]))


def variation_within_frame(clips: Sequence[Frames]) -> float:
    """Variation, read literally: mean over clips and frames of the variance of the 53 entries of a frame."""
    return float(np.mean([clip.var(axis=1).mean() for clip in clips]))


def fine_grained_diversity(clips: Sequence[Frames]) -> float:
    """FgD: mean Euclidean norm of frame-to-frame changes; clips of one frame do not count."""
    return float(np.mean([np.linalg.norm(np.diff(clip, axis=0), axis=1).mean() for clip in clips if len(clip) > 1]))


def jerk(clips: Sequence[Frames]) -> float:
    """Mean Euclidean norm of third differences: roughness that no face shows; clips under 4 frames do not count."""
    return float(np.mean([np.linalg.norm(np.diff(c, 3, axis=0), axis=1).mean() for c in clips if len(c) > 3]))


def speed_spectrum(
    clips: Sequence[Frames], fps: float, edges: Sequence[float] = (0.0, 1.0, 2.0, 4.0, 8.0)
) -> NDArray[np.float64]:
    """Power of the frame-to-frame changes in bands of frequency, summed over the 53 dimensions.

    Args:
        clips: Clips; those shorter than 2 frames do not count.
        fps: Frames a second.
        edges: Borders of the bands in hertz; the last band ends at half the frame rate.

    Returns:
        (len(edges),), mean over clips, in squared coefficient units per frame.
    """
    borders = [*edges, fps / 2 + 1e-9]
    rows = []
    for clip in clips:
        if len(clip) < 2:
            continue
        change = np.diff(clip.astype(np.float64), axis=0)
        power = np.abs(np.fft.rfft(change, axis=0)) ** 2 / len(change) ** 2
        power[1 : (len(change) + 1) // 2] *= 2  # a real signal's negative frequencies
        frequency = np.fft.rfftfreq(len(change), 1 / fps)
        band = np.searchsorted(borders, frequency, side="right") - 1
        rows.append(np.bincount(band, power.sum(1), len(edges))[: len(edges)])
    return np.mean(rows, axis=0)


# -- latents -----------------------------------------------------------------------------------------------------------


def latent_clusters(means: NDArray[np.floating], distance: float = 0.8) -> int:
    """Count the clusters of latent means (n, Z): how many kinds of movement a latent tells apart.

    The paper counts 146 with EwA and 113 without, and does not say how. Here: agglomerative clustering with average
    linkage, cut where two clusters are further apart than `distance` times the root mean square distance of two means.
    That unit makes the count independent of the latent's scale; it still grows with n, so compare equal n only.

    Args:
        means: Posterior means of steps, two or more. SciPy is needed (a development requirement).
        distance: Cut, as a share of the typical distance.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    means = np.asarray(means, np.float64)
    typical = np.sqrt(2 * means.var(axis=0).sum() * len(means) / (len(means) - 1))
    return int(fcluster(linkage(means, "average"), distance * typical, "distance").max())


# -- likeness to the reference -----------------------------------------------------------------------------------------


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Fréchet distance of two sets of features (n, F) and (m, F), each taken as a Gaussian.

    |mean difference|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)); the trace of the root is the sum of the roots of the
    eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariances[1] @ root), 0)).sum()
    distance = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * crossed
    return float(max(distance, 0.0))


def length_distance(first: Sequence[int], second: Sequence[int]) -> float:
    """Distance of two distributions of lengths in frames: by how much lengths of equal rank differ on average.

    The 1-Wasserstein distance: the area between the two cumulative distributions.
    """
    first, second = np.sort(first), np.sort(second)
    points = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(values, points[:-1], side="right") / len(values) for values in (first, second)]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(points)))


def jensen_shannon(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Jensen-Shannon divergence of two distributions (C,), in bits: 0 equal, 1 disjoint."""
    first, second = (np.asarray(p, np.float64) / np.sum(p) for p in (first, second))
    middle = (first + second) / 2

    def divergence(p: NDArray[np.float64]) -> float:
        return float(np.sum(np.where(p > 0, p * np.log2(np.where(p > 0, p, 1) / np.where(middle > 0, middle, 1)), 0)))

    return (divergence(first) + divergence(second)) / 2


# -- continuous perplexity ---------------------------------------------------------------------------------------------


def continuous_perplexity(
    predicted: Sequence[Frames], true: Sequence[Frames], scale: NDArray[np.floating], is_two_sided: bool = False
) -> float:
    """CPPL: 2^(mean_i H_i) with H_i = -(1/T_i) sum_t log2 p_t, frames predicted one step ahead.

    Published: p_t = Phi(E + 0.8; E', 0.2^2 I) - Phi(E - 0.8; E', 0.2^2 I), a difference of two joint distribution
    functions, in closed form products of normal ones. It is one-sided (an error of +5 in one dimension costs nothing,
    one of -5 reaches the floor) and a perfect prediction is not the best. Two-sided: the probability of the box,
    product over dimensions of Phi((E + 0.8 - E') / 0.2) - Phi((E - 0.8 - E') / 0.2), which cannot be gamed.

    Args:
        predicted: Clips (T_i, 53) predicted from the true frames before each.
        true: The true clips, same lengths.
        scale: (53,) standard deviation of every coefficient over the data; both are brought to the mean standard
            deviation that EmoAva has, for which box and spread are made.
        is_two_sided: Whether the box probability replaces the published difference.

    Returns:
        1 at best; the floor 1e-10 of p_t bounds it by 1e10.
    """
    factor = EMOCA_STD / np.asarray(scale, np.float64)
    entropies = []
    for guess, truth in zip(predicted, true, strict=True):
        error = torch.from_numpy((np.asarray(truth, np.float64) - np.asarray(guess, np.float64)) * factor)
        upper, lower = ((error + side) / CPPL_STD for side in (CPPL_HALF_WIDTH, -CPPL_HALF_WIDTH))
        if is_two_sided:
            probability = (torch.special.ndtr(upper) - torch.special.ndtr(lower)).log().sum(1).exp()
        else:
            probability = torch.special.log_ndtr(upper).sum(1).exp() - torch.special.log_ndtr(lower).sum(1).exp()
        entropies.append(float(-torch.log2(probability.clamp(min=CPPL_FLOOR)).mean()))
    return float(2 ** np.mean(entropies))


def copy_last(clip: Frames, stride: int, first: Frames) -> Frames:
    """Control of CPPL: predict each stretch of `stride` frames of a clip (T, 53) by the frame before it.

    Args:
        clip: True frames.
        stride: Frames that are predicted at once.
        first: (53,), the frame before the clip.
    """
    before = np.concatenate([np.asarray(first, clip.dtype)[None], clip[stride - 1 :: stride]])
    return np.repeat(before, stride, axis=0)[: len(clip)]
