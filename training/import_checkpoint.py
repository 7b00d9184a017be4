"""Bring a checkpoint of the released CTEG into plain files, and check it against numbers of the released code.

    python -m training.import_checkpoint model.chkpt OUT [--check numbers.npz]

The checkpoint is a pickle with a whole pickled BERT inside; it is read without running anything of it
(`training.torch_file`). OUT becomes a folder with `model.safetensors`, `text_encoder.safetensors` and `config.json`;
`load_released` reads the model back. `--check` compares decoding, teacher forcing, the prior path and the three losses
with a file of numbers and ends with exit code 2 where one is off by more than 1e-4.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from cteg.errors import InputError
from cteg.model.released import ReleasedConfig, ReleasedCTEG
from training.common import plain_errors
from training.torch_file import read_torch_file
from training.unpickle import Stub

KIND = "cteg-released-1"
TOLERANCE = 1e-4
LATENT_ATTENTION = {"casual_attention": "causal_attention", "flat": "flat", "none": "none", None: "none"}
"""Our names of the released `flat_method`."""

ATTENTION = {"w_qs": "query", "w_ks": "key", "w_vs": "value", "fc": "output", "layer_norm": "norm"}
FEED_FORWARD = {"w_1": "inner", "w_2": "outer", "layer_norm": "norm"}
LAYER = {
    "slf_attn": ("self_attention", ATTENTION),
    "enc_attn": ("text_attention", ATTENTION),
    "enc_attn_second": ("second_text_attention", ATTENTION),
    "slf_attn_second": ("latent_path", ATTENTION),
    "pos_ffn": ("feed_forward", FEED_FORWARD),
    "pri_ffn": ("prior_network", FEED_FORWARD),
    "upper_mu": ("posterior_mean", None),
    "upper_sigma": ("posterior_log_variance", None),
    "down_mu": ("prior_mean", None),
    "down_sigma": ("prior_log_variance", None),
}
TOP = {
    "decoder.trg_word_emb": "words",
    "decoder.exp_emb": "frame",
    "decoder.position_enc.pos_table": "positions",
    "decoder.layer_norm": "norm",
    "decoder.fea_proj": "expression_attention.lift",
    "decoder.fea_proj_reverse": "expression_attention.lower",
    "trg_exp_prj": "output",
    "trg_word_prj_one_step": "prior_output",
}
"""Names of the released code and ours."""

app = typer.Typer(add_completion=False)


def our_name(name: str) -> str | None:
    """Return our name of a released tensor, or None for one that the decoder does not have."""
    stem, _, leaf = name.rpartition(".")
    if name in TOP:
        return TOP[name]
    if stem in TOP:
        return f"{TOP[stem]}.{leaf}"
    if match := re.fullmatch(r"decoder\.fea_attn\.(\w+)", stem):
        return f"expression_attention.{ATTENTION[match[1]]}.{leaf}" if match[1] in ATTENTION else None
    if match := re.fullmatch(r"decoder\.layer_stack\.(\d+)\.(\w+)(?:\.(\w+))?", stem):
        index, module, part = match.groups()
        ours, parts = LAYER.get(module, (None, None))
        if ours is not None and (part is None if parts is None else part in parts):
            return ".".join([f"layers.{index}", ours, *([parts[part]] if parts else []), leaf])
    return None


def read_checkpoint(path: Path) -> tuple[ReleasedCTEG, dict[str, Tensor], dict[str, Any]]:
    """Read a released checkpoint.

    Returns:
        The model, the text encoder's tensors by BERT's names, and the plain settings of the training run.

    Raises:
        InputError: The file is not such a checkpoint, damaged, or asks for something that is not allowed.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not {"model", "settings"} <= set(content):
        raise InputError(f"{path.name} is not a checkpoint of the released code: expected 'model' and 'settings'.")
    settings, tensors = content["settings"], content["model"]
    options = settings.state if isinstance(settings, Stub) else settings
    if (
        not isinstance(options, dict)
        or not isinstance(tensors, dict)
        or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items())
    ):
        raise InputError(f"{path.name} is not a checkpoint of the released code: its parts are of other kinds.")
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    renamed, encoder = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(("encoder.", "encoder_pretrained.")):
            encoder[name.split(".", 1)[1]] = tensor.clone().contiguous()
        elif ours := our_name(name):
            renamed[ours] = tensor.float()
        else:
            raise InputError(f"{path.name} holds {name}, which the released decoder does not have.")
    model = _model(renamed, options, path.name)
    plain = {key: value for key, value in options.items() if isinstance(value, str | int | float | bool | type(None))}
    return model, encoder, plain


