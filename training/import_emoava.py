"""Bring EmoAva into the training format: `python -m training.import_emoava FOLDER OUT`.

FOLDER holds the authors' files: `{train,dev,test}_stage1_text.pkl` (a list of sentences),
`{train,dev,test}_stage1_exps.pkl` (a list of arrays (T, 53)), `stage1_mean.npy` and `stage1_std.npy`. The pickles are
read without running anything of them (`training.unpickle`). OUT becomes a corpus of the `flame` space without feelings
for `training.train --config emoava` and `training.evaluate`. A table compares what was found with what is published.

`--bert` also brings the text encoder, a BERT as the paper uses it (bert-base-cased), into OUT/text_encoder.

References: Xu et al. 2025 (EmoAva); Devlin et al. 2019 (BERT).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from cteg import layout
from cteg.errors import InputError
from training.common import plain_errors
from training.performance.store import load_performances, write_shard
from training.unpickle import read_pickle

SPLITS = ("train", "dev", "test")
SHARD = 2000
"""Clips in a shard: some 22 MB."""

PUBLISHED: dict[str, str] = {
    "clips, train": "12,000",
    "clips, dev": "1,500",
    "clips, test": "1,500",
    "frames": "782,471",
    "frames of a clip, mean": "52",
    "frames of a clip, median": "34 to 36",
    "frames of a clip, most": "551",
    "words of a text, mean": "8.2",
    "words of a text, median": "6",
    "words of a text, most": "66",
    "texts with several clips": "2,270",
    "clips of one text, most": "76",
    "norm of a frame, least": "3.58",
    "norm of a frame, mean": "8.42",
    "norm of a frame, most": "27",
}
"""What is known of EmoAva, from the paper and its data card."""


@dataclass(frozen=True)
class Split:
    """Pairs of a split: P sentences, and as many clips (T, 53) float32."""

    texts: list[str]
    clips: list[NDArray[np.float32]]


# -- reading -----------------------------------------------------------------------------------------------------------


def read_split(folder: Path, split: str) -> Split:
    """Read and check both files of a split.

    Raises:
        InputError: A file is missing, damaged, harmful, or not what its name says.
    """
    names = {kind: f"{split}_stage1_{kind}.pkl" for kind in ("text", "exps")}
    for name in names.values():
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}.")
    texts, clips = (read_pickle(folder / name) for name in names.values())
    for name, content in zip(names.values(), (texts, clips), strict=True):
        if not isinstance(content, list) or not content:
            raise InputError(f"{name} holds no list of sentences or clips.")
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{names['text']} holds other things than sentences; was it swapped with {names['exps']}?")
    if not all(isinstance(clip, np.ndarray) for clip in clips):
        raise InputError(f"{names['exps']} holds other things than arrays; was it swapped with {names['text']}?")
    if len(texts) != len(clips):
        raise InputError(
            f"{names['text']} has {len(texts)} sentences but {names['exps']} {len(clips)} clips; they must be pairs."
        )
    texts = [_as_unicode(text).strip() for text in texts]
    if not all(texts):
        raise InputError(f"{names['text']}: sentence {texts.index('')} is empty.")
    return Split(texts, [_checked(clip, f"{names['exps']}: clip {index}") for index, clip in enumerate(clips)])


def _as_unicode(text: str) -> str:
    """Read bytes of a Python 2 string, which unpickling takes for Latin-1, as UTF-8 where they are that."""
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text


def _checked(clip: NDArray, name: str) -> NDArray[np.float32]:
    if clip.ndim != 2 or clip.shape[1] != layout.D or not len(clip):
        raise InputError(f"{name} has the shape {clip.shape}, expected (frames, {layout.D}).")
    if clip.dtype.kind != "f" or not np.isfinite(clip).all():
        raise InputError(f"{name} holds NaN, infinity or other things than decimal numbers.")
    return clip.astype(np.float32)


def check_splits(splits: dict[str, Split]) -> None:
    """Refuse splits whose sizes say that files were swapped.

    Raises:
        InputError: The training split is not the largest, or a split occurs twice.
    """
    sizes = {name: len(split.texts) for name, split in splits.items()}
    if sizes["train"] <= max(sizes["dev"], sizes["test"]):
        said = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        raise InputError(f"The training split must be the largest, but there are {said} clips; were files swapped?")
    first, second = splits["dev"], splits["test"]
    if first.texts == second.texts and all(map(np.array_equal, first.clips, second.clips)):
        raise InputError("dev and test hold the same clips; one file was copied over the other.")


def check_statistics(folder: Path, frames: NDArray[np.float32]) -> None:
    """Check that `stage1_mean.npy` and `stage1_std.npy` belong to the training frames (F, 53).

    Raises:
        InputError: A file is missing, damaged, or far from what the frames say.
    """
    found = {}
    for name in ("stage1_mean.npy", "stage1_std.npy"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}.")
        try:
            values = np.load(folder / name, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{name} is damaged or not an array of numbers.") from error
        if values.size != layout.D or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise InputError(f"{name} is not an array of {layout.D} finite numbers.")
        found[name] = values.astype(np.float64).reshape(layout.D)
    mean, std = found.values()
    own_mean, own_std = frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)
    # Wide limits: the authors may have averaged over clips instead of frames.
    if (np.abs(mean - own_mean) > own_std / 2 + 1e-6).any():
        raise InputError("stage1_mean.npy is not near the mean of the training frames; was it swapped or cut?")
    if (std < own_std / 2).any() or (std > 2 * own_std + 1e-6).any():
        raise InputError("stage1_std.npy is not near the standard deviation of the training frames; was it swapped?")


# -- statistics --------------------------------------------------------------------------------------------------------


def statistics(splits: dict[str, Split]) -> dict[str, str]:
    """What is published of EmoAva, counted in the files: by the names of `PUBLISHED`, as printed."""
    texts = [text for split in splits.values() for text in split.texts]
    clips = [clip for split in splits.values() for clip in split.clips]
    lengths, words = [len(clip) for clip in clips], [len(text.split()) for text in texts]
    repeats = Counter(texts).values()
    norms = np.concatenate([np.linalg.norm(clip, axis=1) for clip in clips])
    return {
        **{f"clips, {name}": f"{len(split.clips):,}" for name, split in splits.items()},
        "frames": f"{sum(lengths):,}",
        "frames of a clip, mean": f"{np.mean(lengths):.1f}",
        "frames of a clip, median": f"{np.median(lengths):g}",
        "frames of a clip, most": f"{max(lengths)}",
        "words of a text, mean": f"{np.mean(words):.1f}",
        "words of a text, median": f"{np.median(words):g}",
        "words of a text, most": f"{max(words)}",
        "texts with several clips": f"{sum(count > 1 for count in repeats):,}",
        "clips of one text, most": f"{max(repeats)}",
        "norm of a frame, least": f"{norms.min():.2f}",
        "norm of a frame, mean": f"{norms.mean():.2f}",
        "norm of a frame, most": f"{norms.max():.1f}",
    }


# -- writing -----------------------------------------------------------------------------------------------------------


def write_split(out: Path, name: str, split: Split) -> None:
    """Write a split; each sentence once, with all its clips."""
    sentences = list(dict.fromkeys(split.texts))
    index = {text: number for number, text in enumerate(sentences)}
    for number, start in enumerate(range(0, len(split.clips), SHARD)):
        part = slice(start, start + SHARD)
        facts = [(index[text],) for text in split.texts[part]]
        write_shard(out / f"{name}-{number:03d}.safetensors", split.clips[part], facts, "flame")
    lines = [json.dumps({"text": text, "source": "emoava"}, ensure_ascii=False) for text in sentences]
    (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def describe(out: Path, name: str) -> dict[str, Any]:
    """Count what a written split holds."""
    found = load_performances(out, name)
    return {"sentences": len(found.texts), "performances": len(found), "frames": len(found.frames)}


@plain_errors
def main(
    folder: Annotated[Path, typer.Argument(help="folder with the authors' files")],
    out: Annotated[Path, typer.Argument(help="folder to write")],
    bert: Annotated[
        str | None, typer.Option(help="folder or Hub id of bert-base-cased; makes OUT/text_encoder")
    ] = None,
) -> None:
    """Check EmoAva's files, compare them with the publication, and write the training format."""
    if out.is_dir() and any(out.glob("*.safetensors")):
        raise InputError(f"{out} holds a corpus already; choose another folder.")
    splits = {name: read_split(folder, name) for name in SPLITS}
    check_splits(splits)
    check_statistics(folder, np.concatenate(splits["train"].clips))
    typer.echo(f"{'':28} {'found':>12} {'published':>12}")
    for name, value in statistics(splits).items():
        typer.echo(f"{name:28} {value:>12} {PUBLISHED[name]:>12}")
    out.mkdir(parents=True, exist_ok=True)
    if bert is not None:
        from training.bert import import_bert

        import_bert(bert, out / "text_encoder")
    for name, split in splits.items():
        write_split(out, name, split)
    meta = {
        "source": "EmoAva (Xu et al. 2025)",
        "space": "flame",
        "counts": {name: describe(out, name) for name in SPLITS},
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{out} holds EmoAva for training.train --config emoava. Neither may be passed on.")


if __name__ == "__main__":
    typer.run(main)
