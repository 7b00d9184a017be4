"""The released CTEG, quirk by quirk: what the authors' checkpoint needs to give the authors' numbers.

Our own model (`cteg.model.cteg`) departs from it on purpose. Here every oddity is kept:

- EwA averages each channel over *all* rows, the zero row of the start token and padding too, and adds one change of
  the jaw to every row. So each new frame changes the past, and nothing of the decoder's own path can be cached.
- The start token is a row of a word table, and so is the last position of a training batch, whatever stands there.
- While decoding, a zero row follows the last frame; the frame before it is the one that is read.
- The posterior of position t + 1 stands against the prior of position t.
- z joins the output of the self-attention; the prior alone runs through a network of its own (target-guided path).

Letters: B batch, T rows, L text tokens, H hidden, D = 53.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cteg import layout
from cteg.errors import WeightsError
from cteg.model.attention import LAYER_NORM_EPS, Attention, FeedForward
from cteg.model.expression_attention import ExpressionAttention

START, FRAME = 101, 100
"""Token ids of the start row and of every frame; 102 follows the last frame, 0 pads."""

JAW_WEIGHT = 5.0
OUTPUT_NOISE = math.exp(0.5)
FRAMES = 254
LATENT_ATTENTION = ("causal_attention", "flat", "none")


@dataclass(frozen=True)
class ReleasedConfig:
    """Sizes and switches of a released checkpoint.

    Attributes:
        vocabulary: Rows of the word table.
        hidden_size: H.
        heads: Attention heads; divides H.
        feed_forward_size: Inner width of the feed-forward networks.
        layers: CVAD layers.
        positions: Rows of the position table, the longest sequence.
        has_expression_attention: EwA.
        latent_attention: LTA: `causal_attention`, `flat` (running mean) or `none`.
        is_target_guided: Whether the prior has an output of its own.
        scales_input: Whether the embedded input is multiplied by sqrt(H).
    """

    vocabulary: int
    hidden_size: int
    heads: int
    feed_forward_size: int
    layers: int
    positions: int
    has_expression_attention: bool = True
    latent_attention: str = "causal_attention"
    is_target_guided: bool = True
    scales_input: bool = True

    def __post_init__(self) -> None:
        if self.latent_attention not in LATENT_ATTENTION:
            raise WeightsError(f"latent_attention is {self.latent_attention!r}, expected one of {LATENT_ATTENTION}.")
        if self.hidden_size % self.heads:
            raise WeightsError(f"{self.heads} heads do not divide hidden_size {self.hidden_size}.")


class Predicted(NamedTuple):
    """What teacher forcing gives: frames (B, T, 53), the prior's frames (B, T - 1, 53) or None, KL, a scalar."""

    frames: Tensor
    prior_frames: Tensor | None
    divergence: Tensor


class Losses(NamedTuple):
    """The three losses, scalars; `target_guided` is None without that path."""

    reconstruction: Tensor
    divergence: Tensor
    target_guided: Tensor | None


class ReleasedLayer(nn.Module):
    """One CVAD layer: self-attention, text, LTA, prior and posterior, text again, feed-forward."""

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        size, heads, inner = config.hidden_size, config.heads, config.feed_forward_size
        self.latent_attention = config.latent_attention
        self.self_attention = Attention(size, heads)
        self.text_attention = Attention(size, heads)
        self.second_text_attention = Attention(size, heads)
        self.feed_forward = FeedForward(size, inner)
        if config.latent_attention == "causal_attention":
            self.latent_path = Attention(size, heads)
        if config.is_target_guided:
            self.prior_network = FeedForward(size, inner)
        for name in ("posterior_mean", "posterior_log_variance", "prior_mean", "prior_log_variance"):
            setattr(self, name, nn.Linear(size, size))

    def latent_states(self, states: Tensor, mask: Tensor) -> Tensor:
        """LTA: (B, T, H), row t made from rows <= t."""
        if self.latent_attention == "causal_attention":
            return self.latent_path.attend(states, *self.latent_path.memory(states), mask=mask, is_causal=False)
        if self.latent_attention == "flat":
            count = torch.arange(1, states.shape[1] + 1, device=states.device, dtype=states.dtype)
            return states.cumsum(1) / count[:, None]
        return states


