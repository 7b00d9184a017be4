"""Fit the map from a user's FLAME head to an open head, so that weights trained on FLAME data can drive the latter.

    python -m training.fit_flame_map flame.safetensors flame_map.safetensors [--head default]

Takes the head that `training.import_flame` made. Both faces are brought into correspondence (see
`training.correspondence`); there the motion of FLAME's 50 components and of the 50 open shapes is compared. The map
stores the sums of products that the bounded fit of every frame needs (`cteg.face.space_map`). It is derived from FLAME:
keep it to yourself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import sparse

from cteg import layout
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.rig import DEFAULT_HEAD, Rig, load_rig
from cteg.face.space_map import SpaceMap
from training.common import plain_errors
from training.correspondence import HALF_HIDDEN, Face, blend, eye_distance, face_of, register, similarity

# Dimensions: N points of FLAME's face, V vertices of a head.

RIDGE = 1e-3
"""Share of the mean diagonal of `gram` added to it: shapes that move alike share a motion instead of fighting."""

JAW_PROBES = (0.3, 0.1, 0.06)
"""Radians about x, y and z at which both jaws are compared."""

GAZE = tuple(name for name in layout.OPEN_SHAPES if name.startswith("eyeLook"))
"""FLAME turns the eyes by joints, not by expression components; what lids tell of gaze is not enough."""

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Fit:
    """A fitted map and how good it is.

    Attributes:
        map: The map.
        gap: Root mean square distance in metres of the bent FLAME face from the open one.
        explained: Share of FLAME's motion that open shapes within 0...1 reproduce, over plausible expressions.
    """

    map: SpaceMap
    gap: float
    explained: float


def fit_map(flame: Rig, head: Rig) -> Fit:
    """Fit the map from a FLAME head to an open head.

    Raises:
        InputError: A head is of the wrong space or lacks what the fit needs.
    """
    for rig, space in ((flame, "flame"), (head, "open")):
        if rig.space != space:
            raise InputError(f"The head '{rig.name}' is in the space '{rig.space}', expected one of '{space}'.")
    flame_motion, open_motion = _shape_motion(flame), _shape_motion(head)
    source = face_of(flame, np.linalg.norm(flame_motion, axis=2).max(axis=0))
    target = face_of(head, np.linalg.norm(open_motion, axis=2).max(axis=0), HALF_HIDDEN)
    places = register(source, target, eye_distance(head) / eye_distance(flame))
    bind = blend(source, target, places)
    turn = similarity(source.points, places, source.area)
    gap = np.sqrt(np.average(((bind @ target.points - places) ** 2).sum(axis=1), weights=source.area))
    shapes = _sample(open_motion, target, bind)
    components = flame_motion[:, source.index] @ turn.T
    weight = source.area / source.area.sum() * 1e6  # sums become mean squares in square millimetres
    gram = np.einsum("snc,tnc,n->st", shapes, shapes, weight, optimize=True)
    cross = np.einsum("snc,knc,n->sk", shapes, components, weight, optimize=True)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    upper = np.array([name not in GAZE for name in layout.OPEN_SHAPES], dtype=np.float32)
    fitted = SpaceMap(
        gram.astype(np.float32),
        cross.astype(np.float32),
        upper,
        _jaw_scale(flame, head, source, target, bind, turn),
        source=flame.name,
        target=head.name,
    )
    return Fit(fitted, float(gap), _explained(fitted, shapes, components, weight))


def _shape_motion(rig: Rig) -> NDArray[np.float64]:
    """Return how far (50, V, 3) each shape at 1 moves a head, its joints included, metres."""
    frames = np.zeros((50, layout.D), dtype=np.float32)
    frames[:, layout.EXPRESSION] = np.eye(50)
    return (rig.vertices(frames) - rig.neutral).astype(np.float64)


def _sample(motion: NDArray[np.float64], target: Face, bind: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the motion (S, N, 3) of a head at the points that `bind` (N, target's points) stands for."""
    return np.stack([bind @ shape for shape in motion[:, target.index]])


def _jaw_scale(
    flame: Rig, head: Rig, source: Face, target: Face, bind: sparse.csr_matrix, turn: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return by axis how much the open jaw turns to move the face as far as FLAME's does."""
    frames = np.zeros((3, layout.D), dtype=np.float32)
    frames[:, layout.JAW] = np.diag(JAW_PROBES)
    theirs = (flame.vertices(frames) - flame.neutral)[:, source.index] @ turn.T
    ours = _sample((head.vertices(frames) - head.neutral).astype(np.float64), target, bind)
    weight = source.area[None, :, None]
    return ((weight * ours * theirs).sum(axis=(1, 2)) / (weight * ours**2).sum(axis=(1, 2))).astype(np.float32)


def _explained(fitted: SpaceMap, shapes: NDArray, components: NDArray, weight: NDArray, frames: int = 64) -> float:
    """Return the share of motion kept over random expressions of standard deviation 1 with a jaw half open."""
    coefficients = np.random.default_rng(0).normal(size=(frames, layout.D)).astype(np.float32)
    coefficients[:, layout.JAW] = [layout.JAW_OPEN_RADIANS / 2, 0, 0]
    weights = fitted.apply(Clip(coefficients, space="flame")).coefficients[:, layout.EXPRESSION]
    wanted = np.tensordot(coefficients[:, layout.EXPRESSION], components, 1)
    left = wanted - np.tensordot(weights, shapes, 1)
    return float(1 - (weight[:, None] * left**2).sum() / (weight[:, None] * wanted**2).sum())


@app.command()
@plain_errors
def main(
    flame: Annotated[Path, typer.Argument(help="your FLAME head, made by training.import_flame")],
    out: Annotated[Path, typer.Argument(help="map file to write, *.safetensors")],
    head: Annotated[str, typer.Option(help="name or file of the open head to drive")] = DEFAULT_HEAD,
) -> None:
    """Fit the map that lets clips of the flame space drive an open head."""
    fit = fit_map(Rig.load(flame), load_rig(head))
    out.parent.mkdir(parents=True, exist_ok=True)
    fit.map.save(out)
    x, y, z = fit.map.jaw_scale
    typer.echo(f"{out}: faces aligned to {fit.gap * 1000:.2f} mm, {fit.explained:.0%} of FLAME's motion kept,")
    typer.echo(f"jaw angles times {x:.2f} (open), {y:.2f} (turn), {z:.2f} (roll).")
    typer.echo(f"Use it with --map {out} or CTEG_FLAME_MAP={out}. It is derived from FLAME: keep it to yourself.")


if __name__ == "__main__":
    app()
