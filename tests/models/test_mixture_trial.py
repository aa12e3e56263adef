"""The parts of the mixture trial that know no model."""

from __future__ import annotations

import numpy as np
import pytest

from mccomd_models.mixture_trial import CACHES, FEATURES, Row, fitted, mixed, smoothed
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
    """The model knows nothing; one cache is right in nine of ten, the others never match."""
    chance, rows = np.random.default_rng(seed), []
    for _ in range(count):
        right = int(chance.integers(4))
        hinted = right if chance.random() < 0.9 else int(chance.integers(4))
        model = chance.dirichlet(np.ones(4))
        odds, about = np.array([model] * (1 + len(CACHES))), np.zeros((len(CACHES), len(FEATURES)))
        odds[1 + telling] = np.where(np.arange(4) == hinted, 0.97, 0.01)
        about[telling, 1] = 1  # a match of three ids
        rows.append(Row(odds, about, np.arange(4) == right))
    return rows


@pytest.mark.parametrize("telling", range(len(CACHES)))
def test_a_cache_that_tells_gets_the_say(telling: int) -> None:
    weights = fitted(_rows(400, telling, 1))
    assert weights[telling, 1] > 1
    unseen = _rows(200, telling, 2)
    assert np.mean([row.right[mixed(row, weights).argmax()] for row in unseen]) > 0.8


def test_a_cache_that_misleads_loses_its_share() -> None:
    telling = _rows(400, 0, 3)
    blind = [Row(np.array([row.odds[0], *row.odds[1:, ::-1]]), row.about, row.right) for row in telling]
    assert fitted(blind)[0, 1] < fitted(telling)[0, 1]


def test_without_a_match_the_model_speaks_alone() -> None:
    row = _rows(1, 0, 4)[0]
    silent = Row(row.odds, np.zeros_like(row.about), row.right)
    np.testing.assert_allclose(mixed(silent, np.full(row.about.shape, 9.0)), row.odds[0])


def test_rows_without_a_right_candidate_are_left_out() -> None:
    rows = _rows(50, 2, 4)
    hopeless = Row(rows[0].odds, rows[0].about, np.zeros(4, bool))
    np.testing.assert_allclose(fitted(rows), fitted([hopeless, *rows]))
