"""One real app with the bundled weights for all tests that leave it as it was."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.reliability.harness import AppProcess


@pytest.fixture(scope="session")
def real_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    running = AppProcess(tmp_path_factory.mktemp("app"))
    try:
        yield running.wait_until_ready()
    finally:
        running.end()


@pytest.fixture
def rater() -> str:
    return secrets.token_hex(16)
