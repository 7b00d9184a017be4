"""Publish weights on the Hugging Face Hub: `python -m training.push FOLDER owner/name`.

`cteg.load("owner/name")` then fetches them, and checks them against their manifest like any others. The token is that
of `huggingface-cli login` or `HF_TOKEN`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cteg.checkpoint import push_to_hub, resolve_folder
from cteg.errors import CtegError, InputError
from training.common import plain_errors


@plain_errors
def main(
    folder: Annotated[Path, typer.Argument(help="weights folder, such as RUN/weights")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hub; made if it does not exist")],
) -> None:
    """Upload a weights folder and print the address of the commit."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    if repository.count("/") != 1:
        raise InputError(f"The repository is {repository!r}; it has the form owner/name.")
    try:
        typer.echo(push_to_hub(resolve_folder(folder), repository))
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name of a repository on the Hub.") from error
    except LocalTokenNotFoundError as error:
        raise InputError("The Hub needs a token: set HF_TOKEN, or run huggingface-cli login.") from error
    except HfHubHTTPError as error:
        raise InputError(f"The Hub refused the upload with status {error.response.status_code}.") from error
    except CtegError:
        raise
    except Exception as error:  # no network, no name, a timeout, an answer that is none: the client raises many kinds
        raise InputError(f"The Hub could not be reached ({type(error).__name__}).") from error


if __name__ == "__main__":
    typer.run(main)
