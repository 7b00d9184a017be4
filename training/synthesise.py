"""Perform the sentences of the corpus: labelled text in, coefficient sequences out.

    python -m training.synthesise --text corpus/text --motion DIR --out corpus/performances --performances 2 \
        --sentences 60000 --seed 1

`--motion` is a folder with the FACEGOOD captures (MIT), whose mouth motion the speaking stretches use. Each performance
depends only on seed, split, sentence and its number, so a run that was cut off goes on where it stopped, with any
number of workers. The laws of a performance are in `docs/performance.md`, the format in
`training/performance/store.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from cteg.errors import InputError
from training.common import Seed, plain_errors
from training.performance.captures import SpeechBank, load_bank
from training.performance.labels import LABEL_INDEX, SEVEN_NAMES
from training.performance.perform import Performance, draw_performance
from training.performance.select import choose, repeats
from training.performance.store import load_performances, read_sentences, write_shard

SPLITS = ("train", "dev", "test")
HELD_OUT_SHARE = {"train": 1.0, "dev": 0.05, "test": 0.05}
"""Sentences of each split as a share of `--sentences`."""

SHARD = 2_000
"""Sentences per shard: about 10 s of work and 40 MB."""

VERSION = 4
"""Raised when the same settings would give other performances."""


@dataclass(frozen=True)
class Settings:
    """What a folder of performances was made with.

    Attributes:
        performances: Performances per sentence; rare feelings get up to twice as many.
        sentences: Sentences of the train split.
        seed: Seed of everything that is drawn.
        version: `VERSION` of the code.
    """

    performances: int
    sentences: int
    seed: int
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.performances < 1 or self.sentences < 1:
            raise InputError(
                f"There must be at least 1 sentence and 1 performance, got {self.sentences} and {self.performances}."
            )


@dataclass(frozen=True)
class Shard:
    """The work of one shard.

    Attributes:
        path: File to write.
        split: Position in `SPLITS`.
        first: Index of the first sentence in its split.
        sentences: Sentences, each with text and labels.
        counts: How often each is performed.
        seed: Seed of the run.
    """

    path: Path
    split: int
    first: int
    sentences: list[dict]
    counts: list[int]
    seed: int


_bank: list[SpeechBank] = []
"""The captures of a worker process, loaded once by `_start_worker`."""


def _start_worker(motion: Path) -> None:
    _bank[:] = [load_bank(motion)]


def _work(shard: Shard) -> None:
    write(shard, _bank[0])


def write(shard: Shard, bank: SpeechBank) -> None:
    """Perform the sentences of a shard and write it."""
    clips, facts = [], []
    for position, (sentence, count) in enumerate(zip(shard.sentences, shard.counts, strict=True)):
        index = shard.first + position
        for number in range(count):
            rng = np.random.default_rng((shard.seed, shard.split, index, number))
            performance = draw_performance(sentence["text"], sentence["labels"], rng, bank)
            clips.append(performance.frames)
            facts.append((index, *labels_of(performance), bool(performance.script.speech.phrases)))
    write_shard(shard.path, clips, facts)


def labels_of(performance: Performance) -> tuple[int, int]:
    """Return the index of the leading label and of the other one, -1 where there is none."""
    leading = performance.script.leading
    others = [e.variant.label for e in performance.script.episodes if e.variant.label != leading]
    return LABEL_INDEX[leading], LABEL_INDEX[others[0]] if others else -1


def plan(text: Path, out: Path, settings: Settings) -> list[Shard]:
    """Choose the sentences of every split, write their lists, and return the shards that are still missing.

    Raises:
        InputError: `out` holds the list of other sentences, to which its shards belong.
    """
    shards: list[Shard] = []
    for split, name in enumerate(SPLITS):
        rng = np.random.default_rng((settings.seed, split))
        sentences = read_sentences(text / f"{name}.jsonl")
        wanted = max(1, round(settings.sentences * HELD_OUT_SHARE[name]))
        chosen = [sentences[index] for index in choose(sentences, wanted, rng)]
        counts = repeats(chosen, settings.performances).tolist()
        lines = (json.dumps(sentence, ensure_ascii=False) for sentence in chosen)
        keep_list(out / f"{name}.jsonl", "\n".join(lines) + "\n")
        for number, first in enumerate(range(0, len(chosen), SHARD)):
            path = out / f"{name}-{number:03d}.safetensors"
            part = slice(first, first + SHARD)
            shards.append(Shard(path, split, first, chosen[part], counts[part], settings.seed))
    return [shard for shard in shards if not shard.path.is_file()]


def keep_list(path: Path, content: str) -> None:
    """Write the list of a split's sentences whole or not at all, or check that the one that is there is the same."""
    if path.is_file():
        if path.read_bytes() != content.encode():
            raise InputError(f"{path} lists other sentences than were chosen now; choose another --out.")
        return
    part = path.with_suffix(".part")
    part.write_bytes(content.encode())
    part.replace(path)


