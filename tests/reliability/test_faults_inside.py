"""Faults of files and of the code itself, F6 and F8 of `docs/reliability.md`."""

from __future__ import annotations

import json
import pickle
import secrets
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import app as program
from cteg.checkpoint import save_pretrained, write_manifest
from cteg.settings import Settings
from cteg.ui.services import GeneratorHandle
from tests.conftest import RunningApp
from tests.models import small_encoder, small_model
from tests.reliability.harness import PATIENCE, ROOT, AppProcess

SECRETS = ("hf_secret_token", "/etc/passwd", "Traceback", str(ROOT), "site-packages", "RuntimeError", ".py")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.write_text, (self.target, "executed")


# -- F6: weights -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good_weights(tmp_path_factory):
    return save_pretrained(small_model(), small_encoder(), tmp_path_factory.mktemp("weights"), "small")


def change_tensor(path: Path, change) -> None:
    tensors = load_file(path)
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensors[name] = change(tensors[name])
    save_file(tensors, path)


def damage(kind: str, folder: Path, trap: Path) -> None:
    """Damage weights; what the manifest would already refuse is signed anew, so that what lies behind it is tried."""
    path = folder / "model.safetensors"
    if kind == "missing":
        path.unlink()
    elif kind == "no folder":
        shutil.rmtree(folder)
    elif kind == "one bit flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "wrong shape":
        change_tensor(path, lambda tensor: tensor[:-1].contiguous())
    elif kind == "not a number":
        change_tensor(path, lambda tensor: torch.full_like(tensor, np.nan))
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps(Trap(trap)))
    elif kind == "a pickle as PyTorch writes it":
        torch.save({"model": Trap(trap)}, path)
    elif kind == "a huge header":
        path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    if kind not in ("missing", "no folder", "one bit flipped"):
        write_manifest(folder)


DAMAGES = {
    "missing": "missing",
    "no folder": "no weights folder",
    "one bit flipped": "changed or damaged",
    "truncated": "damaged or not a safetensors file",
    "wrong shape": "does not fit its configuration",
    "not a number": "NaN or infinity",
    "a pickle": "damaged or not a safetensors file",
    "a pickle as PyTorch writes it": "damaged or not a safetensors file",
    "a huge header": "damaged or not a safetensors file",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_f6_damaged_weights_are_refused_with_the_cause_and_run_nothing(good_weights, tmp_path, kind, caplog):
    folder, trap = shutil.copytree(good_weights, tmp_path / "weights"), tmp_path / "trap"
    damage(kind, folder, trap)
    handle = GeneratorHandle(lambda: program.load_generator(Settings(weights=str(folder), data_dir=tmp_path)))
    with pytest.raises(program.CtegError, match=DAMAGES[kind]):
        handle.get()
    assert handle.status == "unavailable"
    assert DAMAGES[kind] in caplog.text
    assert not trap.exists()


def test_f6_with_damaged_weights_the_page_is_up_and_says_so(good_weights, tmp_path):
    folder, trap = shutil.copytree(good_weights, tmp_path / "weights"), tmp_path / "trap"
    damage("a pickle as PyTorch writes it", folder, trap)
    app = AppProcess(tmp_path / "app", {"CTEG_WEIGHTS": str(folder)})
    try:
        app.wait_until_ready()
        health = app.health()
        assert (health["status"], health["model"], health["store"]) == ("degraded", "unavailable", "ok")
        assert "model is unavailable" in health["notice"]
        assert app.http.get("").status_code == 200
        event, payload = app.call("generate", ["Hello.", 1, 1.0, 7])
        assert event == "error"
        assert "The model is unavailable." in payload["error"]
        assert not any(secret in payload["error"] for secret in (str(tmp_path), "Traceback"))
        assert not trap.exists()
    finally:
        app.end()


# -- F8: a defect anywhere ---------------------------------------------------------------------------------------------


class Broken:
    """Fails in whatever is asked of it, with a message that nobody outside may read."""

    status = "ready"
    name = "broken"

    def __getattr__(self, name: str):
        def fail(*_, **__):
            raise RuntimeError(f"secret detail of {name}: /etc/passwd hf_secret_token {ROOT}/cteg/x.py")

        return fail


def test_f8_a_defect_in_any_callback_shows_a_number_and_no_detail(tmp_path, caplog):
    app = RunningApp(tmp_path)
    try:
        rater = secrets.token_hex(16)
        run = keep_a_run(app)
        app.store.close()
        break_everything(app)
        named = {
            "generate": ["Hello.", 1, 1.0, 7, 0.0],
            "generate_for_page": ["Hello.", 1, 1.0, 7, 0.0, rater],
            "explain": [run],
        }
        config = httpx.get(f"{app.url}config", timeout=PATIENCE).json()
        events = [event for event in config["dependencies"] if event["backend_fn"]]
        assert set(named) <= {event["api_name"] for event in events}
        for event in events:
            given = named.get(event["api_name"], [None] * len(event["inputs"]))
            data = [*given, *[None] * (len(event["inputs"]) - len(given))]
            reply = ask(app.url, event, data, {"run": run, "head": "default", "kind": "npz", "face": 0})
            assert not any(secret in reply for secret in SECRETS), (event["api_name"], reply)
            if event["api_name"] in named:
                check_incident(reply, caplog.text)
        vote = {"token": "a token", "rater": rater, "id": "", "text": "", "head": ""}
        for action, value in (("rate", {"score": 3}), ("choose", {"is_best": True})):
            reply = httpx.post(f"{app.url}cteg-vote/{action}", json={**vote, **value}, timeout=PATIENCE)
            assert reply.status_code == 500
            check_incident(reply.text, caplog.text)
        health = httpx.get(f"{app.url}health", timeout=PATIENCE)
        assert not any(secret in health.text for secret in SECRETS)
    finally:
        app.close()


def check_incident(reply: str, log: str) -> None:
    """A reply gives the number of an incident that the log tells of, and no detail."""
    assert not any(secret in reply for secret in SECRETS), reply
    assert "incident" in reply, reply
    number = reply.split("incident ")[1].split(")")[0]
    assert f"incident {number}" in log


def keep_a_run(app: RunningApp) -> str:
    from tests.test_app import page_generate

    return page_generate(app, "a" * 32)["run"]


def break_everything(app: RunningApp) -> None:
    """Let model and store fail; what holds them is frozen, so what they do is replaced, not they."""
    broken = Broken()
    app.generator.generate = broken.generate
    app.generator.read_feelings = broken.read_feelings
    for name in [name for name in dir(app.generator) if name.startswith("stream")]:
        setattr(app.generator, name, getattr(broken, name))
    for name in ("register", "rate", "choose", "events", "check"):
        setattr(app.store, name, getattr(broken, name))


def ask(url: str, event: dict, data: list, event_data: dict) -> str:
    """Run an event of the page by its number and return all that the server says."""
    session = secrets.token_hex(5)
    body = {"data": data, "fn_index": event["id"], "session_hash": session, "event_data": event_data}
    reply = httpx.post(f"{url}gradio_api/queue/join", json=body, timeout=PATIENCE)
    if reply.status_code != 200:
        return reply.text
    said = []
    with httpx.stream("GET", f"{url}gradio_api/queue/data?session_hash={session}", timeout=PATIENCE) as stream:
        for line in stream.iter_lines():
            said.append(line)
            if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed":
                break
    return "\n".join(said)
