"""Small random models that the tests share."""

import torch

from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG

TEXT_SIZE = 24


def small_config(**changes) -> CTEGConfig:
    settings = {
        "text_size": TEXT_SIZE,
        "hidden_size": 32,
        "heads": 4,
        "feed_forward_size": 48,
        "latent_size": 8,
        "prior_components": 3,
        "frames_per_step": 4,
        "max_frames": 40,
        "dropout": 0.0,
    }
    return CTEGConfig(**settings | changes)


def small_model(seed: int = 0, **changes) -> CTEG:
    torch.manual_seed(seed)
    model = CTEG(small_config(**changes)).eval()
    model.coefficient_scale.uniform_(0.1, 0.3)
    model.first_frame.uniform_(0.0, 0.1)
    return model


def sentence(tokens: int = 7, rows: int = 1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, tokens, TEXT_SIZE, generator=generator)
    return states, torch.ones(rows, tokens, dtype=torch.bool)
