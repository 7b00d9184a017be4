"""Which heads there are, and a small portrait of each."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from cteg import layout
from cteg.errors import WeightsError
from cteg.face.rig import DEFAULT_HEAD, FORMAT, HEADS_DIR, OLD_FORMAT, Rig

PORTRAIT_PIXELS = 128
PORTRAIT_CLOSER = 0.9
"""Distance of the portrait's camera as a share of the one that shows the whole head with its neck."""

PORTRAIT_LIFT = 0.06
"""How much higher it looks, as a share of the head's height."""

SMILE = {"mouthSmile": 0.5, "cheekSquint": 0.35}


@dataclass(frozen=True)
class Head:
    """A head file as a chooser lists it; its geometry is not read.

    Attributes:
        path: The rig file.
        name: Short name, stored with ratings.
        title: Name for people.
        space: Coefficient space of the clips that it can perform.
    """

    path: Path
    name: str
    title: str
    space: str


def read_head(path: Path) -> Head:
    """Read name, title and space of a rig file.

    Raises:
        WeightsError: The file is missing or not a rig.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"The head file {path.name} is missing, damaged or not a safetensors file.") from error
    if metadata.get("format") not in (FORMAT, OLD_FORMAT) or not {"name", "title", "space"} <= set(metadata):
        raise WeightsError(f"{path.name} is not a head of format {FORMAT}.")
    return Head(path, metadata["name"], metadata["title"], metadata["space"])


def bundled_heads() -> tuple[Head, ...]:
    """Return the heads that ship, the default one first, the others by name."""
    paths = sorted(HEADS_DIR.glob("*.safetensors"), key=lambda path: (path.stem != DEFAULT_HEAD, path.stem))
    return tuple(read_head(path) for path in paths)


def offered_heads(chosen: Path) -> tuple[Head, ...]:
    """Return the bundled heads, and before them the file `chosen` where it is not one of them."""
    bundled = bundled_heads()
    if any(head.path.samefile(chosen) for head in bundled):
        return bundled
    return (read_head(chosen), *bundled)


def portrait(path: Path) -> bytes:
    """Draw a head from the front, smiling where its shapes have names; a square WebP picture.

    Raises:
        WeightsError: The file is damaged or not a rig.
    """
    from PIL import Image

    from cteg.face.render import Camera, render_vertices  # brings numba, which takes a second

    rig = Rig.load(path)
    frame = layout.neutral()
    if rig.space == "open":
        for shape, weight in SMILE.items():
            for side in ("Left", "Right"):
                frame[layout.INDEX[shape + side]] = weight
    whole = Camera.framing(rig)
    above_neck = PORTRAIT_LIFT * float(rig.neutral[:, 1].max() - rig.neutral[:, 1].min())
    camera = Camera(whole.target + np.array([0.0, above_neck, 0.0]), PORTRAIT_CLOSER * whole.distance)
    picture = io.BytesIO()
    Image.fromarray(render_vertices(rig, rig.vertices(frame)[0], camera, PORTRAIT_PIXELS)).save(
        picture, "WEBP", quality=88, method=6
    )
    return picture.getvalue()
