"""Taking performances away from the page: the very clips that are shown, in any format, made when asked for."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import gradio as gr

from cteg import export
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.face.heads import offered_heads
from cteg.face.rig import Rig, load_rig

KINDS_OF_ONE = ("npz", "glb", "csv", "mp4", "gif", "png")
KINDS_OF_ALL = ("mp4", "gif", "png", "zip")
MOST_FRAMES = 160_000
"""How many frames are kept, 34 MB: 200 runs of eight clips of four seconds, or ten of the longest texts."""

MOST_BYTES = 100_000_000
"""How much Gradio's copies of files may take, twenty moving heads; it deletes them by age alone, after hours."""


class RecentRuns:
    """The clips of the latest requests in memory, so that a file holds exactly what was seen."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[Clip]] = OrderedDict()
        self._lock = threading.Lock()

    def new(self) -> str:
        """Return a random id for a request."""
        return secrets.token_hex(16)

    def keep(self, run: str, clips: list[Clip]) -> None:
        """Keep the clips of a request, in place of those that it had before, for `find`."""
        with self._lock:
            self._runs[run] = clips
            self._runs.move_to_end(run)
            frames = sum(len(clip) for kept in self._runs.values() for clip in kept)
            while frames > MOST_FRAMES and len(self._runs) > 1:
                _, oldest = self._runs.popitem(last=False)
                frames -= sum(map(len, oldest))

    def find(self, run: object) -> list[Clip]:
        """Return the clips of a request.

        Raises:
            InputError: They are no longer kept, or never were.
        """
        with self._lock:
            clips = self._runs.get(run) if isinstance(run, str) else None
        if clips is None:
            raise InputError(
                "The server no longer holds these faces; generate them again, the same seed gives the same."
            )
        return clips


class TakeAway:
    """Makes the files that the page offers.

    One file is made at a time, and it stays until the next one is asked for: by then Gradio has its own copy.

    Args:
        runs: The clips that may be taken.
        rig_path: The head that the page shows first.
    """

    def __init__(self, runs: RecentRuns, rig_path: Path) -> None:
        self._runs = runs
        self._heads = {head.name: head.path for head in offered_heads(rig_path)}
        self._folder = tempfile.TemporaryDirectory(prefix="cteg-take-away-")

    def make(self, event: gr.EventData, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - Gradio's way
        """Write one file.

        Args:
            event: What the player sends: `run`, `head`, `kind`, and `face`, an index or null for all faces.
            progress: Gradio's bar.

        Returns:
            The path of the file.

        Raises:
            InputError: A value is not one that the page offers, or the faces are no longer kept.
        """
        wish = event._data if isinstance(event._data, dict) else {}
        clips, rig = self._runs.find(wish.get("run")), self._rig(wish.get("head"))
        face, kind = wish.get("face"), wish.get("kind")
        if face is not None and (type(face) is not int or not 0 <= face < len(clips)):
            raise InputError(f"There are the faces 1 to {len(clips)}.")
        if kind not in (KINDS_OF_ALL if face is None else KINDS_OF_ONE):
            raise InputError("This page offers no such file.")
        path = self._empty_folder() / export.file_name(clips, kind, face)
        progress(0, desc=f"Making {path.name}")

        def report(done: float) -> None:
            progress(done, desc=f"Making {path.name}")

        if kind == "zip":
            return str(export.to_zip(clips, rig, path, report))
        return str(export.save(clips if face is None else clips[face], rig, path, report))

    def _rig(self, head: object) -> Rig:
        path = self._heads.get(head) if isinstance(head, str) else None
        if path is None:
            raise InputError("This page offers no such head.")
        return _load_rig(path)

    def _empty_folder(self) -> Path:
        folder = Path(self._folder.name)
        for old in folder.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=folder))


def drop_oldest(files: set[str], limit: int = MOST_BYTES) -> None:
    """Delete the oldest of some files until the others take no more than a number of bytes.

    Args:
        files: Their paths; those of deleted ones are removed. Asked for again, a file is made again.
        limit: Bytes.
    """
    found = []
    for file in list(files):
        try:
            state = os.stat(file)
        except OSError:  # deleted already
            files.discard(file)
        else:
            found.append((state.st_ctime, state.st_size, file))
    taken = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if taken <= limit:
            return
        Path(file).unlink(missing_ok=True)
        files.discard(file)
        taken -= size


@lru_cache(maxsize=2)
def _load_rig(path: Path) -> Rig:
    return load_rig(path)
