"""The script of a performance: every decision that chance makes before a frame is computed.

Per sentence are drawn: the leading emotion in proportion to the label weights, a second one (nearly all real sequences
hold two or more), variants, style, strength, times, whether and when the face speaks, how far it returns to neutral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cteg import layout
from training.performance.speech import Speech, draw_speech, syllables_of
from training.performance.table import Repertoire, Variant

LONGEST_FRAMES = 240
LONGEST = (LONGEST_FRAMES - 1) / layout.FPS
"""Seconds: 240 frames at 25 a second."""

TALKATIVENESS = 0.7
"""Share of performances that speak the sentence; the others react to it in silence."""

STYLES: dict[str, tuple[float, float, float]] = {
    "subtle": (0.15, 0.52, 0.68),
    "conversational": (0.50, 0.85, 1.08),
    "theatrical": (0.35, 1.05, 1.30),
}
"""Probability, and lowest and highest factor on the intensities of the variant; our choice."""

SECOND_IF_MIXED = 0.75
SECOND_IF_SINGLE = 0.50
"""Probability of a second part where the sentence has several labels, and where it has one; our choice."""

OWN_VARIANT_SHARE = 0.35
"""Of the sequences on one label with a second part, those whose second part is another variant of the same label."""

LEADS_FIRST = 0.65
"""Share of the sequences with two parts in which the leading emotion comes first."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One expression within a performance.

    Attributes:
        variant: What is shown.
        strength: Factor on the intensities of the variant.
        start: Seconds at which it sets in.
        onset: Seconds from there to the apex, before the pace of each unit.
    """

    variant: Variant
    strength: float
    start: float
    onset: float


@dataclass(frozen=True, eq=False)
class Script:
    """All decisions of one performance but the noise.

    Attributes:
        leading: The label that leads.
        style: Key of `STYLES`.
        episodes: In order of time; one or two.
        release: Seconds at which the return towards neutral starts.
        offset: Seconds that the return takes.
        residual: Share of the last expression that stays, 0 = neutral again.
        speech: What is said; without phrases in a silent performance.
        speech_start: Seconds at which the speech starts.
        duration: Seconds.
    """

    leading: str
    style: str
    episodes: tuple[Episode, ...]
    release: float
    offset: float
    residual: float
    speech: Speech
    speech_start: float
    duration: float

    @property
    def frames(self) -> int:
        """Number of frames, at most `LONGEST_FRAMES`."""
        return min(int(self.duration * layout.FPS) + 1, LONGEST_FRAMES)


def draw_index(weights: Sequence[float], rng: Generator) -> int:
    """Draw an index in proportion to its weight; weights >= 0 need not sum to 1."""
    edges = np.cumsum(weights)
    return min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(edges) - 1)


def draw_label(labels: Mapping[str, float], rng: Generator) -> str:
    """Draw a label in proportion to its weight."""
    return list(labels)[draw_index(list(labels.values()), rng)]


def draw_variant(variants: Sequence[Variant], rng: Generator) -> Variant:
    """Draw a variant of a label in proportion to its weight."""
    return variants[draw_index([variant.weight for variant in variants], rng)]


def draw_second(leading: str, labels: Mapping[str, float], repertoire: Repertoire, rng: Generator) -> str | None:
    """Draw the label of the second part, or None for a performance of one part."""
    others = {name: weight for name, weight in labels.items() if name != leading and weight > 0}
    if others:
        return draw_label(others, rng) if rng.random() < SECOND_IF_MIXED else None
    if rng.random() >= SECOND_IF_SINGLE:
        return None
    return leading if rng.random() < OWN_VARIANT_SHARE else draw_label(repertoire.followers[leading], rng)


def draw_script(text: str, labels: Mapping[str, float], repertoire: Repertoire, rng: Generator) -> Script:
    """Draw the script of one performance of a sentence.

    Args:
        text: The sentence.
        labels: Weight of each label, > 0; need not sum to 1.
        repertoire: The tables.
        rng: Source of randomness.
    """
    leading = draw_label(labels, rng)
    second = draw_second(leading, labels, repertoire, rng)
    style, strength = _draw_style(rng)
    begin = rng.uniform(0.04, 0.22)
    offset = rng.uniform(0.4, 0.9)
    hold = rng.uniform(0.5, 1.2) if rng.random() < 0.75 else rng.uniform(0.1, 0.4)
    if rng.random() < TALKATIVENESS:
        # one voice in three waits until the face has spoken
        wait = rng.uniform(0.4, 0.8) if rng.random() < 0.33 else rng.uniform(0.05, 0.3)
        speech_start = begin + wait
        speech = draw_speech(text, LONGEST - speech_start - hold - offset - 0.1, rng)
        release = speech_start + speech.duration + hold
    else:
        speech_start, speech = begin, Speech((), np.empty(0))
        thought = min(0.07 * syllables_of(text), 2.0)  # longer sentences take longer to react to
        release = begin + 0.5 + thought + hold + rng.uniform(0.0, 0.6)
    duration = min(release + offset + rng.uniform(0.04, 0.2), LONGEST)
    episodes = _draw_episodes(leading, second, strength, (begin, release), style, repertoire, rng)
    return Script(leading, style, episodes, release, offset, _draw_residual(rng), speech, speech_start, duration)


def _draw_style(rng: Generator) -> tuple[str, float]:
    """Draw a style and the strength within it."""
    style = draw_label({name: row[0] for name, row in STYLES.items()}, rng)
    return style, float(rng.uniform(*STYLES[style][1:]))


def _draw_residual(rng: Generator) -> float:
    """Draw what stays of the last expression: nothing in half of the cases, some in most others."""
    chance = rng.random()
    if chance < 0.5:
        return 0.0
    return float(rng.uniform(0.08, 0.35) if chance < 0.85 else rng.uniform(0.5, 0.85))


def _draw_episodes(
    leading: str,
    second: str | None,
    strength: float,
    span: tuple[float, float],
    style: str,
    repertoire: Repertoire,
    rng: Generator,
) -> tuple[Episode, ...]:
    """Place one or two expressions in the time span (seconds); the leading one gets the larger part."""
    begin, end = span
    variant = draw_variant(repertoire.variants[leading], rng)
    if second is None or end - begin < 1.1:  # two expressions in less than a second cannot be told apart
        return (Episode(variant, strength, begin, _draw_onset(variant, style, end - begin, rng)),)
    choices = [v for v in repertoire.variants[second] if v is not variant] or [variant]
    other = draw_variant(choices, rng)
    softer = strength * rng.uniform(0.6, 0.95)
    leads_first = rng.random() < LEADS_FIRST
    share = rng.uniform(0.55, 0.72) if leads_first else rng.uniform(0.25, 0.42)
    turn = begin + share * (end - begin)
    order = ((variant, strength), (other, softer)) if leads_first else ((other, softer), (variant, strength))
    return (
        Episode(*order[0], begin, _draw_onset(order[0][0], style, turn - begin, rng)),
        Episode(*order[1], turn, _draw_onset(order[1][0], style, end - turn, rng)),
    )


def _draw_onset(variant: Variant, style: str, room: float, rng: Generator) -> float:
    """Draw the onset in seconds: log-normal around the median of the variant, 0.2 to 1.4 s, within the time there is.

    Performed takes need 0.35 to 1.48 s; conversational displays start from 0.2 s.
    """
    slow = {"subtle": 1.15, "conversational": 1.0, "theatrical": 1.1}[style]
    onset = variant.onset * slow * float(np.exp(0.22 * rng.standard_normal()))
    return float(min(max(onset, 0.2), 1.4, max(0.2, 0.75 * room)))
