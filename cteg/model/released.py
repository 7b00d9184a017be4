"""The released CTEG, quirk by quirk: what the authors' checkpoint needs to give the authors' numbers.

Our own model (`cteg.model.cteg`) departs from it on purpose. Here every oddity is kept, each as a field of
`ReleasedConfig` with its reason where another choice could be made with the same weights, and otherwise:

- EwA adds one change of the jaw to every row, made from averages over all rows. So each new frame changes the past.
- The last position of a training batch is a row of the word table, whatever stands there.
- The posterior of position t + 1 stands against the prior of position t.
- z joins the output of the self-attention; the prior alone runs through a network of its own (target-guided path).

Decoding is in `cteg.model.released_decoding`. Letters: B batch, T rows, L text tokens, H hidden, D = 53.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cteg import layout
from cteg.errors import WeightsError
from cteg.model.attention import LAYER_NORM_EPS, Attention, FeedForward
from cteg.model.config import check_fields
from cteg.model.expression_attention import ExpressionAttention

PAD, FRAME, START, END = 0, 100, 101, 102
"""Token ids of padding, of every frame, of the start row, and of the row after the last frame."""

WORDS = (PAD, FRAME, START, END)
"""Rows of the released word table (28,996 for BERT's vocabulary) that can ever be read; the others are not kept."""

JAW_WEIGHT = 5.0
CHOICES = {"latent_attention": ("causal_attention", "flat", "none"), "stop": ("none", "norm"), "space": ("flame",)}


@dataclass(frozen=True)
class ReleasedConfig:
    """Sizes and switches of a released checkpoint, and the quirks of its use.

    The defaults are the released behaviour, the reference mode; `in_our_mode` changes how the same weights are used.

    Attributes:
        hidden_size: H.
        heads: Attention heads; divides H.
        feed_forward_size: Inner width of the feed-forward networks.
        layers: CVAD layers.
        positions: Rows of the position table, the longest sequence.
        has_expression_attention: EwA, which in this form makes each new frame change all rows before it.
        latent_attention: LTA: `causal_attention`, `flat` (running mean) or `none`.
        is_target_guided: Whether the prior has an output of its own.
        scales_input: Whether the embedded input is multiplied by sqrt(H). Quirk: taken over from translation models,
            where it balances small word embeddings against the positions; here it nearly drowns the positions.
        averages_zero_rows: Whether EwA's averages count rows without a frame: the start row and, while decoding, one
            zero row after the newest frame (in training all padding). Quirk: the average is taken over the whole
            array; the weights have seen no other, and it matters most for the first frames.
        starts_with_word: Whether row 0 is the word embedding of [CLS]. Quirk: left from translation, and the reason for
            a word table in the checkpoint; otherwise a zero frame stands there, which the weights have never seen.
        output_noise: Standard deviation of white noise added to the hidden state before the output. Quirk: the paper
            draws frames with unit variance; the code draws in the hidden state, anew for every frame, with exp(0.5) (a
            log-variance of 1). It shows as jitter.
        writes_first_frame: Whether a clip begins with the mean frame of the training set. Quirk: that frame starts
            every sequence in training, so it also starts what is written.
        stop: `none`, or `norm`: a clip ends before the first frame whose norm is below `stop_norm`. Quirk: the weights
            are trained to end with a zero frame and the released code has this test, but does not call it.
        stop_norm: Threshold of the norm stop.
        max_frames: Most frames of a clip, the mean frame included where it is written. Quirk: without a stop the
            released code always writes 254 after the mean frame.
        space: Coefficient space, always `flame`.
    """

    hidden_size: int
    heads: int
    feed_forward_size: int
    layers: int
    positions: int
    has_expression_attention: bool = True
    latent_attention: str = "causal_attention"
    is_target_guided: bool = True
    scales_input: bool = True
    averages_zero_rows: bool = True
    starts_with_word: bool = True
    output_noise: float = math.exp(0.5)
    writes_first_frame: bool = True
    stop: str = "none"
    stop_norm: float = 1.0
    max_frames: int = 255
    space: str = "flame"

    frames_per_step: ClassVar[int] = 1
    step_spread: ClassVar[float] = 1.0
    sequence_latent_size: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_fields(self, CHOICES)
        # The start row and the mean frame are read, not written.
        longest = self.positions - (1 if self.writes_first_frame else 2)
        if self.max_frames > longest:
            raise WeightsError(f"Model configuration: max_frames is {self.max_frames}, expected at most {longest}.")
        if self.writes_first_frame and self.stop == "norm":
            raise WeightsError("Model configuration: the norm stop could end a clip at the mean frame; leave that out.")
        if self.hidden_size % self.heads:
            raise WeightsError(f"Model configuration: {self.heads} heads do not divide hidden_size {self.hidden_size}.")

    @property
    def latent_size(self) -> int:
        """Z, always H."""
        return self.hidden_size

    def in_our_mode(self) -> ReleasedConfig:
        """Return the configuration that uses the same weights as we would: stop where they say, no mean frame first."""
        return dataclasses.replace(self, writes_first_frame=False, stop="norm", max_frames=self.max_frames - 1)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReleasedConfig:
        """Build a configuration from JSON values; a missing or unknown key is an error.

        Raises:
            WeightsError: a key is unknown or missing, or a value is out of range.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise WeightsError("Model configuration: its keys are not those of a released model.") from error


class Predicted(NamedTuple):
    """What teacher forcing gives: frames (B, T, 53), the prior's frames (B, T - 1, 53) or None, and the KL.

    The KL is summed over layers, and in each the mean over dimensions and positions, padding included; a scalar.
    """

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

    def enter(self, states: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layer up to its latent path; return the self-attention's output and the path's states, (B, T, H)."""
        own, listening = self.self_attention, self.text_attention
        attended = own.attend(states, *own.memory(states), mask=mask, is_causal=False)
        heard = listening.to_memory(attended, listening.memory(text), text_mask[:, None, None])
        return attended, self.latent_states(heard, mask)

    def leave(self, attended: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Run the layer from the latent on: self-attention's output with z (B, T, H) -> (B, T, H)."""
        listening = self.second_text_attention
        return self.feed_forward(listening.to_memory(attended, listening.memory(text), text_mask[:, None, None]))

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

    `first_frame` (53,) is the mean frame of the training set, which starts every sequence.

    Args:
        config: Sizes and switches.
    """

    first_frame: Tensor
    positions: Tensor

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.words = nn.Embedding(len(WORDS), size)
        self.frame = nn.Linear(layout.D, size)
        self.register_buffer("first_frame", torch.zeros(layout.D))
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
            tokens: (B, T) ids: `START`, a `FRAME` for each frame, `END`, then `PAD`.
        """
        is_frame = tokens == FRAME
        is_frame[:, -1] = False  # the last row is never read as a frame, even where it is one
        states = self.embed(frames, torch.where(is_frame, -1, tokens))
        mask = causal_mask(states) & (tokens != PAD)[:, None, None]
        prior_states, divergence = None, torch.zeros((), device=states.device)
        for layer in self.layers:
            attended, latent = layer.enter(states, mask, text, text_mask)
            mean, log_variance = layer.posterior_mean(latent)[:, 1:], layer.posterior_log_variance(latent)[:, 1:]
            prior, prior_log_variance = layer.prior_mean(latent)[:, :-1], layer.prior_log_variance(latent)[:, :-1]
            ratio = (log_variance.exp() + (mean - prior) ** 2) * torch.exp(-prior_log_variance)
            divergence = divergence + 0.5 * (prior_log_variance - log_variance + ratio - 1).mean()
            attended = torch.cat([attended[:, :-1] + mean, attended[:, -1:]], dim=1)
            states = layer.leave(attended, text, text_mask)
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

    def posterior_means(self, text: Tensor, text_mask: Tensor, frames: Tensor, valid: Tensor) -> Tensor:
        """Return the means of the lowest layer's posteriors of every frame, (B, T, H).

        Args:
            text: (B, L, H).
            text_mask: (B, L).
            frames: (B, T, 53), without the mean frame, T at most the length of the position table - 3.
            valid: (B, T), True for real frames, a prefix of each row.
        """
        mean = self.first_frame.expand(len(frames), 1, -1)
        rows = nn.functional.pad(torch.cat([mean, frames * valid[..., None]], dim=1), (0, 0, 1, 1))  # start and end row
        tokens = nn.functional.pad(valid.long() * FRAME, (2, 1))
        tokens[:, 0], tokens[:, 1] = START, FRAME
        tokens.scatter_(1, valid.sum(1, keepdim=True) + 2, END)
        states = self.embed(rows, torch.where(tokens == FRAME, -1, tokens))
        mask = causal_mask(states) & (tokens != PAD)[:, None, None]
        layer = self.layers[0]
        return layer.posterior_mean(layer.enter(states, mask, text, text_mask)[1])[:, 2:-1]

    def steps_for(self, frames: int) -> int:
        """Return how many rows of noise `frames` frames need: one per row of the sequence, the start row included."""
        return frames + 1

    def embed(self, frames: Tensor, tokens: Tensor) -> Tensor:
        """Return input states (B, T, H): words where `tokens` names one, frames where it is -1."""
        if self.config.has_expression_attention:
            is_counted = torch.ones_like(tokens) if self.config.averages_zero_rows else tokens < 0
            weight = is_counted[..., None].to(frames.dtype)
            average = (frames * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
            frames = self.expression_attention.adjust(frames, average)
        states = self.frame(frames)
        is_word = tokens >= 0
        if not self.config.starts_with_word:
            is_word = is_word & (tokens != START)
        rows = (tokens - FRAME + 1).clamp(min=0)  # their places in `WORDS`; PAD, and the -1 of frames, give 0
        embedded = torch.where(is_word[..., None], self.words(rows), states)
        return self.norm(self.add_positions(embedded, 0))

    def add_positions(self, embedded: Tensor, first: int) -> Tensor:
        """Scale embedded rows (B, n, H), of which the first is row `first`, and add their positions."""
        scale = math.sqrt(self.config.hidden_size) if self.config.scales_input else 1.0
        return embedded * scale + self.positions[first : first + embedded.shape[1]]


def causal_mask(states: Tensor) -> Tensor:
    """Return (1, 1, T, T), True where row t may see row s <= t."""
    count = states.shape[1]
    return torch.ones(count, count, dtype=torch.bool, device=states.device).tril()[None, None]


def _distance(predicted: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over counted rows of the Euclidean norm with the jaw weighted; row 0 (the mean frame) is not."""
    difference = predicted - wanted
    difference = torch.cat([difference[..., layout.EXPRESSION], JAW_WEIGHT * difference[..., layout.JAW]], dim=-1)
    return difference.norm(dim=-1)[:, 1:][counted[:, 1:]].mean()
