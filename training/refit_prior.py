"""Fit the sequence latent's prior once more, alone: `python -m training.refit_prior`.

While everything trains together, that prior chases a posterior that still moves, with one draw per clip among thousands
of numbers per frame, and its flow learns to do without the sentence. With the rest fixed it is a small problem:
sentences and latents, no frames. So the prior starts anew: its flow as the identity, its components, which may be more,
at drawn latents: ways to perform that were really seen. The epoch with the best likelihood on held-out sentences is
kept.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor

from cteg.checkpoint import load_pretrained, save_pretrained
from cteg.errors import InputError
from cteg.model.cteg import CTEG
from cteg.model.latent import Gaussian
from cteg.model.sequence_latent import SequenceLatent, pool_text
from training.common import Seed, plain_errors, seed_everything
from training.data import TextStates, cached_text_states, check_space, pad_clips
from training.performance.store import Performances, load_performances

EPOCHS = 6
"""Passes over the latents that were read."""

PRIOR = ("component_", "gate.", "flow.")
"""Beginnings of the names of the prior's parameters within the sequence latent."""

TEXT_DROPOUT = 0.1
"""Share of clips fitted without their sentence, which keeps unconditional sampling and guidance honest."""


@torch.inference_mode()
def read_posteriors(
    model: CTEG, data: Performances, states: TextStates, indices: np.ndarray
) -> tuple[Gaussian, Tensor]:
    """Read the posteriors of the sequence latent off performances.

    Args:
        model: In evaluation mode.
        data: Performances of a split.
        states: Text states of its sentences.
        indices: (P,) performances to read.

    Returns:
        Posteriors (P, S) and pooled sentences (P, text_size), from the shortest performance to the longest.
    """
    device, size = model.first_frame.device, model.config.frames_per_step
    ordered = indices[np.argsort(np.diff(data.offsets)[indices], kind="stable")]  # like lengths together: no padding
    means, log_variances, sentences = [], [], []
    for start in track(range(0, len(ordered), 128), "reading performances"):
        part = ordered[start : start + 128]
        frames, valid = (tensor.to(device) for tensor in pad_clips([data.clip(int(i)) for i in part], size))
        sentence = pool_text(*(t.to(device) for t in states.batch([int(data.sentence[i]) for i in part])))
        first = torch.zeros_like(frames[:, :size])
        known = torch.cat([first, model.scale(frames)], dim=1)
        embedded = model.embed_sequence(known, torch.cat([torch.ones_like(valid[:, :size]), valid], dim=1))
        step_mask = valid.unflatten(1, (-1, size)).any(-1)
        positions = model.positions[1 : embedded.shape[1]]
        posterior = model.sequence_latent.posterior(embedded[:, 1:], step_mask, sentence, positions)
        means.append(posterior.mean.cpu())
        log_variances.append(posterior.log_variance.cpu())
        sentences.append(sentence.cpu())
    return Gaussian(torch.cat(means), torch.cat(log_variances)), torch.cat(sentences)


def negative_log_likelihood(latent: SequenceLatent, posterior: Gaussian, sentence: Tensor) -> Tensor:
    """Mean of -log prior(u | sentence) at latents drawn from their posteriors."""
    u = posterior.sample(torch.randn_like(posterior.mean))
    return -latent.log_prior(u, sentence).mean()


def with_fresh_prior(model: CTEG, components: int = 0) -> CTEG:
    """Return the model with an untrained prior of its sequence latent, all else kept.

    Args:
        model: Has a sequence latent.
        components: Size of the repertoire; 0 for as many as before.
    """
    components = components or model.config.sequence_components
    other = CTEG(dataclasses.replace(model.config, sequence_components=components))
    prior = tuple(f"sequence_latent.{part}" for part in PRIOR)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith(prior)}
    other.load_state_dict(other.state_dict() | kept)
    return other.eval()


def fit(
    latent: SequenceLatent,
    train: tuple[Gaussian, Tensor],
    dev: tuple[Gaussian, Tensor],
    null_text: Tensor,
    epochs: int,
) -> list[float]:
    """Fit gate, components and flow in place; returns the held-out likelihood after every epoch, in nats.

    Args:
        latent: The sequence latent, its prior untrained (`with_fresh_prior`).
        train: Posteriors (P, S) of performances and their pooled sentences (P, text_size).
        dev: The same, held out.
        null_text: (1, text_size), which stands for no sentence and replaces some.
        epochs: Passes over `train`.
    """
    posterior, sentence = train
    chosen = torch.randperm(len(sentence))[: latent.components]
    with torch.no_grad():
        flow = latent.prior(sentence[:1]).flow
        seen = posterior.mean[chosen]
        latent.component_mean[: len(chosen)] = flow.to_base(seen)[0] if flow else seen
        latent.component_log_variance.fill_(-3.0)  # about the spread of one posterior's neighbourhood
    parameters = [latent.component_mean, latent.component_log_variance, *latent.gate.parameters()]
    parameters += latent.flow.parameters() if latent.flow else []
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    history, best = [], copy.deepcopy(latent.state_dict())
    for _ in track(range(epochs), "fitting the prior"):
        latent.train()
        for part in torch.randperm(len(sentence)).split(256):
            some = Gaussian(posterior.mean[part], posterior.log_variance[part])
            without_text = torch.rand(len(part), 1) < TEXT_DROPOUT
            loss = negative_log_likelihood(latent, some, torch.where(without_text, null_text, sentence[part]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        latent.eval()
        with torch.no_grad():
            history.append(negative_log_likelihood(latent, *dev).item())
        if history[-1] == min(history):
            best = copy.deepcopy(latent.state_dict())
    latent.load_state_dict(best)
    return history


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder of a training run")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    out: Annotated[Path, typer.Option(help="weights folder to write")],
    name: Annotated[str, typer.Option(help="name of the weights")] = "cteg-open",
    clips: Annotated[int, typer.Option(min=0, help="training performances to use; 0: all")] = 0,
    components: Annotated[int, typer.Option(min=0, help="size of the repertoire; 0: as it is")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the performances")] = EPOCHS,
    seed: Seed = 0,
) -> None:
    """Refit the prior of a trained model and write the result."""
    rng = seed_everything(seed)
    model, encoder, _ = load_pretrained(weights)
    if not model.config.sequence_latent_size:
        raise InputError(f"The model in {weights} has no sequence latent.")
    model = with_fresh_prior(model, components)
    read = []
    for split, count in (("train", clips), ("dev", 4000)):
        data = load_performances(performances, split)
        check_space(data, model.config.space)
        states = cached_text_states(data.texts, weights / "text_encoder", performances)
        read.append(read_posteriors(model, data, states, rng.permutation(len(data))[: count or None]))
    model.sequence_latent.requires_grad_(True)
    history = fit(model.sequence_latent, *read, model.null_text.detach(), epochs)
    typer.echo(f"held-out nats per clip: first epoch {history[0]:.2f}, best {min(history):.2f}")
    save_pretrained(model.eval(), encoder, out, name)


if __name__ == "__main__":
    typer.run(main)
