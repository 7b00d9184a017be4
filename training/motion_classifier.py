"""Train the reader of feelings in motion: `python -m training.motion_classifier`.

It learns, from reference performances, which of seven feelings a clip leads with. Its accuracy on held-out reference
performances is the ceiling of `emotion fit` in every report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from cteg.checkpoint import save_module
from cteg.emotion import SEVEN, MotionClassifier, motion_features
from cteg.errors import InputError
from training.common import Seed, plain_errors, seed_everything
from training.performance.store import Performances, load_performances


def feature_matrix(data: Performances, indices: np.ndarray) -> Tensor:
    """Motion features (rows, F) of the chosen performances."""
    return torch.from_numpy(np.stack([motion_features(data.clip(int(i))) for i in track(indices, "features")]))


def fit(features: Tensor, groups: Tensor, epochs: int) -> MotionClassifier:
    """Train a classifier on features (rows, F) and group indices (rows,), every group weighted alike."""
    classifier = MotionClassifier()
    classifier.mean.copy_(features.mean(0))
    classifier.std.copy_(features.std(0).clamp(min=0.01))
    counts = torch.bincount(groups, minlength=len(SEVEN)).clamp(min=1)
    weight = len(groups) / (len(SEVEN) * counts.float())
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in track(range(epochs), "training"):
        for part in torch.randperm(len(features)).split(256):
            loss = functional.cross_entropy(classifier(features[part]), groups[part], weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return classifier.eval()


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    out: Annotated[Path, typer.Option(help="file to write, .safetensors")],
    clips: Annotated[int, typer.Option(min=1, help="training performances to use")] = 20_000,
    epochs: Annotated[int, typer.Option(min=1, help="passes over them")] = 20,
    seed: Seed = 0,
) -> None:
    """Train, report the accuracy on held-out performances per feeling, and write the classifier."""
    rng = seed_everything(seed)
    train, dev = load_performances(performances, "train"), load_performances(performances, "dev")
    if not train.has_feelings:
        raise InputError(f"The performances in {performances} have no labels of feelings that could be learned.")
    out.parent.mkdir(parents=True, exist_ok=True)
    chosen = rng.permutation(len(train))[:clips]
    classifier = fit(feature_matrix(train, chosen), torch.from_numpy(train.seven[chosen]).long(), epochs)
    held_out = rng.permutation(len(dev))[:4000]
    guess = classifier(feature_matrix(dev, held_out)).argmax(1).numpy()
    truth = dev.seven[held_out]
    recalls = {name: float((guess[truth == i] == i).mean()) for i, name in enumerate(SEVEN) if (truth == i).any()}
    for name, recall in recalls.items():
        typer.echo(f"{name:9} {recall:.3f}")
    typer.echo(f"mean      {np.mean(list(recalls.values())):.3f}")
    save_module(classifier, out)


if __name__ == "__main__":
    typer.run(main)
