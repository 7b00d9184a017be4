"""One training run of CTEG: model, running average, optimiser, data, and a step.

Under `accelerate launch` every process builds the same batches and draws the same noise, and trains on its own rows of
them; their losses are weighed so that the mean over processes is the loss of the whole batch. The curve is that of one
process, but for the dropout and for the order of sums.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from cteg.errors import InputError
from cteg.layout import D
from cteg.model.cteg import CTEG, TrainingNoise
from cteg.model.losses import Losses, compute_losses
from training.common import bucket_batches
from training.configs import TrainConfig
from training.data import Batch, TextStates, pad_clips
from training.history import mixed_history
from training.performance.perform import mirrored
from training.performance.store import Performances

HELD_OUT = 256
"""Held-out performances whose losses are followed."""


def coefficient_scale(frames: np.ndarray, smallest: float) -> Tensor:
    """Standard deviation of every coefficient over a sample of the training frames, at least `smallest`: (53,)."""
    stride = max(1, len(frames) // 200_000)
    return torch.from_numpy(np.maximum(frames[::stride].astype(np.float32).std(0), smallest))


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of a step (counted from 1): cosine with warm-up, or Noam (paper Eq. 10)."""
    if config.schedule == "noam":
        return config.learning_rate * config.model.hidden_size**-0.5 * min(step**-0.5, step * config.warmup**-1.5)
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class Trainer:
    """Model, running average, optimiser and data of one run.

    Args:
        config: What to train and how.
        data: Training performances.
        states: Text states of the sentences of `data`.
        seed: Seeds weights, order, dropout and noise.
        limit: Use only the first performances; 0 for all.
        accelerator: Where and on how many processes to train; by default what `accelerate launch` set up, or here.

    Raises:
        InputError: a performance is longer than the model can write, or of another coefficient space; or the text
            encoder's states are of another size than the model reads.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Performances,
        states: TextStates,
        seed: int,
        limit: int = 0,
        accelerator: Accelerator | None = None,
    ) -> None:
        longest = int(np.diff(data.offsets).max())
        if data.space != config.model.space:
            raise InputError(
                f"The performances are of the space {data.space!r}, the model writes {config.model.space!r}."
            )
        if longest > config.model.max_frames and config.model.stop != "norm":
            raise InputError(f"A performance has {longest} frames, the model writes at most {config.model.max_frames}.")
        if (size := states.states.shape[1]) != config.model.text_size:
            raise InputError(f"The text encoder writes states of {size}, the model reads {config.model.text_size}.")
        torch.manual_seed(seed)
        self.config, self.data, self.states, self.seed = config, data, states, seed
        self.accelerator = accelerator or Accelerator(
            mixed_precision="bf16", kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
        )
        self.device = self.accelerator.device
        self.model = CTEG(config.model)
        if data.space == "flame":  # all zero is no face there, but the end of a clip
            self.model.first_frame.copy_(torch.from_numpy(data.frames.mean(0, dtype=np.float64)))
        if config.scales_coefficients:
            self.model.coefficient_scale.copy_(coefficient_scale(data.frames, config.smallest_scale))
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False).to(self.device)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01)
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.step = 0
        self.best_held_out, self.stale = math.inf, 0
        self.usable = min(limit, len(data)) if limit else len(data)

    # -- data ------------------------------------------------------------------------------------------------------

    def batches(self, epoch: int) -> list[list[int]]:
        """Batches of performance indices of one pass; the same for the same seed and pass."""
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(self.usable))
        rng.shuffle(order)
        drawn = bucket_batches(np.diff(self.data.offsets).tolist(), order, self.config.batch, rng)
        return [batch for batch in drawn if len(batch) >= self.accelerator.num_processes]

    def clip(self, data: Performances, index: int) -> np.ndarray:
        """Return a performance as it is trained: with the norm stop, ended by a zero frame.

        Reference: Xu et al. 2025, section 5. What is longer than the model can write is cut off, as released.
        """
        clip = data.clip(index)
        if self.config.model.stop != "norm":
            return clip
        return np.pad(clip, ((0, 1), (0, 0)))[: self.config.model.max_frames]

    def batch(self, indices: list[int], rng: np.random.Generator) -> Batch:
        """Cut out, mirror and pad performances."""
        clips = [self.clip(self.data, i) for i in indices]
        clips = [mirrored(clip) if rng.random() < self.config.mirror else clip for clip in clips]
        frames, valid = pad_clips(clips, self.config.model.frames_per_step)
        text, text_mask = self.states.batch([int(self.data.sentence[i]) for i in indices])
        return Batch(frames, valid, text, text_mask).to(self.device)

    # -- one step --------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """Teacher-forced losses of this process's rows, with dropout, lost texts and input noise.

        Their mean over processes is that of all rows.
        """
        config, rows = self.config.model, len(batch.frames)
        own = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        without_text = torch.from_numpy(rng.random(rows) < self.config.text_dropout)[own].to(self.device)
        steps = batch.frames.shape[1] // config.frames_per_step
        noise = TrainingNoise.draw(config, rows, steps, self.device)[own]
        offset = None
        if self.config.input_noise > 0:
            level = self.config.input_noise * (1 - self.step / self.config.steps)
            offset = level * torch.randn(rows, steps, D, device=self.device)[own]
        scaled = self.model.scale(batch.frames)
        if self.config.history_mix > 0:
            moved, wanted = mixed_history(scaled, self.config.history_mix, config.frames_per_step)
            offset = moved[own] if offset is None else offset + moved[own]
            scaled = scaled + wanted
        whole, batch = batch, batch[own]
        text = torch.where(without_text[:, None, None], self.model.null_text, batch.text)
        with self.accelerator.autocast():
            prediction = self.wrapped(batch.frames, batch.valid, text, batch.text_mask, noise, offset)
        growth = min(1.0, (self.step + 1) / max(self.config.kl_warmup, 1))
        weights = self.config.loss_weights
        weights = dataclasses.replace(weights, kl=growth * weights.kl, sequence_kl=growth * weights.sequence_kl)
        losses = compute_losses(config, weights, prediction, scaled[own], batch.valid)
        return losses if self.accelerator.num_processes == 1 else self.weigh(losses, batch, whole)

    def weigh(self, losses: Losses, own: Batch, whole: Batch) -> Losses:
        """Weigh means over this process's frames and clips by its share of the batch's."""
        processes = self.accelerator.num_processes
        per_frame = processes * own.valid.sum() / whole.valid.sum()
        per_clip = processes * len(own.valid) / len(whole.valid)
        stop, its_weight = per_clip * losses.stop, self.config.loss_weights.stop
        weighed = {name: per_frame * value for name, value in vars(losses).items()} | {"stop": stop}
        total = per_frame * (losses.total - its_weight * losses.stop) + its_weight * stop
        return Losses(**weighed | {"total": total})

    def advance(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """One optimiser step."""
        self.wrapped.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step + 1)
        losses = self.losses(batch, rng)
        self.optimizer.zero_grad()
        self.accelerator.backward(losses.total)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(new, 1 - decay)
        if self.accelerator.num_processes > 1:  # for the log: the loss of all rows
            names, values = zip(*vars(losses).items(), strict=True)
            means = self.accelerator.reduce(torch.stack([value.detach() for value in values]), "mean")
            losses = Losses(**dict(zip(names, means, strict=True)))
        return losses

    @torch.no_grad()
    def held_out_loss(self, data: Performances, states: TextStates) -> float:
        """Loss of the running average on the first held-out performances, always with the same noise."""
        config, total, count = self.config, 0.0, min(HELD_OUT, len(data))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for start in range(0, count, config.batch):
                indices = range(start, min(start + config.batch, count))
                frames, valid = pad_clips([self.clip(data, i) for i in indices], config.model.frames_per_step)
                text, text_mask = states.batch([int(data.sentence[i]) for i in indices])
                steps = frames.shape[1] // config.model.frames_per_step
                noise = TrainingNoise.draw(config.model, len(frames), steps).to(self.device)
                batch = Batch(frames, valid, text, text_mask).to(self.device)
                prediction = self.average(batch.frames, batch.valid, batch.text, batch.text_mask, noise)
                scaled = self.average.scale(batch.frames)
                losses = compute_losses(config.model, config.loss_weights, prediction, scaled, batch.valid)
                total += losses.total.item() * len(frames)
        return total / count

    def note_held_out(self, loss: float) -> bool:
        """Remember a held-out loss; returns whether it is the lowest so far."""
        is_best = loss < self.best_held_out
        self.stale = 0 if is_best else self.stale + 1
        self.best_held_out = min(loss, self.best_held_out)
        return is_best

    def start_from(self, model: CTEG) -> None:
        """Begin with the weights of a trained model, and its scale of the coefficients."""
        for mine in (self.model, self.average):
            mine.load_state_dict(model.state_dict())

    @property
    def is_stale(self) -> bool:
        """Whether training should stop early."""
        return 0 < self.config.patience <= self.stale

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "best_held_out": self.best_held_out,
            "stale": self.stale,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step, self.best_held_out, self.stale = state["step"], state["best_held_out"], state["stale"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
