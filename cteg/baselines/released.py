"""A released model behind the protocol of the comparison."""

from __future__ import annotations

import torch

from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.system import Frames, NeedsText, Sentences, pad_clips
from cteg.model.released import ReleasedCTEG
from cteg.model.released_decoding import Decoder, likeliest
from cteg.sampling import Model


class ReleasedSystem(NeedsText, CTEGSystem):
    """A released model, in whatever mode its configuration says; it was never trained without a text."""

    rows = 32  # the whole past of every row is kept: some 15 MB each at the paper's size

    @torch.inference_mode()
    def _predict(self, sentences: Sentences, clips: list[Frames]) -> Frames:
        model = self.model
        longest = max(map(len, clips))
        known = torch.from_numpy(pad_clips(clips, longest)).to(model.first_frame)
        decoder = Decoder(model, sentences.states.to(known), sentences.mask.to(known.device), len(clips))
        frame, written = model.first_frame.expand(len(clips), -1), []
        for index in range(longest):
            written.append(model.output(decoder.step(frame, likeliest)))
            frame = known[:, index]
        return torch.stack(written, dim=1).float().cpu().numpy()


def make_system(model: Model, name: str, guidance: float = 0.0) -> CTEGSystem:
    """Put any model behind the protocol; arguments as of `CTEGSystem`."""
    form = ReleasedSystem if isinstance(model, ReleasedCTEG) else CTEGSystem
    return form(model, name, guidance)
