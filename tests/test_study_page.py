"""The study as a browser gets it: nothing tells what made a clip, and no request stores what did not happen."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import httpx
import numpy as np
import pytest
from scipy.stats import kruskal

from cteg.errors import InputError
from cteg.settings import Settings
from cteg.study import wording
from cteg.study.ballot import read_votes
from cteg.study.hub import HubSync
from cteg.study.store import Store
from cteg.ui.services import open_study, open_sync
from tests.hub import FakeHub
from tests.malice import NO_JSON_OBJECTS
from tests.study_app import NAMES, StudyApp, Visitor, make_set


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("stimuli") / "set")


@pytest.fixture(scope="module")
def shown(tmp_path_factory, stimuli):
    running = StudyApp(tmp_path_factory.mktemp("data"), stimuli)
    yield running
    running.close()


@pytest.fixture
def visitor(shown):
    visitor = Visitor(shown.url, shown.clock)
    yield visitor
    visitor.client.close()


# -- blind -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_visit(shown):
    """Everything that a browser received from consent to thanks, clips many times over."""
    visitor = Visitor(shown.url, shown.clock)
    page = visitor.ask("page")
    assert page["instruction"] == "Questions about this study: Ada, ada@example.org"
    page, clips = visitor.consent(), []
    trials = {trial.token: trial for trial in _trials(shown)}
    while page["step"] != "thanks":
        numbers = [clip for side in page["sides"] for clip in side]
        for number in [*numbers, *numbers]:
            visitor.send("clip", token=page["token"], clip=number)
            _, reply, seconds = visitor.replies[-1]
            trial = trials[page["token"]]
            name = [trial.left_condition, trial.right_condition][number >= len(trial.left_clips.split(","))]
            clips.append((name, reply, seconds))
        page = visitor.next(visitor.answer(page))
    visitor.client.close()
    return visitor, clips


def _trials(shown):
    import sqlalchemy as sa

    from cteg.study import models

    with shown.store.database.begin("") as connection:
        return list(connection.execute(sa.select(models.study_trials)))


def telling(shown) -> re.Pattern:
    """Whatever would tell: names of conditions, ids of clips and sentences' ids, words of the design."""
    words = [*NAMES, *shown.stimuli.by_id, "left_condition", "expected", "repeats", "check_state", "made by"]
    return re.compile("|".join(map(re.escape, words)))


def test_nothing_that_the_browser_received_names_a_condition(shown, whole_visit):
    visitor, _ = whole_visit
    pattern = telling(shown)
    assert len(visitor.replies) > 200
    for action, reply, _ in visitor.replies:
        received = reply.text + str(reply.headers) + str(reply.url)
        assert not pattern.search(received), action
    kinds = {json.loads(reply.text)["step"] for action, reply, _ in visitor.replies if action != "clip"}
    assert kinds == {"consent", "practice", "pair", "set", "single", "thanks"}


def test_clips_differ_in_nothing_but_their_motion(whole_visit):
    _, clips = whole_visit
    assert {name for name, _, _ in clips} == set(NAMES)
    assert len({len(reply.content) for _, reply, _ in clips}) == 1
    assert len({tuple(sorted((k, v) for k, v in reply.headers.items() if k != "date")) for _, reply, _ in clips}) == 1
    _, reply, _ = clips[0]
    assert "content-encoding" not in reply.headers
    assert (reply.headers["cache-control"], reply.headers["content-type"]) == (
        "no-store, no-transform",
        "application/octet-stream",
    )


def test_the_time_that_a_clip_takes_does_not_tell_what_made_it(whole_visit):
    _, clips = whole_visit
    times = defaultdict(list)
    for name, _, seconds in clips:
        times[name].append(seconds)
    assert min(map(len, times.values())) >= 6
    assert kruskal(*times.values()).pvalue > 1e-4, {name: np.median(some) for name, some in times.items()}


def test_neither_page_source_nor_scripts_tell_anything(shown):
    source = httpx.get(f"{shown.url}study").text
    config = httpx.get(f"{shown.url}config", params={"page": "study"}).text
    files = set(re.findall(r"cteg-files/[\w./-]+\.(?:css|js)", source))
    folder = next(iter(files)).rpartition("/")[0]
    scripts = ["study", "study_viewer", "study_server", "study_questions", "clip", "stage"]
    files |= {f"{folder}/{name}.js" for name in scripts}
    texts = {"source": source, "config": config}
    for file in files:
        reply = httpx.get(shown.url + file)
        assert reply.status_code == 200, file
        texts[file] = reply.text
    pattern = telling(shown)
    for name, text in texts.items():
        assert not pattern.search(re.sub(r"role: \"check\"|expected \$", "", text)), (name, pattern.search(text))


