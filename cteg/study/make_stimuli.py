"""Make the clips of a study: all conditions for all sentences, under opaque ids (`python -m cteg study stimuli`).

The main system, a cooler temperature of it, trained baselines, clips from folders (references, retrieval baselines: see
`training.study_clips`), frames in random order as the floor, and the control: the main system's clips of a sentence of
another feeling. Every condition has `SAMPLES` clips for every sentence.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cteg.clip import Clip
from cteg.errors import InputError
from cteg.study.stimuli import (
    MISMATCHED,
    PRACTICE,
    Condition,
    Sentence,
    Stimulus,
    StimulusSet,
    content_hash,
    opaque_id,
    read_sentences,
)

if TYPE_CHECKING:
    from cteg.generator import Generator

SAMPLES = 3
COOL = 0.5
"""Temperature of the second condition of the main system."""

Maker = Callable[[Sequence[Sentence]], list[list[Clip]]]
"""Sentences -> `SAMPLES` clips for each."""


@dataclass(frozen=True)
class Sources:
    """Where clips come from.

    Attributes:
        weights: Folder or Hub id of the main system; None for the bundled one.
        temperature: Of the main condition.
        deterministic: Weights that were trained without latents.
        lm_listener: Folder written by `training.baselines`, with the text encoder of the main system.
        clips: Further conditions: name -> folder of clip files that carry their sentence.
        reference: Which of `clips` is the reference; its frames are shuffled for the floor where it is given.
        seed: Of all clips and of the assignment.
    """

    weights: str | None = None
    temperature: float = 1.0
    deterministic: Path | None = None
    lm_listener: Path | None = None
    clips: Mapping[str, Path] = field(default_factory=dict)
    reference: str | None = None
    seed: int = 0


def make(sources: Sources, out: Path, version: str, note: Callable[[str], None] = lambda _: None) -> StimulusSet:
    """Make all clips and write the set to a folder.

    Args:
        sources: Where clips come from.
        out: New or empty folder.
        version: Version of CTEG, for the record.
        note: Is told what is made next.

    Raises:
        InputError: The folder is not empty, or a source is missing or does not fit.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; a study is made in a new folder.")
    if sources.reference is not None and sources.reference not in sources.clips:
        raise InputError(f"There are no clips of the reference {sources.reference!r}; give them with --clips.")
    sentences = read_sentences()
    made: dict[Condition, list[list[Clip]]] = {}
    for condition, maker in _makers(sources):
        note(condition.name)
        made[condition] = maker(sentences)
    main = next(condition for condition in made if condition.role == "main")
    reference = next((condition for condition in made if condition.role == "reference"), main)
    note("floor and control")
    floor = Condition("shuffled frames", "floor", f"{reference.name}, frames in random order")
    made[floor] = shuffled(made[reference], sources.seed)
    control = Condition(MISMATCHED, "control", f"{main.name}, for a sentence of another feeling")
    made[control] = mismatched(sentences, made[main], sources.seed)
    record = {"version": version, "temperature": sources.temperature, "weights": weight_files(sources)}
    return write(sentences, made, out, sources.seed, record)


def write(
    sentences: Sequence[Sentence],
    made: Mapping[Condition, list[list[Clip]]],
    out: Path,
    seed: int,
    record: Mapping[str, object],
) -> StimulusSet:
    """Write clips under opaque ids, and the manifest.

    Args:
        sentences: S sentences.
        made: For every condition, for every sentence, its clips.
        out: The folder.
        seed: Of the assignment.
        record: What else the manifest should say.

    Raises:
        InputError: Clips are not all of one space and frame rate.
    """
    kinds = {(clip.space, clip.fps) for groups in made.values() for clips in groups for clip in clips}
    if len(kinds) != 1:
        raise InputError(f"All clips of a study need one space and one frame rate, got {sorted(kinds)}.")
    ((space, fps),) = kinds
    (out / "clips").mkdir(parents=True, exist_ok=True)
    key, stimuli = secrets.token_hex(16), []
    for condition, groups in made.items():
        for sentence, clips in zip(sentences, groups, strict=True):
            for sample, clip in enumerate(clips):
                bare = Clip(clip.coefficients, clip.fps, clip.space)  # without text, seed and weights
                name = opaque_id(key, sentence.id, condition.name, sample)
                bare.save(out / "clips" / f"{name}.npz")
                digest = content_hash(bare)
                stimuli.append(Stimulus(name, sentence.id, condition.name, sample, len(clip), digest))
    stimuli.sort(key=lambda stimulus: stimulus.id)  # the order says nothing either
    texts = {sentence.id: sentence.text for sentence in sentences}
    content = sorted(f"{texts[s.sentence]}\0{s.condition}\0{s.sample}\0{s.sha256}" for s in stimuli)
    study = hashlib.sha256("\n".join([str(seed), *content]).encode()).hexdigest()[:16]
    found = StimulusSet(
        study, seed, tuple(sentences), tuple(made), tuple(stimuli), fps, space, out, {**record, "key": key}
    )
    found.save(out)
    return found


