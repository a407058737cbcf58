"""Krippendorff's alpha, held to his own example and to values of the package `krippendorff` 0.9.0."""

import pytest

from trunkline.serve.labelling.agreement import alpha

# K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
PUBLISHED = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [1, 1, 2, 1],
    [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip
COMPARED = [[-2.5, 7.25], [1e6, 1e6 + 1, 1e6], [3.0], [], [0.1, 0.2, 0.30000000000000004]]


def test_alpha_is_that_of_the_published_example():
    assert alpha(PUBLISHED, numeric=False) == pytest.approx(0.743, abs=5e-4)
    assert alpha(PUBLISHED, numeric=True) == pytest.approx(0.849, abs=5e-4)
    assert alpha([[str(value) for value in unit] for unit in PUBLISHED], numeric=False) == pytest.approx(
        0.743, abs=5e-4
    )


def test_alpha_is_that_of_the_package():
    assert alpha(COMPARED, numeric=True) == pytest.approx(0.9999999999551568, rel=1e-12)
    assert alpha(COMPARED, numeric=False) == pytest.approx(0.09259259259259245, rel=1e-9)


def test_alpha_is_not_defined_without_pairs_or_without_any_difference():
    assert alpha([], numeric=False) is None
    assert alpha([["a"], ["b"]], numeric=False) is None
    assert alpha([[1.0, 1.0], [1.0, 1.0]], numeric=True) is None
    assert alpha([[True, False], [False, True]], numeric=False) < 0
