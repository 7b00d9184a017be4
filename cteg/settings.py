"""The settings that the environment gives: the one place where CTEG reads it.

`GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT` are Gradio's own and stay with Gradio, which reads them when it starts the
server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

DEFAULT_HEAD = "default"
DATABASE_FILE = "ratings.sqlite3"


@dataclass(frozen=True)
class Settings:
    """Where the app finds its files and keeps its data.

    Attributes:
        weights: Folder or Hub id of the weights; None for the bundled ones.
        head: Name of a bundled head or path of a head file.
        flame_map: File that maps clips of the flame space to open heads (`cteg.face.space_map`); None for none.
        data_dir: Folder of the ratings, outside the working directory so that the web server cannot serve it.
        database_url: SQLAlchemy URL of the ratings; None for `DATABASE_FILE` in the data folder.
        event_log: Folder for one sealed file per rating; None for off.
        ratings_repo: Hub dataset that ratings are uploaded to; None for off.
        hub_token: Token for that dataset; never shown.
        study: Folder of the stimuli of a blind study (`python -m cteg study stimuli`); None for no study.
        study_only: Whether the app shows the study alone; no model is loaded then.
        study_contact: Whom raters of the study can ask, in words; None for nobody.
        mcp: Whether the app is an MCP server, too.
        is_space: Whether this runs on Hugging Face Spaces, which sets `SPACE_ID`.
    """

    weights: str | None = None
    head: str = DEFAULT_HEAD
    flame_map: Path | None = None
    data_dir: Path = field(default_factory=lambda: default_data_dir())
    database_url: str | None = field(default=None, repr=False)
    event_log: Path | None = None
    ratings_repo: str | None = None
    hub_token: str | None = field(default=None, repr=False)
    study: Path | None = None
    study_only: bool = False
    study_contact: str | None = None
    mcp: bool = False
    is_space: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; an empty variable counts as not set.

        Args:
            environment: The variables, by name.
        """

        def value(name: str) -> str | None:
            return environment.get(name, "").strip() or None

        data_dir, event_log = value("CTEG_DATA_DIR"), value("CTEG_EVENT_LOG")
        flame_map, study = value("CTEG_FLAME_MAP"), value("CTEG_STUDY")
        return cls(
            weights=value("CTEG_WEIGHTS"),
            head=value("CTEG_HEAD") or DEFAULT_HEAD,
            flame_map=Path(flame_map).expanduser().absolute() if flame_map else None,
            data_dir=Path(data_dir).expanduser().absolute() if data_dir else default_data_dir(),
            database_url=value("CTEG_DATABASE_URL"),
            event_log=Path(event_log).expanduser().absolute() if event_log else None,
            ratings_repo=value("CTEG_RATINGS_REPO"),
            hub_token=value("HF_TOKEN"),
            study=Path(study).expanduser().absolute() if study else None,
            study_only=value("CTEG_STUDY_ONLY") == "1",
            study_contact=value("CTEG_STUDY_CONTACT"),
            mcp=value("CTEG_MCP") == "1",
            is_space=value("SPACE_ID") is not None,
        )

    @property
    def database_file(self) -> Path | None:
        """The SQLite file of the ratings; None where `database_url` names another database."""
        return None if self.database_url else self.data_dir / DATABASE_FILE


def default_data_dir() -> Path:
    """Return the per-user data folder of this computer."""
    return Path(platformdirs.user_data_dir("cteg", appauthor=False))
