"""The study's vote path as a server that is killed again and again: imported once, then one process per life.

python -m tests.study_lives PORT FOLDER [HUB]      a line on standard input begins a life, its process id is printed

With the address of a Hub a life uploads instead of serving.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub  # noqa: F401 - so that no life has to import it
import uvicorn
from starlette.applications import Starlette

from cteg.settings import Settings
from cteg.study.engine import Engine
from cteg.study.hub import HubSync
from cteg.study.store import Store
from cteg.ui.study_api import study_route
from tests.study import study_without_clips

ROOT = Path(__file__).parent.parent


def settings_in(folder: Path) -> Settings:
    return Settings(data_dir=folder / "data", event_log=folder / "log")


def short_study():
    """Clips of a twentieth of a second, so that votes come quickly."""
    return study_without_clips(frames=1)


class Lives:
    """The server in one life after another, on one port and one folder."""

    def __init__(self, port: int, folder: Path, hub: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}/"
        command = [sys.executable, "-m", "tests.study_lives", str(port), str(folder), *([hub] if hub else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self.life = 0

    def begin(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.life = int(self.process.stdout.readline())

    def kill(self) -> None:
        """End the present life without warning and wait until it is gone."""
        os.kill(self.life, signal.SIGKILL)
        assert self.process.stdout.readline() == "gone\n"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def serve(port: int, folder: Path) -> None:
    engine = Engine(Store(settings_in(folder), "test"), short_study())
    uvicorn.run(Starlette(routes=[study_route(engine)]), port=port, log_level="error")


def upload(folder: Path, hub: str) -> None:
    sync = HubSync(Store(settings_in(folder), "test"), "owner/ratings", "token", hub)
    while True:
        sync.flush()
        time.sleep(0.01)


def main(port: int, folder: Path, hub: str = "") -> None:
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            upload(folder, hub) if hub else serve(port, folder)
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
