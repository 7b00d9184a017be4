"""The timing of decoding compares what it says it compares."""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG
from training.benchmark.decoding import PAPER_SEQUENCES, PAPER_TOKENS, measure_decoding, step_matrices

SMALL = {"hidden_size": 64, "heads": 4, "feed_forward_size": 96}


def test_every_way_is_timed():
    figures = measure_decoding(frames=4, rounds=1, changes=SMALL)
    seconds = [value for name, value in figures.items() if name.endswith("(s)")]
    assert len(seconds) == 5
    assert len(figures) == 8
    assert all(math.isfinite(value) and value > 0 for value in figures.values())


def test_the_matrix_products_are_those_of_a_step():
    model = CTEG(CTEGConfig.paper(text_size=64, latent_size=64, **SMALL)).eval()
    with torch.no_grad():
        text, mask = torch.randn(1, PAPER_TOKENS, 64), torch.ones(1, PAPER_TOKENS, dtype=torch.bool)

        def draw(prior, layer):
            return prior.mean[..., 0, :]

        state = model.start(text, mask, PAPER_SEQUENCES, draw)
        counter = FlopCounterMode(display=False)
        with counter:
            hidden, _ = model.step(torch.zeros(PAPER_SEQUENCES, 1, 53), state, draw)
            model.to_frames(hidden, torch.zeros(PAPER_SEQUENCES, 1, 53), model.head)
    counted = sum(
        flops for operation, flops in counter.get_flop_counts()["Global"].items() if "attention" not in str(operation)
    )
    said = 2 * PAPER_SEQUENCES * sum(matrix.numel() for matrix in step_matrices(model))
    assert 1 <= counted / said < 1.05  # the rest is EwA's, which has no large matrix left
