"""Performances: from a script to the frames.

`perform` is what training calls; `render` is the deterministic-by-seed part that turns a script into coefficients:
expressions as levels of action units joined by minimum-jerk steps, brow raises on stressed words, mouth motion of real
captures under which the mouth of the feeling steps back, gaze and blinks.

Dimension letters: T frames, K steps, U action units, D = 53 coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cteg import layout
from training.performance import blinks as blinking
from training.performance import gaze as looking
from training.performance.captures import SpeechBank
from training.performance.dynamics import Array, bumps, fluctuation, minimum_jerk, side_factors, step_curves
from training.performance.script import Script, draw_script
from training.performance.speech import mouth_motion, speaking_gate
from training.performance.table import Repertoire, repertoire

HOLD_FLUCTUATION = 0.055
"""Standard deviation of a held unit as a share of its level; our choice, seen as "alive" without tremor."""

SHORTEST_STEP = 0.24
"""Seconds of the fastest step of a unit: its peak speed, 1.875 / 0.24 s, is that of the fastest brows of real takes."""

IDLE = 0.008
"""Standard deviation of the drift of brows, lids and mouth corners at rest: a living face is never at exact zero."""

IDLE_SHAPES = tuple(
    layout.INDEX[name + side]
    for name in ("browInnerUp", "browDown", "eyeSquint", "mouthSmile", "mouthPress", "mouthFrown")
    for side in ("Left", "Right")
)
SETTLE = 0.4
"""Seconds over which drift fades in, so that a performance starts at the neutral frame."""

WIDEST_SPEECH = 0.6 * layout.JAW_OPEN_RADIANS
"""Limit of the jaw in speech, approached softly: a few takes open as wide as a shout."""

JAW_OPEN = layout.INDEX["jawOpen"]
JAW_TURN = layout.INDEX["jawTurn"]
MOUTH_CLOSE = layout.INDEX["mouthClose"]
BLINK = [layout.INDEX["eyeBlinkLeft"], layout.INDEX["eyeBlinkRight"]]
WIDE = [layout.INDEX["eyeWideLeft"], layout.INDEX["eyeWideRight"]]
SQUINT = [layout.INDEX["eyeSquintLeft"], layout.INDEX["eyeSquintRight"]]
SMILE = [layout.INDEX["mouthSmileLeft"], layout.INDEX["mouthSmileRight"]]
ROUNDING = [layout.INDEX["mouthPucker"], layout.INDEX["mouthFunnel"]]


@dataclass(frozen=True, eq=False)
class Performance:
    """One performance with the decisions behind it.

    Attributes:
        frames: (T, 53) float32 coefficients in the `open` space, 25 a second.
        script: What was drawn.
        blinks: When the lids close.
    """

    frames: NDArray[np.float32]
    script: Script
    blinks: blinking.Blinks


def perform(text: str, labels: Mapping[str, float], rng: Generator, bank: SpeechBank) -> NDArray[np.float32]:
    """Perform a sentence once.

    Args:
        text: The sentence, 1 to about 40 words.
        labels: Weight of each GoEmotions label, e.g. `{"joy": 0.7, "love": 0.3}`.
        rng: Source of randomness; the same state gives the same performance.
        bank: Mouth motion of captures, from `captures.load_bank`.

    Returns:
        (T, 53) float32 coefficients in the `open` space at 25 frames a second, T <= 240; the first frame is neutral.
    """
    return draw_performance(text, labels, rng, bank).frames


def draw_performance(
    text: str, labels: Mapping[str, float], rng: Generator, bank: SpeechBank, tables: Repertoire | None = None
) -> Performance:
    """Perform a sentence once and return the decisions too; see `perform`."""
    tables = tables or repertoire()
    script = draw_script(text, labels, tables, rng)
    return render(script, tables, bank, rng)


def render(script: Script, tables: Repertoire, bank: SpeechBank, rng: Generator) -> Performance:
    """Compute the frames of a script."""
    times = np.arange(script.frames) / layout.FPS  # (T,)
    gate = speaking_gate(times, script.speech, script.speech_start)
    coefficients = expression(times, script, gate, tables, rng)
    coefficients += look(times, script, rng)
    if script.speech.phrases:
        _speak(coefficients, times, script, bank, rng)
    drawn = _blink(coefficients, times, script, rng)
    drift = IDLE * fluctuation(times, len(IDLE_SHAPES), rng) * minimum_jerk(times / SETTLE)[:, None]
    coefficients[:, IDLE_SHAPES] += drift
    frames = finish(coefficients)
    return Performance(mirrored(frames) if rng.random() < 0.5 else frames, script, drawn)


def expression(times: Array, script: Script, gate: Array, tables: Repertoire, rng: Generator) -> NDArray[np.float64]:
    """Return the emotional part of the coefficients, (T, D).

    The mouth of the feeling steps back to about a third while the face speaks (`gate`), so that mood and mouth do not
    fight, and returns before and after.
    """
    units = tables.units
    sides = side_factors(units.asymmetry, rng)  # (2, U)
    levels = np.stack([e.strength * e.variant.intensities for e in script.episodes])  # (episodes, 2, U)
    levels = np.minimum(levels, 1.0) * sides
    levels /= np.maximum(levels.max(axis=1, keepdims=True), 1.0)  # a full unit stays as lopsided as a weak one
    levels = np.concatenate([np.zeros_like(levels[:1]), levels, script.residual * levels[-1:]])  # (K + 1, 2, U)
    used = np.flatnonzero(levels.any(axis=(0, 1)))
    levels = levels[:, :, used]
    starts, durations = _unit_times(script, tables, used, rng)  # (K, n), (K, n)
    curves = np.stack([step_curves(times, levels[:, side], starts, durations) for side in range(2)], axis=1)
    curves *= 1.0 + HOLD_FLUCTUATION * fluctuation(times, len(used), rng)[:, None]
    curves *= 1.0 - gate[:, None, None] * (1.0 - units.speaking[used])
    coefficients = np.einsum("tsn,snd->td", curves, units.shapes[:, used].astype(np.float64))
    return coefficients + emphasis(times, script, tables, rng)


def _unit_times(script: Script, tables: Repertoire, used: NDArray[np.intp], rng: Generator) -> tuple[Array, Array]:
    """Draw when each used unit starts each step, and how long it takes: units do not move in lockstep.

    The upper face leads, the mouth follows by up to 0.16 s; brows are slower and lids faster than the mouth.
    """
    units = tables.units
    begins = np.array([e.start for e in script.episodes] + [script.release])  # (K,)
    lengths = np.array([e.onset for e in script.episodes] + [script.offset])
    count = (len(begins), len(used))
    lag = np.where(units.is_mouth[used], rng.uniform(0.02, 0.16, count), rng.uniform(0.0, 0.08, count))
    pace = units.pace[used] * np.exp(0.12 * rng.standard_normal(count))
    return begins[:, None] + lag, np.clip(lengths[:, None] * pace, SHORTEST_STEP, 1.5)


def emphasis(times: Array, script: Script, tables: Repertoire, rng: Generator) -> NDArray[np.float64]:
    """Return brow raises on stressed words, (T, D): they begin before the word, peak on it, and shrink as it goes on.

    Feelings that lower the brow stress words with the brow lowerer instead.
    """
    stressed = script.speech.stressed
    picked = stressed[rng.random(len(stressed)) < 0.45]
    if not len(picked):
        return np.zeros((len(times), layout.D))
    units = tables.units
    leading = script.episodes[0].variant.intensities.mean(axis=0)
    lowers = leading[units.numbers.index(4)] > leading[units.numbers.index(1)]
    share = {4: 0.8, 7: 0.3} if lowers else {1: 0.7, 2: 1.0}
    intensities = np.zeros(len(units.numbers))
    for number, value in share.items():
        intensities[units.numbers.index(number)] = value
    along = picked / max(script.speech.duration, 0.5)
    size = {"subtle": 0.6, "conversational": 1.0, "theatrical": 1.3}[script.style]
    heights = size * rng.uniform(0.12, 0.38, len(picked)) * (1.0 - 0.5 * along)
    curve = bumps(times, script.speech_start + picked, heights, rise=0.24, fall=0.36)
    return np.outer(curve, intensities @ units.shapes.sum(axis=0))


def look(times: Array, script: Script, rng: Generator) -> NDArray[np.float64]:
    """Return the gaze part of the coefficients, (T, D): each expression has its habit, the release ends it."""
    begins = [e.start + 0.3 * e.onset for e in script.episodes]
    ends = [*begins[1:], script.release + 0.3 * script.offset]
    habits = [(b, e, ep.variant.gaze) for b, e, ep in zip(begins, ends, script.episodes, strict=True)]
    habits.append((ends[-1], script.duration, "direct"))
    return looking.look_shapes(times, *looking.draw_gaze(habits, rng))


def _speak(coefficients: NDArray[np.float64], times: Array, script: Script, bank: SpeechBank, rng: Generator) -> None:
    """Add the mouth motion of a capture in place.

    How clearly people articulate differs; a rounded mouth pulls the corners of a smile in; the jaw opens a little to
    one side, which side depends on the person.
    """
    clarity = rng.uniform(0.75, 1.1) * {"subtle": 0.85, "conversational": 1.0, "theatrical": 1.1}[script.style]
    motion = clarity * mouth_motion(times, script.speech, script.speech_start, bank, rng)
    motion[:, JAW_OPEN] = WIDEST_SPEECH * np.tanh(motion[:, JAW_OPEN] / WIDEST_SPEECH)
    motion[:, JAW_TURN] += rng.normal(0.0, 0.03) * motion[:, JAW_OPEN]
    rounding = motion[:, ROUNDING].max(axis=1, keepdims=True)
    coefficients[:, SMILE] *= 1.0 - 0.5 * np.clip(rounding, 0.0, 1.0)
    coefficients += motion


def _blink(coefficients: NDArray[np.float64], times: Array, script: Script, rng: Generator) -> blinking.Blinks:
    """Add blinks in place: on the lids that are open, ending wide eyes for their time. Returns what was drawn."""
    clock = np.arange(0.0, script.duration, blinking.STEP)
    factor = np.ones(len(clock))
    for episode in script.episodes:
        factor[clock >= episode.start] = episode.variant.blink
    factor[clock >= script.release + 0.5 * script.offset] = 1.0
    base = blinking.CONVERSATION_PER_MINUTE if script.speech.phrases else blinking.REST_PER_MINUTE
    person = float(np.exp(blinking.PERSON_SIGMA * rng.standard_normal() - blinking.PERSON_SIGMA**2 / 2))
    ends = np.array([script.speech_start + phrase.end for phrase in script.speech.phrases])
    drawn = blinking.draw_blinks(script.duration, base * person * factor, ends, rng)
    lids = blinking.lid_curves(times, drawn).T  # (T, 2)
    coefficients[:, BLINK] += lids * (1.0 - np.clip(coefficients[:, BLINK], 0.0, 1.0))
    coefficients[:, WIDE] *= 1.0 - lids
    coefficients[:, SQUINT] += 0.08 * lids  # the ring muscle around the eye takes part
    return drawn


def mirrored(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Swap left and right of frames (T, D): the table names one side where a display is one-sided, people use both."""
    swapped = frames.copy()
    swapped[:, layout.EXPRESSION] = frames[:, layout.mirror_index()]
    swapped[:, JAW_TURN:] = -frames[:, JAW_TURN:]  # turn and roll change sign, opening does not
    return swapped


def finish(coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring coefficients (T, D) into their range; `mouthClose` never exceeds what the jaw opening allows."""
    opening = np.maximum(coefficients[:, JAW_OPEN], 0.0) / layout.JAW_OPEN_RADIANS
    coefficients[:, MOUTH_CLOSE] = np.minimum(coefficients[:, MOUTH_CLOSE], opening)
    coefficients[0] = 0.0
    return layout.clamp_open(coefficients.astype(np.float32))
