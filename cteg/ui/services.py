"""What the app works with: handed in, so that the page can be built and tested without weights."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cteg.clip import Clip
from cteg.errors import CtegError, InputError, StudyError, WeightsError
from cteg.face.heads import read_head
from cteg.face.rig import HEADS_DIR, check_space
from cteg.settings import Settings
from cteg.study.engine import Engine
from cteg.study.hub import HubSync
from cteg.study.stimuli import StimulusSet
from cteg.study.store import Store

logger = logging.getLogger(__name__)


class Generator(Protocol):
    """Anything that performs a sentence."""

    name: str

    def generate(
        self, text: str, samples: int = 4, temperature: float = 1.0, seed: int = 7, guidance: float = 0.0
    ) -> list[Clip]:
        """Return `samples` clips of one text."""
        ...

    def stream(
        self, text: str, samples: int = 4, temperature: float = 1.0, seed: int = 7, guidance: float = 0.0
    ) -> Iterator[list[Clip]]:
        """Yield the clips as far as they are, once for every part of the text."""
        ...

    def to(self, device: str) -> Generator:
        """Move to a device."""
        ...

    def read_feelings(self, text: str) -> dict[str, float]:
        """Return the feelings that the text encoder reads in a sentence, label -> probability; empty if it cannot."""
        ...


class GeneratorHandle:
    """A generator that loads in the background, so that the page is up at once.

    Args:
        load: Makes the generator; runs once, in a thread of its own.
    """

    def __init__(self, load: Callable[[], Generator]) -> None:
        self._load = load
        self._done = threading.Event()
        self._started = threading.Lock()
        self._generator: Generator | None = None
        self._refusal = ""

    @property
    def status(self) -> Literal["loading", "ready", "unavailable"]:
        """Whether the generator can be used yet."""
        if not self._done.is_set():
            return "loading"
        return "unavailable" if self._generator is None else "ready"

    def start(self) -> None:
        """Begin to load, unless that was begun before."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name="load-generator", daemon=True).start()

    def get(self) -> Generator:
        """Return the generator, waiting for it while it loads.

        Raises:
            WeightsError: It could not be loaded; the message names the cause where it is one for users.
        """
        self.start()
        self._done.wait()
        if self._generator is None:
            raise WeightsError(f"The model is unavailable. {self._refusal}".strip())
        return self._generator

    def _run(self) -> None:
        try:
            self._generator = self._load()
        except CtegError as error:
            logger.error("the model is unavailable: %s", error)
            self._refusal = str(error)
        except Exception:  # whatever a broken installation raises: the page stays up and says so
            logger.exception("the model is unavailable")
        finally:
            self._done.set()


@dataclass(frozen=True)
class Services:
    """Everything that the app needs.

    Attributes:
        generator: Performs sentences.
        rig_path: The head that the player shows.
        store: Keeps the ratings.
        settings: Where data lies; the app blocks its folder for the web server.
        version: Version of CTEG, shown by `/health`.
        study: The blind study; None where there is none.
        sync: Sends ratings to the Hub; None where it is off.
    """

    generator: GeneratorHandle
    rig_path: Path
    store: Store
    settings: Settings = field(default_factory=Settings)
    version: str = ""
    study: Engine | None = None
    sync: HubSync | None = None

    def health(self) -> dict[str, Any]:
        """Return the state of the app: `status` is `ok` only when sentences can be performed and ratings stored."""
        report: dict[str, Any] = {"model": self.generator.status, "store": "ok", "notice": ""}
        try:
            self.store.check()
            if self.sync is not None:
                report["sync"] = self.sync.status()
        except StudyError as error:
            report.update(store="off", notice=str(error))
        if report["model"] == "unavailable":
            report["notice"] = "The model is unavailable, so no sentence can be performed at the moment."
        if self.settings.study_only:
            report["model"] = "off"
        healthy = report["model"] in ("ready", "off") and report["store"] == "ok"
        return {"status": "ok" if healthy else "degraded", **report, "version": self.version}


def open_study(settings: Settings, store: Store) -> Engine | None:
    """Return the study that the settings name, with all its clips read; None where they name none.

    Raises:
        InputError: There is no such study, or one of its clips is damaged.
        SpaceError: The head cannot perform its clips.
    """
    if settings.study is None:
        if settings.study_only:
            raise InputError("CTEG_STUDY_ONLY needs CTEG_STUDY, the folder of a study's stimuli.")
        return None
    stimuli = StimulusSet.load(settings.study)
    check_space(read_head(head_path(settings)), stimuli.space)
    logger.info("study %s: %d clips", stimuli.study, len(stimuli.payloads))
    return Engine(store, stimuli, settings.study_contact or "")


def open_sync(settings: Settings, store: Store) -> HubSync | None:
    """Return what sends ratings to the dataset that the settings name; None where they name none or no token."""
    if not settings.ratings_repo or not settings.hub_token:
        return None
    return HubSync(store, settings.ratings_repo, settings.hub_token)


def weights_folder(settings: Settings) -> Path:
    """Return the folder of the configured weights; one that does not exist where they come from the Hub."""
    return Path(settings.weights) if settings.weights else HEADS_DIR.parent / "cteg-open"


def head_path(settings: Settings) -> Path:
    """Return the file of the configured head.

    Raises:
        WeightsError: There is no such file.
    """
    path = Path(settings.head)
    if path.suffix != ".safetensors":
        path = HEADS_DIR / f"{settings.head}.safetensors"
    if not path.is_file():
        raise WeightsError(f"There is no head '{settings.head}'.")
    return path
