"""Training throughput: this project's loop against the plain loop of the released design, with the same model.

The plain loop pads every clip to 256 frames and every sentence to 128 tokens, and runs the text encoder at every step;
this one puts clips of like length together and reads the encoder's states from a file made once. Both take the same
performances, optimiser, precision and losses.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from cteg import layout
from cteg.checkpoint import BUNDLED, load_text_encoder
from cteg.text import TextEncoder
from cteg.ui.examples import EXAMPLES
from training.benchmark.timing import in_turns
from training.configs import TrainConfig, get_config
from training.data import Batch, TextStates, encode_all, pad_clips
from training.performance.store import Performances
from training.trainer import Trainer

PADDED_FRAMES = 256
PADDED_TOKENS = 128
MEAN_FRAMES, DEVIATION = 105, 35
"""Lengths of the drawn clips, as the bundled weights' own."""


def draw_performances(count: int, seed: int = 0) -> Performances:
    """Random motion of lifelike lengths: the cost of a step does not depend on what the frames show."""
    rng = np.random.default_rng(seed)
    lengths = rng.normal(MEAN_FRAMES, DEVIATION, count).clip(30, PADDED_FRAMES).astype(np.int64)
    offsets = np.concatenate([[0], lengths.cumsum()])
    texts = list(EXAMPLES.values())
    frames = rng.random((int(offsets[-1]), layout.D), dtype=np.float32).astype(np.float16)
    return Performances(texts, frames, offsets, rng.integers(len(texts), size=count).astype(np.int32))


def plain_batch(trainer: Trainer, encoder: TextEncoder, indices: list[int]) -> Batch:
    """Pad clips and sentences to their largest sizes, and encode the sentences."""
    clips = [trainer.data.clip(index) for index in indices]
    room = np.zeros((PADDED_FRAMES, layout.D), dtype=np.float32)
    frames, valid = pad_clips([*clips, room], trainer.config.model.frames_per_step)
    ids, mask = encoder.tokenize([trainer.data.texts[trainer.data.sentence[index]] for index in indices])
    missing = (0, PADDED_TOKENS - ids.shape[1])
    ids, mask = torch.nn.functional.pad(ids, missing), torch.nn.functional.pad(mask, missing)
    with torch.no_grad():
        states, _ = encoder(ids.to(trainer.device), mask.to(trainer.device))
    return Batch(frames[:-1], valid[:-1], states.float(), mask).to(trainer.device)


def measure_training(
    batch: int = 16, steps: int = 4, rounds: int = 2, config: TrainConfig | None = None
) -> dict[str, float]:
    """Frames that each loop learns from in a second, and their ratio.

    Args:
        batch: Clips a step.
        steps: Steps a turn.
        rounds: Turns of each loop; the first warms up.
        config: Another model, for tests.
    """
    config = config or get_config("small")
    model = dataclasses.replace(config.model, max_frames=PADDED_FRAMES)
    config = dataclasses.replace(config, model=model, batch=batch, steps=1000)
    data = draw_performances(batch * 50)
    encoder = load_text_encoder(BUNDLED / "text_encoder").eval()
    trainer = Trainer(config, data, TextStates(*encode_all(encoder, data.texts)), seed=0)
    encoder.to(trainer.device)
    lengths = np.diff(data.offsets)
    bucketed = trainer.batches(0)[:steps]
    order = np.random.default_rng(1).permutation(len(data))[: batch * steps].reshape(steps, batch).tolist()

    def ours() -> None:
        rng = np.random.default_rng(0)
        for indices in bucketed:
            trainer.advance(trainer.batch(indices, rng), rng)

    def plain() -> None:
        rng = np.random.default_rng(0)
        for indices in order:
            trainer.advance(plain_batch(trainer, encoder, indices), rng)

    times = in_turns({"ours": ours, "plain": plain}, rounds)
    fast = sum(int(lengths[batch].sum()) for batch in bucketed) / times["ours"]
    slow = sum(int(lengths[batch].sum()) for batch in order) / times["plain"]
    return {
        "our loop (frames/s)": fast,
        "plain loop (frames/s)": slow,
        "our loop: times faster than the plain loop": fast / slow,
    }
