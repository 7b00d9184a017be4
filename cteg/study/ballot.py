"""The study's part of the database: sittings, trials, events and votes.

A trial is an unguessable token that is bound to a rater, has a deadline from the moment it is shown, and is used once.
A vote is one transaction that claims the trial, inserts the vote and seals it; the database itself refuses a second
vote for a trial or a place. What runs out of time is shown again under a new token, as another attempt.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cteg.errors import StudyError
from cteg.study import models
from cteg.study.database import timestamp
from cteg.study.design import Exposure, Planned
from cteg.study.models import Shown, Vote, pseudonym
from cteg.study.store import NOT_SAVED, Store

TRIAL_TIME = timedelta(minutes=10)
"""How long a page can be answered after it was shown."""

ABANDONED = timedelta(hours=3)
"""After this time the unanswered pages of a sitting no longer count as shown."""

Draft = tuple[Planned, float]
"""A page with the length of its longest clip in seconds."""

UNREADABLE = "The study cannot be reached at the moment, please try again."
GONE = "This page has expired; please go on with the page that is shown now."
SITTINGS, TRIALS, VOTES, EVENTS = (
    models.study_sittings,
    models.study_trials,
    models.study_votes,
    models.study_events,
)


@dataclass(frozen=True, kw_only=True)
class Trial(Shown):
    """One page of a sitting as it is in the database.

    Attributes:
        token: Unguessable name of the page.
        sitting: Id of the sitting.
        created: When it was planned; all times are ISO 8601 in UTC.
        shown: When it was first shown, None before.
        deadline: When it can no longer be answered, None before it is shown.
        claimed: When it was answered, None before.
    """

    token: str
    sitting: str
    created: str
    shown: str | None
    deadline: str | None
    claimed: str | None

    @property
    def clips(self) -> list[str]:
        """Ids of the clips, those of the left first."""
        return [clip for side in (self.left_clips, self.right_clips) for clip in side.split(",") if clip]


@dataclass(frozen=True)
class Event:
    """Something that happened on a page."""

    kind: str
    data: dict[str, Any]
    created: str


class Ballot:
    """The study in the database of a `Store`.

    Args:
        store: Keeps the database.
        study: Id of the stimulus set.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.store, self.study = store, study
        self.database = store.database

    # -- sittings ------------------------------------------------------------------------------------------------------

    def sitting(self, rater: str) -> str | None:
        """Return the id of a rater's sitting, None before consent."""
        query = sa.select(SITTINGS.c.id).where((SITTINGS.c.study == self.study) & (SITTINGS.c.rater == rater))
        with self.database.begin(UNREADABLE) as connection:
            return connection.execute(query).scalar()

    def open(self, rater: str, consent: str, device: str, draw: Callable[[Exposure], Sequence[Draft]]) -> str:
        """Store a sitting with all its pages and return its id; a sitting that the rater has is left as it is.

        Counting what was shown, drawing and storing are one step for all servers together, so that raters who come at
        the same moment share the conditions as fairly as those who come one after the other.

        Args:
            rater: Id of the rater.
            consent: Version of the text that the rater agreed to.
            device: `desktop`, `tablet`, `phone` or `unknown`.
            draw: What was shown so far -> pages, each with the length of its longest clip in seconds.

        Raises:
            StudyError: The sitting could not be stored, or not be drawn.
        """
        created = self.database.now()
        sitting = {
            "id": secrets.token_hex(16),
            "study": self.study,
            "rater": rater,
            "consent": consent,
            "device": device,
            "app_version": self.store.app_version,
            "created": created,
        }
        try:
            with self.database.begin(NOT_SAVED) as connection:
                self.database.take_turn(connection, f"study {self.study}")
                connection.execute(SITTINGS.insert(), sitting)
                trials = [
                    {
                        "token": secrets.token_urlsafe(24),
                        "sitting": sitting["id"],
                        "place": place,
                        "attempt": 1,
                        **page.columns(),
                        "longest": seconds,
                        "created": created,
                        "shown": None,
                        "deadline": None,
                        "claimed": None,
                    }
                    for place, (page, seconds) in enumerate(draw(self.exposure(connection)))
                ]
                connection.execute(TRIALS.insert(), trials)
                self.database.seal(rater, [(SITTINGS, sitting), *((TRIALS, trial) for trial in trials)])
        except IntegrityError:  # the rater agreed twice at once
            return self.sitting(rater) or ""
        return sitting["id"]

    def exposure(self, connection: sa.Connection) -> Exposure:
        """Count what was answered, and what sittings that are under way will still show."""
        recent = timestamp(self.database.clock() - ABANDONED)
        counted = VOTES.c.id.is_not(None) | (SITTINGS.c.created >= recent)
        says = (TRIALS.c.kind, TRIALS.c.sentence, TRIALS.c.left_condition, TRIALS.c.right_condition)
        pages = (
            sa.select(TRIALS.c.sitting, TRIALS.c.place, *says)
            .join(SITTINGS, SITTINGS.c.id == TRIALS.c.sitting)
            .outerjoin(VOTES, VOTES.c.trial == TRIALS.c.token)
            .where((SITTINGS.c.study == self.study) & counted)
            .distinct()  # a page that ran out of time has a trial for every attempt
            .subquery()
        )
        fields = [pages.c[column.name] for column in says]
        exposure = Exposure()
        for row in connection.execute(sa.select(*fields, sa.func.count()).group_by(*fields)):
            exposure.add(*row)
        return exposure

    # -- pages ---------------------------------------------------------------------------------------------------------

    def present(self, sitting: str) -> Trial | None:
        """Return the page that a sitting is at, now shown, with a running deadline; None after the last one.

        A page that ran out of time comes again under a new token.
        """
        voted = sa.select(VOTES.c.place).where(VOTES.c.sitting == sitting)
        query = (
            sa.select(TRIALS)
            .where((TRIALS.c.sitting == sitting) & TRIALS.c.place.not_in(voted))
            .order_by(TRIALS.c.place, TRIALS.c.attempt.desc())
            .limit(1)
        )
        try:
            with self.database.begin(UNREADABLE) as connection:
                row = connection.execute(query).mappings().first()
                if row is None:
                    return None
                trial, now = dict(row), self.database.clock()
                if trial["deadline"] is not None and trial["deadline"] > timestamp(now):
                    return Trial(**trial)
                fresh = {"shown": timestamp(now), "deadline": timestamp(now + TRIAL_TIME)}
                if trial["shown"] is None:
                    connection.execute(TRIALS.update().where(TRIALS.c.token == trial["token"]).values(**fresh))
                else:
                    _append(connection, Trial(**trial), "expired", {}, fresh["shown"])
                    again = {"token": secrets.token_urlsafe(24), "attempt": trial["attempt"] + 1}
                    trial |= again | {"created": fresh["shown"]}
                    connection.execute(TRIALS.insert(), trial | fresh)
                return Trial(**trial | fresh)
        except IntegrityError:  # two windows asked for the next attempt at once: both get the one that is there
            return self.present(sitting)

    def length(self, sitting: str) -> int:
        """Return the number of pages of a sitting."""
        query = sa.select(sa.func.max(TRIALS.c.place)).where(TRIALS.c.sitting == sitting)
        with self.database.begin(UNREADABLE) as connection:
            return (connection.execute(query).scalar() or 0) + 1

    def find(self, rater: str, token: str) -> tuple[Trial, bool]:
        """Return a rater's trial and whether it is answered.

        Raises:
            StudyError: There is no such trial, it is another rater's, or it was not shown.
        """
        query = (
            sa.select(TRIALS, VOTES.c.id.label("vote"))
            .join(SITTINGS, SITTINGS.c.id == TRIALS.c.sitting)
            .outerjoin(VOTES, VOTES.c.trial == TRIALS.c.token)
            .where((TRIALS.c.token == token) & (SITTINGS.c.rater == rater) & (SITTINGS.c.study == self.study))
        )
        with self.database.begin(UNREADABLE) as connection:
            row = connection.execute(query).mappings().first()
        if row is None or row["shown"] is None:
            raise StudyError("This page does not belong to your sitting; please reload it.")
        trial = dict(row)
        vote = trial.pop("vote")
        return Trial(**trial), vote is not None

    # -- events and votes ----------------------------------------------------------------------------------------------

    def append(self, trial: Trial, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Append events of a trial."""
        with self.database.begin(NOT_SAVED) as connection:
            for kind, data in events:
                _append(connection, trial, kind, data, self.database.now())

    def events(self, trial: Trial) -> list[Event]:
        """Return the events of a trial, in their order."""
        query = sa.select(EVENTS).where(EVENTS.c.trial == trial.token).order_by(EVENTS.c.id)
        with self.database.begin(UNREADABLE) as connection:
            return [Event(row.kind, json.loads(row.data), row.created) for row in connection.execute(query)]

    def vote(self, rater: str, trial: Trial, answers: Mapping[str, Any]) -> bool:
        """Claim the trial, insert the vote and seal it, all or nothing.

        Args:
            rater: Whose trial it is.
            trial: The trial.
            answers: The columns of `models.study_votes` that describe what was answered and how.

        Returns:
            Whether the vote is new; False where the trial was answered before.

        Raises:
            StudyError: The deadline has passed, or the vote could not be stored; nothing is stored then.
        """
        now = self.database.clock()
        if trial.deadline is None or timestamp(now) > trial.deadline:
            raise StudyError(GONE)
        claimed = timestamp(now)
        row = {
            "id": secrets.token_hex(16),
            "trial": trial.token,
            "sitting": trial.sitting,
            "place": trial.place,
            "kind": trial.kind,
            **dict.fromkeys(("fit", "natural", "variety", "score", "check_state")),
            **answers,
            "app_version": self.store.app_version,
            "created": claimed,
        }
        claim = TRIALS.update().where((TRIALS.c.token == trial.token) & TRIALS.c.claimed.is_(None))
        try:
            with self.database.begin(NOT_SAVED) as connection:
                if connection.execute(claim.values(claimed=claimed)).rowcount == 0:
                    return False
                connection.execute(VOTES.insert(), row)
                _append(connection, trial, "vote", {}, claimed)
                sealed = {**trial.__dict__, "claimed": claimed}
                self.database.seal(rater, [(TRIALS, sealed), (VOTES, row)])
        except IntegrityError:  # an earlier attempt at the same page was answered at the same moment
            return False
        return True

    def flag(self, rater: str, reason: str) -> None:
        """Note by hand why a rater's votes should not count; nothing is deleted.

        Raises:
            StudyError: There is no such rater in this study.
        """
        sitting = next((s for s in self._sittings() if pseudonym(s.rater) == rater), None)
        if sitting is None:
            raise StudyError(f"This study has no rater {rater}.")
        row = {"sitting": sitting.id, "trial": None, "kind": "flag", "data": json.dumps({"reason": reason})}
        row["created"] = self.database.now()
        with self.database.begin(NOT_SAVED) as connection:
            connection.execute(EVENTS.insert(), row)
            self.database.seal(sitting.rater, [(EVENTS, row)])

    def flags(self) -> dict[str, str]:
        """Return the raters that were flagged by hand, by pseudonym, with the latest reason."""
        query = (
            sa.select(SITTINGS.c.rater, EVENTS.c.data)
            .join(EVENTS, EVENTS.c.sitting == SITTINGS.c.id)
            .where((SITTINGS.c.study == self.study) & (EVENTS.c.kind == "flag"))
            .order_by(EVENTS.c.id)
        )
        with self.database.begin(UNREADABLE) as connection:
            return {pseudonym(rater): json.loads(data)["reason"] for rater, data in connection.execute(query)}

    def _sittings(self) -> list[Any]:
        with self.database.begin(UNREADABLE) as connection:
            return list(connection.execute(sa.select(SITTINGS).where(SITTINGS.c.study == self.study)))


def read_votes(store: Store, study: str | None = None) -> list[Vote]:
    """Return the votes of a study, or of all, by sitting and place; raters go by their pseudonyms."""
    trial = [TRIALS.c[name] for name in Vote.__dataclass_fields__ if name in TRIALS.c and name not in VOTES.c]
    vote = [VOTES.c[name] for name in Vote.__dataclass_fields__ if name in VOTES.c]
    sitting = [SITTINGS.c[name] for name in ("study", "rater", "device", "consent")]
    query = (
        sa.select(*trial, *vote, *sitting)
        .join(TRIALS, TRIALS.c.token == VOTES.c.trial)
        .join(SITTINGS, SITTINGS.c.id == VOTES.c.sitting)
        .order_by(SITTINGS.c.created, SITTINGS.c.id, VOTES.c.place)
    )
    if study is not None:
        query = query.where(SITTINGS.c.study == study)
    with store.database.begin("The votes cannot be read at the moment.") as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [Vote(**row | {"rater": pseudonym(row["rater"])}) for row in rows]


def _append(connection: sa.Connection, trial: Trial, kind: str, data: Mapping[str, Any], created: str) -> None:
    row = {"sitting": trial.sitting, "trial": trial.token, "kind": kind, "data": json.dumps(data), "created": created}
    connection.execute(EVENTS.insert(), row)


def seconds_between(first: str, second: str) -> float:
    """Return the seconds from one stored time to another."""
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
