"""CTEG: text states and the frames so far in, the next frames out.

Letters: B batch, T frames, K frames per step, N steps, D = 53 coefficients, L text tokens, H hidden, Z latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cteg.layout import D
from cteg.model.attention import LAYER_NORM_EPS, KeyValues, sinusoid_positions
from cteg.model.config import CTEGConfig
from cteg.model.expression_attention import ExpressionAttention
from cteg.model.latent import LatentPast
from cteg.model.layers import ContextLayer, CVADLayer, DrawLatent, LatentTrace, LayerPast

STOP_BIAS = -4.0
"""First log-odds of ending with a frame: untrained clips last some 55 frames, like EmoAva's average of 52."""


@dataclass(frozen=True)
class Prediction:
    """Teacher-forced output for N steps.

    Attributes:
        frames: (B, N*K, 53), predicted with latents of the posterior.
        stop_logits: (B, N*K), log-odds that the clip ends with this frame, given that it lasted until then.
        traces: One per CVAD layer, from the lowest.
        guided: (B, N*K, 53), what the prior's mean alone predicts (target-guided path, Eq. 8).
        previous: (B, N, 53), the last known frame before each step, from which changes are counted.
    """

    frames: Tensor
    stop_logits: Tensor
    traces: list[LatentTrace]
    guided: Tensor
    previous: Tensor


@dataclass
class DecodingState:
    """A batch of sequences while it is decoded with caches; frames themselves are kept by the caller."""

    layers: list[LayerPast]
    text_mask: Tensor | None  # None where every token is real
    channel_total: Tensor  # (B, 1, 53), sum of all frames so far, for the causal EwA
    frame_count: int = 0
    step: int = 0


