"""Sampling: several different performances of one sentence, each a pure function of its own seed.

Letters: R rows decoded together, K frames per step, N steps, D = 53, H hidden, L text tokens, S sequence latent,
Z latent of a step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from cteg import layout
from cteg.emphasis import emphasised, plain
from cteg.errors import InputError
from cteg.model.cteg import CTEG, SEQUENCE
from cteg.model.latent import Mixture
from cteg.model.layers import DrawLatent
from cteg.model.length_plan import planned_lengths
from cteg.model.released import ReleasedCTEG
from cteg.model.released_decoding import Decoder, RecomputingDecoder

ROWS = 8
"""Sequences that are decoded together, always, however many are asked for: matrix products of another height round
differently, and a sample must not depend on how many others were wanted. The unwanted rows cost next to nothing."""

MAX_SAMPLES = ROWS
MAX_TEMPERATURE = 2.0
MAX_GUIDANCE = 3.0
MAX_SEED = 2**31 - 1

Model = CTEG | ReleasedCTEG
"""What can be sampled from."""


@dataclass(frozen=True)
class Settings:
    """What a user may choose; checked by `check_settings`."""

    samples: int = 4
    temperature: float = 1.0
    seed: int = 0
    guidance: float = 0.0


def check_settings(
    samples: object = 4, temperature: object = 1.0, seed: object = 0, guidance: object = 0.0
) -> Settings:
    """Return checked settings, or raise with the allowed range.

    Args:
        samples: Whole number, 1...8.
        temperature: Number, 0...2.
        seed: Whole number, 0...2^31 - 1.
        guidance: Number, 0...3: how much more strongly than learned the sentence decides what is performed.

    Raises:
        InputError: a value is of the wrong kind, not finite or out of range.
    """
    return Settings(
        samples=int(_number("number of samples", samples, 1, MAX_SAMPLES, is_whole=True)),
        temperature=float(_number("temperature", temperature, 0, MAX_TEMPERATURE, is_whole=False)),
        seed=int(_number("seed", seed, 0, MAX_SEED, is_whole=True)),
        guidance=float(_number("guidance", guidance, 0, MAX_GUIDANCE, is_whole=False)),
    )


def _number(name: str, value: object, low: int, high: float, is_whole: bool) -> float:
    kind = "a whole number" if is_whole else "a number"
    wrong = InputError(f"The {name} must be {kind} from {low} to {high:.10g}.")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong
    if not low <= value <= high or (is_whole and value != int(value)):  # NaN fails the first comparison
        raise wrong
    return value


# -- randomness --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """All randomness of R samples, drawn beforehand.

    Attributes:
        sequence: (R, S), standard normal, places the sequence latent in its component of the prior.
        sequence_choice: (R,), uniform, picks that component.
        latent: (R, N, layers, Z), standard normal, places the latent of a step in its component.
        choice: (R, N, layers), uniform, picks that component.
        stop: (R,), standard normal, places each clip's length in the predicted distribution of lengths.
        hidden: (R, N, H), standard normal, for configurations with output noise; None otherwise.
    """

    sequence: Tensor
    sequence_choice: Tensor
    latent: Tensor
    choice: Tensor
    stop: Tensor
    hidden: Tensor | None

    def latent_drawer(self, step: int, temperature: float, spread: float) -> DrawLatent:
        """Return what draws the latents of one step, and the sequence latent, at a temperature.

        Args:
            step: Step that is decoded.
            temperature: Of both kinds of latents.
            spread: Factor on it for the step latents, `CTEGConfig.step_spread`.
        """

        def draw(prior: Mixture, layer: int) -> Tensor:
            if layer == SEQUENCE:
                return prior.sample(self.sequence_choice, self.sequence, temperature)
            choice, latent = self.choice[:, step, None, layer], self.latent[:, step, None, layer]
            return prior.sample(choice, latent, spread * temperature)

        return draw


def draw_noise(model: Model, seeds: list[int], part: int = 0) -> Noise:
    """Draw the noise of every seed on its own, so that a sample depends on no other.

    Args:
        model: Says how much there is to draw.
        seeds: One per row.
        part: Which part of a longer text is performed, from 0; a seed draws for one after the other.
    """
    draws: dict[str, list[Tensor]] = {}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(part + 1):
            drawn = _draw_once(model, generator)
        for name, tensor in drawn.items():
            draws.setdefault(name, []).append(tensor)
    stacked = {name: torch.stack(tensors).to(model.first_frame.device) for name, tensors in draws.items()}
    return Noise(**{"hidden": None, **stacked})


def _draw_once(model: Model, generator: torch.Generator) -> dict[str, Tensor]:
    config, steps = model.config, model.steps_for(model.config.max_frames)
    drawn = {
        "stop": torch.randn((), generator=generator),
        "sequence_choice": torch.rand((), generator=generator),
        "sequence": torch.randn(config.sequence_latent_size, generator=generator),
        "choice": torch.rand(steps, config.layers, generator=generator),
        "latent": torch.randn(steps, config.layers, config.latent_size, generator=generator),
    }
    if config.output_noise > 0:
        drawn["hidden"] = torch.randn(steps, config.hidden_size, generator=generator)
    return drawn


# -- decoding ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opening:
    """Where clips begin: at rest, or where the part of the text before ended.

    Attributes:
        part: Which part of the text is performed, from 0.
        frames: (R, 53) coefficients, the last frame of every row before; None for rest.
    """

    part: int = 0
    frames: Tensor | None = None

    @classmethod
    def after(cls, clips: list[Tensor], part: int) -> Opening:
        """Begin part `part` where `clips`, each (T, 53), end; rows beyond them, which nobody wants, as the first."""
        last = [clip[-1] for clip in clips]
        return cls(part, torch.stack(last + last[:1] * (ROWS - len(last))))

    def frame(self, model: Model, rows: int) -> Tensor:
        """The frame before the first, (rows, 53)."""
        return model.first_frame.expand(rows, -1) if self.frames is None else self.frames.to(model.first_frame)

    def step(self, model: CTEG, rows: int) -> Tensor:
        """That frame as the model would have written it: a step (rows, K, 53) in its units, in which rest is zero."""
        config = model.config
        deviation = plain(self.frame(model, rows) - model.first_frame, config.amplitude, config.contrast)
        written = deviation / model.coefficient_scale
        return written[:, None].repeat(1, model.config.frames_per_step, 1)


REST = Opening()


@dataclass(frozen=True)
class StepFrames:
    """Frames of one step: (R, K, 53) coefficients, and (R, K) True where the frame still belongs to the clip."""

    frames: Tensor
    alive: Tensor


class StopRule:
    """Decides frame by frame which clips go on.

    `planned`: a clip's length is drawn by `plan` before its first frame, from hazards as below.
    `learned`: the model's hazards give a distribution of lengths; a clip ends where its cumulative probability passes
    Phi(temperature * noise): the median at temperature 0, the full distribution at 1.
    `norm`: a clip ends before the first frame whose coefficients have a norm below `stop_norm` (the paper's rule).
    `none`: a clip has all frames that are allowed (released models in reference mode).
    """

    def __init__(self, model: Model, noise: Noise, temperature: float) -> None:
        self.config = model.config
        uniform = 0.5 * (1 + torch.erf(temperature * noise.stop / math.sqrt(2)))  # (R,)
        self.log_threshold = torch.log1p(-uniform.clamp(max=1 - 1e-6))
        self.log_survival = torch.zeros_like(uniform)
        self.alive = torch.ones_like(uniform, dtype=torch.bool)
        self.lengths: Tensor | None = None
        self.written = 0

    def plan(self, model: CTEG, condition: Tensor) -> Tensor | None:
        """Draw the clips' lengths (R,) from what is known of them, (R, 1, H), if the model plans them."""
        if self.config.stop == "planned":
            logits = model.length_plan.stop_logits(condition)[:, : self.config.max_frames]
            self.lengths = planned_lengths(logits, self.log_threshold)
        return self.lengths

    def __call__(self, frames: Tensor, stop_logits: Tensor | None) -> Tensor:
        """(R, K, 53) frames and (R, K) log-odds of ending -> (R, K), True where the frame belongs to the clip."""
        if self.config.stop == "none":
            return self.alive[:, None].expand(frames.shape[:2])
        if self.config.stop == "planned":
            counts = torch.arange(self.written, self.written + frames.shape[1], device=frames.device)
            self.written += frames.shape[1]
            self.alive = self.lengths > self.written
            return counts < self.lengths[:, None]
        if self.config.stop == "norm":
            is_quiet = frames.norm(dim=-1) < self.config.stop_norm
            alive = self.alive[:, None] & (is_quiet.cumsum(1) == 0)
            self.alive = alive[:, -1]
            return alive
        hazards = stop_logits[:, : frames.shape[1]]
        survival = self.log_survival[:, None] + torch.nn.functional.logsigmoid(-hazards).cumsum(1)  # (R, K)
        goes_on = survival > self.log_threshold[:, None]  # after this frame
        before = torch.cat([self.alive[:, None], goes_on[:, :-1] & self.alive[:, None]], dim=1)
        alive = before.cumprod(1).bool()
        self.log_survival, self.alive = survival[:, -1], alive[:, -1] & goes_on[:, -1]
        return alive


@torch.inference_mode()
def stream(
    model: Model,
    text: Tensor,
    text_mask: Tensor,
    seeds: list[int],
    temperature: float,
    wanted: int | None = None,
    is_cached: bool = True,
    guidance: float = 0.0,
    opening: Opening = REST,
) -> Iterator[StepFrames]:
    """Decode R samples of one sentence step by step, until the first `wanted` of them have ended.

    Args:
        model: In evaluation mode.
        text: (1, L, text_size), the sentence's states; or (R, L, text_size), one sentence for every row.
        text_mask: (1, L) or (R, L), True for real tokens.
        seeds: One per row.
        temperature: 0...2, scales the latent's spread, the spread of lengths, and the output noise where there is one.
        wanted: Rows that must be finished; all by default.
        is_cached: Whether what can be kept of the past is kept. False recomputes the prefix at every step; the global
            EwA, which changes the past, always does, but for a released model (`cteg.model.released_decoding`).
        guidance: See `Mixture.guided`; models without a sequence latent take no notice of it.
        opening: Where the clips begin.

    Yields:
        K frames of every row at a time.
    """
    noise, rows, wanted = draw_noise(model, seeds, opening.part), len(seeds), wanted or len(seeds)
    rule = StopRule(model, noise, temperature)
    if isinstance(model, ReleasedCTEG):
        steps = _released_steps(model, text, text_mask, noise, rows, temperature, is_cached, opening)
    else:
        decode = _cached_steps if is_cached and model.caches_exactly else _uncached_steps
        steps = decode(model, text, text_mask, noise, rows, temperature, guidance, opening, rule)
    written = 0
    for frames, stop_logits in steps:
        frames = frames[:, : model.config.max_frames - written]
        written += frames.shape[1]
        yield StepFrames(frames, rule(frames, stop_logits))
        if written >= model.config.max_frames or not rule.alive[:wanted].any():
            return


def _to_coefficients(
    model: CTEG, output: Tensor, newest: Tensor, noise: Noise, step: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Read hidden states (R, 1, H).

    Returns:
        Frames (R, K, 53) as coefficients at their amplitude, and as the model wrote them, in its units.
    """
    if noise.hidden is not None:
        output = output + temperature * model.config.output_noise * noise.hidden[:, step, None]
    written = _in_range(model, model.unscale(model.to_frames(output, newest[:, None, -1], model.head)[:, 0]))
    deviation = emphasised(written - model.first_frame, model.config.amplitude, model.config.contrast)
    frames = _in_range(model, model.first_frame + deviation)
    return frames, model.scale(written)


def _in_range(model: CTEG, frames: Tensor) -> Tensor:
    """Limit coefficients (..., 53) to the range of their space."""
    return torch.clamp(frames, *_open_range(frames.device)) if model.config.space == "open" else frames


@functools.cache
def _open_range(device: torch.device) -> tuple[Tensor, Tensor]:
    """Least and largest coefficients of the space `open`, (53,) each."""
    limits = torch.tensor([(0.0, 1.0)] * len(layout.OPEN_SHAPES) + layout.JAW_LIMITS.tolist(), device=device)
    return limits[:, 0], limits[:, 1]


def _cached_steps(
    model: CTEG,
    text: Tensor,
    text_mask: Tensor,
    noise: Noise,
    rows: int,
    temperature: float,
    guidance: float,
    opening: Opening,
    rule: StopRule,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    spread = model.config.step_spread
    state = model.start(text, text_mask, rows, noise.latent_drawer(0, temperature, spread), guidance)
    state.lengths = rule.plan(model, state.condition)
    newest = opening.step(model, rows)
    for step in range(noise.latent.shape[1]):
        output, stop_logits = model.step(newest, state, noise.latent_drawer(step, temperature, spread))
        frames, newest = _to_coefficients(model, output, newest, noise, step, temperature)
        yield frames, stop_logits


def _uncached_steps(
    model: CTEG,
    text: Tensor,
    text_mask: Tensor,
    noise: Noise,
    rows: int,
    temperature: float,
    guidance: float,
    opening: Opening,
    rule: StopRule,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    text, text_mask = text.expand(rows, -1, -1), text_mask.expand(rows, -1)
    spread = model.config.step_spread
    first = noise.latent_drawer(0, temperature, spread)
    condition = model.draw_condition(text, text_mask, rows, first, guidance)
    lengths, known = rule.plan(model, condition), opening.step(model, rows)
    latents = [text.new_zeros(rows, 0, model.config.latent_size) for _ in model.layers]
    for step in range(noise.latent.shape[1]):
        draw = noise.latent_drawer(step, temperature, spread)
        planned = model.with_plan(condition, lengths, 0, step + 1)
        output, stop_logits, latents = model.step_uncached(known, latents, planned, text, text_mask, draw)
        last = known[:, -model.config.frames_per_step :]
        frames, newest = _to_coefficients(model, output, last, noise, step, temperature)
        known = torch.cat([known, newest], dim=1)
        yield frames, stop_logits


def _released_steps(
    model: ReleasedCTEG,
    text: Tensor,
    text_mask: Tensor,
    noise: Noise,
    rows: int,
    temperature: float,
    is_cached: bool,
    opening: Opening,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames (R, 1, 53) of a released model, with stop log-odds that say nothing.

    Temperature scales both noises. A frame's noise is drawn once, for a sample must be a function of its seed; the
    released code draws the latents of the whole past anew at every step, of which only those below the highest layer
    are read again: with one layer the distribution is the same.
    """

    def draw(mean: Tensor, log_variance: Tensor, layer: int, which: slice) -> Tensor:
        return mean + temperature * torch.exp(0.5 * log_variance) * noise.latent[:, which, layer]

    frame, no_stop = opening.frame(model, rows), text.new_zeros(rows, 1)
    if model.config.writes_first_frame and not opening.part:
        yield frame[:, None], no_stop
    decoder = (Decoder if is_cached else RecomputingDecoder)(model, text, text_mask, rows)
    for newest in range(1, noise.latent.shape[1]):  # row 0 is the start row
        hidden = decoder.step(frame, draw)
        if noise.hidden is not None:
            hidden = hidden + temperature * model.config.output_noise * noise.hidden[:, newest]
        frame = model.output(hidden)
        yield frame[:, None], no_stop


def sample(
    model: Model,
    text: Tensor,
    text_mask: Tensor,
    seeds: list[int],
    temperature: float,
    wanted: int | None = None,
    is_cached: bool = True,
    guidance: float = 0.0,
    opening: Opening = REST,
) -> list[Tensor]:
    """Decode whole clips: a list of `wanted` tensors (T_i, 53), T_i >= 1. Arguments as in `stream`."""
    steps = list(stream(model, text, text_mask, seeds, temperature, wanted, is_cached, guidance, opening))
    frames = torch.cat([step.frames for step in steps], dim=1)  # (R, T, 53)
    lengths = torch.cat([step.alive for step in steps], dim=1).sum(1).clamp(min=1)  # (R,)
    clips = [frames[row, : int(lengths[row])].cpu() for row in range(wanted or len(seeds))]
    if temperature == 0 and len(text) == 1:
        return [clips[0]] * len(clips)  # equal by definition; rows of one product may differ in the last bit
    return clips
