"""Which sentences are performed: a choice balanced over the seven feelings.

GoEmotions is very unbalanced (disgust and fear are 1 to 2 % of it, neutral and the approving labels more than half),
and a model trained on it as it is never shows disgust. Rare feelings give all the sentences there are and each of them
is performed more often; the common ones fill the rest, their rarer labels first.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.performance.clean import words_of
from training.performance.labels import LABELS, SEVEN_NAMES, label_matrix, to_seven

MOST_WORDS = 28
"""Longer sentences do not fit into the longest clip but in a hurry."""

SHORT_WORDS = 7
DECAY_WORDS = 5.0
"""Sentences above `SHORT_WORDS` are drawn less often, by e-fold per `DECAY_WORDS` more: dialogue is short (the median
sentence of EmoAva has 6 words), Reddit is not."""

NEUTRAL_SHARE = 0.14
"""Largest share of the chosen sentences that are neutral."""

MOST_REPEATS = 2.0
"""A sentence of a rare feeling is performed at most this many times as often as one of a common feeling."""

OWN_REPEATS = 2
"""Our own sentences are all performed, this many times as often: they are the nearest to what people type."""


def groups_of(sentences: list[dict]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the group of seven and the label of most weight of every sentence, (S,) each."""
    weights = label_matrix(sentences)
    return to_seven(weights).argmax(axis=1), weights.argmax(axis=1)


def quotas(available: NDArray[np.intp], wanted: int) -> NDArray[np.intp]:
    """Share `wanted` sentences among the groups: equal parts, what a group lacks goes to those that have more."""
    limit = available.copy()
    neutral = SEVEN_NAMES.index("neutral")
    limit[neutral] = min(limit[neutral], int(NEUTRAL_SHARE * wanted))
    quota = np.zeros_like(limit)
    while quota.sum() < min(wanted, limit.sum()):
        open_groups = np.flatnonzero(quota < limit)
        part = max(1, (wanted - quota.sum()) // len(open_groups))
        for group in open_groups:
            quota[group] += min(part, limit[group] - quota[group], wanted - quota.sum())
    return quota


def choose(sentences: list[dict], wanted: int, rng: Generator) -> list[int]:
    """Choose sentences, balanced over the seven feelings; returns their indices in random order."""
    lengths = np.array([len(words_of(sentence["text"])) for sentence in sentences])
    groups, labels = groups_of(sentences)
    fits = lengths <= MOST_WORDS
    label_counts = np.bincount(labels[fits], minlength=len(LABELS)).clip(1)
    log_weight = -np.maximum(lengths - SHORT_WORDS, 0) / DECAY_WORDS - 0.5 * np.log(label_counts[labels])
    key = log_weight + rng.gumbel(size=len(sentences))  # the largest keys are a weighted draw without replacement
    key[[sentence.get("source") == "own" for sentence in sentences]] += 100  # before all others
    key[~fits] = -np.inf
    available = np.bincount(groups[fits], minlength=len(SEVEN_NAMES))
    chosen: list[int] = []
    for group, quota in enumerate(quotas(available, wanted)):
        members = np.flatnonzero((groups == group) & fits)
        chosen.extend(members[np.argsort(-key[members], kind="stable")[:quota]].tolist())
    return rng.permutation(np.array(chosen, dtype=np.intp)).tolist()


def repeats(sentences: list[dict], performances: int) -> NDArray[np.intp]:
    """Return how often each sentence is performed, (S,): more often where its feeling is rare."""
    groups, _ = groups_of(sentences)
    counts = np.bincount(groups, minlength=len(SEVEN_NAMES)).clip(1)
    even = len(sentences) / np.count_nonzero(np.bincount(groups))
    factor = np.clip(even / counts, 1.0, MOST_REPEATS)
    own = np.array([OWN_REPEATS if sentence.get("source") == "own" else 1 for sentence in sentences])
    return np.rint(performances * factor[groups]).astype(np.intp) * own
