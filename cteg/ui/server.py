"""Starts and stops the web server."""

from __future__ import annotations

import gc
import importlib.util
import logging
import signal
import threading
import time
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from cteg.errors import InputError
from cteg.ui.assets import Assets
from cteg.ui.gate import Gate
from cteg.ui.page import build_app
from cteg.ui.services import Services
from cteg.ui.study_api import study_route
from cteg.ui.study_page import PATH
from cteg.ui.theme import make_theme
from cteg.ui.vote_api import vote_route

logger = logging.getLogger(__name__)

STOP_WITHIN = 8.5
"""Seconds for finishing what is under way and sending what is left; who asks a program to end kills it after ten."""

MOST_SESSIONS = 256
"""Visitors of whom Gradio keeps a copy of the page with its last values, some 0.2 MB each; nothing of ours needs it."""

STYLESHEETS = (
    "page.css",
    "player.css",
    "heads.css",
    "controls.css",
    "bars.css",
    "insights.css",
    "about.css",
    "study.css",
)


def launch(services: Services, **options: Any) -> gr.Blocks:
    """Start the server in the background and return the running app; `close` stops it.

    Args:
        services: What the app works with.
        options: Further options of Gradio's `launch`, such as the port.

    Raises:
        InputError: The settings ask for an MCP server, and the package that it needs is missing.
    """
    if services.settings.mcp and importlib.util.find_spec("mcp") is None:
        raise InputError("CTEG_MCP=1 needs one more package: pip install 'gradio[mcp]'.")
    assets = Assets(services.rig_path)
    blocks = build_app(services, assets)

    def health(_: Request) -> JSONResponse:
        waiting = len(blocks._queue)  # Gradio tells it to nobody who does not wait
        return JSONResponse({**services.health(), "waiting": waiting}, headers={"Cache-Control": "no-store"})

    routes = [Route("/health", health), assets.route()]
    if services.study is not None:
        routes.append(study_route(services.study))
    if not services.settings.study_only:
        routes.append(vote_route(services.store, {head["name"] for head in assets.heads}))
    else:
        routes.append(Route(f"/{PATH}", lambda _: RedirectResponse("./")))
    closed = [services.settings.data_dir, services.settings.study, services.settings.event_log]
    stylesheets = "".join(f'<link rel="stylesheet" href="{assets.player_url}{name}">' for name in STYLESHEETS)
    blocks.launch(
        **options,
        prevent_thread_lock=True,
        theme=make_theme(),
        head=stylesheets,
        footer_links=["api"],
        run_history=False,
        show_error=False,
        state_session_capacity=MOST_SESSIONS,
        share=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=services.settings.mcp,
        max_file_size=1,  # nothing here takes files
        blocked_paths=[str(folder) for folder in closed if folder is not None],
        app_kwargs={"routes": routes, "middleware": [Middleware(Gate)]},
    )
    if services.sync is not None:
        services.sync.start()
    if not services.settings.study_only:
        services.generator.start()
    return blocks


def serve(services: Services) -> None:
    """Run the app until it is interrupted or asked to terminate, then finish what is under way."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    blocks = launch(services)
    stop.wait()
    logger.info("stopping")
    deadline = time.monotonic() + STOP_WITHIN
    blocks.close(verbose=False)  # waits up to five seconds for what is under way
    if services.sync is not None:
        services.sync.stop(max(1.0, deadline - time.monotonic()))
    services.store.close()
    gc.freeze()  # the program ends: looking through all objects once more would take seconds
