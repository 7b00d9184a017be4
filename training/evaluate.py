"""Judge a model on held-out sentences: `python -m training.evaluate --weights DIR ...`.

Every figure that has one is divided by the same figure of the reference performances of the same sentences, so that 1
means "like the reference".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from cteg import metrics, sampling
from cteg.checkpoint import load_module, load_pretrained
from cteg.emotion import SEVEN, MotionClassifier
from cteg.model.cteg import CTEG
from cteg.text import TextEncoder
from training.common import plain_errors
from training.data import cached_text_states
from training.performance.labels import SEVEN_INDEX
from training.performance.store import Performances, load_performances


def leading_groups(data: Performances) -> NDArray[np.intp]:
    """Return the leading feeling of every sentence by its human labels, (S,), index into `SEVEN`."""
    return SEVEN_INDEX[data.label_weights.argmax(1)]


def balanced_sentences(data: Performances, per_group: int, rng: np.random.Generator) -> list[int]:
    """Draw held-out sentences with two or more performances, equally many per leading feeling."""
    sentences, counts = np.unique(data.sentence, return_counts=True)
    group = leading_groups(data)[sentences]
    chosen: list[int] = []
    for index in range(len(SEVEN)):
        candidates = sentences[(group == index) & (counts >= 2)]
        chosen += rng.permutation(candidates)[:per_group].tolist()
    return chosen


@dataclass(frozen=True)
class Judge:
    """Held-out sentences with their reference performances, and the classifier that reads clips.

    Attributes:
        texts: The sentences.
        groups: (sentences,), the leading feeling of each by its human labels, index into `SEVEN`.
        references: Reference clips of each sentence, two or more.
        states: Text states (sentences, L, text_size), padded.
        mask: (sentences, L), True for real tokens.
        classifier: Reads the feeling of a clip.
    """

    texts: list[str]
    groups: NDArray[np.intp]
    references: list[list[NDArray[np.float32]]]
    states: Tensor
    mask: Tensor
    classifier: MotionClassifier

    @classmethod
    def prepare(cls, performances: Path, encoder: Path, classifier: Path, per_group: int = 8, seed: int = 0) -> Judge:
        """Choose sentences and encode them. Files as written by the training commands."""
        data = load_performances(performances, "dev")
        chosen = balanced_sentences(data, per_group, np.random.default_rng(seed))
        states, mask = cached_text_states(data.texts, encoder, performances).batch(chosen)
        references = [[data.clip(int(i)) for i in np.flatnonzero(data.sentence == s)] for s in chosen]
        reader = MotionClassifier()
        load_module(classifier, reader)
        texts = [data.texts[s] for s in chosen]
        return cls(texts, leading_groups(data)[chosen], references, states, mask, reader)

    def sample(
        self, model: CTEG, samples: int = 6, temperature: float = 1.0, seed: int = 0
    ) -> list[list[NDArray[np.float32]]]:
        """Generate `samples` clips for every sentence."""
        device = model.first_frame.device
        model = model.eval()
        rows = range(len(self.texts))
        repeated = torch.arange(len(self.texts)).repeat_interleave(samples)
        seeds = [seed + row * samples + i for row in rows for i in range(samples)]
        text, mask = self.states[repeated].to(device), self.mask[repeated].to(device)
        clips = [clip.float().numpy() for clip in sampling.sample(model, text, mask, seeds, temperature)]
        return [clips[row * samples : (row + 1) * samples] for row in rows]

    def fit(self, groups_of_clips: list[list[NDArray[np.float32]]]) -> float:
        """Share of clips in which the classifier reads the leading feeling of the sentence."""
        hits = [
            (self.classifier.probabilities(clips).argmax(1) == group).mean()
            for clips, group in zip(groups_of_clips, self.groups, strict=True)
        ]
        return float(np.mean(hits))

    def describe(self, groups_of_clips: list[list[NDArray[np.float32]]]) -> dict[str, float]:
        """All figures of a set of clips, not yet divided by the reference's."""
        clips = [clip for group in groups_of_clips for clip in group]
        return {
            "fit": self.fit(groups_of_clips),
            "multimodality": metrics.multimodality(groups_of_clips),
            "variation": metrics.variation_over_time(clips),
            "fine_grained_diversity": metrics.fine_grained_diversity(clips),
            "jerk": metrics.jerk(clips),
            "length": float(np.mean([len(clip) for clip in clips])),
        }

    def figures(self, model: CTEG, temperature: float = 1.0, samples: int = 6) -> dict[str, float]:
        """Figures of a model divided by the reference's, and the plain fit."""
        ours = self.describe(self.sample(model, samples, temperature))
        reference = self.describe(self.references)
        ratios = {f"{name}_ratio": ours[name] / max(reference[name], 1e-9) for name in ours}
        return {"fit": ours["fit"], "reference_fit": reference["fit"], **ratios}


def text_reading(encoder: TextEncoder, judge: Judge) -> float:
    """Share of the sentences whose leading feeling the text encoder reads: what fit a clip can have without luck."""
    probabilities = encoder.encode(judge.texts).label_probabilities.cpu().numpy()
    seven = np.stack([probabilities[:, group == SEVEN_INDEX].sum(1) for group in range(len(SEVEN))], axis=1)
    return float((seven.argmax(1) == judge.groups).mean())


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    classifier: Annotated[Path, typer.Option(help="file written by training.motion_classifier")],
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    per_group: Annotated[int, typer.Option(help="held-out sentences per feeling")] = 30,
    seed: int = 0,
) -> None:
    """Print the figures for several temperatures, and write them."""
    model, encoder, name = load_pretrained(weights)
    judge = Judge.prepare(performances, weights / "text_encoder", classifier, per_group, seed)
    reading = text_reading(encoder, judge)
    typer.echo(f"{len(judge.texts)} sentences; the text encoder reads the leading feeling of {reading:.3f}")
    results = {}
    for temperature in (0.0, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5):
        figures = judge.figures(model, temperature)
        results[str(temperature)] = figures
        typer.echo(f"temperature {temperature}: " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    if out:
        out.write_text(
            json.dumps(
                {"weights": name, "sentences": len(judge.texts), "text_reading": reading, "figures": results}, indent=2
            )
            + "\n"
        )


if __name__ == "__main__":
    typer.run(main)
