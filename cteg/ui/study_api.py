"""The blind study over HTTP: what a request may hold is checked here, everything that counts in `cteg.study.engine`.

    POST cteg-study/<action>    {"rater": ..., further fields of the action}    ->    a page, a clip, or {"error": ...}

Exactly the fields of an action are taken, none may be missing. A refusal is one sentence: 400 for a request that is
none, 409 for one that the study cannot take now (the page is over, is another's, was not watched), 413 for one that is
too long. Clips are sent as bytes of one length, which nobody on the way compresses.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cteg.errors import InputError, StudyError
from cteg.study.engine import Engine, Page

logger = logging.getLogger(__name__)

PREFIX = "cteg-study"
MOST_BYTES = 10_000
"""Length of a request; a report of 50 events has about 2,000 bytes."""

ACTIONS: dict[str, tuple[str, ...]] = {
    "page": (),
    "consent": ("version", "device"),
    "clip": ("token", "clip"),
    "report": ("token", "events"),
    "answer": ("token", "question", "value"),
    "next": ("token",),
    "forget": (),
}
"""Methods of the engine with the fields that they take, after the rater."""

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Content-Type-Options": "nosniff"}


class TooLongError(InputError):
    """A request has more bytes than any honest one."""


class StudyApi:
    """Answers requests of the study's page.

    Args:
        engine: The study.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def route(self) -> Route:
        """Return the route of all actions."""
        return Route(f"/{PREFIX}/{{action}}", self._serve, methods=["POST"])

    async def _serve(self, request: Request) -> Response:
        try:
            values = _read(request.path_params["action"], request.headers, await _body(request))
            return await run_in_threadpool(self._answer, request.path_params["action"], values)
        except (InputError, StudyError) as error:
            logger.info("refused: %s", error)
            status = 413 if isinstance(error, TooLongError) else 400 if isinstance(error, InputError) else 409
            return JSONResponse({"error": str(error)}, status, HEADERS)
        except Exception:
            incident = secrets.token_hex(4)
            logger.exception("incident %s", incident)
            sentence = f"Something went wrong on the server; please try again (incident {incident})."
            return JSONResponse({"error": sentence}, 500, HEADERS)

    def _answer(self, action: str, values: list[Any]) -> Response:
        found = getattr(self._engine, action)(*values)
        if isinstance(found, bytes):
            return Response(found, headers=HEADERS, media_type="application/octet-stream")
        return JSONResponse(asdict(found) if isinstance(found, Page) else {"deleted": found}, headers=HEADERS)


async def _body(request: Request) -> bytes:
    """Return the body of a request; one that is too long is not even read."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise TooLongError("This request is too long.")
    return content


def _read(action: str, headers: Any, body: bytes) -> list[Any]:
    """Return the rater and the fields of an action, in their order."""
    if action not in ACTIONS:
        raise InputError("The study knows no such action.")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InputError("A request is JSON and says so.")  # no form of another site can send that
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("A request is JSON.") from error
    fields = ("rater", *ACTIONS[action])
    if not isinstance(values, dict) or values.keys() != set(fields):
        raise InputError(f"A request has exactly the fields {', '.join(fields)}.")
    return [values[field] for field in fields]
