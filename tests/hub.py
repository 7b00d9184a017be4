"""A Hub of our own on loopback: it speaks as much of the real one's language as uploads need, and fails on demand."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub:
    """Keeps the files of one dataset.

    Attributes:
        files: Content by path.
        failure: How requests fail: a status, `stall`, `reset`, `lost reply` (the commit is made) or empty.
        exists: Whether the dataset is there.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failure: int | str = ""
        self.exists = True
        self.private: bool | None = None
        self.commits = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hub.answer(self, body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.failure == "stall":
            threading.Event().wait(1.5)  # not time.sleep, which tests replace
        if self.failure in ("stall", "reset"):
            request.close_connection = True
            request.connection.close()
            return
        if isinstance(self.failure, int):
            self.reply(request, self.failure, {"error": "no"}, {"Retry-After": "77"})
            return
        if request.path == "/api/repos/create":
            self.exists, self.private = True, json.loads(body).get("private", json.loads(body).get("visibility"))
            self.reply(request, 200, {"url": f"{self.url}/datasets/owner/ratings"})
        elif not self.exists:
            self.reply(request, 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif request.path == "/api/datasets/owner/ratings/preupload/main":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.reply(request, 200, {"files": files})
        elif request.path == "/api/datasets/owner/ratings/commit/main":
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.commits += 1
            if self.failure == "lost reply":
                request.close_connection = True
                request.connection.close()
                return
            self.reply(
                request,
                200,
                {"commitUrl": f"{self.url}/datasets/owner/ratings/commit/{'1' * 40}", "commitOid": "1" * 40},
            )
        else:
            self.reply(request, 404, {"error": request.path})

    def reply(self, request: BaseHTTPRequestHandler, status: int, values: dict, headers: dict | None = None) -> None:
        content = json.dumps(values).encode()
        request.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": len(content),
            **(headers or {}),
        }.items():
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(content)

    def rows(self) -> list[dict]:
        return [json.loads(line) for content in self.files.values() for line in content.decode().splitlines()]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
