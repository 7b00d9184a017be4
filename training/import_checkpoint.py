"""Bring a checkpoint of the released CTEG into our format, and check it against numbers of the released code.

    python -m training.import_checkpoint model.chkpt OUT --tokenizer bert-base-cased --mean stage1_mean.npy
    python -m training.import_checkpoint model.chkpt OUT --check numbers.npz

The checkpoint is a pickle with a whole pickled BERT inside; it is read without running anything of it
(`training.torch_file`). OUT becomes a weights folder for `cteg.load`, the command line, the app and
`training.evaluate`, in reference mode or, with `--mode ours`, with the stop that the weights were trained for. A
checkpoint holds neither the vocabulary of its BERT nor the mean frame that starts every clip: without them the numbers
can be checked, but no sentence can be performed. `--check` compares text encoder, decoding, teacher forcing, the prior
path and the three losses with a file of numbers and ends with exit code 2 where one is off by more than 1e-4.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from cteg import layout
from cteg.checkpoint import load_model, save_pretrained
from cteg.errors import InputError
from cteg.model.bert import build_bert
from cteg.model.released import WORDS, ReleasedConfig, ReleasedCTEG
from cteg.model.released_decoding import decode
from cteg.text import TextEncoder
from training.bert import fill, read_tokenizer
from training.common import plain_errors
from training.torch_file import read_torch_file
from training.unpickle import Stub

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

BERT = {"num_attention_heads": int, "hidden_act": str, "layer_norm_eps": float, "position_embedding_type": str}
"""What a BERT's tensors do not show and its pickled configuration says."""

MODES = ("reference", "ours")

app = typer.Typer(add_completion=False)


# -- decoder -----------------------------------------------------------------------------------------------------------


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


def read_checkpoint(path: Path) -> tuple[ReleasedCTEG, nn.Module]:
    """Read a released checkpoint.

    Returns:
        The model, in reference mode, and its text encoder, a BERT.

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
    decoder, encoder = {}, {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.")
        if name.startswith(("encoder.", "encoder_pretrained.")):
            encoder[name.split(".", 1)[1]] = tensor.float()
        elif ours := our_name(name):
            decoder[ours] = tensor.float()
        else:
            raise InputError(f"{path.name} holds {name}, which the released decoder does not have.")
    return _model(decoder, options, path.name), _bert(encoder, options, path.name)


def _model(tensors: dict[str, Tensor], options: dict[str, Any], name: str) -> ReleasedCTEG:
    """Build the model that fits the tensors; sizes come from them, switches from the settings."""
    try:
        tensors["positions"] = tensors["positions"][0]
        tensors["words.weight"] = tensors["words.weight"][list(WORDS)]
        tensors["first_frame"] = torch.zeros(layout.D)  # not in a checkpoint
        positions = len(tensors["positions"])
        config = ReleasedConfig(
            hidden_size=tensors["words.weight"].shape[1],
            heads=int(options["n_head"]),
            feed_forward_size=len(tensors["layers.0.feed_forward.inner.weight"]),
            layers=1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("layers.")),
            positions=positions,
            has_expression_attention=bool(options.get("feature_attention", False)),
            latent_attention=LATENT_ATTENTION[options.get("flat_method")],
            is_target_guided=bool(options.get("one_step_loss", False)),
            scales_input=bool(options.get("scale_emb", False)),
            max_frames=positions - 1,
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{name} is not a checkpoint of the released code: {error} is missing or odd.") from error
    return fill(ReleasedCTEG(config), tensors, name)


# -- text encoder ------------------------------------------------------------------------------------------------------


def _bert(tensors: dict[str, Tensor], options: dict[str, Any], name: str) -> nn.Module:
    """Build the BERT that fits the tensors; what they do not show comes from the pickled one's configuration."""
    models = [value.state for value in options.values() if isinstance(value, Stub) and isinstance(value.state, dict)]
    configurations = [model["config"].state for model in models if isinstance(model.get("config"), Stub)]
    said = next((found for found in configurations if isinstance(found, dict)), {})
    try:
        vocabulary, hidden = tensors["embeddings.word_embeddings.weight"].shape
        configuration = {
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "num_attention_heads": max(1, hidden // 64),  # of every published BERT
            "max_position_embeddings": len(tensors["embeddings.position_embeddings.weight"]),
            "type_vocab_size": len(tensors["embeddings.token_type_embeddings.weight"]),
            "num_hidden_layers": 1 + max(int(key.split(".")[2]) for key in tensors if key.startswith("encoder.layer.")),
            "intermediate_size": len(tensors["encoder.layer.0.intermediate.dense.weight"]),
        } | {key: said[key] for key, kind in BERT.items() if isinstance(said.get(key), kind)}
        backbone = build_bert(configuration)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{name} holds no BERT as its text encoder: {error} is missing or odd.") from error
    return fill(backbone, tensors, name)


def read_mean(path: Path) -> Tensor:
    """Read the mean frame of the training set, (53,), from EmoAva's `stage1_mean.npy`.

    Raises:
        InputError: The file is missing or not 53 finite numbers.
    """
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"Cannot read the mean frame {path}.") from error
    if mean.size != layout.D or mean.dtype.kind not in "fiu" or not np.isfinite(mean).all():
        raise InputError(f"{path.name} is not a mean frame of {layout.D} finite numbers.")
    return torch.from_numpy(mean.astype(np.float32).reshape(layout.D))


