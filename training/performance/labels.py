"""The emotion labels of the corpus: the 28 of GoEmotions and their grouping into seven.

Reference: Demszky et al. 2020, "GoEmotions: A Dataset of Fine-Grained Emotions" (the 27 emotions, neutral, and the
published Ekman grouping, which `SEVEN` repeats).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABELS: tuple[str, ...] = (
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
)
"""Names in the order of the ids of the published files."""

LABEL_INDEX: dict[str, int] = {name: index for index, name in enumerate(LABELS)}

SEVEN: dict[str, tuple[str, ...]] = {
    "joy": (
        "admiration",
        "amusement",
        "approval",
        "caring",
        "desire",
        "excitement",
        "gratitude",
        "joy",
        "love",
        "optimism",
        "pride",
        "relief",
    ),
    "sadness": ("disappointment", "embarrassment", "grief", "remorse", "sadness"),
    "anger": ("anger", "annoyance", "disapproval"),
    "fear": ("fear", "nervousness"),
    "surprise": ("confusion", "curiosity", "realization", "surprise"),
    "disgust": ("disgust",),
    "neutral": ("neutral",),
}
"""Ekman grouping published with GoEmotions, plus neutral."""

SEVEN_NAMES: tuple[str, ...] = tuple(SEVEN)
SEVEN_OF: dict[str, str] = {label: group for group, members in SEVEN.items() for label in members}
SEVEN_INDEX: NDArray[np.intp] = np.array([SEVEN_NAMES.index(SEVEN_OF[name]) for name in LABELS], dtype=np.intp)
"""(28,) position in `SEVEN_NAMES` of every label."""


def label_matrix(sentences: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return the label weights of sentences (`{"labels": {name: weight}}`) as rows, (S, 28); absent labels weigh 0."""
    weights = np.zeros((len(sentences), len(LABELS)))
    for row, sentence in enumerate(sentences):
        for name, weight in sentence["labels"].items():
            weights[row, LABEL_INDEX[name]] = weight
    return weights


def to_seven(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Add up label weights (S, 28) in the seven groups, (S, 7), in the order of `SEVEN_NAMES`."""
    return np.stack([weights[:, group == SEVEN_INDEX].sum(axis=1) for group in range(len(SEVEN))], axis=1)
