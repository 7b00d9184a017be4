"""A small study without clips, and a PostgreSQL server of our own, that the tests of the study share."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from cteg.study.stimuli import Condition, Stimulus, StimulusSet, opaque_id, read_sentences
from tests.conftest import free_port

CONDITIONS = (
    Condition("cteg", "main"),
    Condition("cteg cool", "system"),
    Condition("reference", "reference"),
    Condition("nearest text", "system"),
    Condition("shuffled frames", "floor"),
    Condition("mismatched", "control"),
)


def study_without_clips(conditions=CONDITIONS, seed: int = 1, frames: int = 50, sentences=None) -> StimulusSet:
    sentences = tuple(sentences or read_sentences())
    stimuli = tuple(
        Stimulus(opaque_id("key", s.id, c.name, sample), s.id, c.name, sample, frames + sample, "0" * 64)
        for s in sentences
        for c in conditions
        for sample in range(3)
    )
    return StimulusSet("study-1", seed, sentences, tuple(conditions), stimuli)


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def binaries() -> Path | None:
    """Folder of a PostgreSQL server's programs, as Debian's package installs them."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "initdb").exists() else None


@contextmanager
def postgresql(folder: Path):
    """Run a server of our own on loopback and give its URL.

    PostgreSQL refuses to run as root; its user must be able to reach the folder.
    """
    programs, port = binaries(), free_port()
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], cwd="/", check=True, capture_output=True, timeout=120)

    data, log = str(folder / "data"), str(folder / "log")
    run(f"{programs}/initdb", "-D", data, "-U", "cteg", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off"
    run(f"{programs}/pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
    try:
        yield f"postgresql+psycopg://cteg@127.0.0.1:{port}/postgres"
    finally:
        run(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "stop")
