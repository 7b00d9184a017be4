"""Krippendorff's alpha against examples worked by hand in the literature, and its laws."""

from __future__ import annotations

import numpy as np
import pytest

from cteg.study.agreement import alpha

RELIABILITY = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
"""Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units."""

BINARY = ("0100000010", "1110010000")
NOMINAL = ("aabbdcccedda", "babbbccceddd")
"""The same, sections A and B: two observers, ten units of two values, twelve units of five."""


def counts(table, values):
    """(units, values) from rows of observers."""
    return np.array([[sum(row[unit] == value for row in table) for value in values] for unit in range(len(table[0]))])


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_four_observers_with_missing_ratings(level, published):
    values = (1, 2, 3, 4, 5)
    assert alpha(counts(RELIABILITY, values), values, level) == pytest.approx(published, abs=5e-4)


def test_two_observers_without_missing_ratings():
    assert alpha(counts(BINARY, "01"), (0, 1), "nominal") == pytest.approx(0.095, abs=5e-4)
    assert alpha(counts(NOMINAL, "abcde"), range(5), "nominal") == pytest.approx(0.692, abs=5e-4)


def test_perfect_agreement_is_one_and_chance_is_zero():
    same = np.diag([3, 3, 3, 3])
    for level in ("nominal", "ordinal", "interval"):
        assert alpha(same, range(4), level) == pytest.approx(1)
    by_lot = np.random.default_rng(0).multinomial(4, [0.1, 0.2, 0.3, 0.4], size=4000)
    assert alpha(by_lot, range(4)) == pytest.approx(0, abs=0.03)


def test_opposite_ratings_are_worse_than_chance():
    assert alpha([[1, 0, 1], [1, 0, 1]], range(3), "interval") < 0


def test_units_with_one_rating_and_values_that_nobody_gave_say_nothing():
    table, values = counts(RELIABILITY, (1, 2, 3, 4, 5)), (1, 2, 3, 4, 5)
    alone = np.vstack([table, np.eye(5, dtype=int), np.zeros((1, 5), int)])
    assert alpha(alone, values) == pytest.approx(float(alpha(table, values)))
    unused = np.insert(table, 2, 0, axis=1)
    assert alpha(unused, (1, 2, 2.5, 3, 4, 5)) == pytest.approx(float(alpha(table, values)))


def test_ordinal_needs_only_the_order():
    table = counts(RELIABILITY, (1, 2, 3, 4, 5))
    assert alpha(table, (1, 2, 3, 4, 5)) == alpha(table, (-7, 0, 1, 50, 51))
    assert alpha(table, (1, 2, 3, 4, 5), "interval") != alpha(table, (-7, 0, 1, 50, 51), "interval")


def test_several_tables_at_once():
    tables = np.random.default_rng(1).integers(0, 4, (6, 20, 5))
    together = alpha(tables, range(5))
    assert together == pytest.approx([float(alpha(table, range(5))) for table in tables])


@pytest.mark.parametrize("table", [[], [[1, 0], [0, 1]], [[2, 0], [3, 0]], [[0, 0]]])
def test_what_cannot_be_told_from_chance_is_nan(table):
    assert np.isnan(alpha(np.reshape(table, (-1, 2)), (1, 2)))
