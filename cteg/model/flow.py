"""Affine couplings: an exactly invertible map that bends a mixture of Gaussians into the shape that latents have.

Not in the paper. Posteriors of a trained model do not fill ellipsoids; a mixture that must cover them gives weight to
places where no posterior lies, and what is drawn there decodes to weak, averaged motion. With the couplings, a
normalising flow, the prior fits the latents better and stays exact: density, drawing and gradients in closed form.

Reference: Dinh et al. 2017, "Density estimation using Real NVP". Deviations: scales are limited to
exp(+-`LOG_SCALE_LIMIT`), an in-shuffle takes the place of their masks, and the networks may read a context.

Letters: Z latent, C context, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LOG_SCALE_LIMIT = 1.5
"""Largest log-scale of one coupling, which keeps the map stable in both directions."""


class CouplingFlow(nn.Module):
    """Couplings between a base space and the latent's; the identity, but for the order of entries, before training.

    Each leaves the first half of the entries and moves and stretches the second by what a network reads in the first
    half and in the context; an in-shuffle before it (Z even) brings other entries into the second half.

    Args:
        size: Z, even.
        context_size: C; 0 for a map that is always the same.
        hidden_size: H, width of the networks.
        couplings: How many.
    """

    def __init__(self, size: int, context_size: int, hidden_size: int, couplings: int) -> None:
        super().__init__()
        self.read = nn.Linear(context_size, hidden_size) if context_size else None
        inputs = size // 2 + (hidden_size if context_size else 0)
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, hidden_size), nn.GELU(), nn.Linear(hidden_size, size))
            for _ in range(couplings)
        )
        for network in self.networks:
            nn.init.zeros_(network[-1].weight)
            nn.init.zeros_(network[-1].bias)
        order = torch.arange(size).unflatten(0, (2, -1)).flip(0).T.flatten()
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", order.argsort(), persistent=False)

    def given(self, context: Tensor | None) -> BoundFlow:
        """Return the flow with its context (..., C) read, None for a flow without one."""
        if self.read is None:
            return BoundFlow(self, None)
        with torch.autocast(context.device.type, enabled=False):
            return BoundFlow(self, nn.functional.gelu(self.read(context.float())))

    def shift_and_log_scale(self, network: nn.Module, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Read what one coupling does to the second half from the first, `kept` (..., Z/2): (..., Z/2) each."""
        inputs = kept if context is None else torch.cat([kept, context.expand(*kept.shape[:-1], -1)], dim=-1)
        shift, log_scale = network(inputs).chunk(2, -1)
        return shift, LOG_SCALE_LIMIT * torch.tanh(log_scale / LOG_SCALE_LIMIT)


@dataclass(frozen=True)
class BoundFlow:
    """A flow with its context (..., H), already read."""

    flow: CouplingFlow
    context: Tensor | None

    def to_base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents z (..., Z) -> base (..., Z), and log |det d base / d z|, (...)."""
        log_volume = z.new_zeros(z.shape[:-1])
        with torch.autocast(z.device.type, enabled=False):
            for network in self.flow.networks:
                kept, moved = z[..., self.flow.order].chunk(2, -1)
                shift, log_scale = self.flow.shift_and_log_scale(network, kept, self.context)
                z = torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], dim=-1)
                log_volume = log_volume - log_scale.sum(-1)
        return z, log_volume

    def from_base(self, base: Tensor) -> Tensor:
        """Base (..., Z) -> latents (..., Z); the inverse of `to_base`."""
        with torch.autocast(base.device.type, enabled=False):
            for network in reversed(self.flow.networks):
                kept, moved = base.chunk(2, -1)
                shift, log_scale = self.flow.shift_and_log_scale(network, kept, self.context)
                base = torch.cat([kept, moved * torch.exp(log_scale) + shift], dim=-1)[..., self.flow.inverse_order]
        return base
