"""Laws of the model: no future leak, padding changes nothing, the folded EwA equals the plain one."""

import math

import pytest
import torch

from cteg.errors import WeightsError
from cteg.layout import EXPRESSION, JAW, D
from cteg.model.attention import sinusoid_positions
from cteg.model.config import CTEGConfig
from cteg.model.cteg import TrainingNoise
from cteg.model.expression_attention import ExpressionAttention
from cteg.model.latent import Gaussian, Mixture, kl_divergence
from cteg.model.sequence_latent import part_weights
from tests.models import sentence, small_model

VARIANTS = [
    {},
    {"latent_attention": "flat"},
    {"latent_attention": "none"},
    {"expression_attention": "none"},
    {"context_layers": 0, "layers": 2},
    {"prior": "gaussian", "prior_components": 1, "latent_size": 32, "has_latent_network": False, "frames_per_step": 1},
]


def run(model, frames, valid, text, mask, seed=3):
    generator = torch.Generator().manual_seed(seed)
    steps = frames.shape[1] // model.config.frames_per_step
    longest = torch.randn(len(frames), 50, model.config.latent_size, generator=generator)
    sequence = torch.randn(len(frames), model.config.sequence_latent_size, generator=generator)
    noise = TrainingNoise([longest[:, :steps]] * model.config.layers, sequence)
    with torch.inference_mode():
        return model(frames, valid, text, mask, noise)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_prior_and_stop_see_no_future(changes):
    model = small_model(sequence_latent_size=0, **changes)  # that latent describes the whole clip on purpose
    frames = torch.rand(2, 24, D)
    valid = torch.ones(2, 24, dtype=torch.bool)
    text, mask = sentence(rows=2)
    step = 12 // model.config.frames_per_step
    before = run(model, frames, valid, text, mask)
    frames[:, 12:] = torch.rand(2, 12, D)
    after = run(model, frames, valid, text, mask)
    # The prior of step n reads frames of steps < n: step 12/K is the first whose own frames changed.
    prior, changed = before.traces[0].prior, after.traces[0].prior
    torch.testing.assert_close(changed.mean[:, : step + 1], prior.mean[:, : step + 1])
    torch.testing.assert_close(after.stop_logits[:, :12], before.stop_logits[:, :12])
    assert not torch.allclose(changed.mean[:, step + 1 :], prior.mean[:, step + 1 :])


def test_prediction_sees_the_future_only_through_its_own_latent():
    model = small_model(sequence_latent_size=0)
    frames, valid = torch.rand(1, 24, D), torch.ones(1, 24, dtype=torch.bool)
    text, mask = sentence()
    before = run(model, frames, valid, text, mask).frames
    frames[:, 12:] = torch.rand(1, 12, D)
    after = run(model, frames, valid, text, mask).frames
    torch.testing.assert_close(after[:, :12], before[:, :12])
    assert not torch.allclose(after[:, 12:], before[:, 12:])


def test_sequence_prior_reads_the_text_alone_and_its_posterior_the_clip():
    model = small_model()
    frames, valid = torch.rand(2, 12, D), torch.ones(2, 12, dtype=torch.bool)
    text, mask = sentence(rows=1)
    trace = run(model, frames, valid, text.expand(2, -1, -1), mask.expand(2, -1)).sequence
    torch.testing.assert_close(trace.prior.logits[0], trace.prior.logits[1])
    assert not torch.allclose(trace.posterior.mean[0], trace.posterior.mean[1])
    other = run(model, frames, valid, text.expand(2, -1, -1) + 1, mask.expand(2, -1)).sequence
    assert not torch.allclose(other.prior.logits, trace.prior.logits)


def test_sequence_posterior_reads_when_things_happen_unless_it_has_one_part():
    steps, mask = torch.randn(1, 8, 32), torch.ones(1, 8, dtype=torch.bool)
    for parts, tells in ((1, False), (4, True)):
        latent = small_model(sequence_parts=parts).sequence_latent
        positions = torch.randn(8, 32, generator=torch.Generator().manual_seed(1))
        text = torch.zeros(1, latent.gate[1].in_features)
        forward, backward = (latent.posterior(s, mask, text, positions).mean for s in (steps, steps.flip(1)))
        assert torch.allclose(forward, backward, atol=1e-5) is not tells


