"""The fixed stimuli of a study: sentences, clips under opaque ids, and the manifest that tells what they are.

    <folder>/manifest.json        conditions, sentences, and for every clip its condition; never leaves the server
    <folder>/clips/<id>.npz       coefficients and nothing that tells where they come from

A clip's id says nothing: it is a keyed hash whose key is in the manifest. The browser does not even get the ids; it
asks for clip 0, 1, ... of a page. What it gets has the same size for every clip of the study.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError

FORMAT = 1
SENTENCES = Path(__file__).with_name("sentences.tsv")
PRACTICE = "practice"
"""Feeling of the sentences that raters practise with; they are in no statistics."""

MISMATCHED = "mismatched"
"""The control: a clip that the main system made for a sentence of another feeling."""

ROLES = ("main", "system", "reference", "floor", "control")
INT16_MAX = 32767


@dataclass(frozen=True)
class Sentence:
    """A sentence of the study.

    Attributes:
        id: Short id.
        feeling: One of the seven feelings, or `practice`.
        label: The finer feeling that it was written for.
        text: The sentence.
    """

    id: str
    feeling: str
    label: str
    text: str


@dataclass(frozen=True)
class Condition:
    """What makes clips.

    Attributes:
        name: Short name for tables.
        role: `main`: the system that the study is about; `system`: another one; `reference`; `floor`: what must lose;
            `control`: right clips for wrong sentences.
        origin: Where the clips come from, for the record.
    """

    name: str
    role: str
    origin: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"A condition has one of the roles {', '.join(ROLES)}, got {self.role!r}.")
        if not self.name or len(self.name) > 40 or "," in self.name:
            raise InputError(f"A condition needs a name of at most 40 characters without commas, got {self.name!r}.")


@dataclass(frozen=True)
class Stimulus:
    """One clip of the study.

    Attributes:
        id: Opaque id, 32 hexadecimal digits.
        sentence: Id of the sentence that it is shown with.
        condition: Name of what made it.
        sample: Number of the clip among those of its sentence and condition.
        frames: Length in frames.
        sha256: Hash of its coefficients.
    """

    id: str
    sentence: str
    condition: str
    sample: int
    frames: int
    sha256: str


def read_sentences(path: Path = SENTENCES) -> list[Sentence]:
    """Read a table of sentences: columns `id`, `feeling`, `label`, `text`, separated by tabs.

    Raises:
        InputError: The file is missing or is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        sentences = [Sentence(row["id"], row["feeling"], row["label"], row["text"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is missing or is no table with the columns id, feeling, label, text.") from error
    if len({sentence.id for sentence in sentences}) != len(sentences) or not all(s.id and s.text for s in sentences):
        raise InputError(f"{path.name} has a sentence without id or text, or an id twice.")
    return sentences


def opaque_id(key: str, sentence: str, condition: str, sample: int) -> str:
    """Return the id of a clip, which says nothing without the key."""
    message = f"{sentence}\0{condition}\0{sample}".encode()
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()[:32]


def content_hash(clip: Clip) -> str:
    """Return the SHA-256 of a clip's frame rate, space and coefficients, hexadecimal."""
    head = f"{clip.space} {clip.fps:g} {len(clip)} ".encode()
    return hashlib.sha256(head + clip.coefficients.astype("<f4").tobytes()).hexdigest()


@dataclass(frozen=True)
class StimulusSet:
    """All stimuli of a study.

    Attributes:
        study: Id of the set: a hash of everything that raters see.
        seed: Seed of the assignment.
        sentences: The sentences, those for practice included.
        conditions: What made the clips; one has the role `main`.
        stimuli: The clips.
        fps: Frames per second.
        space: Coefficient space of all clips.
        folder: Where the clips lie; None for a set without clips, such as the simulator's.
        made: Version, weights and settings that the set was made with.
    """

    study: str
    seed: int
    sentences: tuple[Sentence, ...]
    conditions: tuple[Condition, ...]
    stimuli: tuple[Stimulus, ...]
    fps: float = layout.FPS
    space: str = "open"
    folder: Path | None = None
    made: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if [c.role for c in self.conditions].count("main") != 1:
            raise InputError("A study needs exactly one condition with the role 'main'.")
        missing = [
            (sentence.id, condition.name)
            for sentence in self.real_sentences
            for condition in self.conditions
            if (sentence.id, condition.name) not in self.samples
        ]
        if missing:
            raise InputError(f"The study lacks clips: none of {missing[0][1]!r} for the sentence {missing[0][0]!r}.")

    @cached_property
    def main(self) -> str:
        """Name of the system that the study is about."""
        return next(condition.name for condition in self.conditions if condition.role == "main")

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """Names of the conditions that are compared with each other: all but the control."""
        return tuple(condition.name for condition in self.conditions if condition.role != "control")

    @cached_property
    def control(self) -> str | None:
        """Name of the condition that shows clips of other sentences; None where the study has none."""
        return next((condition.name for condition in self.conditions if condition.role == "control"), None)

    @cached_property
    def real_sentences(self) -> tuple[Sentence, ...]:
        """The sentences that count."""
        return tuple(sentence for sentence in self.sentences if sentence.feeling != PRACTICE)

    @cached_property
    def feelings(self) -> dict[str, str]:
        """Feeling of every sentence that counts, by its id."""
        return {sentence.id: sentence.feeling for sentence in self.real_sentences}

    @cached_property
    def by_sentence(self) -> dict[str, Sentence]:
        """Sentences by id."""
        return {sentence.id: sentence for sentence in self.sentences}

    @cached_property
    def by_id(self) -> dict[str, Stimulus]:
        """Clips by id."""
        return {stimulus.id: stimulus for stimulus in self.stimuli}

    @cached_property
    def samples(self) -> dict[tuple[str, str], list[str]]:
        """Ids of the clips of a sentence and a condition, in the order of their samples."""
        found: dict[tuple[str, str], list[str]] = {}
        for stimulus in sorted(self.stimuli, key=lambda stimulus: stimulus.sample):
            found.setdefault((stimulus.sentence, stimulus.condition), []).append(stimulus.id)
        return found

    @cached_property
    def longest(self) -> int:
        """Frames of the longest clip."""
        return max(stimulus.frames for stimulus in self.stimuli)

    def seconds(self, ids: Iterable[str]) -> float:
        """Return the length of the longest of some clips, in seconds."""
        return max(self.by_id[stimulus].frames for stimulus in ids) / self.fps

    def clip(self, stimulus: str) -> Clip:
        """Read a clip and check that it is the one that the study was made with.

        Raises:
            InputError: It is missing, damaged or another one.
        """
        if self.folder is None or stimulus not in self.by_id:
            raise InputError("There is no such clip.")
        clip = Clip.load(self.folder / "clips" / f"{stimulus}.npz")
        if content_hash(clip) != self.by_id[stimulus].sha256:
            raise InputError("A clip of the study is not the one that the study was made with.")
        return clip

    @cached_property
    def payloads(self) -> dict[str, bytes]:
        """All clips for the player, by id: JSON with `frames`, `fps`, `scale` and base64 of int16 steps.

        The scale is the same for all clips, the steps are padded to the longest clip and the bytes to one length, so
        that neither size nor number tells what made a clip; and all lie in memory, so that time does not either. A
        clip's length in frames is part of what is judged.

        Raises:
            InputError: A clip is missing or damaged.
        """
        clips = {stimulus.id: self.clip(stimulus.id) for stimulus in self.stimuli}
        scale = max(float(np.abs(clip.coefficients).max()) for clip in clips.values()) / INT16_MAX or 1.0
        bodies = {}
        for name, clip in clips.items():
            steps = np.zeros((self.longest, layout.D), "<i2")
            steps[: len(clip)] = np.rint(clip.coefficients / scale)
            data = base64.b64encode(steps.tobytes()).decode()
            bodies[name] = json.dumps({"frames": len(clip), "fps": clip.fps, "scale": scale, "data": data}).encode()
        size = max(map(len, bodies.values()))
        return {name: body.ljust(size) for name, body in bodies.items()}

    def save(self, folder: Path) -> None:
        """Write the manifest into a folder whose clips are there; it appears whole or not at all."""
        values = {
            "format": FORMAT,
            "study": self.study,
            "seed": self.seed,
            "fps": self.fps,
            "space": self.space,
            "made": self.made,
            "conditions": [asdict(condition) for condition in self.conditions],
            "sentences": [asdict(sentence) for sentence in self.sentences],
            "stimuli": [asdict(stimulus) for stimulus in self.stimuli],
        }
        part = folder / "manifest.json.part"
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / "manifest.json")

    @classmethod
    def load(cls, folder: str | Path) -> StimulusSet:
        """Read a folder written by `python -m cteg study stimuli`.

        Raises:
            InputError: The folder holds no such set, or clips are missing.
        """
        folder = Path(folder)
        try:
            values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise InputError(f"The stimuli have format {values['format']!r}; this version reads format {FORMAT}.")
            found = cls(
                study=values["study"],
                seed=values["seed"],
                sentences=tuple(Sentence(**row) for row in values["sentences"]),
                conditions=tuple(Condition(**row) for row in values["conditions"]),
                stimuli=tuple(Stimulus(**row) for row in values["stimuli"]),
                fps=values["fps"],
                space=values["space"],
                folder=folder,
                made=values["made"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} holds no stimuli; make them with: python -m cteg study stimuli.") from error
        present = {path.stem for path in (folder / "clips").glob("*.npz")}
        if not found.by_id.keys() <= present:
            raise InputError(f"{folder} lacks clips of the study; make the stimuli again.")
        return found