class CTEG(nn.Module):
    """Continuous Text-to-Expression Generator.

    The sequence is cut into steps of K frames; step 0 is the start frame K times. The model reads steps 0...n and
    writes step n+1. Coefficients enter and leave in the units of their space; inside they are divided by
    `coefficient_scale` after subtracting `first_frame`.

    Reference: Xu et al. 2025, section 5, Eq. (1)-(5). Deviations are fields of `CTEGConfig`.
    """

    first_frame: Tensor
    coefficient_scale: Tensor
    positions: Tensor

    def __init__(self, config: CTEGConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.register_buffer("first_frame", torch.zeros(D))
        self.register_buffer("coefficient_scale", torch.ones(D))
        steps = -(-config.max_frames // config.frames_per_step) + 2
        self.register_buffer("positions", sinusoid_positions(steps, size), persistent=False)
        self.null_text = nn.Parameter(torch.randn(1, config.text_size) * 0.02)
        if config.expression_attention != "none":
            self.expression_attention = ExpressionAttention(size, config.heads, config.expression_attention)
        self.embed = nn.Linear(config.frames_per_step * D, size)
        self.norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.context_layers = nn.ModuleList(ContextLayer(config) for _ in range(config.context_layers))
        self.layers = nn.ModuleList(CVADLayer(config) for _ in range(config.layers))
        self.head = nn.Linear(size, config.frames_per_step * D, bias=False)
        self.guided_head = nn.Linear(size, config.frames_per_step * D, bias=False)
        self.stop_head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, config.frames_per_step))
        nn.init.constant_(self.stop_head[-1].bias, STOP_BIAS)

    # -- input and output ------------------------------------------------------------------------------------------

    def scale(self, frames: Tensor) -> Tensor:
        """Bring coefficients (..., 53) to the model's units."""
        return (frames - self.first_frame) / self.coefficient_scale

    def unscale(self, frames: Tensor) -> Tensor:
        """Bring the model's units (..., 53) back to coefficients."""
        return frames * self.coefficient_scale + self.first_frame

    def steps_for(self, frames: int) -> int:
        """Return how many steps of K frames cover `frames` frames."""
        return -(-frames // self.config.frames_per_step)

    def _embed(self, frames: Tensor) -> Tensor:
        """(B, n*K, 53) EwA-adjusted frames in model units -> (B, n, H), without positions."""
        embedded = self.embed(frames.unflatten(1, (-1, self.config.frames_per_step)).flatten(2))
        return embedded * self.config.hidden_size**0.5 if self.config.scales_input else embedded

    def embed_sequence(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Embed start and steps: frames (B, n*K, 53) in model units, valid (B, n*K) True if real -> (B, n, H)."""
        if self.config.expression_attention != "none":
            frames = self.expression_attention(frames, valid)
        embedded = self._embed(frames)
        return self.dropout(self.norm(embedded + self.positions[: embedded.shape[1]]))

    def to_frames(self, output: Tensor, previous: Tensor, head: nn.Linear) -> Tensor:
        """(..., H) hidden states -> (..., K, 53) frames in model units; `previous` (..., 53) is the frame before."""
        frames = head(output).unflatten(-1, (self.config.frames_per_step, D))
        return frames + previous[..., None, :] if self.config.predicts_change else frames

    # -- training --------------------------------------------------------------------------------------------------

    def forward(
        self,
        frames: Tensor,
        valid: Tensor,
        text: Tensor,
        text_mask: Tensor,
        noise: list[Tensor],
        input_offset: Tensor | None = None,
    ) -> Prediction:
        """Teacher-forced pass over whole sequences.

        Args:
            frames: (B, N*K, 53) coefficients; after a clip's end its last frame repeats.
            valid: (B, N*K), True for real frames.
            text: (B, L, text_size) hidden states of the text encoder.
            text_mask: (B, L), True for real tokens.
            noise: One standard normal (B, N, Z) per CVAD layer.
            input_offset: (B, N, 53) in model units, added to what the model sees of each step but not to what it must
                predict, so that it learns to come back from its own small errors.

        Returns:
            Predictions for all N steps, in model units.
        """
        steps = frames.shape[1] // self.config.frames_per_step
        scaled = self.scale(frames)
        start = torch.zeros_like(scaled[:, : self.config.frames_per_step])  # the first frame in model units
        if input_offset is not None:
            scaled = scaled + input_offset.repeat_interleave(self.config.frames_per_step, dim=1)
        known = torch.cat([start, scaled], dim=1)  # (B, (N+1)*K, 53)
        seen = torch.cat([torch.ones_like(valid[:, : self.config.frames_per_step]), valid], dim=1)
        states = self.embed_sequence(known, seen)
        mask = text_mask[:, None, None, :]
        for layer in self.context_layers:
            states = layer(states, text, mask)
        step_mask = valid.unflatten(1, (steps, -1)).any(-1)  # (B, N)
        traces = []
        for layer, layer_noise in zip(self.layers, noise, strict=True):
            states, trace = layer(states, text, mask, layer_noise, step_mask)
            traces.append(trace)
        previous = known.unflatten(1, (steps + 1, -1))[:, :-1, -1]  # (B, N, 53)
        return Prediction(
            frames=self.to_frames(states[:, :-1], previous, self.head).flatten(1, 2),
            stop_logits=self.stop_head(traces[0].context).flatten(1),
            traces=traces,
            guided=self._guided(traces, previous).flatten(1, 2),
            previous=previous,
        )

    def _guided(self, traces: list[LatentTrace], previous: Tensor) -> Tensor:
        """Frames that the prior alone predicts, (B, N, K, 53) in model units (paper Eq. 8)."""
        below = None
        for layer, trace in zip(self.layers, traces, strict=True):
            below = layer.guided(trace.prior.responsible_mean(trace.z).to(previous.dtype), below)  # (B, N, H)
        return self.to_frames(below, previous, self.guided_head)

    # -- decoding --------------------------------------------------------------------------------------------------

    @property
    def caches_exactly(self) -> bool:
        """Whether cached decoding equals recomputing the prefix: not for the global EwA, whose past changes."""
        return self.config.expression_attention != "global"

    def start(self, text: Tensor, text_mask: Tensor, rows: int) -> DecodingState:
        """Prepare cached decoding of `rows` sequences.

        Args:
            text: (1, L, text_size) for one sentence shared by all rows, or (rows, L, text_size).
            text_mask: (1, L) or (rows, L), True for real tokens.
            rows: R, sequences decoded together.
        """
        config = self.config
        shape = (rows, config.heads, self.positions.shape[0], config.hidden_size // config.heads)

        def room() -> KeyValues:
            return KeyValues(text.new_zeros(shape), text.new_zeros(shape))

        pasts = [layer.start(room(), text, rows) for layer in self.context_layers]
        for layer in self.layers:
            latent = LatentPast(room(), text.new_zeros(rows, 1, config.hidden_size))
            pasts.append(layer.start(room(), latent, text, rows))
        mask = None if bool(text_mask.all()) else text_mask[:, None, None, :].expand(rows, -1, -1, -1)
        return DecodingState(pasts, mask, text.new_zeros(rows, 1, D))

    def step(self, newest: Tensor, state: DecodingState, draw: DrawLatent) -> tuple[Tensor, Tensor]:
        """Write the next K frames, given the newest K known ones.

        Args:
            newest: (B, K, 53) in model units; zeros for the start.
            state: Grown in place.
            draw: Draws the latents.

        Returns:
            Output states (B, 1, H) to be read by `to_frames`, and stop log-odds (B, K).
        """
        if self.config.expression_attention != "none":
            totals = state.channel_total + newest.cumsum(1)
            count = state.frame_count + torch.arange(1, newest.shape[1] + 1, device=newest.device)
            adjusted = self.expression_attention.adjust(newest, totals / count[:, None])
            state.channel_total = totals[:, -1:]
            state.frame_count += newest.shape[1]
        else:
            adjusted = newest
        hidden = self.norm(self._embed(adjusted) + self.positions[state.step])
        state.step += 1
        for layer, past in zip(self.context_layers, state.layers, strict=False):
            hidden = layer.step(hidden, past, state.text_mask)
        contexts = []
        for index, (layer, past) in enumerate(zip(self.layers, state.layers[len(self.context_layers) :], strict=True)):
            hidden, context = layer.step(hidden, past, state.text_mask, draw, index)
            contexts.append(context)
        return hidden, self.stop_head(contexts[0])[:, 0]

    def step_uncached(
        self, known: Tensor, latents: list[Tensor], text: Tensor, text_mask: Tensor, draw: DrawLatent
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The same as `step` by recomputing the whole prefix: what the released code does, and the global EwA needs.

        Args:
            known: (B, n*K, 53) in model units: start and all steps so far.
            latents: One (B, n-1, Z) per CVAD layer: the latents drawn so far.
            text: (B, L, text_size).
            text_mask: (B, L).
            draw: Draws the newest latents.

        Returns:
            Output states (B, 1, H), stop log-odds (B, K), the latents with the newest appended.
        """
        hidden = self.embed_sequence(known, torch.ones_like(known[..., 0], dtype=torch.bool))
        mask = text_mask[:, None, None, :]
        for layer in self.context_layers:
            hidden = layer(hidden, text, mask)
        contexts, grown = [], []
        for index, (layer, drawn) in enumerate(zip(self.layers, latents, strict=True)):
            hidden, context, z = layer.decode_prefix(hidden, text, mask, drawn, draw, index)
            contexts.append(context)
            grown.append(z)
        return hidden[:, -1:], self.stop_head(contexts[0][:, -1]), grown
