"""The tables of the ratings, and the rows as plain objects.

    clips ──< ratings                    play: one clip as one rater saw it; each score, change or withdrawal is a row
          └─< choices                    play: which clip of a request is the best; each change of mind is a row
    study_sittings ──< study_trials ──1 study_votes     the blind study: a rater's visit, its pages, their answers
                   └─< study_events                     what happened on the pages, appended and never changed
    study_shards ──< study_shard_records                what was sent to the Hub, `cteg.study.hub`
    study_withdrawals                                   raters who took back what had been sent

Play ratings are events: nothing is updated or overwritten, the event with the highest `sequence` is a rater's present
opinion of a clip and a score of NULL withdraws it; of the choices, too, a request's latest one counts. A study trial is
answered once: its vote is unique by trial and by place in the sitting. The two never meet: `mode` says `play` for the
first, and the study has tables of its own. Times are ISO 8601 in UTC, as text, so that they read and sort the same in
every database.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 5

metadata = MetaData()

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied", String(32), nullable=False),
)

clips = Table(
    "clips",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("rater", String(32), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("run", String(32), nullable=False),
    Column("sample", SmallInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("weights", String(200), nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("temperature", Float, nullable=False),
    Column("guidance", Float, nullable=False, server_default="0"),
    Column("frames", Integer, nullable=False),
    Column("app_version", String(40), nullable=False),
    Column("created", String(32), nullable=False),
    UniqueConstraint("run", "sample", name="one_clip_per_sample"),
    CheckConstraint("mode IN ('play', 'study')", name="known_clip_mode"),
    CheckConstraint("sample >= 0 AND position >= 0 AND frames >= 1", name="sane_clip"),
    Index("clips_by_rater", "rater"),
)

ratings = Table(
    "ratings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("clip", String(64), ForeignKey("clips.token", ondelete="CASCADE"), nullable=False),
    Column("rater", String(32), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("score", SmallInteger),
    Column("text", Text),
    Column("head", String(80), nullable=False, server_default=""),
    Column("app_version", String(40), nullable=False),
    Column("created", String(32), nullable=False),
    UniqueConstraint("rater", "clip", "sequence", name="one_rating_per_step"),
    CheckConstraint("score IS NULL OR score BETWEEN 1 AND 5", name="score_from_1_to_5"),
    CheckConstraint("sequence >= 1", name="sequence_from_1"),
    CheckConstraint("mode IN ('play', 'study')", name="known_rating_mode"),
)

choices = Table(
    "choices",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("clip", String(64), ForeignKey("clips.token", ondelete="CASCADE"), nullable=False),
    Column("run", String(32), nullable=False),
    Column("rater", String(32), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("is_best", SmallInteger, nullable=False),
    Column("text", Text),
    Column("head", String(80), nullable=False, server_default=""),
    Column("app_version", String(40), nullable=False),
    Column("created", String(32), nullable=False),
    UniqueConstraint("rater", "run", "sequence", name="one_choice_per_step"),
    CheckConstraint("is_best IN (0, 1)", name="best_or_taken_back"),
    CheckConstraint("sequence >= 1", name="choice_sequence_from_1"),
    CheckConstraint("mode IN ('play', 'study')", name="known_choice_mode"),
)

SIDES = ("left", "right", "equal", "cannot_tell")
"""Answers to a comparison."""

COMPARISONS = ("practice", "pair", "repeat", "check")
KINDS = (*COMPARISONS, "set", "single")
"""Kinds of trials: two clips compared (to practise, for real, again with sides swapped, with a told answer), two sets
of clips compared, one clip rated."""

TROUBLE = "trouble"
"""Flag of a vote whose clips could not be played: kept, never counted."""


def _among(column: str, values: tuple[str, ...]) -> str:
    listed = ", ".join(repr(value) for value in values)
    return f'("{column}" IN ({listed}))'  # quoted: NATURAL is a word of SQL's own


study_sittings = Table(
    "study_sittings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study", String(64), nullable=False),
    Column("rater", String(32), nullable=False),
    Column("consent", String(20), nullable=False),
    Column("device", String(20), nullable=False),
    Column("app_version", String(40), nullable=False),
    Column("created", String(32), nullable=False),
    UniqueConstraint("study", "rater", name="one_sitting_per_rater"),
)

study_trials = Table(
    "study_trials",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("sitting", String(32), ForeignKey("study_sittings.id", ondelete="CASCADE"), nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("sentence", String(16), nullable=False),
    Column("left_condition", String(80), nullable=False),
    Column("right_condition", String(80), nullable=False),
    Column("left_clips", String(200), nullable=False),
    Column("right_clips", String(200), nullable=False),
    Column("expected", String(12)),
    Column("repeats", SmallInteger),
    Column("longest", Float, nullable=False),
    Column("created", String(32), nullable=False),
    Column("shown", String(32)),
    Column("deadline", String(32)),
    Column("claimed", String(32)),
    UniqueConstraint("sitting", "place", "attempt", name="one_trial_per_attempt"),
    CheckConstraint(_among("kind", KINDS), name="known_trial_kind"),
)

study_votes = Table(
    "study_votes",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("trial", String(64), ForeignKey("study_trials.token", ondelete="CASCADE"), nullable=False, unique=True),
    Column("sitting", String(32), ForeignKey("study_sittings.id", ondelete="CASCADE"), nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("fit", String(12)),
    Column("natural", String(12)),
    Column("variety", String(12)),
    Column("score", SmallInteger),
    Column("check_state", String(8)),
    Column("seconds", Float, nullable=False),
    Column("plays", Integer, nullable=False),
    Column("seeks", Integer, nullable=False),
    Column("flag", String(20), nullable=False, server_default=""),
    Column("app_version", String(40), nullable=False),
    Column("created", String(32), nullable=False),
    UniqueConstraint("sitting", "place", name="one_vote_per_place"),
    CheckConstraint("score BETWEEN 1 AND 5", name="study_score_from_1_to_5"),
    *(CheckConstraint(_among(name, SIDES), name=f"known_{name}") for name in ("fit", "natural", "variety")),
    CheckConstraint(_among("check_state", ("passed", "failed", "unknown")), name="known_check_state"),
    CheckConstraint(
        f"flag = '{TROUBLE}' OR ({_among('kind', COMPARISONS)} AND fit IS NOT NULL AND \"natural\" IS NOT NULL)"
        " OR (kind = 'set' AND variety IS NOT NULL) OR (kind = 'single' AND score IS NOT NULL)",
        name="answered_or_flagged",
    ),
)

study_events = Table(
    "study_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("sitting", String(32), ForeignKey("study_sittings.id", ondelete="CASCADE"), nullable=False),
    Column("trial", String(64)),
    Column("kind", String(20), nullable=False),
    Column("data", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Index("events_by_trial", "trial"),
    Index("events_by_sitting", "sitting"),
)

study_shards = Table(
    "study_shards",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("uploaded", String(32)),
)

study_shard_records = Table(
    "study_shard_records",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("record", String(32), primary_key=True),
    Column("shard", String(32), ForeignKey("study_shards.id", ondelete="CASCADE"), nullable=False),
    Index("records_by_shard", "shard"),
)

study_withdrawals = Table(
    "study_withdrawals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("rater", String(16), nullable=False),
    Column("created", String(32), nullable=False),
)

UPGRADES: dict[int, tuple[str, ...]] = {
    2: ("ALTER TABLE ratings ADD COLUMN head VARCHAR(80) NOT NULL DEFAULT ''",),
    3: (),  # the tables of the study
    4: ("ALTER TABLE clips ADD COLUMN guidance FLOAT NOT NULL DEFAULT 0",),
    5: (),  # choices
}
"""For each version the statements that bring a database of the one before it there; new tables exist by then."""


def pseudonym(rater: str) -> str:
    """Return the name under which a rater is known outside of the server: 16 hexadecimal digits.

    The rater's own id is what proves to the server that someone is this rater, so it never leaves it; it is random with
    128 bits, so it cannot be found from its hash.
    """
    return hashlib.sha256(f"cteg rater {rater}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Rating:
    """One rating event with the identity of the clip it belongs to.

    Attributes:
        id: Random id of the event, 32 hexadecimal digits.
        rater: Random id of the browser, 32 hexadecimal digits.
        mode: `play` or `study`.
        sequence: 1 for a rater's first score of this clip, 2 for the first change, ...
        score: 1 (does not fit at all) ... 5 (fits perfectly); None withdraws the rating.
        text: The sentence, only where the rater agreed to keep it.
        head: Name of the head that performed the clip when it was rated; empty where it is not known.
        text_sha256: SHA-256 of the sentence in UTF-8, hexadecimal.
        weights: Name of the weights that made the clip.
        seed: Seed of the clip (seed of the request + sample).
        temperature: Sampling temperature.
        guidance: How much more strongly than learned the sentence decided, 0...3.
        run: Random id of the request; the clips of one request were seen side by side.
        sample: Index of the clip within its request.
        position: Place on the page, 0 = first.
        frames: Length of the clip in frames.
        app_version: Version of CTEG that took the rating.
        created: Time of the event, ISO 8601 in UTC.
    """

    id: str
    rater: str
    mode: str
    sequence: int
    score: int | None
    text: str | None
    head: str
    text_sha256: str
    weights: str
    seed: int
    temperature: float
    guidance: float
    run: str
    sample: int
    position: int
    frames: int
    app_version: str
    created: str


@dataclass(frozen=True)
class Choice:
    """One event of choosing the best clip of a request, or of taking that back.

    Attributes:
        id: Random id of the event, 32 hexadecimal digits.
        rater: Random id of the browser, 32 hexadecimal digits.
        mode: `play` or `study`.
        sequence: 1 for a rater's first choice in this request, 2 for the first change, ...
        is_best: 1 where this clip was chosen, 0 where that was taken back.
        text: The sentence, only where the rater agreed to keep it.
        head: Name of the head that performed the clips; empty where it is not known.
        text_sha256: SHA-256 of the sentence in UTF-8, hexadecimal.
        weights: Name of the weights that made the clips.
        seed: Seed of this clip.
        temperature: Sampling temperature.
        guidance: How much more strongly than learned the sentence decided, 0...3.
        run: Random id of the request.
        sample: Index of this clip within its request.
        position: Place on the page, 0 = first.
        faces: How many clips the request had.
        app_version: Version of CTEG that took the choice.
        created: Time of the event, ISO 8601 in UTC.
    """

    id: str
    rater: str
    mode: str
    sequence: int
    is_best: int
    text: str | None
    head: str
    text_sha256: str
    weights: str
    seed: int
    temperature: float
    guidance: float
    run: str
    sample: int
    position: int
    faces: int
    app_version: str
    created: str


@dataclass(frozen=True)
class Receipt:
    """The proof that a score is in the database: its event id, its place in the sequence and the score itself."""

    id: str
    sequence: int
    score: int | None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one page of a sitting shows.

    Attributes:
        place: Place in the sitting, from 0.
        attempt: How often the page was shown, from 1.
        kind: One of `KINDS`.
        sentence: Id of the sentence.
        left_condition: What made the clip or set on the left; the only one of a `single`.
        right_condition: The same for the right; empty for a `single`.
        left_clips: Ids of its clips, joined by commas.
        right_clips: The same for the right.
        expected: Answer that a `check` told the rater to give.
        repeats: Place of the trial that a `repeat` repeats.
        longest: Length of the longest clip of the page in seconds.
    """

    place: int
    attempt: int
    kind: str
    sentence: str
    left_condition: str
    right_condition: str
    left_clips: str
    right_clips: str
    expected: str | None
    repeats: int | None
    longest: float


