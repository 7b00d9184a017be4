"""What the page and the web API can do through Gradio, and the one place where their input is checked.

Gradio does not check what arrives over HTTP, so every value is checked here, before the model is touched. Errors that
are meant for people become one sentence; anything else becomes an incident number, with the details in the log only.
"""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from cteg.errors import CtegError, InputError, StudyError
from cteg.sentences import split_sentences
from cteg.study.store import check_identifier
from cteg.ui.insights import Explainer, Insights
from cteg.ui.packing import exact_lists, shared, shown
from cteg.ui.services import Services, weights_folder
from cteg.ui.take_away import RecentRuns, TakeAway
from cteg.ui.zero_gpu import performer

logger = logging.getLogger(__name__)

NEWS_EVERY = 1.5
"""Seconds between two of the page's looks at faces that are still being made: each look brings all frames so far."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def at_the_edge(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn every error of `function` into a `gr.Error` with one sentence and no internals."""

    @functools.wraps(function)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise _for_people(error) from None

    @functools.wraps(function)
    def guarded_generator(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Iterator[Any]:
        try:
            yield from function(*args, **kwargs)
        except Exception as error:
            raise _for_people(error) from None

    return guarded_generator if inspect.isgeneratorfunction(function) else guarded


def _for_people(error: Exception) -> gr.Error:
    """Return what is told of an error; must be called while it is handled."""
    if isinstance(error, CtegError):
        logger.info("refused: %s", error)
        return gr.Error(str(error), title="Not possible", print_exception=False)
    incident = secrets.token_hex(4)
    logger.exception("incident %s", incident)
    sentence = f"Something went wrong on the server; please try again (incident {incident})."
    return gr.Error(sentence, title="Error", print_exception=False)


class Actions:
    """The callbacks of the page and of the web API.

    Args:
        services: What they work with.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._perform = performer(services)
        self._runs = RecentRuns()
        self._take_away = TakeAway(self._runs, services.rig_path)
        self._explainer = Explainer(weights_folder(services.settings) / "motion_classifier.safetensors")

    @at_the_edge
    def generate(
        self, text: str, samples: int = 4, temperature: float = 1.0, seed: int = 7, guidance: float = 0.0
    ) -> dict:
        """Perform a text as several different facial animations, a longer one sentence by sentence in one clip each.

        Args:
            text: The sentence or sentences, 1 to 500 characters.
            samples: How many different performances, 1 to 8.
            temperature: How much they may differ, 0 to 2.
            seed: 0 to 2147483647; sample i uses seed + i, so it does not depend on `samples`.
            guidance: 0 to 3: how much more clearly than learned the feeling shows, at the cost of variety.

        Returns:
            `{"text", "temperature", "guidance", "weights", "space", "fps", "clips"}`, each clip
            `{"seed", "frames", "coefficients"}` where `coefficients` is a list of frames with 53 numbers each
            (`cteg.layout.COEFFICIENT_NAMES`), exactly the float32 values of the model.
        """
        text, settings = _checked(text, samples, temperature, seed, guidance)
        *_, clips = self._perform(text, settings)
        return {
            **shared(clips),
            "clips": [
                {"seed": clip.seed, "frames": len(clip), "coefficients": exact_lists(clip.coefficients)}
                for clip in clips
            ],
        }

    @at_the_edge
    def generate_for_page(
        self, text: Any, samples: Any, temperature: Any, seed: Any, guidance: Any, rater: Any
    ) -> Iterator[dict]:
        """Perform a text for the player and record the clips, so that this rater can rate them.

        Yields:
            The value of the player: the clips as base64 of little-endian int16 times `scale`, each with the token that
            its rating needs; tokens are null and `notice` says why where ratings cannot be taken. Of a text of several
            `parts`, first the clips as far as they are made, marked as `partial` and without tokens, under the same
            `run`; the `ends` of a clip are the frames at which its parts end.
        """
        check_identifier(rater, "rater")
        text, settings = _checked(text, samples, temperature, seed, guidance)
        parts, ends = split_sentences(text), []
        run, told = self._runs.new(), 0.0
        for clips in self._perform(text, settings):
            ends.append([len(clip) for clip in clips])
            self._runs.keep(run, clips)
            if len(ends) < len(parts) and time.monotonic() - told > NEWS_EVERY:
                told = time.monotonic()
                yield {**shown(clips, ends), "run": run, "parts": parts, "notice": "", "partial": True}
        tokens: list[str | None] = [None] * len(clips)
        notice = ""
        try:
            tokens = list(self._services.store.register(rater, clips))
        except StudyError as error:
            notice = str(error)
        yield {**shown(clips, ends, tokens), "run": run, "parts": parts, "notice": notice, "partial": False}

    @at_the_edge
    def take_away(self, event: gr.EventData, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 - Gradio's way
        """Make the file that the player asks for; see `TakeAway.make`."""
        return self._take_away.make(event, progress)

    @at_the_edge
    def explain(self, run: Any) -> Insights:
        """Read out a recent request; see `Explainer.explain`."""
        if not run:
            raise InputError("Generate some faces first; then there is something to explain.")
        return self._explainer.explain(self._services.generator.get(), self._runs.find(run))


def _checked(text: Any, *settings: Any) -> tuple[str, dict[str, Any]]:
    """Return a checked request; a bad one never waits for the model."""
    from cteg.sampling import check_settings  # these two import torch, which loads in the background
    from cteg.text import check_text

    return check_text(text), asdict(check_settings(*settings))
