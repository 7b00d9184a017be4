"""Servers that can be killed a hundred times: imported once, then one process per life.

python -m tests.reliability.killable      a line on standard input starts the app, its process id is printed
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import app
from cteg.clip import Clip
from cteg.settings import Settings
from cteg.study.hub import HubSync
from cteg.study.store import Store
from tests.reliability.harness import PATIENCE, ROOT, AppProcess, free_port, new_client

forks = get_context("forkserver")
forks.set_forkserver_preload(["cteg.study.hub", "cteg.clip", "huggingface_hub", "tests.reliability.killable"])


class KillableApp(AppProcess):
    """The app without a model, on one port and one data folder, in one life after another."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url, self.http = f"http://127.0.0.1:{port}/", new_client(f"http://127.0.0.1:{port}/")
        self.settings, self.log_file = Settings(data_dir=folder / "data"), folder / "log"
        environment = {"GRADIO_SERVER_PORT": str(port), "CTEG_DATA_DIR": str(self.settings.data_dir)}
        environment["CTEG_WEIGHTS"] = str(folder / "none")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.killable"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.life = 0

    def begin_life(self) -> None:
        """Start the app and wait for it."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.life = int(self._line())
        self.wait_until_up()

    def kill(self) -> None:
        """End its life without warning and wait until it is gone."""
        os.kill(self.life, signal.SIGKILL)
        assert self._line() == "gone\n"

    def _line(self) -> str:
        """The next line of the process, which a process that hangs would never write."""
        assert select.select([self.process.stdout], [], [], PATIENCE)[0], "the server says nothing"
        return self.process.stdout.readline()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.http.close()


def upload(settings: Settings, endpoint: str) -> None:
    """Rate and upload until killed."""
    store = Store(settings, "test")
    sync = HubSync(store, "owner/ratings", "hf_secret_token", endpoint)
    rater = "a" * 32
    while True:
        for token in store.register(rater, [Clip(np.zeros((1, 53)), seed=seed) for seed in range(3)]):
            store.rate(token, rater, 3, secrets.token_hex(16))
        sync.flush()


def main() -> None:
    """Start the app in a process of its own for every line."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            os._exit(app.main())
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
