"""What is turned away before anyone reads it, and what every reply tells the browser.

Gradio takes bodies of any size and an upload of any visitor; nothing here needs either.
"""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2_000_000
"""Largest body of a request: a hundred times what the page ever sends, and little enough for any number of visitors."""

TOO_LARGE = f"The request is too large; the limit is {MOST_BYTES // 1_000_000} MB."
NO_UPLOADS = "Nothing can be uploaded here."

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # Gradio starts itself and the player that way
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Sent with every reply: whatever got into the page could still not talk to any other host."""


class Gate:
    """ASGI middleware that refuses large bodies and uploads and adds `HEADERS`.

    Args:
        app: What comes behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        read = 0

        async def receive_within_limit() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise HTTPException(413, TOO_LARGE)
            return message

        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive_within_limit, send_with_headers)


def _refusal(scope: Scope) -> JSONResponse | None:
    """Return the reply to a request whose head alone says that it cannot be served."""
    if scope["path"].rstrip("/").endswith("/upload"):
        return JSONResponse({"detail": NO_UPLOADS}, 404)
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        return JSONResponse({"detail": TOO_LARGE}, 413)
    return None
