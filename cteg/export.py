"""Take performances away: one function per kind of file, and `save`, which goes by the ending of the name.

    cteg.export.to_glb(clips[0], rig, "a.glb")
    cteg.export.save(clips, rig, "all.mp4")  # several clips: side by side, in step

What each file holds and which programs open it is in docs/exports.md.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.arkit import load_csv, save_csv
from cteg.face.glb import save_glb
from cteg.face.rig import Rig, check_space
from cteg.face.video import Progress, save_film, save_sheet

FORMATS: dict[str, str] = {
    "npz": "coefficients, to load again",
    "csv": "ARKit shapes, as Live Link Face writes them",
    "glb": "moving head for Blender, three.js, game engines",
    "mp4": "film",
    "gif": "film that loops",
    "png": "contact sheet",
    "ply": "one frame as a coloured mesh",
    "obj": "one frame as a mesh",
}
"""Every format that a clip can be written in, by its ending, with a word on what it is."""

TOGETHER = ("mp4", "gif", "png")
"""Formats that hold several clips in one file."""

READABLE = (".npz", ".csv")


def to_npz(clip: Clip, path: str | Path) -> Path:
    """Write a clip as `.npz`, from which `Clip.load` makes the same clip again.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        return clip.save(path)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.") from error


def to_csv(clip: Clip, path: str | Path, full: bool = False) -> Path:
    """Write a clip as an ARKit table; see `cteg.face.arkit.save_csv`, whose errors it raises."""
    return save_csv(clip, path, full)


def to_glb(clip: Clip, rig: Rig, path: str | Path) -> Path:
    """Write a head that performs a clip as GLB; see `cteg.face.glb.save_glb`, whose errors it raises."""
    return save_glb(clip, rig, path)


def to_video(clips: Clip | Sequence[Clip], rig: Rig, path: str | Path, progress: Progress | None = None) -> Path:
    """Write a film, `.mp4` or `.gif`; see `cteg.face.video.save_film`, whose errors it raises."""
    return save_film(clips, rig, path, progress)


def to_sheet(clips: Clip | Sequence[Clip], rig: Rig, path: str | Path, frames: int = 8) -> Path:
    """Write a contact sheet; see `cteg.face.video.save_sheet`, whose errors it raises."""
    return save_sheet(clips, rig, path, frames)


def to_mesh(clip: Clip, rig: Rig, path: str | Path, frame: int | None = None) -> Path:
    """Write one frame as a still mesh, `.ply` (with colours) or `.obj`, and return its path.

    Args:
        clip: The performance.
        rig: A head of the clip's space.
        path: The file; metres, y up, z out of the face.
        frame: Which frame, 0...T - 1; the one furthest from rest if not given.

    Raises:
        InputError: The ending is another one, there is no such frame, or the file cannot be written.
        SpaceError: The head belongs to another space.
    """
    import trimesh  # slow to import, and only needed here

    path = Path(path)
    if path.suffix.lower() not in (".ply", ".obj"):
        raise InputError(f"Cannot write '{path.name}': a mesh ends in .ply or .obj.")
    check_space(rig, clip.space)
    if frame is None:
        frame = int(np.argmax(np.linalg.norm(clip.coefficients, axis=1)))
    if not 0 <= frame < len(clip):
        raise InputError(f"The clip has the frames 0 to {len(clip) - 1}, got {frame}.")
    vertices = rig.vertices(clip.coefficients[frame])[0]
    mesh = trimesh.Trimesh(vertices, rig.triangles, vertex_colors=rig.color, process=False)
    try:
        mesh.export(path)
    except OSError as error:
        raise InputError(f"Cannot write '{path}': {error.strerror}.") from error
    return path


def to_zip(clips: Sequence[Clip], rig: Rig, path: str | Path, progress: Progress | None = None) -> Path:
    """Write all samples of a sentence as one archive, and return the path.

    It holds each clip as `.npz`, as `.glb` and, if it has ARKit shapes, as `.csv`; and all together as film and contact
    sheet.

    Args:
        clips: 1 to 8 performances of one space.
        rig: A head of that space.
        path: The file.
        progress: Called with 0...1 while it is made.

    Raises:
        InputError: There are no clips or too many, or the file cannot be written.
        SpaceError: The head belongs to another space.
    """
    if not clips:
        raise InputError("An archive holds one clip or more, got none.")
    path, kinds = Path(path), ["npz", "glb", *(["csv"] if clips[0].space == "open" else [])]
    files = len(clips) * len(kinds)
    share_of_film = 0.7  # of the time, roughly
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for index, clip in enumerate(clips):
            for kind in kinds:
                made.append(save(clip, rig, Path(folder) / file_name(clips, kind, index)))
                if progress is not None:
                    progress((1 - share_of_film) * len(made) / files)
        made.append(save_sheet(clips, rig, Path(folder) / file_name(clips, "png")))
        film = Path(folder) / file_name(clips, "mp4")
        made.append(save_film(clips, rig, film, progress and (lambda done: progress(1 - share_of_film * (1 - done)))))
        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in made:
                    archive.write(file, file.name)
        except OSError as error:
            raise InputError(f"Cannot write '{path}': {error.strerror}.") from error
    return path


def save(
    clips: Clip | Sequence[Clip],
    rig: Rig,
    path: str | Path,
    progress: Progress | None = None,
    frames: int = 8,
    full: bool = False,
) -> Path:
    """Write clips in the format that the ending of `path` names, a key of `FORMATS`, and return the path.

    Args:
        clips: A performance, or several of one sentence for the formats in `TOGETHER`.
        rig: A head of the clips' space.
        path: The file.
        progress: Called now and then while a film is drawn.
        frames: Faces of a clip on a contact sheet.
        full: Whether a `.csv` holds `cteg.face.arkit.EXTRA_COLUMNS`, too.

    Raises:
        InputError: The ending is another one, the file holds one clip only, or it cannot be written.
        SpaceError: The head belongs to another space, or the clips have no ARKit shapes.
    """
    path, clips = Path(path), [clips] if isinstance(clips, Clip) else list(clips)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise InputError(
            f"Cannot write '{path.name}': expected an ending of {', '.join('.' + name for name in FORMATS)}."
        )
    if kind in ("mp4", "gif"):
        return to_video(clips, rig, path, progress)
    if kind == "png":
        return to_sheet(clips, rig, path, frames)
    if len(clips) != 1:
        raise InputError(f"A .{kind} file holds one clip, got {len(clips)}.")
    (clip,) = clips
    if kind == "npz":
        return to_npz(clip, path)
    if kind == "csv":
        return to_csv(clip, path, full)
    return to_glb(clip, rig, path) if kind == "glb" else to_mesh(clip, rig, path)


def load(path: str | Path) -> Clip:
    """Read a clip from `.npz` or from an ARKit `.csv`.

    Raises:
        InputError: The file is missing, damaged or of another kind.
    """
    path = Path(path)
    if path.suffix.lower() not in READABLE:
        raise InputError(f"Cannot read '{path.name}': a clip is an .npz file or an ARKit .csv file.")
    return load_csv(path) if path.suffix.lower() == ".csv" else Clip.load(path)


def file_name(clips: Sequence[Clip], kind: str, index: int | None = None) -> str:
    """Return a telling name for a file: `face2_seed8.glb`, or `faces_seed7-10.mp4` where `index` is not given."""
    if index is not None:
        return f"face{index + 1}_seed{clips[index].seed}.{kind}"
    first, last = clips[0].seed, clips[-1].seed
    return f"faces_seed{first}-{last}.{kind}" if first != last else f"faces_seed{first}.{kind}"
