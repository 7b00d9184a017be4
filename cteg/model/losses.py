"""The training losses of CTEG: reconstruction, divergence, target-guided, stop.

Letters: B batch, T frames (N steps of K), D = 53, Z latent. All distances are in model units (see `CTEG.scale`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cteg.layout import JAW, D
from cteg.model.config import CTEGConfig
from cteg.model.cteg import Prediction

JAW_WEIGHT = 5.0
"""Weight of jaw errors in the `norm` reconstruction, from the released code (25 in squared error)."""


@dataclass(frozen=True)
class Losses:
    """Scalar losses of one batch; `total` is what is minimised (paper Eq. 9, plus the stop loss)."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor
    sequence_kl: Tensor
    target_guided: Tensor
    stop: Tensor


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of `Losses.total`; all 1 in the paper, whose sum has no stop term."""

    kl: float = 1.0
    sequence_kl: float = 1.0
    target_guided: float = 1.0
    stop: float = 1.0


def norm_reconstruction(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid frames of the Euclidean norm of the error, jaw weighted (released form of Eq. 6).

    Args:
        predicted: (B, T, 53).
        target: (B, T, 53).
        valid: (B, T), True for real frames.
    """
    weight = torch.ones(D, device=target.device)
    weight[JAW] = JAW_WEIGHT
    squared = ((predicted - target) * weight).square().sum(-1)  # (B, T)
    # The square root has no finite slope at 0; 1e-12 moves a perfect frame's norm by a millionth.
    return (torch.sqrt(squared + 1e-12) * valid).sum() / valid.sum()


def gaussian_reconstruction(predicted: Tensor, target: Tensor, valid: Tensor, std: float) -> Tensor:
    """Negative log-likelihood under N(predicted, std^2), constants left out, mean per valid frame (Eq. 6)."""
    squared = (predicted - target).square().sum(-1) / (2 * std**2)
    return (squared * valid).sum() / valid.sum()


def velocity_loss(prediction: Prediction, target: Tensor, valid: Tensor, frames_per_step: int, std: float) -> Tensor:
    """Gaussian error of frame-to-frame changes, mean per valid frame; the first of a step counts from the known one."""
    error = (prediction.frames - target).unflatten(1, (-1, frames_per_step))  # (B, N, K, 53)
    # The frame before a step is known, so its error is 0: the seam between steps is part of the sum.
    change = torch.diff(error, dim=2, prepend=torch.zeros_like(error[:, :, :1])).flatten(1, 2)
    return (change.square().sum(-1) / (2 * std**2) * valid).sum() / valid.sum()


def stop_loss(stop_logits: Tensor, valid: Tensor) -> Tensor:
    """Negative log-likelihood of each clip's length under the predicted hazards, mean per clip.

    Args:
        stop_logits: (B, T), log-odds that the clip ends with frame t, given that it lasted until t.
        valid: (B, T), True for the clip's frames, a prefix of each row.
    """
    last = torch.zeros_like(stop_logits)
    last.scatter_(1, (valid.sum(1, keepdim=True) - 1), 1.0)
    per_frame = functional.binary_cross_entropy_with_logits(stop_logits, last, reduction="none")
    return (per_frame * valid).sum() / valid.shape[0]


def compute_losses(
    config: CTEGConfig, weights: LossWeights, prediction: Prediction, scaled: Tensor, valid: Tensor
) -> Losses:
    """Compute all losses of a teacher-forced batch.

    Args:
        config: The model's configuration, which says what form the reconstruction takes.
        weights: Weights of the terms.
        prediction: Output of `CTEG.forward`.
        scaled: (B, N*K, 53), true frames in model units.
        valid: (B, N*K), True for real frames.

    Returns:
        Scalars. In `gaussian` form reconstruction and KL are nats per frame, so their sum bounds the likelihood, and
        the target-guided error counts a 53rd of the reconstruction's; in `norm` form KL is the mean over latent
        dimensions and valid steps, as released (which counted padding too).
    """
    per_step = valid.unflatten(1, (-1, config.frames_per_step)).any(-1)  # (B, N)
    kl = sum((trace.divergence * per_step).sum() for trace in prediction.traces)
    sequence_kl = kl.new_zeros(())
    if prediction.sequence is not None:
        sequence_kl = prediction.sequence.divergence.sum() / valid.sum()
    if config.reconstruction == "norm":
        reconstruction = norm_reconstruction(prediction.frames, scaled, valid)
        guided = norm_reconstruction(prediction.guided, scaled, valid)
        kl = kl / (per_step.sum() * config.latent_size)
    else:
        reconstruction = gaussian_reconstruction(prediction.frames, scaled, valid, config.output_std)
        if config.velocity_std > 0:
            velocity = velocity_loss(prediction, scaled, valid, config.frames_per_step, config.velocity_std)
            reconstruction = reconstruction + velocity
        # sqrt(D) makes it the mean over the 53 coefficients, where the reconstruction is their sum.
        guided = gaussian_reconstruction(prediction.guided, scaled, valid, math.sqrt(D) * config.output_std)
        kl = kl / valid.sum()
    stop = stop_loss(prediction.stop_logits, valid)
    if not config.has_step_latent:
        kl, guided = torch.zeros_like(kl), torch.zeros_like(guided)
    total = reconstruction + weights.kl * kl + weights.sequence_kl * sequence_kl
    total = total + weights.target_guided * guided + weights.stop * stop
    return Losses(total, reconstruction, kl, sequence_kl, guided, stop)
