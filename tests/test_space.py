"""`python -m cteg space`: what goes up, through the real client and over HTTP, and what is refused."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from cteg import __version__
from cteg.cli import app
from cteg.errors import InputError, WeightsError
from cteg.space import ROOT, plan_space
from tests.space_hub import LARGE, NEW, FakeSpaceHub

TOKEN = "hf_secret_token"
NAME = "owner/faces"


@pytest.fixture
def hub(monkeypatch):
    running = FakeSpaceHub(TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # another protocol of large files, spoken by a binary
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield running
    running.close()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A project with the files of ours that are small, one large file of weights, and things that stay at home."""
    root = tmp_path / "source"
    for file in plan_space("0"):
        if file.path not in ("README.md", "weights/manifest.json") and not file.path.endswith(".safetensors"):
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.source, root / file.path)
    shutil.copy(ROOT / "README.md", root)
    (root / "weights/cteg-open/model.safetensors").write_bytes(os.urandom(LARGE + 1))
    digests = {"cteg-open/model.safetensors": sha256(root / "weights/cteg-open/model.safetensors")}
    (root / "weights/manifest.json").write_text(json.dumps({"sha256": digests}))
    for private in ("cteg/.env", "cteg/ratings.sqlite3", "weights/heads/flame.safetensors", "docs/notes.md"):
        (root / private).parent.mkdir(parents=True, exist_ok=True)
        (root / private).write_text("mine")
    monkeypatch.setattr("cteg.space.plan_space.__defaults__", (root,))
    return root


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["space", *arguments])
    return result.exit_code, result.output if result.exit_code else result.stdout


# -- what goes up ------------------------------------------------------------------------------------------------------


