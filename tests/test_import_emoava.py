"""EmoAva's files: whole ones become a corpus, others are told, and nothing of a pickle runs."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.emoava import SIZES, write_emoava
from tests.malice import Call
from training.import_emoava import PUBLISHED, main
from training.performance.store import load_performances

app = typer.Typer()
app.command()(main)


def run(folder, out):
    result = CliRunner().invoke(app, [str(folder), str(out)])
    return result.exit_code, result.output


def refused(folder, out):
    code, said = run(folder, out)
    assert code == 2, said
    assert not list(out.glob("*.safetensors"))
    return " ".join(said.split())


@pytest.fixture
def emoava(tmp_path):
    return lambda protocol=4, dtype=np.float64: write_emoava(tmp_path / "emoava", protocol, dtype)


@pytest.mark.parametrize(("protocol", "dtype"), [(0, np.float64), (2, np.float32), (4, np.float64)])
def test_the_corpus_holds_what_the_files_hold(protocol, dtype, emoava, tmp_path):
    folder, out = emoava(protocol, dtype), tmp_path / "out"
    code, said = run(folder, out)
    assert code == 0, said
    for split, size in SIZES.items():
        texts, clips = (pickle.loads((folder / f"{split}_stage1_{kind}.pkl").read_bytes()) for kind in ("text", "exps"))
        found = load_performances(out, split)
        assert (len(found), found.space, found.has_feelings) == (size, "flame", False)
        assert found.label_weights is None
        assert found.frames.dtype == np.float32
        for index in range(size):
            np.testing.assert_array_equal(found.clip(index), clips[index].astype(np.float32))
            assert found.texts[found.sentence[index]] == texts[index]
        assert len(found.texts) == len(set(texts)) < size
    counts = json.loads((out / "meta.json").read_text())["counts"]
    assert counts["train"]["performances"] == 12
    assert all(name in said for name in PUBLISHED)
    assert "782,471" in said  # the published column
    assert "holds a corpus already" in run(folder, out)[1]


def test_the_table_counts(emoava, tmp_path):
    folder = emoava()
    lengths = [
        len(clip) for split in SIZES for clip in pickle.loads((folder / f"{split}_stage1_exps.pkl").read_bytes())
    ]
    _, said = run(folder, tmp_path / "out")
    rows = {line[:28].strip(): line[28:].split() for line in said.splitlines()}
    assert rows["clips, train"] == ["12", "12,000"]
    assert rows["frames"] == [str(sum(lengths)), "782,471"]
    assert rows["frames of a clip, most"] == [str(max(lengths)), "551"]
    assert rows["texts with several clips"] == ["6", "2,270"]  # 3 of train, 1 of dev, 2 of test
    assert rows["clips of one text, most"] == ["2", "76"]
    assert rows["words of a text, median"] == ["4", "6"]


def test_bytes_of_python_2_become_text(emoava, tmp_path):
    """A Python 2 list of byte strings in UTF-8, written by hand as protocol 0."""
    folder = emoava()
    raw = b"(lp0\n" + b"".join(b"S'na\\xc3\\xafve %d'\np%d\na" % (index, index + 1) for index in range(8)) + b"."
    (folder / "test_stage1_text.pkl").write_bytes(raw)
    assert run(folder, tmp_path / "out")[0] == 0
    assert load_performances(tmp_path / "out", "test").texts[:2] == ["naïve 0", "naïve 1"]


@pytest.mark.parametrize("name", ["dev_stage1_text.pkl", "train_stage1_exps.pkl", "stage1_mean.npy", "stage1_std.npy"])
def test_missing_and_truncated_files_are_told(name, emoava, tmp_path):
    folder = emoava()
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert name in refused(folder, tmp_path / "out")
    (folder / name).unlink()
    assert f"lacks {name}" in refused(folder, tmp_path / "out")


def swap(folder, first, second):
    one, other = (folder / first).read_bytes(), (folder / second).read_bytes()
    (folder / first).write_bytes(other)
    (folder / second).write_bytes(one)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("dev_stage1_text.pkl", "dev_stage1_exps.pkl", "swapped with dev_stage1_exps.pkl"),
        ("dev_stage1_text.pkl", "test_stage1_text.pkl", "must be pairs"),
        ("stage1_mean.npy", "stage1_std.npy", "not near"),
    ],
)
def test_swapped_files_are_told(first, second, message, emoava, tmp_path):
    folder = emoava()
    swap(folder, first, second)
    assert message in refused(folder, tmp_path / "out")


def test_swapped_and_copied_splits_are_told(emoava, tmp_path):
    folder = emoava()
    for kind in ("text", "exps"):
        swap(folder, f"train_stage1_{kind}.pkl", f"test_stage1_{kind}.pkl")
    assert "training split must be the largest" in refused(folder, tmp_path / "out")
    emoava()
    for kind in ("text", "exps"):
        (folder / f"dev_stage1_{kind}.pkl").write_bytes((folder / f"test_stage1_{kind}.pkl").read_bytes())
    assert "the same clips" in refused(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clips: [clip[:, :52] for clip in clips], "expected (frames, 53)"),
        (lambda clips: [*clips[:-1], clips[-1][:0]], "expected (frames, 53)"),
        (lambda clips: [*clips[:-1], np.full((3, 53), np.nan)], "NaN"),
        (lambda clips: [*clips[:-1], np.zeros((3, 53), dtype=int)], "decimal numbers"),
        (lambda clips: {"clips": clips}, "no list"),
        (lambda clips: [], "no list"),
    ],
)
def test_wrong_clips_are_told(change, message, emoava, tmp_path):
    folder = emoava()
    path = folder / "dev_stage1_exps.pkl"
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))
    assert message in refused(folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["train_stage1_text.pkl", "test_stage1_exps.pkl", "stage1_mean.npy"])
def test_malice_is_refused_and_does_nothing(name, emoava, tmp_path):
    folder, mark = emoava(), tmp_path / "mark"
    (folder / name).write_bytes(pickle.dumps([Call(os.system, f"touch {mark}")]))
    assert name in refused(folder, tmp_path / "out")
    assert not mark.exists()
