"""Held-out sentences, their reference performances, and the classifier that reads clips: what systems are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg import layout, metrics
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.system import Frames, Sentences
from cteg.checkpoint import load_module
from cteg.emotion import SEVEN, MotionClassifier
from cteg.errors import InputError
from cteg.model.cteg import CTEG
from cteg.text import TextEncoder
from training.data import TextStates, cached_text_states
from training.performance.labels import SEVEN_INDEX, to_seven
from training.performance.store import Performances, load_performances

FOLLOWED_SAMPLES = 6
"""Clips per sentence by which a training run is followed."""


def leading_groups(data: Performances) -> NDArray[np.intp]:
    """Return the leading feeling of every sentence by its human labels, (S,), index into `SEVEN`."""
    return SEVEN_INDEX[data.label_weights.argmax(1)]


def balanced_sentences(data: Performances, per_group: int, rng: np.random.Generator) -> list[int]:
    """Draw held-out sentences with two or more performances, equally many per leading feeling."""
    sentences, counts = np.unique(data.sentence, return_counts=True)
    if not data.has_feelings:  # as many, drawn from all
        return rng.permutation(sentences[counts >= 2])[: per_group * len(SEVEN)].tolist()
    group = leading_groups(data)[sentences]
    chosen: list[int] = []
    for index in range(len(SEVEN)):
        candidates = sentences[(group == index) & (counts >= 2)]
        chosen += rng.permutation(candidates)[:per_group].tolist()
    return chosen


@dataclass(frozen=True)
class Judge:
    """Held-out sentences and what their clips are measured with.

    Attributes:
        sentences: The S sentences.
        mixes: (S, 7), distribution of the human labels over `SEVEN`; None, like groups and classifier, for a corpus
            without feelings.
        groups: (S,), the leading feeling of each by its human labels, index into `SEVEN`.
        references: Reference clips of each sentence, two or more.
        classifier: Reads the feeling of a clip.
        sources: For every sentence the corpus that it is from.
        first: (53,), the frame that comes before every clip.
    """

    sentences: Sentences
    mixes: NDArray[np.floating] | None
    groups: NDArray[np.intp] | None
    references: list[list[Frames]]
    classifier: MotionClassifier | None
    sources: Sequence[str] = ()
    first: Frames = field(default_factory=layout.neutral)

    @classmethod
    def prepare(cls, performances: Path, encoder: Path, classifier: Path, per_group: int = 8) -> Judge:
        """Choose sentences of the dev split, always the same, and encode them.

        Args:
            performances: Folder written by `training.synthesise`.
            encoder: Folder of the text encoder.
            classifier: File of `training.motion_classifier`.
            per_group: Sentences per feeling.

        Raises:
            InputError: see `choose`; or something that is read is missing or damaged.
        """
        data = load_performances(performances, "dev")
        return cls.choose(data, cached_text_states(data.texts, encoder, performances), classifier, per_group, seed=0)

    @classmethod
    def choose(
        cls, data: Performances, states: TextStates, classifier: Path | None, per_group: int, seed: int
    ) -> Judge:
        """Choose sentences of a split that is in memory.

        Raises:
            InputError: no sentence of the split has two performances; or there is no classifier, or one for a corpus
                without feelings.
        """
        if data.has_feelings != (classifier is not None):
            raise InputError(
                "Give --classifier, the reader of feelings."
                if data.has_feelings
                else "The corpus has no feelings for a classifier to read; training.evaluate can judge such clips: "
                "leave --classifier out."
            )
        chosen = balanced_sentences(data, per_group, np.random.default_rng(seed))
        if not chosen:
            raise InputError("No held-out sentence has two performances, so variety cannot be measured.")
        references = [[data.clip(int(i)) for i in data.of_sentence(s)] for s in chosen]
        sentences = Sentences([data.texts[s] for s in chosen], *states.batch(chosen))
        if classifier is None:
            return cls(sentences, None, None, references, None)
        reader = MotionClassifier()
        load_module(classifier, reader)
        mixes = to_seven(data.label_weights[chosen])
        sources = [data.sources[s] for s in chosen]
        return cls(sentences, mixes, leading_groups(data)[chosen], references, reader.eval(), sources)

    def for_flame(self, frames: NDArray[np.floating], longest: int) -> Judge:
        """Let clips begin after the mean of the training frames (F, 53), and cut them to what a model can write."""
        references = [[clip[:longest] for clip in clips] for clips in self.references]
        return replace(self, references=references, first=frames.mean(0, dtype=np.float64).astype(np.float32))

    def fit(self, groups_of_clips: Sequence[Sequence[Frames]]) -> float:
        """Share of clips in which the classifier reads the leading feeling of the sentence."""
        hits = [
            (self.classifier.probabilities(list(clips)).argmax(1) == group).mean()
            for clips, group in zip(groups_of_clips, self.groups, strict=True)
        ]
        return float(np.mean(hits))

    def describe(self, groups_of_clips: Sequence[Sequence[Frames]]) -> dict[str, float]:
        """Figures of a set of clips that are cheap enough to follow during training, not divided by the reference's."""
        clips = [clip for group in groups_of_clips for clip in group]
        return {
            "fit": self.fit(groups_of_clips),
            "multimodality": metrics.multimodality(groups_of_clips),
            "variation": metrics.variation_over_time(clips),
            "fine_grained_diversity": metrics.fine_grained_diversity(clips),
            "jerk": metrics.jerk(clips),
            "length": float(np.mean([len(clip) for clip in clips])),
        }

    def figures(self, model: CTEG) -> dict[str, float]:
        """Figures of `FOLLOWED_SAMPLES` clips per sentence at temperature 1, divided by the reference's; plain fit."""
        ours = self.describe(CTEGSystem(model, "").generate(self.sentences, FOLLOWED_SAMPLES, 1.0, seed=0))
        reference = self.describe(self.references)
        ratios = {f"{name}_ratio": ours[name] / max(reference[name], 1e-9) for name in ours}
        return {"fit": ours["fit"], "reference_fit": reference["fit"], **ratios}


def seven_readings(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.floating]:
    """Probability of each of `SEVEN` that the text encoder reads in every sentence, (S, 7).

    Raises:
        InputError: the encoder was not trained to read feelings.
    """
    parts = [encoder.encode(texts[start : start + 128]).label_probabilities for start in range(0, len(texts), 128)]
    if any(part is None for part in parts):
        raise InputError("The text encoder has no label head; train it with training.text_encoder.")
    return to_seven(np.concatenate([part.cpu().numpy() for part in parts]))


def text_reading(encoder: TextEncoder, judge: Judge) -> float:
    """Share of the sentences whose leading feeling the text encoder reads: what fit a clip can have without luck."""
    return float((seven_readings(encoder, judge.sentences.texts).argmax(1) == judge.groups).mean())
