"""The variants of the ablation: what each changes of the base configuration, and what it asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.configs import TrainConfig

BASE = "base"
SAMPLING_ONLY = frozenset({"output_noise", "step_spread", "amplitude", "contrast", "sequence_guidance"})
"""Fields of `CTEGConfig` that training does not read."""

RELEASED_NOISE = 1.6487
"""exp(0.5), the released code's standard deviation of the noise in the hidden state."""


@dataclass(frozen=True)
class Variant:
    """A change of the base configuration.

    Attributes:
        question: What it answers.
        model: Changed fields of `CTEGConfig`.
        training: Changed fields of `TrainConfig`.
        losses: Changed fields of `LossWeights`.
    """

    question: str
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs_training(self) -> bool:
        """Whether it has weights of its own."""
        return not self.model or not SAMPLING_ONLY.issuperset(self.model)

    def apply(self, base: TrainConfig) -> TrainConfig:
        """Return the changed configuration."""
        model = dataclasses.replace(base.model, **self.model)
        losses = dataclasses.replace(base.loss_weights, **self.losses)
        return dataclasses.replace(base, model=model, loss_weights=losses, **self.training)


WITHOUT_GUIDED = "no target-guided loss"

VARIANTS: dict[str, Variant] = {
    BASE: Variant("the configuration that ships"),
    "no EwA": Variant("does the jaw profit from listening to the expression?", {"expression_attention": "none"}),
    "EwA over the whole clip": Variant("the paper's EwA, which sees the future", {"expression_attention": "global"}),
    "LTA: running mean": Variant("the paper's flat LTA", {"latent_attention": "flat"}),
    "no LTA": Variant("does a latent need the past?", {"latent_attention": "none"}),
    WITHOUT_GUIDED: Variant("the paper's Figure 5", losses={"target_guided": 0.0}),
    **{f"{count} CVAD layers": Variant("the paper finds 1 best", {"layers": count}) for count in (2, 3, 4, 5)},
    "no sequence latent": Variant("a latent per step alone, as in the paper", {"sequence_latent_size": 0}),
    "no step latent": Variant("the latent of the clip alone", {"has_step_latent": False}),
    "no latents": Variant(
        "the deterministic transformer", {"has_step_latent": False, "sequence_latent_size": 0, "stop": "learned"}
    ),
    "Gaussian prior": Variant("the paper's prior of a step", {"prior": "gaussian", "prior_components": 1}),
    "mixture priors": Variant("what the flows add", {"prior": "mixture", "sequence_prior": "mixture"}),
    "no length plan": Variant("a hazard per frame instead", {"stop": "learned"}),
    "1 frame a step": Variant("the paper's step", {"frames_per_step": 1}),
    "no context layer": Variant("the paper's depth", {"context_layers": 0}),
    "frames, not changes": Variant("the paper's head", {"predicts_change": False}),
    "linear latent maps": Variant("the paper's Eq. 2 and 3", {"has_latent_network": False}),
    "norm reconstruction": Variant("the released form of Eq. 6", {"reconstruction": "norm"}),
    "Noam schedule": Variant("the paper's Eq. 10", training={"schedule": "noam", "learning_rate": 2.0, "warmup": 4000}),
    "no velocity loss": Variant("what keeps seams small", {"velocity_std": 0.0}),
    "true past": Variant("what a past that is not quite true adds", training={"history_mix": 0.0}),
    "no input noise": Variant("learning to come back from small errors", training={"input_noise": 0.0}),
    "output noise 0.2": Variant("a little of the released noise", {"output_noise": 0.2}),
    "output noise 0.5": Variant("more of it", {"output_noise": 0.5}),
    "output noise 1.65": Variant("the released noise", {"output_noise": RELEASED_NOISE}),
}
