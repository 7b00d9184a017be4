"""Every word that a rater of the blind study reads, in one place."""

from __future__ import annotations

CONSENT_VERSION = "2026-1"
"""Changes with every change of `CONSENT`; stored with each sitting."""

CONSENT = """\
You will see a face act out short sentences, in pairs of clips, and tell us which one fits better. There are no right
or wrong answers. It takes about eight minutes, and you may stop at any time without giving a reason.

We store your answers, when you gave them, how often you played a clip, whether you used a computer, a tablet or a
phone, and a random number in your browser that holds your answers together. We do not store your name, your e-mail
address or your network address. The answers are used for research and will be published without the random number.

You can delete your answers on the last page, or later from the same browser. Some clips move oddly on purpose; if
facial expressions of fear, anger or disgust trouble you, please do not take part. You must be at least 18 years old.
"""

CONTACT = "Questions about this study: {contact}"

FIT = "fit"
NATURAL = "natural"
VARIETY = "variety"
SCORE = "score"

QUESTIONS: dict[str, str] = {
    FIT: "Which face shows the feeling of the sentence better?",
    NATURAL: "Which movement looks more natural?",
    VARIETY: "Which set varies more while still fitting?",
    SCORE: "How well does the face fit the feeling of the sentence?",
}

SIDES = (
    ("left", "the left one"),
    ("right", "the right one"),
    ("equal", "no difference"),
    ("cannot_tell", "can't tell"),
)
STEPS = ((1, "not at all"), (2, "a little"), (3, "fairly"), (4, "well"), (5, "perfectly"))
CHOICES: dict[str, tuple[tuple[str | int, str], ...]] = {FIT: SIDES, NATURAL: SIDES, VARIETY: SIDES, SCORE: STEPS}
"""For every question the stored answers with what a rater reads, in the order of the page."""

ASKED: dict[str, tuple[str, ...]] = {
    "practice": (FIT, NATURAL),
    "pair": (FIT, NATURAL),
    "repeat": (FIT, NATURAL),
    "check": (FIT, NATURAL),
    "set": (VARIETY,),
    "single": (SCORE,),
}
"""Questions of every kind of page, asked one after the other: naturalness must not leak into fit."""

CHECK_INSTRUCTION = "On this page only, please choose '{choice}' for both questions, whatever you see."
PRACTICE_INSTRUCTION = "This page is for practice; the answers do not count."
TROUBLE_NOTICE = "The clips could not be played on this page, so it will not count. Please go on."
THANKS = "Your answers are saved; you can close this page. Whoever opens it again in this browser can delete them."


def choice_label(question: str, value: str | int) -> str:
    """Return what a rater reads for a stored answer."""
    return dict(CHOICES[question])[value]


def is_choice(question: str, value: object) -> bool:
    """Return whether a value is an answer to a question; true and 1.0 are no scores."""
    return any(type(value) is type(choice) and value == choice for choice, _ in CHOICES[question])
