"""Why the faces look as they do: what can be read out of a result, made only when someone opens it.

Letters: T frames, N faces.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.clip import Clip
from cteg.ui.examples import EXAMPLES
from cteg.ui.services import Generator

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from cteg.emotion import MotionClassifier


def _both(stem: str) -> tuple[str, ...]:
    return (f"{stem}Left", f"{stem}Right")


ACTIONS: dict[str, tuple[str, ...]] = {
    "eyes close": _both("eyeBlink"),
    "eyes look down": _both("eyeLookDown"),
    "eyes look up": _both("eyeLookUp"),
    "eyes look to their left": ("eyeLookOutLeft", "eyeLookInRight"),
    "eyes look to their right": ("eyeLookInLeft", "eyeLookOutRight"),
    "lids tighten": _both("eyeSquint"),
    "eyes widen": _both("eyeWide"),
    "inner brows up": _both("browInnerUp"),
    "outer brows up": _both("browOuterUp"),
    "brows down": _both("browDown"),
    "cheeks up": _both("cheekSquint"),
    "cheeks puff": _both("cheekPuff"),
    "nose wrinkles": _both("noseSneer"),
    "jaw opens": ("jawOpen",),
    "jaw pushes forward": ("jawForward",),
    "lips close": ("mouthClose",),
    "lips form an O": ("mouthFunnel",),
    "lips pucker": ("mouthPucker",),
    "lips press": _both("mouthPress"),
    "lip corners up": _both("mouthSmile"),
    "lip corners down": _both("mouthFrown"),
    "lip corners stretch": _both("mouthStretch"),
    "lip corners dimple": _both("mouthDimple"),
    "upper lip up": _both("mouthUpperUp"),
    "upper lip rolls in": ("mouthRollUpper",),
    "upper lip pushes up": ("mouthShrugUpper",),
    "lower lip down": _both("mouthLowerDown"),
    "lower lip rolls in": ("mouthRollLower",),
    "chin pushes up": ("mouthShrugLower",),
    "mouth moves to their left": ("mouthLeft",),
    "mouth moves to their right": ("mouthRight",),
}
"""What people would call the named shapes; both sides of the face are one action."""

SHOWN_ACTIONS = 5
SHOWN_FEELINGS = 6
COLOURS = ("#c4553b", "#2f7f9e", "#8a6bbf", "#4d8f4d", "#b58a1b")
"""Seen on both backgrounds; for people who confuse them the lines differ in their dashes, too."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


class Insights(NamedTuple):
    """What is read out of one result; None where it cannot be."""

    feelings: str | None
    actions: go.Figure | None
    motion: str | None
    distances: str | None


class Explainer:
    """Reads results out.

    Args:
        classifier: File of a `MotionClassifier`; without the file no feeling is read in faces.
    """

    def __init__(self, classifier: Path) -> None:
        self._path = classifier
        self._classifier: MotionClassifier | None = None
        self._typical: tuple[float, float] | None = None
        self._lock = threading.Lock()

    def explain(self, generator: Generator, clips: Sequence[Clip]) -> Insights:
        """Read out a result.

        Args:
            generator: What made it.
            clips: The clips of one request.

        Raises:
            WeightsError: The file of the classifier is damaged.
        """
        feelings = generator.read_feelings(clips[0].text)
        has_names = clips[0].space == "open"
        with self._lock:
            motion = self._read_motion(clips) if has_names else None
            if len(clips) > 1 and self._typical is None:
                self._typical = typical_distances(generator)
        return Insights(
            feelings_html(feelings) if feelings else None,
            actions_figure(clips) if has_names else None,
            motion,
            distances_html(clips, *self._typical) if len(clips) > 1 and self._typical else None,
        )

    def _read_motion(self, clips: Sequence[Clip]) -> str | None:
        if self._classifier is None:
            if not self._path.is_file():
                return None
            from cteg.checkpoint import load_module
            from cteg.emotion import MotionClassifier

            classifier = MotionClassifier()
            load_module(self._path, classifier)
            self._classifier = classifier
        from cteg.emotion import SEVEN

        rows = self._classifier.probabilities([clip.coefficients for clip in clips])  # (N, 7)
        return motion_html([dict(zip(SEVEN, map(float, row), strict=True)) for row in rows])


# -- the sentence ------------------------------------------------------------------------------------------------------


def feelings_html(feelings: dict[str, float]) -> str:
    """Draw the feelings that the text encoder reads in a sentence, likeliest first, and say how sure it is."""
    ranked = sorted(feelings.items(), key=lambda pair: -pair[1])
    shown, rest = ranked[:SHOWN_FEELINGS], ranked[SHOWN_FEELINGS:]
    bars = [_bar(label, share) for label, share in shown]
    if rest:
        bars.append(_bar(f"{len(rest)} others", sum(share for _, share in rest), is_rest=True))
    shares = np.array([share for _, share in ranked if share > 0])
    choices = float(np.exp(-(shares * np.log(shares)).sum()))
    sure = "quite sure" if choices < 4 else "torn between several" if choices < 8 else "unsure"
    return _panel(
        "What the model hears in the sentence",
        f"The faces act on this reading. Here it is {sure}: as undecided as a choice between "
        f"{choices:.1f} equally likely feelings.",
        f'<ul class="bars">{"".join(bars)}</ul>',
    )


def _bar(label: str, share: float, is_rest: bool = False) -> str:
    kind = ' class="rest"' if is_rest else ""
    percent = f"{100 * share:.0f} %"
    return (
        f'<li{kind}><span>{escape(label)}</span><i style="--share:{100 * share:.1f}%"></i><span>{percent}</span></li>'
    )


