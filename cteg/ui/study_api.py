"""The blind study over HTTP: `cteg.study.engine` decides what a request does, `cteg.ui.json_api` what it may hold.

    POST cteg-study/<action>    {"rater": ..., further fields of the action}    ->    a page, a clip, or {"error": ...}

Clips are sent as bytes of one length, which nobody on the way compresses.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.routing import Route

from cteg.study.engine import Engine, Page
from cteg.ui.json_api import JsonApi

PREFIX = "cteg-study"

ACTIONS: dict[str, tuple[str, ...]] = {
    "page": ("rater",),
    "consent": ("rater", "version", "device"),
    "clip": ("rater", "token", "clip"),
    "report": ("rater", "token", "events"),
    "answer": ("rater", "token", "question", "value"),
    "next": ("rater", "token"),
    "forget": ("rater",),
}
"""Methods of the engine with the fields that they take."""


def study_route(engine: Engine) -> Route:
    """Return the route on which the study's page asks for everything."""

    def answer(action: str, values: list[Any]) -> dict[str, Any] | bytes:
        found = getattr(engine, action)(*values)
        if isinstance(found, bytes):
            return found
        return asdict(found) if isinstance(found, Page) else {"deleted": found}

    return JsonApi(PREFIX, ACTIONS, answer).route()
