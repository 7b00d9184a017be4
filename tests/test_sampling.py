"""Laws of sampling: caches are exact, a sample depends on its own seed alone, temperature means what it says."""

import math

import numpy as np
import pytest
import torch

from cteg.emphasis import emphasised, plain
from cteg.errors import InputError
from cteg.layout import JAW_LIMITS
from cteg.metrics import multimodality
from cteg.model.cteg import TrainingNoise
from cteg.model.latent import Mixture
from cteg.model.sequence_latent import pool_text
from cteg.sampling import ROWS, Opening, StopRule, check_settings, draw_noise, sample, stream
from tests.models import sentence, small_model

SEEDS = list(range(7, 7 + ROWS))
VARIANTS = [
    {},
    {"latent_attention": "flat"},
    {"latent_attention": "none", "context_layers": 0},
    {"expression_attention": "none", "layers": 2},
    {"prior": "gaussian", "prior_components": 1, "latent_size": 32, "frames_per_step": 1, "output_noise": 0.5},
    {"predicts_change": False, "frames_per_step": 7, "scales_input": True},
    {"stop": "learned"},
    {"stop": "norm", "stop_norm": 0.5},
    {"sequence_latent_size": 0, "pools_text": False},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_cached_equals_uncached(changes):
    model = small_model(**changes)
    text, mask = sentence()
    cached = sample(model, text, mask, SEEDS, 1.0)
    recomputed = sample(model, text, mask, SEEDS, 1.0, is_cached=False)
    assert [len(clip) for clip in cached] == [len(clip) for clip in recomputed]
    for one, other in zip(cached, recomputed, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_decoding_with_bent_priors_equals_walking_through_every_coupling():
    """The flows of an untrained model are the identity, so the test above says nothing of them."""
    model = small_model(layers=2, stop="learned")
    for flow in (layer.latent_heads.flow for layer in model.layers):
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    text, mask = sentence()
    fast = sample(model, text, mask, SEEDS, 1.0)
    slow = sample(model, text, mask, SEEDS, 1.0, is_cached=False)
    assert all(torch.allclose(one, other, atol=1e-4, rtol=0) for one, other in zip(fast, slow, strict=True))
    straight = sample(small_model(layers=2, stop="learned"), text, mask, SEEDS, 1.0)
    assert not all(
        one.shape == other.shape and torch.equal(one, other) for one, other in zip(fast, straight, strict=True)
    )


@pytest.mark.parametrize("stop", ["planned", "learned"])
def test_cached_decoding_follows_teacher_forcing(stop):
    """What is sampled equals what the training pass predicts when it is fed the same frames, latents and length."""
    model = small_model(prior="gaussian", prior_components=1, sequence_latent_size=0, stop=stop)
    text, mask = sentence()
    written = list(stream(model, text, mask, [3], 0.0))
    clip, valid = torch.cat([step.frames for step in written], 1), torch.cat([step.alive for step in written], 1)
    steps = clip.shape[1] // 4
    with torch.inference_mode():
        prediction = model(clip, valid, text, mask, TrainingNoise([torch.zeros(1, steps, 8)], torch.zeros(1, 0)))
        z = prediction.traces[0].prior.mean[:, :, 0]  # temperature 0 takes the prior's mean
        known = torch.cat([torch.zeros(1, 4, 53), model.scale(clip)], 1)
        embedded = model.embed_sequence(known, torch.cat([torch.ones(1, 4, dtype=torch.bool), valid], 1))
        condition = model.with_plan(model.condition(pool_text(text, mask), None), valid.sum(1), 0, steps + 1)
        states = model.to_input(embedded, condition, model.positions[: steps + 1])
        for layer in model.context_layers:
            states = layer(states, text, mask[:, None, None])
        layer = model.layers[0]
        attended = layer.self_attention.to_self(states)[:, :-1] + layer.up(z)
        memory = layer.second_text_attention.memory(text)
        output = layer.feed_forward(layer.second_text_attention.to_memory(attended, memory, None))
        frames = model.unscale(model.to_frames(output, prediction.previous, model.head)).flatten(1, 2)
    clip, frames = clip[valid], frames[valid]
    inside = (frames > 0.01).all(-1) & (frames < 0.15).all(-1)  # where the limits of the space cut nothing off
    torch.testing.assert_close(clip[inside], frames[inside], atol=1e-4, rtol=0)
    assert (frames[..., :50].clamp(0, 1) - clip[..., :50]).abs().max() < 1e-4


def test_a_sample_does_not_depend_on_how_many_are_asked():
    model = small_model()
    text, mask = sentence()
    four, two = (sample(model, text, mask, SEEDS, 1.0, wanted) for wanted in (4, 2))
    assert len(four) == 4
    assert all(torch.equal(a, b) for a, b in zip(four, two, strict=False))


def test_sample_i_is_sample_0_of_seed_plus_i():
    model = small_model()
    text, mask = sentence()
    shifted = sample(model, text, mask, [seed + 2 for seed in SEEDS], 1.0, 1)[0]
    third = sample(model, text, mask, SEEDS, 1.0, 3)[2]
    torch.testing.assert_close(shifted, third, atol=1e-5, rtol=0)


def test_temperature_0_is_deterministic_and_more_temperature_spreads_more():
    model = small_model()
    text, mask = sentence()
    cold = sample(model, text, mask, SEEDS, 0.0)
    assert all(torch.equal(cold[0], clip) for clip in cold)
    spread = [multimodality([[c.numpy() for c in sample(model, text, mask, SEEDS, t)]]) for t in (0.0, 0.1, 0.3, 1.0)]
    assert spread[0] == 0
    assert spread == sorted(spread)
    assert spread[1] < spread[3]


def test_samples_are_in_range_and_no_longer_than_allowed():
    model = small_model()
    text, mask = sentence()
    for clip in sample(model, text, mask, SEEDS, 2.0):
        assert torch.isfinite(clip).all()
        assert clip[:, :50].min() >= 0
        assert clip[:, :50].max() <= 1
        assert (clip[:, 50:] >= torch.tensor(JAW_LIMITS[:, 0]) - 1e-6).all()
        assert (clip[:, 50:] <= torch.tensor(JAW_LIMITS[:, 1]) + 1e-6).all()
        assert 1 <= len(clip) <= model.config.max_frames


def test_one_batch_of_several_sentences_equals_one_by_one():
    model = small_model()
    text, mask = sentence(tokens=6, rows=2)
    mask[1, 4:] = False
    together = sample(model, text, mask, [3, 4], 1.0)
    alone = sample(model, text[1:, :4], mask[1:, :4], [4], 1.0)[0]
    torch.testing.assert_close(together[1], alone, atol=1e-5, rtol=0)


def test_stop_rule_draws_lengths_from_the_hazards():
    """A hazard of 1/4 per frame gives geometric lengths: mean 4; temperature 0 gives the median, 3."""
    model = small_model(stop="learned")
    noise = draw_noise(model, list(range(4000)))
    rule = StopRule(model, noise, 1.0)
    logits = torch.full((4000, 60), math.log(1 / 3))
    lengths = rule(torch.zeros(4000, 60, 53), logits).sum(1).float()
    assert abs(lengths.mean() - 4) < 0.2
    assert lengths.min() == 1
    cold = StopRule(model, noise, 0.0)(torch.zeros(4000, 60, 53), logits).sum(1)
    assert (cold == 3).all()


def test_a_plan_draws_the_same_lengths_before_the_first_frame():
    planned, learned = small_model(), small_model(stop="learned")
    hazard = -1.5
    with torch.no_grad():
        planned.length_plan.network[-1].weight.zero_()
        planned.length_plan.network[-1].bias.fill_(hazard)
    noise = draw_noise(planned, list(range(500)))
    lengths = StopRule(planned, noise, 1.0).plan(planned, torch.zeros(500, 1, 32))
    frames, logits = torch.zeros(500, 40, 53), torch.full((500, 40), hazard)
    assert torch.equal(lengths, StopRule(learned, noise, 1.0)(frames, logits).sum(1))
    assert len(lengths.unique()) > 5


def test_a_plan_is_kept_and_known_while_a_clip_is_written():
    model = small_model()
    text, mask = sentence()
    rule = StopRule(model, draw_noise(model, SEEDS), 1.0)
    state = model.start(text, mask, ROWS, draw_noise(model, SEEDS).latent_drawer(0, 1.0, 1.0))
    planned = rule.plan(model, state.condition)
    assert [len(clip) for clip in sample(model, text, mask, SEEDS, 1.0)] == planned.tolist()
    told = model.with_plan(torch.zeros(ROWS, 1, 32), planned, 0, 12)
    assert not torch.allclose(told[:, 0], told[:, 1])
    torch.testing.assert_close(told[:, 10], told[:, 11])  # 40 frames are all there can be: nothing is left


def test_stop_rule_goes_on_across_steps():
    model = small_model(stop="learned")
    noise = draw_noise(model, list(range(200)))
    logits = torch.full((200, 60), math.log(1 / 9))
    frames = torch.zeros(200, 60, 53)
    whole = StopRule(model, noise, 1.0)(frames, logits)
    rule = StopRule(model, noise, 1.0)
    parts = torch.cat([rule(frames[:, i : i + 4], logits[:, i : i + 4]) for i in range(0, 60, 4)], 1)
    assert torch.equal(whole, parts)


def test_norm_stop_ends_before_the_first_quiet_frame():
    model = small_model(stop="norm", stop_norm=1.0)
    rule = StopRule(model, draw_noise(model, [0]), 1.0)
    frames = torch.zeros(1, 4, 53)
    frames[0, :, 0] = torch.tensor([5.0, 4.0, 0.5, 6.0])
    assert rule(frames, torch.zeros(1, 4)).tolist() == [[True, True, False, False]]


def test_numbers_of_numpy_are_numbers():
    chosen = check_settings(np.int64(3), np.float32(0.5), np.uint8(7), np.int32(1))
    assert (chosen.samples, chosen.temperature, chosen.seed, chosen.guidance) == (3, 0.5, 7, 1.0)
    assert [type(value) for value in vars(chosen).values()] == [int, float, int, float]


@pytest.mark.parametrize("samples", [0, 9, 1000, -1, 1.5, True, None, "3", math.nan, math.inf])
def test_wrong_samples_are_refused(samples):
    with pytest.raises(InputError, match="from 1 to 8"):
        check_settings(samples, 1.0, 0)


@pytest.mark.parametrize("temperature", [-1, 2.1, 1e308, math.nan, math.inf, -math.inf, "0.5", None, True])
def test_wrong_temperatures_are_refused(temperature):
    with pytest.raises(InputError, match="from 0 to 2"):
        check_settings(4, temperature, 0)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**64, 0.5, None, "7", False])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(InputError, match="from 0 to 2147483647"):
        check_settings(4, 1.0, seed)


