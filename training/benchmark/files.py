"""What every kind of file takes to write, and how large it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import cteg
from cteg import export, layout
from cteg.clip import Clip
from training.benchmark.timing import seconds


def sample_clip(frames: int, seed: int = 7) -> Clip:
    """A face that opens and closes eyes, brows and mouth."""
    phase = np.linspace(0, 2 * np.pi, frames)[:, None] + np.arange(50) + seed
    coefficients = np.zeros((frames, layout.D), dtype=np.float32)
    coefficients[:, layout.EXPRESSION] = 0.25 + 0.25 * np.sin(phase)
    coefficients[:, layout.JAW.start] = 0.1 + 0.1 * np.sin(phase[:, 0])
    return Clip(coefficients, layout.FPS, "open", "benchmark", seed)


def measure_files(frames: int = 100, clips: int = 4) -> dict[str, float]:
    """Seconds and kilobytes of every format; films and sheets of several clips as well.

    Args:
        frames: Length of the clips.
        clips: How many a film for several holds.
    """
    rig, figures = cteg.load_rig(), {}
    performed = [sample_clip(frames, seed) for seed in range(clips)]
    with tempfile.TemporaryDirectory() as folder:
        export.to_sheet(performed[0], rig, Path(folder) / "first.png")  # compiles the renderer, or reads its cache
        for kind in export.FORMATS:
            wanted = {1, clips} if kind in export.TOGETHER else {1}
            for count in sorted(wanted):
                path = Path(folder) / f"{count}.{kind}"
                name = f"{kind}, {count} clip{'s' * (count > 1)} of {frames} frames"
                figures[f"{name} (s)"] = seconds(
                    lambda path=path, count=count: export.save(performed[:count], rig, path)
                )
                figures[f"{name} (kB)"] = path.stat().st_size / 1000
    return figures
