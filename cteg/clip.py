"""A clip: one facial performance as coefficients, with all that is needed to make it again."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cteg import layout
from cteg.errors import InputError

MAX_FRAMES = 20_000
"""Longest clip: over 13 minutes. A longer one in a file is refused before it fills the memory."""

MAX_ARRAY_BYTES = MAX_FRAMES * layout.D * 8 + 4096
"""Largest array that is unpacked from a file: the longest clip in double precision, and its header."""

DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, RuntimeError)
"""What reading a damaged archive raises; the last where its flags ask for another method or a password."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A sequence of expression coefficients.

    Attributes:
        coefficients: (T, 53) float32, T >= 1; units by `space`, see `cteg.layout`.
        fps: Frames per second.
        space: Coefficient space, `open` or `flame`.
        text: The sentence that the clip performs; empty where there is none.
        seed: The seed that gives this very clip as first sample (seed of the request + index of the sample).
        temperature: Sampling temperature, 0...2.
        weights: Name of the weights that wrote it; empty for a clip from elsewhere.
        guidance: How much more strongly than learned the sentence decided, 0...3.
    """

    coefficients: NDArray[np.float32]
    fps: float = layout.FPS
    space: str = "open"
    text: str = ""
    seed: int = 0
    temperature: float = 1.0
    weights: str = ""
    guidance: float = 0.0

    def __post_init__(self) -> None:
        coefficients = np.ascontiguousarray(self.coefficients, dtype=np.float32)
        if coefficients.ndim != 2 or coefficients.shape[1] != layout.D or not 1 <= len(coefficients) <= MAX_FRAMES:
            raise InputError(
                f"A clip needs coefficients of shape (1...{MAX_FRAMES} frames, {layout.D}), got {coefficients.shape}."
            )
        if not np.isfinite(coefficients).all():
            raise InputError("A clip needs finite coefficients, got NaN or infinity.")
        if self.space not in layout.SPACES:
            raise InputError(f"Unknown coefficient space {self.space!r}, expected one of {', '.join(layout.SPACES)}.")
        if not (np.isfinite(self.fps) and 1 <= self.fps <= 240):
            raise InputError(f"A clip needs 1 to 240 frames per second, got {self.fps}.")
        coefficients.setflags(write=False)
        object.__setattr__(self, "coefficients", coefficients)

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps

    def save(self, path: str | Path) -> Path:
        """Write the clip as a compressed `.npz` and return its path.

        The file holds `coefficients` (T, 53) float32 and the scalars `fps`, `space`, `text`, `seed`, `temperature`,
        `weights` and `guidance`; it contains no pickled objects.
        """
        path = Path(path)
        with path.open("wb") as file:  # an open file keeps numpy from adding a second ending
            np.savez_compressed(
                file,
                coefficients=self.coefficients,
                fps=np.float64(self.fps),
                space=np.str_(self.space),
                text=np.str_(self.text),
                seed=np.int64(self.seed),
                temperature=np.float64(self.temperature),
                weights=np.str_(self.weights),
                guidance=np.float64(self.guidance),
            )
        return path

    @classmethod
    def load(cls, path: str | Path) -> Clip:
        """Read a clip written by `save`, or any `.npz` with at least `coefficients` (T, 53).

        Raises:
            InputError: the file is missing, damaged or not a clip.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"There is no clip file {path}.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                if "coefficients" not in archive:
                    raise InputError(f"{path.name} holds no array 'coefficients', so it is not a clip.")
                if any(member.file_size > MAX_ARRAY_BYTES for member in archive.zip.infolist()):
                    raise InputError(f"{path.name} is too large: a clip has at most {MAX_FRAMES} frames.")
                found = {name: archive[name] for name in archive.files}
            return cls(
                coefficients=found["coefficients"],
                fps=float(found.get("fps", layout.FPS)),
                space=str(found.get("space", "open")),
                text=str(found.get("text", "")),
                seed=int(found.get("seed", 0)),
                temperature=float(found.get("temperature", 1.0)),
                weights=str(found.get("weights", "")),
                guidance=float(found.get("guidance", 0.0)),
            )
        except (OSError, ValueError, TypeError, EOFError, *DAMAGED_ARCHIVE) as error:
            raise InputError(f"{path.name} is damaged or not a clip file.") from error
