"""Checkpoints of torch are read whole, and nothing that they ask for runs."""

from __future__ import annotations

import argparse
import os
import pickle
import warnings
import zipfile

import pytest
import torch

from cteg.errors import InputError
from tests.malice import Call
from training.torch_file import read_torch_file
from training.unpickle import Stub


def save(path, value):
    torch.save(value, path)
    return path


def rewrite(path, compression=zipfile.ZIP_STORED, **changes):
    """Write the archive again with some members (by the end of their names) replaced; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            change = next((value for end, value in changes.items() if name.endswith("/" + end)), content)
            if change is not None:
                archive.writestr(name, change)
    return path


def test_tensors_options_and_models_come_back(tmp_path):
    torch.manual_seed(0)
    matrix = torch.randn(4, 6)
    tensors = {
        "plain": matrix,
        "transposed": matrix.T,
        "part": matrix[1:3, ::2],
        "half": matrix.half(),
        "whole": torch.arange(5),
        "truth": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "brain": matrix.bfloat16(),
        "parameter": torch.nn.Parameter(matrix),
    }
    layer = torch.nn.Linear(2, 3)
    settings = argparse.Namespace(d_model=32, encoder=layer, kind="bert")
    saved = {"epoch": 3, "settings": settings, "model": tensors, "state": layer.state_dict()}
    found = read_torch_file(save(tmp_path / "model.chkpt", saved))
    assert found["epoch"] == 3
    for name, tensor in tensors.items():
        assert torch.equal(found["model"][name], tensor), name
        assert found["model"][name].dtype == tensor.dtype
    assert torch.equal(found["state"]["weight"], layer.weight)
    options = found["settings"]
    assert isinstance(options, Stub)
    assert options.state["d_model"] == 32
    assert str(options.state["encoder"].kind) == "torch.nn.modules.linear.Linear"
    assert torch.equal(options.state["encoder"].state["_parameters"]["bias"], layer.bias)


@pytest.mark.parametrize("place", ["epoch", "settings", "model", "deep"])
def test_a_malicious_checkpoint_is_refused_and_does_nothing(place, tmp_path):
    mark = tmp_path / "mark"
    call = Call(os.system, f"touch {mark}")
    value = {"epoch": 1, "settings": argparse.Namespace(), "model": {"a": torch.zeros(2)}}
    value[place] = argparse.Namespace(inner=[{"x": call}]) if place == "deep" else call
    path = save(tmp_path / "model.chkpt", value)
    with pytest.raises(InputError, match=rf"asks for {os.system.__module__}\.system"):
        read_torch_file(path)
    assert not mark.exists()


@pytest.mark.parametrize("function", [torch.load, torch.hub.load_state_dict_from_url, torch._utils._rebuild_tensor])
def test_functions_of_torch_are_not_called_either(function, tmp_path):
    with pytest.raises(InputError, match="calls torch"):
        read_torch_file(save(tmp_path / "model.chkpt", Call(function, str(tmp_path / "other"))))


def test_a_tensor_cannot_be_made_by_a_foreign_function(tmp_path):
    attack = Call(torch._tensor._rebuild_from_type_v2, torch.load, torch.Tensor, ("/etc/passwd",), {})
    with pytest.raises(InputError, match="makes a tensor by"):
        read_torch_file(save(tmp_path / "model.chkpt", attack))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (40,), (1,)), "made of"),
        ((2, (4,), (1,)), "outside"),
        ((0, (2, 2), (3, 1)), "outside"),
        ((-1, (2,), (1,)), "without numbers"),
        ((0, (2,), (1, 1)), "made of"),
    ],
)
def test_tensors_stay_inside_their_numbers(arguments, message, tmp_path):
    offset, size, stride = arguments
    with warnings.catch_warnings(action="ignore"):  # the pickle names the old class
        storage = torch.arange(4.0).storage()
    attack = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, None)
    with pytest.raises(InputError, match=message):
        read_torch_file(save(tmp_path / "model.chkpt", attack))


def test_damaged_archives_are_told(tmp_path):
    def fresh():
        return save(tmp_path / "model.chkpt", {"a": torch.ones(8)})

    with pytest.raises(InputError, match="lacks the numbers"):
        read_torch_file(rewrite(fresh(), **{"data/0": None}))
    with pytest.raises(InputError, match="have 4 bytes"):
        read_torch_file(rewrite(fresh(), **{"data/0": b"1234"}))
    with pytest.raises(InputError, match=r"one data\.pkl"):
        read_torch_file(rewrite(fresh(), **{"data.pkl": None}))
    with pytest.raises(InputError, match="byte order"):
        read_torch_file(rewrite(fresh(), byteorder=b"big"))
    with pytest.raises(InputError, match="unpacked"):
        read_torch_file(rewrite(fresh(), zipfile.ZIP_DEFLATED))
    path = fresh()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError):
        read_torch_file(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="zip archive"):
        read_torch_file(path)
    with pytest.raises(InputError, match="no file"):
        read_torch_file(tmp_path / "none.chkpt")
