"""CTEG itself behind the protocol of the comparison; without latents it is the deterministic transformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cteg import layout, sampling
from cteg.baselines.system import Frames, Sentences
from cteg.model.cteg import CTEG
from cteg.model.latent import Mixture

ROWS = 256
"""Clips decoded together: bounds the memory of the caches, and is enough to keep two cores busy."""


class CTEGSystem:
    """A CTEG of any configuration.

    Args:
        model: The model, put into evaluation mode.
        name: Its row in the tables.
        guidance: See `cteg.sampling.Settings`.
    """

    rows = ROWS

    def __init__(self, model: CTEG, name: str, guidance: float = 0.0) -> None:
        self.model, self.name, self.guidance = model.eval(), name, guidance
        self.stride = model.config.frames_per_step

    def generate(self, sentences: Sentences, samples: int, temperature: float, seed: int) -> list[list[Frames]]:
        """See `System.generate`; sample i of sentence s has the seed `seed + s * samples + i`."""
        rows = [sentence for sentence in range(len(sentences)) for _ in range(samples)]
        clips: list[Frames] = []
        for start in range(0, len(rows), self.rows):
            part = sentences.rows(rows[start : start + self.rows])
            seeds = [seed + start + row for row in range(len(part))]
            clips += self._decode(part.states, part.mask, seeds, temperature)
        return [clips[first : first + samples] for first in range(0, len(clips), samples)]

    def generate_freely(self, count: int, temperature: float, seed: int) -> list[Frames]:
        """See `System.generate_freely`; the text is the one that stands for none in training."""
        text = self.model.null_text[None]  # (1, 1, text_size)
        mask = torch.ones(1, 1, dtype=torch.bool)
        clips: list[Frames] = []
        for start in range(0, count, self.rows):
            seeds = [seed + row for row in range(start, min(start + self.rows, count))]
            rows = (len(seeds), -1, -1)
            clips += self._decode(text.expand(rows), mask.expand(rows[:2]), seeds, temperature)
        return clips

    def _decode(self, text: Tensor, mask: Tensor, seeds: list[int], temperature: float) -> list[Frames]:
        device = self.model.first_frame.device
        clips = sampling.sample(
            self.model, text.to(device), mask.to(device), seeds, temperature, guidance=self.guidance
        )
        return [clip.float().numpy() for clip in clips]

    def predict(self, sentences: Sentences, clips: Sequence[Frames]) -> list[Frames]:
        """See `System.predict`: true frames go in step by step, latents are the likeliest (temperature 0)."""
        predicted: list[Frames] = [np.empty(0)] * len(clips)
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
        for start in range(0, len(order), self.rows):
            part = order[start : start + self.rows]
            frames = self._predict(sentences.rows(part), [clips[i] for i in part])
            for row, index in enumerate(part):
                predicted[index] = frames[row, : len(clips[index])]
        return predicted

    @torch.inference_mode()
    def _predict(self, sentences: Sentences, clips: list[Frames]) -> Frames:
        model, size = self.model, self.stride
        device = model.first_frame.device
        text, mask = sentences.states.to(device), sentences.mask.to(device)
        steps = model.steps_for(max(map(len, clips)))
        true = np.stack([np.pad(clip, ((0, steps * size - len(clip)), (0, 0)), mode="edge") for clip in clips])
        known = model.scale(torch.from_numpy(true).to(device))
        known = torch.cat([torch.zeros_like(known[:, :size]), known], dim=1).unflatten(1, (steps + 1, size))
        condition = model.draw_condition(text, mask, len(clips), _likeliest, self.guidance)
        latents = [text.new_zeros(len(clips), 0, model.config.latent_size) for _ in model.layers]
        state = model.start(text, mask, len(clips), _likeliest, self.guidance)
        written = []
        for step in range(steps):
            newest = known[:, step]
            if model.caches_exactly:
                output, _ = model.step(newest, state, _likeliest)
            else:
                prefix = known[:, : step + 1].flatten(1, 2)
                output, _, latents = model.step_uncached(prefix, latents, condition, text, mask, _likeliest)
            written.append(model.unscale(model.to_frames(output, newest[:, None, -1], model.head)[:, 0]))
        frames = torch.cat(written, dim=1).float().cpu().numpy()
        return layout.clamp_open(frames) if model.config.space == "open" else frames


def _likeliest(prior: Mixture, layer: int) -> Tensor:
    """Draw at temperature 0: the mean of the likeliest component."""
    nowhere = torch.zeros_like(prior.mean[..., 0, :])
    return prior.sample(nowhere[..., 0], nowhere, temperature=0.0)
