"""The latent path of a CVAD layer: LTA, prior, posterior, and their divergence.

Letters: B batch, N steps, H hidden, Z latent, M mixture components.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cteg.model.attention import Attention, KeyValues
from cteg.model.config import CTEGConfig
from cteg.model.flow import BoundFlow, CouplingFlow

LOG_VARIANCE_LIMITS = (-8.0, 4.0)
"""Clamp of every predicted log-variance: standard deviations from 0.018 to 7.4 keep the divergence finite."""


@dataclass(frozen=True)
class Gaussian:
    """Diagonal Gaussian over the latent: mean and log-variance (..., Z)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + std * noise (Eq. 4), differentiable in mean and std."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise


@dataclass(frozen=True)
class Mixture:
    """Mixture of M diagonal Gaussians, bent by a flow if there is one. M = 1 without a flow is the paper's prior.

    Attributes:
        logits: (..., M), weights of the components before the softmax.
        mean: (..., M, Z), in the flow's base space.
        log_variance: (..., M, Z), in the flow's base space.
        flow: Leads from the base space to the latents; None where they are the same.
    """

    logits: Tensor
    mean: Tensor
    log_variance: Tensor
    flow: BoundFlow | None = None

    def component_log_density(self, z: Tensor) -> Tensor:
        """log(weight_m * density of z under component m), (..., M), for z (..., Z)."""
        base, log_volume = self.flow.to_base(z) if self.flow else (z, z.new_zeros(z.shape[:-1]))
        deviation = (base[..., None, :] - self.mean) ** 2 * torch.exp(-self.log_variance)
        log_normal = -0.5 * (deviation + self.log_variance + math.log(2 * math.pi)).sum(-1)
        return torch.log_softmax(self.logits, -1) + log_normal + log_volume[..., None]

    def to_latent(self, base: Tensor) -> Tensor:
        """Lead (..., Z) from the base space to the latents'."""
        return self.flow.from_base(base) if self.flow else base

    def guided(self, unconditional: Mixture, guidance: float) -> Mixture:
        """Move the weights away from those of an unconditional mixture of the same components.

        weight ~ conditional^(1 + guidance) / unconditional^guidance, exact for the choice of a component. 0 changes
        nothing, -1 forgets the condition.

        Reference: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", with weights of
        components in place of scores.
        """
        logits, other = torch.log_softmax(self.logits, -1), torch.log_softmax(unconditional.logits, -1)
        return dataclasses.replace(self, logits=logits + guidance * (logits - other))

    def responsible_mean(self, z: Tensor) -> Tensor:
        """Return the component means weighted by how probably each made z (..., Z); with M = 1 the mean itself."""
        responsibility = torch.softmax(self.component_log_density(z.detach()), -1).detach()
        return self.to_latent((responsibility[..., None] * self.mean).sum(-2))

    def sample(self, uniform: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Draw z (..., Z); temperature 0 gives the mean of the likeliest component.

        Args:
            uniform: (...), in [0, 1), chooses the component.
            noise: (..., Z), standard normal, places z inside it.
            temperature: >= 0, divides the logits and multiplies the standard deviations.
        """
        if temperature == 0:
            chosen = self.logits.argmax(-1)
        else:
            cumulative = torch.softmax(self.logits / temperature, -1).cumsum(-1)
            chosen = (cumulative < uniform[..., None]).sum(-1).clamp(max=self.logits.shape[-1] - 1)
        index = chosen[..., None, None].expand(*chosen.shape, 1, self.mean.shape[-1])
        mean = self.mean.gather(-2, index)[..., 0, :]
        log_variance = self.log_variance.gather(-2, index)[..., 0, :]
        return self.to_latent(mean + temperature * torch.exp(0.5 * log_variance) * noise)


def kl_divergence(posterior: Gaussian, prior: Mixture, z: Tensor) -> Tensor:
    """Return KL(posterior || prior) in nats per step, (...).

    For one component the closed form (Eq. 7), exact; for a mixture, or with a flow, the entropy of the posterior in
    closed form and the cross-entropy at the drawn z (..., Z), an unbiased estimate.
    """
    if prior.logits.shape[-1] == 1 and prior.flow is None:
        mean, log_variance = prior.mean[..., 0, :], prior.log_variance[..., 0, :]
        ratio = torch.exp(posterior.log_variance - log_variance)
        distance = (posterior.mean - mean) ** 2 * torch.exp(-log_variance)
        return 0.5 * (ratio + distance - 1 - posterior.log_variance + log_variance).sum(-1)
    negative_entropy = -0.5 * (posterior.log_variance + math.log(2 * math.pi) + 1).sum(-1)
    return negative_entropy - torch.logsumexp(prior.component_log_density(z), -1)


class LatentTemporalAttention(nn.Module):
    """LTA f_zeta: what a step's latent knows of the steps before it (paper Eq. 1).

    Forms: `causal_attention` (masked multi-head attention), `flat` (running mean), `none` (the step itself).
    """

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        self.form = config.latent_attention
        if self.form == "causal_attention":
            self.attention = Attention(config.hidden_size, config.heads, dropout=config.dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, N, H) -> (B, N, H), step n made from steps <= n."""
        if self.form == "causal_attention":
            return self.attention.to_self(states)
        if self.form == "flat":
            count = torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)
            return states.cumsum(1) / count[:, None]
        return states

    def start(self, rows: int, capacity: int) -> LatentPast:
        """Make room for `capacity` steps of `rows` sequences."""
        return LatentPast(self.attention.start(rows, capacity) if self.form == "causal_attention" else None)

    def step(self, state: Tensor, past: LatentPast) -> Tensor:
        """The same for the next step alone, (B, 1, H), with the past kept in `past`."""
        if self.form == "causal_attention":
            return self.attention.to_self_cached(state, past.key_values)
        if self.form == "flat":
            past.total = state if past.total is None else past.total + state
            past.count += 1
            return past.total / past.count
        return state


