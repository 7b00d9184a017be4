"""A rater's visit from consent to thanks, as a user interface drives it.

    page = engine.page(rater)                                   where the rater is: also after a reload or a restart
    page = engine.consent(rater, CONSENT_VERSION, "desktop")
    engine.report(rater, page.token, [{"kind": "play", "clip": 0}])
    engine.report(rater, page.token, [{"kind": "ended", "clip": 0}])
    page = engine.answer(rater, page.token, "fit", "left")      may be changed until `next`
    page = engine.next(rater, page.token)                       stores the vote

Everything that counts is decided here: whether all clips were watched to their end, whether the page is still valid,
what comes next. A page that goes to the browser names neither conditions nor ids of clips.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cteg.errors import InputError, StudyError
from cteg.study import wording
from cteg.study.ballot import Ballot, Draft, Event, Trial, seconds_between
from cteg.study.design import Exposure, plan
from cteg.study.models import TROUBLE
from cteg.study.stimuli import StimulusSet
from cteg.study.store import Store, check_identifier

logger = logging.getLogger(__name__)

DEVICES = ("desktop", "tablet", "phone", "unknown")
REPORTED = ("play", "ended", "seek", "hidden", "visible", TROUBLE)
"""Events that a browser may report."""

MOST_EVENTS = 50
"""Events in one report."""

MOST_PER_PAGE = 2000
"""Events on one page: enough for anyone, too little to fill a disk."""

WATCHED = 0.9
"""Share of a clip's length that must lie between its start and its end: clocks and players round."""


@dataclass(frozen=True)
class Question:
    """A question as a page asks it.

    Attributes:
        name: Key for `Engine.answer`.
        text: What the rater reads.
        choices: Stored answers with what the rater reads.
        answer: The present answer, None before there is one.
    """

    name: str
    text: str
    choices: tuple[tuple[str | int, str], ...]
    answer: str | int | None


@dataclass(frozen=True)
class Page:
    """What a rater sees.

    Attributes:
        step: `consent`, `practice`, `pair`, `set`, `single` or `thanks`; checks and repeats are shown as pairs.
        done: Pages of the sitting that are answered.
        total: Pages of the sitting in all.
        token: Key of the page; empty for consent and thanks.
        sentence: The sentence, or the text of consent or thanks.
        instruction: What else the rater is told; empty for most pages. For consent: whom to ask.
        sides: Clips on each side: numbers for `Engine.clip`.
        unwatched: Numbers of the clips that were not watched to their end.
        questions: Those that are asked so far.
        complete: Whether `next` will be accepted.
        version: Version of the text of consent; empty for other pages.
    """

    step: str
    done: int = 0
    total: int = 0
    token: str = ""
    sentence: str = ""
    instruction: str = ""
    sides: tuple[tuple[int, ...], ...] = ()
    unwatched: tuple[int, ...] = ()
    questions: tuple[Question, ...] = ()
    complete: bool = False
    version: str = ""


