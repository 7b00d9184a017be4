"""How far drawn frames are brought from rest: what a model is unsure of it averages, and faces come out weak and vague.

Averaged coefficients have too little variance, and too few of them are near nothing or near their most. Two numbers,
fitted on held-out sentences (`training.calibrate`), give both back: `amplitude` multiplies, and `contrast` is an
exponent that lets faint traces fade and full expressions stand out. The jaw's rotations have no natural 1 and are only
multiplied.
"""

from __future__ import annotations

from torch import Tensor

from cteg.layout import EXPRESSION


def emphasised(deviation: Tensor, amplitude: float, contrast: float) -> Tensor:
    """Emphasise what frames differ from the first frame by, (..., 53): amplitude * sign(d) |d|^contrast."""
    return amplitude * _bent(deviation, contrast)


def plain(deviation: Tensor, amplitude: float, contrast: float) -> Tensor:
    """Undo `emphasised`."""
    return _bent(deviation / amplitude, 1 / contrast)


def _bent(deviation: Tensor, exponent: float) -> Tensor:
    bent = deviation.clone()
    shapes = deviation[..., EXPRESSION]
    bent[..., EXPRESSION] = shapes.sign() * shapes.abs() ** exponent
    return bent
