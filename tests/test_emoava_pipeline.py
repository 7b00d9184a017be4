"""From EmoAva's files and a BERT to trained weights and a report, and from a released checkpoint to the same report."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from typer.testing import CliRunner

import cteg
from cteg.model.config import CTEGConfig
from tests.emoava import write_emoava
from tests.released import WORDS, make_checkpoint
from training import configs, evaluate, import_checkpoint, import_emoava, train
from training.data import TextStates
from training.performance.store import load_performances
from training.trainer import Trainer

SIZE = 24


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT as transformers writes it, with the old names of its norms; a checkpoint that holds the same; a corpus."""
    folder = tmp_path_factory.mktemp("emoava")
    checkpoint = make_checkpoint(d_model=SIZE)
    torch.save(checkpoint, folder / "model.chkpt")
    bert = checkpoint["settings"].encoder_pretrained
    (folder / "bert").mkdir()
    (folder / "bert/config.json").write_text(bert.config.to_json_string())
    tensors = {f"bert.{name}": tensor.contiguous() for name, tensor in bert.state_dict().items()}
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in tensors.items()}
    save_file(renamed, folder / "bert/model.safetensors")
    tokenizer = Tokenizer(
        WordLevel({"[PAD]": 0, "train": 1} | {f"w{i}": i for i in range(2, WORDS)}, unk_token="[PAD]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "bert/tokenizer.json"))
    write_emoava(folder / "files")
    run(import_emoava.main, folder / "files", folder / "corpus", "--bert", folder / "bert")
    return folder


def small_emoava():
    """The configuration of that name with all that is not its size."""
    config = configs.CONFIGS["emoava"]
    small = {"hidden_size": 16, "heads": 2, "feed_forward_size": 24, "latent_size": 16, "text_size": SIZE}
    model = dataclasses.replace(config.model, max_frames=18, **small)
    return dataclasses.replace(config, model=model, batch=4, steps=3)


def test_the_configuration_is_the_papers():
    config = configs.CONFIGS["emoava"]
    assert config.model == CTEGConfig.paper(space="flame", stop="norm")
    assert (config.schedule, config.learning_rate, config.warmup) == ("noam", 2.0, 4000)
    assert config.steps == pytest.approx(100 * 12_000 / config.batch, rel=0.01)
    weights = config.loss_weights
    assert (weights.kl, weights.target_guided, weights.stop, config.kl_warmup) == (1.0, 1.0, 0.0, 0)


def test_clips_start_from_the_mean_and_end_with_a_zero_frame(folder):
    data = load_performances(folder / "corpus", "train")
    states = TextStates(torch.empty(0, SIZE), torch.zeros(1))  # nothing is read here
    trainer = Trainer(small_emoava(), data, states, seed=0)
    np.testing.assert_allclose(trainer.model.first_frame, data.frames.mean(0), atol=1e-6)
    assert (trainer.model.coefficient_scale == 1).all()  # losses in the units of the data
    for index in range(len(data)):
        whole, trained = data.clip(index), trainer.clip(data, index)
        assert len(trained) == min(len(whole) + 1, 18)
        np.testing.assert_array_equal(trained[: len(whole)], whole[:18])
        assert (trained[len(whole) :] == 0).all()
    with pytest.raises(cteg.InputError, match="space 'flame'"):
        Trainer(configs.CONFIGS["tiny"], data, states, seed=0)


def report(folder, weights, *more):
    run(
        evaluate.main,
        *("--weights", weights, "--performances", folder / "corpus", "--out", folder / "docs"),
        *("--per-group", 1, "--samples", 2, "--draws", 4, *more),
    )
    return json.loads((folder / "docs/results.json").read_text()), (folder / "docs/results.md").read_text()


def test_training_and_evaluation_run_on_it(folder, monkeypatch):
    monkeypatch.setitem(configs.CONFIGS, "emoava", small_emoava())
    encoder = folder / "corpus/text_encoder"
    run(
        train.main,
        "--config",
        "emoava",
        "--performances",
        folder / "corpus",
        "--encoder",
        encoder,
        "--out",
        folder / "run",
    )
    clip = cteg.load(folder / "run/weights").generate("w5 w6", samples=1)[0]
    assert clip.space == "flame"
    results, page = report(folder, folder / "run/weights")
    assert results["text_reading"] is None
    assert "fit" not in results["systems"][results["main"]]
    assert "no labels of feelings" in page
    cppl = results["systems"][results["main"]]["cppl"]["value"]
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in page.splitlines() if line.count("|") == 4}
    assert float(rows["CPPL ↓"][0]) == 262
    assert rows["CPPL ↓"][1].strip() != ""
    assert cppl > 1
    assert [cell.strip() for cell in rows["CPPL ↓, without target-guided loss"]] == ["646", ""]
    assert [cell.strip() for cell in rows["latent clusters, without EwA"]] == ["113", ""]
    with pytest.raises(AssertionError, match="leave --classifier out"):
        report(folder, folder / "run/weights", "--classifier", folder / "any")


def test_a_released_checkpoint_is_judged_by_the_same_figures(folder):
    arguments = ("--tokenizer", folder / "bert", "--mean", folder / "files/stage1_mean.npy")
    run(import_checkpoint.main, folder / "model.chkpt", folder / "released", *arguments)
    results, page = report(folder, folder / "released")
    main = results["systems"][results["main"]]
    assert main["stride"]["value"] == 1
    assert {"cppl", "multimodality", "jerk", "length"} <= main.keys()
    assert "diversity" not in main  # it was never trained without a text
    assert main["length"]["value"] == 19
    assert results["clusters"][results["main"]] > 1
    assert "| CPPL ↓ | 262 |" in page
