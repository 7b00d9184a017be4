"""What decoding costs with random weights: at the paper's size, and by frames and by samples at the shipped size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from cteg import layout, sampling
from cteg.model.config import CTEGConfig
from cteg.model.cteg import CTEG
from cteg.model.released import ReleasedConfig, ReleasedCTEG
from training.benchmark.timing import exponent, in_turns, seconds

PAPER_FRAMES, PAPER_SEQUENCES, PAPER_TOKENS, PAPER_PADDING = 254, 4, 12, 128


@torch.inference_mode()
def measure_decoding(
    frames: int = PAPER_FRAMES, rounds: int = 3, changes: dict[str, int] | None = None
) -> dict[str, float]:
    """Seconds that decoding takes at the paper's size with random weights, and the same as ratios.

    Four sequences of 254 frames of one sentence of 12 tokens, which the ways that recompute all pad to 128, as the
    released code does. The ways take turns, and the shortest of the rounds counts, so that other work on the machine
    disturbs the ratios less.

    Args:
        frames: To write.
        rounds: How often each way is timed; those that recompute all, once.
        changes: Other sizes, for tests.
    """
    torch.manual_seed(0)
    sizes = {"hidden_size": 768, "heads": 12, "feed_forward_size": 2048} | (changes or {})
    size = sizes["hidden_size"]
    padded = torch.randn(1, PAPER_PADDING, size)
    real = torch.arange(PAPER_PADDING)[None] < PAPER_TOKENS
    seeds = list(range(PAPER_SEQUENCES))
    paper = CTEGConfig.paper(space="flame", stop="norm", stop_norm=0.0, max_frames=frames)
    ours = CTEG(dataclasses.replace(paper, text_size=size, latent_size=size, **sizes)).eval()
    config = ReleasedConfig(**sizes, layers=1, positions=frames + 2, writes_first_frame=False, max_frames=frames)
    released = ReleasedCTEG(config).eval()
    matrices = step_matrices(ours)
    inputs = {width: torch.randn(PAPER_SEQUENCES, width) for width in {matrix.shape[1] for matrix in matrices}}

    def multiply() -> None:
        for _ in range(frames):
            for matrix in matrices:
                torch.nn.functional.linear(inputs[matrix.shape[1]], matrix)

    def decode(model: CTEG | ReleasedCTEG, is_cached: bool) -> Callable[[], Any]:
        tokens = PAPER_TOKENS if is_cached else PAPER_PADDING
        return lambda: sampling.sample(model, padded[:, :tokens], real[:, :tokens], seeds, 1.0, is_cached=is_cached)

    ways = {
        "matrix products of cached decoding alone": multiply,
        "cached": decode(ours, True),
        "reference mode": decode(released, True),
        "reference mode, full prefix as released": decode(released, False),
        "full prefix": decode(ours, False),
    }
    times = in_turns(ways, rounds, once=[name for name in ways if "prefix" in name])
    figures = {f"{PAPER_SEQUENCES} x {frames} frames, {name} (s)": seconds for name, seconds in times.items()}
    products, cached, reference, as_released, full = times.values()
    return figures | {
        "cached: times faster than full prefix": full / cached,
        "cached: times its matrix products": cached / products,
        "reference mode: times faster than as released": as_released / reference,
    }


def step_matrices(model: CTEG) -> list[torch.Tensor]:
    """Random matrices (out, in) of the shapes that one cached step of a shared sentence multiplies by."""
    config = model.config
    size, folded = config.hidden_size, config.heads * PAPER_TOKENS
    attention, text = [(3 * size, size), (size, size)], [(folded, size), (size, folded)]
    feed_forward = [(config.feed_forward_size, size), (size, config.feed_forward_size)]
    ends = [(size, layout.D), (layout.D, size), (1 + 2 * config.latent_size, size), (size, size), (1, size)]
    return [torch.randn(shape) for shape in (*attention, *text, *attention, *text, *feed_forward, *ends)]


# -- by frames and by samples ------------------------------------------------------------------------------------------

FRAMES = (32, 64, 128, 256, 512)
SAMPLES = (1, 2, 4, 8, 16, 32, 64)
RECOMPUTED = 128
"""Frames up to which recomputing the prefix is followed."""


@torch.inference_mode()
def measure_curves(
    frames: Sequence[int] = FRAMES,
    samples: Sequence[int] = SAMPLES,
    recomputed: int = RECOMPUTED,
    rounds: int = 3,
    changes: dict[str, int] | None = None,
) -> dict[str, float]:
    """Seconds by frames (8 samples) and by samples (64 frames), with the exponents of both.

    The shipped architecture with random weights, which never stops of its own accord.

    Args:
        frames: Lengths to time, ascending.
        samples: Numbers of samples to time, ascending.
        recomputed: The largest length at which recomputing the whole prefix is timed, too.
        rounds: Turns of each.
        changes: Other sizes, for tests.
    """
    torch.manual_seed(0)
    config = CTEGConfig(max_frames=max(frames), stop="norm", stop_norm=0.0, sequence_components=1024, **changes or {})
    text, real = torch.randn(1, PAPER_TOKENS, config.text_size), torch.ones(1, PAPER_TOKENS, dtype=torch.bool)
    model = CTEG(config).eval()

    def decode(length: int, rows: int, is_cached: bool = True) -> Callable[[], Any]:
        def run() -> None:
            written = 0
            for step in sampling.stream(model, text, real, list(range(rows)), 1.0, is_cached=is_cached):
                written += step.frames.shape[1]
                if written >= length:
                    return

        return run

    seconds(decode(min(frames), 1))  # to warm up
    by_frames = in_turns({str(length): decode(length, 8) for length in frames}, rounds)
    by_samples = in_turns({str(rows): decode(64, rows) for rows in samples}, rounds)
    short = [length for length in frames if length <= recomputed]
    by_recomputing = in_turns({str(length): decode(length, 8, False) for length in short}, 1)
    figures = {f"8 samples x {length} frames (s)": value for length, value in by_frames.items()}
    figures |= {f"8 samples x {length} frames, full prefix (s)": value for length, value in by_recomputing.items()}
    figures |= {f"{rows} samples x 64 frames (s)": value for rows, value in by_samples.items()}
    longest = str(short[-1])
    return figures | {
        "exponent of the cost in frames": exponent(frames, list(by_frames.values())),
        "exponent of the cost in frames, full prefix": exponent(short, list(by_recomputing.values())),
        "exponent of the cost in samples": exponent(samples, list(by_samples.values())),
        f"{samples[-1]} samples cost times one": by_samples[str(samples[-1])] / by_samples[str(samples[0])],
        f"full prefix costs times cached, {longest} frames": by_recomputing[longest] / by_frames[longest],
    }
