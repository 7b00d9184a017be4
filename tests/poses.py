"""Frames that the tests of the head share."""

import numpy as np

from cteg import layout


def frame(**values: float) -> np.ndarray:
    """A neutral frame (53,) with some coefficients set by name."""
    coefficients = layout.neutral()
    for name, value in values.items():
        coefficients[layout.INDEX[name]] = value
    return coefficients
