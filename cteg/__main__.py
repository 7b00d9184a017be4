"""`python -m cteg`."""

from cteg.cli import app
from cteg.threads import wait_without_spinning

wait_without_spinning()
app(prog_name="cteg")
