"""Decoder layers: the plain context layer and the CVAD layer.

Letters: B batch, N steps, L text tokens, H hidden, Z latent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cteg.model.attention import Attention, FeedForward, KeyValues, Listener
from cteg.model.config import CTEGConfig
from cteg.model.latent import Gaussian, LatentHeads, LatentPast, LatentTemporalAttention, Mixture, kl_divergence

DrawLatent = Callable[[Mixture, int], Tensor]
"""Called with a layer's prior (B, 1, ...) and the layer's index; returns the drawn latent (B, 1, Z)."""


@dataclass
class LayerPast:
    """All that one layer keeps between decoding steps, and its attention to the sentence."""

    own: KeyValues
    text: Listener
    second_text: Listener | None = None
    latent: LatentPast | None = None


@dataclass(frozen=True)
class LatentTrace:
    """What training needs of one CVAD layer's latents.

    Attributes:
        prior: P(z | past, text) over (B, N, Z).
        posterior: Q(z | past and the step itself, text).
        z: (B, N, Z), drawn from the posterior.
        divergence: (B, N), of the posterior from the prior, in nats.
        context: (B, N, H), what LTA knows before each step.
    """

    prior: Mixture
    posterior: Gaussian
    z: Tensor
    divergence: Tensor
    context: Tensor


class ContextLayer(nn.Module):
    """Causal self-attention, attention to the text, feed-forward: reads the past before any latent is drawn."""

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        size, heads, dropout = config.hidden_size, config.heads, config.dropout
        self.self_attention = Attention(size, heads, dropout=dropout)
        self.text_attention = Attention(size, heads, config.text_size, dropout)
        self.feed_forward = FeedForward(size, config.feed_forward_size, dropout)

    def forward(self, states: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """(B, N, H), (B, L, text_size), (B, 1, 1, L) True for real tokens -> (B, N, H)."""
        states = self.self_attention.to_self(states)
        states = self.text_attention.to_memory(states, self.text_attention.memory(text), text_mask)
        return self.feed_forward(states)

    def start(self, text: Tensor, text_mask: Tensor, rows: int, capacity: int) -> LayerPast:
        """Prepare decoding of `rows` sequences of at most `capacity` steps; the text as in `CTEG.start`."""
        own = self.self_attention.start(rows, capacity)
        return LayerPast(own, self.text_attention.listen_to(text, text_mask))

    def step(self, state: Tensor, past: LayerPast) -> Tensor:
        """The forward pass for the next step alone, (B, 1, H)."""
        return self.feed_forward(past.text(self.self_attention.to_self_cached(state, past.own)))


class CVADLayer(nn.Module):
    """One layer of the Conditional Variational Autoregressive Decoder (paper section 5.2).

        training                                         sampling
        a = self-attention(x)            (B, N+1, H)     the same, one step at a time, with caches
        o = LTA(text-attention(a))
        prior(o[n]), posterior(o[n+1])                   prior(o[n])
        z ~ posterior                    (B, N, Z)       z ~ prior
        y = FFN(second text-attention(a + up(z)))        the same
        L_g: FFN'(up(z)) alone must predict the frame    not used

    The latent joins the self-attention output, as in the released code. With latent_size = H, `up` is the identity.
    """

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        size, heads, dropout = config.hidden_size, config.heads, config.dropout
        self.self_attention = Attention(size, heads, dropout=dropout)
        self.text_attention = Attention(size, heads, config.text_size, dropout)
        self.latent_attention = LatentTemporalAttention(config)
        self.latent_heads = LatentHeads(config)
        self.has_latent = config.has_step_latent
        is_same_size = config.latent_size == size
        self.up = nn.Identity() if is_same_size else nn.Linear(config.latent_size, size, bias=False)
        self.second_text_attention = Attention(size, heads, config.text_size, dropout)
        self.feed_forward = FeedForward(size, config.feed_forward_size, dropout)
        self.guided_feed_forward = FeedForward(size, config.feed_forward_size, dropout)

    def forward(
        self, states: Tensor, text: Tensor, text_mask: Tensor, noise: Tensor, step_mask: Tensor
    ) -> tuple[Tensor, LatentTrace]:
        """Training pass with latents drawn from the posterior.

        Args:
            states: (B, N+1, H), the start and all N known steps.
            text: (B, L, text_size).
            text_mask: (B, 1, 1, L), True for real tokens.
            noise: (B, N, Z), standard normal.
            step_mask: (B, N), True for steps that the clip has: no latent is added where there is nothing to write.

        Returns:
            Output states (B, N+1, H), whose last position has no latent and predicts nothing, and the latents.
        """
        attended = self.self_attention.to_self(states)
        context = self._context(attended, text, text_mask)
        prior = self.latent_heads.prior(context[:, :-1])
        posterior = self.latent_heads.posterior(context[:, 1:])
        z = posterior.sample(noise) if self.has_latent else torch.zeros_like(noise)
        lifted = nn.functional.pad(self.up(z.to(attended.dtype)) * step_mask[..., None], (0, 0, 0, 1))
        memory = self.second_text_attention.memory(text)
        output = self.feed_forward(self.second_text_attention.to_memory(attended + lifted, memory, text_mask))
        return output, LatentTrace(prior, posterior, z, kl_divergence(posterior, prior, z), context[:, :-1])

    def _context(self, attended: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        memory = self.text_attention.memory(text)
        return self.latent_attention(self.text_attention.to_memory(attended, memory, text_mask))

    def _draw(self, context: Tensor, draw: DrawLatent, index: int) -> Tensor:
        """Latent (B, 1, Z) of a step from LTA's context (B, 1, H); zeros for a model without step latents."""
        prior = self.latent_heads.prior(context)
        return draw(prior, index) if self.has_latent else torch.zeros_like(prior.mean[..., 0, :])

    def guided(self, z: Tensor, below: Tensor | None) -> Tensor:
        """What the latent alone says of the frame (paper Eq. 8): FFN'(up(z) + the layer below's), (..., H)."""
        lifted = self.up(z)
        return self.guided_feed_forward(lifted if below is None else lifted + below)

    def start(self, text: Tensor, text_mask: Tensor, rows: int, capacity: int) -> LayerPast:
        """Prepare decoding of `rows` sequences of at most `capacity` steps; the text as in `CTEG.start`."""
        return LayerPast(
            own=self.self_attention.start(rows, capacity),
            text=self.text_attention.listen_to(text, text_mask),
            second_text=self.second_text_attention.listen_to(text, text_mask),
            latent=self.latent_attention.start(rows, capacity),
        )

    def step(self, state: Tensor, past: LayerPast, draw: DrawLatent, index: int) -> tuple[Tensor, Tensor]:
        """Decode the next step (B, 1, H); returns its output and LTA's context, both (B, 1, H)."""
        attended = self.self_attention.to_self_cached(state, past.own)
        context = self.latent_attention.step(past.text(attended), past.latent)
        z = self._draw(context, draw, index)
        return self.feed_forward(past.second_text(attended + self.up(z.to(attended.dtype)))), context

    def decode_prefix(
        self, states: Tensor, text: Tensor, text_mask: Tensor, known: Tensor, draw: DrawLatent, index: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the newest step by recomputing the whole prefix.

        Args:
            states: (B, n, H), the start and the steps so far.
            text: (B, L, text_size).
            text_mask: (B, 1, 1, L).
            known: (B, n-1, Z), this layer's latents of the earlier steps.
            draw: Draws the newest latent.
            index: Index of this layer.

        Returns:
            Output (B, n, H), LTA's context (B, n, H), all latents (B, n, Z).
        """
        attended = self.self_attention.to_self(states)
        context = self._context(attended, text, text_mask)
        z = torch.cat([known, self._draw(context[:, -1:], draw, index)], dim=1)
        memory = self.second_text_attention.memory(text)
        combined = self.second_text_attention.to_memory(attended + self.up(z), memory, text_mask)
        return self.feed_forward(combined), context, z
