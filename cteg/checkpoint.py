"""The only place that opens weight files: safetensors with JSON configurations and a sha256 manifest, never pickle.

A model folder holds `config.json` and `model.safetensors`, and the text encoder in `text_encoder/` (`config.json`,
`tokenizer.json`, `model.safetensors`). `manifest.json` names every file with its sha256. The `kind` in `config.json`
says which model it is: `cteg`, ours, or `released`, imported from a checkpoint of the authors' code, whose tensors are
stored as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from cteg.errors import WeightsError
from cteg.model.bert import build_bert
from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG
from cteg.model.released import ReleasedConfig, ReleasedCTEG
from cteg.text import TextEncoder

BUNDLED = Path(__file__).resolve().parent.parent / "weights" / "cteg-open"
FORMAT = 1
"""Version of the folder layout; a reader refuses a newer one."""

_MODEL, _CONFIG, _MANIFEST, _TOKENIZER = "model.safetensors", "config.json", "manifest.json", "tokenizer.json"
KINDS = {"cteg": (CTEG, CTEGConfig), "released": (ReleasedCTEG, ReleasedConfig)}
"""Models and their configurations by the kind of a folder."""

_SCALE = "::row_scale"  # suffix of the tensor that holds the row scales of an 8-bit matrix


# -- tensors -----------------------------------------------------------------------------------------------------------


def compress_tensors(tensors: dict[str, Tensor], as_8_bit: bool) -> dict[str, Tensor]:
    """Return tensors ready to be stored: half precision, or matrices as 8-bit rows with one scale each.

    An 8-bit row is round(row / scale) with scale = max|row| / 127: at most 0.4 % of the row's largest entry is lost.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if as_8_bit and tensor.ndim == 2 and tensor.numel() >= 4096:
            scale = (tensor.abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
            stored[name] = torch.round(tensor / scale).to(torch.int8).contiguous()
            stored[name + _SCALE] = scale.float().contiguous()
        else:
            stored[name] = tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
    return stored


def expand_tensors(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `compress_tensors`: float32 tensors under their own names."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(_SCALE):
            continue
        scale = stored.get(name + _SCALE)
        tensors[name] = tensor.float() if scale is None else tensor.float() * scale
    return tensors


def save_module(module: nn.Module, path: Path, is_exact: bool = False) -> None:
    """Write the tensors of a module, in half precision or exactly."""
    tensors = module.state_dict()
    save_file(tensors if is_exact else compress_tensors(tensors, as_8_bit=False), path)


def load_module(path: Path, module: nn.Module) -> None:
    """Fill a module from a safetensors file; names, shapes and finiteness are checked before anything is changed.

    Raises:
        WeightsError: the file is missing, damaged, of another shape or not finite.
    """
    try:
        tensors = expand_tensors(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"The weight file {path.name} is missing, damaged or not a safetensors file.") from error
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise WeightsError(f"The weight file {path.name} does not fit its configuration: {', '.join(wrong[:3])}.")
    broken = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"The weight file {path.name} holds NaN or infinity in {broken[0]}.")
    module.load_state_dict(tensors)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"The file {path.name} of the weights is missing or damaged.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"The file {path.name} of the weights is not a JSON object.")
    return values


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


# -- text encoder ------------------------------------------------------------------------------------------------------


def save_text_encoder(encoder: TextEncoder, folder: Path, is_exact: bool = False) -> None:
    """Write a text encoder, its matrices in 8 bits or exactly; without `tokenizer.json` where it has no tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"backbone": dataclasses.asdict(encoder.backbone.config), "labels": list(encoder.labels)}
    _write_json(folder / _CONFIG, config if encoder.tokenizer else config | {"lacks_tokenizer": True})
    if encoder.tokenizer is not None:
        encoder.tokenizer.save(str(folder / _TOKENIZER))
    tensors = encoder.state_dict()
    save_file(tensors if is_exact else compress_tensors(tensors, as_8_bit=True), folder / _MODEL)


def load_text_encoder(folder: Path) -> TextEncoder:
    """Read a text encoder written by `save_text_encoder`.

    Raises:
        WeightsError: a file is missing, damaged or does not fit.
    """
    config = _read_json(folder / _CONFIG)
    if config.get("lacks_tokenizer"):
        raise WeightsError(
            "These weights were imported without a tokenizer, so they cannot read a sentence: run "
            "training.import_checkpoint again with --tokenizer and --mean."
        )
    try:
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        encoder = TextEncoder(build_bert(config["backbone"]), tokenizer, config["labels"])
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise WeightsError("The text encoder's configuration or tokenizer is missing or damaged.") from error
    load_module(folder / _MODEL, encoder)
    return encoder.eval().requires_grad_(False)


# -- whole model -------------------------------------------------------------------------------------------------------


def save_pretrained(model: CTEG | ReleasedCTEG, encoder: TextEncoder, folder: str | Path, name: str) -> Path:
    """Write model, text encoder and manifest to `folder` and return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = next(kind for kind, (form, _) in KINDS.items() if isinstance(model, form))
    is_exact = kind == "released"  # its numbers must stay what they were
    config = {"format": FORMAT, "kind": kind, "name": name, "model": dataclasses.asdict(model.config)}
    _write_json(folder / _CONFIG, config)
    save_module(model, folder / _MODEL, is_exact)
    save_text_encoder(encoder, folder / "text_encoder", is_exact)
    write_manifest(folder)
    return folder


def load_model(folder: Path) -> tuple[CTEG | ReleasedCTEG, str]:
    """Read the model of a weights folder, without the text encoder, and return it with its name.

    Raises:
        WeightsError: a file is missing, was changed or damaged, or does not fit.
    """
    check_manifest(folder)
    config = _read_json(folder / _CONFIG)
    if config.get("format") != FORMAT:
        raise WeightsError(f"The weights have format {config.get('format')!r}; this version reads format {FORMAT}.")
    if not isinstance(config.get("model"), dict) or config.get("kind", "cteg") not in KINDS:
        raise WeightsError(f"The file {_CONFIG} of the weights does not describe a model.")
    form, form_of_config = KINDS[config.get("kind", "cteg")]  # weights from before there were kinds are ours
    model = form(form_of_config.from_dict(config["model"]))
    load_module(folder / _MODEL, model)
    return model.eval().requires_grad_(False), str(config.get("name", folder.name))


def load_pretrained(source: str | Path) -> tuple[CTEG | ReleasedCTEG, TextEncoder, str]:
    """Read a model folder, or fetch it from the Hub by its id, and return model, text encoder and name.

    Raises:
        WeightsError: the source is missing, a file was changed or damaged, or the parts do not fit each other.
    """
    folder = resolve_folder(source)
    model, name = load_model(folder)
    encoder = load_text_encoder(folder / "text_encoder")
    expected = model.config.hidden_size if isinstance(model, ReleasedCTEG) else model.config.text_size
    if encoder.size != expected:
        raise WeightsError(f"The text encoder has width {encoder.size}, the model expects {expected}.")
    return model, encoder, name


def resolve_folder(source: str | Path) -> Path:
    """Return a local folder with the weights: the given one, or a snapshot of a Hub repository `owner/name`.

    Raises:
        WeightsError: there is no such folder, or the Hub does not give it.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    text = str(source)
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise WeightsError(f"There is no weights folder {text!r}, and it is not a Hub id of the form owner/name.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(f"The weights {text!r} could not be fetched from the Hub.") from error


def push_to_hub(folder: str | Path, repository: str, token: str | None = None) -> str:
    """Upload a model folder to the Hub repository `owner/name` (made if missing) and return the commit's address.

    Raises:
        WeightsError: a file of the folder is missing or damaged. Errors of the Hub's client are not translated.
    """
    from huggingface_hub import HfApi

    check_manifest(Path(folder))
    api = HfApi(token=token)
    api.create_repo(repository, exist_ok=True)
    return str(api.upload_folder(repo_id=repository, folder_path=str(folder)).commit_url)


# -- manifest ----------------------------------------------------------------------------------------------------------


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` with the sha256 of every weight and configuration file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".json", ".safetensors"})
    entries = {path.relative_to(folder).as_posix(): sha256(path) for path in files if path.name != _MANIFEST}
    temporary = folder / (_MANIFEST + ".tmp")
    _write_json(temporary, {"sha256": entries})
    os.replace(temporary, folder / _MANIFEST)


def check_manifest(folder: Path) -> None:
    """Check every file that the manifest names.

    Raises:
        WeightsError: the manifest or a file is missing, or a file is not what the manifest says.
    """
    entries = _read_json(folder / _MANIFEST).get("sha256")
    if not isinstance(entries, dict) or not {_CONFIG, _MODEL} <= entries.keys():
        raise WeightsError(f"The file {_MANIFEST} of the weights is damaged.")
    for name, expected in entries.items():
        path = folder / name
        leads_out = Path(name).is_absolute() or ".." in Path(name).parts
        if leads_out or not path.is_file():  # a file may be a link: the Hub's cache is made of them
            raise WeightsError(f"The weight file {name} is missing.")
        if sha256(path) != expected:
            raise WeightsError(f"The weight file {name} was changed or damaged: its sha256 is not the manifest's.")
