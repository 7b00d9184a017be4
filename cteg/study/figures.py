"""Pictures of the results as SVG: the heat map of the paper's Figure 4 with our data, and strengths with intervals.

Reference: Xu et al. 2025, Figure 4: conditions by emotions, colour = mean consistency. Ours writes value and count into
every cell and leaves cells grey that fewer people stand behind than may be shown.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cteg.study.bradley_terry import Ranking
from cteg.study.measured import need
from cteg.study.stats import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PALE, GREY = "#1f2933", "#52606d", "#eceff2"
POINT = "#1f5fa8"
COLOURS = "Blues"


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise need("matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    """Return a figure as SVG without XML declaration, the same for the same data."""
    from matplotlib import rc_context

    target = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cteg", "font.family": "sans-serif"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    text = target.getvalue()
    return text[text.index("<svg") :]


def heat_map(cells: Sequence[Cell], low: float, high: float, title: str, digits: int = 1) -> str:
    """Draw conditions by feelings.

    Args:
        cells: All cells.
        low: Value of the lightest colour, and
        high: of the darkest.
        title: What the colour means.
        digits: Decimals in the cells.

    Returns:
        SVG.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    rows, columns = (list(dict.fromkeys(getattr(cell, side) for cell in cells)) for side in ("row", "column"))
    figure = _figure(2.6 + 0.95 * len(columns), 1.3 + 0.52 * len(rows))
    axes = figure.add_subplot()
    scale, colours = Normalize(low, high), colormaps[COLOURS]
    for cell in cells:
        x, y = columns.index(cell.column), rows.index(cell.row)
        value = cell.value.value
        colour = GREY if value is None else colours(0.08 + 0.84 * float(scale(value)))
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=2))
        is_dark = value is not None and scale(value) > 0.55
        words = ("-", "") if value is None else (f"{value:.{digits}f}", f"n = {cell.value.n}")
        ink = "white" if is_dark else INK
        axes.text(x + 0.5, y + 0.42, words[0], ha="center", va="center", fontsize=10, color=ink)
        axes.text(x + 0.5, y + 0.76, words[1], ha="center", va="center", fontsize=6.5, color=ink)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), title=title)
    axes.set_xticks([i + 0.5 for i in range(len(columns))], columns)
    axes.set_yticks([i + 0.5 for i in range(len(rows))], rows)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, shrink=0.8, aspect=18)
    bar.outline.set_visible(False)
    return _svg(figure)


def strengths(ranking: Ranking, title: str) -> str:
    """Draw log strengths with their intervals, strongest on top; SVG."""
    figure = _figure(6.4, 1.1 + 0.36 * len(ranking.conditions))
    axes = figure.add_subplot()
    for row, strength in enumerate(ranking.strengths):
        if strength.value is None:
            continue
        if strength.low is not None and strength.high is not None:
            axes.plot([strength.low, strength.high], [row, row], color=POINT, linewidth=2, solid_capstyle="round")
        axes.plot(strength.value, row, "o", color=POINT, markersize=6)
    axes.axvline(0, color=PALE, linewidth=0.8)
    axes.set(ylim=(len(ranking.conditions) - 0.5, -0.5), xlabel="log strength, 0 = average", title=title)
    axes.set_yticks(range(len(ranking.conditions)), ranking.conditions)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(axis="x", color=GREY)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _svg(figure)
