"""What a CTEG model is made of: every switch, checked, with where it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from cteg.errors import WeightsError
from cteg.layout import SPACES

CHOICES: dict[str, tuple[str, ...]] = {
    "space": SPACES,
    "expression_attention": ("causal", "global", "none"),
    "latent_attention": ("causal_attention", "flat", "none"),
    "prior": ("gaussian", "mixture", "flow"),
    "sequence_prior": ("mixture", "flow"),
    "reconstruction": ("norm", "gaussian"),
    "stop": ("planned", "learned", "norm"),
}


def check_fields(config: Any, choices: Mapping[str, tuple[str, ...]], may_be_zero: Collection[str] = ()) -> None:
    """Check every field of a model's configuration by its annotation.

    Args:
        config: A dataclass whose fields are `bool`, `int`, `float` or `str`.
        choices: Allowed values by field; every `str` has its own.
        may_be_zero: Whole numbers that may be 0; all others start at 1.

    Raises:
        WeightsError: a value is of another kind, not among the choices, negative, infinite or not a number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in choices:
            good, expected = value in choices[field.name], f"one of {', '.join(choices[field.name])}"
        elif field.type == "bool":
            good, expected = isinstance(value, bool), "true or false"
        elif field.type == "int":
            least = 0 if field.name in may_be_zero else 1
            good = isinstance(value, Integral) and not isinstance(value, bool) and value >= least
            expected = f"a whole number from {least}"
        else:
            good = isinstance(value, Real) and not isinstance(value, bool) and 0 <= value < math.inf
            expected = "a number from 0"
        if not good:
            raise WeightsError(f"Model configuration: {field.name} is {value!r}, expected {expected}.")