def test_the_stimuli_are_not_served(shown, stimuli):
    first = next((stimuli.folder / "clips").iterdir())
    for path in (stimuli.folder / "manifest.json", first):
        for url in (f"gradio_api/file={path}", f"file={path}", f"cteg-files/{path}", f"cteg-study/{path}"):
            assert httpx.get(shown.url + url).status_code in (403, 404, 405), url


# -- requests that should not be ---------------------------------------------------------------------------------------


def refuse(shown, reply: httpx.Response, before: dict, status: tuple[int, ...]) -> None:
    assert reply.status_code in status, reply.text
    assert reply.json()["error"].endswith(".")
    assert "Traceback" not in reply.text
    assert len(reply.content) < 300
    assert shown.rows() == before


def test_votes_that_did_not_happen_are_refused(shown, visitor, caplog):
    """B6 of the study."""
    caplog.set_level("INFO", "cteg.ui.json_api")
    before = shown.rows()
    refuse(shown, visitor.send("next", token="guess"), before, (409,))  # before consent
    refuse(shown, visitor.send("answer", token="guess", question="fit", value="left"), before, (409,))
    refuse(shown, visitor.send("consent", version="old", device="desktop"), before, (400,))
    page = visitor.consent()
    other = Visitor(shown.url, shown.clock)
    theirs = other.consent()
    before = shown.rows()
    token = page["token"]
    for value in ("left", 6, True):  # before playback
        refuse(shown, visitor.send("answer", token=token, question="fit", value=value), before, (400, 409))
    for foreign in (theirs["token"], "guess", token[:-1], token + "x"):
        refuse(shown, visitor.send("next", token=foreign), before, (409,))
        refuse(shown, visitor.send("answer", token=foreign, question="fit", value="left"), before, (409,))
        refuse(shown, visitor.send("clip", token=foreign, clip=0), before, (409,))
    refuse(shown, visitor.send("next", token=token), before, (409,))
    page = visitor.answer(page)
    before = shown.rows()
    wrong = [
        {"question": "fit", "value": 6},
        {"question": "fit", "value": "both"},
        {"question": "score", "value": 3},
        {"question": "__class__", "value": "left"},
        {"question": ["fit"], "value": "left"},
        {"question": "fit", "value": {"left": 1}},
    ]
    for answer in wrong:
        refuse(shown, visitor.send("answer", token=token, **answer), before, (400,))
    shown.clock.advance(601)  # expired
    reply = visitor.send("next", token=token)
    assert (reply.status_code, "expired" in reply.json()["error"]) == (409, True)
    page = visitor.ask("page")
    assert page["token"] != token
    done = visitor.answer(page)["token"]
    visitor.next({"token": done})
    before = shown.rows()
    refuse(shown, visitor.send("answer", token=done, question="fit", value="right"), before, (409,))  # done
    refuse(shown, visitor.send("report", token=done, events=[{"kind": "play", "clip": 0}]), before, (409,))
    assert visitor.send("next", token=done).status_code == 200  # sent again: the next page, nothing stored
    assert shown.rows() == before
    assert [vote.place for vote in read_votes(shown.store) if vote.attempt == 2] == [0]
    assert caplog.text.count("refused: ") >= 20
    other.client.close()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        *((content, JSON, 400) for content in NO_JSON_OBJECTS),
        ('{"rater": "RATER"}', JSON, 400),
        ('{"rater": "RATER", "token": "x", "extra": 1}', JSON, 400),
        ('{"rater": "RATER", "token": NaN}', JSON, 400),
        ('{"rater": "RATER", "token": null}', JSON, 400),
        ('{"rater": "\'; DROP TABLE study_votes", "token": "x"}', JSON, 400),
        ('{"rater": ["RATER"], "token": "x"}', JSON, 400),
        ('{"rater": "RATER", "token": "x"}', {"Content-Type": "text/plain"}, 400),
        ('{"rater": "RATER", "token": "' + "x" * 1_000_000 + '"}', JSON, 413),
        ('{"rater": "RATER", "token": "' + "x" * 5_000_000 + '"}', JSON, 413),
    ],
)
def test_requests_that_are_none_are_refused(shown, visitor, content, headers, status):
    body = content.replace("RATER", visitor.rater)
    before = shown.rows()
    reply = httpx.post(f"{shown.url}cteg-study/next", content=body, headers=headers)
    assert (reply.status_code, shown.rows()) == (status, before)
    assert "Traceback" not in reply.text


