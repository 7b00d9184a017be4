"""A study with a clock of its own, a rater that always gives the first answer, and a simulated one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from cteg.settings import Settings
from cteg.study import models, wording
from cteg.study.ballot import Ballot, read_votes
from cteg.study.design import Exposure
from cteg.study.engine import Engine, Page
from cteg.study.simulate import Rater
from cteg.study.store import Store
from tests.study import study_without_clips

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
RATER = "a" * 32


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self, start: datetime) -> None:
        self.moment = start

    def __call__(self) -> datetime:
        """Return the present time."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


class Study:
    """A study with a clock, and its rows as a rater cannot see them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.clock = settings, Clock(START)
        self.stimuli = study_without_clips()
        self.start()

    def start(self) -> None:
        self.store = Store(self.settings, "1.2", self.clock)
        self.engine = Engine(self.store, self.stimuli)
        self.ballot = Ballot(self.store, self.stimuli.study)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def trials(self) -> list:
        with self.store.database.begin("") as connection:
            query = sa.select(models.study_trials).order_by(models.study_trials.c.place, models.study_trials.c.attempt)
            return list(connection.execute(query))

    def truth(self) -> dict:
        return {t.token: (t.left_condition, t.right_condition, t.expected, t.longest) for t in self.trials()}

    def exposure(self) -> Exposure:
        with self.store.database.begin("") as connection:
            return self.ballot.exposure(connection)

    def votes(self) -> list:
        return read_votes(self.store, self.stimuli.study)

    def begin(self, rater: str = RATER):
        return self.engine.consent(rater, wording.CONSENT_VERSION, "desktop")

    def watch(self, page, rater: str = RATER):
        clips = [clip for side in page.sides for clip in side]
        self.engine.report(rater, page.token, [{"kind": "play", "clip": clip} for clip in clips])
        self.clock.advance(3)
        return self.engine.report(rater, page.token, [{"kind": "ended", "clip": clip} for clip in clips])

    def answer(self, page, rater: str = RATER):
        page = self.watch(page, rater)
        while not page.complete:
            question = next(question for question in page.questions if question.answer is None)
            page = self.engine.answer(rater, page.token, question.name, question.choices[0][0])
        return page

    def skip_to(self, kind: str, rater: str = RATER):
        """Answer pages until one of a kind (as the database calls it) is shown."""
        page = self.engine.page(rater)  # first: what ran out of time gets a new token here
        kinds = {trial.token: trial.kind for trial in self.trials()}
        while kinds[page.token] != kind:
            page = self.engine.next(rater, self.answer(page, rater).token)
        return page


def visit(engine: Engine, rater: Rater, clock: Clock, truth: Mapping[str, tuple]) -> Page:
    """Let a rater go through a sitting as a browser would, and return the last page.

    Args:
        engine: The study.
        rater: Who answers.
        clock: The store's clock.
        truth: For every token the conditions and the expected answer: what a rater would see, and a page does not say.
    """
    page = engine.page(rater.id)
    if page.step == "consent":
        page = engine.consent(rater.id, wording.CONSENT_VERSION, "desktop")
    while page.step != "thanks":
        clips = [clip for side in page.sides for clip in side]
        left, right, expected, longest = truth[page.token]
        time = rater.seconds(longest)
        engine.report(rater.id, page.token, [{"kind": "play", "clip": clip} for clip in clips])
        clock.advance(min(time, longest))
        page = engine.report(rater.id, page.token, [{"kind": "ended", "clip": clip} for clip in clips])
        clock.advance(max(0.0, time - longest))
        while not page.complete:
            question = next(q.name for q in page.questions if q.answer is None)
            page = engine.answer(rater.id, page.token, question, rater.answer(question, left, right, expected))
        page = engine.next(rater.id, page.token)
    return page