# -- check and command -------------------------------------------------------------------------------------------------


@torch.inference_mode()
def check(model: ReleasedCTEG, backbone: nn.Module, numbers: Path) -> dict[str, float]:
    """Compare a model with numbers of the released code; returns the largest error by array.

    Errors of frames and states are absolute, those of the three losses relative.

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
        decoded = decode(model, text, mask, want["first_frame"].float()[:, 0], count)
        encoded = None
        if "src_ids" in want:
            encoded, _ = TextEncoder(backbone, None)(want["src_ids"].long(), mask)
            encoded[~mask] = text[~mask]  # padding is never read
    except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise InputError(f"{numbers.name} does not fit the checkpoint: {error}") from error
    found = {"enc": encoded, "generated": decoded, "pred": predicted.frames, "prior_pred": predicted.prior_frames}
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
    out: Annotated[Path, typer.Argument(help="weights folder to write")],
    tokenizer: Annotated[str | None, typer.Option(help="folder or Hub id of its BERT, for tokenizer.json")] = None,
    mean: Annotated[Path | None, typer.Option(help="EmoAva's stage1_mean.npy, the frame that starts a clip")] = None,
    mode: Annotated[str, typer.Option(help="reference: as released; ours: clips end where the weights say")] = MODES[0],
    check_file: Annotated[Path | None, typer.Option("--check", help="numbers of the released code, .npz")] = None,
) -> None:
    """Bring a released checkpoint into a weights folder."""
    if mode not in MODES:
        raise InputError(f"The mode is {mode!r}, expected {' or '.join(MODES)}.")
    if (tokenizer is None) != (mean is None):
        raise InputError("To perform sentences, both --tokenizer and --mean are needed; give both, or none.")
    model, backbone = read_checkpoint(checkpoint)
    if mode == "ours":
        model.config = model.config.in_our_mode()
    encoder = TextEncoder(backbone, read_tokenizer(tokenizer, backbone) if tokenizer else None)
    if mean is not None:
        model.first_frame.copy_(read_mean(mean))
    save_pretrained(model, encoder, out, out.name)
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    typer.echo(f"{out}: {model.config.layers} layer(s), H {model.config.hidden_size}, {count / 1e6:.2f} M numbers.")
    if tokenizer is None:
        typer.echo("To perform sentences with it, import again with --tokenizer and --mean.")
    if check_file is not None:
        errors = check(load_model(out)[0], backbone, check_file)
        for name, error in errors.items():
            typer.echo(f"{name:14} {error:.1e}")
        if bad := [name for name, error in errors.items() if not error <= TOLERANCE]:
            raise InputError(f"The numbers differ by more than {TOLERANCE}: {', '.join(bad)}.")


if __name__ == "__main__":
    app()
