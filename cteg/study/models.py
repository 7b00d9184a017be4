"""The tables of the ratings, and the rows as plain objects.

    clips ──< ratings        one clip as one rater saw it; each score, change or withdrawal is a row of its own

Ratings are events: nothing is updated or overwritten, the event with the highest `sequence` is a rater's present
opinion of a clip and a score of NULL withdraws it. `mode` keeps ratings of the app (`play`) apart from those of the
blind study (`study`), whose trials will point at the same two tables. Times are ISO 8601 in UTC, as text, so that they
read and sort the same in every database.
"""

from __future__ import annotations

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

SCHEMA_VERSION = 2
MODES = ("play", "study")

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


UPGRADES: dict[int, tuple[str, ...]] = {2: ("ALTER TABLE ratings ADD COLUMN head VARCHAR(80) NOT NULL DEFAULT ''",)}
"""Statements that bring a database of the version before to the version that is their key."""


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
    run: str
    sample: int
    position: int
    frames: int
    app_version: str
    created: str


@dataclass(frozen=True)
class Receipt:
    """The proof that a score is in the database: its event id, its place in the sequence and the score itself."""

    id: str
    sequence: int
    score: int | None
