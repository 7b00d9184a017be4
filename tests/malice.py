"""What an attacker sends: values whose pickles are attacks, bodies that are no JSON object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NO_JSON_OBJECTS = ("", "{", "[]", "[" * 9000, "\x00\xff")


class Call:
    """Pickles as a call of any function, which a plain unpickler makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple]:
        return self.call
