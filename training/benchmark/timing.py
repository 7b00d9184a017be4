"""How things are timed. Whatever is compared takes turns in one process, so that other work disturbs both sides."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 5

Action = Callable[[], Any]


def seconds(action: Action) -> float:
    """Time of one run."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def median_seconds(action: Action, repeats: int = REPEATS) -> float:
    """Median time after one run to warm up."""
    action()
    return statistics.median(seconds(action) for _ in range(repeats))


def in_turns(ways: Mapping[str, Action], rounds: int = REPEATS, once: Sequence[str] = ()) -> dict[str, float]:
    """Shortest time of every way; they take turns, and the first round warms up unless it is the only one.

    Args:
        ways: What is compared, by name.
        rounds: Turns of each.
        once: Ways that are too slow for more than one turn.
    """
    times = dict.fromkeys(ways, math.inf)
    for turn in range(rounds):
        for name, action in ways.items():
            if turn == 0 or name not in once:
                times[name] = min(times[name], seconds(action))
    return times


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size: 1 is linear, less grows slower than the size."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def describe_machine() -> dict[str, str]:
    """Processor, memory, system and the versions that the figures depend on."""
    import torch

    cpu, memory = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    models = [line.partition(":")[2].strip() for line in _lines(cpu) if line.startswith("model name")]
    total = next((int(line.split()[1]) for line in _lines(memory) if line.startswith("MemTotal")), 0)
    packages = ("torch", "numpy", "gradio", "plotly", "tokenizers")
    return {
        "processor": f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, {platform.machine()}",
        "memory": f"{total / 1e6:.1f} GB",
        "graphics": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "threads": str(torch.get_num_threads()),
    }


def load_average() -> float:
    """Processes that wanted to run during the last minute; figures of a busy machine are upper bounds."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