@dataclass(frozen=True)
class CTEGConfig:
    """Architecture of one CTEG; the defaults are the form that `small` trains, `paper()` is near to the paper's.

    What ships is `small` with values that were fitted to it afterwards (`step_spread`, `amplitude`,
    `contrast` and `sequence_guidance`) and with more `sequence_components`.

    Attributes:
        space: Coefficient space that the model writes, `open` or `flame`.
        text_size: Width of the text encoder's hidden states.
        hidden_size: H, width of the decoder.
        heads: Attention heads; divides `hidden_size`.
        feed_forward_size: Inner width of the feed-forward networks.
        context_layers: Plain transformer layers (self-attention, text attention, feed-forward) below the CVAD layers.
            The paper has none; they let the prior read the past through more than one attention.
        layers: CVAD layers, each with a latent of its own. The paper finds 1 best.
        frames_per_step: K, frames written by one decoder step. The paper writes 1; one latent for a chunk of frames
            models them jointly, which keeps real variety in the latent instead of in per-frame noise.
        has_step_latent: Whether the CVAD layers draw latents; without them, and without a sequence latent, the model is
            a deterministic transformer, a baseline.
        latent_size: Z, width of the latent; the paper's is `hidden_size`.
        prior: Of a step's latent: `gaussian` (the paper's), `mixture` of `prior_components` Gaussians, or `flow`, such
            a mixture bent by affine couplings that read the same context (`cteg.model.flow`).
        prior_components: M, components of the mixture prior; 1 for `gaussian`.
        sequence_latent_size: S, width of a latent drawn once per clip; 0 for none, as in the paper. See
            `cteg.model.sequence_latent` for why.
        sequence_prior: Of the sequence latent: `mixture`, or `flow`, a mixture bent by couplings.
        couplings: Couplings of each flow.
        sequence_components: Components of the sequence latent's prior, a repertoire that the sentence chooses from.
        sequence_parts: Stretches of a clip, of equal length, that the sequence latent's posterior reads apart, each
            step with its position. 1 reads the clip as a bag of steps, which tells what is shown but not when.
        step_spread: Multiplies the temperature of the step latents, not of the sequence latent, when sampling. Steps
            drawn one after the other move less than real ones; the factor is fitted on held-out sentences.
        amplitude: Multiplies how far drawn frames are from the first frame. What a model is unsure of it averages, so
            drawn faces are weaker than real ones, evenly over all coefficients; fitted like `step_spread`.
        contrast: Exponent of how far drawn expression coefficients are from the first frame, see `cteg.emphasis`;
            fitted like `step_spread`.
        sequence_guidance: Guidance (`Mixture.guided`) that is always on, below what a user asks for. A gate trained
            with dropout trusts the sentence too little; fitted like `step_spread`.
        pools_text: Whether the mean of the text states joins every step's input, beside attention to the tokens.
        expression_attention: EwA form. `causal`: frame t sees running means of frames <= t (leaks no future, caches
            exactly); `global`: the paper's mean over the whole sequence; `none`.
        latent_attention: LTA form: `causal_attention`, `flat` (running mean) or `none`.
        predicts_change: Whether the head predicts the change from the last known frame instead of the frame itself.
        has_latent_network: Whether prior and posterior are two-layer networks; the paper's are linear maps.
        scales_input: Whether the embedded input is multiplied by sqrt(H), as the released code does.
        reconstruction: `norm` (the released Euclidean norm per frame, jaw weighted) or `gaussian` (likelihood with
            standard deviation `output_std`, which makes the sum of the losses a proper evidence bound).
        output_std: Standard deviation of the Gaussian likelihood, in units of `coefficient_scale`.
        velocity_std: The same for frame-to-frame differences, the seam between steps included; 0 leaves them out.
        stop: `planned` (the length is drawn before the first frame, and every step knows how much is left, see
            `cteg.model.length_plan`), `learned` (a hazard per frame) or `norm` (the paper's: stop when the frame's norm
            falls below `stop_norm`).
        stop_norm: Threshold of the norm stop.
        output_noise: Standard deviation of white noise added to the hidden state before the head while sampling; the
            released code uses exp(0.5), which shows as jitter.
        max_frames: Longest clip that is written.
        dropout: Dropout probability in training.
    """

    space: str = "open"
    text_size: int = 384
    hidden_size: int = 256
    heads: int = 8
    feed_forward_size: int = 1024
    context_layers: int = 1
    layers: int = 1
    frames_per_step: int = 5
    has_step_latent: bool = True
    latent_size: int = 32
    prior: str = "flow"
    prior_components: int = 8
    couplings: int = 4
    sequence_latent_size: int = 128
    sequence_prior: str = "flow"
    sequence_components: int = 128
    sequence_parts: int = 16
    step_spread: float = 1.0
    amplitude: float = 1.0
    contrast: float = 1.0
    sequence_guidance: float = 0.0
    pools_text: bool = True
    expression_attention: str = "causal"
    latent_attention: str = "causal_attention"
    predicts_change: bool = True
    has_latent_network: bool = True
    scales_input: bool = False
    reconstruction: str = "gaussian"
    output_std: float = 0.2
    velocity_std: float = 0.12
    stop: str = "planned"
    stop_norm: float = 1.0
    output_noise: float = 0.0
    max_frames: int = 250
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self, CHOICES, may_be_zero=("context_layers", "sequence_latent_size"))
        for name in ("amplitude", "contrast", "output_std"):
            if not getattr(self, name):
                raise WeightsError(f"Model configuration: {name} is 0, expected a number above 0.")
        if self.dropout >= 1:
            raise WeightsError(f"Model configuration: dropout is {self.dropout}, expected a number below 1.")
        if self.hidden_size % self.heads:
            raise WeightsError(f"Model configuration: {self.heads} heads do not divide hidden_size {self.hidden_size}.")
        if self.prior == "gaussian" and self.prior_components != 1:
            raise WeightsError("Model configuration: a gaussian prior has 1 component; use prior 'mixture' for more.")
        for latent, prior, size in (
            ("step", self.prior, self.latent_size),
            ("sequence", self.sequence_prior, self.sequence_latent_size),
        ):
            if prior == "flow" and size % 2:
                raise WeightsError(f"Model configuration: a flow needs a {latent} latent of even size, not {size}.")

    @classmethod
    def paper(cls, **changes: Any) -> CTEGConfig:
        """Return the paper's form (H 768, one layer, one frame a step, Gaussian prior), with `changes` on top.

        Left from us are EwA that sees no future and the learned stop; `expression_attention="global"` and `stop="norm"`
        are the paper's. Its output noise is left out, too (`output_noise`).
        """
        paper = cls(
            text_size=768,
            hidden_size=768,
            heads=12,
            feed_forward_size=2048,
            context_layers=0,
            layers=1,
            frames_per_step=1,
            latent_size=768,
            prior="gaussian",
            prior_components=1,
            sequence_latent_size=0,
            pools_text=False,
            predicts_change=False,
            has_latent_network=False,
            scales_input=True,
            reconstruction="norm",
            velocity_std=0.0,
            stop="learned",
            max_frames=256,
        )
        return dataclasses.replace(paper, **changes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CTEGConfig:
        """Build a configuration from JSON values; an unknown key is an error.

        Raises:
            WeightsError: a key is unknown or a value is out of range.
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise WeightsError(f"Model configuration: unknown keys {', '.join(sorted(unknown))}.")
        return cls(**values)
