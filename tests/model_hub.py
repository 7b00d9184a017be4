"""A Hub on loopback that keeps repositories of models: as much of the real one's language as push and load need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "1" * 40


class FakeModelHub:
    """Keeps files by repository and path; refuses who does not show the token.

    Attributes:
        files: Content by `owner/name` and path.
        asked: Method and path of every request.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hub.answer(self, body)

            do_GET = do_POST  # noqa: N815
            do_HEAD = do_POST  # noqa: N815
            do_PUT = do_POST  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(f"{request.command} {path}")
        if request.command == "POST" and request.headers.get("Authorization") != f"Bearer {self.token}":
            self.reply(request, 401, {"error": "Invalid token"})
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            self.files.setdefault(f"{wanted.get('organization') or 'owner'}/{wanted['name'].split('/')[-1]}", {})
            self.reply(request, 200, {"url": f"{self.url}/owner/{wanted['name']}"})
        elif path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            self.answer_about(request, f"{owner}/{name}", "/".join(rest), body)
        elif "/resolve/" in path:
            repository, _, rest = path[1:].partition("/resolve/")
            self.send_file(request, self.files.get(repository, {}).get(rest.partition("/")[2]))
        else:
            self.reply(request, 404, {"error": path})

    def answer_about(self, request: BaseHTTPRequestHandler, repository: str, what: str, body: bytes) -> None:
        if repository not in self.files:
            self.reply(request, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files = self.files[repository]
        if what.startswith("preupload/"):
            wanted = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in wanted]
            self.reply(request, 200, {"files": modes})
        elif what.startswith("commit/"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            address = f"{self.url}/{repository}/commit/{COMMIT}"
            self.reply(request, 200, {"commitUrl": address, "commitOid": COMMIT})
        elif what.startswith("tree/"):
            entries = [{"type": "file", "path": p, "size": len(c), "oid": git_id(c)} for p, c in sorted(files.items())]
            self.reply(request, 200, entries)
        else:
            siblings = [{"rfilename": path} for path in sorted(files)]
            self.reply(request, 200, {"id": repository, "sha": COMMIT, "siblings": siblings, "private": False})

    def send_file(self, request: BaseHTTPRequestHandler, content: bytes | None) -> None:
        if content is None:
            self.reply(request, 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        request.send_response(200)
        for name, value in {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(content)}"', "Accept-Ranges": "none"}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def reply(self, request: BaseHTTPRequestHandler, status: int, values: object, headers: dict | None = None) -> None:
        content = json.dumps(values).encode()
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
