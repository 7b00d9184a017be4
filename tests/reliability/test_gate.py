"""What every reply tells the browser, and what is turned away before anyone reads it."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import httpx
import pytest

from cteg.ui.gate import HEADERS, MOST_BYTES
from tests.reliability.harness import PATIENCE


@pytest.mark.parametrize("path", ["", "health", "config", "no-such-page", "gradio_api/file=/etc/passwd"])
def test_every_reply_carries_the_policy(app, path):
    reply = httpx.get(app.url + path, timeout=PATIENCE)
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS
    assert "set-cookie" not in reply.headers


def test_the_policy_names_no_other_host():
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "//" not in policy
    assert "*" not in policy


def test_what_is_too_large_is_refused_by_its_head(app):
    for length, expected in ((MOST_BYTES + 1, 413), (10**30, 400), ("many", 400), ("-1", 400)):
        address = urlsplit(app.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        connection.putrequest("POST", "/cteg-vote/rate")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()  # and no body: nobody waits for it
        assert connection.getresponse().status == expected
        connection.close()


def test_nothing_can_be_uploaded(app):
    reply = httpx.post(f"{app.url}gradio_api/upload", files={"files": ("x.txt", b"x")}, timeout=PATIENCE)
    assert (reply.status_code, reply.json()["detail"]) == (404, "Nothing can be uploaded here.")
