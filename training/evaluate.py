"""Compare all systems by all figures on held-out sentences: `python -m training.evaluate --weights DIR ...`.

Writes `results.md`, `results.json` and plots under `figures/` to the folder `--out`. Baselines that need training are
given as folders (`training.baselines`, `training.train --config deterministic`); the others are drawn from the training
performances. Every figure that has one is divided by the same figure of the reference performances of the same
sentences, so that 1 means "like the reference".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track

from cteg import layout, metrics
from cteg.baselines import retrieval
from cteg.baselines.decoder import CTEGSystem
from cteg.baselines.lm_listener import load_lm_listener
from cteg.baselines.released import make_system
from cteg.baselines.system import System
from cteg.checkpoint import load_pretrained, sha256
from cteg.errors import InputError
from cteg.model.sequence_latent import pool_text
from cteg.sampling import Model, Settings
from cteg.text import TextEncoder
from training.common import Seed, Threads, plain_errors
from training.data import TextStates, cached_text_states, check_space
from training.evaluation import plots, report
from training.evaluation.comparison import Comparison, Row, latent_clusters
from training.evaluation.estimates import DRAWS
from training.evaluation.setting import describe_corpus, describe_run
from training.judge import Judge, seven_readings, text_reading
from training.performance.store import Performances, load_performances

TEMPERATURES = (0.0, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5)
CURVE_SAMPLES = 8
"""Temperatures of the curve, and samples per sentence for it."""


# -- systems -----------------------------------------------------------------------------------------------------------


def training_bank(data: Performances, states: TextStates) -> retrieval.Bank:
    """Training performances as the retrieval baselines want them."""
    order = np.argsort(data.sentence, kind="stable")
    of_sentence = np.split(order, np.searchsorted(data.sentence[order], np.arange(1, len(data.texts))))
    parts = [range(start, min(start + 256, len(data.texts))) for start in range(0, len(data.texts), 256)]
    pooled = np.concatenate([pool_text(*states.batch(part)).numpy() for part in parts])
    return retrieval.Bank(pooled, of_sentence, data.clip, len(data))


def ceilings(judge: Judge, encoder: TextEncoder, test: Performances) -> list[System]:
    """Performances of other held-out sentences, with the feelings that the labels or the text encoder say."""
    clips = [test.clip(i) for i in range(len(test))]
    texts = [test.texts[s] for s in test.sentence]
    weights = {
        "labels, other words": judge.mixes,
        "what the text encoder reads": seven_readings(encoder, judge.sentences.texts),
    }
    return [retrieval.DrawnByFeeling(name, some, clips, test.seven, texts) for name, some in weights.items()]


def drawn_baselines(judge: Judge, train: Performances, states: TextStates) -> list[System]:
    """Baselines drawn from the training performances, and the reference's frames shuffled."""
    bank = training_bank(train, states)
    mean = train.frames[:: max(1, len(train.frames) // 200_000)].astype(np.float32).mean(0)
    return [
        retrieval.NearestText(bank),
        retrieval.RandomClip(bank),
        retrieval.ShuffledFrames(judge.references),
        retrieval.MeanFace(bank, mean),
    ]


def load_decoder(folder: Path, encoder_hash: str) -> Model:
    """Read the CTEG of a weights folder that was trained with the given text encoder.

    Raises:
        InputError: it was trained with another one, so that it would be judged on states that it does not know.
        WeightsError: the folder holds no weights, or damaged ones.
    """
    model = load_pretrained(folder)[0]
    if sha256(folder / "text_encoder" / "model.safetensors") != encoder_hash:
        raise InputError(f"{folder} has another text encoder than --weights; train both with the same one.")
    return model


def trained_rows(
    model: Model, encoder_hash: str, deterministic: Path | None, lm_listener: Path | None, also: Sequence[Path]
) -> list[Row]:
    """Rows of all trained systems; the main one first, at the temperature that the app uses."""
    default = Settings()
    label = f"CTEG, temperature {default.temperature:g}" + (
        f", guidance {default.guidance:g}" if default.guidance else ""
    )
    rows = [Row(f"{label} (default)", make_system(model, "CTEG", default.guidance), default.temperature)]
    if (default.temperature, default.guidance) != (1.0, 0.0):
        rows.append(Row("CTEG, temperature 1", make_system(model, "CTEG"), 1.0))
    for folder in also:
        name = folder.parent.name if folder.name == "weights" else folder.name
        rows.append(Row(name, make_system(load_decoder(folder, encoder_hash), name), 1.0))
    if deterministic:
        name = report.DETERMINISTIC
        rows.append(Row(name, CTEGSystem(load_decoder(deterministic, encoder_hash), name), 1.0))
    if lm_listener:
        listener = load_lm_listener(lm_listener)
        if listener.config.text_encoder != encoder_hash:
            raise InputError(f"{lm_listener} was trained with another text encoder than that of --weights.")
        rows.append(Row(listener.name, listener, 1.0))
        if default.temperature != 1:
            rows.append(Row(f"{listener.name}, temperature {default.temperature:g}", listener, default.temperature))
    return rows


# -- command -----------------------------------------------------------------------------------------------------------


def write(results: dict[str, Any], comparison: Comparison, out: Path) -> None:
    """Write page, JSON and plots."""
    folder = out / "figures"
    if results["text_reading"] is not None:
        plots.temperature_curve(results["curve"], Settings().temperature, folder / "results_temperature.png")
    shown = [report.REFERENCE, results["main"], *(n for n in report.TRAINED_BASELINES if n in comparison.systems)]
    plots.speed_spectra({name: comparison.spectra[name] for name in shown}, folder / "results_spectrum.png")
    plots.length_histograms({name: comparison.lengths[name] for name in shown}, folder / "results_lengths.png")
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "results.md").write_text(report.render(results))


@plain_errors
def main(
    weights: Annotated[Path, typer.Option(help="weights folder to judge")],
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise or import_emoava")],
    out: Annotated[Path, typer.Option(help="folder for results.md, results.json and figures/")],
    classifier: Annotated[
        Path | None, typer.Option(help="file of training.motion_classifier; none for a corpus without feelings")
    ] = None,
    deterministic: Annotated[Path | None, typer.Option(help="weights trained with --config deterministic")] = None,
    lm_listener: Annotated[Path | None, typer.Option(help="folder written by training.baselines")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="further weights folders, named by their run")] = None,
    per_group: Annotated[int, typer.Option(min=1, help="held-out sentences per feeling")] = 30,
    samples: Annotated[int, typer.Option(min=2, help="clips per sentence")] = 32,
    draws: Annotated[int, typer.Option(min=2, help="draws of the bootstrap")] = DRAWS,
    seed: Seed = 0,
    threads: Threads = 0,
) -> None:
    """Judge all systems and write the report."""
    options = {name: value for name, value in locals().items() if name != "threads"}
    if threads:
        torch.set_num_threads(threads)
    model, encoder, name = load_pretrained(weights)
    encoder_folder = weights / "text_encoder"
    encoder_hash = sha256(encoder_folder / "model.safetensors")
    rows = trained_rows(model, encoder_hash, deterministic, lm_listener, also or [])
    splits = [load_performances(performances, split) for split in ("train", "test")]
    check_space(splits[0], model.config.space)
    (train, states), (test, test_states) = (
        (data, cached_text_states(data.texts, encoder_folder, performances)) for data in splits
    )
    judge = Judge.choose(test, test_states, classifier, per_group, seed)
    if train.space == "flame":
        judge = judge.for_flame(train.frames, model.config.max_frames)
        scale = np.full(layout.D, metrics.EMOCA_STD)  # CPPL's box is made for EMOCA's coefficients as they are
    else:
        scale = model.coefficient_scale.numpy()
    main_row = rows[0]
    if train.has_feelings:
        rows = [Row(s.name, s, 1.0) for s in ceilings(judge, encoder, test)] + rows
    rows += [Row(s.name, s, 1.0) for s in drawn_baselines(judge, train, states)]
    chosen = np.random.default_rng(seed).permutation(len(test))[: len(judge.sentences)]
    free = [test.clip(int(i)) for i in chosen]
    comparison = Comparison(judge, free, scale, seed, draws)
    for row in track(rows, "judging systems"):
        comparison.add(row, samples)
    comparison.add_copies()
    curve = {}
    for temperature in track(TEMPERATURES, "judging temperatures"):
        groups = main_row.system.generate(judge.sentences, min(CURVE_SAMPLES, samples), temperature, seed)
        curve[f"{temperature:g}"] = comparison.judge_clips(groups)
    models = {row.name: row.system.model for row in rows if isinstance(row.system, CTEGSystem)}
    clusters = {key: latent_clusters(found, judge, seed) for key, found in models.items()}
    results = {
        **describe_run("training.evaluate", options),
        "corpus": describe_corpus(performances),
        "draws": len(comparison.counts),
        "weights": name,
        "main": main_row.name,
        "sentences": len(judge.sentences),
        "samples": samples,
        "space": train.space,
        "text_reading": text_reading(encoder, judge) if train.has_feelings else None,
        "systems": comparison.systems,
        "curve": curve,
        "clusters": {key: count for key, count in clusters.items() if count is not None},
        "spectra": comparison.spectra,
    }
    out.mkdir(parents=True, exist_ok=True)
    write(results, comparison, out)
    typer.echo(f"{out / 'results.md'} compares {len(comparison.systems)} systems.")


if __name__ == "__main__":
    typer.run(main)
