"""The command line: `python -m cteg generate|render|feelings`.

Exit code 0 on success, 2 with one clear sentence on standard error for input that cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cteg.clip import Clip
from cteg.errors import CtegError, InputError
from cteg.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

MAP_HELP = "file that maps clips of the flame space to open heads; CTEG_FLAME_MAP"
FORMATS = ("npz", "csv", "png", "mp4", "gif")


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


def _write(clip: Clip, path: Path, name: str, head: str, flame_map: Path | None) -> Path:
    """Write one clip in one format; `path` has no ending yet."""
    target = path.with_suffix(f".{name}")
    if name == "npz":
        return clip.save(target)
    if name == "csv":
        from cteg.face.arkit import save_csv
        from cteg.face.space_map import SpaceMap

        is_mapped = clip.space == "flame" and flame_map is not None
        return save_csv(SpaceMap.load(flame_map).apply(clip) if is_mapped else clip, target)
    from cteg.face.rig import load_rig
    from cteg.face.space_map import clip_for
    from cteg.face.video import save_render

    rig = load_rig(head)
    return save_render(clip_for(rig, clip, flame_map), rig, target)


@app.command()
def generate(
    text: Annotated[str, typer.Argument(help="the sentence to perform")],
    samples: Annotated[int, typer.Option(help="how many different performances, 1...8")] = 4,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest ... 2: wild")] = 1.0,
    seed: Annotated[int, typer.Option(help="sample i depends on seed + i alone")] = 0,
    out: Annotated[Path, typer.Option(help="folder for sample_00.npz, sample_01.npz, ...")] = Path("out"),
    formats: Annotated[list[str], typer.Option("--format", help=f"repeatable: {', '.join(FORMATS)}")] = ["npz"],  # noqa: B006
    weights: Annotated[str | None, typer.Option(help="weights folder or Hub id; the bundled ones")] = None,
    head: Annotated[str | None, typer.Option(help="head for pictures and films; the bundled one")] = None,
    flame_map: Annotated[Path | None, typer.Option("--map", help=MAP_HELP)] = None,
) -> None:
    """Perform a sentence several times and write the clips."""
    try:
        from cteg import sampling
        from cteg.generator import load
        from cteg.text import check_text

        text = check_text(text)  # checked before anything is loaded, so that bad input costs nothing
        sampling.check_settings(samples, temperature, seed)
        _check_formats(formats)
        _make_folder(out)
        settings = Settings.from_environment()
        generator = load(weights or settings.weights)
        for index, clip in enumerate(generator.generate(text, samples, temperature, seed)):
            for name in formats:
                path = out / f"sample_{index:02d}"
                typer.echo(_write(clip, path, name, head or settings.head, flame_map or settings.flame_map))
    except CtegError as error:
        raise _fail(error) from error


@app.command()
def render(
    clip: Annotated[Path, typer.Argument(help="clip file, .npz")],
    out: Annotated[Path, typer.Option(help=".png: contact sheet; .mp4 or .gif: film")],
    frames: Annotated[int, typer.Option(help="faces on the contact sheet")] = 8,
    head: Annotated[str | None, typer.Option(help="name or file of a head; the bundled one")] = None,
    flame_map: Annotated[Path | None, typer.Option("--map", help=MAP_HELP)] = None,
) -> None:
    """Draw a clip as a contact sheet or a film."""
    try:
        from cteg.face.rig import load_rig
        from cteg.face.space_map import clip_for
        from cteg.face.video import save_render

        settings = Settings.from_environment()
        rig = load_rig(head or settings.head)
        performance = clip_for(rig, Clip.load(clip), flame_map or settings.flame_map)
        typer.echo(save_render(performance, rig, out, frames))
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
