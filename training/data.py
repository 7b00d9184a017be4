"""Training data in memory: performances, cached text states, batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cteg import layout
from cteg.checkpoint import load_text_encoder, sha256
from cteg.errors import InputError
from cteg.text import TextEncoder
from training.performance.store import Performances


def check_space(data: Performances, space: str) -> None:
    """Raise `InputError` unless the performances are of the coefficient space `space`."""
    if data.space != space:
        raise InputError(f"The performances are of the space {data.space!r}, expected {space!r}.")


class TextStates:
    """Last hidden states of many sentences, computed once and kept in half precision.

    Args:
        states: (tokens of all sentences, text_size) float16.
        offsets: (sentences + 1,).
    """

    def __init__(self, states: Tensor, offsets: Tensor) -> None:
        self.states = states
        self.offsets = offsets.tolist()

    def batch(self, sentences: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return padded states (B, L, text_size) float32 and mask (B, L), True for real tokens."""
        parts = [self.states[self.offsets[i] : self.offsets[i + 1]] for i in sentences]
        length = max(len(part) for part in parts)
        states = torch.zeros(len(parts), length, self.states.shape[1])
        mask = torch.zeros(len(parts), length, dtype=torch.bool)
        for row, part in enumerate(parts):
            states[row, : len(part)] = part
            mask[row, : len(part)] = True
        return states, mask


def cached_text_states(texts: Sequence[str], encoder_folder: Path, cache: Path) -> TextStates:
    """Encode sentences, or read their states from the cache if this encoder has encoded them before.

    Args:
        texts: The sentences.
        encoder_folder: Text encoder, as written by `training.text_encoder`.
        cache: Folder for the cache file, which is named after the content of the encoder and of the sentences.

    Raises:
        InputError: there is no text encoder, or the cache file is damaged.
    """
    weights = encoder_folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"There is no text encoder in {encoder_folder}: it lacks {weights.name}.")
    digest = hashlib.sha256(("\n".join(texts) + sha256(weights)).encode()).hexdigest()
    path = cache / f"text_states_{digest[:16]}.safetensors"
    if path.is_file():
        try:
            stored = load_file(path)
            return TextStates(stored["states"], stored["offsets"])
        except (SafetensorError, OSError, KeyError) as error:
            raise InputError(f"The cache {path} is damaged; remove it to encode the sentences again.") from error
    encoder = load_text_encoder(encoder_folder)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    states, offsets = encode_all(encoder, texts)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file({"states": states, "offsets": offsets}, temporary)
    temporary.replace(path)
    return TextStates(states, offsets)


def encode_all(encoder: TextEncoder, texts: Sequence[str], batch: int = 128) -> tuple[Tensor, Tensor]:
    """Return the states of all sentences without padding, float16, and their offsets."""
    device = next(encoder.parameters()).device.type
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts: list[Tensor] = [torch.empty(0)] * len(texts)
    for start in track(range(0, len(order), batch), "encoding sentences"):
        indices = order[start : start + batch]
        with torch.autocast(device, torch.bfloat16):  # half the time; the states are kept in half precision anyway
            encoded = encoder.encode([texts[i] for i in indices])
        for row, index in enumerate(indices):
            parts[index] = encoded.states[row, encoded.mask[row]].half().cpu()
    offsets = torch.zeros(len(texts) + 1, dtype=torch.int64)
    offsets[1:] = torch.tensor([len(part) for part in parts]).cumsum(0)
    return torch.cat(parts), offsets


@dataclass(frozen=True)
class Batch:
    """Padded clips: frames (B, N*K, 53), valid (B, N*K), text (B, L, text_size), text_mask (B, L)."""

    frames: Tensor
    valid: Tensor
    text: Tensor
    text_mask: Tensor

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the rows."""
        return Batch(self.frames[rows], self.valid[rows], self.text[rows], self.text_mask[rows])

    def to(self, device: torch.device) -> Batch:
        """Move every tensor."""
        return Batch(*(getattr(self, name).to(device) for name in ("frames", "valid", "text", "text_mask")))


def pad_clips(clips: Sequence[NDArray[np.floating]], frames_per_step: int) -> tuple[Tensor, Tensor]:
    """Pad clips (T_i, 53) to whole steps by repeating the last frame: frames (B, N*K, 53), valid (B, N*K)."""
    longest = max(len(clip) for clip in clips)
    length = -(-longest // frames_per_step) * frames_per_step
    frames = np.empty((len(clips), length, layout.D), dtype=np.float32)
    valid = np.zeros((len(clips), length), dtype=bool)
    for row, clip in enumerate(clips):
        frames[row, : len(clip)] = clip
        frames[row, len(clip) :] = clip[-1]
        valid[row, : len(clip)] = True
    return torch.from_numpy(frames), torch.from_numpy(valid)
