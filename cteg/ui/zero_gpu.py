"""ZeroGPU: a Space that is lent a GPU for the length of a call.

The package `spaces`, which such Spaces have installed, runs a decorated function in a process that has the GPU, forked
from this one when it is called. It must be decorated before the server starts, or the Space is refused; the model goes
to the GPU inside, where there is one, and the process ends with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from cteg.clip import Clip
from cteg.ui.services import Services

LONGEST_CALL = 30
"""Seconds for which a GPU is asked; eight performances of the longest text take less."""

Perform = Callable[[str, dict[str, Any]], Iterator[list[Clip]]]
"""Called with a checked text and checked settings; yields what `Generator.stream` does."""


def performer(services: Services) -> Perform:
    """Return what performs texts: on this computer's processors, or on a ZeroGPU Space on its GPU."""

    def perform(text: str, settings: dict[str, Any]) -> Iterator[list[Clip]]:
        yield from services.generator.get().stream(text, **settings)

    if not services.settings.is_space or importlib.util.find_spec("spaces") is None:
        return perform
    import spaces

    @spaces.GPU(duration=LONGEST_CALL)
    def perform_on_gpu(text: str, settings: dict[str, Any]) -> Iterator[list[Clip]]:
        import torch

        generator = services.generator.get()
        if torch.cuda.is_available():  # on a Space without ZeroGPU the decorator does nothing
            generator.to("cuda")
        yield from generator.stream(text, **settings)

    def perform_when_loaded(text: str, settings: dict[str, Any]) -> Iterator[list[Clip]]:
        services.generator.get()  # the process with the GPU is a copy of this one, so the model must be here
        yield from perform_on_gpu(text, settings)

    return perform_when_loaded
