"""The model's choice and what stands elsewhere, as one distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mccomd.engine import Engine, Known, Limits, Mixing, Mixture, Scan
from mccomd.engine.mixture import CACHES, FEATURES, LENGTHS, shares
from mccomd.engine.output import Output
from mccomd.engine.spelling import Spelling
from mccomd.errors import ArtifactError
from mccomd.types import CancelToken
from tests.engine.tiny import never

VOCAB = 300
EVEN = np.zeros((len(CACHES), len(FEATURES)))  # each cache that has a match says as much as the model
LOUD = np.where(np.arange(len(FEATURES)) < len(LENGTHS), 6.0, 0.0) * np.ones((len(CACHES), 1))


def mixing(weights: np.ndarray, texts: Sequence[Sequence[int]], before: Sequence[int]) -> Mixing:
    return Mixing(Mixture(weights), Known(tuple(before), (Scan(texts), None, None)))


def logits(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=VOCAB).astype(np.float32) * 3


def test_without_a_match_the_model_speaks_alone() -> None:
    row = logits()
    ids, odds = mixing(LOUD, [[1, 2, 3]], [7, 8]).odds(row, [])
    exact = np.exp(row - row.max())
    exact /= exact.sum()
    np.testing.assert_allclose(odds, exact[ids], rtol=1e-4)
    assert ids[0] == row.argmax()
    assert list(odds) == sorted(odds, reverse=True)


def test_what_followed_gains_and_what_did_not_loses() -> None:
    row = logits()
    unlikely = int(row.argmin())
    alone = dict(zip(*mixing(EVEN, [[1]], [7, 8]).odds(row, []), strict=True))
    ids, odds = mixing(EVEN, [[7, 8, unlikely]], [7, 8]).odds(row, [])
    found = dict(zip(ids, odds, strict=True))
    best = int(row.argmax())
    assert found[unlikely] > 0.2
    assert found[best] < alone[best]
    assert 0 < sum(odds) <= 1 + 1e-9


def test_a_longer_match_says_more_and_two_equal_lengths_are_counted_each() -> None:
    row, texts = logits(), [[5, 7, 8, 20], [6, 7, 8, 21]]
    ids, odds = mixing(EVEN, texts, [5, 7, 8]).odds(row, [])
    found = dict(zip(ids.tolist(), odds, strict=True))
    assert found[20] > found[21] > 0.05


def test_the_answer_so_far_is_part_of_what_is_matched() -> None:
    row = logits()
    found = mixing(LOUD, [[7, 8, 9, 10]], [7])
    assert found.odds(row, [8, 9])[0][found.odds(row, [8, 9])[1].argmax()] == 10
    assert found.behind([8]).odds(row, [9])[1].max() == found.odds(row, [8, 9])[1].max()


def test_what_may_not_come_has_no_share_wherever_it_stands() -> None:
    row = np.full(VOCAB, -np.inf, np.float32)
    row[[11, 12]] = [1.0, 0.0]
    ids, odds = mixing(LOUD, [[7, 8, 30], [7, 8, 12]], [7, 8]).odds(row, [])
    assert sorted(ids.tolist()) == [11, 12]
    assert ids[odds.argmax()] == 12
    assert sum(odds) == pytest.approx(1)
    assert np.isfinite(odds).all()


def test_shares_are_a_distribution_over_those_that_know_something() -> None:
    about = np.zeros((2, len(CACHES), len(FEATURES)))
    about[0, 1, 0] = 1
    found = shares(about, EVEN)
    np.testing.assert_allclose(found, [[0.5, 0, 0.5, 0], [1, 0, 0, 0]])


def test_what_a_manifest_says_is_read_as_it_was_written() -> None:
    weights = np.random.default_rng(2).normal(size=EVEN.shape).round(4)
    np.testing.assert_allclose(Mixture.read(Mixture(weights).written()).weights, weights)


@pytest.mark.parametrize(
    "change",
    [
        {"features": ["other"]},
        {"buffer": [1.0]},
        {"buffer": "x"},
        {"snippets": None},
        {"repository": [math.nan] * len(FEATURES)},
    ],
)
def test_weights_of_something_else_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ArtifactError, match="mixture"):
        Mixture.read({**Mixture(EVEN).written(), **change})


def test_the_output_takes_what_stands_elsewhere_within_what_is_bound() -> None:
    pieces = [b"", b"a", b"ab", b"b", b"c"] + [b"x%d" % n for n in range(VOCAB - 5)]
    row = np.zeros(VOCAB, np.float32)
    row[[1, 4]] = [1.0, 9.0]
    output = Output(Spelling(pieces), b"a", (), mixing(LOUD, [[7, 8, 2]], [7, 8]))
    assert output.choose(row) == 2  # "ab": it stands elsewhere, and begins with what is healed
    assert output.seconds[0][0] == 1
    assert output.probabilities[0] > output.seconds[0][1] > 0


def test_an_answer_is_what_was_written_before(engine: Engine) -> None:
    text = engine.tokenizer.encode("value = compute(x)\n")
    start = 8
    found = engine.generate(
        text[:start],
        Limits(len(text) - start, math.inf),
        never,
        CancelToken(),
        mixing=mixing(LOUD, [text], text[:start]),
    )
    assert list(found.ids) == text[start:]
    plain = engine.generate(text[:start], Limits(len(text) - start, math.inf), never, CancelToken())
    assert plain.ids != found.ids
