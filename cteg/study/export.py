"""Ratings out: CSV, JSON lines and Parquet with one schema, raters by pseudonym.

Cells that a spreadsheet would run as a formula get an apostrophe in front in the CSV; the other formats hold the text
as it is.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from cteg.errors import InputError
from cteg.study.ballot import read_votes
from cteg.study.measured import need
from cteg.study.models import Choice, Rating, Vote, pseudonym
from cteg.study.store import Store

FORMULA = ("=", "+", "-", "@", "\t", "\r")
TYPES = {str: "string", int: "integer", float: "number"}


def export(store: Store, out: Path) -> list[Path]:
    """Write all votes of the study, all play ratings and all choices of a best face, and return the files.

    Raises:
        InputError: The folder cannot be written.
        StudyError: The ratings cannot be read, or a package is missing.
    """
    votes = [dataclasses.asdict(vote) for vote in read_votes(store)]
    ratings, choices = (
        [dataclasses.asdict(event) | {"rater": pseudonym(event.rater)} for event in events]
        for events in (store.events(), store.choice_events())
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = []
        kinds = {"votes": (votes, Vote), "ratings": (ratings, Rating), "choices": (choices, Choice)}
        for name, (rows, kind) in kinds.items():
            written += _write(rows, kind, out / name)
        schema = out / "schema.json"
        values = {name: describe(kind) for name, (_, kind) in kinds.items()}
        schema.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write to the folder {out}: {error.strerror}.") from error
    return [*written, schema]


def describe(kind: type) -> list[dict[str, Any]]:
    """Return name, type, whether it may be missing, and meaning of every column."""
    hints, meanings = get_type_hints(kind), _meanings(kind)
    columns = []
    for field in dataclasses.fields(kind):
        options = get_args(hints[field.name]) or (hints[field.name],)
        base = next(option for option in options if option is not type(None))
        columns.append(
            {
                "name": field.name,
                "type": TYPES[base],
                "optional": type(None) in options,
                "meaning": meanings.get(field.name, ""),
            }
        )
    return columns


def _meanings(kind: type) -> dict[str, str]:
    """Read what the docstrings of a class and its bases say of every attribute."""
    sections = [(base.__doc__ or "").partition("Attributes:")[2] for base in kind.__mro__]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", "\n".join(sections), re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).strip() for name, text in found}


def _write(rows: Sequence[dict[str, Any]], kind: type, stem: Path) -> list[Path]:
    columns = [field.name for field in dataclasses.fields(kind)]
    paths = [stem.with_suffix(ending) for ending in (".csv", ".jsonl", ".parquet")]
    with paths[0].open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_safe(row[column]) for column in columns] for row in rows)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    paths[1].write_text("".join(lines), encoding="utf-8")
    _write_parquet(rows, kind, paths[2])
    return paths


def _write_parquet(rows: Sequence[dict[str, Any]], kind: type, path: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise need("pyarrow") from error
    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    fields = [
        pa.field(column["name"], types[column["type"]], column["optional"], {"meaning": column["meaning"]})
        for column in describe(kind)
    ]
    parquet.write_table(pa.Table.from_pylist(list(rows), pa.schema(fields)), path)


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
