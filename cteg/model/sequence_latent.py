"""The sequence latent: what a whole performance decides once, such as the feeling, how to show it, and how strongly.

Not in the paper. A latent per step alone forgets: the first tenth of a smile is too small to be told from the first
tenth of a sneer, so the next step averages both, and samples come out alike and weak. One latent for the clip holds the
decision, and its prior ties it to the sentence directly. The prior is a mixture whose components are the same for every
sentence, a repertoire of ways to perform, and whose weights the sentence chooses: a mixture that moves its components
with the text instead mixed feelings up (measured, see `docs/decisions.md`). A flow that is the same for every sentence
bends the repertoire into the shape of the latents.

Letters: B batch, N steps, H hidden, S size of the sequence latent, M mixture components.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cteg.model.config import CTEGConfig
from cteg.model.flow import CouplingFlow
from cteg.model.latent import LOG_VARIANCE_LIMITS, Gaussian, Mixture


class SequenceLatent(nn.Module):
    """Prior P(u | text), posterior Q(u | whole clip, text) of the sequence latent u, and its way into the decoder."""

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        self.size, self.components = config.sequence_latent_size, config.sequence_components
        hidden = config.hidden_size
        self.step_network = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.parts = config.sequence_parts
        self.posterior_head = nn.Sequential(
            nn.Linear((self.parts + 1) * hidden + config.text_size, hidden),
            nn.GELU(),
            nn.Linear(hidden, 2 * self.size),
        )
        self.component_mean = nn.Parameter(torch.randn(self.components, self.size) * 0.5)
        self.component_log_variance = nn.Parameter(torch.full((self.components, self.size), -1.0))
        self.gate = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.text_size, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, self.components),
        )
        self.flow = CouplingFlow(self.size, 0, hidden, config.couplings) if config.sequence_prior == "flow" else None
        self.up = nn.Linear(self.size, hidden, bias=False)

    def posterior(self, steps: Tensor, step_mask: Tensor, sentence: Tensor, positions: Tensor) -> Gaussian:
        """Read a clip.

        Args:
            steps: (B, N, H), embedded steps.
            step_mask: (B, N), True for real steps, a prefix of each row.
            sentence: (B, text_size), the pooled sentence.
            positions: (N, H), the steps' positions.

        Returns:
            Distribution over (B, S).
        """
        features = self.step_network(steps if self.parts == 1 else steps + positions)
        largest = features.masked_fill(~step_mask[..., None], -torch.inf).amax(1)
        pooled = torch.einsum("bpn,bnh->bph", part_weights(step_mask, self.parts).to(features.dtype), features)
        output = self.posterior_head(torch.cat([pooled.flatten(1), largest, sentence.to(features.dtype)], dim=-1))
        mean, log_variance = output.float().chunk(2, -1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCE_LIMITS))

    def prior(self, sentence: Tensor) -> Mixture:
        """Pooled sentence (B, text_size) -> mixture over (B, S)."""
        shape = (len(sentence), self.components, self.size)
        log_variance = self.component_log_variance.clamp(*LOG_VARIANCE_LIMITS)
        flow = self.flow.given(None) if self.flow else None
        mean = self.component_mean.expand(shape)
        return Mixture(self.gate(sentence).float(), mean, log_variance.expand(shape), flow)

    def log_prior(self, u: Tensor, sentence: Tensor) -> Tensor:
        """Log P(u | text), (B,), for u (B, S) and pooled sentences (B, text_size).

        The same as by `prior`; as all sentences share the components, matrix products do, and thousands are affordable.
        """
        base, log_volume = self.flow.given(None).to_base(u) if self.flow else (u, u.new_zeros(len(u)))
        log_variance = self.component_log_variance.clamp(*LOG_VARIANCE_LIMITS)
        precision = torch.exp(-log_variance)  # (M, S)
        weighted = self.component_mean * precision
        deviation = base**2 @ precision.T - 2 * base @ weighted.T + (self.component_mean * weighted).sum(-1)
        log_normal = -0.5 * (deviation + (log_variance + math.log(2 * math.pi)).sum(-1))
        return torch.logsumexp(torch.log_softmax(self.gate(sentence).float(), -1) + log_normal, -1) + log_volume


def part_weights(step_mask: Tensor, parts: int) -> Tensor:
    """Weights that average each part of every clip: mask (B, N), a prefix of each row -> (B, parts, N).

    A clip of n steps is cut at i n / parts; a step that a cut goes through counts on both sides by its shares. Rows sum
    to 1 and vanish outside the clip.
    """
    count = step_mask.sum(1)[:, None, None]  # (B, 1, 1)
    first = torch.arange(step_mask.shape[1], device=step_mask.device)[None, None]  # a step covers first...first + 1
    part = torch.arange(parts, device=step_mask.device)[None, :, None]
    low, high = part * count / parts, (part + 1) * count / parts
    covered = (torch.minimum(first + 1, high) - torch.maximum(first, low)).clamp(min=0)
    return covered * parts / count


def pool_text(text: Tensor, text_mask: Tensor) -> Tensor:
    """Mean of the real tokens' states: (B, L, text_size), (B, L) -> (B, text_size)."""
    weight = text_mask[..., None].to(text.dtype)
    return (text * weight).sum(1) / weight.sum(1)
