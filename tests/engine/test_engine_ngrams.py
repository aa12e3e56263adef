"""What followed the same ids elsewhere, held against a plain search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mccomd.engine import LONGEST, Cache, Scan, Table, joined, keyed, ordered
from mccomd.engine.ngrams import SAMPLE

VOCAB = 288
chance = np.random.default_rng(11)


def plain(texts: Sequence[Sequence[int]], last: Sequence[int], length: int) -> list[int]:
    """What follows each place of the last `length` ids, in any order."""
    gram = list(last[-length:])
    return sorted(
        text[at]
        for text in texts
        for at in range(length, len(text))
        if list(text[at - length : at]) == gram
    )  # fmt: skip


def table(texts: Sequence[Sequence[int]], vocab: int = VOCAB) -> Table:
    ids = joined(texts)
    return Table(ids, ordered(ids, vocab), keyed(vocab))


def random_texts(kinds: int) -> list[list[int]]:
    return [chance.integers(2, 2 + kinds, size).tolist() for size in (0, 1, 40, 300, 7)]


def check(cache: Cache, texts: Sequence[Sequence[int]], last: Sequence[int]) -> None:
    wanted = {n: plain(texts, last, n) for n in range(2, min(LONGEST, len(last)) + 1)}
    found = {}
    for match in cache.matches(last):
        for length in range(match.length - match.lengths + 1, match.length + 1):
            found[length] = sorted(match.followers.tolist())
    assert found == {length: followers for length, followers in wanted.items() if followers}


@pytest.mark.parametrize("vocab", [VOCAB, 49_152, 151_936])
@pytest.mark.parametrize("kinds", [2, 3, 12])
def test_both_caches_find_what_a_plain_search_finds(kinds: int, vocab: int) -> None:
    texts = random_texts(kinds)
    scan, sorted_once = Scan(texts), table(texts, vocab)
    for _ in range(60):
        text = texts[int(chance.integers(2, 4))]
        end = int(chance.integers(0, len(text) + 1))
        for last in (text[max(0, end - LONGEST) : end], random_texts(kinds)[2][:LONGEST]):
            check(scan, texts, last)
            check(sorted_once, texts, last)


def test_no_match_goes_from_one_text_into_the_next() -> None:
    texts = [[5, 6], [7, 8, 9]]
    for cache in (Scan(texts), table(texts)):
        assert cache.matches([5, 6]) == []
        assert cache.matches([6, 7]) == []
        assert [match.followers.tolist() for match in cache.matches([7, 8])] == [[9]]


@pytest.mark.parametrize("last", [[], [4], [4, 99]])
def test_nothing_follows_what_nowhere_stands(last: list[int]) -> None:
    texts = [[4, 5, 4, 5]]
    assert Scan(texts).matches(last) == table(texts).matches(last) == []
    assert Scan([]).matches([4, 5]) == table([]).matches([4, 5]) == []


def test_a_file_left_out_is_not_found() -> None:
    ids = joined([[5, 6, 7], [5, 6, 8]])
    whole = Table(ids, ordered(ids, VOCAB), keyed(VOCAB))
    first = LONGEST, LONGEST + 3
    assert [match.followers.tolist() for match in whole.without(*first).matches([5, 6])] == [[8]]
    assert sorted(whole.matches([5, 6])[0].followers.tolist()) == [7, 8]


def test_of_very_many_places_a_sample_counts() -> None:
    text = [5, 6, 7] * 5000 + [5, 6, 8] * 5000
    for cache in (Scan([text]), table([text])):
        for match in cache.matches([5, 6]):
            assert len(match.followers) <= SAMPLE + 1
            assert 0.4 < np.mean(match.followers == 7) < 0.6
