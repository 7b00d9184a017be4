"""Read a checkpoint that `torch.save` wrote without running anything of it: tensors come back, all else is inert.

`torch.load` hands a file's pickle to Python's own machine, which calls whatever the file names. Here the pickle goes
through `training.unpickle`; the numbers lie beside it in the same zip archive and are taken from there:

    name/data.pkl ──► tensors as (storage key, shape, strides) ──► name/data/0, name/data/1, ... as plain bytes
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cteg.errors import InputError
from training.unpickle import MAX_BYTES, Foreign, Maker, Refused, read_pickle

STORAGES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""Element types by the name of torch's storage classes."""

STUBS = ("torch", "transformers", "tokenizers", "argparse")
"""Packages whose objects a training checkpoint may hold beside its tensors: options and whole pickled models."""


def read_torch_file(path: Path) -> Any:
    """Read a file written by `torch.save` (torch 1.6 or later).

    Returns:
        What was saved: containers, numbers, texts, tensors (which may share memory), and a `Stub` for every object of
        another class.

    Raises:
        InputError: The file cannot be read, is damaged, or asks for something that is not allowed, which is named.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path.name} is not a checkpoint of torch 1.6 or later, which would be a zip archive.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path.name)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise InputError(f"{path.name} is damaged or not a checkpoint.") from error


def _read(archive: zipfile.ZipFile, name: str) -> Any:
    """Read the pickle of an archive with the tensors that it refers to."""
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_BYTES:
            raise InputError(f"{name} is refused: torch stores its data unpacked, but {entry.filename} is packed.")
    pickles = [entry for entry in archive.namelist() if entry.endswith("/data.pkl") and entry.count("/") == 1]
    if len(pickles) != 1:
        raise InputError(f"{name} is not a checkpoint: expected one data.pkl, found {len(pickles)}.")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise InputError(f"{name} was written on a machine of the other byte order.")
    storages: dict[str, Tensor] = {}

    def load_external(key: Any) -> Tensor:
        """Return the flat tensor that a persistent id stands for: ("storage", class, key, device, count)."""
        if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage" or not isinstance(key[2], str):
            raise Refused(f"refers to {key!r:.60}")
        _, kind, place, _, count = key
        if not isinstance(kind, Foreign) or kind.module != "torch" or kind.name not in STORAGES:
            raise Refused(f"holds numbers of the class {kind}")
        if place not in storages:
            try:
                raw = archive.read(f"{folder}data/{place}")
            except KeyError:
                raise InputError(f"{name} is damaged: it lacks the numbers {place}.") from None
            dtype = STORAGES[kind.name]
            if len(raw) != count * dtype.itemsize:
                raise InputError(f"{name} is damaged: the numbers {place} have {len(raw)} bytes.")
            storages[place] = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return storages[place]

    return read_pickle(archive.read(pickles[0]), name, STUBS, MAKERS, load_external)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Stand in for torch's `_rebuild_tensor_v2`: a view of a storage, so that many views take no more memory."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Tensor) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise Refused("holds a tensor without numbers")
    count = torch.Size(size).numel()
    if len(size) != len(stride) or count > storage.numel():
        raise Refused(f"holds a tensor of shape {tuple(size)} made of {storage.numel()} numbers")
    try:
        return storage.as_strided(size, stride, offset)  # checks that all lie inside
    except RuntimeError:
        raise Refused(f"holds a tensor of shape {tuple(size)} that reaches outside its numbers") from None


def _parameter(data: Any, *_: Any) -> Tensor:
    """Stand in for `_rebuild_parameter`: the tensor itself."""
    if not isinstance(data, Tensor):
        raise Refused("holds a parameter without a tensor")
    return data


def _of_type(make: Any, _kind: Any, arguments: Any, _state: Any) -> Tensor:
    """Stand in for `_rebuild_from_type_v2`: a tensor with attributes of its own, which are dropped."""
    if make not in (MAKERS["torch._utils", "_rebuild_tensor_v2"], MAKERS["torch._utils", "_rebuild_parameter"]):
        raise Refused(f"makes a tensor by {make}")
    return make.make(*arguments)


MAKERS = {
    ("torch._utils", "_rebuild_tensor_v2"): Maker(_tensor),
    ("torch._utils", "_rebuild_parameter"): Maker(_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_of_type),
}
"""What the pickle of a checkpoint may call beside numpy's makers; all of it our own."""
