"""CTEG in the browser: `python app.py`, then open the address that it prints.

The address is http://127.0.0.1:7860; `GRADIO_SERVER_NAME` and `GRADIO_SERVER_PORT` change it, `cteg/settings.py` lists
the other settings. The web API has one endpoint:

    from gradio_client import Client
    result = Client("http://127.0.0.1:7860").predict(
        text="I can't believe you came!", samples=4, temperature=1.0, seed=7, api_name="/generate"
    )
    result["clips"][0]["coefficients"]  # frames x 53
"""

from __future__ import annotations

import logging
import sys

import cteg
from cteg.errors import CtegError
from cteg.face.heads import read_head
from cteg.face.rig import check_space
from cteg.settings import Settings
from cteg.study.store import Store
from cteg.threads import wait_without_spinning
from cteg.ui.server import serve
from cteg.ui.services import Generator, GeneratorHandle, Services, head_path, open_study, open_sync


def load_generator(settings: Settings) -> Generator:
    """Load the model and perform once, so that the first visitor does not wait for what the first run prepares.

    Raises:
        SpaceError: The weights perform in another space than the head's, and no map leads there.
    """
    head = read_head(head_path(settings))
    flame_map = settings.flame_map if head.space == "open" else None
    generator = cteg.load(settings.weights, flame_map)  # brings torch, which takes seconds: the page is up before that
    check_space(head, generator.space)
    generator.generate("Hello.", samples=1)
    return generator


def main() -> int:
    """Start the app; return the exit code."""
    wait_without_spinning()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.from_environment()
    store = Store(settings, cteg.__version__)
    try:
        services = Services(
            generator=GeneratorHandle(lambda: load_generator(settings)),
            rig_path=head_path(settings),
            store=store,
            settings=settings,
            version=cteg.__version__,
            study=open_study(settings, store),
            sync=open_sync(settings, store),
        )
        serve(services)
    except CtegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
