"""CTEG: a sentence in, several different emotional 3D face animations out.

    generator = cteg.load()
    clips = generator.generate("I can't believe you came!", samples=4, temperature=1.0, seed=7)
    rig = cteg.load_rig()
    vertices = rig.vertices(clips[0])  # (T, V, 3) metres
    cteg.export.to_glb(clips[0], rig, "a.glb")

Names are resolved on first use, so that reading a clip does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cteg import export
    from cteg.clip import Clip
    from cteg.errors import CtegError, InputError, SpaceError, StudyError, WeightsError
    from cteg.face.rig import load_rig
    from cteg.generator import Generator, load

__version__ = "0.1.0"

_HOMES = {
    "Clip": "cteg.clip",
    "CtegError": "cteg.errors",
    "Generator": "cteg.generator",
    "InputError": "cteg.errors",
    "SpaceError": "cteg.errors",
    "StudyError": "cteg.errors",
    "WeightsError": "cteg.errors",
    "load": "cteg.generator",
    "load_rig": "cteg.face.rig",
}
__all__ = [
    "Clip",
    "CtegError",
    "Generator",
    "InputError",
    "SpaceError",
    "StudyError",
    "WeightsError",
    "export",
    "load",
    "load_rig",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "export":
        return importlib.import_module("cteg.export")
    raise AttributeError(f"module 'cteg' has no attribute {name!r}")
