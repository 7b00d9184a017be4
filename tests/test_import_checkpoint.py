"""Released checkpoints import with every size and switch, give the released numbers, and run nothing."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from typer.testing import CliRunner

import cteg
from cteg.checkpoint import load_model
from cteg.errors import InputError, WeightsError
from tests.malice import Call
from tests.released import WORDS, Reference, make_batch, make_checkpoint
from training.import_checkpoint import app, check, our_name, read_checkpoint

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
        np.savez(tmp_path / "numbers.npz", **Reference(checkpoint).numbers(make_batch(checkpoint)))
        return tmp_path / "model.chkpt", tmp_path / "numbers.npz"

    return write


@pytest.fixture
def bert(tmp_path):
    """A folder with the tokenizer of the checkpoint's text encoder, and the mean frame."""

    def write(words=WORDS):
        vocabulary = {"[PAD]": 0, "[UNK]": 1} | {f"w{index}": index for index in range(2, words)}
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        (tmp_path / "bert").mkdir(exist_ok=True)
        tokenizer.save(str(tmp_path / "bert" / "tokenizer.json"))
        np.save(tmp_path / "mean.npy", np.linspace(-1, 1, 53))
        return "--tokenizer", tmp_path / "bert", "--mean", tmp_path / "mean.npy"

    return write


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_numbers_agree(switch, saved, tmp_path):
    checkpoint, numbers = saved(**SWITCHES[switch])
    result = invoke(checkpoint, tmp_path / "out", "--check", numbers)
    assert result.exit_code == 0, result.output
    errors = check(load_model(tmp_path / "out")[0], read_checkpoint(checkpoint)[1], numbers)
    expected = {"enc", "generated", "pred", "rec", "kl"}
    expected |= set() if SWITCHES[switch].get("one_step_loss") is False else {"prior_pred", "target_guided"}
    assert set(errors) == expected
    assert max(errors.values()) < 1e-5
    assert all(name in result.output for name in expected)


def test_the_folder_holds_plain_files_in_reference_mode(saved, tmp_path):
    checkpoint, _ = saved()
    assert invoke(checkpoint, tmp_path / "out").exit_code == 0
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    encoder = {"text_encoder/config.json", "text_encoder/model.safetensors"}
    assert files == {"config.json", "manifest.json", "model.safetensors"} | encoder
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["kind"] == "released"
    model = config["model"]
    assert (model["space"], model["stop"], model["max_frames"]) == ("flame", "none", 19)
    assert model["writes_first_frame"]
    with pytest.raises(WeightsError, match="without a tokenizer"):
        cteg.load(tmp_path / "out")


def test_imported_weights_perform_in_reference_mode(saved, bert, tmp_path):
    assert invoke(saved()[0], tmp_path / "out", *bert()).exit_code == 0
    generator = cteg.load(tmp_path / "out")
    assert generator.space == "flame"
    assert generator.read_feelings("w5") == {}
    three, two = (generator.generate("w5 w7 w9", samples=n, seed=3) for n in (3, 2))
    mean = np.linspace(-1, 1, 53, dtype=np.float32)
    for clip in three:
        assert len(clip) == 19  # whatever the norm: nothing stops it
        np.testing.assert_array_equal(clip.coefficients[0], mean)
    for one, other in zip(three, two, strict=False):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)
    assert not np.array_equal(three[0].coefficients, three[1].coefficients)


def test_the_same_weights_run_in_our_mode(saved, bert, tmp_path):
    checkpoint, _ = saved()
    assert invoke(checkpoint, tmp_path / "out", *bert(), "--mode", "ours").exit_code == 0
    generator = cteg.load(tmp_path / "out")
    config = generator.model.config
    assert (config.stop, config.stop_norm, config.max_frames, config.writes_first_frame) == ("norm", 1.0, 18, False)
    whole = generator.generate("w5 w7", samples=4, seed=3)
    assert {len(clip) for clip in whole} == {18}  # random weights know no end
    norms = [np.linalg.norm(clip.coefficients, axis=1) for clip in whole]
    threshold = float(np.median(np.concatenate(norms)))
    generator.model.config = dataclasses.replace(config, stop_norm=threshold)
    for clip, norm, before in zip(generator.generate("w5 w7", samples=4, seed=3), norms, whole, strict=True):
        quiet = np.flatnonzero(norm < threshold)
        assert len(clip) == max(1, quiet[0] if len(quiet) else 18)
        np.testing.assert_array_equal(clip.coefficients, before.coefficients[: len(clip)])


def test_what_is_missing_for_sentences_is_told(saved, bert, tmp_path):
    checkpoint, _ = saved()
    _, folder, _, mean = bert()
    result = invoke(checkpoint, tmp_path / "out", "--tokenizer", folder)
    assert result.exit_code == 2
    assert "both --tokenizer and --mean" in result.output
    result = invoke(checkpoint, tmp_path / "out", *bert(words=90))
    assert result.exit_code == 2
    assert "belongs to another BERT" in result.output
    bert()
    np.save(mean, np.zeros(52))
    assert "53 finite numbers" in invoke(checkpoint, tmp_path / "out", "--tokenizer", folder, "--mean", mean).output
    assert not (tmp_path / "out").exists()
    assert "expected reference or ours" in invoke(checkpoint, tmp_path / "out", "--mode", "other").output


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


@pytest.mark.parametrize("place", ["settings", "model", "epoch"])
def test_a_malicious_checkpoint_is_refused_and_does_nothing(place, tmp_path):
    mark, out = tmp_path / "mark", tmp_path / "out"
    torch.save(make_checkpoint() | {place: Call(os.system, f"touch {mark}")}, tmp_path / "model.chkpt")
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
    no_bert = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder")}
    refuse("holds no BERT", model=no_bert)
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
