"""`training.train` without dropout, which is the one thing that two processes do not draw alike."""

import dataclasses

import typer
from accelerate import PartialState

from tests.models import TEXT_SIZE
from training import train
from training.configs import CONFIGS

TINY = CONFIGS["tiny"]
MODEL = dataclasses.replace(TINY.model, dropout=0.0, text_size=TEXT_SIZE)
CONFIGS["tiny"] = dataclasses.replace(TINY, model=MODEL, batch=6, steps=12, warmup=2)

if __name__ == "__main__":
    state = PartialState(cpu=True)
    typer.echo(f"process {state.process_index} of {state.num_processes} processes")
    typer.run(train.main)
