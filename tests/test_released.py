"""The released model: decoding with everything kept equals the released recomputation, quirk by quirk."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cteg.errors import WeightsError
from cteg.model.released import ReleasedConfig, ReleasedCTEG
from cteg.model.released_decoding import RecomputingDecoder, decode
from cteg.sampling import sample

SIZES = {"hidden_size": 24, "heads": 3, "feed_forward_size": 40, "layers": 1, "positions": 16, "max_frames": 15}
VARIANTS = [
    {},
    {"layers": 2},
    {"latent_attention": "flat"},
    {"latent_attention": "none", "layers": 2},
    {"has_expression_attention": False},
    {"has_expression_attention": False, "layers": 2},
    {"scales_input": False},
    {"averages_zero_rows": False},
    {"starts_with_word": False},
]


def make(**changes) -> ReleasedCTEG:
    torch.manual_seed(0)
    model = ReleasedCTEG(ReleasedConfig(**SIZES | changes)).eval().requires_grad_(False)
    for tensor in (model.positions, model.first_frame):
        tensor.normal_()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)):
        norm.weight.normal_(1, 0.2)
        norm.bias.normal_(0, 0.2)
    return model


def sentences(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.ones(rows, 6, dtype=torch.bool)
    mask[-1, 4:] = False
    return torch.randn(rows, 6, 24, generator=torch.Generator().manual_seed(1)), mask


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("rows", [1, 3])
def test_keeping_what_can_be_kept_changes_nothing(changes, rows):
    """One sentence for three sequences, and three sentences; with noise, at every step."""
    model = make(**changes)
    kept, recomputed = (sample(model, *sentences(rows), [5, 6, 7], 1.0, is_cached=way) for way in (True, False))
    for one, other in zip(kept, recomputed, strict=True):
        assert len(one) == 15
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5)


def test_ewa_changes_the_past_so_that_plain_caching_would_be_wrong():
    model = make()
    text, mask = sentences(1)
    inputs = []
    hook = model.norm.register_forward_hook(lambda _, __, output: inputs.append(output))
    decode(model, text, mask, model.first_frame[None], 4, RecomputingDecoder)
    hook.remove()
    assert not torch.allclose(inputs[1][:, 1], inputs[3][:, 1], atol=1e-3)
    torch.testing.assert_close(inputs[1][:, 0], inputs[3][:, 0])  # the start row has no jaw


@pytest.mark.parametrize(
    "quirk", ["averages_zero_rows", "starts_with_word", "scales_input", "has_expression_attention"]
)
def test_each_quirk_matters(quirk):
    text, mask = sentences(1)
    frames = []
    for value in (True, False):
        model = make()
        if quirk != "has_expression_attention":
            model.config = dataclasses.replace(model.config, **{quirk: value})
        elif not value:
            model.expression_attention.lower.weight.zero_()
            model.expression_attention.lower.bias.zero_()
        frames.append(decode(model, text, mask, model.first_frame[None], 6))
    assert (frames[0] - frames[1]).abs().max() > 1e-3


def test_temperature_scales_both_noises():
    model = make()
    text, mask = sentences(1)
    still = sample(model, text, mask, [1, 2], 0.0)[0]
    torch.testing.assert_close(still, decode(model, text, mask, model.first_frame[None], 14)[0])
    spread = [
        sum((clip - still).square().mean() for clip in sample(model, text, mask, [1, 2], temperature))
        for temperature in (0.05, 0.3, 1.0)
    ]
    assert spread[0] < spread[1] < spread[2]
    model.layers[0].prior_log_variance.weight.zero_()
    model.layers[0].prior_log_variance.bias.fill_(-60)  # the latents' noise is gone; what is left is the output's
    assert (sample(model, text, mask, [1], 1.0)[0] - still).abs().max() > 0.1
    model.config = dataclasses.replace(model.config, output_noise=0.0)
    torch.testing.assert_close(sample(model, text, mask, [1], 1.0)[0], still)


def test_a_sample_is_a_function_of_its_seed():
    model = make()
    text, mask = sentences(1)
    both = sample(model, text, mask, [1, 2], 1.0)
    alone = sample(model, text, mask, [2], 1.0)[0]
    torch.testing.assert_close(both[1], alone, atol=1e-5, rtol=1e-5)


def test_posterior_means_are_those_of_the_training_pass():
    model = make()
    text, mask = sentences(2)
    frames = torch.randn(2, 6, 53)
    valid = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    seen = []
    hook = model.layers[0].posterior_mean.register_forward_hook(lambda _, __, output: seen.append(output))
    found = model.posterior_means(text, mask, frames, valid)
    rows = torch.cat([torch.zeros(2, 1, 53), model.first_frame.expand(2, 1, 53), frames, torch.zeros(2, 1, 53)], 1)
    tokens = torch.tensor([[101, *[100] * 7, 102], [101, *[100] * 5, 102, 0, 0]])
    rows[1, 6:] = 0
    model(text, mask, rows, tokens)
    hook.remove()
    torch.testing.assert_close(found[valid], seen[1][:, 2:8][valid])


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": "learned"},
        {"latent_attention": "other"},
        {"heads": 5},
        {"max_frames": 16},
        {"stop": "norm"},
        {"space": "open"},
        {"layers": 0},
        {"scales_input": 1},
        {"output_noise": -1.0},
    ],
    ids=str,
)
def test_wrong_configurations_are_refused(changes):
    with pytest.raises(WeightsError, match="Model configuration"):
        ReleasedConfig(**SIZES | changes)


def test_our_mode_is_the_same_model_with_another_end():
    ours = ReleasedConfig(**SIZES).in_our_mode()
    assert (ours.stop, ours.max_frames, ours.writes_first_frame) == ("norm", 14, False)
    with pytest.raises(WeightsError, match="keys"):
        ReleasedConfig.from_dict({"hidden_size": 3, "other": 1})