class Engine:
    """The study for all raters.

    Args:
        store: Keeps everything.
        stimuli: What is shown.
        contact: Whom raters can ask, shown with the text of consent; empty for nobody.
    """

    def __init__(self, store: Store, stimuli: StimulusSet, contact: str = "") -> None:
        self._store, self._stimuli = store, stimuli
        self._contact = wording.CONTACT.format(contact=contact) if contact else ""
        self._ballot = Ballot(store, stimuli.study)

    def page(self, rater: str) -> Page:
        """Return the page that a rater is at."""
        check_identifier(rater, "rater")
        sitting = self._ballot.sitting(rater)
        if sitting is None:
            return Page("consent", sentence=wording.CONSENT, instruction=self._contact, version=wording.CONSENT_VERSION)
        return self._page_of(sitting)

    def consent(self, rater: str, version: str, device: str = "unknown") -> Page:
        """Begin a rater's sitting; nothing is stored about a rater before.

        Raises:
            InputError: The version is not that of the present text, or the device is not known.
        """
        check_identifier(rater, "rater")
        if version != wording.CONSENT_VERSION:
            raise InputError("The consent text has changed; please reload the page and read it again.")
        if device not in DEVICES:
            raise InputError(f"The device must be one of {', '.join(DEVICES)}.")
        if self._ballot.sitting(rater) is None:
            self._ballot.open(rater, version, device, lambda exposure: self._draw(rater, exposure))
        return self.page(rater)

    def clip(self, rater: str, token: str, number: int) -> bytes:
        """Return a clip of a page for the player, see `StimulusSet.payloads`."""
        trial = self._open_trial(rater, token)
        clip = trial.clips[_clip_number(number, trial)]
        return self._stimuli.payloads[clip]

    def report(self, rater: str, token: str, events: Sequence[Mapping[str, Any]]) -> Page:
        """Append what happened on a page: `{"kind": one of REPORTED, "clip": number}`.

        Kinds: `play`, `ended` and `seek` of a clip, `hidden` and `visible` of the page, `trouble` where clips cannot
        be played. The time is the server's.

        Raises:
            InputError: An event is malformed, or there are too many.
            StudyError: The page is not the rater's, or is over.
        """
        trial = self._open_trial(rater, token)
        if not isinstance(events, list | tuple) or len(events) > MOST_EVENTS:
            raise InputError(f"A report is a list of at most {MOST_EVENTS} events.")
        checked = [_check_event(event, trial) for event in events]
        if len(self._ballot.events(trial)) + len(checked) > MOST_PER_PAGE:
            raise InputError("Too much happened on this page; please answer it.")
        self._ballot.append(trial, checked)
        return self._page_of(trial.sitting)

    def answer(self, rater: str, token: str, question: str, value: str | int) -> Page:
        """Note an answer; it may be given again until `next`.

        Raises:
            InputError: There is no such answer.
            StudyError: The page is not the rater's or is over, its clips were not watched, or the question is not
                asked yet.
        """
        trial = self._open_trial(rater, token)
        page = self._page_of(trial.sitting)
        if question not in wording.ASKED[trial.kind] or not wording.is_choice(question, value):
            raise InputError("There is no such answer on this page.")
        if page.unwatched:
            raise StudyError("Please watch every clip to its end before you answer.")
        if question not in {asked.name for asked in page.questions}:
            raise StudyError("Please answer the question before this one first.")
        self._ballot.append(trial, [("answer", {"question": question, "value": value})])
        return self._page_of(trial.sitting)

    def next(self, rater: str, token: str) -> Page:
        """Store the vote of a page and return the next page. Sent again, it stores nothing new.

        Raises:
            StudyError: The page is not the rater's, has expired or is not answered, or the vote could not be stored.
        """
        check_identifier(rater, "rater")
        trial, is_answered = self._ballot.find(rater, _check_token(token))
        if not is_answered:
            events = self._ballot.events(trial)
            self._ballot.vote(rater, trial, self._vote(trial, events))
        return self._page_of(trial.sitting)

    def forget(self, rater: str) -> int:
        """Delete everything that is stored about a rater and return the number of answers that were deleted."""
        return self._store.forget(rater)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _draw(self, rater: str, exposure: Exposure) -> list[Draft]:
        pages = plan(self._stimuli, rater, exposure)
        return [(page, self._stimuli.seconds((*page.left, *page.right))) for page in pages]

    def _open_trial(self, rater: str, token: str) -> Trial:
        """Return the trial that a rater is at, which must be the one of the token."""
        check_identifier(rater, "rater")
        trial, is_answered = self._ballot.find(rater, _check_token(token))
        present = self._ballot.present(trial.sitting)
        if is_answered or present is None or present.token != token:
            raise StudyError("This page is over; please go on with the one that is shown now.")
        return trial

    def _page_of(self, sitting: str) -> Page:
        total, trial = self._ballot.length(sitting), self._ballot.present(sitting)
        if trial is None:
            return Page("thanks", done=total, total=total, sentence=wording.THANKS)
        events = self._ballot.events(trial)
        answers, unwatched = _answers(events), self._unwatched(trial, events)
        is_broken = _is_broken(events)
        asked = wording.ASKED[trial.kind]
        known = [name for name in asked if name in answers]
        shown = asked[: len(known) + 1]
        left = len([clip for clip in trial.left_clips.split(",") if clip])
        numbers = range(len(trial.clips))
        sides = (tuple(numbers[:left]), tuple(numbers[left:]))
        return Page(
            step="pair" if trial.kind in ("repeat", "check") else trial.kind,
            done=trial.place,
            total=total,
            token=trial.token,
            sentence=self._stimuli.by_sentence[trial.sentence].text,
            instruction=wording.TROUBLE_NOTICE if is_broken else _instruction(trial),
            sides=tuple(side for side in sides if side),
            unwatched=unwatched,
            questions=tuple(
                Question(name, wording.QUESTIONS[name], wording.CHOICES[name], answers.get(name)) for name in shown
            ),
            complete=is_broken or (not unwatched and len(known) == len(asked)),
        )

    def _unwatched(self, trial: Trial, events: Sequence[Event]) -> tuple[int, ...]:
        """Clips without an end that came late enough after their start to be believed."""
        if _is_broken(events):
            return ()
        started: dict[int, str] = {}
        watched = set()
        for event in events:
            number = event.data.get("clip", -1)
            if event.kind == "play":
                started[number] = event.created
            elif event.kind == "ended" and number in started:
                least = WATCHED * self._stimuli.seconds([trial.clips[number]])
                if seconds_between(started[number], event.created) >= least:
                    watched.add(number)
        return tuple(number for number in range(len(trial.clips)) if number not in watched)

    def _vote(self, trial: Trial, events: Sequence[Event]) -> dict[str, Any]:
        """Return the columns of a vote, or refuse it."""
        answers, is_broken = _answers(events), _is_broken(events)
        if self._unwatched(trial, events):
            raise StudyError("Please watch every clip to its end before you go on.")
        if not is_broken and any(name not in answers for name in wording.ASKED[trial.kind]):
            raise StudyError("Please answer every question before you go on.")
        kinds = [event.kind for event in events]
        now = self._ballot.database.now()
        return {
            **answers,
            "check_state": _check_state(trial, answers, is_broken),
            "seconds": visible_seconds(trial.shown or trial.created, now, events),
            "plays": kinds.count("play"),
            "seeks": kinds.count("seek"),
            "flag": TROUBLE if is_broken else "",
        }


