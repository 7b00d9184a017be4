"""The prior of the sequence latent, fitted alone."""

import pytest
import torch

from cteg.model.latent import Gaussian
from tests.models import TEXT_SIZE, small_model
from training.refit_prior import fit, negative_log_likelihood, with_fresh_prior


def test_a_fresh_prior_forgets_and_all_else_is_kept():
    torch.manual_seed(0)
    model = small_model(sequence_prior="flow")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    before, after = model.state_dict(), with_fresh_prior(model).state_dict()
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"component_mean", "component_log_variance", "gate", "flow"}
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"sequence_latent"}
    u = torch.randn(3, 4)
    order = u.sort(-1).values
    moved = with_fresh_prior(model).sequence_latent.flow.given(None).to_base(u)[0]
    assert torch.equal(moved.sort(-1).values, order)  # the identity, but for the order of entries


def test_a_refitted_prior_learns_which_sentences_take_which_latents():
    """Sentences of two kinds whose latents lie at +2 or -2: the prior learns which, better than from the mean alone."""
    torch.manual_seed(0)
    model = with_fresh_prior(small_model(sequence_prior="mixture"), 16)
    kept = small_model(sequence_prior="mixture").state_dict()
    assert model.sequence_latent.component_mean.shape == (16, 4)
    for name in ("first_frame", "sequence_latent.up.weight"):
        assert torch.equal(model.state_dict()[name], kept[name]), name
    kind = torch.arange(1500) % 2
    sentence = torch.nn.functional.one_hot(kind, TEXT_SIZE).float() * 3
    posterior = Gaussian(4.0 * kind[:, None].expand(-1, 4) - 2, torch.full((1500, 4), -2.0))
    latent, null_text = model.sequence_latent, model.null_text.detach()
    history = fit(latent, (posterior, sentence), (posterior, sentence), null_text, epochs=10)
    with torch.no_grad():
        found = negative_log_likelihood(latent, posterior, sentence).item()
        blind = negative_log_likelihood(latent, posterior, null_text.expand(1500, -1)).item()
    assert found == pytest.approx(min(history), abs=0.15)
    assert found < history[0] - 0.2
    assert found < blind - 0.3
