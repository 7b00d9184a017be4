"""Tables in Markdown from the results of `training.evaluate`, which are plain JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from cteg.emotion import SEVEN

Figures = Mapping[str, Mapping[str, float]]
"""A system's figures: by name `value` and `margin`, and `ratio` and `ratio_margin` to the reference's."""

REFERENCE = "reference"
DETERMINISTIC = "deterministic transformer"
TRAINED_BASELINES = ("LM-Listener", DETERMINISTIC)

WITHOUT_MARGIN = ("cppl", "cppl_two_sided")
"""Powers of two, whose intervals are not symmetric: those of their bits are shown."""

NOTHING = "-"
"""Shown where a system has no such figure."""


def copy_last(stride: int) -> str:
    """Return the name of CPPL's control: every stretch of `stride` frames is a copy of the frame before it."""
    return f"copy-last, {stride} frame{'s' if stride > 1 else ''}"


Column = tuple[str, str, str]
"""Heading, name of the figure, and what is shown: `value`; `ratio`, with the reference's row in absolute figures; or
`share`, the ratio in every row."""

TABLES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    (
        "Fit and calibration",
        "Fit: share of clips in which the motion classifier reads the sentence's leading feeling; the reference's own "
        "is the ceiling. Calibration: Jensen-Shannon divergence, in bits, of the mix of feelings over a sentence's "
        "samples from its label distribution (0 best; the reference has few performances per sentence, so its own is "
        "coarse).",
        (("fit", "fit", "value"), ("fit ÷ ceiling", "fit", "share"), ("calibration ↓", "calibration", "value")),
    ),
    (
        "Fit by feeling",
        "The same share, by the sentence's leading feeling.",
        tuple((name, f"fit_{name}", "value") for name in SEVEN),
    ),
    (
        "Fit by source",
        "The same share, by where the sentence is from: our own are what people type into a demo or say, Reddit is "
        "GoEmotions, subtitles are XED. Feelings are not equally many within a source.",
        (("our own", "fit_own", "value"), ("Reddit", "fit_goemotions", "value"), ("subtitles", "fit_xed", "value")),
    ),
    (
        "Variety, ÷ reference",
        "Diversity: clips made without a text. MModality: clips of the same sentence. DoT: one clip of every sentence. "
        "1 is like the reference, whose row holds the figures themselves.",
        (
            ("Diversity", "diversity", "ratio"),
            ("MModality", "multimodality", "ratio"),
            ("DoT", "diversity_on_test", "ratio"),
        ),
    ),
    (
        "Movement, ÷ reference",
        "Variation over time (per dimension) and within a frame (over its entries), FgD (frame-to-frame change), jerk "
        "(third difference), power of the speed above 4 Hz. 1 is like the reference, whose row holds the figures "
        "themselves.",
        (
            ("Variation, time", "variation_over_time", "ratio"),
            ("Variation, frame", "variation_within_frame", "ratio"),
            ("FgD", "fine_grained_diversity", "ratio"),
            ("jerk", "jerk", "ratio"),
            ("> 4 Hz", "fast_power", "ratio"),
        ),
    ),
    (
        "Likeness to the reference",
        "Fréchet: distance of the classifier's hidden features from those of the sentences' references. Length: mean, "
        "in frames (25 a second), and distance of the distributions of lengths.",
        (
            ("Fréchet ↓", "frechet", "value"),
            ("length", "length", "value"),
            ("length distance ↓", "length_distance", "value"),
        ),
    ),
    (
        "Continuous perplexity",
        "Reference clips predicted one step ahead from their own past, latents at their likeliest; a model that plans "
        "lengths is told the clip's own. In the open space every coefficient is first brought to the standard "
        "deviation 0.93, for which CPPL's box is made (one that varies by less than 0.05 in training counts as if by "
        "0.05). As published it is one-sided (an error upwards costs nothing); two-sided it cannot be gamed. A stride "
        "of K predicts K frames at once: compare with the copy of the last frame at the same stride only. Bits per "
        "frame are the logarithms, whose intervals mean more.",
        (
            ("stride", "stride", "value"),
            ("CPPL ↓", "cppl", "value"),
            ("bits ↓", "cppl_bits", "value"),
            ("CPPL, two-sided ↓", "cppl_two_sided", "value"),
            ("bits, two-sided ↓", "cppl_two_sided_bits", "value"),
        ),
    ),
)


