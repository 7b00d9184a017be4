"""The emotion labels of the corpus: the 28 of GoEmotions and their grouping into seven.

Reference: Demszky et al. 2020, "GoEmotions: A Dataset of Fine-Grained Emotions" (the 27 emotions, neutral, and the
published Ekman grouping, which `SEVEN` repeats).
"""

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
