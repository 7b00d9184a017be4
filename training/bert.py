"""A published BERT as our text encoder: frozen, exact, without a label head, as the paper uses bert-base-cased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from cteg.checkpoint import save_text_encoder
from cteg.errors import InputError
from cteg.model.bert import build_bert
from cteg.text import TextEncoder

FILES = ("config.json", "tokenizer.json", "model.safetensors")


def fetch(source: str, name: str) -> Path:
    """Return a file of a transformers folder or of a Hub repository.

    Raises:
        InputError: There is no such folder and no such file on the Hub.
    """
    if Path(source).is_dir():
        return Path(source) / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source, name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"There is no folder {source!r}, and {name} could not be fetched from the Hub.") from error


def read_tokenizer(source: str, backbone: nn.Module) -> Tokenizer:
    """Read the tokenizer of a text encoder from a transformers folder or a Hub id.

    Raises:
        InputError: There is none, or it belongs to another encoder.
    """
    path = fetch(source, "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(f"{path} is missing or not a tokenizer.") from error
    if tokenizer.get_vocab_size() != backbone.config.vocab_size:
        raise InputError(
            f"The tokenizer of {source!r} knows {tokenizer.get_vocab_size()} words, the text encoder "
            f"{backbone.config.vocab_size}: it belongs to another BERT."
        )
    return tokenizer


def fill(module: nn.Module, tensors: dict[str, Tensor], name: str) -> Any:
    """Put tensors into a module after checking names, shapes and finiteness; superfluous ones are left out.

    Raises:
        InputError: One is missing, of another shape or not finite; `name` says of which file.
    """
    wanted = module.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise InputError(f"{name} lacks {len(missing)} tensors, the first one is {missing[0]}.")
    for key, tensor in wanted.items():
        if tensors[key].shape != tensor.shape or not torch.isfinite(tensors[key]).all():
            raise InputError(
                f"{name}: {key} is not finite or of shape {tuple(tensors[key].shape)}, not {tuple(tensor.shape)}."
            )
    module.load_state_dict({key: tensors[key] for key in wanted})
    return module.eval().requires_grad_(False)


def import_bert(source: str, folder: Path) -> None:
    """Write a BERT in our format.

    Args:
        source: Transformers folder, or Hub id, with `config.json`, `tokenizer.json` and `model.safetensors`.
        folder: Where to.

    Raises:
        InputError: A file is missing, damaged or does not fit.
    """
    config, _, weights = (fetch(source, name) for name in FILES)
    try:
        backbone = build_bert(json.loads(config.read_text(encoding="utf-8")))
        tensors = load_file(weights)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise InputError(f"{source!r} holds no BERT: {', '.join(FILES)}.") from error
    # Files from before 2020 have the names of TensorFlow, and those of whole models a prefix.
    old = (("bert.", ""), ("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
    renamed = {}
    for name, tensor in tensors.items():
        for before, after in old:
            name = name.replace(before, after)
        renamed[name] = tensor.float()
    encoder = TextEncoder(fill(backbone, renamed, weights.name), read_tokenizer(source, backbone))
    save_text_encoder(encoder, folder, is_exact=True)
