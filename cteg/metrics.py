"""Figures of merit for clips, one function per metric.

A clip here is an array (T, 53). Clips of different lengths are compared over their common beginning, frame by frame:
distance = mean over t < min(T, T') of the Euclidean norm of the difference. Resampling would change speeds, and
padding would count silence; the paper does not say which it uses.

References: Xu et al. 2025, section 6 (MModality, Variation, FgD); jerk is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.floating]


def clip_distance(first: Frames, second: Frames) -> float:
    """Mean Euclidean distance of corresponding frames over the common length of two clips."""
    common = min(len(first), len(second))
    return float(np.linalg.norm(first[:common] - second[:common], axis=1).mean())


def multimodality(groups: Sequence[Sequence[Frames]]) -> float:
    """MModality: mean distance between two performances of the same text, over all pairs of all texts.

    Args:
        groups: For every text its clips, two or more.
    """
    return float(np.mean([clip_distance(a, b) for clips in groups for a, b in combinations(clips, 2)]))


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
