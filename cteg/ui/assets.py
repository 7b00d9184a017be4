"""The player's files and the head, served with names that change with their content.

A browser may keep such a file for ever. All contents are read once at start and served from memory, so no request can
name a file of the computer.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PREFIX = "cteg-files"
PLAYER_DIR = Path(__file__).resolve().parent / "player"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".safetensors": "application/octet-stream"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file in memory."""

    content: bytes
    compressed: bytes
    media_type: str


class Assets:
    """The files that the page fetches.

    Args:
        rig_path: The head.

    Attributes:
        player_url: Address of the folder of the player's files, relative to the app's root.
        head_url: Address of the head, relative to the app's root.
    """

    def __init__(self, rig_path: Path) -> None:
        player = {path.name: path.read_bytes() for path in sorted(PLAYER_DIR.iterdir()) if path.suffix in MEDIA_TYPES}
        self.player_url = f"{PREFIX}/player-{_digest(*player.values())}/"
        head = rig_path.read_bytes()
        self.head_url = f"{PREFIX}/head-{_digest(head)}.safetensors"
        files = {self.player_url + name: content for name, content in player.items()} | {self.head_url: head}
        self._assets = {url: _asset(url, content) for url, content in files.items()}

    def route(self) -> Route:
        """Return the route that serves all files."""
        return Route(f"/{PREFIX}/{{path:path}}", self._serve, methods=["GET", "HEAD"])

    def _serve(self, request: Request) -> Response:
        asset = self._assets.get(f"{PREFIX}/{request.path_params['path']}")
        if asset is None:
            return Response("There is no such file.", status_code=404, media_type="text/plain")
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if "gzip" in request.headers.get("Accept-Encoding", "") and asset.media_type == "application/octet-stream":
            headers["Content-Encoding"] = "gzip"  # Gradio's own middleware compresses text but not this
            return Response(asset.compressed, headers=headers, media_type=asset.media_type)
        return Response(asset.content, headers=headers, media_type=asset.media_type)


def _asset(url: str, content: bytes) -> Asset:
    media_type = MEDIA_TYPES[Path(url).suffix]
    return Asset(content, gzip.compress(content, 6, mtime=0), media_type)


def _digest(*contents: bytes) -> str:
    """Return a short name for a sequence of contents."""
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()[:16]
