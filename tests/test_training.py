"""The training pipeline on a tiny corpus of our own, through the real entry points."""

import csv
import dataclasses
import json
import pickle
import re

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner

import cteg
from cteg.checkpoint import load_pretrained, load_text_encoder, save_pretrained, write_manifest
from tests.models import TEXT_SIZE, small_encoder, small_model
from training import (
    ablate,
    baselines,
    evaluate,
    evaluate_text,
    motion_classifier,
    prepare,
    refit_prior,
    synthesise,
    text_encoder,
    train,
    trainer,
)
from training.common import bucket_batches, load_checkpoint, save_checkpoint
from training.configs import CONFIGS, TrainConfig, get_config
from training.data import cached_text_states, pad_clips
from training.performance.labels import LABEL_INDEX, LABELS, SEVEN
from training.performance.perform import mirrored
from training.performance.store import write_shard
from training.performance.table import TABLES, pairs, read_table

SENTENCES = {
    "joy": ["This is wonderful news", "I love this so much", "We won the game today", "What a happy day this is"],
    "sadness": [
        "I miss her every day",
        "He is gone and I am alone",
        "I lost everything I had",
        "It hurts to think of it",
    ],
    "anger": ["Stop lying to me", "This makes me so mad", "Get out of my house", "You broke it again"],
    "fear": ["I think someone is in the house", "Please do not leave me here", "I am scared", "It is so dark in there"],
    "surprise": [
        "I did not see that coming",
        "You are back already",
        "How is this possible",
        "Really, him of all people",
    ],
    "disgust": ["That smells awful", "This food is rotten", "I cannot look at it", "There is hair in my soup"],
    "neutral": ["The train leaves at noon", "It is a box", "He works in an office", "The door is on the left"],
}


def run(module, *arguments):
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def write_goemotions(folder):
    folder.mkdir()
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    for split, numbers in (("train", range(4)), ("dev", (4, 5)), ("test", (6, 7))):
        with (folder / f"{split}.tsv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t")
            for name, sentences in SENTENCES.items():
                for number in numbers:
                    text = sentences[number % 4] + ("." if number < 4 else f", he said {number} times.")
                    writer.writerow([text, LABEL_INDEX[name], f"{split}{name}{number}"])


def write_xed(folder):
    folder.mkdir()
    lines = [f"{text} , you know .\t{number}" for number, text in enumerate(SENTENCES["fear"], 1)]
    (folder / "en-annotated.tsv").write_text("\n".join(lines) + "\n")
    (folder / "neu_en.txt").write_text("\n".join(f"9\t{text} as always." for text in SENTENCES["neutral"]) + "\n")


def write_own(path):
    rows = [f"{text}, or so I heard\t{name}" for name, texts in SENTENCES.items() for text in texts]
    path.write_text("\n".join(["text\tlabels", *rows]) + "\n")


def write_backbone(folder):
    folder.mkdir()
    encoder = small_encoder()
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(encoder.backbone.config)))
    encoder.tokenizer.save(str(folder / "tokenizer.json"))
    save_file(encoder.backbone.state_dict(), folder / "model.safetensors")