def test_only_the_actions_of_a_page_can_be_asked_for(shown, visitor):
    for action in ("_page_of", "__init__", "flags", "exposure", "..%2fhealth", "Page"):
        reply = visitor.send(action)
        assert reply.status_code in (400, 404)
    assert httpx.get(f"{shown.url}cteg-study/page").status_code == 405


def test_a_defect_shows_an_incident_and_no_detail(shown, visitor, monkeypatch, caplog):
    def explode(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(shown.services.study, "page", explode)
    reply = visitor.send("page")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.json()["error"].split("incident ")[1].split(")")[0] in caplog.text


def test_raters_delete_what_they_gave(shown, visitor):
    visitor.next(visitor.answer(visitor.consent()))
    assert visitor.ask("forget") == {"deleted": 1}
    assert visitor.ask("page")["step"] == "consent"


# -- switched on and off -----------------------------------------------------------------------------------------------


def test_without_a_study_nothing_of_it_appears(app):
    assert "study.js" not in httpx.get(f"{app.url}config").text
    assert "cteg-invitation" not in httpx.get(f"{app.url}config").text
    assert httpx.get(f"{app.url}study").status_code == 404
    assert httpx.post(f"{app.url}cteg-study/page", json={"rater": "a" * 32}).status_code in (404, 405)


def test_with_a_study_the_main_page_leads_to_it(shown):
    assert '<a href=\\"study\\">' in httpx.get(f"{shown.url}config").text
    assert "sync" not in httpx.get(f"{shown.url}health").json()


def test_the_study_can_be_alone_and_the_hub_shows_in_health(tmp_path, stimuli):
    hub = FakeHub()
    store = Store(Settings(data_dir=tmp_path / "hub"))
    running = StudyApp(tmp_path / "data", stimuli, True, sync=HubSync(store, "owner/ratings", "token", hub.url))
    try:
        config = httpx.get(f"{running.url}config").json()
        assert not [d["api_name"] for d in config["dependencies"] if d["api_name"] == "generate"]
        vote = {"token": "t", "rater": "a" * 32, "score": 3, "id": "", "text": "", "head": ""}
        assert httpx.post(f"{running.url}cteg-vote/rate", json=vote).status_code in (404, 405)
        moved = httpx.get(f"{running.url}study", follow_redirects=True)
        assert str(moved.url) == running.url
        health = httpx.get(f"{running.url}health").json()
        assert (health["status"], health["model"]) == ("ok", "off")
        assert health["sync"] == {"pending": 0, "lag_seconds": 0, "failures": 0, "problem": ""}
        assert Visitor(running.url).ask("page")["sentence"] == wording.CONSENT
    finally:
        running.close()
        running.services.sync.stop()
        hub.close()


def test_settings_open_the_study_and_the_upload(tmp_path, stimuli):
    environment = {"CTEG_STUDY": str(stimuli.folder), "CTEG_STUDY_ONLY": "1", "CTEG_STUDY_CONTACT": "Ada"}
    settings = Settings.from_environment({**environment, "CTEG_RATINGS_REPO": "owner/ratings", "HF_TOKEN": "secret"})
    assert (settings.study, settings.study_only, settings.study_contact) == (stimuli.folder, True, "Ada")
    store = Store(settings)
    assert open_study(settings, store).page("a" * 32).instruction.endswith("Ada")
    assert isinstance(open_sync(settings, store), HubSync)
    assert open_sync(Settings(ratings_repo="owner/ratings"), store) is None
    assert open_study(Settings(), store) is None
    with pytest.raises(InputError, match="CTEG_STUDY_ONLY needs"):
        open_study(Settings(study_only=True), store)
    with pytest.raises(InputError, match="no stimuli"):
        open_study(Settings(study=tmp_path), store)