def test_the_space_has_all_that_the_repository_has_of_the_app():
    tracked = subprocess.run(["git", "ls-files", "cteg", "weights"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    planned = {file.path for file in plan_space("0")}
    assert set(tracked.stdout.split()) <= planned
    assert {"README.md", "app.py", "requirements.txt", "LICENSE", "docs/licences.md"} <= planned


@pytest.mark.slow
def test_the_app_starts_from_what_went_up_alone(tmp_path):
    for file in plan_space("0"):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file.source, bytes):
            (tmp_path / file.path).write_bytes(file.source)
        else:
            (tmp_path / file.path).symlink_to(file.source)  # `resolve` would lead back, so code is copied
            if file.path.startswith("cteg/"):
                (tmp_path / file.path).unlink()
                shutil.copy(file.source, tmp_path / file.path)
    script = """
import app
from cteg.settings import Settings
from cteg.study.store import Store
from cteg.ui.page import build_app
from cteg.ui.services import GeneratorHandle, Services, head_path
settings = Settings.from_environment()
build_app(Services(GeneratorHandle(lambda: None), head_path(settings), Store(settings, ""), settings))
print(len(app.load_generator(settings).generate("What a day!", samples=2)), app.__file__)
"""
    environment = {**os.environ, "CTEG_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["2", str(tmp_path / "app.py")], done.stderr


def test_the_front_matter_says_what_the_hub_needs_to_know():
    readme = plan_space("1.2.3")[0]
    assert readme.path == "README.md"
    _, matter, text = readme.source.decode().split("---\n", 2)
    values = dict(line.split(": ", 1) for line in matter.splitlines())
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert values["sdk"] == "gradio"
    assert f"gradio=={values['sdk_version']}" in requirements
    assert (ROOT / values["app_file"]).is_file()
    assert len(values["short_description"]) <= 60  # the Hub refuses more
    assert values["colorFrom"] in (colours := ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"))
    assert values["colorTo"] in colours
    assert "CTEG 1.2.3" in text
    assert "![" not in text
    assert "](docs/licences.md)" in text


def test_nothing_else_that_lies_there_goes_up(source):
    paths = {file.path for file in plan_space("0")}
    assert "cteg/cli.py" in paths
    assert not paths & {"cteg/.env", "cteg/ratings.sqlite3", "weights/heads/flame.safetensors", "docs/notes.md"}


def test_damaged_weights_stay_at_home(source):
    file = source / "weights/cteg-open/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"weights/cteg-open/model\.safetensors is missing or not the one"):
        plan_space("0")
    for content in ("{", "[]", "{}", '{"sha256": 3}'):
        (source / "weights/manifest.json").write_text(content)
        with pytest.raises(WeightsError, match="damaged"):
            plan_space("0")


def test_an_installed_package_without_its_source_says_so(tmp_path):
    with pytest.raises(InputError, match=r"app\.py is missing"):
        plan_space("0", tmp_path)


# -- the upload --------------------------------------------------------------------------------------------------------


def test_a_space_is_made_and_holds_the_files_as_they_are(hub, source):
    code, output = run(NAME, "--private")
    assert code == 0, output
    assert output.splitlines()[-1] == f"{hub.url}/spaces/{NAME}"
    assert hub.made[0]["sdk"] == "gradio"
    assert hub.private[NAME]
    files = plan_space(__version__)
    expected = {f.path: f.source if isinstance(f.source, bytes) else f.source.read_bytes() for f in files}
    assert hub.files[NAME] == {**NEW, **expected}
    assert hub.files[NAME]["README.md"] != NEW["README.md"]
    (large,) = hub.stored.values()
    assert large == (source / "weights/cteg-open/model.safetensors").read_bytes()


def test_a_second_upload_removes_what_is_no_longer_part_of_the_app_and_nothing_else(hub, source):
    hub.files[NAME] = {**NEW, "cteg/__init__.py": b"", "cteg/old.py": b"", "weights/old.json": b"", "mine.txt": b"kept"}
    hub.private[NAME] = True
    assert run(NAME)[0] == 0
    assert hub.files[NAME].keys() == {".gitattributes", "mine.txt", *(file.path for file in plan_space("0"))}
    assert hub.private[NAME]  # nobody asked to publish it
    sent = sum("/storage/" in request for request in hub.asked)
    assert run(NAME)[0] == 0
    assert sum("/storage/" in request for request in hub.asked) == sent  # what is there is not sent again


def test_a_public_space_becomes_private_before_anything_is_sent(hub, source):
    hub.files[NAME], hub.private[NAME] = dict(NEW), False
    assert run(NAME, "--private")[0] == 0
    assert hub.private[NAME]
    asked = [request for request in hub.asked if "settings" in request or "/commit/" in request]
    assert [request.split("/")[-1] for request in asked] == ["settings", "main"]


def test_a_dry_run_asks_nobody_and_lists_everything(hub, source, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    code, output = run(NAME, "--dry-run")
    assert code == 0
    assert hub.asked == []
    lines = output.splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == [file.path for file in plan_space(__version__)]
    assert lines[-1].startswith(f"{len(lines) - 1} files, 1")


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_refusals_are_one_sentence_without_the_token(hub, source, monkeypatch):
    def refused(*arguments) -> str:
        code, output = run(*arguments)
        assert code == 2
        last = output.splitlines()[-1]
        assert last.startswith("Error: ")
        assert TOKEN not in output
        return last

    for name in ("faces", "a/b/c", "/faces", "owner/"):
        assert "form owner/name" in refused(name)
    assert "no name of a Space" in refused("owner/bad name!")
    hub.files["owner/other"], hub.private["owner/other"] = {**NEW, "app.py": b"another"}, False
    assert "holds another app" in refused("owner/other")
    assert hub.files["owner/other"]["app.py"] == b"another"
    for status, meaning in ((402, "static"), (403, "may not write"), (418, "error of its own")):
        hub.refusal = status
        assert meaning in refused(NAME)
    hub.refusal = 0
    monkeypatch.setenv("HF_TOKEN", "hf_another_token")
    assert "status 401" in refused(NAME)
    monkeypatch.delenv("HF_TOKEN")
    assert "needs a token" in refused(NAME)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached" in refused(NAME)
