"""The app through its web API: what it promises, what it refuses, what it keeps to itself."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.utils import apply_diff
from PIL import Image

from cteg import sampling
from cteg import text as text_module
from cteg.errors import WeightsError
from cteg.face.heads import bundled_heads, offered_heads
from cteg.face.rig import Rig
from cteg.settings import Settings
from cteg.ui import form
from cteg.ui.assets import Assets
from cteg.ui.json_api import MOST_AT_ONCE
from cteg.ui.server import MOST_SESSIONS
from cteg.ui.services import GeneratorHandle, head_path
from tests.conftest import RunningApp, free_port
from tests.reliability.harness import register, vote_at, wait_for

ROOT = Path(__file__).parent.parent
TEXT = "I can't believe you came!"


@pytest.fixture(scope="module")
def client(app) -> Client:
    return Client(app.url, verbose=False)


@pytest.fixture
def rater() -> str:
    return secrets.token_hex(16)


def call(app: RunningApp, name: str, data: list | str) -> tuple[str, object]:
    """Call an endpoint by plain HTTP; return the name of the last event and its data."""
    body = data if isinstance(data, str) else json.dumps({"data": data})
    reply = httpx.post(
        f"{app.url}gradio_api/call/{name}", content=body, headers={"Content-Type": "application/json"}, timeout=20
    )
    if reply.status_code != 200:
        return "refused", reply.text
    stream = httpx.get(f"{app.url}gradio_api/call/{name}/{reply.json()['event_id']}", timeout=30).text
    event, _, payload = stream.strip().split("\n\n")[-1].partition("\n")
    return event.removeprefix("event: "), json.loads(payload.removeprefix("data: "))


def page_generate(
    app: RunningApp, rater: str, text: str = TEXT, samples: int = 2, seed: int = 7, guidance: float = 0
) -> dict:
    """Generate as the page does and return the last value of the player."""
    *_, value = page_values(app, rater, text, samples, seed, guidance)
    return value


def page_values(
    app: RunningApp, rater: str, text: str = TEXT, samples: int = 2, seed: int = 7, guidance: float = 0
) -> Iterator[dict]:
    """Generate as the page does, by the index of its event; yield every value that the player gets."""
    config = httpx.get(f"{app.url}config").json()
    (index,) = (d["id"] for d in config["dependencies"] if d["api_name"] == "generate_for_page")
    session, value = secrets.token_hex(5), None
    body = {"data": [text, samples, 1.0, seed, guidance, rater], "fn_index": index, "session_hash": session}
    httpx.post(f"{app.url}gradio_api/queue/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{app.url}gradio_api/queue/data?session_hash={session}", timeout=20) as stream:
        for line in stream.iter_lines():
            message = json.loads(line[5:]) if line.startswith("data:") else {"msg": ""}
            if message["msg"] == "process_generating" and message["success"]:
                (news,) = message["output"]["data"]
                value = apply_diff(value, news) if value else news
                yield value
            if message["msg"] == "process_completed":
                if not message["success"]:
                    yield message["output"]
                return
    raise AssertionError("the stream ended early")


def rate(app: RunningApp, token: object, rater: object, score: object, *rest: object) -> httpx.Response:
    """Rate as the page does; id, sentence and head are empty if not given."""
    return vote_at(app.url, token, rater, score, *rest)


# -- generating --------------------------------------------------------------------------------------------------------


def test_the_endpoint_takes_the_promised_names_and_returns_exact_clips(app, client):
    result = client.predict(text=TEXT, samples=3, temperature=0.5, seed=11, api_name="/generate")
    assert (result["text"], result["temperature"], result["weights"]) == (TEXT, 0.5, "fake-weights")
    assert (result["space"], result["fps"]) == ("open", 25.0)
    assert [clip["seed"] for clip in result["clips"]] == [11, 12, 13]
    expected = app.generator.generate(TEXT, 3, 0.5, 11)
    for got, want in zip(result["clips"], expected, strict=True):
        assert got["frames"] == len(want)
        assert np.array_equal(np.array(got["coefficients"], dtype=np.float32), want.coefficients)


def test_settings_have_defaults(client):
    result = client.predict(text=TEXT, api_name="/generate")
    assert (len(result["clips"]), result["guidance"]) == (4, 0)


def test_the_guidance_reaches_the_model_the_answer_and_the_rating(app, client, rater):
    result = client.predict(TEXT, 1, 1.0, 7, 2.5, api_name="/generate")
    (want,) = app.generator.generate(TEXT, 1, 1.0, 7, 2.5)
    assert result["guidance"] == 2.5
    assert np.array_equal(np.array(result["clips"][0]["coefficients"], dtype=np.float32), want.coefficients)
    value = page_generate(app, rater, guidance=1.5)
    assert value["guidance"] == 1.5
    rate(app, value["clips"][0]["token"], rater, 3)
    assert [rating.guidance for rating in app.store.ratings() if rating.rater == rater] == [1.5]


def test_the_page_offers_the_ranges_of_the_model():
    ranges = {setting.name: (setting.low, setting.high) for setting in form.SETTINGS}
    assert ranges == {
        "samples": (1, sampling.MAX_SAMPLES),
        "temperature": (0, sampling.MAX_TEMPERATURE),
        "seed": (0, sampling.MAX_SEED),
        "guidance": (0, sampling.MAX_GUIDANCE),
    }
    assert form.MAX_CHARACTERS == text_module.MAX_CHARACTERS


LONG = "The first sentence is a quiet one. The second one is much louder! Is the third one a question?"


def test_the_first_sentence_of_a_long_text_plays_while_the_others_are_made(app, rater):
    app.generator.next_part.clear()
    try:
        values = page_values(app, rater, LONG, samples=2, seed=7)
        first = next(values)
        assert first["partial"]
        assert len(first["parts"]) == 3
        assert " ".join(first["parts"]) == LONG
        assert [clip["frames"] for clip in first["clips"]] == [25, 30]
        assert [clip["token"] for clip in first["clips"]] == [None, None]
    finally:
        app.generator.next_part.set()
    *_, whole = values
    assert (whole["partial"], whole["run"]) == (False, first["run"])
    assert [clip["ends"] for clip in whole["clips"]] == [[25, 50, 75], [30, 60, 90]]
    assert all(clip["token"] for clip in whole["clips"])
    for begun, ended in zip(first["clips"], whole["clips"], strict=True):
        assert ended["data"].startswith(begun["data"][:600])


def test_one_sentence_arrives_in_one_go(app, rater):
    (value,) = page_values(app, rater)
    assert (value["partial"], value["parts"], value["notice"]) == (False, [TEXT], "")


def test_an_error_ends_a_long_text_with_one_sentence(app, rater):
    (value,) = page_values(app, rater, "This one will explode. Nobody will hear the rest.")
    assert "incident" in value["error"]


def test_the_page_gets_compact_clips_with_tokens(app, rater):
    value = page_generate(app, rater)
    assert value["notice"] == ""
    assert len({clip["token"] for clip in value["clips"]}) == 2
    clip = value["clips"][0]
    decoded = np.frombuffer(base64.b64decode(clip["data"]), "<i2").reshape(clip["frames"], 53) * clip["scale"]
    original = app.generator.generate(TEXT, 1, 1.0, 7)[0].coefficients
    assert np.abs(decoded - original).max() <= clip["scale"] / 2 + 1e-9
    assert len(json.dumps(clip)) < 64 * 53 * 4


BAD_REQUESTS = [
    ["", 4, 1.0, 7],
    ["   \n\t", 4, 1.0, 7],
    ["\u200b\u200d\ufeff", 4, 1.0, 7],
    ["a" * 10_000, 4, 1.0, 7],
    ["word " * 200_000, 4, 1.0, 7],
    [None, 4, 1.0, 7],
    [["a list"], 4, 1.0, 7],
    [TEXT, 0, 1.0, 7],
    [TEXT, -1, 1.0, 7],
    [TEXT, 1000, 1.0, 7],
    [TEXT, 1.5, 1.0, 7],
    [TEXT, True, 1.0, 7],
    [TEXT, "4", 1.0, 7],
    [TEXT, 4, float("nan"), 7],
    [TEXT, 4, float("inf"), 7],
    [TEXT, 4, -1, 7],
    [TEXT, 4, 2.01, 7],
    [TEXT, 4, 1e308, 7],
    [TEXT, 4, None, 7],
    [TEXT, 4, "0.5", 7],
    [TEXT, 4, True, 7],
    [TEXT, 4, 1.0, -1],
    [TEXT, 4, 1.0, 2**64],
    [TEXT, 4, 1.0, None],
    [TEXT, 4, 1.0, {}],
    [TEXT, 4, 1.0, 7, 3.1],
    [TEXT, 4, 1.0, 7, -0.1],
    [TEXT, 4, 1.0, 7, "1"],
]


@pytest.mark.parametrize("data", BAD_REQUESTS, ids=[repr(row)[:40] for row in BAD_REQUESTS])
def test_bad_requests_get_one_sentence_and_cost_nothing(app, data):
    calls = app.generator.calls
    event, payload = call(app, "generate", data)
    assert event == "error"
    assert payload["error"].endswith(".")
    assert len(payload["error"]) < 200
    assert "\n" not in payload["error"]
    assert "Traceback" not in payload["error"]
    assert app.generator.calls == calls


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=alert(1)>", "${7*7} {{7*7}}", "'; DROP TABLE ratings; --", "👩‍👩‍👧 ¡sí!"]
)
def test_odd_texts_stay_text(client, text):
    assert client.predict(text=text, samples=1, api_name="/generate")["clips"]


def test_a_defect_shows_an_incident_and_no_detail(app, caplog):
    event, payload = call(app, "generate", ["please explode", 1, 1.0, 7])
    assert event == "error"
    assert "incident" in payload["error"]
    assert "secret" not in payload["error"]
    incident = payload["error"].split("incident ")[1].split(")")[0]
    assert f"incident {incident}" in caplog.text


def test_a_missing_model_is_a_sentence_and_the_page_stays_up():
    def fail():
        raise WeightsError("The file model.safetensors is damaged.")

    handle = GeneratorHandle(fail)
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"unavailable\. The file"):
            handle.get()
    assert handle.status == "unavailable"


def test_the_public_api_is_generate_alone(app):
    named = httpx.get(f"{app.url}gradio_api/info").json()["named_endpoints"]
    assert list(named) == ["/generate"]
    assert [p["parameter_name"] for p in named["/generate"]["parameters"]] == [
        "text",
        "samples",
        "temperature",
        "seed",
        "guidance",
    ]


# -- rating ------------------------------------------------------------------------------------------------------------


def test_a_rating_reaches_the_database(app, rater):
    value = page_generate(app, rater)
    token, event = value["clips"][1]["token"], secrets.token_hex(16)
    reply = rate(app, token, rater, 4, event, "")
    assert reply.json() == {"id": event, "sequence": 1, "score": 4}
    (stored,) = [rating for rating in app.store.ratings() if rating.rater == rater]
    assert (stored.score, stored.position, stored.seed, stored.text, stored.head) == (4, 1, 8, None, "")
    rate(app, token, rater, 5, "", "", "default")
    (stored,) = [rating for rating in app.store.ratings() if rating.rater == rater]
    assert (stored.score, stored.head) == (5, "default")
    assert rate(app, token, rater, None, "", "").json()["sequence"] == 3
    assert not [rating for rating in app.store.ratings() if rating.rater == rater]


def test_forged_ratings_are_refused_and_stored_nowhere(app, rater):
    token = page_generate(app, rater)["clips"][0]["token"]
    before = len(app.store.events())
    forged = [
        ("no-such-token", rater, 3, "", ""),
        (token, secrets.token_hex(16), 3, "", ""),
        (token, rater, 6, "", ""),
        (token, rater, "3", "", ""),
        (token, rater, True, "", ""),
        (token, "'; DROP TABLE ratings", 3, "", ""),
        (token, rater, 3, "", "a sentence that it did not perform"),
        (token, rater, 3, "", "", "a head that nobody offered"),
        (token, rater, 3, "", "", ["default"]),
        (None, None, None, None, None, None),
        (token, rater, 3, "", "x" * 1_000_000),
    ]
    for data in forged:
        reply = rate(app, *data)
        assert reply.status_code in (400, 409, 413)
        assert reply.json()["error"].endswith(".")
    assert len(app.store.events()) == before


def test_a_full_queue_does_not_turn_ratings_away(app, rater):
    token = page_generate(app, rater)["clips"][0]["token"]
    app.generator.open_gate.clear()
    try:
        replies = [
            httpx.post(f"{app.url}gradio_api/call/generate", json={"data": [TEXT, 1, 1.0, 7]}) for _ in range(40)
        ]
        assert {reply.status_code for reply in replies} == {200, 503}
        started = time.monotonic()
        assert rate(app, token, rater, 5, "", "").status_code == 200
        assert httpx.get(f"{app.url}health").status_code == 200
        assert time.monotonic() - started < 2
    finally:
        app.generator.open_gate.set()
    deadline = time.monotonic() + 20
    while call(app, "generate", [TEXT, 1, 1.0, 7])[0] == "refused" and time.monotonic() < deadline:
        time.sleep(0.1)


def test_votes_that_wait_for_the_database_keep_nobody_else_waiting(app, rater):
    """More votes than the server has threads for them: files and pages have threads of their own."""
    tokens = register(app.settings, rater, MOST_AT_ONCE + 10)
    with ThreadPoolExecutor(len(tokens)) as pool:
        with app.store.database._writing:
            votes = [pool.submit(rate, app, token, rater, 3) for token in tokens]
            wait_for(lambda: len(app.store.database._queue) == MOST_AT_ONCE)
            assert httpx.get(app.url + offer(app)["heads"][0]["portrait"], timeout=20).status_code == 200
            assert not any(vote.done() for vote in votes)
        assert {vote.result().status_code for vote in votes} == {200}
    assert sum(rating.rater == rater for rating in app.store.ratings()) == len(tokens)


def test_without_a_store_faces_still_play(tmp_path, rater):
    blocker = tmp_path / "file"
    blocker.write_text("")
    running = RunningApp(blocker / "data")
    try:
        value = page_generate(running, rater)
        assert [clip["token"] for clip in value["clips"]] == [None, None]
        assert "Ratings are off" in value["notice"]
        health = httpx.get(f"{running.url}health").json()
        assert (health["status"], health["store"]) == ("degraded", "off")
    finally:
        running.close()


# -- serving -----------------------------------------------------------------------------------------------------------


def test_visitors_who_left_do_not_fill_the_memory(app):
    holder = app.blocks.state_holder
    for number in range(MOST_SESSIONS + 50):
        assert holder[f"visitor {number}"] is not None
    assert len(holder.session_data) <= MOST_SESSIONS + 1


def test_health(app):
    health = httpx.get(f"{app.url}health").json()
    assert health == {"status": "ok", "model": "ready", "store": "ok", "notice": "", "version": "test", "waiting": 0}


def offer(app: RunningApp) -> dict:
    """What the page is told about the heads."""
    components = httpx.get(f"{app.url}config").json()["components"]
    (props,) = [c["props"]["props"] for c in components if "heads" in c["props"].get("props", {})]
    return props


def test_the_page_offers_every_bundled_head_with_a_portrait(app):
    heads = offer(app)["heads"]
    assert [head["name"] for head in heads] == [head.name for head in bundled_heads()]
    assert heads[0]["name"] == "default"
    assert heads[0]["url"] == offer(app)["first_head"]
    for head in heads:
        assert head["space"] == "open"
        portrait = httpx.get(app.url + head["portrait"], timeout=30)
        assert portrait.headers["content-type"] == "image/webp"
        assert "immutable" in portrait.headers["cache-control"]
        with Image.open(io.BytesIO(portrait.content)) as picture:
            assert picture.size == (128, 128)
            assert np.asarray(picture.convert("L")).std() > 20


def test_a_head_of_ones_own_is_offered_first(tmp_path):
    own = dataclasses.replace(Rig.load(), name="mine", title="Mine").save(tmp_path / "own.safetensors")
    offered = offered_heads(own)
    assert [head.name for head in offered] == ["mine", *(head.name for head in bundled_heads())]
    assets = Assets(own)
    assert assets.head_url == assets.heads[0]["url"]
    assert assets.heads[0]["title"] == "Mine"
    (tmp_path / "text.safetensors").write_text("no head at all")
    with pytest.raises(WeightsError, match=r"text\.safetensors"):
        offered_heads(tmp_path / "text.safetensors")


def test_the_head_may_be_kept_for_ever(app):
    rig = offer(app)["first_head"]
    reply = httpx.get(app.url + rig)
    assert reply.content == app.services.rig_path.read_bytes()
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-encoding"] == "gzip"
    plain = httpx.get(app.url + rig, headers={"Accept-Encoding": "identity"})
    assert plain.content == reply.content
    assert "content-encoding" not in plain.headers


def test_files_of_the_computer_are_not_served(app):
    database = app.settings.database_file
    app.store.check()
    assert database.exists()
    paths = ["cteg-files/../settings.py", "cteg-files/%2e%2e/app.py", "cteg-files//etc/passwd"]
    paths += [f"gradio_api/file={path}" for path in (database, "/etc/passwd", ROOT / "app.py", app.services.rig_path)]
    for path in paths:
        assert httpx.get(app.url + path).status_code in (403, 404), path


def test_the_page_names_no_other_host(app):
    page = httpx.get(app.url).text
    assert "fonts.googleapis.com" not in page
    assert "fonts.googleapis.com" not in httpx.get(f"{app.url}theme.css").text


def test_settings_come_from_the_environment(tmp_path):
    environment = {"CTEG_DATA_DIR": str(tmp_path), "CTEG_HEAD": "", "CTEG_WEIGHTS": "somewhere", "HF_TOKEN": "secret"}
    settings = Settings.from_environment(environment)
    assert (settings.data_dir, settings.head, settings.weights) == (tmp_path, "default", "somewhere")
    assert settings.database_file == tmp_path / "ratings.sqlite3"
    assert "secret" not in repr(settings)
    with pytest.raises(WeightsError, match="no head 'none-such'"):
        head_path(Settings(head="none-such"))


def test_the_program_answers_within_seconds_and_ends_on_sigterm(tmp_path):
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "CTEG_DATA_DIR": str(tmp_path)}
    environment["CTEG_WEIGHTS"] = str(tmp_path / "none")  # the page must come up without a model, too
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["store"] == "ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
