"""The generator: a sentence in, clips out. What `cteg.load` returns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from cteg import checkpoint, layout, sampling
from cteg.clip import Clip
from cteg.face.space_map import SpaceMap
from cteg.sentences import split_sentences
from cteg.text import TextEncoder, TextStates, check_text


class Generator:
    """A CTEG, or a released model, with its text encoder.

    Args:
        model: In evaluation mode.
        encoder: The text encoder that the model was trained with.
        name: Name of the weights, written into every clip.
        flame_map: Turns clips of a `flame` model into the `open` space; None leaves them as they are.
    """

    def __init__(
        self, model: sampling.Model, encoder: TextEncoder, name: str, flame_map: SpaceMap | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.name = name
        self.flame_map = flame_map if model.config.space == "flame" else None

    @property
    def space(self) -> str:
        """Coefficient space of the clips."""
        return self.model.config.space if self.flame_map is None else "open"

    def to(self, device: str | torch.device) -> Generator:
        """Move model and text encoder to a device, and return this generator."""
        self.model.to(device)
        self.encoder.to(device)
        return self

    def generate(
        self,
        text: str,
        samples: int = 4,
        temperature: float = 1.0,
        seed: int = 0,
        guidance: float = 0.0,
        is_cached: bool = True,
    ) -> list[Clip]:
        """Perform a text several times.

        A longer text is performed sentence by sentence in one continuous clip: each part of `split_sentences`, at most
        eight of at most ten seconds, goes on from the last frame of the one before.

        Args:
            text: English, at most 500 characters.
            samples: 1...8.
            temperature: 0 (always the likeliest) ... 2.
            seed: 0...2^31 - 1. Sample i depends on seed + i alone: it is sample 0 of that seed.
            guidance: 0...3, how much more strongly than learned the sentence decides what is performed: clearer
                feelings, less variety.
            is_cached: Whether decoding keeps keys and values of the past; False recomputes them, for comparison.

        Returns:
            `samples` clips.

        Raises:
            InputError: text or settings cannot be used.
        """
        *_, clips = self.stream(text, samples, temperature, seed, guidance, is_cached)
        return clips

    def stream(
        self,
        text: str,
        samples: int = 4,
        temperature: float = 1.0,
        seed: int = 0,
        guidance: float = 0.0,
        is_cached: bool = True,
    ) -> Iterator[list[Clip]]:
        """Perform a text part by part. Arguments and errors as in `generate`.

        Yields:
            The clips as far as they are, once for every part of the text; at last those that `generate` returns.
        """
        text = check_text(text)
        settings = sampling.check_settings(samples, temperature, seed, guidance)
        return self._stream(text, settings, is_cached)

    def _stream(self, text: str, settings: sampling.Settings, is_cached: bool) -> Iterator[list[Clip]]:
        seeds = [settings.seed + row for row in range(sampling.ROWS)]
        made_with = (settings.temperature, self.name, settings.guidance)
        space, opening = self.model.config.space, sampling.REST
        written: list[list[Tensor]] = [[] for _ in range(settings.samples)]
        for part, sentence in enumerate(split_sentences(text), start=1):
            states = self.encoder.encode([sentence])
            newest = sampling.sample(
                self.model,
                states.states,
                states.mask,
                seeds,
                settings.temperature,
                settings.samples,
                is_cached,
                settings.guidance,
                opening,
            )
            opening = sampling.Opening.after(newest, part)
            for frames, more in zip(written, newest, strict=True):
                frames.append(more)
            clips = [
                Clip(torch.cat(frames).numpy(), layout.FPS, space, text, seeds[row], *made_with)
                for row, frames in enumerate(written)
            ]
            yield clips if self.flame_map is None else [self.flame_map.apply(clip) for clip in clips]

    def read_feelings(self, text: str) -> dict[str, float]:
        """Return the feelings that the text encoder reads in a text: label -> probability, likeliest first.

        Of a text that is performed in several parts, the mean over its parts. Empty for an encoder without a label
        head.
        """
        states: TextStates = self.encoder.encode(split_sentences(check_text(text)))
        if states.label_probabilities is None:
            return {}
        pairs = zip(self.encoder.labels, states.label_probabilities.mean(0).tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))


def load(source: str | Path | None = None, flame_map: str | Path | None = None) -> Generator:
    """Load a generator.

    Args:
        source: A weights folder, or a Hub id `owner/name`; the bundled weights if not given.
        flame_map: File that maps the clips of `flame` weights to the `open` space, see `cteg.face.space_map`.

    Raises:
        WeightsError: the weights are missing, damaged or do not fit.
        InputError: the map is missing or damaged.
    """
    loaded_map = SpaceMap.load(flame_map) if flame_map is not None else None
    return Generator(*checkpoint.load_pretrained(source or checkpoint.BUNDLED), flame_map=loaded_map)
