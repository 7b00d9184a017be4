"""Prepare the sentences of the corpus: clean GoEmotions, XED and our own, split them, write one tidy format.

    python -m training.prepare --goemotions DIR --xed DIR --out corpus/text
    python -m training.prepare --hub --out corpus/text

writes `train.jsonl`, `dev.jsonl`, `test.jsonl` with one object per line, and `meta.json`:
`{"text": str, "source": "goemotions" | "xed" | "own", "labels": {name: weight, ...}}` (weights sum to 1).

No text is in two splits: GoEmotions keeps its published ones (test before dev before train where it repeats itself),
XED goes to train but for a small part chosen by a hash of the text, and our own sentences
(`training/tables/sentences.tsv`: what people type into a demo, which comments and subtitles are not) are shared among
all three in the same way. XED's eight Plutchik labels become weights over the 28 GoEmotions labels by
`training/tables/xed_labels.tsv`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cteg.errors import InputError
from training.common import plain_errors
from training.performance.clean import clean, normalised
from training.performance.hub import fetch
from training.performance.labels import LABELS, SEVEN_OF

SPLITS = ("test", "dev", "train")
"""Order of precedence: a text found in an earlier split is left out of the later ones."""

XED_DEV_SHARE = 0.04
OWN_HELD_OUT_SHARE = 0.08
"""Part of our own sentences in dev, and again in test."""

TABLES = Path(__file__).parent / "tables"
SOURCES = {
    "goemotions": {
        "licence": "CC BY 4.0",
        "citation": "Demszky, Movshovitz-Attias, Ko, Cowen, Nemade, Ravi: GoEmotions: A Dataset of Fine-Grained "
        "Emotions. ACL 2020.",
        "url": "https://github.com/google-research/google-research/tree/master/goemotions",
    },
    "xed": {
        "licence": "CC BY 4.0",
        "citation": "Öhman, Pàmies, Kajava, Tiedemann: XED: A Multilingual Dataset for Sentiment Analysis and Emotion "
        "Detection. COLING 2020.",
        "url": "https://github.com/Helsinki-NLP/XED",
    },
    "own": {
        "licence": "CC0 1.0",
        "citation": "Sentences written for this project, training/tables/sentences.tsv.",
        "url": "",
    },
}


@dataclass(frozen=True)
class Sentence:
    """One cleaned sentence.

    Attributes:
        text: What is said.
        source: Key of `SOURCES`.
        labels: Weight of each label; they sum to 1.
    """

    text: str
    source: str
    labels: dict[str, float]


Row = tuple[str, dict[str, float]]
"""A raw text and its label weights."""


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file.

    Raises:
        InputError: the file is missing or not UTF-8 text.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path.name} in {path.parent}.")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path.name} in {path.parent} is not readable text.") from error


def fields_of(line: str, path: Path, number: int, least: int = 2) -> list[str]:
    """Split a tab-separated line, or raise `InputError` naming file and line."""
    fields = line.split("\t")
    if len(fields) < least:
        raise InputError(f"Line {number} of {path.name} should hold {least} tab-separated fields, got {len(fields)}.")
    return fields


def label_ids(field: str, highest: int, path: Path, number: int) -> list[int]:
    """Read comma-separated label ids 0...highest, or raise `InputError` naming file and line."""
    try:
        ids = [int(part) for part in field.split(",")]
    except ValueError as error:
        raise InputError(f"Line {number} of {path.name} has no label ids but {field[:40]!r}.") from error
    if not ids or min(ids) < 0 or max(ids) > highest:
        raise InputError(f"Line {number} of {path.name} has label ids {field}, expected 0 to {highest}.")
    return ids


def mean_labels(rows: list[dict[str, float]]) -> dict[str, float]:
    """Average label weights over several rows, so that they sum to 1 again; in the order of `LABELS`."""
    total: Counter[str] = Counter()
    for labels in rows:
        total.update(labels)
    return {name: round(total[name] / len(rows), 4) for name in LABELS if total[name] > 0}


def read_goemotions(folder: Path) -> dict[str, list[Row]]:
    """Read the published train, dev and test TSV files: text, comma-separated label ids, comment id."""
    if not folder.is_dir():
        raise InputError(f"There is no GoEmotions folder {folder}.")
    splits: dict[str, list[Row]] = {}
    for split in SPLITS:
        path = folder / f"{split}.tsv"
        splits[split] = []
        for number, line in enumerate(read_lines(path), 1):
            fields = fields_of(line, path, number)
            ids = label_ids(fields[1], len(LABELS) - 1, path, number)
            splits[split].append((fields[0], mean_labels([{LABELS[i]: 1.0} for i in ids])))
    return splits


def read_xed_table(path: Path = TABLES / "xed_labels.tsv") -> dict[int, dict[str, float]]:
    """Read the shares of GoEmotions labels in each Plutchik label id (0 = neutral)."""
    table: dict[int, dict[str, float]] = {}
    lines = [line for line in read_lines(path) if not line.startswith("#")]
    for row in csv.DictReader(lines, delimiter="\t"):
        table.setdefault(int(row["xed_id"]), {})[row["label"]] = float(row["share"])
    return table


def read_xed(folder: Path) -> list[Row]:
    """Read `en-annotated.tsv` (text, ids 1-8) and `neu_en.txt` (id, text; all neutral)."""
    if not folder.is_dir():
        raise InputError(f"There is no XED folder {folder}.")
    table = read_xed_table()
    rows: list[Row] = []
    path = folder / "en-annotated.tsv"
    for number, line in enumerate(read_lines(path), 1):
        fields = fields_of(line, path, number)
        ids = label_ids(fields[1], max(table), path, number)
        rows.append((fields[0], mean_labels([table[i] for i in ids])))
    path = folder / "neu_en.txt"
    for number, line in enumerate(read_lines(path), 1):
        rows.append((fields_of(line, path, number)[1], table[0]))
    return rows


def read_own(path: Path = TABLES / "sentences.tsv") -> list[Row]:
    """Read our own sentences: text, then one to three label names from the strongest; n labels weigh n, ..., 1.

    Raises:
        InputError: the file is missing, or a line has no text or an unknown label; the message names the line.
    """
    rows: list[Row] = []
    for number, line in enumerate(read_lines(path)[1:], 2):
        text, field = fields_of(line, path, number)[:2]
        names = field.split(",")
        if unknown := [name for name in names if name not in LABELS]:
            raise InputError(f"Line {number} of {path.name} has the unknown label {unknown[0]!r}.")
        total = len(names) * (len(names) + 1) / 2
        rows.append((text, {name: (len(names) - rank) / total for rank, name in enumerate(names)}))
    return rows


def split_of(key: str, dev: float, test: float = 0.0) -> str:
    """Assign a text to a split by a hash of its key, the same on every machine; `dev` and `test` are shares."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return "dev" if place < dev else "test" if place < dev + test else "train"


