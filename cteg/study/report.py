"""The results as a page of its own: one HTML file without anything from elsewhere, and the same figures as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from cteg.study import figures, quality
from cteg.study.bradley_terry import Ranking
from cteg.study.figures import Markup, figure, percent, table, wide
from cteg.study.measured import Measured
from cteg.study.stats import EVERY, FEWEST_PEOPLE, GROUPS, PILOT, Cell, Report, Results
from cteg.study.stimuli import StimulusSet
from cteg.study.wording import FIT, NATURAL, QUESTIONS, SCORE, VARIETY

STYLE = """
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:#1f2933;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2.4rem}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;font-weight:normal;white-space:nowrap;padding:.25rem .9rem .25rem 0}
th,td{border-bottom:1px solid #d9dee3}
.wide th:first-child{position:sticky;left:0;background:#fff;z-index:1}
.pilot{background:#fff3c4;padding:.6rem .9rem;border-radius:.3rem}.quiet{color:#52606d}
figure{margin:1.4rem 0}figcaption{color:#52606d;font-size:.92rem}summary{cursor:pointer}
@media (max-width:40rem){body{font-size:15px;margin:1rem auto}th,td{padding-right:.6rem}
.wide th:first-child{white-space:normal;max-width:9rem}}
@media print{h2,figure,tr{break-inside:avoid;break-after:auto}h2{break-after:avoid}}
"""
SIGNIFICANT = 0.05
TOPICS = {FIT: "Fit", NATURAL: "Naturalness", VARIETY: "Variety"}


def as_json(report: Report, stimuli: StimulusSet) -> str:
    """Return all results as JSON."""
    about = {"study": stimuli.study, "made": _made(stimuli), "rules": quality.VERSION, "pilot": report.after.is_pilot}
    return json.dumps(dataclasses.asdict(report) | about, indent=1) + "\n"


def as_html(report: Report, stimuli: StimulusSet, version: str, made: str) -> str:
    """Return the page.

    Args:
        report: The results.
        stimuli: The study.
        version: Version of CTEG.
        made: When the page is made.
    """
    after, before = report.after, report.before
    parts = [
        f"<h1>Study {escape(stimuli.study)}: results</h1>",
        f"<p class=quiet>CTEG {escape(version)}, {escape(made)}, rules {quality.VERSION}. Intervals are 95 %, over"
        " raters unless something else is said.</p>",
        _pilot_note(report),
        _summary(after, stimuli.main),
        _counts(report),
        *(_ranking(name, after, before) for name in after.rankings),
        _scale(after, before),
        _by_feeling(after),
        _soundness(after, before),
        _raters(report),
        _clips(stimuli),
    ]
    body = "\n".join(part for part in parts if part)
    title = f"<title>CTEG study {escape(stimuli.study)}</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}{figures.STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def as_text(report: Report) -> str:
    """Return the main results for a terminal."""
    after = report.after
    lines = [f"{after.raters} raters ({report.before.raters} before exclusions), {after.votes} votes"]
    if after.is_pilot:
        lines.append(f"PILOT: fewer than {PILOT} raters")
    for name, ranking in after.rankings.items():
        lines.append(f"\n{QUESTIONS[name]} ({ranking.votes} answers, {ranking.ties} ties)")
        if ranking.reason:
            lines.append(f"  {ranking.reason}")
        for row, (condition, strength) in enumerate(zip(ranking.conditions, ranking.strengths, strict=True)):
            if strength.value is not None:
                lines.append(f"  {_rank_text(ranking.ranks, row):>5} {condition:18} {strength.text()}")
    lines += ["\n5-point scale", *(f"        {name:18} {mean.text()}" for name, mean in after.means.items())]
    lines += [f"\n{label}: {value.text()}" for label, value in _checks(after).items()]
    return "\n".join(lines)


# -- in short ----------------------------------------------------------------------------------------------------------


def _pilot_note(report: Report) -> str:
    if not report.after.is_pilot:
        return ""
    return f"<p class=pilot><b>Pilot.</b> Fewer than {PILOT} raters: figures to plan with, not to conclude from.</p>"


def _summary(results: Results, main: str) -> str:
    """Say in sentences what the intervals allow to say about the main condition, and nothing else."""
    points = [f"{results.raters} raters count, with {results.votes} votes."]
    points += [_standing(results.rankings[name], main, word) for name, word in TOPICS.items()]
    own = results.matched
    if own.value is not None and own.low is not None and own.high is not None:
        told = "" if own.low > 0.5 or own.high < 0.5 else ": that may be chance"
        share = f"{percent(own.value)} [{percent(own.low)}, {percent(own.high)}] of {own.n} answers"
        points.append(f"Right or wrong sentence: {main} for the right one is preferred in {share}{told}.")
    return "<h2>In short</h2><ul>" + "".join(f"<li>{escape(point)}</li>" for point in points) + "</ul>"


def _standing(ranking: Ranking, main: str, word: str) -> str:
    """Say which conditions the main one is ahead of and behind."""
    if ranking.reason:
        return f"{word}: nothing can be said, because of: {ranking.reason}."
    others = [name for name in ranking.conditions if name != main]
    ahead = [name for name in others if ranking.is_above(main, name)]
    behind = [name for name in others if ranking.is_above(name, main)]
    near = [name for name in others if name not in (*ahead, *behind)]
    told = [f"{way} {_listed(names)}" for way, names in (("ahead of", ahead), ("behind", behind)) if names]
    if not told:
        return f"{word}: between {main} and the others the order is open ({ranking.votes} answers)."
    rest = f"; with {_listed(near)} the order is open" if near else ""
    return f"{word}: {main} is {', '.join(told)}{rest} ({ranking.votes} answers)."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# -- parts -------------------------------------------------------------------------------------------------------------


def _counts(report: Report) -> str:
    rows = []
    for name, results in (("after exclusions", report.after), ("before", report.before)):
        kinds = results.by_kind
        rows.append([name, results.raters, kinds["pair"], kinds["set"], kinds["single"], results.trouble])
    head = ["", "raters", "comparisons", "sets", "single clips", "not playable"]
    return "<h2>What there is</h2>" + table(head, rows)


def _ranking(name: str, after: Results, before: Results) -> str:
    ranking, earlier = after.rankings[name], before.rankings[name]
    heading = f"<h2>{escape(QUESTIONS[name])}</h2>"
    sizes = f"{ranking.raters} raters, {ranking.votes} answers, {ranking.ties} of them ties (half a win)."
    sizes = f"<p class=quiet>{sizes}</p>"
    if all(strength.value is None for strength in ranking.strengths):
        return heading + sizes + f"<p>No ranking: {escape(ranking.reason)}.</p>"
    low, high = figures.span(ranking.strengths)
    is_changed = after.raters != before.raters
    rows = [
        [
            condition,
            _rank_text(ranking.ranks, row),
            Markup(figures.bar(strength, low, high, 0)),
            strength.text(),
            *([earlier.strength(condition).text()] if is_changed else []),
            _against_average(strength),
            strength.n,
        ]
        for row, (condition, strength) in enumerate(zip(ranking.conditions, ranking.strengths, strict=True))
    ]
    head = ["condition", "rank", "", "log strength", *_earlier(is_changed), "wins", "answers"]
    note = f"<p>{escape(ranking.reason)}.</p>" if ranking.reason else ""
    told = (
        "Ranks that the intervals leave open. A log strength of 0 is average, the line across; a difference of 1 wins"
        " 73 % of decided answers. Wins: share of decided answers against an average condition."
    )
    return heading + sizes + note + figure(table(head, rows), told)


def _against_average(strength: Measured) -> str:
    return "" if strength.value is None else percent(1 / (1 + math.exp(-strength.value)))


def _rank_text(ranks: Sequence[tuple[int, int]] | None, row: int) -> str:
    if ranks is None:
        return ""
    best, worst = ranks[row]
    return str(best) if best == worst else f"{best}-{worst}"


def _scale(after: Results, before: Results) -> str:
    is_changed = after.raters != before.raters
    means = table(
        ["condition", "", "mean of raters' means", *_earlier(is_changed), "raters"],
        [
            [
                name,
                Markup(figures.bar(mean, 1, 5, 3)),
                mean.text(),
                *([before.means[name].text()] if is_changed else []),
                mean.n,
            ]
            for name, mean in after.means.items()
        ],
    )
    rows = [
        [f"{c.first} minus {c.second}", c.difference.text(), _p(c.difference) or c.difference.reason, c.difference.n]
        for c in after.contrasts
    ]
    found = sum(c.difference.p is not None and c.difference.p < SIGNIFICANT for c in after.contrasts)
    tested = sum(c.difference.p is not None for c in after.contrasts)
    head = ["difference", "mean", "p (Wilcoxon, Holm)", "raters"]
    told = f"All {len(rows)} differences: {tested} could be tested, p is below {SIGNIFICANT} in {found}"
    steps = "From 1, not at all, to 5, perfectly; the line across is the middle of the scale."
    return (
        f"<h2>{escape(QUESTIONS[SCORE])}</h2>{figure(means, steps)}"
        f"<details><summary>{told}</summary>{table(head, rows)}</details>"
    )


def _by_feeling(after: Results) -> str:
    won = figures.heat_map(_columns(after.preferred), 0.2, 0.8, percent, "share of comparisons won")
    mean = figures.heat_map(_columns(after.consistency), 1.5, 4.5, "{:.1f}".format, "mean score")
    told = (
        f"Share of comparisons on fit that were won, ties as half. {_filled(after.preferred)}",
        f"Mean score: Figure 4 of Xu et al. (2025) with this data. {_filled(after.consistency)}",
    )
    keys = (figures.key("20 % or less", "80 % or more"), figures.key("1.5 or less", "4.5 or more"))
    return (
        "<h2>By feeling</h2>"
        "<p class=quiet>n counts people. The fewer they are, the paler a cell; cells behind which fewer than"
        f" {FEWEST_PEOPLE} stand show nothing but their number.</p>"
        + "".join(
            figure(wide(drawn), Markup(f"{escape(words)}<br>{scale}"))
            for drawn, words, scale in zip((won, mean), told, keys, strict=True)
        )
    )


def _columns(cells: Sequence[Cell]) -> list[Cell]:
    """Choose feelings one by one where half of their cells have people enough, otherwise those taken together."""
    hidden = set(GROUPS.values()) if _is_filled(cells) else set(GROUPS)
    return [cell for cell in cells if cell.column not in hidden]


def _is_filled(cells: Sequence[Cell]) -> bool:
    shown, alone = _shown(cells)
    return 2 * shown >= alone


def _filled(cells: Sequence[Cell]) -> str:
    shown, alone = _shown(cells)
    together = "" if _is_filled(cells) else ", so that some feelings are taken together"
    return f"{shown} of {alone} cells of single feelings have people enough{together}." if shown < alone else ""


def _shown(cells: Sequence[Cell]) -> tuple[int, int]:
    """Return how many cells of single feelings have people enough to be shown, and how many there are."""
    alone = [cell.value.value is not None for cell in cells if cell.column not in (EVERY, *GROUPS.values())]
    return sum(alone), len(alone)


def _checks(results: Results) -> dict[str, Measured]:
    return {
        "own against wrong sentence, share that prefers the own clip": results.matched,
        "repeated questions answered alike": results.repeats,
        "share of decided answers that say left": results.left,
        "agreement on the 5-point scale (Krippendorff's alpha, ordinal)": results.alpha,
    }


def _soundness(after: Results, before: Results) -> str:
    earlier = _checks(before)
    is_changed = after.raters != before.raters
    rows = [
        [label, m.text(), _p(m), m.n, *([earlier[label].text()] if is_changed else [])]
        for label, m in _checks(after).items()
    ]
    told = "Shares with exact intervals over answers (Clopper and Pearson), alpha with an interval over clips."
    return "<h2>Can the answers be trusted?</h2>" + figure(table(["", "", "p", "n", *_earlier(is_changed)], rows), told)


def _raters(report: Report) -> str:
    rows = [[record.rater, record.votes, "; ".join(record.reasons)] for record in report.records.values()]
    left_out = [row for row in rows if row[2]]
    finished = sum(record.is_finished for record in report.records.values())
    told = f"{len(rows)} raters, {finished} to the last page; {len(left_out)} left out by rules that were fixed before."
    head = f"<h2>Raters</h2><p>{told}</p>"
    return head + (table(["rater", "votes", "left out because"], left_out) if left_out else "")


def _clips(stimuli: StimulusSet) -> str:
    rows = [[condition.name, condition.role, condition.origin] for condition in stimuli.conditions]
    made = _made(stimuli)
    weights = list(made.pop("weights", {}).items())
    files = table(["weights", "sha256"], weights) if weights else ""
    told = "".join(f"<p class=quiet>{escape(name)}: {escape(str(value))}</p>" for name, value in made.items())
    return "<h2>Conditions</h2>" + table(["condition", "role", "made by"], rows) + told + files


def _made(stimuli: StimulusSet) -> dict[str, Any]:
    """Return what the clips were made with, without the key that hides which is which."""
    return {name: value for name, value in (stimuli.made or {}).items() if name != "key"}


def _earlier(is_changed: bool) -> list[str]:
    """Head of the column with figures before exclusions, where there were any."""
    return ["before exclusions"] if is_changed else []


def _p(measured: Measured) -> str:
    if measured.p is None:
        return ""
    return "< 0.001" if measured.p < 0.001 else f"{measured.p:.3f}"