def claim(out: Path, settings: Settings) -> None:
    """Make the folder, or check that it was begun with the same settings.

    Raises:
        InputError: the folder holds performances made with other settings, or with settings that cannot be read.
    """
    path = out / "settings.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is damaged; choose another --out.") from error
        if found != asdict(settings):
            raise InputError(f"{out} holds performances made with other settings ({found}); choose another --out.")
    elif out.is_dir() and any(out.glob("*.safetensors")):
        raise InputError(f"{out} holds shards without settings.json; choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def perform_all(shards: list[Shard], motion: Path, workers: int) -> Iterator[None]:
    """Write the shards, one by one or with several processes; yields once per shard."""
    if workers == 1:
        bank = load_bank(motion)
        for shard in shards:
            yield write(shard, bank)
    else:
        with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(motion,)) as pool:
            yield from pool.map(_work, shards)


def synthesise(text: Path, motion: Path, out: Path, settings: Settings, workers: int = 1) -> dict[str, object]:
    """Perform the corpus below `text` into `out` and return the counts that `meta.json` holds.

    Raises:
        InputError: a folder is missing or damaged, or `out` was made with other settings.
    """
    load_bank(motion)  # a wrong folder should be noticed before anything is written
    claim(out, settings)
    shards = plan(text, out, settings)
    for _ in track(perform_all(shards, motion, workers), "Performing", total=len(shards), transient=True):
        pass
    counts = {split: describe(out, split) for split in SPLITS}
    meta = {
        "settings": asdict(settings),
        "counts": counts,
        "text": json.loads((text / "meta.json").read_text(encoding="utf-8"))["sources"],
        "motion": "mouth motion from FACEGOOD Audio2Face captures (MIT); all else synthesised from the FACS literature",
    }
    (out / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return counts


def describe(out: Path, split: str) -> dict[str, object]:
    """Count what a split holds."""
    found = load_performances(out, split)
    lengths = np.diff(found.offsets)
    seven = Counter(SEVEN_NAMES[index] for index in found.seven)
    return {
        "sentences": len(found.texts),
        "performances": len(found),
        "frames": int(lengths.sum()),
        "median_frames": float(np.median(lengths)),
        "speaking_share": round(float(found.speaks.mean()), 3),
        "leading_seven": dict(seven.most_common()),
    }


@plain_errors
def main(
    text: Annotated[Path, typer.Option(help="Folder written by training.prepare.")],
    motion: Annotated[Path, typer.Option(help="Folder with the FACEGOOD captures: bsname.txt and *.npy.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    performances: Annotated[int, typer.Option(help="Performances per sentence.")] = 2,
    sentences: Annotated[int, typer.Option(help="Sentences of the train split; dev and test get 5 % each.")] = 60_000,
    seed: Seed = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Perform sentences several times each and write the performances in shards."""
    counts = synthesise(text, motion, out, Settings(performances, sentences, seed), workers)
    for split, found in counts.items():
        typer.echo(f"{split}: {json.dumps(found)}")


if __name__ == "__main__":
    typer.run(main)
