"""Judge a text encoder: `python -m training.evaluate_text --encoder DIR --text corpus/text [--meld CSV]`.

GoEmotions as published (thresholds from dev), our own held-out sentences, and MELD, whose dialogue it never saw:
the seven feelings there are read without any adaptation.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from cteg.checkpoint import load_text_encoder
from cteg.errors import InputError
from cteg.text import TextEncoder
from training.common import plain_errors
from training.performance.labels import SEVEN_NAMES, to_seven
from training.performance.store import read_sentences
from training.text_encoder import predict, report


def read_meld(path: Path) -> list[tuple[str, int]]:
    """Read the utterances of a MELD file with their feelings, index into `SEVEN_NAMES`.

    Raises:
        InputError: the file is missing or is not MELD's CSV.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = [(row["Utterance"], SEVEN_NAMES.index(row["Emotion"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a MELD file with the columns Utterance and Emotion.") from error
    return [(text.replace("\u0092", "'"), feeling) for text, feeling in rows]


def weighted_f1(guess: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> float:
    """F1 of every class, weighted by how often it is true; guess and truth (rows,)."""
    total = 0.0
    for index in range(classes):
        hits = ((guess == index) & (truth == index)).sum()
        total += (truth == index).sum() * 2 * hits / max((guess == index).sum() + (truth == index).sum(), 1)
    return float(total / len(truth))


def meld_figures(encoder: TextEncoder, path: Path) -> dict[str, float]:
    """Weighted F1 and accuracy of the likeliest of the seven feelings on MELD, without adaptation."""
    texts, truth = zip(*read_meld(path), strict=True)
    guess = to_seven(predict(encoder, [{"text": text} for text in texts])).argmax(1)
    truth = np.array(truth)
    return {
        "meld_weighted_f1": weighted_f1(guess, truth, len(SEVEN_NAMES)),
        "meld_accuracy": float((guess == truth).mean()),
        "meld_always_neutral_f1": weighted_f1(np.full_like(truth, SEVEN_NAMES.index("neutral")), truth, 7),
    }


@plain_errors
def main(
    encoder: Annotated[Path, typer.Option(help="text encoder folder")],
    text: Annotated[Path, typer.Option(help="folder written by training.prepare")],
    meld: Annotated[Path | None, typer.Option(help="MELD's dev_sent_emo.csv, for evaluation only")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
) -> None:
    """Print how well a text encoder reads feelings."""
    model = load_text_encoder(encoder)
    figures = report(model, *(read_sentences(text / f"{split}.jsonl") for split in ("dev", "test")))
    figures["megabytes"] = sum(file.stat().st_size for file in encoder.rglob("*") if file.is_file()) / 1e6
    if meld:
        figures |= meld_figures(model, meld)
    typer.echo(json.dumps(figures, indent=2))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
