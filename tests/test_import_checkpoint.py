"""Released checkpoints import with every size and switch, give the released numbers, and run nothing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cteg.errors import InputError
from tests.released import Reference, make_batch, make_checkpoint
from training.import_checkpoint import app, check, load_released, our_name, read_checkpoint

SWITCHES = {
    "as released": {},
    "two layers": {"n_layers": 2},
    "no EwA, running mean": {"feature_attention": False, "flat_method": "flat"},
    "no LTA": {"flat_method": "none"},
    "no target-guided path": {"one_step_loss": False},
    "no input scaling": {"scale_emb": False},
    "other size": {"d_model": 32, "n_head": 4, "d_inner_hid": 16},
}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def saved(tmp_path):
    """Write a checkpoint with its numbers; returns both paths."""

    def write(**changes):
        checkpoint = make_checkpoint(**changes)
        torch.save(checkpoint, tmp_path / "model.chkpt")
        numbers = Reference(checkpoint).numbers(make_batch(checkpoint["settings"].d_model))
        np.savez(tmp_path / "numbers.npz", **numbers)
        return tmp_path / "model.chkpt", tmp_path / "numbers.npz"

    return write


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_numbers_agree(switch, saved, tmp_path):
    checkpoint, numbers = saved(**SWITCHES[switch])
    result = invoke(checkpoint, tmp_path / "out", "--check", numbers)
    assert result.exit_code == 0, result.output
    errors = check(load_released(tmp_path / "out"), numbers)
    expected = {"generated", "pred", "rec", "kl"}
    expected |= set() if SWITCHES[switch].get("one_step_loss") is False else {"prior_pred", "target_guided"}
    assert set(errors) == expected
    assert max(errors.values()) < 1e-5
    assert all(name in result.output for name in expected)


def test_the_folder_holds_plain_files(saved, tmp_path):
    checkpoint, _ = saved()
    assert invoke(checkpoint, tmp_path / "out").exit_code == 0
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"config.json", "model.safetensors", "text_encoder.safetensors"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["space"] == "flame"
    assert config["settings"]["d_model"] == 24


def test_wrong_numbers_are_noticed(saved, tmp_path):
    checkpoint, numbers = saved()
    arrays = dict(np.load(numbers))
    arrays["pred"][1, 3, 7] += 1e-3
    np.savez(numbers, **arrays)
    result = invoke(checkpoint, tmp_path / "out", "--check", numbers)
    assert result.exit_code == 2
    assert "differ by more than 0.0001: pred." in result.output
    np.savez(numbers, enc=arrays["enc"])
    assert invoke(checkpoint, tmp_path / "out", "--check", numbers).exit_code == 2


def test_noise_is_seeded_and_grows_with_the_temperature(saved):
    model, _, _ = read_checkpoint(saved()[0])
    batch = make_batch(24)

    def decode(temperature, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return model.decode(batch["enc"], batch["src_mask"], batch["first_frame"], 5, temperature, generator)

    still = decode(0)
    assert torch.equal(decode(1.0), decode(1.0))
    assert not torch.equal(decode(1.0), decode(1.0, seed=1))
    spread = [(decode(temperature) - still).square().mean() for temperature in (0.1, 0.5, 1.0)]
    assert spread[0] < spread[1] < spread[2]
    assert torch.equal(still[:, :1], batch["first_frame"])


class Malice:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["settings", "model", "epoch"])
def test_a_malicious_checkpoint_is_refused_and_does_nothing(place, tmp_path):
    mark, out = tmp_path / "mark", tmp_path / "out"
    torch.save(make_checkpoint() | {place: Malice(f"touch {mark}")}, tmp_path / "model.chkpt")
    result = invoke(tmp_path / "model.chkpt", out)
    assert result.exit_code == 2
    assert f"{os.system.__module__}.system" in result.output
    assert not mark.exists()
    assert not out.exists()


def test_other_checkpoints_are_told(tmp_path):
    path = tmp_path / "model.chkpt"

    def refuse(message, **changes):
        torch.save(make_checkpoint() | changes, path)
        with pytest.raises(InputError, match=message):
            read_checkpoint(path)

    tensors = make_checkpoint()["model"]
    refuse("other kinds", model=[1, 2])
    refuse("which the released decoder does not have", model=tensors | {"decoder.other.weight": torch.zeros(1)})
    refuse("lacks 1 tensors", model={k: v for k, v in tensors.items() if k != "trg_exp_prj.weight"})
    refuse("not finite", model=tensors | {"trg_exp_prj.weight": torch.full((53, 24), torch.nan)})
    refuse("of shape", model=tensors | {"trg_exp_prj.weight": torch.zeros(53, 23)})
    settings = make_checkpoint(flat_method="other")["settings"]
    refuse("'other'", settings=settings)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="expected 'model' and 'settings'"):
        read_checkpoint(path)


def test_every_released_name_has_one_of_ours():
    names = [name for name in make_checkpoint()["model"] if not name.startswith("encoder")]
    ours = [our_name(name) for name in names]
    assert None not in ours
    assert len(set(ours)) == len(names)
    assert our_name("decoder.layer_stack.0.slf_attn.other.weight") is None
    assert our_name("optimizer.step") is None