def test_guidance_moves_the_repertoires_weights_away_from_those_of_no_sentence():
    logits, free = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]])
    place = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    told, untold = Mixture(logits, *place), Mixture(free, *place)
    weights = torch.softmax(told.logits, -1) ** 3 / torch.softmax(untold.logits, -1) ** 2
    guided = torch.softmax(told.guided(untold, 2.0).logits, -1)
    torch.testing.assert_close(guided, weights / weights.sum())
    torch.testing.assert_close(torch.softmax(told.guided(untold, -1.0).logits, -1), torch.softmax(free, -1))


def test_guidance_changes_what_is_performed_and_none_changes_nothing():
    model = small_model()
    with torch.no_grad():
        model.null_text.normal_(std=20)  # an untrained gate hardly tells sentences apart
    text, mask = sentence()
    plain, least, strong = (sample(model, text, mask, SEEDS, 1.0, guidance=g) for g in (0.0, 1e-12, 3.0))
    for one, other in zip(plain, least, strict=True):  # 0 leaves the guided path out, a little takes it
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(plain, strong, strict=True))
    recomputed = sample(model, text, mask, SEEDS, 1.0, is_cached=False, guidance=3.0)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(strong, recomputed, strict=True))


@pytest.mark.parametrize("guidance", [-0.1, 3.1, math.nan, "1", None])
def test_wrong_guidance_is_refused(guidance):
    with pytest.raises(InputError, match="guidance must be a number from 0 to 3"):
        check_settings(4, 1.0, 0, guidance)


