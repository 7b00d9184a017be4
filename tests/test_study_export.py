"""Stimuli and exports as files, and the commands that write them."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from cteg import checkpoint, layout
from cteg.cli import app
from cteg.clip import Clip
from cteg.errors import InputError
from cteg.settings import Settings
from cteg.study import make_stimuli, wording
from cteg.study.ballot import Ballot
from cteg.study.engine import Engine
from cteg.study.export import describe, export
from cteg.study.models import Rating, Vote, pseudonym
from cteg.study.stimuli import Condition, StimulusSet, read_sentences
from cteg.study.store import Store
from tests.conftest import FakeGenerator
from tests.test_store import clip


class ByText(FakeGenerator):
    """Performs every sentence in its own way."""

    def generate(self, text: str, *args) -> list[Clip]:
        marked = [(clip, clip.coefficients.copy()) for clip in super().generate(text, *args)]
        for _, frames in marked:
            frames[:, 0] = sum(text.encode()) % 9973 / 9973
        return [Clip(frames, text=text) for _, frames in marked]


ROOT = Path(__file__).parent.parent
RATER = "a" * 32


@pytest.fixture(scope="module")
def clips_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acted")
    rng = np.random.default_rng(0)
    for sentence in read_sentences():
        for number in range(3):
            frames = rng.random((12 + number, layout.D), np.float32) * 0.2
            Clip(frames, text=sentence.text).save(folder / f"{sentence.id}_{number}.npz")
    return folder


@pytest.fixture(scope="module")
def made_once(tmp_path_factory, clips_folder):
    folder = tmp_path_factory.mktemp("stimuli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cteg.generator.load", lambda _: ByText())
        sources = make_stimuli.Sources(clips={"acted": clips_folder}, reference="acted", seed=3)
        make_stimuli.make(sources, folder / "study", "1.2")
    return folder / "study"


@pytest.fixture
def made(made_once, tmp_path):
    shutil.copytree(made_once, tmp_path / "study")
    return StimulusSet.load(tmp_path / "study")


def test_the_bundled_sentences_are_balanced_and_in_no_training_table():
    sentences = read_sentences()
    counts = {f: sum(s.feeling == f for s in sentences) for f in {s.feeling for s in sentences}}
    assert counts.pop("practice") == 2
    assert set(counts) == {"joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral"}
    assert set(counts.values()) == {9}
    table = (ROOT / "training" / "tables" / "sentences.tsv").read_text(encoding="utf-8").splitlines()
    known = {line.split("\t")[0].strip().casefold() for line in table}
    assert not [s.text for s in sentences if s.text.casefold() in known]


def test_all_conditions_have_clips_for_all_sentences(made, tmp_path):
    assert [(c.name, c.role) for c in made.conditions] == [
        ("cteg", "main"),
        ("cteg cool", "system"),
        ("acted", "reference"),
        ("shuffled frames", "floor"),
        ("mismatched", "control"),
    ]
    assert len(made.stimuli) == 65 * 5 * 3
    again = StimulusSet.load(tmp_path / "study")
    assert again == made
    clips = [path.name for path in (tmp_path / "study" / "clips").iterdir()]
    assert not [c.name for c in made.conditions if any(c.name in name for name in clips)]


def test_the_manifest_names_the_weights_that_made_the_clips(made):
    weights = made.made["weights"]
    assert set(weights) >= {"cteg/model.safetensors", "cteg/text_encoder/model.safetensors"}
    assert weights["cteg/model.safetensors"] == checkpoint.sha256(checkpoint.BUNDLED / "model.safetensors")


def test_the_floor_has_right_faces_and_the_control_another_feeling(made):
    for sentence in made.real_sentences[::9]:
        acted, floor = (made.clip(made.samples[sentence.id, name][0]) for name in ("acted", "shuffled frames"))
        assert not np.array_equal(acted.coefficients, floor.coefficients)
        assert np.array_equal(np.sort(acted.coefficients, 0), np.sort(floor.coefficients, 0))
    own = {made.by_id[made.samples[s.id, "cteg"][0]].sha256: s for s in made.real_sentences}
    assert len(own) == 63
    for sentence in made.real_sentences:
        partner = own[made.by_id[made.samples[sentence.id, "mismatched"][0]].sha256]
        assert partner.feeling != sentence.feeling


def test_what_the_browser_gets_is_as_long_for_every_clip(made):
    assert made.payloads.keys() == made.by_id.keys()
    assert len({len(body) for body in made.payloads.values()}) == 1
    payloads = {name: json.loads(body) for name, body in made.payloads.items()}
    assert len({(len(payload["data"]), payload["scale"], payload["fps"]) for payload in payloads.values()}) == 1
    for stimulus in made.stimuli[::40]:
        payload, original = payloads[stimulus.id], made.clip(stimulus.id)
        assert payload.keys() == {"frames", "fps", "scale", "data"}
        steps = np.frombuffer(base64.b64decode(payload["data"]), "<i2").reshape(-1, layout.D)
        assert payload["frames"] == len(original)
        assert np.allclose(steps[: len(original)] * payload["scale"], original.coefficients, atol=2e-5)
        assert not steps[len(original) :].any()


def test_clips_on_disk_carry_nothing_but_the_motion(made):
    bare = made.clip(made.samples["j1", "cteg"][0])
    assert (bare.text, bare.weights, bare.seed) == ("", "", 0)


def test_a_changed_or_missing_clip_is_found(made, tmp_path):
    first, second = made.stimuli[:2]
    clips = tmp_path / "study" / "clips"
    Clip(np.ones((3, layout.D))).save(clips / f"{first.id}.npz")
    with pytest.raises(InputError, match="not the one"):
        made.clip(first.id)
    (clips / f"{second.id}.npz").unlink()
    with pytest.raises(InputError, match="lacks clips"):
        StimulusSet.load(tmp_path / "study")
    (tmp_path / "study" / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="no stimuli"):
        StimulusSet.load(tmp_path / "study")


def test_sources_that_do_not_fit_are_named(tmp_path, monkeypatch, made):
    monkeypatch.setattr("cteg.generator.load", lambda _: ByText())
    with pytest.raises(InputError, match="not empty"):
        make_stimuli.make(make_stimuli.Sources(), tmp_path / "study", "1")
    with pytest.raises(InputError, match="reference 'x'"):
        make_stimuli.make(make_stimuli.Sources(reference="x"), tmp_path / "new", "1")
    (tmp_path / "few").mkdir()
    with pytest.raises(InputError, match="3 clips of 'few'"):
        make_stimuli.make(make_stimuli.Sources(clips={"few": tmp_path / "few"}), tmp_path / "new", "1")
    for bad in (("a,b", "system"), ("", "system"), ("a", "winner")):
        with pytest.raises(InputError):
            Condition(*bad)


# -- exports and commands ----------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path, made, monkeypatch):
    """A study with one vote and one play rating, as the commands find it."""
    monkeypatch.setenv("CTEG_DATA_DIR", str(tmp_path / "data"))
    for name in ("CTEG_DATABASE_URL", "CTEG_EVENT_LOG"):
        monkeypatch.delenv(name, raising=False)
    store = Store(Settings.from_environment(), "1.2")
    engine = Engine(store, made)
    page = engine.consent(RATER, wording.CONSENT_VERSION)
    assert engine.clip(RATER, page.token, 0) in made.payloads.values()
    page = engine.report(RATER, page.token, [{"kind": "trouble"}])
    engine.next(RATER, page.token)
    (token,) = store.register(RATER, [clip(text="=1+1")])
    store.rate(token, RATER, 4, text="=1+1")
    store.choose(token, RATER, True, text="=1+1")
    store.close()
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


def test_all_formats_hold_the_same_rows(environment):
    store = Store(Settings.from_environment())
    export(store, environment / "out")
    store.close()
    schema = json.loads((environment / "out" / "schema.json").read_text())
    for name, count in (("votes", 1), ("ratings", 1), ("choices", 1)):
        columns = [column["name"] for column in schema[name]]
        assert all(column["meaning"] for column in schema[name])
        table = parquet.read_table(environment / "out" / f"{name}.parquet")
        lines = [json.loads(line) for line in (environment / "out" / f"{name}.jsonl").read_text().splitlines()]
        with (environment / "out" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert table.column_names == columns == list(lines[0]) == list(rows[0])
        assert table.to_pylist() == lines
        assert len(rows) == count
    assert lines[0]["text"] == "=1+1"
    assert rows[0]["text"] == "'=1+1"
    assert (lines[0]["rater"], lines[0]["mode"]) == (pseudonym(RATER), "play")
    everything = b"".join(path.read_bytes() for path in (environment / "out").iterdir())
    assert RATER.encode() not in everything


def test_the_schema_says_what_may_be_missing():
    columns = {column["name"]: column for column in describe(Vote)}
    assert (columns["score"]["type"], columns["score"]["optional"]) == ("integer", True)
    assert (columns["seconds"]["type"], columns["seconds"]["optional"]) == ("number", False)
    assert all(column["meaning"] for column in describe(Rating))


def test_the_commands_do_what_they_say(environment):
    folder = environment / "study"
    result = run("export", "--out", environment / "out")
    assert result.exit_code == 0, result.output
    assert len(result.output.split()) == 10
    result = run("stats", "--stimuli", folder, "--out", environment / "page")
    assert result.exit_code == 0, result.output
    assert "PILOT" in result.output
    assert 'class="heat"' in (environment / "page" / "report.html").read_text()
    assert json.loads((environment / "page" / "results.json").read_text())["after"]["trouble"] == 1
    assert run("flag", pseudonym(RATER), "a test", "--stimuli", folder).exit_code == 0
    study = StimulusSet.load(folder).study
    assert Ballot(Store(Settings.from_environment()), study).flags() == {pseudonym(RATER): "a test"}
    assert run("snapshot", environment / "copy.sqlite3").exit_code == 0
    assert run("forget", RATER).output == "3 answers deleted\n"  # a vote, a rating, a choice


def test_bad_input_is_one_sentence_and_exit_code_2(environment):
    bad = [
        ("stats", "--stimuli", environment / "nowhere"),
        ("stimuli", "--out", environment / "study"),
        ("stimuli", "--out", environment / "new", "--clips", "nonsense"),
        ("snapshot", environment / "study" / "manifest.json"),
        ("forget", "someone"),
        ("power", "--studies", "0"),
    ]
    for arguments in bad:
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert result.output.startswith("Error: ")
        assert result.output.count("\n") == 1


def test_the_app_starts_without_the_statistics():
    code = (
        "import sys, cteg.study.engine, cteg.study.hub, cteg.study.commands, cteg.study.stimuli\n"
        "heavy = ('scipy', 'pandas', 'evalica', 'matplotlib', 'pyarrow', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
