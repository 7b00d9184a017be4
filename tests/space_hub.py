"""A Hub on loopback that keeps Spaces: files of more than 10 MB are refused in a commit and go to its large storage."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.model_hub import COMMIT, FakeModelHub

LARGE = 10_000_000
NEW = {
    ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    "README.md": b"---\nsdk: gradio\n---\n",
}
"""What the Hub puts into a Space that it makes."""


class FakeSpaceHub(FakeModelHub):
    """Keeps Spaces by `owner/name`, as `FakeModelHub` keeps models.

    Attributes:
        private: Whether a Space can be seen by its owner only.
        stored: Large files by their sha256.
        made: What was asked for when Spaces were made.
        refusal: Status with which every request is refused; 0 for none.
    """

    def __init__(self, token: str) -> None:
        self.private: dict[str, bool] = {}
        self.stored: dict[str, bytes] = {}
        self.made: list[dict] = []
        self.refusal = 0
        super().__init__(token)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(f"{request.command} {path}")
        if path.startswith("/storage/"):  # an address that is allowed by itself
            self.stored[path.removeprefix("/storage/")] = body
            self.reply(request, 200, {})
        elif request.headers.get("Authorization") != f"Bearer {self.token}":
            self.reply(request, 401, {"error": "Invalid token"})
        elif self.refusal:
            self.reply(request, self.refusal, {"error": "no"})
        elif path == "/api/validate-yaml":  # asked before a README is committed
            wrong = [] if "app_file: app.py" in json.loads(body)["content"] else [{"message": "no app_file"}]
            self.reply(request, 200, {"errors": wrong, "warnings": []})
        elif path == "/api/repos/create":
            self.make(request, json.loads(body))
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [self.place(entry) for entry in json.loads(body)["objects"]]
            self.reply(request, 200, {"transfer": "basic", "objects": objects})
        elif path.startswith("/api/spaces/"):
            owner, name, *rest = path.removeprefix("/api/spaces/").split("/")
            self.answer_about(request, f"{owner}/{name}", "/".join(rest), body)
        else:
            self.reply(request, 404, {"error": path})

    def make(self, request: BaseHTTPRequestHandler, wanted: dict) -> None:
        self.made.append(wanted)
        repository = f"{wanted['organization']}/{wanted['name']}"
        address = {"url": f"{self.url}/spaces/{repository}"}
        if repository in self.files:
            self.reply(request, 409, {"error": "You already created this space repo", **address})
            return
        self.files[repository] = dict(NEW)
        self.private[repository] = wanted.get("visibility") == "private"
        self.reply(request, 200, address)

    def place(self, entry: dict) -> dict:
        """Say where a large file is to be sent, unless it is here."""
        action = {"upload": {"href": f"{self.url}/storage/{entry['oid']}", "header": {}}}
        return entry if entry["oid"] in self.stored else {**entry, "actions": action}

    def answer_about(self, request: BaseHTTPRequestHandler, repository: str, what: str, body: bytes) -> None:
        files = self.files[repository]
        if what.startswith("preupload/"):
            modes = [
                {"path": f["path"], "uploadMode": mode(f), "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self.reply(request, 200, {"files": modes})
        elif what.startswith("commit/"):
            for entry in map(json.loads, body.splitlines()):
                self.change(files, entry["key"], entry["value"])
            address = f"{self.url}/spaces/{repository}/commit/{COMMIT}"
            self.reply(request, 200, {"commitUrl": address, "commitOid": COMMIT})
        elif what == "settings":
            self.private[repository] = json.loads(body)["visibility"] == "private"
            self.reply(request, 200, {})
        else:
            siblings = [{"rfilename": path} for path in sorted(files)]
            values = {"id": repository, "sha": COMMIT, "siblings": siblings, "private": self.private[repository]}
            self.reply(request, 200, values)

    def change(self, files: dict[str, bytes], key: str, value: dict) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = self.stored[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]


def mode(file: dict) -> str:
    return "lfs" if file["size"] > LARGE or file["path"].endswith(".safetensors") else "regular"
