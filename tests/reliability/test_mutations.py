"""Would the tests notice? Each mutation breaks one thing in a copy of the source; the tests named with it must fail."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reliability.harness import ROOT, report

pytestmark = pytest.mark.slow


class Mutation(NamedTuple):
    """`old`, which is in `file` once, becomes `new`; then `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str


MUTATIONS = {
    "the prior is ignored": Mutation(
        "cteg/sampling.py",
        "return prior.sample(choice, latent, spread * temperature)",
        "return torch.zeros_like(latent)",
        "tests/test_sampling.py",
    ),
    "the sequence prior is ignored": Mutation(
        "cteg/sampling.py",
        "return prior.sample(self.sequence_choice, self.sequence, temperature)",
        "return torch.zeros_like(self.sequence)",
        "tests/test_sampling.py",
    ),
    "the latent's noise is left out": Mutation(
        "cteg/model/latent.py",
        "mean + temperature * torch.exp(0.5 * log_variance) * noise",
        "mean + 0.0 * noise",
        "tests/test_model.py",
    ),
    "the decoder does not read its latent": Mutation(
        "cteg/model/layers.py",
        "self.up(z.to(attended.dtype)) * step_mask[..., None]",
        "0 * self.up(z.to(attended.dtype)) * step_mask[..., None]",
        "tests/test_model.py tests/test_sampling.py",
    ),
    "the future leaks": Mutation(
        "cteg/model/attention.py",
        "return self.attend(states, *self.memory(states), mask=None, is_causal=True)",
        "return self.attend(states, *self.memory(states), mask=None, is_causal=False)",
        "tests/test_model.py",
    ),
    "padding of the text is read": Mutation(
        "cteg/model/attention.py",
        "return self.attend(states, *memory, mask=mask, is_causal=False)",
        "return self.attend(states, *memory, mask=None, is_causal=False)",
        "tests/test_model.py",
    ),
    "padding of the clip counts in the loss": Mutation(
        "cteg/model/losses.py",
        "return (squared * valid).sum() / valid.sum()",
        "return squared.mean()",
        "tests/test_losses.py",
    ),
    "left and right smile are swapped": Mutation(
        "cteg/layout.py",
        '"mouthSmileLeft",\n    "mouthSmileRight",',
        '"mouthSmileRight",\n    "mouthSmileLeft",',
        "tests/test_rig.py tests/test_arkit.py tests/test_glb.py",
    ),
    "mirroring leaves the sides": Mutation(
        "cteg/layout.py",
        "name.removesuffix(side) + partner[side]",
        "name",
        "tests/test_rig.py",
    ),
    "the jaw turns to the wrong side": Mutation(
        "training/performance/perform.py",
        "swapped[:, JAW_TURN:] = -frames[:, JAW_TURN:]",
        "swapped[:, JAW_TURN:] = frames[:, JAW_TURN:]",
        "tests/test_training.py tests/test_synthesise.py",
    ),
    "a vote is acknowledged and lost": Mutation(
        "cteg/study/store.py",
        "connection.execute(table.insert(), row)\n        return row, True",
        "return row, True",
        "tests/test_store.py",
    ),
    "votes are never committed": Mutation(
        "cteg/study/database.py",
        "with self._failing_as(refusal), engine.begin() as connection:",
        "with self._failing_as(refusal), engine.connect() as connection:",
        "tests/test_store.py",
    ),
    "a vote is acknowledged although the disk refused it": Mutation(
        "cteg/study/database.py",
        "                write.is_done = False",
        "                write.is_done = write.is_done",
        "tests/test_store_together.py",
    ),
    "a defect in one vote fails all that wait": Mutation(
        "cteg/study/database.py",
        "        except Exception as error:  # a defect is nobody's but the caller's\n            self.error = error",
        "        except Exception:\n            raise",
        "tests/test_store_together.py",
    ),
    "a form of another site may vote": Mutation(
        "cteg/ui/json_api.py",
        'if headers.get("content-type", "").partition(";")[0].strip() != "application/json":',
        "if False:",
        "tests/test_study_page.py -k none_are_refused",
    ),
    "fields that nobody knows are ignored": Mutation(
        "cteg/ui/json_api.py",
        "values.keys() != set(fields)",
        "not values.keys() >= set(fields)",
        "tests/test_study_page.py -k none_are_refused",
    ),
    "a failing database is told as an answer": Mutation(
        "cteg/ui/json_api.py",
        "return 503 if isinstance(error, StorageError) else 409",
        "return 409",
        "tests/reliability/test_faults.py -k f4_a_locked",
    ),
    "anyone may rate a clip": Mutation(
        "cteg/study/store.py",
        'if clip is None or clip.rater != event["rater"]:',
        "if clip is None:",
        "tests/test_store.py",
    ),
    "a vote of the study is lost": Mutation(
        "cteg/study/ballot.py",
        "connection.execute(VOTES.insert(), row)",
        "pass",
        "tests/test_study_engine.py",
    ),
    "an unwatched pair may be answered": Mutation(
        "cteg/study/engine.py",
        "        if page.unwatched:\n",
        "        if False:\n",
        "tests/test_study_engine.py",
    ),
    "weights are not checked against the manifest": Mutation(
        "cteg/checkpoint.py",
        "if sha256(path) != expected:",
        "if False:",
        "tests/test_checkpoint.py",
    ),
    "weights may hold NaN": Mutation(
        "cteg/checkpoint.py",
        "if not torch.isfinite(value).all()",
        "if False",
        "tests/test_checkpoint.py",
    ),
    "invisible characters pass": Mutation(
        "cteg/text.py",
        'elif category[0] != "C" and marks <= _MAX_MARKS:',
        "elif marks <= _MAX_MARKS:",
        "tests/test_text.py",
    ),
    "formulas reach the spreadsheet": Mutation(
        "cteg/study/export.py",
        'return f"\'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value',
        "return value",
        "tests/test_study_export.py",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the source whose weights are the real ones."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("cteg", "training", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    for name in ("app.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("weights", "docs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(copy: Path, tests: str) -> tuple[int, str]:
    """Run tests of the copy; returns pytest's exit code, 1 where a test failed, and the end of its output."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment, timeout=1800)
    return done.returncode, done.stdout[-2000:]


@functools.cache
def run_intact(copy: Path, tests: str) -> tuple[int, str]:
    """The same without any mutation, once for all that name these tests: what fails anyway notices nothing."""
    return run(copy, tests)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_noticed(copy, name):
    mutation = MUTATIONS[name]
    path = copy / mutation.file
    source = path.read_text()
    assert source.count(mutation.old) == 1, f"{mutation.file} has changed; write this mutation anew"
    code, output = run_intact(copy, mutation.tests)
    assert code == 0, f"{mutation.tests} fails without a mutation, too\n{output}"
    path.write_text(source.replace(mutation.old, mutation.new))
    try:
        code, output = run(copy, mutation.tests)
    finally:
        path.write_text(source)
    assert code == 1, f"no test of {mutation.tests} noticed that {name}\n{output}"
    noticed = [line for line in output.splitlines() if line.startswith("FAILED")]
    report("mutation", noticed=f"{name}: {noticed[0].split(' - ')[0] if noticed else ''}")