def merge(rows: list[Row], source: str, taken: set[str]) -> tuple[list[Sentence], Counter[str]]:
    """Clean rows, join repeated texts by averaging their labels, leave out texts that are taken already.

    The key of a text still holds its mask in place of a name, so one template cannot enter two splits under two names.

    Args:
        rows: Raw texts with labels.
        source: Key of `SOURCES`.
        taken: Keys of texts in use; the new ones are added.

    Returns:
        The sentences in order of appearance, and how many rows were dropped for which reason.
    """
    texts: dict[str, str] = {}
    labels: dict[str, list[dict[str, float]]] = {}
    dropped: Counter[str] = Counter()
    for raw, weights in rows:
        text = clean(raw)
        key = normalised(raw)
        if text is None:
            dropped["not a sentence"] += 1
        elif key in taken or normalised(text) in taken:
            dropped["in another split or source"] += 1
        else:
            dropped["repeated"] += key in labels
            texts.setdefault(key, text)
            labels.setdefault(key, []).append(weights)
    sentences: dict[str, Sentence] = {}
    for key, text in texts.items():
        sentences.setdefault(normalised(text), Sentence(text, source, mean_labels(labels[key])))
        taken.update((key, normalised(text)))
    return list(sentences.values()), dropped


def build(
    goemotions: dict[str, list[Row]], xed: list[Row], own: list[Row]
) -> tuple[dict[str, list[Sentence]], dict[str, object]]:
    """Clean and split the sources; returns the sentences per split and the numbers for `meta.json`."""
    taken: set[str] = set()
    splits: dict[str, list[Sentence]] = {}
    dropped: Counter[str] = Counter()
    for split in SPLITS:
        splits[split], lost = merge(goemotions[split], "goemotions", taken)
        dropped.update({f"goemotions {split}: {reason}": count for reason, count in lost.items()})
    for source, rows, shares in (("xed", xed, (XED_DEV_SHARE,)), ("own", own, (OWN_HELD_OUT_SHARE,) * 2)):
        sentences, lost = merge(rows, source, taken)
        dropped.update({f"{source}: {reason}": count for reason, count in lost.items()})
        for sentence in sentences:
            splits[split_of(normalised(sentence.text), *shares)].append(sentence)
    counts = {split: count_labels(rows) for split, rows in splits.items()}
    meta = {"labels": list(LABELS), "counts": counts, "dropped": dict(sorted(dropped.items())), "sources": SOURCES}
    return splits, meta


