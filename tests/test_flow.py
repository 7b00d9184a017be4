"""The couplings that bend a prior: exactly invertible, with the right volume."""

import math

import pytest
import torch

from cteg.errors import WeightsError
from cteg.model.flow import BoundFlow, CouplingFlow
from cteg.model.latent import Gaussian, Mixture, kl_divergence
from cteg.model.sequence_latent import SequenceLatent
from tests.models import TEXT_SIZE, small_config


def random_flow(context_size, size=6, couplings=5):
    """A flow that bends a lot."""
    torch.manual_seed(0)
    flow = CouplingFlow(size, context_size, 16, couplings).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return flow


@pytest.mark.parametrize("context_size", [0, 3])
def test_both_directions_undo_each_other_and_the_volume_is_that_of_the_jacobian(context_size):
    flow = random_flow(context_size)
    bound = BoundFlow(flow, torch.randn(4, 16, dtype=torch.double) if context_size else None)
    z = torch.randn(4, 6, dtype=torch.double)
    base, log_volume = bound.to_base(z)
    assert (base - z).abs().max() > 0.5
    torch.testing.assert_close(bound.from_base(base), z)
    for row in range(4):
        one = BoundFlow(flow, None if bound.context is None else bound.context[row])
        jacobian = torch.autograd.functional.jacobian(lambda x, one=one: one.to_base(x)[0], z[row])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_volume[row])


def test_an_untrained_flow_only_reorders_and_a_trained_one_moves_every_entry():
    z = torch.randn(3, 8)
    base, log_volume = CouplingFlow(8, 0, 4, 4).given(None).to_base(z)
    torch.testing.assert_close(base.sort(-1).values, z.sort(-1).values)
    assert (log_volume == 0).all()
    flow = random_flow(0, size=8, couplings=4)
    moved = flow.given(None).to_base(z.double())[0]
    for network in flow.networks:
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
    assert ((moved - flow.given(None).to_base(z.double())[0]).abs() > 1e-6).all()


def test_the_context_changes_the_map():
    flow = random_flow(3).float()
    z = torch.randn(2, 6)
    context = torch.randn(2, 3)
    assert not torch.allclose(flow.given(context).to_base(z)[0], flow.given(context + 1).to_base(z)[0])


def test_draws_of_a_bent_mixture_have_the_density_it_states():
    """The entropy of its draws, estimated by its own density, is that of the base plus the mean change of volume."""
    flow = random_flow(0, size=2, couplings=3).float()
    bent = Mixture(torch.zeros(4000, 1), torch.zeros(4000, 1, 2), torch.zeros(4000, 1, 2), flow.given(None))
    with torch.no_grad():
        z = bent.sample(torch.rand(4000), torch.randn(4000, 2), 1.0)
        grid = torch.linspace(-30, 30, 1201)
        points = torch.cartesian_prod(grid, grid)
        one = Mixture(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1, 2), flow.given(None))
        density = one.component_log_density(points)[:, 0].exp() * (grid[1] - grid[0]) ** 2
    assert density.sum().item() == pytest.approx(1, abs=0.02)  # all of its mass
    torch.testing.assert_close(z.mean(0), (density[:, None] * points).sum(0), atol=0.15, rtol=0)


def test_the_divergence_from_a_bent_prior_is_estimated_at_the_draw():
    flow = random_flow(0, size=6).float()
    prior = Mixture(torch.zeros(5, 1), torch.zeros(5, 1, 6), torch.zeros(5, 1, 6), flow.given(None))
    posterior = Gaussian(torch.randn(5, 6), torch.randn(5, 6))
    z = posterior.sample(torch.randn(5, 6))
    entropy = 0.5 * (posterior.log_variance + math.log(2 * math.pi) + 1).sum(-1)
    base, log_volume = flow.given(None).to_base(z)
    log_prior = torch.distributions.Normal(0, 1).log_prob(base).sum(-1) + log_volume
    torch.testing.assert_close(kl_divergence(posterior, prior, z), -entropy - log_prior)


def test_a_flow_needs_an_even_size():
    with pytest.raises(WeightsError, match="even size"):
        small_config(prior="flow", latent_size=5)


@pytest.mark.parametrize("form", ["mixture", "flow"])
def test_the_fast_density_of_the_sequence_latent_is_that_of_its_prior(form):
    torch.manual_seed(0)
    latent = SequenceLatent(small_config(sequence_prior=form)).eval()
    for parameter in latent.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    u, sentence = torch.randn(5, 4), torch.randn(5, TEXT_SIZE)
    expected = torch.logsumexp(latent.prior(sentence).component_log_density(u), -1)
    torch.testing.assert_close(latent.log_prior(u, sentence), expected)
