"""Weight files: what is written is read, and what was damaged is refused with the cause."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from cteg.checkpoint import (
    BUNDLED,
    check_manifest,
    compress_tensors,
    expand_tensors,
    load_pretrained,
    push_to_hub,
    save_pretrained,
    sha256,
    write_manifest,
)
from cteg.errors import WeightsError
from cteg.generator import Generator, load
from tests.models import small_encoder, small_model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return save_pretrained(small_model(), small_encoder(), folder, "small-test")


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def resign(folder):
    """Make the manifest true again, so that the check behind it is reached."""
    write_manifest(folder)


def test_round_trip(written):
    model, encoder, name = load_pretrained(written)
    assert name == "small-test"
    assert encoder.labels == ("joy", "anger", "neutral")
    for key, value in small_model().state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value.half().float())
    ours, theirs = small_encoder().encode(["I love it !"]), encoder.encode(["I love it !"])
    torch.testing.assert_close(theirs.states, ours.states, atol=0.05, rtol=0)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_8_bit_rows_lose_at_most_half_a_step():
    matrix = torch.randn(64, 100) * torch.logspace(-3, 2, 64)[:, None]
    matrix[5] = 0
    restored = expand_tensors(compress_tensors({"w": matrix}, as_8_bit=True))["w"]
    step = matrix.abs().amax(1, keepdim=True) / 127
    assert ((restored - matrix).abs() <= step / 2 + 1e-6).all()


def test_generator_from_a_folder(written):
    generator = load(written)
    four = generator.generate("I love it so much !", samples=4, temperature=1.0, seed=7)
    two = generator.generate("  I love it so much ! ", samples=2, temperature=1.0, seed=7)
    assert [clip.seed for clip in four] == [7, 8, 9, 10]
    for one, other in zip(four, two, strict=False):
        assert (one.coefficients == other.coefficients).all()
    assert (four[0].text, four[0].weights, four[0].space, four[0].fps) == (
        "I love it so much !",
        "small-test",
        "open",
        25,
    )
    assert sum(generator.read_feelings("no").values()) == pytest.approx(1)
    assert len({clip.coefficients.tobytes() for clip in four}) == 4


def test_padding_does_not_change_a_sentences_states():
    encoder = small_encoder()
    alone = encoder.encode(["we love it"])
    together = encoder.encode(["we love it", "i hate this so much , not happy !"])
    tokens = alone.states.shape[1]
    torch.testing.assert_close(together.states[:1, :tokens], alone.states, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.label_probabilities[:1], alone.label_probabilities, atol=1e-5, rtol=0)
    assert together.mask.sum(1).tolist() == [tokens, 11]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "text_encoder/tokenizer.json", "manifest.json"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "text_encoder/model.safetensors"])
def test_one_flipped_bit_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(WeightsError, match="changed or damaged"):
        load_pretrained(folder)


def test_a_truncated_file_is_refused_even_if_signed(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    resign(folder)
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing, damaged or not"):
        load_pretrained(folder)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


def test_a_pickle_in_disguise_runs_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    resign(folder)
    with pytest.raises(WeightsError, match="damaged"):
        load_pretrained(folder)
    assert not (tmp_path / "trap-was-sprung").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"embed.bias": torch.full_like(t["embed.bias"], float("nan"))}), "NaN or infinity"),
        (lambda t: t.update({"embed.bias": torch.zeros(3)}), "does not fit"),
        (lambda t: t.pop("embed.bias"), "does not fit"),
        (lambda t: t.update({"extra": torch.zeros(3)}), "does not fit"),
    ],
    ids=["nan", "shape", "missing", "extra"],
)
def test_wrong_tensors_are_refused(folder, change, message):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    resign(folder)
    with pytest.raises(WeightsError, match=message):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"model": {"beam_width": 3}}, "beam_width"),
        ({"model": "big"}, "does not describe"),
    ],
    ids=["format", "unknown", "kind"],
)
def test_wrong_configurations_are_refused(folder, change, message):
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    resign(folder)
    with pytest.raises(WeightsError, match=message):
        load_pretrained(folder)


def test_a_manifest_cannot_point_outside(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["../secret"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="missing"):
        check_manifest(folder)


@pytest.mark.parametrize("source", ["nowhere", "/not/here", "a/b/c", "../x"])
def test_an_unknown_source_is_refused_without_a_network(source):
    with pytest.raises(WeightsError, match="no weights folder"):
        load_pretrained(source)


def test_from_the_hub(written, monkeypatch):
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(written)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert isinstance(load("someone/cteg-small"), Generator)
    assert asked == [("someone/cteg-small", ["*.json", "*.safetensors"])]


def test_hub_failure_is_one_sentence(monkeypatch):
    def snapshot_download(repository, allow_patterns):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(WeightsError, match="could not be fetched"):
        load("someone/cteg-small")


def test_push_to_hub(written, monkeypatch):
    calls = []

    class FakeApi:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, repository, exist_ok):
            calls.append(("create", repository, exist_ok))

        def upload_folder(self, repo_id, folder_path):
            calls.append(("upload", repo_id, folder_path))
            return type("Commit", (), {"commit_url": "address"})()

    monkeypatch.setattr("huggingface_hub.HfApi", FakeApi)
    assert push_to_hub(written, "me/mine", "secret") == "address"
    assert calls == [("token", "secret"), ("create", "me/mine", True), ("upload", "me/mine", str(written))]


def test_bundled_weights_are_whole_and_small():
    model, encoder, name = load_pretrained(BUNDLED)
    assert name == "cteg-open"
    assert model.config.space == "open"
    assert len(encoder.labels) == 28
    listed = json.loads((BUNDLED.parent / "manifest.json").read_text())["sha256"]
    files = [path for path in BUNDLED.parent.rglob("*") if path.is_file()]
    heads_and_weights = [path for path in files if path.suffix == ".safetensors"]
    assert {path.relative_to(BUNDLED.parent).as_posix() for path in heads_and_weights} <= listed.keys()
    assert all(sha256(BUNDLED.parent / name) == digest for name, digest in listed.items())
    assert sum(path.stat().st_size for path in files) < 60e6
