"""The prior of the sequence latent, fitted alone."""

import pytest
import torch

from cteg.model.latent import Gaussian
from tests.models import TEXT_SIZE, small_model
from training.refit_prior import fit, negative_log_likelihood, with_components


def test_a_refitted_prior_learns_which_sentences_take_which_latents():
    """Sentences of two kinds whose latents lie at +2 or -2: the prior learns which, better than from the mean alone."""
    torch.manual_seed(0)
    model = with_components(small_model(sequence_prior="mixture"), 16)
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
