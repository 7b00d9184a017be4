"""Every loss against a case computed by hand."""

import math

import pytest
import torch

from cteg.layout import D
from cteg.model.cteg import Prediction, SequenceTrace
from cteg.model.latent import Gaussian, Mixture
from cteg.model.layers import LatentTrace
from cteg.model.losses import (
    LossWeights,
    compute_losses,
    gaussian_reconstruction,
    norm_reconstruction,
    stop_loss,
    velocity_loss,
)
from tests.models import small_config

VALID = torch.tensor([[True, True, True, False]])


def errors(*values):
    """Frames (1, T, 53) whose first coefficient is given, the rest zero."""
    frames = torch.zeros(1, len(values), D)
    frames[0, :, 0] = torch.tensor(values)
    return frames


def prediction(frames, guided=None):
    return Prediction(
        frames, torch.zeros(1, frames.shape[1]), [], None, frames if guided is None else guided, frames[:, :1]
    )


def test_norm_reconstruction_weighs_the_jaw_by_five_and_skips_padding():
    predicted = torch.zeros(1, 4, D)
    predicted[0, 0, 0], predicted[0, 1, 50], predicted[0, 3] = 3.0, 2.0, 100.0
    # norms of the valid frames: 3, 5 * 2, 0
    assert norm_reconstruction(predicted, torch.zeros(1, 4, D), VALID).item() == pytest.approx(13 / 3, abs=1e-4)


def test_norm_reconstruction_has_a_gradient_at_zero_error():
    predicted = torch.zeros(1, 4, D, requires_grad=True)
    norm_reconstruction(predicted, torch.zeros(1, 4, D), VALID).backward()
    assert torch.isfinite(predicted.grad).all()


def test_gaussian_reconstruction():
    # squared errors 1 and 4 over 2 * 0.5^2, three valid frames
    value = gaussian_reconstruction(errors(1.0, 2.0, 0.0, 9.0), torch.zeros(1, 4, D), VALID, 0.5)
    assert value.item() == pytest.approx((1 + 4) / 0.5 / 3)


def test_velocity_loss_counts_the_seam_from_the_known_frame():
    # steps of two frames; errors 1, 3 | 2, (5): changes 1 (seam), 2, 2 (seam), and padding
    value = velocity_loss(prediction(errors(1.0, 3.0, 2.0, 5.0)), torch.zeros(1, 4, D), VALID, 2, 1.0)
    assert value.item() == pytest.approx((1 + 4 + 4) / 2 / 3)


def test_stop_loss_is_the_likelihood_of_the_length():
    logits = torch.tensor([[0.0, math.log(3), math.log(4), 7.0]])  # hazards 1/2, 3/4, 4/5
    expected = -math.log(0.5) - math.log(0.25) - math.log(0.8)
    assert stop_loss(logits, VALID).item() == pytest.approx(expected, rel=1e-5)


def hand_made(config):
    """A prediction whose losses are easy: all frames wrong by 1 in one coefficient, one unit of KL per step."""
    frames = errors(*[1.0] * 8)
    steps = 8 // config.frames_per_step
    zeros = torch.zeros(1, steps, config.latent_size)
    mean = zeros.clone()
    mean[..., 0] = math.sqrt(2)  # KL(N(sqrt 2, 1) || N(0, 1)) = 1
    prior = Mixture(torch.zeros(1, steps, 1), zeros[:, :, None], zeros[:, :, None])
    trace = LatentTrace(prior, Gaussian(mean, zeros), mean, torch.ones(1, steps), zeros)
    # One component, at distance 2 in one of the dimensions: KL 2.
    apart = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    unit = torch.zeros(1, 1, 4)
    sequence = SequenceTrace(
        Mixture(torch.zeros(1, 1), unit, unit), Gaussian(apart, torch.zeros(1, 4)), apart, torch.tensor([2.0])
    )
    return Prediction(frames, torch.zeros(1, 8), [trace, trace], sequence, 2 * frames, frames[:, :1])


@pytest.mark.parametrize("form", ["norm", "gaussian"])
def test_total_is_the_weighted_sum(form):
    config = small_config(
        reconstruction=form, prior="gaussian", prior_components=1, output_std=0.5, velocity_std=0.0, layers=2
    )
    valid = torch.tensor([[True] * 4 + [False] * 4])  # one of two steps
    losses = compute_losses(config, LossWeights(0.5, 0.25, 2.0, 3.0), hand_made(config), torch.zeros(1, 8, D), valid)
    stop = 4 * math.log(2)
    if form == "norm":
        reconstruction, guided, kl = 1.0, 2.0, 2 / config.latent_size  # two layers, mean over dimensions
    else:
        reconstruction, guided, kl = 2.0, 4 / (2 * 0.25 * D), 2 / 4  # nats per frame: 2 over four frames
    assert losses.reconstruction.item() == pytest.approx(reconstruction, rel=1e-4)
    assert losses.target_guided.item() == pytest.approx(guided, rel=1e-4)
    assert losses.kl.item() == pytest.approx(kl, rel=1e-4)
    assert losses.stop.item() == pytest.approx(stop, rel=1e-4)
    assert losses.sequence_kl.item() == pytest.approx(2 / 4, rel=1e-4)
    expected = reconstruction + 0.5 * kl + 0.25 * 0.5 + 2 * guided + 3 * stop
    assert losses.total.item() == pytest.approx(expected, rel=1e-4)
