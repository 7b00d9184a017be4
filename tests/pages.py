"""A page of the app in a real browser, for the tests of the player."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

TEXT = "I got the job, I can't believe it!"
ROOT = ".cteg-player"
HOST = f"document.querySelector('{ROOT}').parentElement.cteg"


class Page:
    """A page of the app with what it asked for and complained about."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **context})
        self.tab = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", self._listen)
        self.url = url

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning") and "GPU stall" not in message.text:
            self.complaints.append(message.text)

    def open(self, state: str = "empty") -> Page:
        self.tab.goto(self.url)
        self.wait(state)
        return self

    def wait(self, state: str) -> None:
        self.tab.wait_for_selector(f'{ROOT}[data-state="{state}"]', timeout=60_000, state="attached")

    def perform(self, text: str = TEXT, samples: int = 4) -> Page:
        self.tab.fill("#cteg-samples input[type=number]", str(samples))
        self.tab.fill("#cteg-text textarea", text)
        self.tab.press("#cteg-text textarea", "Enter")
        self.wait("ready")
        return self

    def set_frame(self, frame: int) -> None:
        self.tab.evaluate(f"{HOST}.setFrame({frame})")

    def state(self, name: str) -> str:
        return self.tab.evaluate(f"document.querySelector('{ROOT}').dataset.{name}")

    def faces(self) -> list[np.ndarray]:
        shots = [window.screenshot() for window in self.tab.locator(".window").all()]
        return [np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int) for shot in shots]

    def player_folder(self) -> str:
        """Where the player's files are."""
        return next(url for url in self.requests if url.endswith("/player.js")).removesuffix("player.js")