def test_parts_of_a_clip_share_its_steps():
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    weights = part_weights(mask, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4))
    torch.testing.assert_close(weights[0, 0], torch.tensor([2 / 3, 1 / 3, 0, 0, 0, 0]))  # 1.5 steps in a part
    torch.testing.assert_close(weights[1, 1], torch.tensor([1 / 3, 2 / 3, 0, 0, 0, 0]))  # 0.75...1.5 of 3 steps
    torch.testing.assert_close(weights[1].sum(0), torch.tensor([4 / 3, 4 / 3, 4 / 3, 0, 0, 0]))


@pytest.mark.parametrize("changes", [*VARIANTS, {"expression_attention": "global"}], ids=str)
def test_padding_changes_nothing(changes):
    model = small_model(**changes)
    frames, valid = torch.rand(1, 12, D), torch.ones(1, 12, dtype=torch.bool)
    text, mask = sentence(tokens=5)
    alone = run(model, frames, valid, text, mask)
    padded_frames = torch.cat([frames, torch.rand(1, 8, D)], 1)
    padded_valid = torch.cat([valid, torch.zeros(1, 8, dtype=torch.bool)], 1)
    padded_text = torch.cat([text, torch.randn(1, 4, text.shape[2])], 1)
    padded_mask = torch.cat([mask, torch.zeros(1, 4, dtype=torch.bool)], 1)
    padded = run(model, padded_frames, padded_valid, padded_text, padded_mask)
    torch.testing.assert_close(padded.frames[:, :12], alone.frames, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded.stop_logits[:, :12], alone.stop_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded.guided[:, :12], alone.guided, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded.sequence.u, alone.sequence.u, atol=1e-5, rtol=0)


def test_text_and_latent_matter():
    model = small_model()
    frames, valid = torch.rand(1, 12, D), torch.ones(1, 12, dtype=torch.bool)
    text, mask = sentence()
    base = run(model, frames, valid, text, mask).frames
    assert not torch.allclose(base, run(model, frames, valid, text + 1, mask).frames, atol=1e-3)
    assert not torch.allclose(base, run(model, frames, valid, text, mask, seed=4).frames, atol=1e-3)
    model = small_model(sequence_latent_size=0)  # so that what differs can only be the latents of the steps
    one, other = (run(model, frames, valid, text, mask, seed=seed).frames for seed in (3, 4))
    assert not torch.allclose(one, other, atol=1e-3)


def test_folded_expression_attention_equals_the_plain_computation():
    torch.manual_seed(0)
    module = ExpressionAttention(16, 4, "causal").eval()
    frames = torch.rand(2, 5, D)
    average = frames.cumsum(1) / torch.arange(1, 6)[:, None]
    tokens = module.lift(average[..., None])  # (B, T, 53, H)

    def split(states):
        return states.unflatten(-1, (4, 4)).transpose(-2, -3)

    jaw, expression = tokens[..., JAW, :], tokens[..., EXPRESSION, :]
    query, key, value = split(module.query(jaw)), split(module.key(expression)), split(module.value(expression))
    weights = torch.softmax(query @ key.transpose(-1, -2) / 2.0, -1)
    attended = (weights @ value).transpose(-2, -3).flatten(-2)
    expected = module.lower(module.norm(jaw + module.output(attended)))[..., 0]
    torch.testing.assert_close(module.jaw_change(average), expected, atol=1e-5, rtol=1e-5)
    adjusted = module(frames, torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(adjusted[..., EXPRESSION], frames[..., EXPRESSION])
    torch.testing.assert_close(adjusted[..., JAW], frames[..., JAW] + expected, atol=1e-5, rtol=1e-5)


def test_kl_of_gaussians_equals_torch():
    torch.manual_seed(0)
    q = Gaussian(torch.randn(4, 6), torch.randn(4, 6))
    p = Mixture(torch.zeros(4, 1), torch.randn(4, 1, 6), torch.randn(4, 1, 6))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(q.mean, torch.exp(0.5 * q.log_variance)),
        normal(p.mean[:, 0], torch.exp(0.5 * p.log_variance[:, 0])),
    ).sum(-1)
    torch.testing.assert_close(kl_divergence(q, p, q.mean), expected)


