"""A Space with ZeroGPU: its package is used where it is, and nothing else changes."""

import inspect
import sys
import types

import pytest

from cteg.errors import InputError
from cteg.settings import Settings
from cteg.ui.services import GeneratorHandle, Services
from cteg.ui.zero_gpu import LONGEST_CALL, performer
from tests.conftest import FakeGenerator

SETTINGS = {"samples": 2, "temperature": 1.0, "seed": 3, "guidance": 0.0}


class MovableGenerator(FakeGenerator):
    device = "cpu"

    def to(self, device):
        self.device = device


@pytest.fixture
def spaces(monkeypatch):
    """A `spaces` package that notes what was decorated and what ran."""
    module = types.ModuleType("spaces")
    module.__spec__ = types.SimpleNamespace()
    module.decorated, module.ran = [], []

    def gpu(duration):
        def decorate(function):
            assert inspect.isgeneratorfunction(function)  # the real one streams only what is one
            module.decorated.append(duration)

            def run(*args):
                module.ran.append(args)
                yield from function(*args)

            return run

        return decorate

    module.GPU = gpu
    monkeypatch.setitem(sys.modules, "spaces", module)
    return module


def services(**settings):
    generator = MovableGenerator()
    return Services(GeneratorHandle(lambda: generator), None, None, Settings(**settings)), generator


def test_on_a_space_every_performance_runs_on_the_gpu_it_is_lent(spaces, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    ours, generator = services(is_space=True)
    perform = performer(ours)
    assert spaces.decorated == [LONGEST_CALL]  # before anything is performed, or the Space would not start
    assert generator.calls == 0
    (clips,) = perform("Hello there.", SETTINGS)
    assert [clip.seed for clip in clips] == [3, 4]
    assert spaces.ran == [("Hello there.", SETTINGS)]  # small enough to be sent to another process
    assert generator.device == "cuda"


def test_without_a_gpu_or_off_spaces_the_processors_do_it(spaces, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ours, generator = services(is_space=True)
    assert len(list(performer(ours)("Hello there.", SETTINGS))) == 1
    assert generator.device == "cpu"
    spaces.decorated.clear()
    ours, _ = services(is_space=False)
    assert len(list(performer(ours)("Hello there.", SETTINGS))) == 1
    assert spaces.decorated == []


def test_the_switches_come_from_the_environment():
    assert (Settings.from_environment({}).mcp, Settings.from_environment({}).is_space) == (False, False)
    for value, is_on in (("1", True), ("0", False), ("", False), ("yes", False)):
        assert Settings.from_environment({"CTEG_MCP": value}).mcp is is_on
    assert Settings.from_environment({"SPACE_ID": "owner/name"}).is_space


def test_an_mcp_server_without_its_package_is_a_sentence(monkeypatch):
    from cteg.ui import server

    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    ours, _ = services(mcp=True)
    with pytest.raises(InputError, match=r"pip install 'gradio\[mcp\]'"):
        server.launch(ours)


@pytest.mark.parametrize("mcp", [False, True])
def test_the_mcp_switch_reaches_gradio(monkeypatch, mcp):
    from cteg.ui import server

    asked = {}

    class Blocks:
        def launch(self, **options):
            asked.update(options)

    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: object())
    assets = types.SimpleNamespace(route=lambda: None, player_url="", heads=[])
    monkeypatch.setattr(server, "Assets", lambda _: assets)
    monkeypatch.setattr(server, "build_app", lambda *_: Blocks())
    server.launch(services(mcp=mcp)[0])
    assert asked["mcp_server"] is mcp
