"""Bad input, B1 to B10 of `docs/reliability.md`, sent over HTTP to the real app with the bundled weights."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import secrets
import time
import urllib.parse

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cteg
from cteg import layout
from cteg.errors import InputError
from cteg.sentences import split_sentences
from cteg.study.export import export
from cteg.study.models import pseudonym
from cteg.study.store import Store
from tests.malice import NO_JSON_OBJECTS
from tests.reliability.harness import JSON, PATIENCE, ROOT, TEXT, AppProcess, register, report

SENTENCE = 200
"""Longest refusal, in characters, that still reads as one sentence."""


def check_refusal(event: str, payload: dict, mention: str) -> None:
    sentence = payload["error"]
    assert event == "error"
    assert sentence.endswith("."), sentence
    assert mention in sentence
    assert len(sentence) < SENTENCE
    assert "\n" not in sentence


def refused(app: AppProcess, requests: list[list], mention: str) -> None:
    """The web API refuses in one plain sentence, the page, too, and the model hears nothing of it."""
    calls = app.calls_of_the_model()
    for data in requests:
        check_refusal(*app.call("generate", data), mention)
    on_page = [*requests[0], *[0.0][: 5 - len(requests[0])]]  # Gradio's fields have sentences of their own
    message = app.press("generate_for_page", [*on_page, "0" * 32])
    assert not message["success"]
    assert "Traceback" not in json.dumps(message)
    assert app.calls_of_the_model() == calls


# -- B1 to B5: what is asked of the model ------------------------------------------------------------------------------


def test_b1_a_text_without_anything_to_read_is_refused(real_app):
    texts = ["", "   \n\t", "\u200b\u200d\ufeff", "\u202e\u2066", "\x00\x1b"]
    refused(real_app, [[text, 4, 1.0, 7] for text in texts], "empty")


def test_b2_long_texts_are_refused_and_leave_no_trace_in_memory(real_app):
    real_app.perform()
    before = real_app.memory()
    began = time.monotonic()
    texts = ["a" * 10_000, "word " * 200_000, "x" * 5_000, "👩‍👩‍👧" * 3_000]
    refused(real_app, [[text, 4, 1.0, 7] for text in texts], "the limit is 500")
    assert time.monotonic() - began < 10
    grown = real_app.memory() - before
    report("B2", memory_grown_MB=grown)
    assert grown < 40


def test_b2_a_body_of_100_megabytes_is_not_read(real_app):
    before = real_app.memory()

    def endless():
        for _ in range(100):
            yield b'"' + b"a" * 1_000_000

    for content in (b'{"data": ["' + b"a" * 20_000_000 + b'"]}', endless()):
        with contextlib.suppress(httpx.TransportError):  # the server may hang up in the middle, which is as good
            url = f"{real_app.url}gradio_api/call/generate"
            reply = httpx.post(url, content=content, headers=JSON, timeout=PATIENCE)
            assert reply.status_code == 413
            assert reply.json()["detail"].endswith("the limit is 2 MB.")
    assert real_app.health()["status"] == "ok"
    assert real_app.memory() - before < 40


ODD = {
    "emoji": "I am so happy 😀🎉",
    "joined emoji": "We are a family 👩‍👩‍👧‍👦 now",
    "right to left": "she said שלום and مرحبا to me",
    "bidi override": "abc \u202edesrever\u202c def",
    "stacked marks": "Z\u0335\u0321\u0322" * 20 + "algo",
    "cjk": "我很高兴见到你",
    "lone surrogate": "half \ud83d of an emoji",
    "nul": "before\x00after",
    "terminal": "\x1b[31mred\x1b[0m \x07bell",
    "lines": "first\r\nSet-Cookie: a=b\r\n\r\nsecond",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_b3_odd_characters_are_performed_and_come_back_harmless(real_app, text):
    logged = len(real_app.log())
    event, payload = real_app.call("generate", [text, 1, 1.0, 7])
    assert event == "complete"
    shown = payload[0]["text"]
    assert 0 < len(shown) <= len(text)
    assert not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 or c in "\u202e\u202c\u200d" for c in shown)
    assert len(real_app.log()[logged:].splitlines()) == 1  # no text can write a line of its own into the log


HOSTILE = {
    "script": "<script>alert(1)</script> hello",
    "handler": '<img src=x onerror="alert(1)"> hello',
    "template": "${7*7} {{7*7}} hello",
    "sql": "'; DROP TABLE ratings; -- hello",
    "formula": "=HYPERLINK(A1) hello",
    "traversal": "../../../../etc/passwd",
    "file": "file:///etc/passwd",
    "inside": "http://169.254.169.254/latest/meta-data/",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_b4_text_stays_text_from_the_page_to_the_table(real_app, rater, text):
    value = real_app.perform(text, samples=1, rater=rater)
    assert value["text"] == text
    token = value["clips"][0]["token"]
    assert real_app.rate(token, rater, 3, "", text, "default").status_code == 200
    (stored,) = [rating for rating in real_app.ratings() if rating.rater == rater]
    assert stored.text == text
    explained = real_app.press("explain", [value["run"]])
    assert explained["success"]
    assert "<script" not in json.dumps(explained)
    assert "<img" not in json.dumps(explained)


def test_b4_a_table_neutralises_formulas(real_app, rater, tmp_path):
    for start in "=+-@":
        text = f"{start}cmd(1) hello"
        value = real_app.perform(text, samples=1, rater=rater)
        assert real_app.rate(value["clips"][0]["token"], rater, 2, "", text).status_code == 200
    store = Store(real_app.settings)
    export(store, tmp_path)
    store.close()
    with (tmp_path / "ratings.csv").open(newline="") as file:
        cells = [row["text"] for row in csv.DictReader(file) if row["rater"] == pseudonym(rater)]
    assert [cell[:2] for cell in cells] == ["'=", "'+", "'-", "'@"]


BAD_SETTINGS = {
    "temperature": [float("nan"), float("inf"), float("-inf"), -1, 2.01, 1e308, "0.5", None, True, [1], {}],
    "samples": [0, -1, 1.5, 9, 1e9, "4", None, True, [4], float("nan")],
    "seed": [2**64, -1, 2**31, 0.5, "7", None, False, float("inf")],
    "guidance": [-0.1, 3.1, "1", None, True, float("nan")],
}
RANGES = {"temperature": "from 0 to 2", "samples": "from 1 to 8", "seed": "from 0 to 2147483647", "guidance": "0 to 3"}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_b5_settings_out_of_range_are_refused_with_the_range(real_app, name):
    usual = {"samples": 4, "temperature": 1.0, "seed": 7, "guidance": 0.0}
    requests = [[TEXT, *(usual | {name: value}).values()] for value in BAD_SETTINGS[name]]
    refused(real_app, requests, RANGES[name])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"data": 7}', b'{"data": [[[[[[]]]]]]}', b'{"data": []}', b'{"data": ["a"]}', b"[" * 20_000],
    ids=lambda body: body[:16].decode() or "nothing",
)
def test_b5_a_body_that_is_no_request_is_refused(real_app, body):
    calls = real_app.calls_of_the_model()
    event, payload = real_app.call("generate", body)
    assert event == "error" or event in ("status 400", "status 422")
    assert "Traceback" not in str(payload)
    assert str(ROOT) not in str(payload)
    assert real_app.calls_of_the_model() == calls
    assert real_app.health()["status"] == "ok"


# -- B6: votes ---------------------------------------------------------------------------------------------------------


def test_b6_votes_that_must_not_count_are_refused_logged_and_stored_nowhere(real_app, rater):
    (token,) = register(real_app.settings, rater, 1)
    other = secrets.token_hex(16)
    forged = {
        "unknown clip": ("no-such-clip", rater, 3),
        "another's clip": (token, other, 3),
        "answer 6": (token, rater, 6),
        "answer 0": (token, rater, 0),
        "a text for a score": (token, rater, "3"),
        "a truth for a score": (token, rater, True),
        "half a score": (token, rater, 2.5),
        "no rater": (token, "", 3),
        "an injected rater": (token, "'; DROP TABLE ratings; --", 3),
        "an id that is none": (token, rater, 3, "7"),
        "another sentence": (token, rater, 3, "", "what it did not perform"),
        "another head": (token, rater, 3, "", "", "nobody's head"),
        "lists": ([token], [rater], [3]),
        "nothing": (None, None, None),
    }
    before, logged = len(real_app.ratings()), len(real_app.log())
    for name, values in forged.items():
        reply = real_app.rate(*values)
        assert reply.status_code in (400, 409), name
        assert reply.json()["error"].endswith("."), name
    assert real_app.log()[logged:].count("refused:") == len(forged)
    assert len(real_app.ratings()) == before


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PLAIN = {"Content-Type": "text/plain"}
VOTE = '"token": "TOKEN", "rater": "RATER", "score": 3, "id": "", "text": "", "head": ""'
NO_VOTES = [
    *((content, JSON, 400) for content in NO_JSON_OBJECTS),
    ('{"data": ["TOKEN", "RATER", 3, "", "", ""]}', JSON, 400),
    (f'{{{VOTE}, "mode": "study"}}', JSON, 400),
    (f'{{{VOTE}, "is_admin": true}}', JSON, 400),
    (f"{{{VOTE[:-12]}}}", JSON, 400),
    (f"{{{VOTE}}}".replace("3", "NaN"), JSON, 400),
    (f"{{{VOTE}}}".replace("TOKEN", "\\ud800"), JSON, 400),
    (f"{{{VOTE}}}", PLAIN, 400),  # what a form of another site could send
    (f"{{{VOTE}}}", FORM, 400),
    (f"{{{VOTE}}}".replace('"head": ""', f'"head": "{"x" * 20_000}"'), JSON, 413),
    (f"{{{VOTE}}}".replace('"head": ""', f'"head": "{"x" * 5_000_000}"'), JSON, 413),
]


@pytest.mark.parametrize("action", ["rate", "choose"])
@pytest.mark.parametrize(("content", "headers", "status"), NO_VOTES)
def test_b6_what_is_no_vote_stores_nothing(real_app, rater, content, headers, status, action):
    (token,) = register(real_app.settings, rater, 1)
    if action == "choose":
        content = content.replace('"score": 3', '"is_best": true').replace('"score": NaN', '"is_best": NaN')
    body = content.replace("TOKEN", token).replace("RATER", rater)
    with contextlib.suppress(httpx.TransportError):  # it may hang up on what is too long
        reply = httpx.post(f"{real_app.url}cteg-vote/{action}", content=body, headers=headers, timeout=PATIENCE)
        assert reply.status_code == status
        assert "Traceback" not in reply.text
    assert not [rating for rating in real_app.ratings() if rating.rater == rater]


def test_b6_there_are_two_kinds_of_votes_and_no_other_way_to_them(real_app, rater):
    (token,) = register(real_app.settings, rater, 1)
    fields = {"token": token, "rater": rater, "score": 3, "id": "", "text": "", "head": ""}
    for action in ("register", "forget", "__init__", "_begin", "", "rate/rate", "..%2fhealth"):
        assert real_app.http.post(f"cteg-vote/{action}", json=fields).status_code in (400, 404), action
    assert real_app.http.get("cteg-vote/rate", params=fields).status_code == 405
    for name in ("rate", "choose"):
        assert name not in real_app.indices()
        assert real_app.http.post(f"gradio_api/run/{name}", json={"data": list(fields.values())}).status_code >= 400
    assert not [rating for rating in real_app.ratings() if rating.rater == rater]
    reply = real_app.rate(token, rater, 3)
    assert reply.status_code == 200
    assert reply.headers["cache-control"].startswith("no-store")


# -- B7: whose state ---------------------------------------------------------------------------------------------------


def test_b7_a_copied_session_brings_nobodys_state(real_app, rater):
    config = real_app.http.get("config").json()
    session = secrets.token_hex(5)
    value = real_app.press("generate_for_page", [TEXT, 1, 1.0, 7, 0, rater], session)["output"]["data"][0]
    token, thief = value["clips"][0]["token"], secrets.token_hex(16)
    fields = {"token": token, "rater": thief, "score": 1, "id": "", "text": "", "head": ""}
    for extra in ({}, {"session_hash": session}):
        assert real_app.http.post("cteg-vote/rate", json={**fields, **extra}).status_code in (400, 409)
    assert not [rating for rating in real_app.ratings() if rating.rater in (rater, thief)]
    states = [c for c in config["components"] if c["type"] == "state" and (c["props"].get("value") is not None)]
    assert states == []  # nothing that is trusted lies in a session


def test_b7_calling_by_number_checks_as_much_as_the_page(real_app):
    for name, index in real_app.indices().items():
        message = None
        reply = real_app.join(index, ["", -1, "x", None, {}, "no rater"], session := secrets.token_hex(5))
        if reply.status_code == 200:
            message = next(m for m in real_app.messages(session) if m["msg"] == "process_completed")
            assert "Traceback" not in json.dumps(message)
            assert str(ROOT) not in json.dumps(message)
        if name in ("generate", "generate_for_page", "take_away", "explain"):
            assert message is None or not message["success"], name
    for index in (10_000, -1, 2**70, "first", None):  # the server hangs up after each, so each needs its own connection
        body = {"data": [], "fn_index": index, "session_hash": "abc"}
        reply = httpx.post(f"{real_app.url}gradio_api/queue/join", json=body, timeout=PATIENCE)
        assert reply.status_code >= 400
        assert "Traceback" not in reply.text
    assert real_app.health()["status"] == "ok"


def test_b7_headers_of_a_proxy_change_nothing_that_counts(real_app, rater):
    (token,) = register(real_app.settings, rater, 1)
    for forged in ({"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "'; --"}, {"Forwarded": "for=127.0.0.1"}):
        event, payload = real_app.call("generate", [TEXT, 9, 1.0, 7], forged)
        assert (event, payload["error"].split(" must")[0]) == ("error", "The number of samples")
        fields = {"token": token, "rater": secrets.token_hex(16), "score": 3, "id": "", "text": "", "head": ""}
        assert real_app.http.post("cteg-vote/rate", json=fields, headers=forged).status_code == 409
        for path in ("gradio_api/file=/etc/passwd", "monitoring"):
            assert real_app.http.get(path, headers=forged).status_code in (403, 404)


# -- B8: files ---------------------------------------------------------------------------------------------------------


def test_b8_no_file_of_the_computer_is_served(real_app):
    database = real_app.settings.database_file
    assert database.is_file()
    files = [database, real_app.log_file, "/etc/passwd", "/proc/self/environ", ROOT / "app.py", ".env", "app.py"]
    files += [ROOT / "weights/cteg-open/model.safetensors", "weights/manifest.json", "../etc/passwd"]
    files += [f"{ROOT}/cteg/../app.py", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd"]
    prefixes = ("gradio_api/file=", "gradio_api/file/", "file=", "file/")
    paths = [prefix + str(path) for prefix, path in itertools.product(prefixes, files)]
    paths += [p.replace("../", "..%2f").replace("/etc", "%2fetc") for p in paths]
    paths += ["static/../../app.py", "static/%2e%2e/%2e%2e/app.py", "assets/..%2f..%2fapp.py", "custom_component/x/y"]
    paths += ["cteg-files/../settings.py", "cteg-files/%2e%2e/app.py", "cteg-files//etc/passwd", "gradio_api/proxy=x"]
    paths += [".env", ".git/config", "weights/manifest.json", "requirements.txt", f"gradio_api/stream/{'a' * 8}/1/x/y"]
    for path in paths:
        # Raw, because a client would tidy "..", which an attacker does not.
        status = raw_status(real_app.url, path)
        assert status in (400, 403, 404, 405), (status, path)


def raw_status(url: str, path: str) -> int:
    """Ask for a path exactly as it is written."""
    import http.client

    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.putrequest("GET", f"/{path}", skip_host=False)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_b8_nothing_can_be_uploaded(real_app):
    for content in (b"x", b"x" * 1000):
        reply = real_app.http.post("gradio_api/upload", files={"files": ("../../evil.py", content)})
        assert reply.status_code in (403, 404, 405, 413)
    assert not list(real_app.log_file.parent.rglob("evil.py"))


# -- B10: anything at all ----------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(), max_size=80) | st.text("abc def!?,.'", min_size=1, max_size=120)
LIKELY = st.tuples(st.integers(1, 8), st.floats(0, 2), st.integers(0, 2**31 - 1), st.sampled_from([0.0, 0.0, 1.0, 3.0]))


@pytest.fixture(scope="module")
def generator():
    return cteg.load()


def check_any_request(generator, text: str, chosen: tuple[int, float, int, float]) -> None:
    """A request is refused as a sentence, or gives clips that are finite, in range and the same again."""
    samples, temperature, seed, guidance = chosen
    try:
        clips = generator.generate(text, samples, temperature, seed, guidance)
    except InputError:
        return
    assert len(clips) == samples
    for clip in clips:
        frames = clip.coefficients
        assert frames.shape[1] == layout.D
        assert 1 <= len(frames) <= generator.model.config.max_frames * max(1, len(split_sentences(clip.text)))
        assert frames.dtype == np.float32
        assert np.isfinite(frames).all()
        assert frames[:, layout.EXPRESSION].min() >= 0
        assert frames[:, layout.EXPRESSION].max() <= 1
        limits = np.asarray(layout.JAW_LIMITS, np.float32)
        assert (frames[:, layout.JAW] >= limits[:, 0] - 1e-6).all()
        assert (frames[:, layout.JAW] <= limits[:, 1] + 1e-6).all()
    (again,) = generator.generate(text, 1, temperature, seed, guidance)
    assert np.array_equal(again.coefficients, clips[0].coefficients)


relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@given(ANY_TEXT, LIKELY)
@settings(relaxed, max_examples=20)
def test_b10_any_request_gives_good_clips_or_a_sentence(generator, text, chosen):
    check_any_request(generator, text, chosen)


@pytest.mark.slow
def test_b10_two_thousand_requests_give_good_clips_or_a_sentence(generator):
    counted = itertools.count()

    @given(ANY_TEXT, LIKELY)
    @settings(relaxed, max_examples=2000)
    def run(text, chosen):
        next(counted)
        check_any_request(generator, text, chosen)

    began = time.monotonic()
    run()
    report("B10", requests=next(counted), seconds=time.monotonic() - began)