def test_mixture_kl_is_unbiased():
    torch.manual_seed(0)
    q = Gaussian(torch.randn(3), torch.randn(3) * 0.3)
    single = Mixture(torch.zeros(1), torch.randn(1, 3), torch.randn(1, 3) * 0.3)
    # Two equal components are the same distribution as one, but take the estimating path.
    double = Mixture(torch.zeros(2), single.mean.expand(2, 3), single.log_variance.expand(2, 3))
    z = q.sample(torch.randn(200_000, 3))
    estimate = kl_divergence(q, Mixture(double.logits, double.mean, double.log_variance), z).mean()
    torch.testing.assert_close(estimate, kl_divergence(q, single, q.mean), atol=0.02, rtol=0)


def test_mixture_sampling_follows_weights_and_temperature():
    mixture = Mixture(
        torch.tensor([0.0, 2.0]).log_softmax(-1).expand(20_000, 2),
        torch.tensor([[-5.0], [5.0]]).expand(20_000, 2, 1),
        torch.zeros(20_000, 2, 1),
    )
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(20_000, generator=generator)
    noise = torch.randn(20_000, 1, generator=generator)
    drawn = mixture.sample(uniform, noise, 1.0)
    share = torch.sigmoid(torch.tensor(2.0))
    assert abs((drawn > 0).float().mean() - share) < 0.01
    assert abs(drawn[drawn > 0].std() - 1) < 0.03
    assert (mixture.sample(uniform, noise, 0.0) == 5).all()
    cool = mixture.sample(uniform, noise, 0.5)  # twice the log-ratio of the weights, half the spread
    assert abs((cool > 0).float().mean() - torch.sigmoid(torch.tensor(4.0))) < 0.005
    assert abs(cool[cool > 0].std() - 0.5) < 0.02


def test_sinusoid_positions():
    table = sinusoid_positions(3, 4)
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]  # frequencies 1 and 1/100
    torch.testing.assert_close(table[2], torch.tensor(expected))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "smpl"}, "space is 'smpl', expected one of open, flame"),
        ({"heads": 5}, "5 heads do not divide hidden_size 256"),
        ({"layers": 0}, "layers is 0, expected a whole number from 1"),
        ({"context_layers": -1}, "context_layers is -1, expected a whole number from 0"),
        ({"sequence_components": True}, "sequence_components is True, expected a whole number from 1"),
        ({"prior": "gaussian"}, "a gaussian prior has 1 component"),
        ({"latent_attention": "casual"}, "expected one of causal_attention, flat, none"),
        ({"latent_size": 1.5}, r"latent_size is 1\.5, expected a whole number"),
        ({"pools_text": "no"}, "pools_text is 'no', expected true or false"),
        ({"step_spread": float("nan")}, "step_spread is nan, expected a number from 0"),
        ({"velocity_std": "0.1"}, r"velocity_std is '0\.1', expected a number from 0"),
        ({"amplitude": 0.0}, "amplitude is 0, expected a number above 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0, expected a number below 1"),
    ],
    ids=str,
)
def test_wrong_configuration_is_refused(changes, message):
    with pytest.raises(WeightsError, match=f"^Model configuration: .*{message}"):
        CTEGConfig(**changes)


def test_unknown_configuration_key_is_refused():
    with pytest.raises(WeightsError, match="beam_width"):
        CTEGConfig.from_dict({"beam_width": 4})


def test_paper_form_has_the_papers_size():
    config = CTEGConfig.paper()
    assert (config.hidden_size, config.heads, config.layers, config.feed_forward_size) == (768, 12, 1, 2048)
    assert (config.frames_per_step, config.latent_size, config.context_layers) == (1, 768, 0)
    assert (config.prior, config.prior_components, config.sequence_latent_size) == ("gaussian", 1, 0)
    assert CTEGConfig.paper(stop="norm").stop == "norm"
