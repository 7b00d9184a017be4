"""Sealed files: each rating as an immutable file of its own, from which the database can be rebuilt.

    <folder>/<rater>/<time>-<random>.json     {"format": 1, "sha256": ..., "rows": [[table, {column: value}], ...]}
    <folder>/outbox/...                       the same: what was sent to the Hub, and what was withdrawn from it

A hosted app may lose its local disk at every restart and keep only a mounted bucket, on which no database can live. A
file is written once, under a name that nobody else chooses, before the rating is acknowledged; its hash tells a torn
file from a whole one. If the database fails after the file was written, the rater is asked to try again and a second
file follows; the latest one counts. One folder per rater makes deletion complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cteg.study import models

logger = logging.getLogger(__name__)

FORMAT = 1
OUTBOX = "outbox"
"""Folder of what belongs to no single rater."""

PLACES: dict[str, tuple[str, ...]] = {
    "clips": ("token",),
    "ratings": ("rater", "clip", "sequence"),
    "choices": ("rater", "run", "sequence"),
    "study_sittings": ("study", "rater"),
    "study_trials": ("token",),
    "study_votes": ("sitting", "place"),
    "study_events": ("sitting", "kind", "created"),
    "study_shards": ("id",),
    "study_shard_records": ("kind", "record"),
    "study_withdrawals": ("id",),
}
"""Sealed tables, in the order in which they refer to each other, with the columns that hold one row's place."""


class EventLog:
    """The folder of sealed files.

    Args:
        folder: Made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def seal(self, owner: str, moment: str, rows: list[tuple[sa.Table, dict[str, Any]]]) -> Path:
        """Write rows as one file that reached the disk, and return it.

        Args:
            owner: Whose rows they are: a rater's id, 32 hexadecimal digits, or `OUTBOX`.
            moment: Present time as it is stored, the beginning of the file's name.
            rows: Tables with their rows, complete.

        Raises:
            OSError: The file could not be written; what there is of it is removed.
        """
        named = [[table.name, row] for table, row in rows]
        content = {"format": FORMAT, "sha256": _hash(named), "rows": named}
        folder = self.folder / owner
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{moment.replace(':', '').replace('-', '')}-{secrets.token_hex(16)}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def restore(self, connection: sa.Connection) -> int:
        """Insert every sealed row whose place in the database is empty, and return how many."""
        found = self._read()
        count = 0
        for name, place in PLACES.items():
            table = models.metadata.tables[name]
            taken = {tuple(row) for row in connection.execute(sa.select(*(table.c[column] for column in place)))}
            missing = _with_parents(connection, name, [row for key, row in found[name].items() if key not in taken])
            if missing:
                connection.execute(table.insert(), missing)
            count += len(missing)
        trials, votes = models.study_trials, models.study_votes
        voted = sa.select(votes.c.created).where(votes.c.trial == trials.c.token).scalar_subquery()
        unclaimed = trials.c.claimed.is_(None) & voted.is_not(None)
        connection.execute(trials.update().where(unclaimed).values(claimed=voted))
        if count:
            logger.warning("%d rows were put back from the event log", count)
        return count

    def forget(self, rater: str) -> None:
        """Remove all files of a rater.

        Raises:
            OSError: They could not be removed.
        """
        if (self.folder / rater).exists():
            shutil.rmtree(self.folder / rater)

    def _read(self) -> dict[str, dict[tuple, dict]]:
        """Return the rows of all whole files by table and place; of several for one place the latest."""
        found: dict[str, dict[tuple, dict]] = defaultdict(dict)
        for path in sorted(self.folder.glob("*/*.json"), key=lambda path: path.name):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["format"] != FORMAT or content["sha256"] != _hash(content["rows"]):
                    raise ValueError("it is not as it was written")
                rows = [(name, _complete(name, row)) for name, row in content["rows"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.error("the sealed file %s was left out: %s", path, error)
                continue
            for name, row in rows:
                found[name][tuple(row[column] for column in PLACES[name])] = row
        return found


def _complete(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with all columns of its table: what an earlier version did not know gets its default.

    Raises:
        ValueError: A later version wrote the row, or it lacks what has no default.
    """
    if name not in PLACES:
        raise ValueError(f"this version knows no table {name!r}")
    columns = models.metadata.tables[name].columns
    if unknown := sorted(row.keys() - set(columns.keys())):
        raise ValueError(f"this version knows no column {unknown[0]!r} of {name}")
    numbered = {column.name for column in columns if column.autoincrement is True}  # the database numbers them anew
    return {c.name: row[c.name] if c.name in row else _default(c) for c in columns if c.name not in numbered}


def _default(column: sa.Column) -> Any:
    if column.server_default is not None:
        return column.type.python_type(column.server_default.arg)
    if column.nullable:
        return None
    raise ValueError(f"it lacks the column {column.name!r} of {column.table.name}")


def _with_parents(connection: sa.Connection, name: str, rows: list[dict]) -> list[dict]:
    """Return the rows whose parents are there: a sitting that was never acknowledged leaves orphans behind."""
    for key in models.metadata.tables[name].foreign_keys:
        present = set(connection.execute(sa.select(key.column)).scalars())
        rows = [row for row in rows if row[key.parent.name] in present]
    return rows


def _hash(rows: list) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
