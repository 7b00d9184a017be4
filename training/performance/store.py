"""The folder of performances: its format, writer and reader.

    train.jsonl, dev.jsonl, test.jsonl          the sentences, one object a line: text, source, labels
    train-000.safetensors, train-001..., ...    performances of a stretch of sentences, all frames in a row
    meta.json                                   settings, counts, sources

A shard holds `frames` (F, 53), `lengths` (P,) int32 frames per performance, and per performance `sentence` int32 (line
of the .jsonl) and, in a corpus with feelings, `leading` uint8 (index into LABELS), `second` int8 (the same, -1 = none),
`speaks` uint8. A corpus has feelings, then every sentence has labels and every shard these three, or it has none
(EmoAva). Frames of the `open` space, which stay within 1, are float16: it keeps a step of 0.0005 at most, where eight
bits would put steps of 0.004 into slow motion; those of the `flame` space are float32. The metadata names the space.
Safetensors can be memory-mapped and hold no code.

Dimension letters: S sentences, P performances, F frames of all of them, D = 53.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cteg import layout
from cteg.errors import InputError
from training.performance.labels import LABEL_INDEX, SEVEN_INDEX, label_matrix

PER_PERFORMANCE = ("lengths", "sentence")
OF_FEELINGS = ("leading", "second", "speaks")
DTYPES = {"open": np.float16, "flame": np.float32}


@dataclass(frozen=True, eq=False)
class Performances:
    """All performances of a split, in memory.

    Attributes:
        texts: S sentences.
        frames: (F, 53) coefficients, 25 a second, float16 in the `open` space and float32 in `flame`.
        offsets: (P + 1,) performance p is `frames[offsets[p]:offsets[p + 1]]`.
        sentence: (P,) index into `texts`.
        space: Coefficient space.
        label_weights: (S, 28) float32 weight of each label, rows sum to 1. None, like all below, without feelings.
        sources: S names of the corpora that the sentences are from.
        leading: (P,) index into `LABELS` of the emotion that leads.
        second: (P,) index into `LABELS` of the other emotion, -1 = none.
        seven: (P,) index into `SEVEN_NAMES` of the leading emotion.
        speaks: (P,) True where the face speaks the sentence.
    """

    texts: list[str]
    frames: NDArray[np.floating]
    offsets: NDArray[np.int64]
    sentence: NDArray[np.int32]
    space: str = "open"
    label_weights: NDArray[np.float32] | None = None
    sources: list[str] | None = None
    leading: NDArray[np.uint8] | None = None
    second: NDArray[np.int8] | None = None
    seven: NDArray[np.intp] | None = None
    speaks: NDArray[np.bool_] | None = None

    @property
    def has_feelings(self) -> bool:
        """Whether sentences and performances have labels."""
        return self.label_weights is not None

    def __len__(self) -> int:
        return len(self.sentence)

    def clip(self, index: int) -> NDArray[np.float32]:
        """Return the frames of one performance, (T, 53) float32."""
        return self.frames[self.offsets[index] : self.offsets[index + 1]].astype(np.float32)

    def of_sentence(self, sentence: int) -> NDArray[np.intp]:
        """Return the indices of the performances of a sentence."""
        return np.flatnonzero(self.sentence == sentence)


def load_performances(folder: str | Path, split: str = "train") -> Performances:
    """Read one split of a folder written by `training.synthesise`.

    Args:
        folder: The folder.
        split: `train`, `dev` or `test`.

    Raises:
        InputError: the folder, the split or a shard is missing or damaged.
    """
    folder = Path(folder)
    paths = sorted(folder.glob(f"{split}-*.safetensors"))
    if not paths:
        raise InputError(
            f"There are no performances of the split {split} in {folder}; run training.synthesise or "
            "training.import_emoava."
        )
    shards, spaces = zip(*(_read_shard(path) for path in paths), strict=True)
    has_feelings = all(name in shard for shard in shards for name in OF_FEELINGS)
    sentences = read_sentences(folder / f"{split}.jsonl", has_feelings)
    names = (*PER_PERFORMANCE, "frames", *(OF_FEELINGS if has_feelings else ()))
    joined = {name: np.concatenate([shard[name] for shard in shards]) for name in names}
    if joined["sentence"].size and int(joined["sentence"].max()) >= len(sentences):
        raise InputError(f"The shards of {split} in {folder} name sentences that {split}.jsonl does not hold.")
    if len(set(spaces)) > 1:
        raise InputError(f"The shards of {split} in {folder} are of different coefficient spaces.")
    return Performances(
        texts=[sentence["text"] for sentence in sentences],
        frames=joined["frames"],
        offsets=np.concatenate([[0], np.cumsum(joined["lengths"], dtype=np.int64)]),
        sentence=joined["sentence"],
        space=spaces[0],
        **(_feelings(sentences, joined) if has_feelings else {}),
    )


def _feelings(sentences: list[dict], joined: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return what `Performances` holds of labels."""
    weights = label_matrix(sentences).astype(np.float32)
    return {
        "label_weights": weights / weights.sum(axis=1, keepdims=True),
        "sources": [sentence.get("source", "") for sentence in sentences],
        "leading": joined["leading"],
        "second": joined["second"],
        "seven": SEVEN_INDEX[joined["leading"]],
        "speaks": joined["speaks"].astype(bool),
    }


