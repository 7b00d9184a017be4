"""The results as a page of its own: one HTML file without anything from elsewhere, and the same figures as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from cteg.study import figures, quality
from cteg.study.measured import Measured
from cteg.study.stats import FEWEST_PEOPLE, PILOT, Report, Results
from cteg.study.stimuli import StimulusSet
from cteg.study.wording import QUESTIONS

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1f2933;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
table{border-collapse:collapse;margin:.8rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid #d9dee3}
.pilot{background:#fff3c4;padding:.6rem .9rem;border-radius:.3rem}.quiet{color:#52606d}
svg{max-width:100%;height:auto}figure{margin:1rem 0}figcaption{color:#52606d;font-size:.92rem}
@media print{h2,figure,tr{break-inside:avoid;break-after:auto}h2{break-after:avoid}}
"""
NUMBERS = {"fit": "fit", "natural": "naturalness", "variety": "variety"}


def as_json(report: Report, stimuli: StimulusSet) -> str:
    """Return all results as JSON."""
    values = dataclasses.asdict(report) | {"study": stimuli.study, "rules": quality.VERSION, "pilot": _is_pilot(report)}
    return json.dumps(values, indent=1) + "\n"


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
        f"<p class=quiet>CTEG {escape(version)}, {escape(made)}, rules {quality.VERSION}."
        " Intervals are 95 %, over raters.</p>",
        _pilot_note(report),
        _counts(report),
        *(_ranking(name, after, before) for name in after.rankings),
        _scale(after, before),
        _figures(after),
        _soundness(after, before),
        _raters(report),
    ]
    body = "\n".join(part for part in parts if part)
    title = f"<title>CTEG study {escape(stimuli.study)}</title>"
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{title}<style>{STYLE}</style>\n{body}\n</html>\n'


def as_text(report: Report) -> str:
    """Return the main results for a terminal."""
    after = report.after
    lines = [f"{after.raters} raters ({report.before.raters} before exclusions), {after.votes} votes"]
    if _is_pilot(report):
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


# -- parts -------------------------------------------------------------------------------------------------------------


def _is_pilot(report: Report) -> bool:
    return report.after.is_pilot


def _pilot_note(report: Report) -> str:
    if not _is_pilot(report):
        return ""
    return f"<p class=pilot><b>Pilot.</b> Fewer than {PILOT} raters: figures to plan with, not to conclude from.</p>"


def _counts(report: Report) -> str:
    rows = []
    for name, results in (("after exclusions", report.after), ("before", report.before)):
        kinds = results.by_kind
        rows.append([name, results.raters, kinds["pair"], kinds["set"], kinds["single"], results.trouble])
    head = ["", "raters", "comparisons", "sets", "single clips", "not playable"]
    return "<h2>What there is</h2>" + _table(head, rows)


def _ranking(name: str, after: Results, before: Results) -> str:
    ranking, earlier = after.rankings[name], before.rankings[name]
    heading = f"<h2>{escape(QUESTIONS[name])}</h2>"
    sizes = f"{ranking.raters} raters, {ranking.votes} answers, {ranking.ties} of them ties (half a win)."
    sizes = f"<p class=quiet>{sizes}</p>"
    if all(strength.value is None for strength in ranking.strengths):
        return heading + sizes + f"<p>No ranking: {escape(ranking.reason)}.</p>"
    rows = [
        [_rank_text(ranking.ranks, row), condition, strength.text(), earlier.strength(condition).text(), strength.n]
        for row, (condition, strength) in enumerate(zip(ranking.conditions, ranking.strengths, strict=True))
    ]
    head = ["rank", "condition", "log strength", "before exclusions", "answers"]
    note = f"<p>{escape(ranking.reason)}.</p>" if ranking.reason else ""
    told = "Log strengths with 95 % intervals over raters; a difference of 1 wins 73 % of decided answers."
    picture = _figure(figures.strengths(ranking, NUMBERS[name]), told)
    return heading + sizes + note + _table(head, rows) + picture


def _rank_text(ranks: Sequence[tuple[int, int]] | None, row: int) -> str:
    if ranks is None:
        return ""
    best, worst = ranks[row]
    return str(best) if best == worst else f"{best}-{worst}"


def _scale(after: Results, before: Results) -> str:
    means = _table(
        ["condition", "mean of raters' means", "before exclusions", "raters"],
        [[name, mean.text(), before.means[name].text(), mean.n] for name, mean in after.means.items()],
    )
    rows = [
        [f"{c.first} minus {c.second}", c.difference.text(), _p(c.difference) or c.difference.reason, c.difference.n]
        for c in after.contrasts
    ]
    head = ["difference", "mean", "p (Wilcoxon, Holm)", "raters"]
    return f"<h2>{escape(QUESTIONS['score'])}</h2>{means}{_table(head, rows)}"


def _figures(after: Results) -> str:
    consistency = figures.heat_map(after.consistency, 1, 5, "mean consistency, 1 to 5")
    preferred = figures.heat_map(after.preferred, 0, 1, "share of comparisons of fit won", digits=2)
    note = f"<p class=quiet>Cells behind which fewer than {FEWEST_PEOPLE} people stand are left empty.</p>"
    figure_4 = (
        "Mean score of every condition for every feeling, n ratings: Figure 4 of Xu et al. (2025) with this data."
    )
    won = "Share of comparisons on fit that were won, ties as half, n comparisons."
    return f"<h2>By feeling</h2>{note}{_figure(consistency, figure_4)}{_figure(preferred, won)}"


def _figure(picture: str, told: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(told)}</figcaption></figure>"


def _checks(results: Results) -> dict[str, Measured]:
    return {
        "own against wrong sentence, share that prefers the own clip": results.matched,
        "repeated questions answered alike": results.repeats,
        "share of decided answers that say left": results.left,
        "agreement on the 5-point scale (Krippendorff's alpha, ordinal)": results.alpha,
    }


def _soundness(after: Results, before: Results) -> str:
    earlier = _checks(before)
    rows = [[label, m.text(), _p(m), m.n, earlier[label].text()] for label, m in _checks(after).items()]
    return "<h2>Can the answers be trusted?</h2>" + _table(["", "", "p", "n", "before exclusions"], rows)


def _raters(report: Report) -> str:
    rows = [[record.rater, record.votes, "; ".join(record.reasons)] for record in report.records.values()]
    left_out = [row for row in rows if row[2]]
    head = f"<h2>Raters</h2><p>{len(rows)} raters, {len(left_out)} left out by rules that were fixed before.</p>"
    return head + (_table(["rater", "votes", "left out because"], left_out) if left_out else "")


def _p(measured: Measured) -> str:
    if measured.p is None:
        return ""
    return "< 0.001" if measured.p < 0.001 else f"{measured.p:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def feelings_of(stimuli: StimulusSet) -> Mapping[str, str]:
    """Return the feeling of every sentence that counts, by its id."""
    return {sentence.id: sentence.feeling for sentence in stimuli.real_sentences}
