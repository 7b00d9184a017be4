"""A small folder in the layout of EmoAva."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

SIZES = {"train": 12, "dev": 6, "test": 8}
"""Clips of the splits; half of them are of texts that have two."""


def write_emoava(folder: Path, protocol: int = 4, dtype: type = np.float64) -> Path:
    """Write the eight files."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        texts = [f"{split} sentence {index // 2 if index < size // 2 else index} é" for index in range(size)]
        clips = [rng.normal(0.2, 1, (int(rng.integers(4, 20)), 53)).astype(dtype) for _ in range(size)]
        (folder / f"{split}_stage1_text.pkl").write_bytes(pickle.dumps(texts, protocol))
        (folder / f"{split}_stage1_exps.pkl").write_bytes(pickle.dumps(clips, protocol))
        if split == "train":
            frames = np.concatenate(clips)
            np.save(folder / "stage1_mean.npy", frames.mean(0))
            np.save(folder / "stage1_std.npy", frames.std(0)[None])
    return folder
