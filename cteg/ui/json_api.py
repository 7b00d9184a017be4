"""Named actions over plain HTTP: what a request may hold, how one is refused, and what nobody is told.

    POST <prefix>/<action>    {"field": value, ...}    ->    JSON, bytes, or {"error": one sentence}

For what many send at once: a call of Gradio's web API costs six times as much, because without a session it copies the
state of the whole page. Exactly the fields of an action are taken, none may be missing; what they hold is checked where
it is used. 400 refuses what is no request, 409 one that cannot be taken now, 413 one that is too long, 503 one that
could not be stored; 500 is a defect, of which only a number is told.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cteg.errors import CtegError, InputError, StorageError

logger = logging.getLogger(__name__)

MOST_BYTES = 10_000
"""Length of a request; the longest honest one, a report of 50 events of the study, has about 2,000 bytes."""

MOST_AT_ONCE = 40
"""Threads of one API: those that wait for the database must not keep files and pages waiting."""

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Content-Type-Options": "nosniff"}


class TooLongError(InputError):
    """A request has more bytes than any honest one."""


class JsonApi:
    """Answers requests that name an action and give its fields.

    Args:
        prefix: First part of the path.
        actions: The fields of every action, in the order of its arguments.
        answer: Called in a thread with the action's name and its values; returns a dictionary or bytes. What it raises
            of `CtegError` is told, anything else becomes an incident number.
    """

    def __init__(
        self,
        prefix: str,
        actions: Mapping[str, tuple[str, ...]],
        answer: Callable[[str, list[Any]], dict[str, Any] | bytes],
    ) -> None:
        self._prefix = prefix
        self._actions = actions
        self._answer = answer
        self._threads = CapacityLimiter(MOST_AT_ONCE)

    def route(self) -> Route:
        """Return the route of all actions."""
        return Route(f"/{self._prefix}/{{action}}", self._serve, methods=["POST"])

    async def _serve(self, request: Request) -> Response:
        action = request.path_params["action"]
        try:
            values = self._read(action, request.headers, await _body(request))
            found = await to_thread.run_sync(self._answer, action, values, limiter=self._threads)
        except CtegError as error:
            logger.info("refused: %s", error)
            return JSONResponse({"error": str(error)}, _status(error), HEADERS)
        except Exception:
            incident = secrets.token_hex(4)
            logger.exception("incident %s", incident)
            sentence = f"Something went wrong on the server; please try again (incident {incident})."
            return JSONResponse({"error": sentence}, 500, HEADERS)
        if isinstance(found, bytes):
            return Response(found, headers=HEADERS, media_type="application/octet-stream")
        return JSONResponse(found, headers=HEADERS)

    def _read(self, action: str, headers: Headers, body: bytes) -> list[Any]:
        """Return the fields of an action, in their order."""
        if action not in self._actions:
            raise InputError("There is no such action.")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise InputError("A request is JSON and says so.")  # no form of another site can send that
        try:
            values = json.loads(body)
            json.dumps(values, ensure_ascii=False, allow_nan=False).encode()  # no NaN, no half of a character
        except (ValueError, RecursionError) as error:
            raise InputError("A request is JSON.") from error
        fields = self._actions[action]
        if not isinstance(values, dict) or values.keys() != set(fields):
            raise InputError(f"A request has exactly the fields {', '.join(fields)}.")
        return [values[field] for field in fields]


async def _body(request: Request) -> bytes:
    """Return the body of a request; one that is too long is not even read."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise TooLongError("This request is too long.")
    return content


def _status(error: CtegError) -> int:
    if isinstance(error, TooLongError):
        return 413
    if isinstance(error, InputError):
        return 400
    return 503 if isinstance(error, StorageError) else 409
