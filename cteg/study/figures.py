"""Pictures of the results as HTML: intervals as bars, and the heat map of the paper's Figure 4 with our data.

Plain elements and inline styles: text stays text, nothing comes from elsewhere, and a phone shows it, too.

Reference: Xu et al. 2025, Figure 4: conditions by emotions, colour = mean consistency. Ours writes value and number of
people into every cell. Colour says how far a cell is from the middle, drawn towards the middle where few people stand
behind it; cells that may not be shown, because too few do, say how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from cteg.study.measured import Measured
from cteg.study.stats import Cell

LOW, MIDDLE, HIGH = (222, 140, 70), (250, 250, 250), (96, 157, 214)
"""Orange, almost white, blue: told apart by everyone who sees colours, and light enough for dark letters."""

FEW = 3
"""People at which a cell gets half of its colour."""

STYLE = """
.bar{position:relative;height:1.1rem;min-width:12rem;
background:linear-gradient(#9fb0c0,#9fb0c0) var(--zero)/1px 100% no-repeat}
.bar i{position:absolute;top:.47rem;height:.16rem;background:#185ea8;border-radius:1px}
.bar b{position:absolute;top:.3rem;width:.5rem;height:.5rem;margin-left:-.25rem;border-radius:50%;background:#185ea8}
.heat{border-collapse:separate;border-spacing:2px}
.heat td{text-align:center;min-width:4.2rem;padding:.3rem .2rem;border:0;border-radius:3px;line-height:1.25}
.heat th{padding:.2rem .5rem .2rem 0;border:0;font-weight:normal}
.heat thead th{text-align:center;padding:0 .2rem;white-space:normal;width:4.2rem;vertical-align:bottom}
.heat small{display:block;font-size:.7rem}
.heat .few{outline:1px dashed #c3cad1;outline-offset:-2px;color:#52606d}
.heat td:nth-child(2){font-weight:600}.heat th:nth-child(2),.heat td:nth-child(2){border-right:.4rem solid #fff}
.key{display:inline-block;width:9rem;height:.8rem;vertical-align:-.1rem;border-radius:3px;margin:0 .4rem}
@media (max-width:40rem){.bar{min-width:6rem}.heat{font-size:.85rem}.heat td{min-width:3rem}}
"""


def bar(measured: Measured, low: float, high: float, zero: float) -> str:
    """Draw a figure with its interval as a point on a line.

    Args:
        measured: The figure; drawn empty without one.
        low: Value at the left end.
        high: Value at the right end.
        zero: Value at which the line across is drawn.
    """

    def place(value: float) -> float:
        return round(100 * min(max((value - low) / (high - low), 0), 1), 1)

    parts = []
    if measured.low is not None and measured.high is not None:
        left, right = place(measured.low), place(measured.high)
        parts.append(f'<i style="left:{left}%;width:{right - left:.1f}%"></i>')
    if measured.value is not None:
        parts.append(f'<b style="left:{place(measured.value)}%"></b>')
    return f'<div class="bar" style="--zero:{place(zero)}%" aria-hidden="true">{"".join(parts)}</div>'


def span(some: Sequence[Measured]) -> tuple[float, float]:
    """Return ends of an axis that hold all figures with their intervals, and -0.5...0.5 in any case."""
    ends = [end for m in some for end in (m.low, m.value, m.high) if end is not None]
    return min([-0.5, *ends]), max([0.5, *ends])


def heat_map(cells: Sequence[Cell], low: float, high: float, shown: Callable[[float], str], name: str) -> str:
    """Draw conditions by feelings as a table.

    Args:
        cells: All cells, row by row.
        low: Value of the strongest orange.
        high: Value of the strongest blue.
        shown: Writes a value.
        name: What the table shows, for those who do not see it.
    """
    rows, columns = (list(dict.fromkeys(getattr(cell, side) for cell in cells)) for side in ("row", "column"))
    at = {(cell.row, cell.column): cell for cell in cells}
    head = "".join(f"<th scope=col>{escape(column)}</th>" for column in columns)
    lines = []
    for row in rows:
        drawn = "".join(_cell(at[row, column], low, high, shown) for column in columns)
        lines.append(f"<tr><th scope=row>{escape(row)}</th>{drawn}</tr>")
    return (
        f'<table class="heat" aria-label="{escape(name)}"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def key(low: str, high: str) -> str:
    """Draw the scale of colours between two words."""
    colours = ",".join(_css(end) for end in (LOW, MIDDLE, HIGH))
    return f'{escape(low)}<span class="key" style="background:linear-gradient(90deg,{colours})"></span>{escape(high)}'


def colour(value: float, people: int, low: float, high: float) -> tuple[int, int, int]:
    """Return red, green and blue of a cell, 0...255: nearer to the middle the fewer people there are."""
    middle = (low + high) / 2
    strength = min(max((value - middle) / (high - middle), -1), 1) * people / (people + FEW)
    end = HIGH if strength > 0 else LOW
    red, green, blue = (round(m + abs(strength) * (e - m)) for m, e in zip(MIDDLE, end, strict=True))
    return red, green, blue


def _cell(cell: Cell, low: float, high: float, shown: Callable[[float], str]) -> str:
    count = f"<small>n = {cell.people}</small>"
    if cell.value.value is None:
        return f'<td class="few" title="{escape(cell.value.reason)}">&ndash;{count}</td>'
    background = _css(colour(cell.value.value, cell.people, low, high))
    return f'<td style="background:{background}" title="{cell.value.n} answers">{shown(cell.value.value)}{count}</td>'


def _css(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


# -- pieces of a page --------------------------------------------------------------------------------------------------


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """Write a table whose rows begin with their names."""
    cells = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    lines = []
    for first, *others in rows:
        drawn = "".join(f"<td>{_text(cell)}</td>" for cell in others)
        lines.append(f"<tr><th scope=row>{_text(first)}</th>{drawn}</tr>")
    return wide(f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>")


def wide(table: str) -> Markup:
    """Let a table that is wider than the window scroll by itself."""
    return Markup(f'<div class="wide" tabindex="0">{table}</div>')


def figure(picture: str, told: str) -> Markup:
    """Put words below a picture."""
    return Markup(f"<figure>{picture}<figcaption>{_text(told)}</figcaption></figure>")


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.0f} %"


def _text(value: Any) -> str:
    return value if isinstance(value, Markup) else escape(str(value))