def _model(tensors: dict[str, Tensor], options: dict[str, Any], name: str) -> ReleasedCTEG:
    """Build the model that fits the tensors; sizes come from them, switches from the settings."""
    try:
        tensors["positions"] = tensors["positions"][0]
        vocabulary, hidden = tensors["words.weight"].shape
        config = ReleasedConfig(
            vocabulary=vocabulary,
            hidden_size=hidden,
            heads=int(options["n_head"]),
            feed_forward_size=len(tensors["layers.0.feed_forward.inner.weight"]),
            layers=1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("layers.")),
            positions=len(tensors["positions"]),
            has_expression_attention=bool(options.get("feature_attention", False)),
            latent_attention=LATENT_ATTENTION[options.get("flat_method")],
            is_target_guided=bool(options.get("one_step_loss", False)),
            scales_input=bool(options.get("scale_emb", False)),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{name} is not a checkpoint of the released code: {error} is missing or odd.") from error
    model = ReleasedCTEG(config).eval()
    wanted = model.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise InputError(f"{name} lacks {len(missing)} tensors, the first one is {missing[0]}.")
    for key, tensor in wanted.items():
        if tensors[key].shape != tensor.shape or not torch.isfinite(tensors[key]).all():
            raise InputError(
                f"{name}: {key} is not finite or of shape {tuple(tensors[key].shape)}, not {tuple(tensor.shape)}."
            )
    model.load_state_dict({key: tensors[key] for key in wanted})  # unused switches may leave tensors over
    return model


def save_released(folder: Path, model: ReleasedCTEG, encoder: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write the folder; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("model", model.state_dict()), ("text_encoder", encoder)):
        unfinished = folder / f"{name}.part"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, unfinished)
        os.replace(unfinished, folder / f"{name}.safetensors")
    config = {"kind": KIND, "space": "flame", "model": dataclasses.asdict(model.config), "settings": settings}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_released(folder: Path) -> ReleasedCTEG:
    """Read a model that `save_released` wrote.

    Raises:
        InputError: The folder is not such a model.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["kind"] != KIND:
            raise InputError(f"{folder} holds {config['kind']!r}, expected {KIND!r}.")
        model = ReleasedCTEG(ReleasedConfig(**config["model"])).eval()
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder} is not an imported checkpoint.") from error
    return model


@torch.inference_mode()
def check(model: ReleasedCTEG, numbers: Path) -> dict[str, float]:
    """Compare a model with numbers of the released code; returns the largest error by array.

    Errors of frames are absolute, those of the three losses relative.

    Raises:
        InputError: The file of numbers cannot be used.
    """
    try:
        with np.load(numbers, allow_pickle=False) as archive:
            want = {name: torch.from_numpy(np.asarray(archive[name])) for name in archive.files}
        text, mask = want["enc"].float(), want["src_mask"].bool()
        frames, tokens, valid = want["frames"].float(), want["token_ids"].long(), want["attention"].bool()
        predicted = model(text, mask, frames[:, :-1], tokens[:, :-1])
        losses = model.losses(text, mask, frames, tokens, valid)
        count = want["generated"].shape[1] - 1
        decoded = model.decode(text, mask, want["first_frame"].float(), count, temperature=0)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise InputError(f"{numbers.name} does not fit the checkpoint: {error}") from error
    found = {"generated": decoded, "pred": predicted.frames, "prior_pred": predicted.prior_frames}
    errors = {
        name: float((got - want[name]).abs().max()) for name, got in found.items() if got is not None and name in want
    }
    scalars = {"rec": losses.reconstruction, "kl": losses.divergence, "target_guided": losses.target_guided}
    errors |= {
        name: float(abs(got / want[name] - 1)) for name, got in scalars.items() if got is not None and name in want
    }
    return errors


@app.command()
@plain_errors
def main(
    checkpoint: Annotated[Path, typer.Argument(help="the authors' file, model.chkpt")],
    out: Annotated[Path, typer.Argument(help="folder to write")],
    check_file: Annotated[Path | None, typer.Option("--check", help="numbers of the released code, .npz")] = None,
) -> None:
    """Bring a released checkpoint into plain files."""
    model, encoder, settings = read_checkpoint(checkpoint)
    save_released(out, model, encoder, settings)
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    typer.echo(f"{out}: {model.config.layers} layer(s), H {model.config.hidden_size}, {count / 1e6:.2f} M numbers.")
    if check_file is not None:
        errors = check(load_released(out), check_file)
        for name, error in errors.items():
            typer.echo(f"{name:14} {error:.1e}")
        if bad := [name for name, error in errors.items() if not error <= TOLERANCE]:
            raise InputError(f"The numbers differ by more than {TOLERANCE}: {', '.join(bad)}.")


if __name__ == "__main__":
    app()
