"""The real app, which also logs every call of the model: so that tests can see what never reached it."""

from __future__ import annotations

import logging
import sys
from typing import Any

import app

PERFORMED = "the model performs"

logger = logging.getLogger("tests.model")


class Observed:
    """A generator that logs a line whenever it is asked to perform."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def generate(self, *args: Any, **options: Any) -> Any:
        logger.info("%s", PERFORMED)
        return self._generator.generate(*args, **options)

    def stream(self, *args: Any, **options: Any) -> Any:
        logger.info("%s", PERFORMED)
        return self._generator.stream(*args, **options)


if __name__ == "__main__":
    load = app.load_generator
    app.load_generator = lambda settings: Observed(load(settings))
    sys.exit(app.main())
