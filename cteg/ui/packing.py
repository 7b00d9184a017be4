"""Clips in the form in which the player and the web API get them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from cteg.clip import Clip

INT16_MAX = 32767


def shared(clips: list[Clip]) -> dict[str, Any]:
    """Return what all clips of a request have in common."""
    first = clips[0]
    return {
        "text": first.text,
        "temperature": float(first.temperature),
        "guidance": float(first.guidance),
        "weights": first.weights,
        "space": first.space,
        "fps": float(first.fps),
    }


def shown(clips: list[Clip], ends: list[list[int]], tokens: Sequence[str | None] = ()) -> dict[str, Any]:
    """Return clips as the player gets them; `ends` has a row for every part and a column for every clip."""
    tokens = tokens or [None] * len(clips)
    return {
        **shared(clips),
        "seed": clips[0].seed,
        "clips": [
            {"seed": clip.seed, "token": token, "ends": list(clip_ends), **packed(clip)}
            for clip, token, clip_ends in zip(clips, tokens, zip(*ends, strict=True), strict=True)
        ],
    }


def exact_lists(coefficients: np.ndarray) -> list[list[float]]:
    """Return (T, 53) float32 as lists whose numbers read back as the same float32, in their shortest form."""
    return orjson.loads(orjson.dumps(coefficients, option=orjson.OPT_SERIALIZE_NUMPY))


def packed(clip: Clip) -> dict[str, Any]:
    """Return a clip for the player: int16 steps of 1/32767 of its largest coefficient, a third of float32 as JSON."""
    scale = float(np.abs(clip.coefficients).max()) / INT16_MAX or 1.0
    steps = np.rint(clip.coefficients / scale).astype("<i2")
    return {"frames": len(clip), "scale": scale, "data": base64.b64encode(steps.tobytes()).decode()}
