"""The parts of the mixture trial that know no model."""

from __future__ import annotations

import numpy as np
import pytest

from mccomd_models.mixture_trial import FEATURES, Row, fitted, smoothed
from mccomd_models.ngram_trial import Ngrams

TEXT = np.array([5, 6, 7, 1, 5, 6, 7, 2, 9, 6, 8, 3], np.int32)


def test_caches_keep_a_distribution_and_long_matches_count_most() -> None:
    every = np.arange(10, dtype=np.int32)
    base = np.full(10, 0.1)
    short = smoothed(Ngrams(TEXT).continuations([4, 6, 7]), every, base)
    long = smoothed(Ngrams(TEXT).continuations([5, 6, 7]), every, base)
    for found in (short, long):
        assert found.sum() == pytest.approx(1)
        assert set(np.argsort(-found)[:2]) == {1, 2}
    assert long[1] > short[1] > base[1]
    assert smoothed({}, every, base) is base


def _rows(count: int, telling: int, seed: int) -> list[Row]:
    """The model knows nothing, one feature points at what is right in nine of ten."""
    chance, rows = np.random.default_rng(seed), []
    for _ in range(count):
        features = np.zeros((4, len(FEATURES)))
        features[:, 0] = np.log(chance.dirichlet(np.ones(4)))
        right = int(chance.integers(4))
        hinted = right if chance.random() < 0.9 else int(chance.integers(4))
        features[hinted, telling] = 1
        rows.append(Row(features, np.arange(4) == right))
    return rows


@pytest.mark.parametrize("telling", range(1, len(FEATURES)))
def test_weights_find_the_feature_that_tells(telling: int) -> None:
    weights = fitted(_rows(400, telling, 1))
    assert weights[telling] > 1.5
    assert np.abs(np.delete(weights, [0, telling])).max() < 1e-6
    assert abs(weights[0]) < 0.3
    unseen = _rows(200, telling, 2)
    assert np.mean([row.right[(row.features @ weights).argmax()] for row in unseen]) > 0.8


def test_a_feature_that_misleads_gets_a_negative_weight() -> None:
    rows = _rows(400, 1, 3)
    turned = [
        Row(np.where(np.arange(len(FEATURES)) == 1, 1 - row.features, row.features), row.right)
        for row in rows
    ]
    assert fitted(turned)[1] < -1.5


def test_rows_without_a_right_candidate_are_left_out() -> None:
    rows = _rows(50, 2, 4)
    hopeless = Row(rows[0].features, np.zeros(4, bool))
    np.testing.assert_allclose(fitted(rows), fitted([hopeless, *rows]))
