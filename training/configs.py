"""Named training configurations; `training.train --config NAME`.

| name          | model                                             | trained on | time                     |
|---------------|---------------------------------------------------|------------|--------------------------|
| small         | 1 context + 1 CVAD layer, H 256, 5 frames a step  | our corpus | about an hour on 2 cores |
| deterministic | `small` without latents, a baseline               | our corpus | about an hour on 2 cores |
| paper         | the paper's: 1 CVAD layer, H 768, 1 frame a step  | our corpus | a GPU is advised         |
| emoava        | the paper's, trained as in the paper              | EmoAva     | a GPU is advised         |
| tiny          | for tests: runs in seconds, learns nothing useful | any        | seconds                  |

`emoava` starts from the mean frame of the training set, ends with a zero frame, weighs the jaw 5 times and follows the
Noam schedule for 100 epochs. Left from us are EwA that sees no future, AdamW with clipped gradients, bf16, the running
average of the weights, and that a tenth of the texts is left out, without which Diversity could not be measured.
`deterministic` can write one clip per sentence only, so its length is not drawn beforehand either.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cteg.errors import InputError
from cteg.model.config import CTEGConfig
from cteg.model.losses import LossWeights


@dataclass(frozen=True)
class TrainConfig:
    """How a CTEG is trained.

    Attributes:
        model: Architecture.
        loss_weights: Weights of the loss terms.
        batch: Clips per step.
        steps: Optimiser steps in all.
        schedule: `cosine` (warm-up, then cosine to a twentieth) or `noam` (the paper's Eq. 10).
        learning_rate: Peak rate for `cosine`; factor for `noam` (2.0 in the released code).
        warmup: Steps until the rate peaks.
        kl_warmup: Steps over which the divergence's weight grows to its value.
        text_dropout: Probability that a clip is trained without its text, which makes unconditional sampling honest.
        input_noise: Standard deviation of an offset added to each known step, in model units, at the first step of
            training; it falls linearly to nothing. The model learns early to come back from its own small errors, and
            late that a true frame is to be believed: with steady noise it pulls faces back to their mean.
        history_mix: Largest share by which what is known of a clip is moved towards another clip, see
            `training.history`; 0 shows the true past only.
        mirror: Probability that a clip is mirrored left to right (`open` space).
        gradient_clip: Largest gradient norm.
        patience: Evaluations without a lower held-out loss after which training stops; 0 never stops early.
        ema: Decay of the running average of the weights, which is what is evaluated and shipped.
        scales_coefficients: Whether coefficients are divided by their standard deviation inside the model; the paper's
            losses are in the units of EMOCA.
        smallest_scale: Floor of the per-coefficient scale, so that channels that hardly move are not blown up.
    """

    model: CTEGConfig = field(default_factory=CTEGConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    batch: int = 48
    steps: int = 5_500
    schedule: str = "cosine"
    learning_rate: float = 6e-4
    warmup: int = 500
    kl_warmup: int = 1500
    text_dropout: float = 0.1
    input_noise: float = 0.1
    history_mix: float = 0.0
    mirror: float = 0.5
    gradient_clip: float = 1.0
    patience: int = 3
    ema: float = 0.999
    scales_coefficients: bool = True
    smallest_scale: float = 0.05

    def __post_init__(self) -> None:
        if self.model.space == "flame" and self.mirror > 0:
            raise InputError("Clips of the flame space cannot be mirrored; its components are not left and right.")
        if self.schedule not in ("cosine", "noam"):
            raise InputError(f"The schedule is {self.schedule!r}, expected cosine or noam.")

    def going_on(self, model: CTEGConfig) -> TrainConfig:
        """Return the configuration for training on from weights: gently, and with divergences that count at once."""
        return replace(self, model=model, learning_rate=self.learning_rate / 2, kl_warmup=0, input_noise=0.0)


def tiny() -> CTEGConfig:
    """Return a model that decodes in milliseconds."""
    return CTEGConfig(
        hidden_size=32, heads=2, feed_forward_size=64, latent_size=8, prior_components=3, sequence_components=8
    )


CONFIGS: dict[str, TrainConfig] = {
    "small": TrainConfig(history_mix=0.5, loss_weights=LossWeights(sequence_kl=0.05)),
    "paper": TrainConfig(
        model=CTEGConfig.paper(text_size=384),
        batch=128,
        steps=9_400,
        schedule="noam",
        learning_rate=2.0,
        warmup=4000,
        kl_warmup=0,
        input_noise=0.0,
    ),
    "emoava": TrainConfig(
        model=CTEGConfig.paper(space="flame", stop="norm"),
        loss_weights=LossWeights(stop=0.0),
        batch=256,
        steps=4_700,  # 100 epochs of 12,000 clips
        schedule="noam",
        learning_rate=2.0,
        warmup=4000,
        kl_warmup=0,
        input_noise=0.0,
        mirror=0.0,
        patience=0,
        scales_coefficients=False,
    ),
    "tiny": TrainConfig(model=tiny(), batch=4, steps=3, warmup=1, kl_warmup=0),
    "deterministic": TrainConfig(model=CTEGConfig(has_step_latent=False, sequence_latent_size=0, stop="learned")),
}


def get_config(name: str) -> TrainConfig:
    """Return a configuration by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in CONFIGS:
        raise InputError(f"There is no configuration {name!r}; known ones are {', '.join(CONFIGS)}.")
    return CONFIGS[name]