def count_labels(sentences: list[Sentence]) -> dict[str, object]:
    """Count sentences per source and, by the label of most weight, per group of seven."""
    leading = Counter(SEVEN_OF[max(s.labels, key=s.labels.__getitem__)] for s in sentences)
    return {
        "sentences": len(sentences),
        "per_source": dict(Counter(s.source for s in sentences)),
        "per_leading_seven": dict(leading.most_common()),
    }


def write(splits: dict[str, list[Sentence]], meta: dict[str, object], out: Path) -> None:
    """Write the splits and `meta.json`; each file appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    for split, sentences in splits.items():
        lines = (json.dumps(vars(sentence), ensure_ascii=False) for sentence in sentences)
        replace(out / f"{split}.jsonl", "\n".join(lines) + "\n")
    replace(out / "meta.json", json.dumps(meta, ensure_ascii=False, indent=2) + "\n")


def replace(path: Path, content: str) -> None:
    """Write a text file under a temporary name, then move it."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(content, encoding="utf-8")
    part.replace(path)


@plain_errors
def main(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    goemotions: Annotated[Path | None, typer.Option(help="GoEmotions folder: train.tsv, dev.tsv, test.tsv.")] = None,
    xed: Annotated[Path | None, typer.Option(help="XED folder: en-annotated.tsv, neu_en.txt.")] = None,
    own: Annotated[Path, typer.Option(help="Our own sentences, or others in that form.")] = TABLES / "sentences.tsv",
    hub: Annotated[bool, typer.Option("--hub", help="Fetch both from the Hugging Face Hub first.")] = False,
) -> None:
    """Clean GoEmotions, XED and our own sentences, split them, write train.jsonl, dev.jsonl, test.jsonl, meta.json."""
    if hub:
        goemotions, xed = fetch(out / "raw")
    if goemotions is None or xed is None:
        raise InputError("Give both --goemotions DIR and --xed DIR, or --hub.")
    splits, meta = build(read_goemotions(goemotions), read_xed(xed), read_own(own))
    write(splits, meta, out)
    for split in SPLITS:
        typer.echo(f"{split}: {meta['counts'][split]['sentences']} sentences")


if __name__ == "__main__":
    typer.run(main)
