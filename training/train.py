"""Train CTEG: `python -m training.train --config small --performances DIR --encoder DIR --out RUN`.

Several GPUs or machines: `accelerate launch -m training.train ...`. A stopped run goes on from its last checkpoint, on
the same curve. `--start WEIGHTS` begins with a trained model, such as the bundled one, and teaches it other data.
`RUN` receives `config.json`, `log.jsonl`, TensorBoard events and, at every evaluation that lowers the held-out loss,
the running average of the weights as a complete folder that `cteg.load` reads.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch.utils.tensorboard import SummaryWriter

from cteg.checkpoint import load_pretrained, load_text_encoder, save_pretrained
from cteg.model.losses import Losses
from training.common import Seed, Threads, append_json_line, load_checkpoint, plain_errors, save_checkpoint, settle
from training.configs import get_config
from training.data import TextStates, cached_text_states
from training.evaluation.setting import code_version
from training.judge import Judge
from training.performance.store import Performances, load_performances
from training.trainer import Trainer


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


def run(
    trainer: Trainer,
    held_out: tuple[Performances, TextStates],
    judge: Judge | None,
    encoder_folder: Path,
    out: Path,
    log_every: int,
    judge_every: int,
) -> None:
    """Train until `config.steps`, or until the held-out loss has not fallen for `config.patience` evaluations."""
    config, is_main = trainer.config, trainer.accelerator.is_main_process
    log = Log(out) if is_main else None
    encoder = load_text_encoder(encoder_folder)
    per_pass = len(trainer.batches(0))
    epoch, batches = -1, []
    for step in track(range(trainer.step, config.steps), "training", disable=not is_main):
        if step // per_pass != epoch:
            epoch = step // per_pass
            batches = trainer.batches(epoch)
        rng = np.random.default_rng([trainer.seed, step])  # a resumed run draws what the unbroken one would have drawn
        torch.manual_seed(int(rng.integers(2**31)))
        losses = trainer.advance(trainer.batch(batches[step % per_pass], rng), rng)
        is_last = trainer.step == config.steps
        is_judged = trainer.step % judge_every == 0 or is_last
        if is_judged:
            loss = trainer.held_out_loss(*held_out)
            is_best = trainer.note_held_out(loss)
        if is_main:
            log.add(losses)
            if trainer.step % log_every == 0 or is_judged:
                figures = {"held_out": loss, **(judge.figures(trainer.average) if judge else {})} if is_judged else {}
                log.write(trainer.step, figures)
                typer.echo(json.dumps({"step": trainer.step, **{k: round(v, 4) for k, v in figures.items()}}))
            if is_judged:
                save_checkpoint(out / "checkpoint.safetensors", trainer.state())
                if is_best:
                    save_pretrained(trainer.average, encoder, out / "weights", out.name)
        if is_judged and trainer.is_stale:
            typer.echo(f"Stopped early: no lower held-out loss in {config.patience} evaluations.")
            break


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise or import_emoava")],
    encoder: Annotated[Path, typer.Option(help="text encoder folder written by training.text_encoder")],
    out: Annotated[Path, typer.Option(help="folder of this run; a run found there goes on")],
    config: Annotated[str, typer.Option(help="small, paper, emoava, deterministic or tiny")] = "small",
    classifier: Annotated[Path | None, typer.Option(help="motion classifier, to judge on the way")] = None,
    start: Annotated[Path | None, typer.Option(help="weights to start from, such as weights/cteg-open")] = None,
    steps: Annotated[int, typer.Option(min=0, help="instead of the configuration's number of steps")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="use only this many performances (smoke run)")] = 0,
    log_every: Annotated[int, typer.Option(min=1)] = 100,
    judge_every: Annotated[int, typer.Option(min=1)] = 1000,
    seed: Seed = 0,
    threads: Threads = 0,
) -> None:
    """Train a CTEG on performances."""
    if threads:
        torch.set_num_threads(threads)
    settings = get_config(config)
    settings = dataclasses.replace(settings, steps=steps) if steps else settings
    begun = load_pretrained(start)[0] if start else None
    settings = settings.going_on(begun.config) if begun else settings
    out.mkdir(parents=True, exist_ok=True)
    described = {"config": dataclasses.asdict(settings), "seed": seed, "limit": limit}
    settle(out / "config.json", described, code=code_version())
    saved = load_checkpoint(out / "checkpoint.safetensors")
    splits = [load_performances(performances, split) for split in ("train", "dev")]
    train, dev = ((data, cached_text_states(data.texts, encoder, performances)) for data in splits)
    trainer = Trainer(settings, *train, seed, limit)
    if saved:
        trainer.load_state(saved)
    elif begun:
        trainer.start_from(begun)
    judge = Judge.prepare(performances, encoder, classifier) if classifier else None
    run(trainer, dev, judge, encoder, out, log_every, judge_every)


if __name__ == "__main__":
    typer.run(main)
