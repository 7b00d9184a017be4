"""The benchmark at tiny sizes: every part runs, compares what it says it compares, and a stopped run goes on."""

import json
import math
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import cteg
from cteg.errors import InputError
from cteg.generator import Generator
from tests.conftest import CHROMIUM
from tests.models import small_encoder, small_model
from training.benchmark import __main__ as command
from training.benchmark import app, generator, head, loop, players
from training.benchmark.decoding import measure_curves
from training.benchmark.files import measure_files, sample_clip
from training.benchmark.timing import describe_machine, exponent, in_turns
from training.configs import get_config
from training.data import TextStates, encode_all
from training.trainer import Trainer

SMALL = {"hidden_size": 32, "heads": 2, "feed_forward_size": 48, "text_size": 24, "latent_size": 8}


def all_good(figures):
    return all(math.isfinite(value) and value > 0 for value in figures.values())


# -- timing ------------------------------------------------------------------------------------------------------------


def test_the_exponent_is_the_power_that_the_cost_grows_with():
    sizes = (32, 64, 128, 256)
    assert exponent(sizes, [3 * size for size in sizes]) == pytest.approx(1)
    assert exponent(sizes, [0.1 * size**2 for size in sizes]) == pytest.approx(2)
    assert exponent(sizes, [5.0] * 4) == pytest.approx(0)


def test_what_is_compared_takes_turns_and_slow_ways_take_one():
    order = []
    ways = {name: lambda name=name: order.append(name) for name in ("a", "slow", "b")}
    times = in_turns(ways, 3, once=["slow"])
    assert order == ["a", "slow", "b", "a", "b", "a", "b"]
    assert list(times) == ["a", "slow", "b"]


# -- parts -------------------------------------------------------------------------------------------------------------


def test_curves_time_the_lengths_that_they_say():
    figures = measure_curves((8, 12, 16), (1, 3), 12, 1, SMALL | {"frames_per_step": 4})
    assert {"8 samples x 8 frames (s)", "8 samples x 16 frames (s)", "3 samples x 64 frames (s)"} <= set(figures)
    assert "8 samples x 16 frames, full prefix (s)" not in figures
    assert all(math.isfinite(value) for name, value in figures.items() if "full prefix" not in name or "(s)" in name)


def test_a_sentence_is_timed_from_its_first_frames_to_the_end(monkeypatch):
    monkeypatch.setattr(generator.cteg, "load", lambda: Generator(small_model(), small_encoder(), "small"))
    threads = torch.get_num_threads()
    figures = generator.measure_generator((1, 2), 1, "I love you.")
    assert torch.get_num_threads() == threads
    assert all_good(figures)
    assert {"first frames of 2 samples (s)", "2 samples in full (s)", "2 samples, one thread (s)"} <= set(figures)


def test_all_ways_to_deform_the_head_give_the_same_head():
    rig = cteg.load_rig()
    coefficients = sample_clip(3).coefficients
    expected = rig._apply_shapes(coefficients)
    np.testing.assert_allclose(head.apply_densely(rig, rig._basis, coefficients), expected, atol=1e-6)
    np.testing.assert_allclose(head.apply_sparsely(rig, head.entries(rig), coefficients), expected, atol=1e-6)
    assert all_good(head.measure_head(2, 1))


def test_the_plain_loop_pads_and_encodes_and_both_loops_learn_from_the_same_clips():
    encoder = small_encoder()
    data = loop.draw_performances(40)
    assert abs(np.diff(data.offsets).mean() - loop.MEAN_FRAMES) < 20
    config = get_config("tiny")
    config = replace(config, model=replace(config.model, text_size=24))
    trainer = Trainer(config, data, TextStates(*encode_all(encoder, data.texts)), 0)
    batch = loop.plain_batch(trainer, encoder, [0, 1])
    assert batch.frames.shape[1] >= loop.PADDED_FRAMES
    assert batch.text.shape[:2] == (2, loop.PADDED_TOKENS)
    assert batch.valid.sum(1).tolist() == np.diff(data.offsets)[:2].tolist()
    ours = trainer.batch([0, 1], np.random.default_rng(0))
    assert ours.frames.shape[1] < loop.PADDED_FRAMES
    real = batch.text_mask[0]
    torch.testing.assert_close(batch.text[0, real], ours.text[0, ours.text_mask[0]], atol=0.02, rtol=0.05)


def test_both_loops_are_timed():
    figures = loop.measure_training(2, 1, 1, get_config("tiny"))
    assert all_good(figures)


def test_every_kind_of_file_is_written_and_weighed(monkeypatch):
    monkeypatch.setattr(cteg.export, "FORMATS", {kind: cteg.export.FORMATS[kind] for kind in ("npz", "csv", "png")})
    figures = measure_files(2, 2)
    assert all_good(figures)
    assert {"png, 1 clip of 2 frames (s)", "png, 2 clips of 2 frames (kB)", "csv, 1 clip of 2 frames (s)"} <= set(
        figures
    )


