"""Votes of the page over HTTP: how well a face fits its sentence, and which face is the best of its result.

    POST cteg-vote/rate      {"token", "rater", "score", "id", "text", "head"}      ->    {"id", "sequence", "score"}
    POST cteg-vote/choose    {"token", "rater", "is_best", "id", "text", "head"}    ->    {"id", "sequence", "is_best"}

Votes have nothing to do with Gradio's queue: a full queue of sentences turns none away. `cteg.ui.json_api` says how a
request is refused, `cteg.study.store` what the fields mean; empty ones are `""`. A reply is a receipt of what is on
disk; the same `id` sent again is stored once and gets the same receipt.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from starlette.routing import Route

from cteg.errors import InputError
from cteg.study.store import Store
from cteg.ui.json_api import JsonApi

PREFIX = "cteg-vote"

ACTIONS: dict[str, tuple[str, ...]] = {
    "rate": ("token", "rater", "score", "id", "text", "head"),
    "choose": ("token", "rater", "is_best", "id", "text", "head"),
}
"""Methods of the store with the fields that they take."""


def vote_route(store: Store, head_names: Collection[str]) -> Route:
    """Return the route on which the player votes.

    Args:
        store: Keeps the votes.
        head_names: Names of the heads that the page offers.
    """

    def answer(action: str, values: list[Any]) -> dict[str, Any]:
        head = values[-1]
        if head and (not isinstance(head, str) or head not in head_names):
            raise InputError("A rating needs the name of a head that this page offers.")
        if action == "rate":
            return asdict(store.rate(*values))
        event, sequence = store.choose(*values)
        return {"id": event, "sequence": sequence, "is_best": values[2]}

    return JsonApi(PREFIX, ACTIONS, answer).route()