def weight_files(sources: Sources) -> dict[str, str]:
    """Return the sha256 of every weight file that makes clips, by condition and file, as `sha256sum` prints it."""
    from cteg import checkpoint

    folders = {
        "cteg": checkpoint.resolve_folder(sources.weights or checkpoint.BUNDLED),
        "deterministic": sources.deterministic,
        "LM-Listener": sources.lm_listener,
    }
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": checkpoint.sha256(path)
        for name, folder in folders.items()
        if folder is not None
        for path in sorted(folder.rglob("*.safetensors"))
    }


# -- conditions --------------------------------------------------------------------------------------------------------


def _makers(sources: Sources) -> list[tuple[Condition, Maker]]:
    """Return all conditions that are generated or read, the main one first."""
    from cteg.generator import load

    generator = load(sources.weights)
    warm, cool = f"temperature {sources.temperature:g}", f"temperature {COOL:g}"
    makers: list[tuple[Condition, Maker]] = [
        (
            Condition("cteg", "main", f"{generator.name}, {warm}"),
            _generated(generator, sources.temperature, sources.seed),
        ),
        (Condition("cteg cool", "system", f"{generator.name}, {cool}"), _generated(generator, COOL, sources.seed + 1)),
    ]
    if sources.deterministic is not None:
        plain = load(sources.deterministic)
        makers.append((Condition("deterministic", "system", plain.name), _generated(plain, 1.0, sources.seed)))
    if sources.lm_listener is not None:
        condition = Condition("LM-Listener", "system", sources.lm_listener.name)
        makers.append((condition, _listener(generator, sources)))
    for name, folder in sources.clips.items():
        role = "reference" if name == sources.reference else "system"
        makers.append((Condition(name, role, folder.name), _from_folder(name, folder)))
    return makers


def _generated(generator: Generator, temperature: float, seed: int) -> Maker:
    """Clips of a CTEG; every sentence has seeds of its own."""

    def make_clips(sentences: Sequence[Sentence]) -> list[list[Clip]]:
        return [
            generator.generate(sentence.text, SAMPLES, temperature, seed + 100 * number)
            for number, sentence in enumerate(sentences)
        ]

    return make_clips


def _listener(generator: Generator, sources: Sources) -> Maker:
    """Clips of LM-Listener, which reads the states of the main system's text encoder."""

    def make_clips(sentences: Sequence[Sentence]) -> list[list[Clip]]:
        from cteg import checkpoint
        from cteg.baselines.lm_listener import load_lm_listener
        from cteg.baselines.system import Sentences

        listener = load_lm_listener(sources.lm_listener)
        weights = checkpoint.resolve_folder(sources.weights or checkpoint.BUNDLED)
        if checkpoint.sha256(weights / "text_encoder" / "model.safetensors") != listener.config.text_encoder:
            raise InputError(f"{sources.lm_listener} was trained with another text encoder than the main system.")
        texts = [sentence.text for sentence in sentences]
        encoded = generator.encoder.encode(texts)
        groups = listener.generate(Sentences(texts, encoded.states, encoded.mask), SAMPLES, 1.0, sources.seed)
        return [[Clip(frames, space=listener.config.space) for frames in clips] for clips in groups]

    return make_clips


def _from_folder(name: str, folder: Path) -> Maker:
    """Clips from files that carry the sentence that they perform."""

    def make_clips(sentences: Sequence[Sentence]) -> list[list[Clip]]:
        by_text: dict[str, list[Clip]] = {}
        for path in sorted(folder.glob("*.npz")):
            clip = Clip.load(path)
            by_text.setdefault(clip.text, []).append(clip)
        for sentence in sentences:
            if len(by_text.get(sentence.text, [])) < SAMPLES:
                raise InputError(f"{folder} needs {SAMPLES} clips of {name!r} for the sentence {sentence.text!r}.")
        return [by_text[sentence.text][:SAMPLES] for sentence in sentences]

    return make_clips


def shuffled(groups: Sequence[Sequence[Clip]], seed: int) -> list[list[Clip]]:
    """Clips with their frames in random order: right faces, no motion."""
    rng = np.random.default_rng(seed)
    return [[Clip(rng.permutation(clip.coefficients), clip.fps, clip.space) for clip in clips] for clips in groups]


def mismatched(sentences: Sequence[Sentence], groups: Sequence[Sequence[Clip]], seed: int) -> list[list[Clip]]:
    """Clips of other sentences: each sentence gets those of one with another feeling, each gives them once.

    Real sentences are ordered by feeling and the list is turned by the size of the largest feeling, so that nobody
    lands on its own feeling; who follows whom within a feeling is drawn. Sentences to practise keep their own clips.
    """
    rng = np.random.default_rng(seed)
    real = [index for index, sentence in enumerate(sentences) if sentence.feeling != PRACTICE]
    order = sorted((real[i] for i in rng.permutation(len(real))), key=lambda index: sentences[index].feeling)
    feelings = [sentences[index].feeling for index in order]
    turn = max(map(feelings.count, feelings))
    partner = {index: order[(place + turn) % len(order)] for place, index in enumerate(order)}
    if any(sentences[a].feeling == sentences[b].feeling for a, b in partner.items()):
        raise InputError("The control needs sentences of several feelings, none with more than half of them.")
    return [list(groups[partner.get(index, index)]) for index in range(len(sentences))]
