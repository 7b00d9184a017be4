"""Train variants of CTEG alike and judge them alike: `python -m training.ablate --performances DIR ...`.

Every variant is the base configuration with a few changes, trained for the same number of steps on the same batches.
Variants that change only how clips are drawn use the weights of the base. A stopped run goes on with the variant that
was not finished. Writes `ablations.md`, `ablations.json` and plots under `figures/` to the folder `--out`.

All are judged on the dev split, by the figures of `training.evaluate`: choices are made here, and the test split is for
what was chosen. The sequence prior is fitted once more, as for the shipped weights (`training.refit_prior`), on
`REFIT_CLIPS` performances.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from cteg.baselines.decoder import CTEGSystem
from cteg.checkpoint import load_pretrained
from cteg.errors import InputError
from cteg.model.cteg import CTEG
from training.common import Seed, Threads, plain_errors, seed_everything
from training.configs import TrainConfig, get_config
from training.data import TextStates, cached_text_states
from training.evaluation import plots, report
from training.evaluation.comparison import Comparison, Row, latent_clusters
from training.evaluation.estimates import DRAWS
from training.evaluation.setting import describe_corpus, describe_run
from training.judge import Judge
from training.performance.store import Performances, load_performances
from training.refit_prior import EPOCHS, fit, read_posteriors, with_fresh_prior
from training.train import run
from training.trainer import Trainer, coefficient_scale
from training.variants import BASE, VARIANTS, WITHOUT_GUIDED, Variant

REFIT_CLIPS = 20_000
"""Training performances that the sequence prior is fitted on."""

CURVES = {BASE: "with", WITHOUT_GUIDED: "without"}
"""Variants whose divergence is drawn."""

COLUMNS: tuple[tuple[str, tuple[report.Column, ...]], ...] = (
    (
        "Fit and likeness",
        (
            ("fit", "fit", "value"),
            ("fit ÷ ceiling", "fit", "share"),
            ("calibration ↓", "calibration", "value"),
            ("Fréchet ↓", "frechet", "value"),
            ("stride", "stride", "value"),
            ("CPPL bits, two-sided ↓", "cppl_two_sided_bits", "value"),
            ("latent clusters", "clusters", "value"),
        ),
    ),
    (
        "Variety and movement, ÷ reference",
        (
            ("MModality", "multimodality", "ratio"),
            ("Diversity", "diversity", "ratio"),
            ("Variation, time", "variation_over_time", "ratio"),
            ("FgD", "fine_grained_diversity", "ratio"),
            ("jerk", "jerk", "ratio"),
            ("> 4 Hz", "fast_power", "ratio"),
            ("length", "length", "ratio"),
        ),
    ),
)


def shortened(base: TrainConfig, steps: int, batch: int) -> TrainConfig:
    """The base configuration for `steps` steps: shorter warm-ups, and no early stop, so that all train alike."""
    return dataclasses.replace(
        base,
        batch=batch,
        steps=steps,
        warmup=min(base.warmup, max(steps // 10, 1)),
        kl_warmup=min(base.kl_warmup, steps // 4),
        patience=0,
    )


@dataclass(frozen=True)
class Workshop:
    """What all variants share.

    Attributes:
        base: Configuration, with the number of steps.
        train: Training performances and their text states.
        dev: The same, held out.
        comparison: Judges clips.
        encoder: Folder of the text encoder.
        runs: Folder of the runs, one folder per variant.
        samples: Clips per sentence.
        seed: Of training and sampling.
        limit: Training performances to use; 0 for all.
    """

    base: TrainConfig
    train: tuple[Performances, TextStates]
    dev: tuple[Performances, TextStates]
    comparison: Comparison
    encoder: Path
    runs: Path
    samples: int
    seed: int
    limit: int

    def folder(self, name: str) -> Path:
        """Where the run of a variant is."""
        return self.runs / "".join(c if c.isalnum() else "_" for c in name.lower())

    def trained(self, name: str, config: TrainConfig) -> CTEG:
        """The model of a variant, trained now if it is not there, with its sequence prior fitted once more."""
        folder = self.folder(name)
        if not (folder / "weights" / "manifest.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "log.jsonl").unlink(missing_ok=True)  # of an attempt that was stopped
            trainer = Trainer(config, *self.train, self.seed, self.limit)
            log_every = max(config.steps // 50, 1)
            run(trainer, self.dev, None, self.encoder, folder, log_every, judge_every=config.steps)
        return self.refitted(load_pretrained(folder / "weights")[0])

    def refitted(self, model: CTEG) -> CTEG:
        """The model with its sequence prior, if it has one, fitted once more."""
        if not model.config.sequence_latent_size:
            return model
        rng = seed_everything(self.seed)
        model = with_fresh_prior(model)
        read = [
            read_posteriors(model, *split, rng.permutation(len(split[0]))[:count])
            for split, count in ((self.train, self.limit or REFIT_CLIPS), (self.dev, REFIT_CLIPS // 10))
        ]
        model.sequence_latent.requires_grad_(True)
        fit(model.sequence_latent, *read, model.null_text.detach(), EPOCHS)
        return model.requires_grad_(False).eval()

    def judged(self, name: str, variant: Variant) -> dict[str, Any]:
        """Everything that the report says of a variant; made now if it is not there.

        Raises:
            InputError: what is there was made with other settings.
        """
        path = self.folder(name) / "figures.json"
        config = variant.apply(self.base)
        settings = {"config": dataclasses.asdict(config), "seed": self.seed, "samples": self.samples}
        settings |= {"sentences": self.comparison.judge.sentences.texts, "limit": self.limit}
        if path.is_file():
            found = json.loads(path.read_text())
            if found["settings"] != json.loads(json.dumps(settings)):
                raise InputError(f"{path.parent} was made with other settings; choose another --runs folder.")
            return found
        if variant.needs_training:
            model = self.trained(name, config)
        else:
            trained = self.trained(BASE, VARIANTS[BASE].apply(self.base))
            model = CTEG(config.model)
            model.load_state_dict(trained.state_dict())
        self.comparison.add(Row(name, CTEGSystem(model, name), 1.0), self.samples)
        figures: dict[str, dict[str, float]] = dict(self.comparison.systems[name])
        clusters = latent_clusters(model, self.comparison.judge, self.seed)
        if clusters is not None:
            figures["clusters"] = {"value": clusters, "margin": 0.0}
        found = {
            "settings": settings,
            "figures": figures,
            "divergence": self.divergence(name) if variant.needs_training else [],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found) + "\n")
        return found

    def divergence(self, name: str) -> list[tuple[int, float]]:
        """KL of posterior and prior against step, from the log of a run."""
        records = [json.loads(line) for line in (self.folder(name) / "log.jsonl").read_text().splitlines()]
        return [(record["step"], record["kl"]) for record in records]


def render(results: Mapping[str, Any]) -> str:
    """The whole of `ablations.md`."""
    variants = results["variants"]
    figures = {report.REFERENCE: results["reference"], **{name: one["figures"] for name, one in variants.items()}}
    asked = "\n".join(
        f"| {name} | {VARIANTS[name].question} | {one['parameters'] / 1e6:.1f} |" for name, one in variants.items()
    )
    parts = [
        "# Ablations\n",
        report.header(results),
        f"Configuration `{results['config']}` with one change each, {results['steps']} steps of {results['batch']} "
        "clips, one run each: "
        "differences between runs of the same variant are not in the intervals. "
        f"{results['sentences']} sentences of the dev split, {results['samples']} samples each, temperature 1. What is "
        "measured is explained in [results.md](results.md).\n",
        "| variant | what it asks | million parameters |\n|---|---|---|\n" + asked + "\n",
    ]
    for title, columns in COLUMNS:
        parts += [f"## {title}\n", report.table(figures, columns) + "\n"]
    parts.append("![Fit, MModality and jerk of every variant](figures/ablations_variants.png)\n")
    if {BASE, WITHOUT_GUIDED} <= variants.keys():
        parts += [
            "## Divergence with and without the target-guided loss\n",
            "The paper's Figure 5: the divergence of posterior and prior of the step latents during training.\n",
            "![Divergence against step](figures/ablations_divergence.png)\n",
        ]
    return "\n".join(parts)


def write(results: Mapping[str, Any], out: Path) -> None:
    """Write page, JSON and plots."""
    variants, folder = results["variants"], out / "figures"
    plots.variant_bars({n: one["figures"] for n, one in variants.items()}, folder / "ablations_variants.png")
    if {BASE, WITHOUT_GUIDED} <= variants.keys():
        curves = {f"{title} target-guided loss": variants[n]["divergence"] for n, title in CURVES.items()}
        plots.divergence_curves(curves, folder / "ablations_divergence.png")
    (out / "ablations.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "ablations.md").write_text(render(results))


@plain_errors
def main(
    performances: Annotated[Path, typer.Option(help="folder written by training.synthesise")],
    encoder: Annotated[Path, typer.Option(help="text encoder folder written by training.text_encoder")],
    classifier: Annotated[Path, typer.Option(help="file written by training.motion_classifier")],
    runs: Annotated[Path, typer.Option(help="folder of the runs; finished variants found there are kept")],
    out: Annotated[Path, typer.Option(help="folder for ablations.md, ablations.json and figures/")],
    config: Annotated[str, typer.Option(help="base configuration")] = "small",
    steps: Annotated[int, typer.Option(min=1, help="training steps of every variant")] = 2000,
    batch: Annotated[int, typer.Option(min=0, help="clips per training step; 0: the configuration's")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="only these variants")] = None,
    limit: Annotated[int, typer.Option(min=0, help="use only this many performances (smoke run); 0: all")] = 0,
    per_group: Annotated[int, typer.Option(min=1, help="held-out sentences per feeling")] = 12,
    samples: Annotated[int, typer.Option(min=2, help="clips per sentence")] = 8,
    draws: Annotated[int, typer.Option(min=2, help="draws of the bootstrap")] = DRAWS,
    seed: Seed = 0,
    threads: Threads = 0,
) -> None:
    """Train and judge the variants, and write the report."""
    options = {name: value for name, value in locals().items() if name != "threads"}
    if threads:
        torch.set_num_threads(threads)
    unknown = set(only or ()) - VARIANTS.keys()
    if unknown:
        raise InputError(f"There is no variant {min(unknown)!r}; known ones are {', '.join(VARIANTS)}.")
    splits = [load_performances(performances, split) for split in ("train", "dev")]
    train, dev = ((data, cached_text_states(data.texts, encoder, performances)) for data in splits)
    judge = Judge.choose(*dev, classifier, per_group, seed)
    chosen = np.random.default_rng(seed).permutation(len(dev[0]))[: len(judge.sentences)]
    base = shortened(get_config(config), steps, batch or get_config(config).batch)
    scale = coefficient_scale(train[0].frames, base.smallest_scale).numpy()
    comparison = Comparison(judge, [dev[0].clip(int(i)) for i in chosen], scale, seed, draws)
    workshop = Workshop(base, train, dev, comparison, encoder, runs, samples, seed, limit)
    done = {}
    for number, name in enumerate(names := only or list(VARIANTS), 1):
        typer.echo(f"{number} of {len(names)}: {name}")
        done[name] = workshop.judged(name, VARIANTS[name])
    results = {
        **describe_run("training.ablate", options),
        "corpus": describe_corpus(performances),
        "draws": len(comparison.counts),
        "config": config,
        "steps": steps,
        "batch": base.batch,
        "sentences": len(judge.sentences),
        "samples": samples,
        "reference": comparison.systems[report.REFERENCE],
        "variants": {name: {k: v for k, v in one.items() if k != "settings"} for name, one in done.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    write(results, out)
    typer.echo(f"{out / 'ablations.md'} compares {len(done)} variants.")


if __name__ == "__main__":
    typer.run(main)
