"""`python -m cteg`."""

from cteg.cli import app

app(prog_name="cteg")
