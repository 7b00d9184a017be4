"""Threads that wait must not take the time that others need."""

import os
import subprocess
import sys

import pytest

from cteg.threads import wait_without_spinning


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_unless_the_user_says_otherwise(monkeypatch, before, after):
    monkeypatch.setattr(os, "environ", {} if before is None else {"OMP_WAIT_POLICY": before})
    wait_without_spinning()
    assert os.environ == {"OMP_WAIT_POLICY": after}


@pytest.mark.parametrize("module", ["app", "cteg.cli"])
def test_torch_which_reads_the_setting_once_is_not_imported_before_it_is_made(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
