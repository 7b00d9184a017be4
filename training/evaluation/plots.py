"""Plots of the results (matplotlib, a development requirement)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from cteg import layout
from training.evaluation.report import REFERENCE

COLOURS = ("#0b6e75", "#d1495b", "#e6a02f", "#5b5f97", "#7a9e3f", "#8d6a4f", "#9a9a9a", "#333333")
"""Told apart also by the colour-blind in this order, teal and red first."""


def _axes(title: str, x: str, y: str) -> Axes:
    _, axes = plt.subplots(figsize=(7, 4), dpi=130, layout="constrained")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_prop_cycle(color=COLOURS)
    return axes


def _save(axes: Axes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path)
    plt.close(axes.figure)


def temperature_curve(curve: Mapping[str, Any], recommended: float, path: Path) -> None:
    """Fit, MModality and FgD, each ÷ reference, against temperature, with 95 % bands."""
    axes = _axes("What the temperature changes", "temperature", "÷ reference")
    temperatures = [float(key) for key in curve]
    shown = (("fit", "fit ÷ ceiling"), ("multimodality", "MModality"), ("fine_grained_diversity", "FgD"))
    for name, label in shown:
        values = [curve[key][name]["ratio"] for key in curve]
        margins = [curve[key][name]["ratio_margin"] for key in curve]
        (line,) = axes.plot(temperatures, values, marker="o", markersize=4, label=label)
        low, high = ([v + sign * m for v, m in zip(values, margins, strict=True)] for sign in (-1, 1))
        axes.fill_between(temperatures, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.axhline(1, color="#333333", linewidth=0.8)
    axes.axvline(recommended, color="#333333", linewidth=0.8, linestyle=":", label="default")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _save(axes, path)


def speed_spectra(spectra: Mapping[str, Sequence[float]], path: Path) -> None:
    """Power of the speed in bands of 1 Hz, logarithmic."""
    axes = _axes("Power of frame-to-frame changes", "Hz", "squared coefficient units per frame")
    for name, power in spectra.items():
        is_reference = name == REFERENCE
        axes.plot(
            [band + 0.5 for band in range(len(power))],
            power,
            label=name,
            color="black" if is_reference else None,
            linewidth=2.2 if is_reference else 1.3,
        )
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    _save(axes, path)


def length_histograms(lengths: Mapping[str, Sequence[int]], path: Path) -> None:
    """Share of clips by length in seconds."""
    axes = _axes("Lengths of clips", "seconds", "share of clips per half second")
    longest = max(max(values) for values in lengths.values()) / layout.FPS
    edges = [step / 2 for step in range(int(longest * 2) + 2)]
    for name, values in lengths.items():
        is_reference = name == REFERENCE
        axes.hist(
            [value / layout.FPS for value in values],
            edges,
            weights=[1 / len(values)] * len(values),
            histtype="stepfilled" if is_reference else "step",
            color="#d8d8d8" if is_reference else None,
            label=name,
        )
    axes.legend(frameon=False, fontsize=8)
    _save(axes, path)


def divergence_curves(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """KL against step, one line per variant: the paper's Figure 5."""
    axes = _axes("Divergence of posterior and prior", "step", "KL, nats per frame")
    for name, points in curves.items():
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    axes.legend(frameon=False)
    _save(axes, path)


def variant_bars(variants: Mapping[str, Any], path: Path) -> None:
    """Fit, MModality and jerk ÷ reference of every variant of an ablation."""
    shown = (("fit", "fit ÷ ceiling"), ("multimodality", "MModality ÷ reference"), ("jerk", "jerk ÷ reference"))
    names = list(variants)[::-1]
    _, row = plt.subplots(
        1, len(shown), figsize=(10, 0.8 + 0.32 * len(names)), dpi=130, sharey=True, layout="constrained"
    )
    for axes, (metric, title), colour in zip(row, shown, COLOURS, strict=False):
        values = [variants[name][metric]["ratio"] for name in names]
        margins = [variants[name][metric]["ratio_margin"] for name in names]
        axes.barh(names, values, xerr=margins, color=colour, alpha=0.8, height=0.65)
        axes.axvline(1, color="#333333", linewidth=0.8)
        axes.set_xlim(left=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    _save(row[0], path)
