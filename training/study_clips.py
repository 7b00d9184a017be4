"""Clips of references and retrieval baselines for the sentences of the blind study.

    python -m training.study_clips --motion DIR --performances corpus/performances --weights weights/cteg-open \
        --out runs/study_clips

Writes one folder of clip files per condition, `reference`, `nearest text` and `random clip`, each file with its
sentence, for `python -m cteg study stimuli --clips "reference=runs/study_clips/reference" ...`. References are
performed from the feeling that each sentence was written for, as the corpus is; the sentences are in no part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from cteg import generator
from cteg.baselines import retrieval
from cteg.baselines.system import Frames, Sentences
from cteg.checkpoint import BUNDLED
from cteg.clip import Clip
from cteg.study.make_stimuli import SAMPLES
from cteg.study.stimuli import Sentence, read_sentences
from training.common import Seed, plain_errors
from training.data import cached_text_states, check_space
from training.evaluate import training_bank
from training.performance.captures import load_bank
from training.performance.perform import perform
from training.performance.store import load_performances


def references(sentences: list[Sentence], motion: Path, seed: int) -> list[list[Frames]]:
    """Perform every sentence `SAMPLES` times from its label."""
    bank = load_bank(motion)
    return [
        [
            perform(sentence.text, {sentence.label: 1.0}, np.random.default_rng((seed, row, number)), bank)
            for number in range(SAMPLES)
        ]
        for row, sentence in enumerate(sentences)
    ]


def write(folder: Path, sentences: list[Sentence], groups: list[list[Frames]]) -> None:
    """Write clips with their sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    for sentence, clips in zip(sentences, groups, strict=True):
        for number, frames in enumerate(clips):
            Clip(frames, text=sentence.text).save(folder / f"{sentence.id}_{number}.npz")


@plain_errors
def main(
    motion: Annotated[Path, typer.Option(help="folder with the motion captures, as for training.synthesise")],
    out: Annotated[Path, typer.Option(help="folder for one folder per condition")],
    performances: Annotated[Path | None, typer.Option(help="corpus for the retrieval baselines; none without")] = None,
    weights: Annotated[Path | None, typer.Option(help="weights whose text encoder finds near texts")] = None,
    seed: Seed = 0,
) -> None:
    """Write all clips."""
    sentences = read_sentences()
    write(out / "reference", sentences, references(sentences, motion, seed))
    if performances is None:
        return
    loaded = generator.load(weights)
    folder = (weights or BUNDLED) / "text_encoder"
    train = load_performances(performances, "train")
    check_space(train, "open")  # as the references are
    bank = training_bank(train, cached_text_states(train.texts, folder, performances))
    texts = [sentence.text for sentence in sentences]
    encoded = loaded.encoder.encode(texts)
    for system in (retrieval.NearestText(bank), retrieval.RandomClip(bank)):
        groups = system.generate(Sentences(texts, encoded.states, encoded.mask), SAMPLES, 1.0, seed)
        write(out / system.name, sentences, groups)


if __name__ == "__main__":
    typer.run(main)
