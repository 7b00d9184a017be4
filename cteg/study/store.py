"""The ratings store: who rated which clip how, kept in any SQL database.

A clip that is shown gets an unguessable token, bound to the rater it was made for; a rating is accepted only for such a
token and such a rater. Each call is one transaction, so a rating is stored whole or not at all, and a call that returns
has been written to disk. SQLite runs in WAL mode with full synchronisation; writers take the lock at the start of their
transaction, so concurrent writers queue instead of failing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from cteg.clip import Clip
from cteg.errors import InputError, StudyError
from cteg.settings import Settings
from cteg.study import models
from cteg.study.models import Rating, Receipt

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""How long a writer waits for another one before it gives up."""

NOT_SAVED = "Not saved, please try again."
SQLITE_DAMAGE = ("file is not a database", "malformed", "disk image", "file is encrypted")
IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class Store:
    """Ratings in a database; connects on first use and again after a failure.

    Args:
        settings: Names the database and the data folder.
        app_version: Stored with every row.
        clock: Gives the present time; handed in so that tests can set it.
    """

    def __init__(
        self, settings: Settings, app_version: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._app_version = app_version
        self._clock = clock
        self._engine: sa.Engine | None = None
        self._refusal: str | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """Make sure that ratings can be written.

        Raises:
            StudyError: They cannot; the message says why and what happens to ratings.
        """
        with self._begin("Ratings are off: the ratings database cannot be reached.") as connection:
            connection.execute(sa.select(models.schema_versions.c.version)).first()

    def register(self, rater: str, clips: Sequence[Clip], mode: str = "play") -> list[str]:
        """Record the clips of one request as shown to `rater`, in this order.

        The sentence itself is not stored, only its hash: it is kept with a rating where the rater agrees.

        Args:
            rater: Random id of the browser, 32 hexadecimal digits.
            clips: The clips of one request.
            mode: `play` or `study`.

        Returns:
            One unguessable token per clip, the key to rate it.

        Raises:
            InputError: `rater` is not such an id.
            StudyError: The clips could not be stored.
        """
        check_identifier(rater, "rater")
        run, created = secrets.token_hex(16), self._now()
        rows = [
            {
                "token": secrets.token_urlsafe(24),
                "rater": rater,
                "mode": mode,
                "run": run,
                "sample": sample,
                "position": sample,
                "weights": clip.weights,
                "text_sha256": text_hash(clip.text),
                "seed": clip.seed,
                "temperature": float(clip.temperature),
                "frames": len(clip),
                "app_version": self._app_version,
                "created": created,
            }
            for sample, clip in enumerate(clips)
        ]
        with self._begin("Ratings are off for these faces: they could not be recorded.") as connection:
            connection.execute(models.clips.insert(), rows)
        return [row["token"] for row in rows]

    def rate(
        self, token: str, rater: str, score: int | None, rating: str = "", text: str = "", head: str = ""
    ) -> Receipt:
        """Store one score, or None to withdraw it.

        Sending the same rating again stores nothing new: neither the same event id nor the score that already stands.

        Args:
            token: Token of the clip, from `register`.
            rater: The rater that the clip was made for.
            score: 1 ... 5, or None to withdraw the rating.
            rating: Random id of this event, 32 hexadecimal digits; made here if empty.
            text: The sentence, if the rater agreed to keep it; must be the clip's own.
            head: Name of the head that shows the clip, at most 80 characters.

        Raises:
            InputError: An argument is malformed.
            StudyError: The clip is unknown or belongs to someone else, or the score could not be stored.
        """
        check_identifier(rater, "rater")
        check_identifier(rating or "0" * 32, "rating")
        check_score(score)
        if not isinstance(token, str) or not isinstance(text, str):
            raise InputError("A rating needs the token of its clip and a text.")
        if not isinstance(head, str) or len(head) > 80:
            raise InputError("A rating needs the name of a head, of at most 80 characters.")
        event = {"id": rating or secrets.token_hex(16), "clip": token, "rater": rater, "score": score}
        for _ in range(3):  # on a server database two first scores can collide on their sequence number
            try:
                with self._begin(NOT_SAVED) as connection:
                    return self._append(connection, {**event, "text": text or None, "head": head})
            except IntegrityError:
                logger.info("two ratings of one clip met, trying again")
        raise StudyError(NOT_SAVED)

    def ratings(self) -> list[Rating]:
        """Return the present ratings: the latest score of each rater for each clip, without withdrawn ones."""
        latest: dict[tuple[str, str, int], Rating] = {}
        for event in self.events():
            latest[event.rater, event.run, event.sample] = event  # events come in order of their sequence
        return [rating for rating in latest.values() if rating.score is not None]

    def events(self) -> list[Rating]:
        """Return every rating event, changes and withdrawals included, each clip's in their order."""
        event, clip = models.ratings.c, models.clips.c
        fields = (
            event.id,
            event.rater,
            event.mode,
            event.sequence,
            event.score,
            event.text,
            event.head,
            clip.text_sha256,
        )
        identity = (clip.weights, clip.seed, clip.temperature, clip.run, clip.sample, clip.position, clip.frames)
        query = (
            sa.select(*fields, *identity, event.app_version, event.created)
            .join(models.clips, clip.token == event.clip)
            .order_by(clip.created, clip.run, clip.sample, event.sequence)
        )
        with self._begin("The ratings cannot be read at the moment.") as connection:
            return [Rating(**row) for row in connection.execute(query).mappings()]

    def forget(self, rater: str) -> int:
        """Delete everything that was stored about a rater and return the number of rating events deleted."""
        check_identifier(rater, "rater")
        with self._begin("The ratings could not be deleted, please try again.") as connection:
            gone = connection.execute(models.ratings.delete().where(models.ratings.c.rater == rater)).rowcount
            connection.execute(models.clips.delete().where(models.clips.c.rater == rater))
        return gone

    def close(self) -> None:
        """Close all connections; the next call opens the database again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _append(self, connection: sa.Connection, event: dict) -> Receipt:
        """Add `event` after the rater's latest one, unless it says nothing new."""
        clip = connection.execute(sa.select(models.clips).where(models.clips.c.token == event["clip"])).first()
        if clip is None or clip.rater != event["rater"]:
            raise StudyError("This face cannot be rated from here: it was made for another page. Please generate anew.")
        if event["text"] is not None and text_hash(event["text"]) != clip.text_sha256:
            raise InputError("The sentence does not belong to this face.")
        table = models.ratings
        sent = connection.execute(sa.select(table).where(table.c.id == event["id"])).first()
        if sent is not None:
            if (sent.clip, sent.rater, sent.score) != (event["clip"], event["rater"], event["score"]):
                raise InputError("This rating id has been used for another rating.")
            return Receipt(sent.id, sent.sequence, sent.score)
        same_clip = (table.c.clip == event["clip"]) & (table.c.rater == event["rater"])
        latest = connection.execute(
            sa.select(table).where(same_clip).order_by(table.c.sequence.desc()).limit(1)
        ).first()
        if latest is not None and (latest.score, latest.text) == (event["score"], event["text"]):
            return Receipt(latest.id, latest.sequence, latest.score)
        sequence = 1 if latest is None else latest.sequence + 1
        stamp = {"mode": clip.mode, "sequence": sequence, "app_version": self._app_version, "created": self._now()}
        connection.execute(table.insert(), {**event, **stamp})
        return Receipt(event["id"], sequence, event["score"])

    @contextmanager
    def _begin(self, refusal: str) -> Iterator[sa.Connection]:
        """Open a transaction; turn any failure of the database into a `StudyError` with the sentence `refusal`."""
        try:
            with self._connected().begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except (SQLAlchemyError, OSError) as error:
            logger.error("ratings database: %s", error)
            raise StudyError(refusal) from error

    def _connected(self) -> sa.Engine:
        """Return the engine, creating folder, file and tables on first use."""
        with self._lock:
            if self._refusal is not None:
                raise StudyError(self._refusal)
            if self._engine is None:
                engine = self._create_engine()
                try:
                    self._prepare(engine)
                except DatabaseError as error:
                    engine.dispose()
                    self._set_aside_if_damaged(error)
                    raise
                self._engine = engine
            return self._engine

    def _create_engine(self) -> sa.Engine:
        """Return an engine for the configured database."""
        file = self._settings.database_file
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            url = sa.URL.create("sqlite", database=str(file))
        else:
            url = sa.make_url(str(self._settings.database_url))
        if url.get_backend_name() != "sqlite":
            return sa.create_engine(url, pool_pre_ping=True)
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine

    def _prepare(self, engine: sa.Engine) -> None:
        """Create the tables in a new database, upgrade an older one, refuse one that a later version wrote."""
        with engine.begin() as connection:
            models.metadata.create_all(connection)
            version = connection.execute(sa.select(sa.func.max(models.schema_versions.c.version))).scalar()
            if version is None:
                self._note_version(connection, models.SCHEMA_VERSION)
            elif version > models.SCHEMA_VERSION:
                raise StudyError("Ratings are off: the ratings database was written by a newer version of CTEG.")
            else:
                for step in range(version + 1, models.SCHEMA_VERSION + 1):
                    for statement in models.UPGRADES[step]:
                        connection.exec_driver_sql(statement)
                    self._note_version(connection, step)

    def _note_version(self, connection: sa.Connection, version: int) -> None:
        connection.execute(models.schema_versions.insert(), {"version": version, "applied": self._now()})

    def _set_aside_if_damaged(self, error: DatabaseError) -> None:
        """Move a damaged SQLite file out of the way, unchanged, and take no ratings until the next start."""
        file = self._settings.database_file
        if file is None or not any(sign in str(error.orig) for sign in SQLITE_DAMAGE):
            return
        aside = file.with_name(f"{file.name}.damaged-{self._clock():%Y%m%dT%H%M%S}")
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{file}{suffix}")
            if part.exists():
                os.replace(part, f"{aside}{suffix}")
        logger.error("the ratings database %s is damaged and was set aside as %s", file, aside)
        self._refusal = (
            "Ratings are off: the ratings file is damaged and was set aside; the next start begins a new one."
        )
        raise StudyError(self._refusal) from error

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_hash(text: str) -> str:
    """Return the SHA-256 of a sentence in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_identifier(value: object, what: str) -> None:
    """Raise `InputError` unless `value` is 32 lower-case hexadecimal digits."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise InputError(f"The {what} id must be 32 hexadecimal digits.")


def check_score(score: object) -> None:
    """Raise `InputError` unless `score` is a whole number from 1 to 5, or None."""
    whole = isinstance(score, int) and not isinstance(score, bool) and 1 <= score <= 5
    if score is not None and not whole:
        raise InputError("The score must be a whole number from 1 to 5.")


def _configure_sqlite(connection: object, _: ConnectionPoolEntry) -> None:
    """Set up a new SQLite connection: durable writes, enforced foreign keys, transactions begun by us."""
    connection.isolation_level = None  # the driver would begin transactions late and without the lock
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock at the start, so that a transaction never fails halfway for want of it."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
