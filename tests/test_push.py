"""Weights go to the Hub and come back by their id, through the real client and over HTTP."""

import numpy as np
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from cteg.checkpoint import save_pretrained
from cteg.errors import WeightsError
from cteg.generator import load
from tests.model_hub import FakeModelHub
from tests.models import small_encoder, small_model
from training import push

TOKEN = "hf_secret_token"
SENTENCE = "I love it so much !"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    running = FakeModelHub(TOKEN)
    for name, value in {
        "ENDPOINT": running.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants", constants)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield running
    running.close()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_pretrained(small_model(), small_encoder(), tmp_path_factory.mktemp("weights"), "small-test")


def run(*arguments) -> tuple[int, str]:
    import typer

    app = typer.Typer()
    app.command()(push.main)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_pushed_weights_are_loaded_by_their_id_and_perform_the_same(hub, weights):
    code, output = run(weights, "owner/small-test")
    assert code == 0, output
    assert "/commit/" in output
    sent = {path: content for path, content in hub.files["owner/small-test"].items() if path[0] != "."}
    assert sent == {str(path.relative_to(weights)): path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    fetched = load("owner/small-test").generate(SENTENCE, samples=2, seed=7)
    for ours, theirs in zip(load(weights).generate(SENTENCE, samples=2, seed=7), fetched, strict=True):
        assert np.array_equal(ours.coefficients, theirs.coefficients)


def test_weights_that_were_changed_on_the_hub_are_refused(hub, weights):
    assert run(weights, "owner/changed")[0] == 0
    content = bytearray(hub.files["owner/changed"]["model.safetensors"])
    content[-1] ^= 1
    hub.files["owner/changed"]["model.safetensors"] = bytes(content)
    with pytest.raises(WeightsError, match="changed or damaged"):
        load("owner/changed")


def test_refusals_are_one_sentence_without_the_token(hub, weights, tmp_path, monkeypatch):
    assert "form owner/name" in run(weights, "no-owner")[1]
    assert "no weights folder" in run(tmp_path / "nothing", "owner/name")[1]
    (tmp_path / "empty").mkdir()
    assert "manifest.json" in run(tmp_path / "empty", "owner/name")[1]
    monkeypatch.setenv("HF_TOKEN", "hf_another_token")
    code, output = run(weights, "owner/name")
    assert (code, "status 401" in output, "hf_another_token" in output) == (2, True, False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, output = run(weights, "owner/name")
    assert (code, "could not be reached" in output) == (2, True)
    with pytest.raises(WeightsError, match="could not be fetched"):
        load("owner/nothing-there")
