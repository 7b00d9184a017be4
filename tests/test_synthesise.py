"""Choosing sentences, and writing and reading the corpus of performances."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cteg.errors import InputError
from tests.test_performance import take_like_facegood
from training import synthesise
from training.performance import captures, compare, select, store
from training.performance.labels import LABELS, SEVEN, SEVEN_NAMES
from training.performance.perform import perform


def test_quotas_are_even_and_cap_neutral():
    available = np.array([5000, 900, 3000, 300, 3000, 200, 9000])
    found = select.quotas(available, 7000)
    assert found.sum() == 7000
    assert (found <= available).all()
    assert found[SEVEN_NAMES.index("fear")] == 300
    assert found[SEVEN_NAMES.index("disgust")] == 200
    assert found[SEVEN_NAMES.index("neutral")] <= 0.14 * 7000


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    text, motion = tmp_path / "text", tmp_path / "motion" / "facegood"
    text.mkdir()
    motion.mkdir(parents=True)
    names = [members[0] for members in SEVEN.values()]
    for split, count in (("train", 70), ("dev", 20), ("test", 20)):
        rows = [
            {"text": f"Sentence {split} number {k} here.", "source": "xed", "labels": {names[k % 7]: 1.0}}
            for k in range(count)
        ]
        (text / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (text / "meta.json").write_text(json.dumps({"sources": {}}))
    take, channels = take_like_facegood(0)
    np.save(motion / "take.npy", take)
    (motion / "bsname.txt").write_text("\n".join(channels))
    return text, motion.parent


def test_synthesise_writes_resumes_and_reads_back(folders, tmp_path):
    out = tmp_path / "out"
    wanted = synthesise.Settings(performances=2, sentences=21, seed=5)
    counts = synthesise.synthesise(*folders, out, wanted)
    found = store.load_performances(out, "train")
    assert counts["train"]["performances"] == len(found) >= 42
    assert len(found.texts) == 21
    assert found.offsets[-1] == len(found.frames)
    assert found.label_weights.sum(axis=1) == pytest.approx(1)
    assert (found.label_weights[found.sentence, found.leading] == 1).all()
    assert 2 <= len(found.of_sentence(3)) <= 4
    shard = out / "train-000.safetensors"
    before = shard.read_bytes()
    shard.unlink()
    synthesise.synthesise(*folders, out, wanted)
    assert shard.read_bytes() == before
    with pytest.raises(InputError, match="other settings"):
        synthesise.synthesise(*folders, out, synthesise.Settings(performances=3, sentences=21, seed=5))


def test_performances_of_other_sentences_are_not_mixed_in(folders, tmp_path):
    """A corpus prepared anew gives the sentences other places, but shards name them by their place."""
    wanted = synthesise.Settings(performances=1, sentences=70, seed=5)
    synthesise.synthesise(*folders, tmp_path / "out", wanted)
    source = folders[0] / "train.jsonl"
    source.write_text(source.read_text().replace("number 3 here", "number three here"))
    before = (tmp_path / "out" / "train.jsonl").read_bytes()
    with pytest.raises(InputError, match="other sentences"):
        synthesise.synthesise(*folders, tmp_path / "out", wanted)
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == before


def test_stored_frames_differ_by_less_than_a_thousandth(folders, tmp_path):
    synthesise.synthesise(*folders, tmp_path / "out", synthesise.Settings(1, 7, 5))
    found = store.load_performances(tmp_path / "out", "train")
    text = found.texts[0]
    labels = {LABELS[k]: float(w) for k, w in enumerate(found.label_weights[0]) if w}
    again = perform(text, labels, np.random.default_rng((5, 0, 0, 0)), captures.load_bank(folders[1]))
    assert np.abs(found.clip(0) - again).max() < 1e-3


def test_command_line_reports_bad_input(folders, tmp_path):
    app = synthesise.typer.Typer()
    app.command()(synthesise.main)
    given_arguments = ["--text", str(tmp_path / "none"), "--motion", str(folders[1]), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, given_arguments)
    assert result.exit_code == 2
    assert "train.jsonl" in result.output


@pytest.mark.parametrize("content", ["{", '{"text": "a", "labels": {"glee": 1}}', '{"text": "a"}', "[1]"])
def test_damaged_sentences_are_named(tmp_path, content):
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(InputError, match="Line 1"):
        store.read_sentences(tmp_path / "train.jsonl")


@pytest.mark.parametrize(("content", "message"), [(b"", "holds no sentence"), (b"\xff\xfe", "not readable text")])
def test_files_without_sentences_are_named(tmp_path, content, message):
    (tmp_path / "train.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=rf"train\.jsonl .*{message}"):
        store.read_sentences(tmp_path / "train.jsonl")


def test_damaged_settings_are_named(folders, tmp_path):
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json is damaged"):
        synthesise.synthesise(*folders, tmp_path, synthesise.Settings(1, 7, 5))


def write_live_link_take(folder: Path, channels: list[str]) -> None:
    """A take of eight seconds: every channel swings, both lids shut for a moment every two seconds."""
    folder.mkdir(exist_ok=True)
    times = np.arange(240) / 30
    blink = np.where(times % 2 < 0.2, np.sin(np.pi * (times % 2) / 0.2), 0)
    curves = [blink if name.startswith("EyeBlink") else 0.5 + 0.5 * np.sin(2 * np.pi * times) for name in channels]
    rows = [["Timecode", "BlendshapeCount", *channels]]
    rows += [
        [f"00:00:{second:05.2f}", "61", *values] for second, values in zip(times, np.transpose(curves), strict=True)
    ]
    (folder / "take.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))


def test_performances_are_compared_with_real_takes(folders, tmp_path):
    synthesise.synthesise(*folders, tmp_path / "out", synthesise.Settings(1, 70, 5))
    channels = [*map(compare.live_link_name, compare.CHANNELS), "EyeBlinkRight"]
    write_live_link_take(folders[1] / "livelink_rom", channels)
    heading, *rows, ours, real = compare.compare(tmp_path / "out", folders[1])
    assert heading.startswith("channel")
    assert [row.split(" | ")[0].strip() for row in rows] == list(compare.CHANNELS)
    smile = rows[compare.CHANNELS.index("mouthSmileLeft")].split(" | ")[2].split()
    assert float(smile[1]) == pytest.approx(np.pi, rel=0.02)  # the greatest speed of 0.5 sin(2 pi t)
    assert float(smile[2]) == pytest.approx((2 * np.pi) ** 2, rel=0.1)  # and its jerk over its speed
    assert ours.startswith("blinks, ours")
    assert "left-right correlation 1.000" in real
    assert 20 < float(real.split()[3]) < 32  # three or four in eight seconds
    write_live_link_take(folders[1] / "livelink_rom", channels[1:])
    with pytest.raises(InputError, match=r"take\.csv .* no channel BrowInnerUp"):
        compare.compare(tmp_path / "out", folders[1])


def test_damaged_shards_are_named(folders, tmp_path):
    synthesise.synthesise(*folders, tmp_path / "out", synthesise.Settings(1, 7, 5))
    (tmp_path / "out" / "dev-000.safetensors").write_bytes(b"12345678nothing")
    with pytest.raises(InputError, match="damaged"):
        store.load_performances(tmp_path / "out", "dev")
    with pytest.raises(InputError, match="no performances of the split"):
        store.load_performances(tmp_path / "out", "other")
