"""The ratings store: who rated which clip how, kept in any SQL database.

A clip that is shown gets an unguessable token, bound to the rater it was made for; a rating is accepted only for such a
token and such a rater. Each call is one transaction, so a rating is stored whole or not at all, and a call that returns
has been written to disk. The ratings of the blind study lie in the same database, see `cteg.study.ballot`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cteg.clip import Clip
from cteg.errors import InputError, StorageError, StudyError
from cteg.settings import Settings
from cteg.study import models
from cteg.study.database import Clock, Database, utc_now
from cteg.study.event_log import OUTBOX
from cteg.study.models import Choice, Rating, Receipt, pseudonym

logger = logging.getLogger(__name__)

NOT_SAVED = "Not saved, please try again."
IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class Store:
    """Ratings in a database; connects on first use and again after a failure.

    Attributes:
        database: The database, for whatever else is kept in it.
        app_version: Stored with every row.

    Args:
        settings: Names the database and the data folder.
        app_version: Stored with every row.
        clock: Gives the present time; handed in so that tests can set it.
    """

    def __init__(self, settings: Settings, app_version: str = "", clock: Clock = utc_now) -> None:
        self.database = Database(settings, clock)
        self.app_version = app_version
        self._begin = self.database.begin

    def check(self) -> None:
        """Make sure that ratings can be written.

        Raises:
            StorageError: They cannot; the message says why and what happens to ratings.
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
            StorageError: The clips could not be stored.
        """
        check_identifier(rater, "rater")
        run, created = secrets.token_hex(16), self.database.now()
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
                "guidance": float(clip.guidance),
                "frames": len(clip),
                "app_version": self.app_version,
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
            StudyError: The clip is unknown or belongs to someone else.
            StorageError: The score could not be stored.
        """
        check_score(score)
        event = _make_event(token, rater, rating, text, head)
        receipt = self._patiently(lambda connection: self._append(connection, {**event, "score": score}))
        return Receipt(receipt["id"], receipt["sequence"], receipt["score"])

    def choose(
        self, token: str, rater: str, is_best: bool, choice: str = "", text: str = "", head: str = ""
    ) -> tuple[str, int]:
        """Store that a clip is the best of its request, or that it is not after all.

        A request has one best clip at most: choosing another one replaces it.

        Args:
            token: Token of the clip, from `register`.
            rater: The rater that the clip was made for.
            is_best: Whether the clip is chosen; False takes the choice of it back.
            choice: Random id of this event, 32 hexadecimal digits; made here if empty.
            text: The sentence, if the rater agreed to keep it; must be the clip's own.
            head: Name of the head that shows the clip, at most 80 characters.

        Returns:
            The id of the event and its place in the sequence, as stored.

        Raises:
            InputError: An argument is malformed.
            StudyError: The clip is unknown or belongs to someone else.
            StorageError: The choice could not be stored.
        """
        if not isinstance(is_best, bool):
            raise InputError("A choice is either true or false.")
        event = {**_make_event(token, rater, choice, text, head), "is_best": int(is_best)}
        receipt = self._patiently(lambda connection: self._append_choice(connection, event))
        return receipt["id"], receipt["sequence"]

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
        identity = (clip.weights, clip.seed, clip.temperature, clip.guidance, clip.run)
        place = (clip.sample, clip.position, clip.frames)
        query = (
            sa.select(*fields, *identity, *place, event.app_version, event.created)
            .join(models.clips, clip.token == event.clip)
            .order_by(clip.created, clip.run, clip.sample, event.sequence)
        )
        with self._begin("The ratings cannot be read at the moment.") as connection:
            return [Rating(**row) for row in connection.execute(query).mappings()]

    def choices(self) -> list[Choice]:
        """Return the present choices: for each request the clip that its rater last called the best."""
        latest = {(event.rater, event.run): event for event in self.choice_events()}  # they come in their order
        return [choice for choice in latest.values() if choice.is_best]

    def choice_events(self) -> list[Choice]:
        """Return every event of choosing, what was taken back included, each request's in their order."""
        event, clip = models.choices.c, models.clips.c
        others = models.clips.alias()
        faces = sa.select(sa.func.count()).where(others.c.run == clip.run).scalar_subquery().label("faces")
        fields = (event.id, event.rater, event.mode, event.sequence, event.is_best, event.text, event.head)
        identity = (clip.text_sha256, clip.weights, clip.seed, clip.temperature, clip.guidance, clip.run)
        query = (
            sa.select(*fields, *identity, clip.sample, clip.position, faces, event.app_version, event.created)
            .join(models.clips, clip.token == event.clip)
            .order_by(clip.created, clip.run, event.sequence)
        )
        with self._begin("The ratings cannot be read at the moment.") as connection:
            return [Choice(**row) for row in connection.execute(query).mappings()]

    def forget(self, rater: str) -> int:
        """Delete everything that was stored about a rater, the blind study included, and return how many answers.

        Rows that were uploaded are known outside by the rater's pseudonym; a withdrawal follows them.
        """
        check_identifier(rater, "rater")
        clips, sittings = models.clips, models.study_sittings
        sitting = sa.select(sittings.c.id).where(sittings.c.rater == rater)
        votes, trials, events = models.study_votes, models.study_trials, models.study_events
        play = (models.ratings, models.choices)
        gone = [sa.select(table.c.id).where(table.c.rater == rater) for table in play]
        gone += [sa.select(votes.c.id).where(votes.c.sitting.in_(sitting))]
        with self._begin("The ratings could not be deleted, please try again.") as connection:
            ids = [row.id for query in gone for row in connection.execute(query)]
            self._withdraw(connection, rater, ids)
            for table in (*play, clips):
                connection.execute(table.delete().where(table.c.rater == rater))
            for table in (votes, events, trials):
                connection.execute(table.delete().where(table.c.sitting.in_(sitting)))
            connection.execute(sittings.delete().where(sittings.c.rater == rater))
            if self.database.log is not None:
                self.database.log.forget(rater)
        return len(ids)

    def close(self) -> None:
        """Close all connections; the next call opens the database again."""
        self.database.close()

    def _withdraw(self, connection: sa.Connection, rater: str, ids: list[str]) -> None:
        """Note that uploaded rows of a rater are withdrawn; forget that rows which never left were to be uploaded."""
        records, shards = models.study_shard_records, models.study_shards
        mine = records.c.record.in_(ids)
        tried = sa.select(records.c.shard).join(shards).where(mine & (shards.c.attempts > 0))
        if connection.execute(tried.limit(1)).first() is not None:
            row = {"id": secrets.token_hex(16), "rater": pseudonym(rater), "created": self.database.now()}
            connection.execute(models.study_withdrawals.insert(), row)
            self.database.seal(OUTBOX, [(models.study_withdrawals, row)])
        connection.execute(records.delete().where(mine))

    def _patiently(self, store: Callable[[sa.Connection], dict]) -> dict:
        """Store an event; where servers take no turns, two first events can collide on their sequence number."""
        for _ in range(3):
            try:
                return self.database.write(store, NOT_SAVED)
            except IntegrityError:
                logger.info("two ratings of one clip met, trying again")
        raise StorageError(NOT_SAVED)

    def _append(self, connection: sa.Connection, event: dict) -> dict:
        """Add a score after the rater's latest one of this clip, unless it says nothing new."""
        clip, table = self._clip_of(connection, event), models.ratings
        is_known = (table.c.clip == event["clip"]) & (table.c.rater == event["rater"])
        row, is_new = self._follow(connection, table, event, is_known, ("score", "text"), clip.mode)
        if is_new:
            self.database.seal(event["rater"], [(models.clips, dict(clip._mapping)), (table, row)])
        return row

    def _append_choice(self, connection: sa.Connection, event: dict) -> dict:
        """Add a choice after the rater's latest one of this request, unless it says nothing new."""
        clip, table = self._clip_of(connection, event), models.choices
        event = {**event, "run": clip.run}
        is_known = (table.c.run == clip.run) & (table.c.rater == event["rater"])
        row, is_new = self._follow(connection, table, event, is_known, ("clip", "is_best", "text"), clip.mode)
        if is_new:  # with all clips of the request: a choice means something only among the others
            clips = connection.execute(sa.select(models.clips).where(models.clips.c.run == clip.run)).mappings()
            self.database.seal(event["rater"], [*((models.clips, dict(other)) for other in clips), (table, row)])
        return row

    def _clip_of(self, connection: sa.Connection, event: dict) -> sa.Row:
        """Return the clip of an event, if this rater may rate it with this text, and take the turn at its request."""
        query = sa.select(models.clips).where(models.clips.c.token == event["clip"])
        clip = connection.execute(query).first()
        if clip is None or clip.rater != event["rater"]:
            raise StudyError("This face cannot be rated from here: it was made for another page. Please generate anew.")
        if event["text"] is not None and text_hash(event["text"]) != clip.text_sha256:
            raise InputError("The sentence does not belong to this face.")
        self.database.take_turn(connection, clip.run)
        return clip

    def _follow(
        self,
        connection: sa.Connection,
        table: sa.Table,
        event: dict,
        is_known: sa.ColumnElement[bool],
        says: tuple[str, ...],
        mode: str,
    ) -> tuple[dict, bool]:
        """Insert `event` after the latest of the rows that `is_known` selects; return the row that stands now.

        Returns:
            The row, and whether it is new: the same id or the same in the columns `says` stores nothing.
        """
        sent = connection.execute(sa.select(table).where(table.c.id == event["id"])).mappings().first()
        if sent is not None:
            if any(sent[column] != event[column] for column in ("clip", "rater", *says) if column != "text"):
                raise InputError("This rating id has been used for another rating.")
            return dict(sent), False
        query = sa.select(table).where(is_known).order_by(table.c.sequence.desc()).limit(1)
        latest = connection.execute(query).mappings().first()
        if latest is not None and all(latest[column] == event[column] for column in says):
            return dict(latest), False
        sequence = 1 if latest is None else latest["sequence"] + 1
        stamp = {"mode": mode, "app_version": self.app_version, "created": self.database.now()}
        row = {**event, **stamp, "sequence": sequence}
        connection.execute(table.insert(), row)
        return row, True


def _make_event(token: object, rater: str, event: str, text: object, head: object) -> dict:
    """Check what a score and a choice have in common and return it as columns."""
    check_identifier(rater, "rater")
    check_identifier(event or "0" * 32, "rating")
    if not isinstance(token, str) or not isinstance(text, str):
        raise InputError("A rating needs the token of its clip and a text.")
    if not isinstance(head, str) or len(head) > 80:
        raise InputError("A rating needs the name of a head, of at most 80 characters.")
    return {"id": event or secrets.token_hex(16), "clip": token, "rater": rater, "text": text or None, "head": head}


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