@dataclass(frozen=True, kw_only=True)
class Vote(Shown):
    """One vote of the blind study with the page that it answers, as statistics and exports see it.

    Attributes:
        id: Random id of the vote, 32 hexadecimal digits.
        study: Id of the stimulus set.
        rater: Pseudonym of the rater, 16 hexadecimal digits.
        device: `desktop`, `tablet`, `phone` or `unknown`.
        consent: Version of the consent text.
        fit: Which face shows the feeling better, one of `SIDES`.
        natural: Which movement looks more natural, one of `SIDES`.
        variety: Which set varies more while still fitting, one of `SIDES`.
        score: How well the face fits, 1...5.
        check_state: `passed`, `failed` or `unknown` for a `check`.
        seconds: Time that the page was visible.
        plays: Times that a clip was started.
        seeks: Times that the rater moved within a clip.
        flag: `trouble` where the clips could not be played; empty otherwise.
        app_version: Version of CTEG.
        created: Time of the vote, ISO 8601 in UTC.
    """

    id: str
    study: str
    rater: str
    device: str
    consent: str
    fit: str | None
    natural: str | None
    variety: str | None
    score: int | None
    check_state: str | None
    seconds: float
    plays: int
    seeks: int
    flag: str
    app_version: str
    created: str

    @property
    def is_usable(self) -> bool:
        """Whether the clips could be played."""
        return self.flag != TROUBLE