def number(value: float, decimals: int | None = None) -> str:
    """Round to `decimals`, or to two or three digits that matter."""
    decimals = places(value) if decimals is None else decimals
    return f"{value:.1e}" if abs(value) >= 1e5 else f"{value:.{decimals}f}"


def places(value: float) -> int:
    """Decimals that show two or three digits of a figure; one under a millionth counts as 0."""
    size = abs(value)
    if size < 1e-6 or size >= 100 or value == int(value):
        return 0
    return 1 if size >= 10 else 2 if size >= 0.1 else 3 if size >= 0.01 else 4


def cell(figures: Figures, name: str, kind: str, is_reference: bool) -> str:
    """One cell: the figure or its ratio, with its margin; a dash where the system has none."""
    if name not in figures:
        return NOTHING
    found = figures[name]
    is_absolute = kind == "value" or (is_reference and kind == "ratio") or "ratio" not in found
    kind = "value" if is_absolute else "ratio"
    margin = 0.0 if name in WITHOUT_MARGIN else found.get("margin" if kind == "value" else "ratio_margin", 0.0)
    if margin < 1e-6:
        return number(found[kind])
    decimals = max(places(found[kind]), min(places(margin), 2)) if found[kind] < 100 else 0
    return f"{number(found[kind], decimals)} ± {number(margin, decimals)}"