def write_captures(folder):
    """A take in the layout of the real captures: every channel swings at a syllable's pace."""
    folder.mkdir()
    names = sorted({name for row in read_table(TABLES / "facegood_channels.tsv") for name in pairs(row["sources"])})
    (folder / "bsname.txt").write_text("\n".join(names) + "\n")
    phase = np.linspace(0, 2, len(names)) + 2 * np.pi * 4 * np.arange(900)[:, None] / 30
    np.save(folder / "take.npy", 0.35 * (1 - np.cos(phase)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    write_captures(folder / "motion")
    write_goemotions(folder / "goemotions")
    write_xed(folder / "xed")
    write_backbone(folder / "backbone")
    write_own(folder / "own.tsv")
    sources = ("--goemotions", folder / "goemotions", "--xed", folder / "xed", "--own", folder / "own.tsv")
    run(prepare, *sources, "--out", folder / "text")
    encoder = ("--text", folder / "text", "--backbone", folder / "backbone", "--out", folder / "encoder")
    run(text_encoder, *encoder, "--epochs", 1, "--batch", 8)
    performances = ("--text", folder / "text", "--motion", folder / "motion", "--out", folder / "performances")
    run(synthesise, *performances, "--performances", 2, "--sentences", 20, "--seed", 1)
    made = ("--performances", folder / "performances", "--out", folder / "judge/classifier.safetensors")
    run(motion_classifier, *made, "--epochs", 2)
    return folder


def train_arguments(corpus, out):
    return (
        *("--performances", corpus / "performances", "--encoder", corpus / "encoder/text_encoder"),
        *("--out", out, "--config", "tiny", "--log-every", 1),
    )


def test_pipeline_ends_in_weights_that_load_and_perform(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", with_text_size(CONFIGS["tiny"]))
    out = tmp_path / "run"
    judged = ("--classifier", corpus / "judge/classifier.safetensors", "--judge-every", 3)
    run(train, *train_arguments(corpus, out), *judged)
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3]
    assert all(np.isfinite(list(record.values())).all() for record in records)
    assert records[-1]["reference_fit"] > 0
    clips = cteg.load(out / "weights").generate("I love it", samples=2)
    assert len(clips) == 2
    assert clips[0].weights == "run"
    made = ("--performances", corpus / "performances", "--out", tmp_path / "refitted", "--name", "refitted")
    printed = run(refit_prior, "--weights", out / "weights", *made, "--epochs", 3)
    assert "held-out nats per clip" in printed.splitlines()[-1]
    assert cteg.load(tmp_path / "refitted").generate("I love it", samples=1)[0].weights == "refitted"
    listener = ("--encoder", corpus / "encoder/text_encoder", "--out", tmp_path / "listener", "--config", "tiny")
    run(baselines, "--performances", corpus / "performances", *listener)
    shared = ("--performances", corpus / "performances", "--classifier", corpus / "judge/classifier.safetensors")
    systems = ("--lm-listener", tmp_path / "listener", "--deterministic", out / "weights", "--also", out / "weights")
    small = ("--per-group", 1, "--samples", 2, "--draws", 4, "--out", tmp_path / "docs")
    run(evaluate, "--weights", out / "weights", *shared, *systems, *small)
    results = json.loads((tmp_path / "docs/results.json").read_text())
    assert results["weights"] == "run"
    expected = "reference, labels, other words, what the text encoder reads, CTEG, run, deterministic transformer, "
    expected += "LM-Listener, nearest text, random clip, shuffled frames, mean face, copy-last, 1 frame"
    page = (tmp_path / "docs/results.md").read_text()
    assert all(f"| {name}" in page for name in re.split(", (?!other|1)", expected))
    assert str(tmp_path) not in page
    drawn = {path.name for path in (tmp_path / "docs/figures").iterdir()}
    assert drawn == {f"results_{name}.png" for name in ("temperature", "spectrum", "lengths")}


def test_systems_that_know_another_text_encoder_are_refused(corpus, tmp_path):
    encoder = small_encoder()
    model = small_model(text_size=encoder.size)
    for name, seed in (("a", 0), ("b", 1)):
        torch.manual_seed(seed)
        encoder.label_head.weight.data.normal_()
        save_pretrained(model, encoder, tmp_path / name, name)
    shared = ("--performances", corpus / "performances", "--classifier", corpus / "judge/classifier.safetensors")
    with pytest.raises(AssertionError, match="another text encoder"):
        run(evaluate, "--weights", tmp_path / "a", *shared, "--out", tmp_path, "--also", tmp_path / "b")


@pytest.fixture
def flame_corpus(tmp_path):
    """Six clips of the flame space in every split, two of a sentence, without feelings."""
    folder = tmp_path / "flame"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        clips = [np.full((12, 53), index, dtype=np.float32) for index in range(6)]
        write_shard(folder / f"{split}-000.safetensors", clips, [(index // 2,) for index in range(6)], "flame")
        lines = (json.dumps({"text": f"{split} {index}"}) for index in range(3))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


def refused(module, *arguments):
    """What a command says when it ends with exit code 2."""
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output + repr(result.exception)
    return " ".join(result.output.replace("│", " ").split())


def test_bad_input_is_told_in_one_sentence(corpus, flame_corpus, tmp_path):
    encoder = ("--encoder", corpus / "encoder/text_encoder")
    baseline = ("--config", "tiny", "--out", tmp_path / "out")
    performances = ("--performances", corpus / "performances")
    said = refused(baselines, *performances, "--encoder", tmp_path, *baseline)
    assert f"There is no text encoder in {tmp_path}: it lacks model.safetensors." in said
    said = refused(baselines, "--performances", flame_corpus, *encoder, *baseline)
    assert "of the space 'flame', expected 'open'" in said
    said = refused(motion_classifier, "--performances", flame_corpus, "--out", tmp_path / "classifier.safetensors")
    assert "no labels of feelings" in said
    assert "log-every" in refused(baselines, *performances, *encoder, *baseline, "--log-every", 0)
    weights = save_pretrained(small_model(text_size=TEXT_SIZE), small_encoder(), tmp_path / "weights", "small")
    said = refused(refit_prior, "--weights", weights, "--performances", flame_corpus, "--out", tmp_path / "refitted")
    assert "expected 'open'" in said
    (tmp_path / "no-weights").mkdir()
    also = ("--out", tmp_path / "docs", "--also", tmp_path / "no-weights")
    assert "manifest.json" in refused(evaluate, "--weights", weights, *performances, *also)


def test_a_damaged_cache_of_states_is_named(corpus, tmp_path):
    encoder = corpus / "encoder/text_encoder"
    states, _ = cached_text_states(["I love it", "no"], encoder, tmp_path).batch([0, 1])
    (cache,) = tmp_path.glob("text_states_*.safetensors")
    again, _ = cached_text_states(["I love it", "no"], encoder, tmp_path).batch([0, 1])
    assert torch.equal(states, again)
    cache.write_bytes(b"123")
    with pytest.raises(cteg.InputError, match=f"{cache.name} is damaged; remove it"):
        cached_text_states(["I love it", "no"], encoder, tmp_path)


def test_a_resumed_baseline_follows_the_unbroken_one(corpus, tmp_path, monkeypatch):
    arguments = ("--performances", corpus / "performances", "--encoder", corpus / "encoder/text_encoder")
    arguments += ("--config", "tiny", "--log-every", 1)
    run(baselines, *arguments, "--out", tmp_path / "whole")

    class KilledError(Exception):
        pass

    for stage in (baselines.MotionStage, baselines.LanguageStage):
        losses = stage.losses

        def losses_then_die(self, step, rng, losses=losses):
            if step == 2:
                raise KilledError
            return losses(self, step, rng)

        monkeypatch.setattr(stage, "losses", losses_then_die)
        with pytest.raises(AssertionError, match="KilledError"):
            run(baselines, *arguments, "--save-every", 1, "--out", tmp_path / "cut")
        monkeypatch.setattr(stage, "losses", losses)
    run(baselines, *arguments, "--save-every", 1, "--out", tmp_path / "cut")
    logs = [
        [json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in ("whole", "cut")
    ]
    assert len(logs[0]) == 8
    for whole, cut in zip(*logs, strict=True):
        assert whole.pop("stage") == cut.pop("stage")
        assert whole == pytest.approx(cut, rel=1e-4)
    with pytest.raises(AssertionError, match="another configuration"):
        run(baselines, *arguments, "--out", tmp_path / "cut", "--seed", 1)


def test_ablations_train_what_is_missing_and_keep_what_is_there(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", with_text_size(CONFIGS["tiny"]))
    arguments = (
        *("--performances", corpus / "performances", "--encoder", corpus / "encoder/text_encoder"),
        *(
            "--classifier",
            corpus / "judge/classifier.safetensors",
            "--runs",
            tmp_path / "runs",
            "--out",
            tmp_path / "docs",
        ),
        *("--config", "tiny", "--steps", 2, "--per-group", 1, "--samples", 2, "--draws", 4),
    )
    trained = []
    train_on = ablate.run
    monkeypatch.setattr(
        ablate, "run", lambda *args, **kwargs: trained.append(args[4].name) or train_on(*args, **kwargs)
    )
    noisy, unguided = ("--only", "output noise 0.5"), ("--only", "no target-guided loss")
    run(ablate, *arguments, *noisy)
    assert trained == ["base"]  # noise is added to the base's own weights
    run(ablate, *arguments, "--only", "base", *unguided, *noisy)
    assert trained == ["base", "no_target_guided_loss"]
    results = json.loads((tmp_path / "docs/ablations.json").read_text())
    assert list(results["variants"]) == ["base", "no target-guided loss", "output noise 0.5"]
    assert len(results["variants"]["base"]["divergence"]) == 2
    jerk = {name: variant["figures"]["jerk"]["value"] for name, variant in results["variants"].items()}
    assert jerk["output noise 0.5"] > jerk["base"]
    drawn = {path.name for path in (tmp_path / "docs/figures").iterdir()}
    assert drawn == {"ablations_variants.png", "ablations_divergence.png"}
    assert "| output noise 0.5 |" in (tmp_path / "docs/ablations.md").read_text()
    with pytest.raises(AssertionError, match="made with other settings"):
        run(ablate, *arguments, *noisy, "--seed", 5)
    with pytest.raises(AssertionError, match="There is no variant 'nothing'"):
        run(ablate, *arguments, "--only", "nothing")


def with_text_size(config: TrainConfig) -> TrainConfig:
    """The tiny configuration, for the tiny encoder of these tests."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, text_size=24))


def test_a_resumed_run_follows_the_unbroken_one(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", with_text_size(CONFIGS["tiny"]))
    run(train, *train_arguments(corpus, tmp_path / "whole"), "--judge-every", 2)

    class KilledError(Exception):
        pass

    advance = train.Trainer.advance

    def advance_then_die(trainer, batch, rng):
        if trainer.step == 2:
            raise KilledError
        return advance(trainer, batch, rng)

    monkeypatch.setattr(train.Trainer, "advance", advance_then_die)
    with pytest.raises(AssertionError, match="KilledError"):
        run(train, *train_arguments(corpus, tmp_path / "cut"), "--judge-every", 2)
    monkeypatch.setattr(train.Trainer, "advance", advance)
    run(train, *train_arguments(corpus, tmp_path / "cut"), "--judge-every", 2)
    last = [json.loads((tmp_path / n / "log.jsonl").read_text().splitlines()[-1]) for n in ("whole", "cut")]
    assert last[0] == pytest.approx(last[1], rel=1e-5)


def test_training_can_start_from_weights(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", with_text_size(CONFIGS["tiny"]))
    run(train, *train_arguments(corpus, tmp_path / "first"))
    weights = tmp_path / "first" / "weights"
    path = weights / "config.json"
    described = json.loads(path.read_text())
    described["model"]["amplitude"] = 1.2
    path.write_text(json.dumps(described))
    write_manifest(weights)
    first = load_pretrained(weights)[0]
    seen = []
    monkeypatch.setattr(train, "run", lambda trainer, *_: seen.append(trainer))
    run(train, *train_arguments(corpus, tmp_path / "second"), "--start", weights, "--seed", 5)
    (trainer,) = seen
    assert trainer.config.model.amplitude == 1.2
    assert trainer.config.kl_warmup == 0
    assert trainer.step == 0
    for model in (trainer.model, trainer.average):
        for name, value in first.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name


def test_states_of_another_size_are_refused(corpus, tmp_path):
    with pytest.raises(AssertionError, match="The text encoder writes states of 24, the model reads 384"):
        run(train, *train_arguments(corpus, tmp_path / "run"))


def test_another_configuration_does_not_continue_a_run(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(CONFIGS, "tiny", with_text_size(CONFIGS["tiny"]))
    run(train, *train_arguments(corpus, tmp_path / "a"))
    with pytest.raises(AssertionError, match="another configuration"):
        run(train, *train_arguments(corpus, tmp_path / "a"), "--steps", 9)


def test_an_unknown_configuration_names_the_known_ones():
    with pytest.raises(cteg.InputError, match=r"small, paper, .*tiny"):
        get_config("huge")


def test_mirroring_swaps_sides_and_turns_the_jaw():
    clip = np.zeros((2, 53), dtype=np.float32)
    clip[:, cteg.layout.INDEX["mouthSmileLeft"]] = 0.7
    clip[:, cteg.layout.INDEX["jawTurn"]], clip[:, cteg.layout.INDEX["jawOpen"]] = 0.1, 0.2
    other = mirrored(clip)
    assert other[0, cteg.layout.INDEX["mouthSmileRight"]] == np.float32(0.7)
    assert other[0, cteg.layout.INDEX["mouthSmileLeft"]] == 0
    assert other[0, 50:].tolist() == pytest.approx([0.2, -0.1, 0])
    np.testing.assert_array_equal(mirrored(other), clip)


def test_padding_repeats_the_last_frame():
    clips = [np.full((3, 53), 1.0), np.full((7, 53), 2.0)]
    clips[0][-1] = 5
    frames, valid = pad_clips(clips, 5)
    assert frames.shape == (2, 10, 53)
    assert valid.sum(1).tolist() == [3, 7]
    assert (frames[0, 3:] == 5).all()


def test_buckets_hold_every_item_once_and_similar_lengths():
    import random

    lengths = [random.Random(i).randrange(1, 200) for i in range(1000)]
    batches = list(bucket_batches(lengths, list(range(1000)), 20, random.Random(0)))
    assert sorted(i for batch in batches for i in batch) == list(range(1000))
    assert np.mean([np.ptp([lengths[i] for i in batch]) for batch in batches]) < 10


def test_a_checkpoint_comes_back_whole(tmp_path):
    shared = torch.randn(3)
    state = {"step": 7, "nested": {0: {"average": shared, "rate": 1e-4}, "names": ["a", None, True]}, "model": shared}
    save_checkpoint(tmp_path / "c.safetensors", state)
    back = load_checkpoint(tmp_path / "c.safetensors")
    torch.testing.assert_close(back["nested"][0].pop("average"), shared)
    torch.testing.assert_close(back.pop("model"), shared)
    assert back == {"step": 7, "nested": {0: {"rate": 1e-4}, "names": ["a", None, True]}}
    assert load_checkpoint(tmp_path / "absent") is None


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "c.safetensors").write_bytes(pickle.dumps({"step": 1}))
    with pytest.raises(cteg.InputError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.safetensors")


@pytest.mark.parametrize("step", [1, 100, 4000, 8000])
def test_noam_rate_is_the_papers(step):
    config = CONFIGS["paper"]
    expected = 2.0 * 768**-0.5 * min(step**-0.5, step * 4000**-1.5)
    assert trainer.learning_rate(config, step) == pytest.approx(expected)


def test_balanced_order_lifts_rare_labels():
    targets = torch.zeros(1000, len(LABELS))
    targets[:990, 27], targets[990:, 14] = 1, 1
    draws = np.ones(1000)
    order = text_encoder.balanced_order(targets, draws, 1.0, np.random.default_rng(0))
    assert 0.4 < np.mean(np.array(order) >= 990) < 0.6
    draws[0] = 1000  # one sentence a thousand times as often
    order = text_encoder.balanced_order(targets, draws, 0.0, np.random.default_rng(0))
    assert 0.4 < np.mean(np.array(order) == 0) < 0.6


def test_label_loss_is_cross_entropy_over_labels_and_groups():
    targets = torch.zeros(2, len(LABELS))
    targets[0, LABEL_INDEX["anger"]] = targets[1, LABEL_INDEX["joy"]] = 1
    logits = torch.randn(2, len(LABELS), generator=torch.Generator().manual_seed(0))
    probability = torch.softmax(logits, -1)
    angry = probability[0, [LABEL_INDEX[name] for name in SEVEN["anger"]]].sum()
    expected = -probability[0, LABEL_INDEX["anger"]].log() - text_encoder.GROUP_WEIGHT * angry.log()
    torch.testing.assert_close(text_encoder.label_loss(logits, targets)[0], expected)


def test_a_text_encoder_can_be_taught_further(corpus, tmp_path):
    text = ("--text", corpus / "text", "--batch", 8, "--epochs", 1, "--out", tmp_path / "encoder")
    begun = corpus / "encoder/text_encoder"
    run(text_encoder, *text, "--start", begun)
    assert json.loads((tmp_path / "encoder/settings.json").read_text())["learning_rate"] == 7.5e-5
    run(text_encoder, *text[:-1], tmp_path / "far", "--start", begun, "--learning-rate", 0.5)
    folders = (begun, tmp_path / "encoder/text_encoder", tmp_path / "far/text_encoder")
    before, near, far = (load_text_encoder(f).encode(["I am scared"]).label_probabilities for f in folders)
    torch.testing.assert_close(near, before, atol=2e-3, rtol=0)
    assert (far - before).abs().max() > 0.01
    assert "either" in refused(text_encoder, *text, "--start", begun, "--backbone", corpus / "backbone")
    assert "either" in refused(text_encoder, *text)


def test_meld_is_read_and_scored(corpus, tmp_path):
    path = tmp_path / "meld.csv"
    path.write_text('Sr No.,Utterance,Emotion\n1,"Oh, no!",fear\n2,It\x92s noon.,neutral\n', encoding="utf-8")
    assert evaluate_text.read_meld(path) == [("Oh, no!", 3), ("It's noon.", 6)]
    out = tmp_path / "new" / "figures.json"
    run(evaluate_text, "--encoder", corpus / "encoder/text_encoder", "--text", corpus / "text", "--meld", path,
        "--out", out)  # fmt: skip
    figures = json.loads(out.read_text())
    assert figures["meld_always_neutral_f1"] == pytest.approx(0.5 * 2 / 3)
    assert 0 <= figures["own_sentences_read_7"] <= 1
    path.write_text("a,b\n1,2\n")
    with pytest.raises(cteg.InputError, match="not a MELD file"):
        evaluate_text.read_meld(path)


def test_weighted_f1_is_scikit_learns():
    guess, truth = np.array([0, 0, 1, 2, 2, 1]), np.array([0, 1, 1, 2, 0, 1])
    # class 0: 2 * 1 / (2 + 2), class 1: 2 * 2 / (2 + 3), class 2: 2 * 1 / (2 + 1); supports 2, 3, 1
    assert evaluate_text.weighted_f1(guess, truth, 3) == pytest.approx((2 * 0.5 + 3 * 0.8 + 1 * 2 / 3) / 6)
