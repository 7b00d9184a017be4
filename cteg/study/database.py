"""The database behind the ratings: connections, versions of its schema, damage, snapshots.

SQLite runs in WAL mode with full synchronisation; writers take the lock at the start of their transaction, so
concurrent writers queue instead of failing, and what waits in the queue is written to disk together. Any other database
that SQLAlchemy knows serves by its URL (PostgreSQL is tested). Where an event log is configured, rows that the database
lacks are put back from it on the first connection.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from cteg.errors import CtegError, InputError, StorageError
from cteg.settings import Settings
from cteg.study import models
from cteg.study.event_log import EventLog

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""How long a writer waits for another process before it gives up."""

MOST_WAITING_SECONDS = 30
"""How long it waits for its turn among the writers of this process."""

SQLITE_DAMAGE = ("file is not a database", "malformed", "disk image", "file is encrypted")
Clock = Callable[[], datetime]
Write = Callable[[sa.Connection], dict]
"""A piece of a transaction: reads, adds rows, returns what the caller wants to know of them."""


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Return a time as it is stored: ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(eq=False)
class _Waiting:
    """A write that waits for its turn; `error` is raised where it was called, and there is one until it is on disk."""

    action: Write
    error: Exception
    result: dict = field(default_factory=dict)
    is_taken: bool = False
    is_done: bool = False

    def run(self, connection: sa.Connection) -> None:
        """Try it; what it refuses undoes its own rows and nobody else's."""
        try:
            with connection.begin_nested():
                self.result = self.action(connection)
            self.is_done = True
        except (CtegError, IntegrityError) as error:
            self.error = error
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:  # a defect is nobody's but the caller's
            self.error = error


