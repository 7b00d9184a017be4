"""Fine-tune a small sentence encoder to read the 28 feelings: `python -m training.text_encoder`.

Starts from all-MiniLM-L6-v2 (Apache-2.0; a folder with `config.json`, `tokenizer.json`, `model.safetensors`). The
label head reads the mean of the last hidden states; CTEG attends to those states, so what the head can read, CTEG can
act out. Word embeddings stay as they are: there are too few sentences to move 30,000 words. The encoder is
written after every epoch. `--start ENCODER` instead of `--backbone` begins with a fine-tuned encoder, such as the
bundled one, and teaches it other sentences at half the learning rate.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor

from cteg.checkpoint import load_text_encoder, save_text_encoder
from cteg.errors import InputError
from cteg.model.bert import build_bert
from cteg.text import TextEncoder
from training.bert import fill
from training.common import (
    append_json_line,
    bucket_batches,
    load_checkpoint,
    plain_errors,
    save_checkpoint,
    seed_everything,
    settle,
)
from training.performance.labels import LABELS, SEVEN, SEVEN_INDEX, label_matrix, to_seven
from training.performance.store import read_sentences

SOURCE_WEIGHT = {"goemotions": 1.0, "xed": 0.5, "own": 1.0}
"""Weight in the loss: XED's eight labels name several of the 28 each, so they say less."""

SOURCE_DRAWS = {"goemotions": 1.0, "xed": 0.5, "own": 1.5}
"""How often a sentence is drawn: ours are the nearest to what people type, labels of XED say the least."""

GROUP_WEIGHT = 0.5
"""Weight of the loss on the seven groups beside that on the 28 labels: taking anger for annoyance costs less than
taking it for joy."""

LEARNING_RATE = 1.5e-4

AVERAGING = 0.999
"""Decay of the running average of the weights, which is what is judged and written."""


def load_backbone(folder: Path) -> TextEncoder:
    """Build a text encoder with a fresh label head from a pretrained transformers folder.

    Raises:
        InputError: the folder does not hold such a model.
    """
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    try:
        backbone = build_bert(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        weights = load_file(folder / "model.safetensors")
    except Exception as error:  # each of the three readers has its own kind
        raise InputError(
            f"{folder} holds no pretrained encoder (config.json, tokenizer.json, model.safetensors)."
        ) from error
    fill(backbone, weights, f"The encoder in {folder}")
    return TextEncoder(backbone, tokenizer, LABELS)


def load_finetuned(folder: Path) -> TextEncoder:
    """Read a text encoder to train further.

    Raises:
        InputError: it knows other labels than the 28 of GoEmotions, such as none.
        WeightsError: it is missing or damaged.
    """
    encoder = load_text_encoder(folder)
    if encoder.labels != LABELS:
        raise InputError(f"The encoder in {folder} does not read the 28 feelings; give its folder as --backbone.")
    return encoder.requires_grad_(True)


def balanced_order(targets: Tensor, draws: np.ndarray, power: float, rng: np.random.Generator) -> list[int]:
    """Draw an epoch of sentences: probability ~ draws * (frequency of the leading label)^-power."""
    leading = targets.argmax(1).numpy()
    frequency = np.bincount(leading, minlength=len(LABELS))[leading].astype(float)
    weight = draws * frequency**-power
    return rng.choice(len(leading), len(leading), p=weight / weight.sum()).tolist()


def label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the labels plus, weighted, over their seven groups: (B, 28), (B, 28) -> (B,)."""
    log_probability = torch.log_softmax(logits.float(), -1)
    groups = torch.as_tensor(SEVEN_INDEX, device=logits.device)
    loss = -(targets * log_probability).sum(-1)
    for group in range(len(SEVEN)):
        members = groups == group
        loss = loss - GROUP_WEIGHT * targets[:, members].sum(-1) * torch.logsumexp(log_probability[:, members], -1)
    return loss


def macro_f1(probability: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> float:
    """Mean F1 over labels; probability and truth (rows, C), thresholds (C,)."""
    guess = probability >= thresholds
    hits = (guess & truth).sum(0)
    return float(np.mean(2 * hits / np.maximum(guess.sum(0) + truth.sum(0), 1)))


def best_thresholds(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per-label threshold (C,) with the highest F1; to be chosen on dev, never on test."""
    grid = np.linspace(0.04, 0.8, 39)
    guess = probability[None] >= grid[:, None, None]  # (G, rows, C)
    hits = (guess & truth).sum(1)
    f1 = 2 * hits / np.maximum(guess.sum(1) + truth.sum(0), 1)
    return grid[f1.argmax(0)]


@torch.inference_mode()
def predict(encoder: TextEncoder, rows: list[dict[str, Any]], batch: int = 128) -> np.ndarray:
    """Label probabilities (rows, 28)."""
    encoder.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["text"]))
    result = np.zeros((len(rows), len(LABELS)), dtype=np.float32)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        result[part] = encoder.encode([rows[i]["text"] for i in part]).label_probabilities.cpu().numpy()
    return result