@dataclass
class LatentPast:
    """What LTA keeps between steps: keys and values, or the running sum (B, 1, H) and its count."""

    key_values: KeyValues | None
    total: Tensor | None = None
    count: int = 0


class LatentHeads(nn.Module):
    """Prior P(z_n | past, text) and posterior Q(z_n | past and step n, text), both read from LTA's output o.

        Q = N(mean(o), exp(log_variance(o)))                   posterior_head, (2)
        P = sum_m weight_m(o) N(mean_m(o), variance_m(o))      prior_head, (3), then bent by `flow` if there is one

    The posterior of step n is read where step n is the newest input, one position after the prior.

    Reference: Xu et al. 2025, Eq. (2), (3). Deviations: both are two-layer networks instead of linear maps
    (`has_latent_network`), the prior is a mixture or a flow instead of one Gaussian (`prior`), and log-variances are
    clamped to `LOG_VARIANCE_LIMITS`.
    """

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        self.components, self.latent_size = config.prior_components, config.latent_size
        prior_outputs = self.components * (1 + 2 * self.latent_size)
        self.prior_head = self._head(config, prior_outputs)
        self.posterior_head = self._head(config, 2 * self.latent_size)
        has_flow = config.prior == "flow"
        width = config.hidden_size
        self.flow = CouplingFlow(config.latent_size, width, width, config.couplings) if has_flow else None

    @staticmethod
    def _head(config: CTEGConfig, outputs: int) -> nn.Module:
        if not config.has_latent_network:
            return nn.Linear(config.hidden_size, outputs)
        return nn.Sequential(
            nn.Linear(config.hidden_size, 2 * config.hidden_size), nn.GELU(), nn.Linear(2 * config.hidden_size, outputs)
        )

    def prior(self, states: Tensor) -> Mixture:
        """(B, N, H) -> mixture over (B, N, Z)."""
        output = self.prior_head(states).float()
        logits, rest = output.split([self.components, 2 * self.components * self.latent_size], -1)
        mean, log_variance = rest.unflatten(-1, (self.components, -1)).chunk(2, -1)  # (B, N, M, Z) each
        flow = self.flow.given(states) if self.flow else None
        return Mixture(logits, mean, log_variance.clamp(*LOG_VARIANCE_LIMITS), flow)

    def posterior(self, states: Tensor) -> Gaussian:
        """(B, N, H) -> Gaussian over (B, N, Z)."""
        mean, log_variance = self.posterior_head(states).float().chunk(2, -1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCE_LIMITS))