def read_sentences(path: Path, has_labels: bool = True) -> list[dict]:
    """Read sentences, with labels if the corpus has any, from a `.jsonl` file.

    Raises:
        InputError: the file is missing, empty or no text, or a line is no sentence with known labels.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; run training.prepare first.")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable text.") from error
    if not content.strip():
        raise InputError(f"{path} holds no sentence.")
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line)
            is_known = bool(row["text"])
            if has_labels:
                is_known = is_known and bool(row["labels"]) and set(row["labels"]) <= LABEL_INDEX.keys()
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"Line {number} of {path.name} is not a sentence with labels.") from error
        if not is_known:
            raise InputError(f"Line {number} of {path.name} has no text or labels that are not known.")
        rows.append(row)
    return rows


def write_shard(
    path: Path,
    clips: list[NDArray[np.float32]],
    facts: list[tuple[int, int, int, bool]] | list[tuple[int]],
    space: str = "open",
) -> None:
    """Write performances as one shard; it appears whole or not at all.

    Args:
        path: The file.
        clips: Frames of each performance, (T, 53).
        facts: Sentence, leading label, second label (-1 = none) and whether it speaks, of each performance; the
            sentence alone in a corpus without feelings.
        space: Coefficient space.
    """
    columns = [np.array(column) for column in zip(*facts, strict=True)]
    dtypes = {"sentence": np.int32, "leading": np.uint8, "second": np.int8, "speaks": np.uint8}
    tensors = {
        "frames": np.concatenate(clips).astype(DTYPES[space]),
        "lengths": np.array([len(clip) for clip in clips], dtype=np.int32),
        **{name: column.astype(dtypes[name]) for name, column in zip(dtypes, columns, strict=False)},
    }
    part = path.with_suffix(".part")
    # one entry only: safetensors writes several in random order, and equal settings should give equal files
    save_file(tensors, part, metadata={"layout": f"{space}, {layout.FPS} frames a second"})
    part.chmod(0o644)  # safetensors makes files that nobody else may read
    part.replace(path)


def _read_shard(path: Path) -> tuple[dict[str, NDArray], str]:
    """Return the tensors of a shard and its coefficient space."""
    try:
        with safe_open(path, framework="np") as file:
            space = (file.metadata() or {}).get("layout", "open").split(",")[0]  # the first corpora did not say
            shard = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"The shard {path.name} is damaged; delete it and make it again.") from error
    is_whole = {*PER_PERFORMANCE, "frames"} <= shard.keys() and shard["lengths"].sum() == len(shard["frames"])
    if not is_whole or shard["frames"].shape[1:] != (layout.D,) or space not in layout.SPACES:
        raise InputError(f"The shard {path.name} is not one of CTEG's; delete it and make it again.")
    return shard, space
