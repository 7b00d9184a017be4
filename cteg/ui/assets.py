"""The player's files, the heads and their portraits, served with names that change with their content.

A browser may keep such a file for ever. Only these files are served, whose names are fixed at the start, so no request
can name a file of the computer. Portraits are drawn when they are first asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cteg.errors import CtegError
from cteg.face.heads import offered_heads, portrait

logger = logging.getLogger(__name__)

PREFIX = "cteg-files"
PLAYER_DIR = Path(__file__).resolve().parent / "player"
MEDIA_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".safetensors": "application/octet-stream",
    ".webp": "image/webp",
}
FOREVER = "public, max-age=31536000, immutable"


class Asset:
    """One file, kept in memory from its first use on.

    Args:
        media_type: Its MIME type.
        make: Returns its content.
    """

    def __init__(self, media_type: str, make: Callable[[], bytes]) -> None:
        self.media_type = media_type
        self._make = make

    @cached_property
    def content(self) -> bytes:
        """The bytes of the file."""
        return self._make()

    @cached_property
    def compressed(self) -> bytes:
        """The same, compressed by gzip."""
        return gzip.compress(self.content, 6, mtime=0)


class Assets:
    """The files that the page fetches.

    Args:
        rig_path: The head that the page shows first.

    Attributes:
        player_url: Address of the folder of the player's files, relative to the app's root, like all addresses.
        head_url: Address of the first head.
        heads: What the page lists of every head: name, title, space, url and portrait.
    """

    def __init__(self, rig_path: Path) -> None:
        player = {path.name: path.read_bytes() for path in sorted(PLAYER_DIR.iterdir()) if path.suffix in MEDIA_TYPES}
        self.player_url = f"{PREFIX}/player-{_digest(*player.values())}/"
        self._assets: dict[str, Asset] = {}
        for name, content in player.items():
            self._add(self.player_url + name, lambda content=content: content)
        self.heads: list[dict[str, str]] = []
        for head in offered_heads(rig_path):
            content = head.path.read_bytes()
            url, picture = (f"{PREFIX}/{kind}-{_digest(content)}" for kind in ("head", "portrait"))
            self._add(f"{url}.safetensors", lambda content=content: content)
            self._add(f"{picture}.webp", lambda path=head.path: portrait(path))
            entry = {"name": head.name, "title": head.title, "space": head.space}
            self.heads.append({**entry, "url": f"{url}.safetensors", "portrait": f"{picture}.webp"})
            if head.path.samefile(rig_path):
                self.head_url = f"{url}.safetensors"

    def route(self) -> Route:
        """Return the route that serves all files."""
        return Route(f"/{PREFIX}/{{path:path}}", self._serve, methods=["GET", "HEAD"])

    def _serve(self, request: Request) -> Response:
        asset = self._assets.get(f"{PREFIX}/{request.path_params['path']}")
        if asset is None:
            return Response("There is no such file.", status_code=404, media_type="text/plain")
        try:
            content = asset.content
        except CtegError as error:
            logger.error("%s: %s", request.url.path, error)
            return Response("This file cannot be made.", status_code=500, media_type="text/plain")
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if "gzip" in request.headers.get("Accept-Encoding", "") and asset.media_type == "application/octet-stream":
            headers["Content-Encoding"] = "gzip"  # Gradio's own middleware compresses text but not this
            return Response(asset.compressed, headers=headers, media_type=asset.media_type)
        return Response(content, headers=headers, media_type=asset.media_type)

    def _add(self, url: str, make: Callable[[], bytes]) -> None:
        self._assets[url] = Asset(MEDIA_TYPES[Path(url).suffix], make)


def _digest(*contents: bytes) -> str:
    """Return a short name for a sequence of contents."""
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()[:16]