def test_amplitude_moves_frames_away_from_the_first_and_changes_nothing_else():
    text, mask = sentence()
    plain, strong = (sample(small_model(amplitude=amplitude), text, mask, SEEDS, 1.0) for amplitude in (1.0, 1.5))
    for one, other in zip(plain, strong, strict=True):
        first = small_model().first_frame
        stronger = first + 1.5 * (one - first)
        torch.testing.assert_close(stronger[:, :50].clamp(0, 1), other[:, :50])


def test_contrast_bends_expression_coefficients_and_leaves_the_jaw():
    text, mask = sentence()
    first = small_model().first_frame
    one, other = (sample(small_model(contrast=contrast), text, mask, SEEDS, 1.0)[0] - first for contrast in (1.0, 1.5))
    inside = (one[:, :50] > 0) & (one[:, :50] < 0.8)
    torch.testing.assert_close(other[:, :50][inside], one[:, :50][inside] ** 1.5, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(other[:, 50:], one[:, 50:])


def test_emphasis_can_be_undone():
    deviation = torch.linspace(-1, 1, 5 * 53).reshape(5, 53)
    torch.testing.assert_close(plain(emphasised(deviation, 1.6, 1.25), 1.6, 1.25), deviation)
    assert torch.equal(emphasised(deviation, 1.0, 1.0), deviation)


@pytest.mark.parametrize("contrast", [1.0, 1.25])
def test_a_part_goes_on_from_frames_at_their_amplitude(contrast):
    model = small_model(amplitude=1.5, contrast=contrast)
    text, mask = sentence()
    clips = sample(model, text, mask, SEEDS, 0.5)
    written = Opening.after(clips, 1).step(model, len(SEEDS))
    last = torch.stack([clip[-1] for clip in clips])
    deviation = emphasised(model.unscale(written[:, 0]) - model.first_frame, 1.5, contrast)
    torch.testing.assert_close(model.first_frame + deviation, last, atol=1e-5, rtol=1e-4)


def test_guidance_of_the_weights_adds_to_what_is_asked_for():
    text, mask = sentence()
    asked = sample(small_model(sequence_components=8), text, mask, SEEDS, 1.0, guidance=2.0)
    shared = sample(small_model(sequence_components=8, sequence_guidance=1.5), text, mask, SEEDS, 1.0, guidance=0.5)
    none = sample(small_model(sequence_components=8), text, mask, SEEDS, 1.0)
    assert all(torch.equal(one, other) for one, other in zip(asked, shared, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(asked, none, strict=True))