def report(encoder: TextEncoder, dev: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, float]:
    """F1 on GoEmotions, thresholds chosen on dev and used on test; share of our own test sentences read rightly."""
    own = [row for row in test if row["source"] == "own"]
    own_reading = to_seven(predict(encoder, own)).argmax(1) == to_seven(label_matrix(own)).argmax(1)
    dev = [row for row in dev if row["source"] == "goemotions"]
    test = [row for row in test if row["source"] == "goemotions"]
    dev_probability, test_probability = predict(encoder, dev), predict(encoder, test)
    dev_truth, test_truth = label_matrix(dev) > 0, label_matrix(test) > 0
    seven_dev, seven_test = to_seven(dev_probability), to_seven(test_probability)
    seven_dev_truth = to_seven(dev_truth.astype(float)) > 0
    seven_test_truth = to_seven(test_truth.astype(float)) > 0
    leading = test_truth[np.arange(len(test)), test_probability.argmax(1)]
    return {
        "macro_f1_28": macro_f1(test_probability, test_truth, best_thresholds(dev_probability, dev_truth)),
        "macro_f1_7": macro_f1(seven_test, seven_test_truth, best_thresholds(seven_dev, seven_dev_truth)),
        "first_guess_is_a_label": float(leading.mean()),
        "own_sentences_read_7": float(own_reading.mean()) if own else float("nan"),
    }


def train_epoch(
    encoder: TextEncoder,
    average: TextEncoder,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: tuple[list[str], Tensor, Tensor],
    batches: list[list[int]],
    description: str,
) -> float:
    """One pass over the drawn batches, `average` following the weights; returns the mean loss."""
    texts, targets, weights = data
    encoder.train()
    device = next(encoder.parameters()).device
    total = 0.0
    for part in track(batches, description):
        ids, mask = encoder.tokenize([texts[i] for i in part])
        with torch.autocast(device.type, torch.bfloat16):
            _, logits = encoder(ids.to(device), mask.to(device))
        loss = (label_loss(logits, targets[part].to(device)) * weights[part].to(device)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        for mean, new in zip(average.parameters(), encoder.parameters(), strict=True):
            mean.data.lerp_(new.data, 1 - AVERAGING)
        total += loss.item()
    return total / len(batches)


@plain_errors
def main(
    text: Annotated[Path, typer.Option(help="folder written by training.prepare")],
    out: Annotated[Path, typer.Option(help="where to write the fine-tuned encoder")],
    backbone: Annotated[Path | None, typer.Option(help="folder of the pretrained encoder")] = None,
    start: Annotated[Path | None, typer.Option(help="fine-tuned encoder to go on from, instead of --backbone")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    batch: Annotated[int, typer.Option(min=1)] = 48,
    learning_rate: Annotated[float, typer.Option(min=0, help="0: 1.5e-4, from --start half of it")] = 0,
    balance: Annotated[float, typer.Option(help="0: as counted, 1: every label equally often")] = 0.4,
    limit: Annotated[int, typer.Option(help="use only this many sentences (smoke run)")] = 0,
    seed: int = 0,
) -> None:
    """Fine-tune the encoder; a run that was stopped goes on after its last whole epoch."""
    if (backbone is None) == (start is None):
        raise InputError("Give either --backbone or --start.")
    seed_everything(seed)
    learning_rate = learning_rate or LEARNING_RATE * (0.5 if start else 1)
    splits = {split: read_sentences(text / f"{split}.jsonl") for split in ("train", "dev", "test")}
    if limit:
        splits = {split: rows[:limit] for split, rows in splits.items()}
    rows = splits["train"]
    texts, targets = [row["text"] for row in rows], torch.from_numpy(label_matrix(rows)).float()
    weights = torch.tensor([SOURCE_WEIGHT.get(row["source"], 1.0) for row in rows])
    draws = np.array([SOURCE_DRAWS.get(row["source"], 1.0) for row in rows])
    encoder = load_finetuned(start) if start else load_backbone(backbone)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    encoder.backbone.embeddings.word_embeddings.requires_grad_(False)
    average = copy.deepcopy(encoder)
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
    steps = epochs * -(-len(rows) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps + epochs, pct_start=0.06)
    out.mkdir(parents=True, exist_ok=True)
    settings = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "balance": balance, "seed": seed}
    settle(out / "settings.json", settings | {"sentences": len(rows)})
    saved = load_checkpoint(out / "checkpoint.safetensors")
    first = 0
    if saved:
        encoder.load_state_dict(saved["encoder"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"]
    for epoch in range(first, epochs):
        rng = np.random.default_rng([seed, epoch])
        order = balanced_order(targets, draws, balance, rng)
        shuffler = random.Random(int(rng.integers(2**31)))
        batches = list(bucket_batches([len(t) for t in texts], order, batch, shuffler))
        loss = train_epoch(
            encoder, average, optimizer, schedule, (texts, targets, weights), batches, f"epoch {epoch + 1}"
        )
        figures = {"epoch": epoch + 1, "loss": loss, **report(average, splits["dev"], splits["test"])}
        append_json_line(out / "log.jsonl", figures)
        typer.echo(json.dumps(figures))
        states = {"encoder": encoder, "average": average, "optimizer": optimizer, "schedule": schedule}
        save_checkpoint(
            out / "checkpoint.safetensors", {k: v.state_dict() for k, v in states.items()} | {"epoch": epoch + 1}
        )
        save_text_encoder(copy.deepcopy(average).eval().cpu(), out / "text_encoder")
    typer.echo(f"Wrote {out / 'text_encoder'}.")


if __name__ == "__main__":
    typer.run(main)
