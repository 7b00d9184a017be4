"""The command line: `python -m cteg generate|render|heads|feelings|site|space`, and `study` with commands of its own.

Exit code 0 on success, 2 with one clear sentence on standard error for input that cannot be used.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from click import Context
from rich.console import Console
from rich.progress import Progress
from typer.core import TyperCommand

from cteg.errors import CtegError, InputError
from cteg.export import FORMATS, TOGETHER, load, save
from cteg.settings import Settings
from cteg.study.commands import app as study_app

if TYPE_CHECKING:
    from cteg.clip import Clip
    from cteg.face.rig import Rig

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(study_app, name="study")

HEAD_HELP = "name or file of a head; the bundled one"
MAP_HELP = "file that maps clips of the flame space to open heads; CTEG_FLAME_MAP"
FULL_HELP = "write .csv with extra columns, so that every coefficient comes back"
FORMAT_HELP = f"one or more of {', '.join(FORMATS)}"


class _Formats(TyperCommand):
    """A command whose `--format` takes several names in a row: `--format npz glb csv`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its names; click knows no other way."""
        spelled: list[str] = []
        for word in args:
            more = word in FORMATS and len(spelled) > 1 and spelled[-2] == "--format"
            spelled += ["--format", word] if more else [word]
        return super().parse_args(ctx, spelled)


def _fail(error: CtegError) -> typer.Exit:
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(2)


def _check_formats(formats: list[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"Unknown format {unknown[0]!r}; choose from {', '.join(FORMATS)}.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write to the folder {folder}: {error.strerror}.") from error


def _write(clips: list[Clip], rig: Rig, path: Path, frames: int = 8, full: bool = False) -> None:
    """Write a file, with a bar on a terminal while it is made, and print its path."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(path.name, total=1.0)
        save(clips, rig, path, lambda done: bar.update(task, completed=done), frames, full)
    typer.echo(path)


