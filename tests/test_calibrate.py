"""The spread of the step latents is fitted to what is measured."""

import pytest

from tests.models import small_model
from training import calibrate


class MovesWithSpread:
    """A judge whose figures grow with the spread, as real ones do."""

    def figures(self, model):
        spread = model.config.step_spread
        return {"fine_grained_diversity_ratio": 0.8 * spread, "jerk_ratio": 0.7 * spread**3, "fit": 0.5}


def test_spread_is_fitted_to_the_first_bound_that_is_met():
    spread = calibrate.fit_spread(small_model(), MovesWithSpread())
    assert spread == pytest.approx((calibrate.MOST_JERK / 0.7) ** (1 / 3), abs=0.04)  # jerk 1.15 comes before FgD 1