class ReleasedCTEG(nn.Module):
    """The released model without its text encoder.

    Args:
        config: Sizes and switches.
    """

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.words = nn.Embedding(config.vocabulary, size)
        self.frame = nn.Linear(layout.D, size)
        self.register_buffer("positions", torch.zeros(config.positions, size))
        if config.has_expression_attention:
            self.expression_attention = ExpressionAttention(size, config.heads, "global")
        self.norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(ReleasedLayer(config) for _ in range(config.layers))
        self.output = nn.Linear(size, layout.D, bias=False)
        if config.is_target_guided:
            self.prior_output = nn.Linear(size, layout.D, bias=False)

    def forward(self, text: Tensor, text_mask: Tensor, frames: Tensor, tokens: Tensor) -> Predicted:
        """Predict with the posterior means (teacher forcing).

        Args:
            text: (B, L, H) states of the text encoder.
            text_mask: (B, L), True for real tokens.
            frames: (B, T, 53), zeros in the first row and where there is no frame.
            tokens: (B, T) ids: `START`, then `FRAME`s, the end, 0.
        """
        is_frame = tokens == FRAME
        is_frame[:, -1] = False  # the last row is never read as a frame, even where it is one
        states = self._embed(frames, torch.where(is_frame, -1, tokens))
        mask = _causal(states) & (tokens != 0)[:, None, None]
        prior_states, divergence = None, torch.zeros((), device=states.device)
        for layer in self.layers:
            attended, latent, memory = self._enter(layer, states, mask, text, text_mask)
            mean, log_variance = layer.posterior_mean(latent)[:, 1:], layer.posterior_log_variance(latent)[:, 1:]
            prior, prior_log_variance = layer.prior_mean(latent)[:, :-1], layer.prior_log_variance(latent)[:, :-1]
            ratio = (log_variance.exp() + (mean - prior) ** 2) * torch.exp(-prior_log_variance)
            divergence = divergence + 0.5 * (prior_log_variance - log_variance + ratio - 1).mean()
            attended = torch.cat([attended[:, :-1] + mean, attended[:, -1:]], dim=1)
            states = self._leave(layer, attended, memory, text_mask)
            if self.config.is_target_guided:
                prior_states = layer.prior_network(prior if prior_states is None else prior + prior_states)
        prior_frames = None if prior_states is None else self.prior_output(prior_states)
        return Predicted(self.output(states), prior_frames, divergence)

    def losses(self, text: Tensor, text_mask: Tensor, frames: Tensor, tokens: Tensor, valid: Tensor) -> Losses:
        """Return the released losses of a batch whose last column is only predicted.

        Args:
            text: (B, L, H).
            text_mask: (B, L).
            frames: (B, T + 1, 53).
            tokens: (B, T + 1).
            valid: (B, T + 1), True for start, frames and the end.
        """
        predicted = self(text, text_mask, frames[:, :-1], tokens[:, :-1])
        wanted, counted = frames[:, 1:], valid[:, 1:]
        reconstruction = _distance(predicted.frames, wanted, counted)
        guided = predicted.prior_frames
        target_guided = None if guided is None else _distance(guided, wanted[:, :-1], counted[:, :-1])
        return Losses(reconstruction, predicted.divergence, target_guided)

    @torch.inference_mode()
    def decode(
        self,
        text: Tensor,
        text_mask: Tensor,
        first_frame: Tensor,
        frames: int = FRAMES,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Write frames one by one, as released: no stop, the whole prefix again at each step.

        Only what EwA does not change is kept: the keys and values of the text.

        Args:
            text: (B, L, H).
            text_mask: (B, L).
            first_frame: (B, 1, 53), the mean frame of the training set.
            frames: How many to write.
            temperature: Multiplies both noises, that of the latents and `OUTPUT_NOISE` before the output.
            generator: Random numbers; not used at temperature 0.

        Returns:
            (B, 1 + frames, 53), the first frame first.
        """
        memories = [self._memories(layer, text) for layer in self.layers]
        rows = torch.zeros(len(first_frame), frames + 3, layout.D, device=text.device)
        rows[:, 1] = first_frame[:, 0]
        tokens = torch.full(rows.shape[:2], -1, device=text.device)
        tokens[:, 0] = START

        def noise(like: Tensor) -> Tensor:
            return temperature * torch.randn(like.shape, generator=generator, device=like.device)

        for end in range(2, frames + 2):
            states = self._embed(rows[:, : end + 1], tokens[:, : end + 1])[:, :-1]  # nothing sees the zero row itself
            mask = _causal(states)
            for layer, memory in zip(self.layers, memories, strict=True):
                attended, latent, _ = self._enter(layer, states, mask, text, text_mask, memory)
                z = layer.prior_mean(latent)
                if temperature:
                    z = z + torch.exp(0.5 * layer.prior_log_variance(latent)) * noise(z)
                states = self._leave(layer, attended + z, memory, text_mask)
            last = states[:, -1]
            rows[:, end] = self.output(last + OUTPUT_NOISE * noise(last) if temperature else last)
        return rows[:, 1:-1]

    def _embed(self, frames: Tensor, tokens: Tensor) -> Tensor:
        """Return input states (B, T, H): words where `tokens` names one, frames where it is -1."""
        if self.config.has_expression_attention:
            average = frames.mean(1, keepdim=True)
            frames = self.expression_attention.adjust(frames, average)
        states = torch.where((tokens < 0)[..., None], self.frame(frames), self.words(tokens.clamp(min=0)))
        if self.config.scales_input:
            states = states * math.sqrt(self.config.hidden_size)
        return self.norm(states + self.positions[: states.shape[1]])

    @staticmethod
    def _memories(layer: ReleasedLayer, text: Tensor) -> tuple:
        """Return keys and values of the text for both text attentions."""
        return layer.text_attention.memory(text), layer.second_text_attention.memory(text)

    def _enter(
        self, layer: ReleasedLayer, states: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor, memory: tuple = ()
    ) -> tuple[Tensor, Tensor, tuple]:
        """Run a layer up to its latent path; return the self-attention's output, the path's states, the memories."""
        memory = memory or self._memories(layer, text)
        own = layer.self_attention
        attended = own.attend(states, *own.memory(states), mask=mask, is_causal=False)
        heard = layer.text_attention.to_memory(attended, memory[0], text_mask[:, None, None])
        return attended, layer.latent_states(heard, mask), memory

    @staticmethod
    def _leave(layer: ReleasedLayer, attended: Tensor, memory: tuple, text_mask: Tensor) -> Tensor:
        """Run a layer from the latent on."""
        heard = layer.second_text_attention.to_memory(attended, memory[1], text_mask[:, None, None])
        return layer.feed_forward(heard)


def _causal(states: Tensor) -> Tensor:
    """Return (1, 1, T, T), True where row t may see row s <= t."""
    count = states.shape[1]
    return torch.ones(count, count, dtype=torch.bool, device=states.device).tril()[None, None]


def _distance(predicted: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over counted rows of the Euclidean norm with the jaw weighted; row 0 (the mean frame) is not."""
    difference = predicted - wanted
    difference = torch.cat([difference[..., layout.EXPRESSION], JAW_WEIGHT * difference[..., layout.JAW]], dim=-1)
    return difference.norm(dim=-1)[:, 1:][counted[:, 1:]].mean()
