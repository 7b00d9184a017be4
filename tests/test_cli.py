"""The command line with the bundled weights: files, names, exit codes, one sentence for bad input."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from cteg.cli import app
from cteg.clip import Clip

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


def test_render_and_formats(tmp_path):
    result = cteg("generate", "Wow!", "--samples", 1, "--out", tmp_path, "--format", "npz", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sample_00.csv").read_text().startswith("Timecode,")
    sheet = tmp_path / "sheet.png"
    assert cteg("render", tmp_path / "sample_00.npz", "--out", sheet, "--frames", 3).exit_code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


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
        ["generate", TEXT, "--weights", "nowhere"],
        ["render", "absent.npz", "--out", "sheet.png"],
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
