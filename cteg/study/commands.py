"""The blind study on the command line: `python -m cteg study ...`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from cteg.errors import CtegError, InputError
from cteg.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

STIMULI_HELP = "folder written by `study stimuli`"
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _plainly(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn errors for users into one sentence and exit code 2."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except CtegError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from error

    return run


@app.command()
@_plainly
def stimuli(
    out: Annotated[Path, typer.Option(help="new folder for clips and manifest; keep it off the web")],
    weights: Annotated[str | None, typer.Option(help="weights of the main system; the bundled ones")] = None,
    temperature: Annotated[float, typer.Option(help="of the main system")] = 1.0,
    deterministic: Annotated[Path | None, typer.Option(help="weights trained without latents")] = None,
    lm_listener: Annotated[Path | None, typer.Option(help="folder written by training.baselines")] = None,
    clips: Annotated[list[str] | None, typer.Option(help="a further condition, NAME=FOLDER of clip files")] = None,
    reference: Annotated[str | None, typer.Option(help="which of --clips is the reference")] = None,
    seed: Annotated[int, typer.Option(help="of clips and assignment")] = 0,
) -> None:
    """Make the fixed stimuli of a study."""
    from cteg import __version__
    from cteg.study.make_stimuli import Sources, make

    folders = {}
    for given in clips or []:
        name, _, folder = given.partition("=")
        if not name or not folder:
            raise InputError(f"--clips takes NAME=FOLDER, got {given!r}.")
        folders[name] = Path(folder)
    sources = Sources(weights, temperature, deterministic, lm_listener, folders, reference, seed)
    found = make(sources, out, __version__, lambda name: typer.echo(f"making {name} ...", err=True))
    typer.echo(f"{out}: study {found.study}, {len(found.stimuli)} clips of {len(found.conditions)} conditions")


@app.command()
@_plainly
def export(out: Annotated[Path, typer.Option(help="folder for CSV, JSON lines, Parquet and schema")]) -> None:
    """Write all votes and play ratings, raters by pseudonym."""
    from cteg.study.export import export as write
    from cteg.study.store import Store

    for path in write(Store(Settings.from_environment()), out):
        typer.echo(path)


@app.command()
@_plainly
def stats(
    folder: Annotated[Path, typer.Option("--stimuli", help=STIMULI_HELP)],
    out: Annotated[Path | None, typer.Option(help="folder for report.html and results.json")] = None,
) -> None:
    """Print the statistics of a study, and write them as a page."""
    from cteg import __version__
    from cteg.study import report
    from cteg.study.ballot import Ballot, read_votes
    from cteg.study.database import timestamp, utc_now
    from cteg.study.stats import analyse
    from cteg.study.stimuli import StimulusSet
    from cteg.study.store import Store

    study = StimulusSet.load(folder)
    store = Store(Settings.from_environment())
    found = analyse(read_votes(store, study.study), study, Ballot(store, study.study).flags())
    typer.echo(report.as_text(found))
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            page = report.as_html(found, study, __version__, timestamp(utc_now()))
            (out / "report.html").write_text(page, encoding="utf-8")
            (out / "results.json").write_text(report.as_json(found, study), encoding="utf-8")
        except OSError as error:
            raise InputError(f"Cannot write to the folder {out}: {error.strerror}.") from error
        typer.echo(f"\n{out / 'report.html'}")


@app.command()
@_plainly
def flag(
    rater: Annotated[str, typer.Argument(help="pseudonym, as in the export")],
    reason: Annotated[str, typer.Argument(help="why the rater should not count")],
    folder: Annotated[Path, typer.Option("--stimuli", help=STIMULI_HELP)],
) -> None:
    """Leave a rater out of the statistics by hand; nothing is deleted."""
    from cteg.study.ballot import Ballot
    from cteg.study.stimuli import StimulusSet
    from cteg.study.store import Store

    Ballot(Store(Settings.from_environment()), StimulusSet.load(folder).study).flag(rater, reason)


@app.command()
@_plainly
def forget(rater: Annotated[str, typer.Argument(help="the id in the rater's browser, 32 hexadecimal digits")]) -> None:
    """Delete everything that is stored about a rater."""
    from cteg.study.store import Store

    typer.echo(f"{Store(Settings.from_environment()).forget(rater)} answers deleted")


@app.command()
@_plainly
def snapshot(out: Annotated[Path, typer.Argument(help="new file")]) -> None:
    """Copy the SQLite database while it is in use."""
    from cteg.study.store import Store

    typer.echo(Store(Settings.from_environment()).database.snapshot(out))


@app.command()
@_plainly
def prove(
    raters: Annotated[list[int] | None, typer.Option(help="raters of each study; several sizes")] = None,
    studies: Annotated[int, typer.Option(help="simulated studies of each size")] = 40,
    seed: Annotated[int, typer.Option(help="of raters and their answers")] = 0,
) -> None:
    """Simulate whole studies with planted preferences and say how often what they report is true."""
    from cteg.study.proof import prove as lines

    for line in lines(raters or [30], studies, seed):
        typer.echo(line)


@app.command()
@_plainly
def power(
    raters: Annotated[list[int] | None, typer.Option(help="how many raters; several sizes")] = None,
    gap: Annotated[float, typer.Option(help="planted difference of log strengths between the first two")] = 0.6,
    spread: Annotated[float, typer.Option(help="standard deviation between raters")] = 0.5,
    careless: Annotated[float, typer.Option(help="share of careless raters")] = 0.1,
    studies: Annotated[int, typer.Option(help="simulated studies of each size")] = 100,
    seed: Annotated[int, typer.Option(help="of raters and their answers")] = 0,
) -> None:
    """Say by simulation how often a study of some size finds a difference."""
    from cteg.study.power import table

    for line in table(raters or [10, 20, 30, 60], gap, spread, careless, studies, seed):
        typer.echo(line)
