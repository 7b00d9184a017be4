"""Draw what the weights do with the page's examples: `python -m training.contact_sheets docs/figures`.

One picture per sentence: four performances of one sentence, a row each, eight moments of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import track

import cteg
from cteg.face.video import contact_sheet
from cteg.ui.examples import EXAMPLES
from training.common import Seed, plain_errors

WIDTH = 1280


@plain_errors
def main(
    out: Annotated[Path, typer.Argument(help="folder for feeling_joy.jpg, feeling_sadness.jpg, ...")],
    weights: Annotated[Path | None, typer.Option(help="weights folder; default: the bundled ones")] = None,
    temperature: Annotated[float, typer.Option(help="how much the performances differ; 0: not at all")] = 1.0,
    seed: Seed = 7,
) -> None:
    """Write a contact sheet per feeling, and one of mixed feelings."""
    out.mkdir(parents=True, exist_ok=True)
    generator, rig = cteg.load(weights), cteg.load_rig()
    for feeling, text in track(EXAMPLES.items(), "drawing"):
        clips = generator.generate(text, samples=4, temperature=temperature, seed=seed)
        sheet = contact_sheet(clips, rig)
        smaller = sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)
        smaller.save(out / f"feeling_{feeling}.jpg", quality=85)


if __name__ == "__main__":
    typer.run(main)
