"""Metrics against values worked out by hand, and the laws that they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from scipy.stats import norm

from cteg import metrics


def constant(value: float, frames: int) -> np.ndarray:
    return np.full((frames, 53), value)


def sine(frequency: float, frames: int = 250, fps: float = 25.0) -> np.ndarray:
    clip = np.zeros((frames, 53))
    clip[:, 7] = np.sin(2 * np.pi * frequency * np.arange(frames) / fps)
    return clip


def test_distance_is_over_the_common_beginning():
    assert metrics.clip_distance(constant(0, 5), constant(1, 9)) == pytest.approx(math.sqrt(53))
    late = constant(0, 9)
    late[6:] = 100
    assert metrics.clip_distance(constant(0, 6), late) == 0


def test_diversity_of_three_clips_is_the_mean_of_their_pairs():
    clips = [constant(0, 4), constant(1, 6), constant(3, 5)]
    expected = math.sqrt(53) * (1 + 3 + 2) / 3
    assert metrics.diversity(clips, np.random.default_rng(0)) == pytest.approx(expected)
    assert metrics.diversity_on_test(clips, np.random.default_rng(1)) == pytest.approx(expected)
    assert metrics.multimodality([clips]) == pytest.approx(expected)
    one_pair = metrics.diversity(clips, np.random.default_rng(0), pairs=1)
    assert min(abs(one_pair - math.sqrt(53) * k) for k in (1, 2, 3)) < 1e-9


def test_variation_tells_movement_from_shape():
    still = np.tile(np.arange(53.0), (10, 1))
    assert metrics.variation_over_time([still]) == 0
    assert metrics.variation_within_frame([still]) == pytest.approx(np.arange(53).var())
    swinging = np.tile(np.array([[0.0], [2.0]]), (5, 53))
    assert metrics.variation_over_time([swinging]) == pytest.approx(1)
    assert metrics.variation_within_frame([swinging]) == 0


def test_changes_and_jerk_of_a_ramp():
    ramp = np.arange(10.0)[:, None] * np.ones(53)
    assert metrics.fine_grained_diversity([ramp, constant(3, 1)]) == pytest.approx(math.sqrt(53))
    assert metrics.jerk([ramp]) == pytest.approx(0, abs=1e-9)
    cubic = np.arange(10.0)[:, None] ** 3 * np.ones(53)
    assert metrics.jerk([cubic, ramp[:3]]) == pytest.approx(6 * math.sqrt(53))


@pytest.mark.parametrize(("frequency", "band"), [(0.5, 0), (1.5, 1), (3.0, 2), (6.0, 3), (11.0, 4)])
def test_spectrum_puts_a_swing_into_its_band(frequency, band):
    power = metrics.speed_spectrum([sine(frequency)], 25.0)
    assert power.argmax() == band
    assert power[band] > 0.9 * power.sum()


def test_spectrum_keeps_the_power():
    clip = np.random.default_rng(0).normal(size=(100, 53))
    change = np.diff(clip, axis=0)
    assert metrics.speed_spectrum([clip], 25.0).sum() == pytest.approx((change**2).mean(0).sum())


def test_frechet_distance_is_the_published_one():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
    second = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 0.5
    c1, c2 = np.cov(first.T), np.cov(second.T)
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real)
    assert metrics.frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(first, first + 2) == pytest.approx(20)


def test_jensen_shannon_is_zero_for_equals_and_one_for_strangers():
    assert metrics.jensen_shannon([2, 2, 0], [5, 5, 0]) == 0
    assert metrics.jensen_shannon([1, 0], [0, 1]) == pytest.approx(1)
    assert metrics.jensen_shannon([1, 0], [0.5, 0.5]) == pytest.approx(0.3112781, rel=1e-5)


def test_published_perplexity_is_the_difference_of_joint_distribution_functions():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(6, 53))
    guess = truth + 0.1 * rng.normal(size=(6, 53))
    scale = np.full(53, metrics.EMOCA_STD)  # no rescaling
    error = truth - guess
    joint = [norm.cdf((error + side) / 0.2).prod(1) for side in (0.8, -0.8)]
    expected = 2 ** -np.log2(np.maximum(joint[0] - joint[1], 1e-10)).mean()
    assert metrics.continuous_perplexity([guess], [truth], scale) == pytest.approx(expected)
    box = (norm.cdf((error + 0.8) / 0.2) - norm.cdf((error - 0.8) / 0.2)).prod(1)
    two_sided = metrics.continuous_perplexity([guess], [truth], scale, is_two_sided=True)
    assert two_sided == pytest.approx(2 ** -np.log2(box).mean())


def test_published_perplexity_is_one_sided_and_ours_is_not():
    truth, scale = constant(0, 3), np.full(53, metrics.EMOCA_STD)
    below, above = truth.copy(), truth.copy()
    below[:, 0], above[:, 0] = -5, 5  # the prediction is 5 too low: the error is +5
    published = [metrics.continuous_perplexity([g], [truth], scale) for g in (truth, below, above)]
    assert published[1] <= published[0] < 1.01  # costs nothing, as the design says
    assert published[2] == pytest.approx(1e10, rel=1e-6)
    ours = [metrics.continuous_perplexity([g], [truth], scale, is_two_sided=True) for g in (truth, below, above)]
    assert ours[1] == pytest.approx(1e10, rel=1e-6)
    assert ours[2] == pytest.approx(1e10, rel=1e-6)


@settings(max_examples=30)
@given(st.floats(0.01, 3), st.floats(0.0, 0.2))
def test_perplexity_does_not_depend_on_the_unit_of_a_space(unit, spread):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(5, 53))
    guess = truth + spread * rng.normal(size=(5, 53))
    expected = metrics.continuous_perplexity([guess], [truth], np.ones(53))
    got = metrics.continuous_perplexity([guess * unit], [truth * unit], np.full(53, unit))
    assert got == pytest.approx(expected, rel=1e-6)


def test_perplexity_counts_clips_equally():
    scale = np.full(53, metrics.EMOCA_STD)
    truth = [constant(0, 2), constant(0, 50)]
    guess = [constant(0.3, 2), constant(0, 50)]
    alone = [metrics.continuous_perplexity([g], [t], scale) for g, t in zip(guess, truth, strict=True)]
    assert metrics.continuous_perplexity(guess, truth, scale) == pytest.approx(math.sqrt(alone[0] * alone[1]))


def test_copy_last_repeats_the_frame_before_each_stretch():
    clip = np.arange(7.0)[:, None] * np.ones(53)
    assert metrics.copy_last(clip, 1, -np.ones(53))[:, 0].tolist() == [-1, 0, 1, 2, 3, 4, 5]
    assert metrics.copy_last(clip, 3, -np.ones(53))[:, 0].tolist() == [-1, -1, -1, 2, 2, 2, 5]


def test_distance_of_lengths_is_how_far_they_must_be_moved():
    assert metrics.length_distance([10, 20], [20, 10]) == 0
    assert metrics.length_distance([10, 20], [13, 23]) == pytest.approx(3)
    assert metrics.length_distance([10, 10, 40], [10]) == pytest.approx(10)
    rng = np.random.default_rng(0)
    first, second = rng.integers(20, 200, 50), rng.integers(40, 120, 80)
    assert metrics.length_distance(first, second) == pytest.approx(stats.wasserstein_distance(first, second))


def test_clusters_are_counted_at_any_scale():
    rng = np.random.default_rng(0)
    centres = np.eye(7) * 10
    means = (centres[:, None] + rng.normal(0, 0.3, (7, 30, 7))).reshape(-1, 7)
    assert metrics.latent_clusters(means) == 7
    assert metrics.latent_clusters(1e-3 * means + 5) == 7
    assert metrics.latent_clusters(means, distance=3.0) == 1