class Database:
    """Connects on first use and again after a failure.

    Args:
        settings: Names the database, the data folder and the event log.
        clock: Gives the present time; handed in so that tests can set it.
    """

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self.clock = clock
        self.log = EventLog(settings.event_log) if settings.event_log else None
        self._settings = settings
        self._engine: sa.Engine | None = None
        self._refusal: str | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._queue: deque[_Waiting] = deque()

    def now(self) -> str:
        """Return the present time as it is stored."""
        return timestamp(self.clock())

    @contextmanager
    def begin(self, refusal: str) -> Iterator[sa.Connection]:
        """Open a transaction; turn any failure of the database into a `StorageError` with the sentence `refusal`."""
        with self._failing_as(refusal):
            engine = self._connected()
            with self._turn(engine, refusal), engine.begin() as connection:
                yield connection

    @contextmanager
    def _failing_as(self, refusal: str) -> Iterator[None]:
        """Turn any failure of the database into a `StorageError`, but for rows that contradict others."""
        try:
            yield
        except IntegrityError:
            raise
        except (SQLAlchemyError, OSError) as error:
            logger.error("ratings database: %s", error)
            raise StorageError(refusal) from error

    def write(self, action: Write, refusal: str) -> dict:
        """Run `action` in a transaction and return its result once that is on disk.

        A write to disk takes milliseconds, so that one after the other fifty people would wait half a second. What
        arrives in SQLite meanwhile is therefore written in one transaction, each action in a savepoint of its own.

        Raises:
            StorageError: The database failed; nothing of the transaction is stored.
            IntegrityError: What `action` wrote contradicts what is stored.
        """
        with self._failing_as(refusal):
            engine = self._connected()
        if engine.dialect.name != "sqlite":
            with self.begin(refusal) as connection:
                return action(connection)
        mine = _Waiting(action, StorageError(refusal))
        self._queue.append(mine)
        try:
            with self._turn(engine, refusal):
                if not mine.is_taken:  # by one whose turn came before
                    self._write_together(engine, refusal)
        finally:
            if not mine.is_taken:  # it waited too long: who was told so must not find it written later
                with suppress(ValueError):
                    self._queue.remove(mine)
        if not mine.is_done:
            raise mine.error
        return mine.result

    def _write_together(self, engine: sa.Engine, refusal: str) -> None:
        """Run all that waits in one transaction; if the database fails, none of it is done. Needs the turn."""
        waiting = [self._queue.popleft() for _ in range(len(self._queue))]
        for write in waiting:
            write.is_taken = True
        try:
            with self._failing_as(refusal), engine.begin() as connection:
                for write in waiting:
                    write.run(connection)
        except BaseException as error:
            for write in waiting:
                write.is_done = False
            if not isinstance(error, StorageError):
                raise

    @contextmanager
    def _turn(self, engine: sa.Engine, refusal: str) -> Iterator[None]:
        """Let one thread at a time write to SQLite, whose own waiting is by chance: one of many could wait too long."""
        if engine.dialect.name != "sqlite":
            yield
            return
        if not self._writing.acquire(timeout=MOST_WAITING_SECONDS):
            raise StorageError(refusal)
        try:
            yield
        finally:
            self._writing.release()

    def take_turn(self, connection: sa.Connection, what: str) -> None:
        """Wait until no other transaction of any server has the turn at `what`; it ends with the transaction.

        For steps that read what they are about to add to. SQLite needs no turns: a whole transaction is one there.
        """
        if connection.dialect.name == "postgresql":
            number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))

    def seal(self, owner: str, rows: list[tuple[sa.Table, dict]]) -> None:
        """Write rows to the event log, if there is one; called before the transaction that holds them commits.

        Raises:
            OSError: They could not be written.
        """
        if self.log is not None:
            self.log.seal(owner, self.now(), rows)

    def snapshot(self, target: Path) -> Path:
        """Copy the SQLite database, as of one moment and while it is in use, to a new file.

        A copy of the file itself would miss what is still in the write-ahead log.

        Raises:
            InputError: The target exists, or the database is not SQLite (use its own tools, such as `pg_dump`).
            StorageError: The copy could not be made.
        """
        if target.exists():
            raise InputError(f"{target} exists already; a snapshot is a new file.")
        engine = self._reachable("The snapshot could not be made.")
        if engine.dialect.name != "sqlite":
            raise InputError(f"Snapshots are for SQLite; for {engine.dialect.name} use the tools of that database.")
        part = target.with_name(target.name + ".part")
        try:
            source = engine.raw_connection()
            try:
                with closing(sqlite3.connect(part)) as copy:
                    source.driver_connection.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # a snapshot is one file
            finally:
                source.close()
            os.replace(part, target)
        except (sqlite3.Error, OSError) as error:
            raise StorageError("The snapshot could not be made.") from error
        return target

    def close(self) -> None:
        """Close all connections; the next call opens the database again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _reachable(self, refusal: str) -> sa.Engine:
        try:
            return self._connected()
        except (SQLAlchemyError, OSError) as error:
            raise StorageError(refusal) from error

    def _connected(self) -> sa.Engine:
        """Return the engine, creating folder, file and tables on first use."""
        with self._lock:
            if self._refusal is not None:
                raise StorageError(self._refusal)
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
            try:
                return sa.create_engine(url, pool_pre_ping=True)
            except ModuleNotFoundError as error:
                raise StorageError(
                    f"Ratings are off: the driver of {url.get_backend_name()} is missing; pip install {error.name}."
                ) from error
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine

    def _prepare(self, engine: sa.Engine) -> None:
        """Create the tables in a new database, upgrade an older one, refuse one that a later version wrote."""
        with engine.begin() as connection:
            self.take_turn(connection, "tables")  # several servers may start at once
            version = None
            if sa.inspect(connection).has_table(models.schema_versions.name):
                version = connection.execute(sa.select(sa.func.max(models.schema_versions.c.version))).scalar()
            if version is not None and version > models.SCHEMA_VERSION:
                raise StorageError("Ratings are off: the ratings database was written by a newer version of CTEG.")
            models.metadata.create_all(connection)
            if version is None:
                self._note_version(connection, models.SCHEMA_VERSION)
            else:
                for step in range(version + 1, models.SCHEMA_VERSION + 1):
                    for statement in models.UPGRADES[step]:
                        connection.exec_driver_sql(statement)
                    self._note_version(connection, step)
            if self.log is not None:
                self.log.restore(connection)

    def _note_version(self, connection: sa.Connection, version: int) -> None:
        connection.execute(models.schema_versions.insert(), {"version": version, "applied": self.now()})

    def _set_aside_if_damaged(self, error: DatabaseError) -> None:
        """Move a damaged SQLite file out of the way, unchanged, and take no ratings until the next start."""
        file = self._settings.database_file
        if file is None or not any(sign in str(error.orig) for sign in SQLITE_DAMAGE):
            return
        aside = file.with_name(f"{file.name}.damaged-{self.clock():%Y%m%dT%H%M%S}")
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{file}{suffix}")
            if part.exists():
                os.replace(part, f"{aside}{suffix}")
        logger.error("the ratings database %s is damaged and was set aside as %s", file, aside)
        self._refusal = (
            "Ratings are off: the ratings file is damaged and was set aside; the next start begins a new one."
        )
        raise StorageError(self._refusal) from error


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
