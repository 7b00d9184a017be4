"""`python -m training.benchmark`: measure, print a table, keep what is finished.

python -m training.benchmark --out benchmark.json                      # everything; goes on where it was stopped
python -m training.benchmark --only decoding --only training           # parts, by name
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cteg.errors import InputError
from training.benchmark.app import measure_browser, measure_start
from training.benchmark.decoding import measure_curves, measure_decoding
from training.benchmark.files import measure_files
from training.benchmark.generator import measure_generator
from training.benchmark.head import measure_head
from training.benchmark.loop import measure_training
from training.benchmark.players import measure_players
from training.benchmark.timing import describe_machine, load_average
from training.common import plain_errors

Part = Callable[[Path], dict[str, float]]

PARTS: dict[str, Part] = {
    "start": lambda _: measure_start(),
    "generator": lambda _: measure_generator(),
    "decoding": lambda _: measure_decoding(),
    "curves": lambda _: measure_curves(),
    "head": lambda _: measure_head(),
    "training": lambda _: measure_training(),
    "files": lambda _: measure_files(),
    "browser": measure_browser,
    "players": measure_players,
}
"""What can be measured, by name; each is given the browser."""


def finished_parts(out: Path | None, machine: dict[str, str]) -> dict[str, Any]:
    """Read the parts that an earlier run on this machine finished.

    Raises:
        InputError: The file holds figures of another machine or other versions, or cannot be read.
    """
    if out is None or not out.is_file():
        return {}
    try:
        stored = json.loads(out.read_text())
        its_machine, parts = stored["machine"], stored["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out} is no file of this benchmark; choose another name.") from error
    if its_machine != machine:
        raise InputError(f"{out} holds figures of another machine or of other versions; choose another name.")
    return parts


def table(machine: dict[str, str], parts: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{name}: {value}" for name, value in machine.items()]
    for part, found in parts.items():
        lines += ["", f"{part} (load average {found['load average']:.1f} before)"]
        lines += [f"  {name:68} {value:12.4g}" for name, value in found["figures"].items()]
    return "\n".join(lines)


@plain_errors
def main(
    out: Annotated[Path | None, typer.Option(help="JSON file; parts that it holds already are kept")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"part to measure, may be repeated: {', '.join(PARTS)}")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="measure parts that the file holds once more")] = False,
    chromium: Annotated[Path, typer.Option(help="the browser")] = Path("/usr/bin/chromium"),
) -> None:
    """Measure how fast everything is, and print a table."""
    wanted = only or list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        raise InputError(f"There is no part {unknown[0]!r}; known ones are {', '.join(PARTS)}.")
    if {"browser", "players"} & set(wanted) and not chromium.is_file():
        raise InputError(f"There is no browser at {chromium}.")
    machine = describe_machine()
    parts = finished_parts(out, machine)
    for name in wanted:
        if name in parts and not again:
            continue
        typer.echo(f"measuring: {name}", err=True)
        parts[name] = {"load average": load_average(), "figures": PARTS[name](chromium)}
        if out is not None:
            unfinished = out.with_name(out.name + ".part")
            unfinished.write_text(json.dumps({"machine": machine, "parts": parts}, indent=2) + "\n")
            unfinished.replace(out)
    typer.echo(table(machine, {name: parts[name] for name in wanted}))


if __name__ == "__main__":
    typer.run(main)
