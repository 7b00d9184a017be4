"""The command line with the bundled weights: files, names, exit codes, one sentence for bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cteg.cli import app
from cteg.clip import Clip
from cteg.export import load

TEXT = "I can't believe you came!"


def cteg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_generate_writes_the_promised_arrays_and_is_the_same_for_any_count(tmp_path):
    four = cteg("generate", TEXT, "--samples", 4, "--temperature", 1.0, "--seed", 7, "--out", tmp_path / "four")
    two = cteg("generate", TEXT, "--samples", 2, "--temperature", 1.0, "--seed", 7, "--out", tmp_path / "two")
    assert (four.exit_code, two.exit_code) == (0, 0), four.output + two.output
    assert sorted(path.name for path in (tmp_path / "four").iterdir()) == [f"sample_{i:02d}.npz" for i in range(4)]
    for index in range(2):
        with (
            np.load(tmp_path / f"four/sample_{index:02d}.npz") as one,
            np.load(tmp_path / f"two/sample_{index:02d}.npz") as other,
        ):
            assert one["coefficients"].dtype == np.float32
            assert one["coefficients"].shape[1] == 53
            np.testing.assert_array_equal(one["coefficients"], other["coefficients"])
            assert (float(one["fps"]), str(one["space"]), str(one["text"])) == (25, "open", TEXT)
            assert (int(one["seed"]), float(one["temperature"])) == (7 + index, 1.0)


def test_temperature_0_is_one_performance(tmp_path):
    assert cteg("generate", TEXT, "--samples", 2, "--temperature", 0, "--out", tmp_path).exit_code == 0
    first, second = (Clip.load(tmp_path / f"sample_{i:02d}.npz") for i in range(2))
    np.testing.assert_array_equal(first.coefficients, second.coefficients)


def test_several_formats_in_a_row_and_all_samples_in_one_picture(tmp_path):
    formats = ["--format", "npz", "csv", "glb", "--format", "png"]
    result = cteg("generate", "--samples", 2, *formats, "--grid", "--out", tmp_path, "--seed", 3, "--", "Wow!")
    assert result.exit_code == 0, result.output
    singles = [f"sample_{index:02d}.{kind}" for index in range(2) for kind in ("npz", "csv", "glb")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*singles, "samples.png"])
    assert sorted(result.stdout.split()) == sorted(str(path) for path in tmp_path.iterdir())
    assert (tmp_path / "sample_00.glb").read_bytes()[:4] == b"glTF"
    back = load(tmp_path / "sample_01.csv").coefficients
    np.testing.assert_allclose(back[:, :14], Clip.load(tmp_path / "sample_01.npz").coefficients[:, :14], atol=1e-6)


@pytest.fixture
def two_clips(tmp_path) -> list[Path]:
    random = np.random.default_rng(0)
    return [
        Clip(random.uniform(0, 0.3, (3, 53)).astype(np.float32), text=TEXT, seed=seed).save(tmp_path / f"{seed}.npz")
        for seed in (7, 8)
    ]


def test_render_turns_clips_into_what_the_name_says(two_clips, tmp_path):
    sheet, film, table = (tmp_path / name for name in ("sheet.png", "both.gif", "table.csv"))
    assert cteg("render", two_clips[0], "--out", sheet, "--frames", 3).exit_code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert cteg("render", *two_clips, "--out", film).exit_code == 0
    with Image.open(film) as moving:
        assert moving.n_frames == 3
        assert moving.width == 2 * 256
    assert cteg("render", two_clips[0], "--out", table, "--full").exit_code == 0
    again = tmp_path / "again.npz"
    assert cteg("render", table, "--out", again).exit_code == 0
    np.testing.assert_allclose(Clip.load(again).coefficients, Clip.load(two_clips[0]).coefficients, atol=1e-6)


def test_render_refuses_what_does_not_go_together(two_clips, tmp_path):
    for name, message in (("a.glb", "one clip, got 2"), ("a.avi", "expected an ending"), ("no/a.png", "Cannot write")):
        result = cteg("render", *two_clips, "--out", tmp_path / name)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", ""],
        ["generate", "   "],
        ["generate", "a" * 10_000],
        ["generate", TEXT, "--samples", "0"],
        ["generate", TEXT, "--samples", "1000"],
        ["generate", TEXT, "--temperature", "nan"],
        ["generate", TEXT, "--temperature", "inf"],
        ["generate", TEXT, "--temperature", "2.5"],
        ["generate", TEXT, "--temperature=-1"],
        ["generate", TEXT, "--seed=-1"],
        ["generate", TEXT, "--format", "fbx"],
        ["generate", TEXT, "--head", "nobody"],
        ["generate", TEXT, "--weights", "nowhere"],
        ["render", "absent.npz", "--out", "sheet.png"],
        ["render", "absent.csv", "--out", "sheet.png"],
        ["render", "film.mp4", "--out", "sheet.png"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cteg(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.npz"))


def test_as_a_module():
    found = subprocess.run([sys.executable, "-m", "cteg", "generate", ""], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.strip() == "Error: Please type a sentence first; the text is empty."


def test_feelings():
    result = cteg("feelings", "I am so happy for you, this is wonderful!")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 8