def visible_seconds(shown: str, now: str, events: Sequence[Event]) -> float:
    """Return how long a page was visible: the time since it was shown without stretches that it was hidden."""
    total, since = 0.0, shown
    is_visible = True
    for event in events:
        if event.kind == "hidden" and is_visible:
            total, is_visible = total + seconds_between(since, event.created), False
        elif event.kind == "visible" and not is_visible:
            since, is_visible = event.created, True
    return round(total + (seconds_between(since, now) if is_visible else 0.0), 3)


def _answers(events: Sequence[Event]) -> dict[str, Any]:
    """Return the latest answer to each question."""
    return {event.data["question"]: event.data["value"] for event in events if event.kind == "answer"}


def _is_broken(events: Sequence[Event]) -> bool:
    return any(event.kind == TROUBLE for event in events)


def _check_state(trial: Trial, answers: Mapping[str, Any], is_broken: bool) -> str | None:
    """Return how a check went; one whose clips could not be played says nothing about the rater."""
    if trial.kind != "check":
        return None
    if is_broken:
        return "unknown"
    return "passed" if all(answers[name] == trial.expected for name in wording.ASKED["check"]) else "failed"


def _instruction(trial: Trial) -> str:
    if trial.kind == "practice":
        return wording.PRACTICE_INSTRUCTION
    if trial.kind == "check":
        return wording.CHECK_INSTRUCTION.format(choice=wording.choice_label(wording.FIT, str(trial.expected)))
    return ""


def _check_token(token: object) -> str:
    if not isinstance(token, str) or not 0 < len(token) <= 64:
        raise InputError("A page needs its token.")
    return token


def _clip_number(number: object, trial: Trial) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(trial.clips):
        raise InputError(f"A clip is numbered from 0 to {len(trial.clips) - 1}.")
    return number


def _check_event(event: object, trial: Trial) -> tuple[str, dict[str, Any]]:
    """Return the kind and the data of a reported event, or refuse it."""
    if not isinstance(event, Mapping) or event.get("kind") not in REPORTED or not event.keys() <= {"kind", "clip"}:
        raise InputError(f"An event has a kind, one of {', '.join(REPORTED)}, and the number of a clip.")
    kind = event["kind"]
    if kind in ("play", "ended", "seek"):
        return kind, {"clip": _clip_number(event.get("clip"), trial)}
    return kind, {}