def table(systems: Mapping[str, Figures], columns: Sequence[Column]) -> str:
    """A Markdown table of the systems that have any of the figures."""
    lines = ["| | " + " | ".join(heading for heading, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for system, figures in systems.items():
        cells = [cell(figures, name, kind, system == REFERENCE) for _, name, kind in columns]
        if set(cells) != {NOTHING}:
            lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def header(results: Mapping[str, Any]) -> str:
    """How the figures were made."""
    return (
        f"    {results['command']}\n\n"
        f"{results['date']}, seed {results['seed']}, {results['hardware']}, code {results['code']}. "
        f"Corpus: {results['corpus']}. Intervals: 1.96 standard deviations over {results['draws']} bootstrap draws of "
        "the sentences; they say nothing of another training run.\n"
    )


def render(results: Mapping[str, Any], figures_folder: str = "figures") -> str:
    """The whole of `results.md`.

    Args:
        results: As written to `results.json`.
        figures_folder: Where the plots are, relative to the page.
    """
    parts = [
        "# Results\n",
        header(results),
        *_introduction(results),
    ]
    has_feelings = results["text_reading"] is not None
    for title, explanation, columns in TABLES:
        shown = table(results["systems"], columns) if has_feelings or title not in OF_FEELINGS else NO_FEELINGS
        parts += [f"## {title}\n", explanation + "\n", shown + "\n"]
    if results.get("space") == "flame":
        parts += ["## Beside the published figures\n", PUBLISHED_TEXT, published(results) + "\n"]
    plot = f"![Fit, MModality and FgD against temperature]({figures_folder}/results_temperature.png)\n"
    parts += [
        "## Temperature\n",
        *([plot] if has_feelings else []),
        _curve(results["curve"]) + "\n",
        f"![Speed spectrum]({figures_folder}/results_spectrum.png)\n",
        f"![Lengths]({figures_folder}/results_lengths.png)\n",
        "## Latent clusters\n",
        CLUSTERS,
        "\n".join(f"- {name}: {count}" for name, count in results["clusters"].items()) + "\n",
    ]
    if has_feelings:
        said = (f"- {'met' if is_met else '**not met**'}: {text}" for text, is_met in aims(results))
        parts += ["## Against the aims\n", "\n".join(said) + "\n"]
    return "\n".join(parts)


def _introduction(results: Mapping[str, Any]) -> list[str]:
    """What was judged, and what the figures can say."""
    measured = f"{results['samples']} samples each; weights `{results['weights']}`."
    if results["text_reading"] is None:
        return [f"{results['sentences']} held-out sentences (test split) with two clips or more, {measured}\n"]
    return [
        f"{results['sentences']} held-out sentences (test split, equally many per leading feeling), {measured} Its "
        f"text encoder reads the leading feeling of {results['text_reading']:.1%} of the sentences.\n",
        "Performances are synthetic (docs/performance.md), the reader of feelings was trained on such performances, "
        "and likeness is likeness to them: none of this says what people see. That is what the study of the app is "
        "for.\n",
        ROWS,
    ]


def published(results: Mapping[str, Any]) -> str:
    """A Markdown table of what the paper's figures are known to be, and ours where the same thing was measured."""
    main = results["main"]
    cppl = results["systems"][main].get("cppl", {}).get("value")
    ours = {"CPPL ↓": cppl, "latent clusters": results["clusters"].get(main)}
    lines = ["| | published | here |", "|---|---|---|"]
    for name, value in PUBLISHED.items():
        found = ours.get(name)
        lines.append(f"| {name} | {value} | {'' if found is None else number(found)} |")
    return "\n".join(lines)


OF_FEELINGS = ("Fit and calibration", "Fit by feeling", "Fit by source")
NO_FEELINGS = """Not measured: the corpus has no labels of feelings, so there is nothing that a clip could fit, and no
reader of feelings could be trained on it. For the same reason there is no Fréchet distance, which needs that reader's
features."""

PUBLISHED = {
    "CPPL ↓": 262,
    "CPPL ↓, without target-guided loss": 646,
    "latent clusters": 146,
    "latent clusters, without EwA": 113,
}
PUBLISHED_TEXT = """Of the paper's results only these are known to us. It measures all of the test split, here it is the
sentences above; it does not say how latent clusters are counted (see below). Empty where nothing was measured here.
"""

ROWS = """Rows: **reference** other performances of the same sentences; **labels, other words** reference performances
of other sentences whose feeling is drawn from the sentence's label distribution (an ideal system that knows all but the
words); **what the text encoder reads** the same, drawn from the text encoder's probabilities (an ideal system that
knows no more than this encoder; one that prefers the leading feeling has more fit); **nearest text** performances of
the training sentences with the most similar states; **shuffled frames** the sentence's own references with their frames
in random order.
"""

CLUSTERS = """Posterior means of the step latents of the reference performances, agglomerative clustering with average
linkage, cut at 0.8 times the root mean square distance of two means (the paper does not say how it counted its 146):
"""


def _curve(curve: Mapping[str, Figures]) -> str:
    columns: list[Column] = [
        ("fit", "fit", "value"),
        ("MModality ÷", "multimodality", "ratio"),
        ("FgD ÷", "fine_grained_diversity", "ratio"),
        ("jerk ÷", "jerk", "ratio"),
        ("calibration", "calibration", "value"),
        ("Fréchet", "frechet", "value"),
    ]
    return table(curve, columns).replace("| |", "| temperature |", 1)


def aims(results: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The aims of the project for the shipped weights at the recommended temperature, and whether they are met."""
    systems, found = results["systems"], results["systems"][results["main"]]
    said: list[tuple[str, bool]] = []

    def aim(text: str, value: float, is_met: Callable[[float], bool]) -> None:
        said.append((f"{text}: {number(value)}", is_met(value)))

    aim("emotion fit at least 0.95 of the reference's", found["fit"]["ratio"], lambda v: v >= 0.95)
    for name in ("multimodality", "variation_over_time", "variation_within_frame", "fine_grained_diversity"):
        aim(f"{name} within 15 % of the reference's", found[name]["ratio"], lambda v: abs(v - 1) <= 0.15)
    aim("jerk at most 1.15 of the reference's", found["jerk"]["ratio"], lambda v: v <= 1.15)
    trained = [systems[name]["frechet"]["value"] for name in TRAINED_BASELINES if name in systems]
    if trained:
        share = found["frechet"]["value"] / min(trained)
        aim("Fréchet distance at most half the best trained baseline's", share, lambda v: v <= 0.5)
    aim("calibration at most 0.10 bits", found["calibration"]["value"], lambda v: v <= 0.10)
    control = systems[copy_last(found["stride"]["value"])]
    for name in ("cppl", "cppl_two_sided"):
        share = found[name]["value"] / control[name]["value"]
        aim(f"{name} lower than that of copying the last frame (ratio)", share, lambda v: v < 1)
    spread = [figures["multimodality"]["value"] for figures in results["curve"].values()]
    said.append(("diversity grows with every temperature", all(a < b for a, b in pairwise(spread))))
    return said
