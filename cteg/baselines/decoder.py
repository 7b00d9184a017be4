"""CTEG itself behind the protocol of the comparison; without latents it is the deterministic transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from cteg import layout, sampling
from cteg.baselines.system import Frames, InBatches, Sentences, pad_clips
from cteg.model.cteg import CTEG
from cteg.model.latent import Mixture


class CTEGSystem(InBatches):
    """A CTEG of any configuration; predictions take the likeliest latents (temperature 0) and the true length.

    Args:
        model: The model, put into evaluation mode.
        name: Its row in the tables.
        guidance: See `cteg.sampling.Settings`.
    """

    def __init__(self, model: CTEG, name: str, guidance: float = 0.0) -> None:
        self.model, self.name, self.guidance = model.eval(), name, guidance
        self.stride = model.config.frames_per_step

    @property
    def null_text(self) -> Tensor:
        """See `InBatches`."""
        return self.model.null_text

    def _write(self, text: Tensor, mask: Tensor, seed: int, temperature: float) -> list[Frames]:
        device, seeds = self.model.first_frame.device, [seed + row for row in range(len(text))]
        clips = sampling.sample(
            self.model, text.to(device), mask.to(device), seeds, temperature, guidance=self.guidance
        )
        return [clip.float().numpy() for clip in clips]

    @torch.inference_mode()
    def _predict(self, sentences: Sentences, clips: list[Frames]) -> Frames:
        model, size = self.model, self.stride
        device = model.first_frame.device
        text, mask = sentences.states.to(device), sentences.mask.to(device)
        steps = model.steps_for(max(map(len, clips)))
        known = model.scale(torch.from_numpy(pad_clips(clips, steps * size)).to(device))
        known = torch.cat([torch.zeros_like(known[:, :size]), known], dim=1).unflatten(1, (steps + 1, size))
        condition = model.draw_condition(text, mask, len(clips), _likeliest, self.guidance)
        latents = [text.new_zeros(len(clips), 0, model.config.latent_size) for _ in model.layers]
        state = model.start(text, mask, len(clips), _likeliest, self.guidance)
        state.lengths = torch.tensor([len(clip) for clip in clips], device=device)
        written = []
        for step in range(steps):
            newest = known[:, step]
            if model.caches_exactly:
                output, _ = model.step(newest, state, _likeliest)
            else:
                prefix = known[:, : step + 1].flatten(1, 2)
                planned = model.with_plan(condition, state.lengths, 0, step + 1)
                output, _, latents = model.step_uncached(prefix, latents, planned, text, mask, _likeliest)
            written.append(model.unscale(model.to_frames(output, newest[:, None, -1], model.head)[:, 0]))
        frames = torch.cat(written, dim=1).float().cpu().numpy()
        return layout.clamp_open(frames) if model.config.space == "open" else frames


def _likeliest(prior: Mixture, layer: int) -> Tensor:
    """Draw at temperature 0: the mean of the likeliest component."""
    nowhere = torch.zeros_like(prior.mean[..., 0, :])
    return prior.sample(nowhere[..., 0], nowhere, temperature=0.0)