def _panel(title: str, line: str, body: str) -> str:
    return f'<section class="cteg-insight"><h2>{title}</h2><p>{line}</p>{body}</section>'


# -- the faces ---------------------------------------------------------------------------------------------------------


def action_curves(clip: Clip) -> dict[str, NDArray[np.float32]]:
    """Return every action of `ACTIONS` over time: (T,), 0 at rest ... 1 as far as it goes."""
    curves = {}
    for name, shapes in ACTIONS.items():
        curve = clip.coefficients[:, [layout.INDEX[shape] for shape in shapes]].mean(axis=1)
        curves[name] = curve / layout.JAW_OPEN_RADIANS if name == "jaw opens" else curve
    return curves


def strongest_actions(clips: Sequence[Clip], count: int = SHOWN_ACTIONS) -> list[str]:
    """Return the names of the actions with the largest root mean square over all clips, strongest first."""
    power: dict[str, float] = dict.fromkeys(ACTIONS, 0.0)
    for clip in clips:
        for name, curve in action_curves(clip).items():
            power[name] += float((curve**2).mean())
    return sorted(power, key=lambda name: -power[name])[:count]


def actions_figure(clips: Sequence[Clip]) -> go.Figure:
    """Draw the strongest actions of all faces over time, one small panel a face, the same lines in each."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = min(len(clips), 2)
    rows = -(-len(clips) // columns)
    titles = [f"Face {index + 1}" for index in range(len(clips))]
    figure = make_subplots(rows, columns, "all", "all", subplot_titles=titles, vertical_spacing=0.3 / rows)
    names = strongest_actions(clips)
    for index, clip in enumerate(clips):
        curves, seconds = action_curves(clip), np.arange(len(clip)) / clip.fps
        for name, colour, dash in zip(names, COLOURS, DASHES, strict=False):
            line = go.Scatter(
                x=seconds.round(3).tolist(),
                y=curves[name].round(3).tolist(),
                name=name,
                legendgroup=name,
                showlegend=index == 0,
                line={"color": colour, "dash": dash, "width": 2.5},
            )
            figure.add_trace(line, index // columns + 1, index % columns + 1)
    figure.update_layout(
        height=130 + 170 * rows,
        margin={"l": 44, "r": 12, "t": 30, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "IBM Plex Sans, system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "yanchor": "top", "y": -0.3 / rows},
        hovermode="x unified",
        dragmode=False,
    )
    grid = {"gridcolor": "rgba(128,120,130,0.25)", "zeroline": False, "fixedrange": True}
    figure.update_xaxes(**grid, ticksuffix=" s")
    figure.update_yaxes(**grid, range=[-0.03, 1.05], tickvals=[0, 0.5, 1], ticktext=["rest", "half", "full"])
    return figure


def motion_html(readings: Sequence[dict[str, float]]) -> str:
    """Draw the two feelings that a classifier of motion finds likeliest in each face."""
    faces = []
    for index, reading in enumerate(readings):
        best = sorted(reading.items(), key=lambda pair: -pair[1])[:2]
        bars = "".join(_bar(label, share) for label, share in best)
        faces.append(f'<div><h3>Face {index + 1}</h3><ul class="bars">{bars}</ul></div>')
    return _panel(
        "What the faces say without words",
        "Another small network sees only the movement, not the sentence, and guesses one of seven feelings.",
        f'<div class="faces-read">{"".join(faces)}</div>',
    )


# -- how different -----------------------------------------------------------------------------------------------------


def typical_distances(generator: Generator) -> tuple[float, float]:
    """Measure how far apart performances usually are.

    Returns:
        Mean `clip_distance` of two performances of one sentence, and of two different sentences: the page's examples,
        four performances each with the usual settings.
    """
    from cteg.metrics import clip_distance

    groups = [[clip.coefficients for clip in generator.generate(text, 4, 1.0, seed=0)] for text in EXAMPLES.values()]
    same = [clip_distance(a, b) for clips in groups for a, b in combinations(clips, 2)]
    other = [clip_distance(a[0], b[0]) for a, b in combinations(groups, 2)]
    return float(np.mean(same)), float(np.mean(other))


def distances_html(clips: Sequence[Clip], same: float, other: float) -> str:
    """Draw how different any two faces are, in units of what is usual for one sentence.

    Args:
        clips: Two or more clips.
        same: Usual distance of two performances of one sentence.
        other: Usual distance of performances of two sentences.
    """
    from cteg.metrics import clip_distance

    unit = same or 1.0
    faces = range(len(clips))
    apart = np.array([[clip_distance(a.coefficients, b.coefficients) for b in clips] for a in clips]) / unit  # (N, N)
    mean = apart[np.triu_indices(len(clips), 1)].mean()
    head = "".join(f'<th scope="col">{index + 1}</th>' for index in faces)
    rows = "".join(
        f'<tr><th scope="row">Face {i + 1}</th>'
        + "".join(_cell(apart[i, j], i == j, other / unit) for j in faces)
        + "</tr>"
        for i in faces
    )
    return _panel(
        "How different they are",
        f"1.0 is usual for two performances of one sentence; here the mean is <b>{mean:.1f}</b>. Performances of two "
        f"different sentences are usually {other / unit:.1f} apart.",
        f'<table class="distances"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>',
    )


def _cell(value: float, is_itself: bool, most: float) -> str:
    if is_itself:
        return "<td>·</td>"
    strength = 100 * min(value / max(most, 1e-9), 1.5) / 1.5
    return f'<td style="--strength:{strength:.0f}%">{value:.1f}</td>'