@app.command(cls=_Formats)
def generate(
    text: Annotated[str, typer.Argument(help="the sentence to perform")],
    samples: Annotated[int, typer.Option(help="how many different performances, 1...8")] = 4,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest ... 2: wild")] = 1.0,
    seed: Annotated[int, typer.Option(help="sample i depends on seed + i alone")] = 0,
    guidance: Annotated[float, typer.Option(help="0: as learned ... 3: the clearest feelings, less variety")] = 0.0,
    out: Annotated[Path, typer.Option(help="folder for sample_00.npz, sample_01.npz, ...")] = Path("out"),
    formats: Annotated[list[str], typer.Option("--format", help=FORMAT_HELP)] = ["npz"],  # noqa: B006
    grid: Annotated[
        bool, typer.Option("--grid", help="films and sheets: all samples in one file, samples.mp4")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help=FULL_HELP)] = False,
    weights: Annotated[str | None, typer.Option(help="weights folder or Hub id; the bundled ones")] = None,
    head: Annotated[str | None, typer.Option(help=HEAD_HELP)] = None,
    flame_map: Annotated[Path | None, typer.Option("--map", help=MAP_HELP)] = None,
) -> None:
    """Perform a sentence several times and write the clips."""
    try:
        from cteg import generator, sampling
        from cteg.face.rig import load_rig
        from cteg.face.space_map import clips_for
        from cteg.text import check_text

        text = check_text(text)  # checked before anything is loaded, so that bad input costs nothing
        sampling.check_settings(samples, temperature, seed, guidance)
        _check_formats(formats)
        settings = Settings.from_environment()
        rig = load_rig(head or settings.head)
        _make_folder(out)
        clips = generator.load(weights or settings.weights).generate(text, samples, temperature, seed, guidance)
        clips = clips_for(rig, clips, flame_map or settings.flame_map)
        together = [name for name in formats if grid and name in TOGETHER]
        for index, clip in enumerate(clips):
            for name in formats:
                if name not in together:
                    _write([clip], rig, out / f"sample_{index:02d}.{name}", full=full)
        for name in together:
            _write(clips, rig, out / f"samples.{name}")
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def render(
    clips: Annotated[list[Path], typer.Argument(help="clip files, .npz or ARKit .csv; several: side by side")],
    out: Annotated[Path, typer.Option(help=f"a file that ends in {', '.join('.' + name for name in FORMATS)}")],
    frames: Annotated[int, typer.Option(help="faces of a clip on a contact sheet (.png)")] = 8,
    full: Annotated[bool, typer.Option("--full", help=FULL_HELP)] = False,
    head: Annotated[str | None, typer.Option(help=HEAD_HELP)] = None,
    flame_map: Annotated[Path | None, typer.Option("--map", help=MAP_HELP)] = None,
) -> None:
    """Turn clips into a film, a contact sheet, a moving head or another table."""
    try:
        from cteg.face.rig import load_rig
        from cteg.face.space_map import clips_for

        settings = Settings.from_environment()
        rig = load_rig(head or settings.head)
        performances = clips_for(rig, [load(clip) for clip in clips], flame_map or settings.flame_map)
        _write(performances, rig, out, frames, full)
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def heads() -> None:
    """List the bundled heads that `--head` takes by name."""
    try:
        from cteg.face.heads import bundled_heads

        for head in bundled_heads():
            typer.echo(f"{head.name:10} {head.title:14} {head.space}")
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def feelings(
    text: Annotated[str, typer.Argument(help="the sentence to read")],
    weights: Annotated[str | None, typer.Option(help="weights folder or Hub id; the bundled ones")] = None,
) -> None:
    """Print what the text encoder reads in a sentence: feeling and probability, likeliest first."""
    try:
        from cteg.generator import load

        found = load(weights or Settings.from_environment().weights).read_feelings(text)
        for label, probability in list(found.items())[:8]:
            typer.echo(f"{label:15} {probability:.2f}")
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def site(
    out: Annotated[Path, typer.Argument(help="folder for the page: new, empty, or an earlier page")],
    sentences: Annotated[Path | None, typer.Option(help="text file, one sentence a line; the app's examples")] = None,
    samples: Annotated[int, typer.Option(help="faces of each sentence, 1...8")] = 4,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest ... 2: wild")] = 1.0,
    seed: Annotated[int, typer.Option(help="seed of the first face of every sentence")] = 7,
    guidance: Annotated[float, typer.Option(help="0: as learned ... 3: the clearest feelings, less variety")] = 0.0,
    weights: Annotated[str | None, typer.Option(help="weights folder or Hub id; the bundled ones")] = None,
    heads: Annotated[list[str] | None, typer.Option("--head", help=f"{HEAD_HELP}; repeat it to offer several")] = None,
) -> None:
    """Write a static page that shows ready performances and needs no server of ours."""
    try:
        from cteg import generator, sampling
        from cteg.face.heads import read_head
        from cteg.site import example_sentences, read_sentences, write_site
        from cteg.ui.services import head_path

        chosen = asdict(sampling.check_settings(samples, temperature, seed, guidance))
        wanted = read_sentences(sentences) if sentences else example_sentences()
        settings = Settings.from_environment()
        files = [head_path(replace(settings, head=head)) for head in heads or [settings.head]]
        flame_map = settings.flame_map if read_head(files[0]).space == "open" else None
        performer = generator.load(weights or settings.weights, flame_map)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("performing", total=1.0)
            page = write_site(out, performer, wanted, files, chosen, lambda done: bar.update(task, completed=done))
        size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
        typer.echo(f"{page}  {len(wanted)} sentences, {size / 1e6:.1f} MB in all")
        typer.echo(f"Look at it: python -m http.server --directory {out} 8000")
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def space(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub; made if it does not exist")],
    private: Annotated[bool, typer.Option("--private", help="only you may see it")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list what would be uploaded, and send nothing")] = False,
) -> None:
    """Upload this app as a Hugging Face Space, or bring one up to date; the token is that of HF_TOKEN."""
    try:
        from cteg import __version__
        from cteg.space import check_repository, plan_space, upload_space

        check_repository(repository)
        files = plan_space(__version__)
        if dry_run:
            for file in files:
                typer.echo(f"{file.size / 1e3:10,.1f} kB  {file.path}")
        typer.echo(f"{len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB")
        if not dry_run:
            token = Settings.from_environment().hub_token
            typer.echo(upload_space(files, repository, token, __version__, private))
    except CtegError as error:
        raise _fail(error) from error
