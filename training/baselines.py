"""Train the LM-Listener baseline: `python -m training.baselines --performances DIR --encoder DIR --out RUN`.

Two stages on the performances that CTEG is trained on: codes of motion (VQ-VAE), then a language model from text to
codes. A stopped run goes on from its last checkpoint. `RUN` receives `config.json`, `motion.safetensors`,
`language.safetensors` (what `training.evaluate --lm-listener RUN` reads) and `log.jsonl`.

The other trained baseline, a transformer without latents, is `training.train --config deterministic`.

Letters: B batch, T frames, K frames per code, N codes, C width of a code, V number of codes.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from cteg.baselines.lm_listener import CodeModel, save_lm_listener
from cteg.baselines.motion_codes import LMListenerConfig, MotionCodes
from cteg.checkpoint import sha256
from cteg.errors import InputError
from training.common import (
    Seed,
    Threads,
    append_json_line,
    bucket_batches,
    load_checkpoint,
    plain_errors,
    save_checkpoint,
    settle,
)
from training.data import TextStates, cached_text_states, check_space, pad_clips
from training.performance.perform import mirrored
from training.performance.store import Performances, load_performances

COMMITMENT = 0.25
"""Weight that draws vectors to their code (van den Oord et al. 2017)."""

CODEBOOK_DECAY = 0.99
SMALLEST_COUNT = 1.0
"""Running average of the codebook, and the average uses per batch below which a code restarts (T2M-GPT's values)."""


@dataclass(frozen=True)
class BaselineConfig:
    """How LM-Listener is trained.

    Attributes:
        model: Sizes.
        motion_steps: Optimiser steps of the first stage.
        language_steps: Of the second.
        window: Frames that the first stage sees of a clip.
        motion_batch: Windows per step.
        language_batch: Clips per step.
        learning_rate: Peak rate of both stages; linear warm-up, then cosine to zero.
        warmup: Steps until the rate peaks.
        text_dropout: Probability that a clip is written without its text, as in CTEG's training.
        mirror: Probability that a clip is mirrored left to right.
    """

    model: LMListenerConfig = field(default_factory=LMListenerConfig)
    motion_steps: int = 3000
    language_steps: int = 4000
    window: int = 64
    motion_batch: int = 64
    language_batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    text_dropout: float = 0.1
    mirror: float = 0.5


CONFIGS: dict[str, BaselineConfig] = {
    "small": BaselineConfig(),
    "published": BaselineConfig(
        LMListenerConfig(code_size=512, channels=512, hidden_size=768, layers=12, heads=12),
        motion_steps=100_000,
        language_steps=60_000,
        learning_rate=2e-4,
    ),
    "tiny": BaselineConfig(
        LMListenerConfig(codes=16, code_size=8, channels=16, hidden_size=32, layers=1, heads=2),
        motion_steps=3,
        language_steps=3,
        motion_batch=4,
        language_batch=4,
        warmup=1,
    ),
}


class Codebook:
    """Moves every code to the running average of the vectors that chose it, and restarts codes that none chooses."""

    def __init__(self, model: MotionCodes) -> None:
        self.model = model
        self.count = torch.zeros(model.config.codes)  # nothing is used yet: the first batch fills all codes
        self.total = torch.zeros_like(model.codebook)

    def update(self, embedded: Tensor, codes: Tensor) -> None:
        """Take in a batch: vectors (n, C) and the codes (n,) that they chose."""
        count = torch.bincount(codes, minlength=len(self.count)).float()
        total = torch.zeros_like(self.total).index_add_(0, codes, embedded)
        self.count.lerp_(count, 1 - CODEBOOK_DECAY)
        self.total.lerp_(total, 1 - CODEBOOK_DECAY)
        dead = self.count < SMALLEST_COUNT
        drawn = embedded[torch.randint(len(embedded), (int(dead.sum()),))]
        self.count[dead], self.total[dead] = SMALLEST_COUNT, SMALLEST_COUNT * drawn
        self.model.codebook.copy_(self.total / self.count[:, None])


class Stage(Protocol):
    """One stage of the training."""

    name: str
    steps: int
    module: nn.Module

    def losses(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of a step's batch; `total` is minimised."""

    def extra_state(self) -> dict[str, Tensor]:
        """Tensors beside the module's that a resumed run needs; they are written into."""

    def held_out(self, data: Performances, states: TextStates) -> dict[str, float]:
        """Figures on held-out performances."""


class MotionStage:
    """First stage: reconstruct windows of clips through the codebook."""

    name = "motion"

    def __init__(self, config: BaselineConfig, data: Performances, usable: int) -> None:
        self.config, self.data, self.usable = config, data, usable
        self.steps = config.motion_steps
        self.module = MotionCodes(config.model)
        frames = data.frames[:: max(1, len(data.frames) // 200_000)].astype(np.float32)
        self.module.mean.copy_(torch.from_numpy(frames.mean(0)))
        self.module.scale.copy_(torch.from_numpy(np.maximum(frames.std(0), 0.05)))  # the floor of CTEG's training
        self.codebook = Codebook(self.module)

    def _window(self, index: int, rng: np.random.Generator) -> np.ndarray:
        clip, size = self.data.clip(index), self.config.window
        start = int(rng.integers(max(len(clip) - size, 0) + 1))
        window = clip[start : start + size]
        window = np.pad(window, ((0, size - len(window)), (0, 0)), mode="edge")
        return mirrored(window) if rng.random() < self.config.mirror else window

    def losses(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See `Stage.losses`."""
        indices = rng.integers(self.usable, size=self.config.motion_batch)
        frames = torch.from_numpy(np.stack([self._window(int(i), rng) for i in indices]))
        decoded, embedded, codes = self.module(frames)
        error = (decoded - frames) / self.module.scale
        found = {
            "reconstruction": error.square().mean(),
            "velocity": torch.diff(error, dim=1).square().mean(),
            "commitment": (embedded - self.module.codebook[codes]).square().mean(),
        }
        self.codebook.update(embedded.detach().flatten(0, 1), codes.flatten())
        return {
            "total": found["reconstruction"] + found["velocity"] + COMMITMENT * found["commitment"],
            **found,
        }

    def extra_state(self) -> dict[str, Tensor]:
        """See `Stage.extra_state`."""
        return {"count": self.codebook.count, "total": self.codebook.total}

    @torch.no_grad()
    def held_out(self, data: Performances, states: TextStates) -> dict[str, float]:
        """Share of the frames' variance that survives the codes, and how many codes are in use."""
        frames, valid = pad_clips([data.clip(i) for i in range(min(256, len(data)))], self.config.model.stride)
        decoded, _, codes = self.module.eval()(frames)
        left = ((decoded - frames) / self.module.scale)[valid].square().mean()
        whole = ((frames - self.module.mean) / self.module.scale)[valid].var(0).mean()
        return {"variance_explained": float(1 - left / whole), "codes_in_use": len(codes.unique())}


class LanguageStage:
    """Second stage: write the codes of a clip, given its text."""

    name = "language"

    def __init__(
        self,
        config: BaselineConfig,
        data: Performances,
        states: TextStates,
        motion: MotionCodes,
        usable: int,
        seed: int,
    ) -> None:
        self.config, self.data, self.states, self.motion, self.seed = config, data, states, motion, seed
        self.steps, self.usable = config.language_steps, usable
        self.lengths = np.diff(data.offsets).tolist()
        self.module = CodeModel(config.model)
        self.epoch, self.batches = -1, self._batches(0)

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(self.usable))
        rng.shuffle(order)
        return list(bucket_batches(self.lengths, order, self.config.language_batch, rng))

    def losses(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """See `Stage.losses`."""
        if step // len(self.batches) != self.epoch:
            self.epoch = step // len(self.batches)
            self.batches = self._batches(self.epoch)
        indices = self.batches[step % len(self.batches)]
        clips = [self.data.clip(i) for i in indices]
        clips = [mirrored(clip) if rng.random() < self.config.mirror else clip for clip in clips]
        text, mask = self.states.batch([int(self.data.sentence[i]) for i in indices])
        without = torch.from_numpy(rng.random(len(clips)) < self.config.text_dropout)
        text = torch.where(without[:, None, None], self.module.null_text, text)
        mask = mask & ~(without[:, None] & (torch.arange(mask.shape[1]) > 0))  # no text is one token, the null one
        return {"total": self._nats_per_code(clips, text, mask)}

    def _nats_per_code(self, clips: list[np.ndarray], text: Tensor, mask: Tensor) -> Tensor:
        size, end = self.config.model.stride, self.config.model.codes
        frames, valid = pad_clips(clips, size)
        with torch.no_grad():
            codes = self.motion.nearest(self.motion.embed(frames))  # (B, N)
        count = valid.unflatten(1, (-1, size)).any(-1).sum(1, keepdim=True)  # (B, 1), codes of each clip
        position = torch.arange(codes.shape[1] + 1)
        target = functional.pad(codes, (0, 1), value=end).masked_fill(position == count, end)
        target = target.masked_fill(position > count, -100)  # what cross_entropy leaves out
        with torch.autocast("cpu", torch.bfloat16):  # as CTEG is trained
            logits = self.module(codes, text, mask)
        return functional.cross_entropy(logits.float().transpose(1, 2), target)

    def extra_state(self) -> dict[str, Tensor]:
        """See `Stage.extra_state`."""
        return {}

    @torch.no_grad()
    def held_out(self, data: Performances, states: TextStates) -> dict[str, float]:
        """Nats per code with the text."""
        self.module.eval()
        indices = range(min(256, len(data)))
        text = states.batch([int(data.sentence[i]) for i in indices])
        return {"nats_per_code": float(self._nats_per_code([data.clip(i) for i in indices], *text))}


def rate(config: BaselineConfig, step: int, steps: int) -> float:
    """Learning rate of a step, counted from 0: linear warm-up, then cosine to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(steps - config.warmup, 1)
    return config.learning_rate * 0.5 * (1 + float(np.cos(np.pi * progress)))


def run(stage: Stage, config: BaselineConfig, out: Path, seed: int, save_every: int, log_every: int) -> bool:
    """Train a stage to its end, from its last checkpoint if there is one; returns whether there was anything to do."""
    optimizer = torch.optim.AdamW(stage.module.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01)
    path, done = out / f"{stage.name}_checkpoint.safetensors", 0
    saved = load_checkpoint(path)
    if saved:
        done = saved["step"]
        stage.module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        for name, tensor in stage.extra_state().items():
            tensor.copy_(saved["extra"][name])
    for step in track(range(done, stage.steps), f"training {stage.name}"):
        rng = np.random.default_rng([seed, step])  # a resumed run draws what the unbroken one would have drawn
        torch.manual_seed(int(rng.integers(2**31)))
        stage.module.train()
        for group in optimizer.param_groups:
            group["lr"] = rate(config, step, stage.steps)
        losses = stage.losses(step, rng)
        optimizer.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(stage.module.parameters(), 1.0)
        optimizer.step()
        is_last = step + 1 == stage.steps
        if (step + 1) % log_every == 0 or is_last:
            values = {name: loss.item() for name, loss in losses.items()}
            append_json_line(out / "log.jsonl", {"stage": stage.name, "step": step + 1, **values})
        if (step + 1) % save_every == 0 or is_last:
            state: dict[str, Any] = {"step": step + 1, "module": stage.module.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "extra": stage.extra_state()}
            save_checkpoint(path, state)
    return done < stage.steps


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    encoder: Annotated[Path, typer.Option(help="text encoder folder written by training.text_encoder")],
    out: Annotated[Path, typer.Option(help="folder of this run; a run found there goes on")],
    config: Annotated[str, typer.Option(help="small, published or tiny")] = "small",
    limit: Annotated[int, typer.Option(min=0, help="use only this many performances (smoke run); 0: all")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="steps from checkpoint to checkpoint")] = 500,
    log_every: Annotated[int, typer.Option(min=1, help="steps from record to record of the log")] = 100,
    seed: Seed = 0,
    threads: Threads = 0,
) -> None:
    """Train both stages and report held-out figures."""
    if config not in CONFIGS:
        raise InputError(f"There is no configuration {config!r}; known ones are {', '.join(CONFIGS)}.")
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    train, dev = (load_performances(performances, split) for split in ("train", "dev"))
    check_space(train, "open")  # clips are mirrored
    states, dev_states = (cached_text_states(data.texts, encoder, performances) for data in (train, dev))
    read_from = {"text_size": states.states.shape[1], "text_encoder": sha256(encoder / "model.safetensors")}
    settings = CONFIGS[config]
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, **read_from))
    settle(out / "training.json", {"config": dataclasses.asdict(settings), "seed": seed})
    usable = min(limit, len(train)) if limit else len(train)
    torch.manual_seed(seed)
    motion = MotionStage(settings, train, usable)
    language = LanguageStage(settings, train, states, motion.module, usable, seed)
    for stage in (motion, language):
        is_new = run(stage, settings, out, seed, save_every, log_every)
        figures = stage.held_out(dev, dev_states)
        if is_new:
            append_json_line(out / "log.jsonl", {"stage": stage.name, **figures})
        typer.echo(f"{stage.name}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    save_lm_listener(motion.module, language.module, out)


if __name__ == "__main__":
    typer.run(main)
