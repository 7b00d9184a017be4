"""Copies of the ratings in a dataset on the Hugging Face Hub: an outbox of shards that is emptied when the Hub allows.

    data/<random id>.jsonl      one vote, play rating, choice or withdrawal per line, see `docs/study.md`

A shard is first noted in the database with the rows that it holds, then uploaded, then marked. Its name and content
follow from the note alone, so whatever interrupts an upload, sending it again gives the same file: each row is in the
dataset once. Taking ratings never waits for any of this. A rater who deletes rows that were sent leaves a withdrawal,
which tells users of the dataset to drop them; shards that are still under way are sent without them.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import threading
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cteg.errors import StudyError
from cteg.study import models
from cteg.study.ballot import read_votes, seconds_between
from cteg.study.event_log import OUTBOX
from cteg.study.models import pseudonym
from cteg.study.store import Store

logger = logging.getLogger(__name__)

ROWS = 500
"""Rows in a shard at most."""

INTERVAL = 300.0
"""Seconds between uploads while all goes well."""

FIRST_WAIT, LONGEST_WAIT = 15.0, 1800.0
"""Seconds to wait after a failure: doubled every time, up to the longest."""

TIMEOUT = 30.0
"""Seconds without an answer after which a request has failed."""

UNREADABLE = "The ratings cannot be read at the moment."
SHARDS, RECORDS = models.study_shards, models.study_shard_records
SOURCES = {
    "vote": models.study_votes,
    "rating": models.ratings,
    "choice": models.choices,
    "withdrawal": models.study_withdrawals,
}


class HubSync:
    """Sends ratings to a dataset.

    Args:
        store: Where they are.
        repository: `owner/name` of the dataset; made, private, if it does not exist.
        token: Allows to write to it.
        endpoint: Address of the Hub; the public one if not given.
    """

    def __init__(self, store: Store, repository: str, token: str, endpoint: str | None = None) -> None:
        self._store, self._repository, self._token, self._endpoint = store, repository, token, endpoint
        self._failures, self._problem = 0, ""
        self._retry_after = 0.0
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._thread: threading.Thread | None = None

    # -- one upload ----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Send the next shard and return whether there may be more; a failure is noted for `status`."""
        with self._busy:
            try:
                shard = self._next_shard()
                if shard is None:
                    return False
                lines = self._lines(shard)
                if lines or self._was_tried(shard):
                    self._note_attempt(shard)
                    self._upload(f"data/{shard}.jsonl", "".join(lines).encode())
                self._mark(shard)
            except StudyError as error:
                self._failures += 1
                self._problem = str(error)
                logger.warning("upload of ratings: %s", error)
                return False
            self._failures, self._problem, self._retry_after = 0, "", 0.0
            return True

    def flush(self) -> None:
        """Send all shards, until there is none or one fails."""
        while self.step():
            pass

    def wait(self) -> float:
        """Return the seconds until the next attempt: growing, and a little random, while the Hub refuses."""
        if not self._failures:
            return INTERVAL
        backed_off = min(FIRST_WAIT * 2 ** (self._failures - 1), LONGEST_WAIT)
        return max(backed_off * random.uniform(0.5, 1.0), self._retry_after)  # noqa: S311 - no secret

    def status(self) -> dict[str, Any]:
        """Return `pending` rows, the age of the oldest as `lag_seconds`, `failures` in a row and the last `problem`."""
        oldest, pending = None, 0
        with self._store.database.begin(UNREADABLE) as connection:
            for kind, table in SOURCES.items():
                count, first = connection.execute(
                    sa.select(sa.func.count(), sa.func.min(table.c.created)).where(_unsent(kind, table))
                ).one()
                pending += count
                oldest = min(filter(None, (oldest, first)), default=None)
        lag = seconds_between(oldest, self._store.database.now()) if oldest else 0.0
        return {"pending": pending, "lag_seconds": round(lag), "failures": self._failures, "problem": self._problem}

    # -- in the background ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send in the background."""
        self._thread = threading.Thread(target=self._run, name="hub-sync", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 8.0) -> None:
        """Stop, sending once more what is left; gives up after `timeout` seconds, and the next start goes on."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.flush()
            self._stop.wait(self.wait())
        self.flush()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _next_shard(self) -> str | None:
        """Return the oldest shard that is not sent, or a new one with rows that are in none; None without rows."""
        try:
            with self._store.database.begin(UNREADABLE) as connection:
                waiting = sa.select(SHARDS.c.id).where(SHARDS.c.uploaded.is_(None)).order_by(SHARDS.c.created)
                found = connection.execute(waiting.limit(1)).scalar()
                if found is not None:
                    return found
                shard = {"id": secrets.token_hex(16), "created": self._store.database.now(), "attempts": 0}
                records: list[dict[str, str]] = []
                for kind, table in SOURCES.items():
                    query = sa.select(table.c.id).where(_in_no_shard(kind, table)).order_by(table.c.created)
                    rows = connection.execute(query.limit(ROWS - len(records))).scalars()
                    records += [{"kind": kind, "record": row, "shard": shard["id"]} for row in rows]
                if not records:
                    return None
                connection.execute(SHARDS.insert(), shard)
                connection.execute(RECORDS.insert(), records)
                return str(shard["id"])
        except IntegrityError as error:  # another server took the same rows
            raise StudyError("Another server is sending the same ratings.") from error

    def _lines(self, shard: str) -> list[str]:
        """Return the rows of a shard that still exist, as lines of JSON in a fixed order."""
        with self._store.database.begin(UNREADABLE) as connection:
            query = sa.select(RECORDS.c.kind, RECORDS.c.record).where(RECORDS.c.shard == shard)
            wanted = {(row.kind, row.record) for row in connection.execute(query)}
            withdrawn = list(connection.execute(sa.select(models.study_withdrawals)).mappings())
        rows = [{"type": "vote", **asdict(vote)} for vote in read_votes(self._store)]
        for kind, events in (("rating", self._store.events()), ("choice", self._store.choice_events())):
            rows += [{"type": kind, **asdict(event), "rater": pseudonym(event.rater)} for event in events]
        rows += [{"type": "withdrawal", **row} for row in withdrawn]
        mine = [row for row in rows if (row["type"], row["id"]) in wanted]
        return [json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in sorted(mine, key=_order)]

    def _was_tried(self, shard: str) -> bool:
        with self._store.database.begin(UNREADABLE) as connection:
            return bool(connection.execute(sa.select(SHARDS.c.attempts).where(SHARDS.c.id == shard)).scalar())

    def _note_attempt(self, shard: str) -> None:
        """Note that the shard may be outside from now on."""
        with self._store.database.begin(UNREADABLE) as connection:
            tried = {"attempts": SHARDS.c.attempts + 1}
            connection.execute(SHARDS.update().where(SHARDS.c.id == shard).values(**tried))
            if connection.execute(sa.select(SHARDS.c.attempts).where(SHARDS.c.id == shard)).scalar() == 1:
                self._seal(connection, shard)

    def _mark(self, shard: str) -> None:
        with self._store.database.begin(UNREADABLE) as connection:
            done = {"uploaded": self._store.database.now()}
            connection.execute(SHARDS.update().where(SHARDS.c.id == shard).values(**done))
            self._seal(connection, shard)

    def _seal(self, connection: sa.Connection, shard: str) -> None:
        """Seal what is known of a shard: a database that is rebuilt must not send its rows again in another one."""
        note = connection.execute(sa.select(SHARDS).where(SHARDS.c.id == shard)).mappings().one()
        records = connection.execute(sa.select(RECORDS).where(RECORDS.c.shard == shard)).mappings()
        rows = [(SHARDS, dict(note)), *((RECORDS, dict(record)) for record in records)]
        self._store.database.seal(OUTBOX, rows)

    def _upload(self, path: str, content: bytes) -> None:
        """Write one file to the dataset; the dataset is made where it is missing.

        Raises:
            StudyError: It was not written, or nobody knows; the sentence names no token.
        """
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
        from huggingface_hub.utils import get_session

        get_session().timeout = TIMEOUT  # its own default waits for ever; it tries a request a few times by itself
        api = HfApi(endpoint=self._endpoint, token=self._token)

        def commit() -> None:
            operation = CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
            api.create_commit(self._repository, [operation], commit_message="Add ratings", repo_type="dataset")

        try:
            try:
                commit()
            except RepositoryNotFoundError:
                api.create_repo(self._repository, repo_type="dataset", private=True, exist_ok=True)
                commit()
        except HfHubHTTPError as error:
            status = error.response.status_code
            self._retry_after = _retry_after(error.response.headers.get("retry-after"))
            raise StudyError(f"The Hub answered {status} ({_MEANING.get(status, 'an error of its own')}).") from error
        except HFValidationError as error:
            raise StudyError("CTEG_RATINGS_REPO is no name of a dataset; it has the form owner/name.") from error
        except Exception as error:  # no network, no name, no answer in time, or none of the Hub's: of many kinds
            raise StudyError(f"The Hub could not be reached ({type(error).__name__}).") from error


_MEANING = {
    401: "the token is missing or wrong",
    403: "the token may not write there",
    404: "there is no such dataset and it could not be made",
    429: "too many requests",
}


def _retry_after(header: str | None) -> float:
    """Return the seconds that the Hub asks to wait, at most the longest wait."""
    return min(float(header), LONGEST_WAIT) if header and header.isdigit() else 0.0


def _order(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["type"], row["created"], row["id"]


def _in_no_shard(kind: str, table: sa.Table) -> sa.ColumnElement[bool]:
    return ~sa.exists().where((RECORDS.c.kind == kind) & (RECORDS.c.record == table.c.id))


def _unsent(kind: str, table: sa.Table) -> sa.ColumnElement[bool]:
    """Rows that are in no shard, or in one that is not marked as sent."""
    sent = (RECORDS.c.kind == kind) & (RECORDS.c.record == table.c.id) & SHARDS.c.uploaded.is_not(None)
    return ~sa.exists().where(sent & (SHARDS.c.id == RECORDS.c.shard))
