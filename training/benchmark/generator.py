"""A sentence with the bundled weights: how long until the first frames, and until all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

import cteg
from cteg import sampling
from cteg.checkpoint import BUNDLED
from cteg.ui.examples import EXAMPLES
from training.benchmark.timing import in_turns, median_seconds, seconds

SAMPLES = (1, 4, 8)


def measure_generator(
    samples: Sequence[int] = SAMPLES, rounds: int = 5, text: str = EXAMPLES["joy"]
) -> dict[str, float]:
    """Times of the generator alone, and the size of what it loads.

    Args:
        samples: Numbers of samples to draw.
        rounds: Turns of each way.
        text: One sentence.
    """
    generator: Any = None

    def load() -> None:
        nonlocal generator
        generator = cteg.load()

    figures = {"load the weights (s)": seconds(load)}
    figures["encode the sentence (s)"] = median_seconds(lambda: generator.encoder.encode([text]), rounds)

    def first_frames(count: int) -> None:
        states = generator.encoder.encode([text])
        seeds = list(range(7, 7 + sampling.ROWS))
        steps = sampling.stream(generator.model, states.states, states.mask, seeds, 1.0, count)
        next(itertools.islice(steps, 1))

    def generate(count: int, threads: int = torch.get_num_threads(), is_cached: bool = True) -> Callable[[], Any]:
        def run() -> None:
            usual = torch.get_num_threads()
            torch.set_num_threads(threads)
            generator.generate(text, samples=count, seed=7, is_cached=is_cached)
            torch.set_num_threads(usual)

        return run

    ways = {f"first frames of {count} samples (s)": lambda count=count: first_frames(count) for count in samples}
    ways |= {f"{count} samples in full (s)": generate(count) for count in samples}
    middle = samples[len(samples) // 2]
    alone, full_prefix = f"{middle} samples, one thread (s)", f"{middle} samples, full prefix (s)"
    ways |= {alone: generate(middle, 1), full_prefix: generate(middle, is_cached=False)}
    times = in_turns(ways, rounds)
    whole = times[f"{middle} samples in full (s)"]
    frames = len(generator.generate(text, samples=1, seed=7)[0])
    files = [path for path in BUNDLED.parent.rglob("*") if path.is_file()]
    return (
        figures
        | times
        | {
            f"{middle} samples: one thread takes times all threads": times[alone] / whole,
            f"{middle} samples: full prefix takes times cached": times[full_prefix] / whole,
            "frames of the first sample": frames,
            "weights in all (MB)": sum(path.stat().st_size for path in files) / 1e6,
        }
    )
