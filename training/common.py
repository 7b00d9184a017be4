"""What the training commands share: checkpoints that survive a kill, JSON-lines logs, length buckets, messages."""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cteg.errors import CtegError, InputError

Seed = Annotated[int, typer.Option(min=0, help="seed of everything that is drawn")]
Threads = Annotated[int, typer.Option(min=0, help="processor threads; 0: all")]
"""Options that commands share."""


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a `CtegError` of a command into one sentence on standard error and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except CtegError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from error

    return run


def settle(path: Path, settings: dict[str, Any], **noted: Any) -> None:
    """Write the settings of a run as JSON, or check that the run found there has the same.

    Args:
        path: The file.
        settings: What may not differ when a run goes on.
        noted: Written beside it, and free to change.

    Raises:
        InputError: the folder holds a run with other settings.
    """
    settings = json.loads(json.dumps(settings))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if {name: value for name, value in found.items() if name not in noted} != settings:
            raise InputError(f"{path.parent} holds a run with another configuration; choose another folder.")
    path.write_text(json.dumps(settings | noted, indent=2) + "\n", encoding="utf-8")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name and move it into place, so that a kill leaves the old one whole.

    Tensors go into a safetensors file, the nest of dictionaries and lists around them into its metadata as JSON:
    nothing has to be unpickled to go on.
    """
    tensors: dict[str, Tensor] = {}
    temporary = path.with_suffix(".tmp")
    nest = json.dumps(_describe(state, tensors))
    save_file(tensors, temporary, {"nest": nest})
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint written by `save_checkpoint`; None where there is none.

    Raises:
        InputError: the file cannot be read.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            nest = json.loads(file.metadata()["nest"])
            return _rebuild(nest, file.get_tensor)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"The checkpoint {path} cannot be read; remove it to start again.") from error


def _describe(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Turn nested state into JSON values, moving its tensors to `tensors`; keys of dictionaries keep their kind."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()  # a copy of its own: safetensors refuses shared ones
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _describe(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_describe(item, tensors) for item in value]}
    return {"value": value}


def _rebuild(node: dict[str, Any], tensor: Callable[[str], Tensor]) -> Any:
    """Undo `_describe`; tuples come back as lists."""
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "dict":
        return {key: _rebuild(item, tensor) for key, item in content}
    if kind == "list":
        return [_rebuild(item, tensor) for item in content]
    return content


def append_json_line(path: Path, values: dict[str, Any]) -> None:
    """Append one record to a JSON-lines log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def bucket_batches(lengths: Sequence[int], order: Sequence[int], batch: int, rng: random.Random) -> Iterator[list[int]]:
    """Cut `order` into batches of similar length, in random order.

    Args:
        lengths: Length of every item.
        order: Indices of this epoch, already drawn at random.
        batch: Items per batch.
        rng: Shuffles the batches.
    """
    pool = batch * 50  # sorting within pools of 50 batches keeps batches random and nearly free of padding
    batches = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda index: lengths[index])
        batches += [part[i : i + batch] for i in range(0, len(part), batch)]
    rng.shuffle(batches)
    yield from batches


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch and Python, and return a numpy generator."""
    torch.manual_seed(seed)
    random.seed(seed)
    return np.random.default_rng(seed)
