"""A Space of one's own on the Hugging Face Hub: which files it needs, and their upload (`docs/space.md`).

Only files that the app reads go up: the code by its endings, the weights by their manifest, so that nothing else that
lies in these folders, such as a head that may not be passed on, is published by accident.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cteg.errors import InputError, WeightsError

ROOT = Path(__file__).resolve().parent.parent
SINGLE_FILES = ("app.py", "requirements.txt", "LICENSE", "docs/licences.md")
CODE_ENDINGS = {".py", ".js", ".css", ".html", ".tsv"}
DESCRIPTIONS = ("manifest.json", "README.md")
"""Files that go along with the weights beside them."""

OURS = ("cteg/", "weights/")
"""Folders of a Space in which files that are not part of the app any more are removed."""

TIMEOUT = 60.0
"""Seconds without an answer after which a request has failed."""

CONTENTS = """
This Space is the app of CTEG {version}, uploaded by `python -m cteg space`. What is in it, and under which licence:
[docs/licences.md](docs/licences.md). What the weights learned from, and what they cannot do:
[weights/cteg-open](weights/cteg-open/README.md).
"""
_MEANING = {
    401: "the token is missing, wrong or expired",
    402: "this kind of Space needs a paid plan; `python -m cteg site` makes a page for a static one, which is free",
    403: "the token may not write there",
    409: "somebody else changes this Space at the moment",
    429: "too many requests; try again later",
}


@dataclass(frozen=True)
class SpaceFile:
    """One file of a Space.

    Attributes:
        path: Its path in the Space.
        source: The file, or its content.
    """

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


def plan_space(version: str, root: Path = ROOT) -> list[SpaceFile]:
    """Return all files of a Space.

    Args:
        version: Version of CTEG, named in the Space's README.
        root: Folder of the project's source.

    Raises:
        InputError: The folder is not the project's source.
        WeightsError: A file of the weights is missing or not the one that the manifest names.
    """
    missing = [name for name in (*SINGLE_FILES, "README.md", "weights/manifest.json") if not (root / name).is_file()]
    if missing:
        raise InputError(f"A Space is made of the project's source, and here {missing[0]} is missing.")
    code = sorted(path for path in (root / "cteg").rglob("*") if path.suffix in CODE_ENDINGS and path.is_file())
    paths = [*(root / name for name in SINGLE_FILES), *code, *_weights(root / "weights")]
    readme = SpaceFile("README.md", _readme((root / "README.md").read_text(encoding="utf-8"), version).encode())
    return [readme, *(SpaceFile(path.relative_to(root).as_posix(), path) for path in paths)]


def check_repository(repository: str) -> None:
    """Raise an `InputError` for what cannot be the name of a Space."""
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"The Space is {repository!r}; it has the form owner/name.")


def upload_space(files: list[SpaceFile], repository: str, token: str | None, version: str, is_private: bool) -> str:
    """Make a Space or bring it up to date, in one commit.

    Files of the app that it does not have any more are removed; other files of the Space stay, and so does who may see
    it, unless it is to be private.

    Args:
        files: What `plan_space` returns.
        repository: `owner/name`; made if it does not exist.
        token: Allows to write to it; None takes that of `HF_TOKEN` or of `hf auth login`.
        version: Named in the commit.
        is_private: Whether only its owner may see it.

    Returns:
        The address of the Space.

    Raises:
        InputError: There is no token, the Hub refuses or cannot be reached, or the Space holds another app.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.utils import get_session

    check_repository(repository)
    token = token or get_token()
    if not token:
        raise InputError("The Hub needs a token that may write: set HF_TOKEN, or run `hf auth login`.")
    get_session().timeout = TIMEOUT  # its own default waits for ever
    api = HfApi(token=token)
    with _plain_refusals(repository):
        address = api.create_repo(
            repository, repo_type="space", space_sdk="gradio", private=is_private or None, exist_ok=True
        )
        found = api.repo_info(repository, repo_type="space")
        present = {file.rfilename for file in found.siblings or ()}
        if "app.py" in present and "cteg/__init__.py" not in present:
            raise InputError(f"The Space {repository} holds another app; choose another name.")
        if is_private and not found.private:
            api.update_repo_settings(repository, private=True, repo_type="space")
        old = {path for path in present if path.startswith(OURS)} - {file.path for file in files}
        operations: list[Any] = [CommitOperationAdd(file.path, file.source) for file in files]
        operations += [CommitOperationDelete(path) for path in sorted(old)]
        # The client asks the Hub which files are too large for git, and stores those apart.
        api.create_commit(repository, operations, commit_message=f"CTEG {version}", repo_type="space")
    return str(address)


@contextmanager
def _plain_refusals(repository: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence; it never holds the token."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except InputError:
        raise
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name of a Space on the Hub.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = _MEANING.get(status, "an error of its own")
        raise InputError(f"The Hub refused the upload with status {status}: {why}.") from error
    except Exception as error:  # no network, no name, a timeout, an answer that is none: the client raises many kinds
        raise InputError(f"The Hub could not be reached ({type(error).__name__}).") from error


def _weights(folder: Path) -> list[Path]:
    """Return the weights that the manifest names, with the manifests and model cards beside them."""
    try:
        digests = dict[str, str](json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError("The file weights/manifest.json is damaged.") from error
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise WeightsError(f"The file weights/{name} is missing or not the one that weights/manifest.json names.")
    paths = {folder / name for name in digests}
    beside = {place / name for place in {path.parent for path in paths} | {folder} for name in DESCRIPTIONS}
    return sorted(paths | {path for path in beside if path.is_file()})


def _readme(readme: str, version: str) -> str:
    """Return the Space's README: the front matter and introduction of the project's, without pictures and what follows.

    The Hub reads the front matter: which file is the app, which Gradio and Python it needs.
    """
    if not readme.startswith("---\n"):
        raise InputError("A Space is made of the project's source, and here README.md has no front matter.")
    return readme.partition("\n![")[0].rstrip() + "\n" + CONTENTS.format(version=version)
