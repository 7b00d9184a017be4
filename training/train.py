"""Train CTEG: `python -m training.train --config small --performances DIR --encoder DIR --out RUN`.

A stopped run goes on from its last checkpoint, on the same curve. `RUN` receives `config.json`, `log.jsonl`,
TensorBoard events and, at every evaluation, the running average of the weights as a complete folder that `cteg.load`
reads.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import random
import subprocess
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cteg.checkpoint import load_text_encoder, save_pretrained
from cteg.errors import InputError
from cteg.layout import D
from cteg.model.cteg import CTEG, TrainingNoise
from cteg.model.losses import Losses, compute_losses
from training.common import append_json_line, bucket_batches, load_checkpoint, plain_errors, save_checkpoint
from training.configs import TrainConfig, get_config
from training.data import Batch, TextStates, cached_text_states, pad_clips
from training.evaluate import Judge
from training.performance.perform import mirrored
from training.performance.store import Performances, load_performances


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

    Raises:
        InputError: a performance is longer than the model can write.
    """

    def __init__(self, config: TrainConfig, data: Performances, states: TextStates, seed: int, limit: int = 0) -> None:
        longest = int(np.diff(data.offsets).max())
        if longest > config.model.max_frames:
            raise InputError(f"A performance has {longest} frames, the model writes at most {config.model.max_frames}.")
        torch.manual_seed(seed)
        self.config, self.data, self.states, self.seed = config, data, states, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = CTEG(config.model)
        self.model.first_frame.copy_(torch.zeros(D))
        self.model.coefficient_scale.copy_(coefficient_scale(data.frames, config.smallest_scale))
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01)
        self.step = 0
        self.usable = min(limit, len(data)) if limit else len(data)

    # -- data ------------------------------------------------------------------------------------------------------

    def batches(self, epoch: int) -> list[list[int]]:
        """Batches of performance indices of one pass; the same for the same seed and pass."""
        rng = random.Random(f"{self.seed}/{epoch}")
        order = list(range(self.usable))
        rng.shuffle(order)
        return list(bucket_batches(np.diff(self.data.offsets).tolist(), order, self.config.batch, rng))

    def batch(self, indices: list[int], rng: np.random.Generator) -> Batch:
        """Cut out, mirror and pad performances; some lose their text."""
        clips = [self.data.clip(i) for i in indices]
        clips = [mirrored(clip) if rng.random() < self.config.mirror else clip for clip in clips]
        frames, valid = pad_clips(clips, self.config.model.frames_per_step)
        text, text_mask = self.states.batch([int(self.data.sentence[i]) for i in indices])
        return Batch(frames, valid, text, text_mask).to(self.device)

    # -- one step --------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """Teacher-forced losses of a batch with dropout, lost texts and input noise."""
        config, rows = self.config.model, len(batch.frames)
        without_text = torch.from_numpy(rng.random(rows) < self.config.text_dropout).to(self.device)
        text = torch.where(without_text[:, None, None], self.model.null_text, batch.text)
        steps = batch.frames.shape[1] // config.frames_per_step
        noise = TrainingNoise.draw(config, rows, steps, self.device)
        offset = None
        if self.config.input_noise > 0:
            offset = self.config.input_noise * torch.randn(rows, steps, D, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            prediction = self.model(batch.frames, batch.valid, text, batch.text_mask, noise, offset)
        growth = min(1.0, (self.step + 1) / max(self.config.kl_warmup, 1))
        weights = self.config.loss_weights
        weights = dataclasses.replace(weights, kl=growth * weights.kl, sequence_kl=growth * weights.sequence_kl)
        return compute_losses(config, weights, prediction, self.model.scale(batch.frames), batch.valid)

    def advance(self, batch: Batch, rng: np.random.Generator) -> Losses:
        """One optimiser step."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step + 1)
        losses = self.losses(batch, rng)
        self.optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(new, 1 - decay)
        return losses

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


class Log:
    """Means of the losses since the last record, to JSON lines and TensorBoard."""

    def __init__(self, out: Path) -> None:
        self.path = out / "log.jsonl"
        self.writer = SummaryWriter(str(out / "tensorboard"))
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, losses: Losses) -> None:
        """Remember one step's losses."""
        for field in dataclasses.fields(losses):
            self.sums[field.name] = self.sums.get(field.name, 0.0) + getattr(losses, field.name).item()
        self.count += 1

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Write a record and start anew."""
        record = {name: total / max(self.count, 1) for name, total in self.sums.items()} | figures
        append_json_line(self.path, {"step": step, **record})
        for name, value in record.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.sums, self.count = {}, 0


def code_version() -> str:
    """Return the commit that is checked out, or `unknown` outside a checkout."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return found.stdout.strip() or "unknown"


def run(
    trainer: Trainer, judge: Judge | None, encoder_folder: Path, out: Path, log_every: int, judge_every: int
) -> None:
    """Train until `config.steps`, logging, judging and saving on the way."""
    config, log = trainer.config, Log(out)
    encoder = load_text_encoder(encoder_folder)
    per_pass = len(trainer.batches(0))
    epoch, batches = -1, []
    for step in track(range(trainer.step, config.steps), "training", total=config.steps - trainer.step):
        if step // per_pass != epoch:
            epoch = step // per_pass
            batches = trainer.batches(epoch)
        rng = np.random.default_rng([trainer.seed, step])  # a resumed run draws what the unbroken one would have drawn
        torch.manual_seed(int(rng.integers(2**31)))
        log.add(trainer.advance(trainer.batch(batches[step % per_pass], rng), rng))
        is_last = trainer.step == config.steps
        is_judged = judge is not None and (trainer.step % judge_every == 0 or is_last)
        if trainer.step % log_every == 0 or is_judged or is_last:
            figures = judge.figures(trainer.average) if is_judged else {}
            log.write(trainer.step, figures)
            typer.echo(json.dumps({"step": trainer.step, **{k: round(v, 4) for k, v in figures.items()}}))
        if trainer.step % judge_every == 0 or is_last:
            save_checkpoint(out / "checkpoint.safetensors", trainer.state())
            save_pretrained(trainer.average, encoder, out / "weights", out.name)


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    encoder: Annotated[Path, typer.Option(help="text encoder folder written by training.text_encoder")],
    out: Annotated[Path, typer.Option(help="folder of this run; a run found there goes on")],
    config: Annotated[str, typer.Option(help="small, paper or tiny")] = "small",
    classifier: Annotated[Path | None, typer.Option(help="motion classifier, to judge on the way")] = None,
    steps: Annotated[int, typer.Option(help="instead of the configuration's number of steps")] = 0,
    limit: Annotated[int, typer.Option(help="use only this many performances (smoke run)")] = 0,
    log_every: int = 100,
    judge_every: int = 1000,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="processor threads; 0: all")] = 0,
) -> None:
    """Train a CTEG on performances."""
    if threads:
        torch.set_num_threads(threads)
    settings = get_config(config)
    settings = dataclasses.replace(settings, steps=steps) if steps else settings
    out.mkdir(parents=True, exist_ok=True)
    described = {"config": dataclasses.asdict(settings), "seed": seed, "code": code_version()}
    saved = load_checkpoint(out / "checkpoint.safetensors")
    if saved and json.loads((out / "config.json").read_text())["config"] != json.loads(json.dumps(described["config"])):
        raise InputError(f"{out} holds a run with another configuration; choose another folder.")
    (out / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    data = load_performances(performances, "train")
    trainer = Trainer(settings, data, cached_text_states(data.texts, encoder, performances), seed, limit)
    if saved:
        trainer.load_state(saved)
    judge = Judge.prepare(performances, encoder, classifier) if classifier else None
    run(trainer, judge, encoder, out, log_every, judge_every)


if __name__ == "__main__":
    typer.run(main)
