"""What a report says of how it was made: command, hardware, date, code."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def describe_command(module: str, options: Mapping[str, Any]) -> str:
    """Write the command that repeats a run; folders outside the project go by their last name, absent options out."""
    words = [f"python -m {module}"]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            shown = item.name if isinstance(item, Path) and item.is_absolute() else item
            words.append(f"--{name.replace('_', '-')} {shlex.quote(str(shown))}")
    return " ".join(words)


def describe_corpus(folder: Path) -> str:
    """Name of the corpus, and its size where its `meta.json` says it."""
    path = folder / "meta.json"
    if not path.is_file():
        return folder.name
    counts = json.loads(path.read_text())["counts"]
    sizes = [f"{split} {one['sentences']:,} ({one['performances']:,} performances)" for split, one in counts.items()]
    return f"{folder.name}, sentences: " + ", ".join(sizes)


def describe_hardware() -> str:
    """Processor, its cores, and the GPU if there is one."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = (line.partition(":") for line in information.read_text().splitlines())
        processor = next((value.strip() for key, _, value in lines if key.strip() == "model name"), processor)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{processor}, {os.cpu_count()} cores{gpu}"


def code_version() -> str:
    """Return the commit of this code, or `unknown` outside a checkout or without git."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:  # where the code is: the folder that a command is run in may be a checkout of something else
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def describe_run(module: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, for the head of a report."""
    return {
        "command": describe_command(module, options),
        "seed": options["seed"],
        "hardware": describe_hardware(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "code": code_version(),
    }
