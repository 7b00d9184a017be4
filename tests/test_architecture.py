"""The layout of the code: imports go downward only, nothing unpickles at run time, files stay readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "cteg").rglob("*.py"))

LEVELS = [
    {"cteg.errors", "cteg.layout", "cteg.sentences", "cteg.threads"},
    {"cteg.clip", "cteg.settings", "cteg.metrics", "cteg.emotion", "cteg.emphasis"},
    {"cteg.model", "cteg.text", "cteg.face"},
    {"cteg.checkpoint", "cteg.sampling", "cteg.export"},
    {"cteg.generator", "cteg.study", "cteg.baselines"},
    {"cteg.ui", "cteg.space", "cteg.site"},
    {"cteg.cli"},
]
"""From the lowest; a module may import from its own part and from lower levels, and from its own level's files."""


def part(module: str) -> str:
    return ".".join(module.split(".")[:2])


def level(module: str) -> int:
    return next((i for i, names in enumerate(LEVELS) if part(module) in names), -1)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if module in ("cteg", "cteg.__main__"):
        return  # the front door may name everything
    assert level(module) >= 0, f"{module} has no level; add it to LEVELS"
    for name in imports(path):
        assert not name.startswith("training"), f"{module} imports {name}"
        if name.startswith("cteg.") and level(name) >= 0 and part(name) != part(module):
            assert level(name) <= level(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path):
    source = path.read_text()
    for forbidden in ("torch.load", "import pickle", "allow_pickle=True", "joblib"):
        assert forbidden not in source


def test_files_stay_readable():
    endings = (".py", ".js", ".css")
    folders = (ROOT / "cteg", ROOT / "training", ROOT / "tests")
    files = [p for f in folders for p in f.rglob("*") if p.suffix in endings and "node_modules" not in p.parts]
    assert not [path for path in files if len(path.read_text().splitlines()) > 500]