def test_the_start_is_timed_and_the_memory_followed(monkeypatch):
    class Still:
        seconds_to_page, seconds_to_model, made = 1.0, 2.0, []

        def generate(self, samples):
            self.made.append(samples)

        def memory(self):
            return 100.0 + len(self.made)

    @contextmanager
    def still(_):
        yield Still()

    monkeypatch.setattr(app, "running_app", still)
    figures = app.measure_start({"json": "import json"})
    assert all_good(figures)
    assert Still.made == [4] + [8] * 10
    assert figures["memory after ten more with 8 samples (MB)"] == 111


def test_an_app_that_does_not_come_up_is_stopped(monkeypatch, tmp_path):
    def fail(*_):
        raise InputError("The app did not come up in time.")

    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(app.subprocess, "Popen", lambda *_, **__: sleeper)
    monkeypatch.setattr(app.App, "wait_for", fail)
    with pytest.raises(InputError, match="did not come up"), app.running_app(str(tmp_path)):
        pass
    assert sleeper.poll() is not None


# -- other players -----------------------------------------------------------------------------------------------------


def test_plotly_gets_the_same_motion():
    rig, clips = cteg.load_rig(), [sample_clip(3, seed) for seed in (1, 2)]
    figure = players.plotly_figure(clips, rig)
    assert len(figure.data) == 2
    assert [len(frame.data) for frame in figure.frames] == [2, 2, 2]
    moved = np.stack([figure.frames[2].data[1][axis] for axis in "xyz"], -1)
    np.testing.assert_allclose(moved, rig.vertices(clips[1])[2])


def test_the_pace_is_that_between_frames_and_what_draws_nothing_is_no_figure():
    way = players.Way("some", players.serve_plotly, "#show", 2, 1)
    rests = [0, 40, 80, 120, 1000, 1040]
    assert players.pace([rests, [0, 80, 160, 240]], way) == pytest.approx((25 + 12.5) / 2)
    for times in ([], [rests], [rests, []], [rests, [0, 40]]):
        with pytest.raises(InputError, match="some drew"):
            players.pace(times, way)


@pytest.mark.browser
@pytest.mark.slow
def test_all_players_show_the_faces():
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium")
    figures = players.measure_players(Path(CHROMIUM), frames=20, faces=2)
    assert all(figures[f"{way}: first frame (s)"] < players.PATIENCE for way in ("player", "plotly", "Model3D"))
    assert all_good(figures)  # a way that shows nothing raises
    assert figures["plotly takes times the player, bytes after the press (MB)"] > 10
    assert figures["Model3D takes times the player, bytes after the press (MB)"] > 10


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch):
    """The command with two parts that count how often they are measured."""
    measured = []

    def part(name):
        def measure(_):
            measured.append(name)
            if name == "broken":
                raise RuntimeError
            return {f"{name} (s)": 1.5}

        return measure

    monkeypatch.setattr(command, "PARTS", {name: part(name) for name in ("first", "second", "broken")})
    program = typer.Typer()
    program.command()(command.main)

    def call(*arguments):
        measured.clear()
        return CliRunner().invoke(program, [str(argument) for argument in arguments]), list(measured)

    return call


def test_a_stopped_run_keeps_what_is_finished_and_goes_on(run, tmp_path):
    out = tmp_path / "benchmark.json"
    result, measured = run("--out", out)
    assert result.exit_code == 1
    assert measured == ["first", "second", "broken"]
    stored = json.loads(out.read_text())
    assert stored["parts"]["second"]["figures"] == {"second (s)": 1.5}
    assert stored["machine"] == describe_machine()
    result, measured = run("--out", out, "--only", "second", "--only", "first")
    assert measured == []
    assert result.exit_code == 0
    assert "second (s)" in result.stdout
    assert "torch" in result.stdout
    assert run("--out", out, "--only", "second", "--again")[1] == ["second"]


def test_figures_of_another_machine_are_not_mixed_in(run, tmp_path):
    out = tmp_path / "benchmark.json"
    out.write_text(json.dumps({"machine": {"processor": "another"}, "parts": {}}))
    result, measured = run("--out", out, "--only", "first")
    assert (result.exit_code, measured) == (2, [])
    assert "another machine" in result.stderr
    out.write_text("[]")
    assert run("--out", out, "--only", "first")[0].exit_code == 2


def test_an_unknown_part_is_refused(run):
    result, measured = run("--only", "everything")
    assert (result.exit_code, measured) == (2, [])
    assert "known ones are first, second, broken" in result.stderr
