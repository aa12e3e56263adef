"""The weights of a mixture are learnt from what was right."""

from __future__ import annotations

import numpy as np
import pytest

from mccomd.engine.mixture import CACHES, FEATURES, Row
from mccomd_models.mixture import Sample, fitted, mixed


def _samples(count: int, telling: int, seed: int) -> list[Sample]:
    """The model knows nothing; one cache is right in nine of ten, the others never match."""
    chance, found = np.random.default_rng(seed), []
    for _ in range(count):
        right = int(chance.integers(4))
        hinted = right if chance.random() < 0.9 else int(chance.integers(4))
        model = chance.dirichlet(np.ones(4))
        odds, about = np.array([model] * (1 + len(CACHES))), np.zeros((len(CACHES), len(FEATURES)))
        odds[1 + telling] = np.where(np.arange(4) == hinted, 0.97, 0.01)
        about[telling, 1] = 1  # a match of three ids
        found.append(Sample(Row(np.arange(4), odds, about), np.arange(4) == right))
    return found


@pytest.mark.parametrize("telling", range(len(CACHES)))
def test_a_cache_that_tells_gets_the_say(telling: int) -> None:
    weights = fitted(_samples(400, telling, 1))
    assert weights[telling, 1] > 1
    unseen = _samples(200, telling, 2)
    assert np.mean([one.right[mixed(one, weights).argmax()] for one in unseen]) > 0.8


def test_a_cache_that_misleads_loses_its_share() -> None:
    telling = _samples(400, 0, 3)
    blind = [
        Sample(
            Row(one.row.ids, np.array([one.row.odds[0], *one.row.odds[1:, ::-1]]), one.row.about), one.right
        )
        for one in telling
    ]
    assert fitted(blind)[0, 1] < fitted(telling)[0, 1]


def test_samples_without_a_right_candidate_are_left_out() -> None:
    known = _samples(50, 0, 4)
    unknown = [Sample(one.row, np.zeros(4, bool)) for one in known]
    np.testing.assert_allclose(fitted([*known, *unknown]), fitted(known))
