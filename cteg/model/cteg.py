"""CTEG: text states and the frames so far in, the next frames out.

Letters: B batch, T frames, K frames per step, N steps, D = 53 coefficients, L text tokens, H hidden, Z latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cteg.layout import D
from cteg.model.attention import LAYER_NORM_EPS, sinusoid_positions
from cteg.model.config import CTEGConfig
from cteg.model.expression_attention import ExpressionAttention, FoldedWeights
from cteg.model.latent import Gaussian, Mixture, kl_divergence
from cteg.model.layers import ContextLayer, CVADLayer, DrawLatent, LatentTrace, LayerPast
from cteg.model.length_plan import STOP_BIAS, LengthPlan
from cteg.model.sequence_latent import SequenceLatent, pool_text

SEQUENCE = -1
"""Index that a `DrawLatent` is given for the sequence latent; layers count from 0."""


@dataclass(frozen=True)
class SequenceTrace:
    """What training needs of the sequence latent: distributions over (B, S), the drawn u (B, S), divergence (B,)."""

    prior: Mixture
    posterior: Gaussian
    u: Tensor
    divergence: Tensor


@dataclass(frozen=True)
class TrainingNoise:
    """Standard normal draws of a training pass: one (B, N, Z) per CVAD layer, and (B, S) for the sequence latent."""

    steps: list[Tensor]
    sequence: Tensor

    @classmethod
    def draw(cls, config: CTEGConfig, batch: int, steps: int, device: torch.device | str = "cpu") -> TrainingNoise:
        """Draw noise for a batch."""
        per_layer = [torch.randn(batch, steps, config.latent_size, device=device) for _ in range(config.layers)]
        return cls(per_layer, torch.randn(batch, config.sequence_latent_size, device=device))

    def __getitem__(self, rows: slice) -> TrainingNoise:
        """The draws of some rows of the batch."""
        return TrainingNoise([layer[rows] for layer in self.steps], self.sequence[rows])

    def to(self, device: torch.device) -> TrainingNoise:
        """Move every draw."""
        return TrainingNoise([layer.to(device) for layer in self.steps], self.sequence.to(device))


@dataclass(frozen=True)
class Prediction:
    """Teacher-forced output for N steps.

    Attributes:
        frames: (B, N*K, 53), predicted with latents of the posterior.
        stop_logits: (B, N*K), log-odds that the clip ends with this frame, given that it lasted until then.
        traces: One per CVAD layer, from the lowest.
        sequence: The sequence latent; None for a model without.
        guided: (B, N*K, 53), what the prior's mean alone predicts (target-guided path, Eq. 8).
        previous: (B, N, 53), the last known frame before each step, from which changes are counted.
    """

    frames: Tensor
    stop_logits: Tensor
    traces: list[LatentTrace]
    sequence: SequenceTrace | None
    guided: Tensor
    previous: Tensor


@dataclass
class DecodingState:
    """A batch of sequences while it is decoded with caches; frames themselves are kept by the caller."""

    layers: list[LayerPast]
    condition: Tensor  # (B, 1, H), what joins every step's input
    channel_total: Tensor  # (B, 1, 53), sum of all frames so far, for the causal EwA
    expression_attention: FoldedWeights | None
    lengths: Tensor | None = None  # (B,), frames of every clip, for models that plan them; set by the caller
    frame_count: int = 0
    step: int = 0


class CTEG(nn.Module):
    """Continuous Text-to-Expression Generator.

    The sequence is cut into steps of K frames; step 0 is the start frame K times. The model reads steps 0...n and
    writes step n+1. It works in units of its own, the model units: coefficients less `first_frame` (53,), divided by
    `coefficient_scale` (53,). `forward` takes coefficients; what it returns, and what `step` and `step_uncached` take,
    is in model units (`scale`, `unscale`).

    Reference: Xu et al. 2025, section 5, Eq. (1)-(5). Deviations are fields of `CTEGConfig`.

    Args:
        config: Sizes and switches.
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
        steps = self.steps_for(config.max_frames) + 2
        self.register_buffer("positions", sinusoid_positions(steps, size), persistent=False)
        self.null_text = nn.Parameter(torch.randn(1, config.text_size) * 0.02)
        if config.expression_attention != "none":
            self.expression_attention = ExpressionAttention(size, config.heads, config.expression_attention)
        if config.sequence_latent_size:
            self.sequence_latent = SequenceLatent(config)
        if config.pools_text:
            self.text_projection = nn.Linear(config.text_size, size)
        self.embed = nn.Linear(config.frames_per_step * D, size)
        self.norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.context_layers = nn.ModuleList(ContextLayer(config) for _ in range(config.context_layers))
        self.layers = nn.ModuleList(CVADLayer(config) for _ in range(config.layers))
        self.head = nn.Linear(size, config.frames_per_step * D, bias=False)
        self.guided_head = nn.Linear(size, config.frames_per_step * D, bias=False)
        if config.stop == "planned":
            self.length_plan = LengthPlan(size, self.steps_for(config.max_frames) * config.frames_per_step)
        else:
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
        return self._embed(frames)

    def to_input(self, embedded: Tensor, condition: Tensor, positions: Tensor) -> Tensor:
        """Add positions (n, H) and condition (B, 1, H) to embedded steps (B, n, H): the input of the layers."""
        return self.dropout(self.norm(embedded + positions + condition))

    def condition(self, sentence: Tensor, u: Tensor | None) -> Tensor:
        """What joins every step's input: pooled sentence (B, text_size) and sequence latent (B, S) -> (B, 1, H)."""
        total = sentence.new_zeros(len(sentence), self.config.hidden_size)
        if self.config.pools_text:
            total = total + self.text_projection(sentence)
        if u is not None:
            total = total + self.sequence_latent.up(u.to(sentence.dtype))
        return total[:, None]

    def with_plan(self, condition: Tensor, lengths: Tensor | None, first: int, count: int) -> Tensor:
        """Add to the condition (B, 1, H) what `count` steps from `first` on are told of the clips' lengths (B,).

        Models that plan no length return the condition as it is.
        """
        if self.config.stop != "planned":
            return condition
        steps = torch.arange(first, first + count, device=condition.device)
        return condition + self.length_plan(lengths, steps * self.config.frames_per_step)

    def draw_condition(
        self, text: Tensor, text_mask: Tensor, rows: int, draw: DrawLatent, guidance: float = 0.0
    ) -> Tensor:
        """Draw the sequence latent of `rows` clips, if the model has one, and return their condition (rows, 1, H).

        Arguments as in `start`; `draw` is called with the prior over (rows, S) and the index `SEQUENCE`.
        """
        sentence = pool_text(text, text_mask).expand(rows, -1)
        if not self.config.sequence_latent_size:
            return self.condition(sentence, None)
        prior = self.sequence_latent.prior(sentence)
        guidance += self.config.sequence_guidance
        if guidance:
            prior = prior.guided(self.sequence_latent.prior(self.null_text), guidance)
        return self.condition(sentence, draw(prior, SEQUENCE))

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
        noise: TrainingNoise,
        input_offset: Tensor | None = None,
    ) -> Prediction:
        """Teacher-forced pass over whole sequences.

        Args:
            frames: (B, N*K, 53) coefficients; after a clip's end its last frame repeats.
            valid: (B, N*K), True for real frames.
            text: (B, L, text_size) hidden states of the text encoder.
            text_mask: (B, L), True for real tokens.
            noise: Places every latent in its posterior.
            input_offset: (B, N, 53) in model units, added to what the model sees of each step but not to what it must
                predict, so that it learns to come back from its own small errors. The sequence latent is read from the
                true frames.

        Returns:
            Predictions for all N steps, in model units.
        """
        steps = frames.shape[1] // self.config.frames_per_step
        scaled = self.scale(frames)
        start = torch.zeros_like(scaled[:, : self.config.frames_per_step])  # the first frame in model units
        known = torch.cat([start, scaled], dim=1)  # (B, (N+1)*K, 53)
        seen = torch.cat([torch.ones_like(valid[:, : self.config.frames_per_step]), valid], dim=1)
        embedded = true = self.embed_sequence(known, seen)
        if input_offset is not None:
            offset = input_offset.repeat_interleave(self.config.frames_per_step, dim=1)
            known = torch.cat([start, scaled + offset], dim=1)
            embedded = self.embed_sequence(known, seen)
        step_mask = valid.unflatten(1, (steps, -1)).any(-1)  # (B, N)
        sequence, condition = self._posterior_condition(true[:, 1:], step_mask, text, text_mask, noise.sequence)
        planned = self.with_plan(condition, valid.sum(1), 0, steps + 1)
        states = self.to_input(embedded, planned, self.positions[: steps + 1])
        mask = text_mask[:, None, None, :]
        for layer in self.context_layers:
            states = layer(states, text, mask)
        traces = []
        for layer, layer_noise in zip(self.layers, noise.steps, strict=True):
            states, trace = layer(states, text, mask, layer_noise, step_mask)
            traces.append(trace)
        previous = known.unflatten(1, (steps + 1, -1))[:, :-1, -1]  # (B, N, 53)
        if self.config.stop == "planned":
            stop_logits = self.length_plan.stop_logits(condition)[:, : frames.shape[1]]
        else:
            stop_logits = self.stop_head(traces[0].context).flatten(1)
        return Prediction(
            frames=self.to_frames(states[:, :-1], previous, self.head).flatten(1, 2),
            stop_logits=stop_logits,
            traces=traces,
            sequence=sequence,
            guided=self._guided(traces, previous).flatten(1, 2),
            previous=previous,
        )

    def _posterior_condition(
        self, steps: Tensor, step_mask: Tensor, text: Tensor, text_mask: Tensor, noise: Tensor
    ) -> tuple[SequenceTrace | None, Tensor]:
        """Draw the sequence latent from its posterior over embedded steps (B, N, H); return it and the condition."""
        sentence = pool_text(text, text_mask)
        if not self.config.sequence_latent_size:
            return None, self.condition(sentence, None)
        posterior = self.sequence_latent.posterior(steps, step_mask, sentence, self.positions[1 : steps.shape[1] + 1])
        prior, u = self.sequence_latent.prior(sentence), posterior.sample(noise)
        return SequenceTrace(prior, posterior, u, kl_divergence(posterior, prior, u)), self.condition(sentence, u)

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

    def start(
        self, text: Tensor, text_mask: Tensor, rows: int, draw: DrawLatent, guidance: float = 0.0
    ) -> DecodingState:
        """Prepare cached decoding of `rows` sequences.

        Args:
            text: (1, L, text_size) for one sentence shared by all rows, or (rows, L, text_size).
            text_mask: (1, L) or (rows, L), True for real tokens.
            rows: R, sequences decoded together.
            draw: Draws the sequence latent, see `draw_condition`.
            guidance: How much further the sentence moves the repertoire's weights away from those of no sentence; added
                to `CTEGConfig.sequence_guidance`.
        """
        layers = [*self.context_layers, *self.layers]
        pasts = [layer.start(text, text_mask, rows, self.positions.shape[0]) for layer in layers]
        condition = self.draw_condition(text, text_mask, rows, draw, guidance)
        folded = self.expression_attention.fold() if self.config.expression_attention != "none" else None
        return DecodingState(pasts, condition, text.new_zeros(rows, 1, D), folded)

    def step(self, newest: Tensor, state: DecodingState, draw: DrawLatent) -> tuple[Tensor, Tensor | None]:
        """Write the next K frames, given the newest K known ones.

        Args:
            newest: (B, K, 53) in model units; zeros for the start.
            state: Grown in place.
            draw: Draws the latents.

        Returns:
            Output states (B, 1, H) to be read by `to_frames`, and stop log-odds (B, K), which planned lengths replace.
        """
        if self.config.expression_attention != "none":
            totals = state.channel_total + newest.cumsum(1)
            count = state.frame_count + torch.arange(1, newest.shape[1] + 1, device=newest.device)
            average = totals / count[:, None]
            adjusted = self.expression_attention.adjust(newest, average, state.expression_attention)
            state.channel_total = totals[:, -1:]
            state.frame_count += newest.shape[1]
        else:
            adjusted = newest
        condition = self.with_plan(state.condition, state.lengths, state.step, 1)
        hidden = self.to_input(self._embed(adjusted), condition, self.positions[state.step])
        state.step += 1
        for layer, past in zip(self.context_layers, state.layers, strict=False):
            hidden = layer.step(hidden, past)
        contexts = []
        for index, (layer, past) in enumerate(zip(self.layers, state.layers[len(self.context_layers) :], strict=True)):
            hidden, context = layer.step(hidden, past, draw, index)
            contexts.append(context)
        return hidden, self._stop_logits(contexts[0])

    def step_uncached(
        self,
        known: Tensor,
        latents: list[Tensor],
        condition: Tensor,
        text: Tensor,
        text_mask: Tensor,
        draw: DrawLatent,
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """The same as `step` by recomputing the whole prefix: what the released code does, and the global EwA needs.

        Args:
            known: (B, n*K, 53) in model units: start and all steps so far.
            latents: One (B, n-1, Z) per CVAD layer: the latents drawn so far.
            condition: (B, 1, H), as drawn by `draw_condition`, or (B, n, H) after `with_plan`.
            text: (B, L, text_size).
            text_mask: (B, L).
            draw: Draws the newest latents.

        Returns:
            Output states (B, 1, H), stop log-odds (B, K) as `step`, the latents with the newest appended.
        """
        embedded = self.embed_sequence(known, torch.ones_like(known[..., 0], dtype=torch.bool))
        hidden = self.to_input(embedded, condition, self.positions[: embedded.shape[1]])
        mask = text_mask[:, None, None, :]
        for layer in self.context_layers:
            hidden = layer(hidden, text, mask)
        contexts, grown = [], []
        for index, (layer, drawn) in enumerate(zip(self.layers, latents, strict=True)):
            hidden, context, z = layer.decode_prefix(hidden, text, mask, drawn, draw, index)
            contexts.append(context)
            grown.append(z)
        return hidden[:, -1:], self._stop_logits(contexts[0]), grown

    def _stop_logits(self, context: Tensor) -> Tensor | None:
        """What LTA knows before the steps (B, n, H) -> log-odds (B, K) of ending in the last of them."""
        return None if self.config.stop == "planned" else self.stop_head(context[:, -1])
