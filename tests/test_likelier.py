"""A text that is more probable as a whole than the greedy one, with the shipped model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mccomd.config import Config
from mccomd.engine import Engine, EngineOptions, shipped_models
from mccomd.generate import Generate, Generated
from mccomd.likelier import Likelier, worth_a_try
from mccomd.types import CancelToken, Finish, Query

CACHE = """class Cache:
    def __init__(self, size):
        self.size = size
        self.items = {}

    def get(self, key):
        return self.items.get(key)

    def put(self, key, value):
        """
FLUSH = """def flush(self):
    if self.buffer:
        self.stream.write(self.buffer)
        """
MEAN = "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n    return"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(shipped_models()["mccomd-135m"], EngineOptions(context_tokens=1280))
    yield engine
    engine.close()


def never(text: str) -> bool:
    return False


def job_of(prefix: str, suffix: str = "\n", useless: Callable[[str], bool] = never) -> Generate:
    query = Query("/r/a.py", "a.py", "/r", "python", prefix, suffix, 0)
    return Generate(query, (), Config(), 24, math.inf, CancelToken(), useless=useless)


def found(
    engine: Engine, job: Generate, deadline: float = math.inf, cancel: CancelToken | None = None
) -> tuple[Generated, Generated]:
    """The answer, and what stands in its place."""
    first = job(engine)
    return first, Likelier(job, first, deadline, cancel or CancelToken())(engine)


def chance(generated: Generated) -> float:
    return math.prod(generated.generation.probabilities)


@pytest.mark.parametrize("prefix", [CACHE, FLUSH])
def test_a_more_probable_text_is_found(engine: Engine, prefix: str) -> None:
    first, better = found(engine, job_of(prefix))
    assert worth_a_try(first)
    assert better.text not in ("", first.text)
    assert chance(better) > chance(first)
    assert better.generation.passes > first.generation.passes
    assert better.generation.finish is Finish.STOP


def test_an_answer_that_is_sure_is_tried_no_further(engine: Engine) -> None:
    asked = []

    def useless(text: str) -> bool:
        asked.append(text)
        return False

    first, better = found(engine, job_of(MEAN, useless=useless))
    assert not worth_a_try(first)
    assert better == first
    assert asked == [first.text] == [" total"]


def test_no_text_that_would_not_be_shown(engine: Engine) -> None:
    _, better = found(engine, job_of(CACHE))
    first, other = found(engine, job_of(CACHE, useless=lambda text: text == better.text))
    assert first.text != better.text
    assert other.text not in ("", better.text)


def test_what_was_cut_is_not_replaced_by_less(engine: Engine) -> None:
    """Half a text and a whole one are not of one measure."""
    job = job_of(CACHE)
    first, better = found(engine, job)
    cut = replace(first, generation=replace(first.generation, finish=Finish.UNSURE))
    less, more = replace(cut, text="self."), replace(cut, text=f"{better.text}, more")
    assert Likelier(job, less, math.inf, CancelToken())(engine).text == better.text
    assert Likelier(job, more, math.inf, CancelToken())(engine).text == more.text


def test_where_nothing_would_be_shown_there_is_no_search(engine: Engine) -> None:
    """The second choice was taken there: what it says is not the most probable text by intent."""
    first = job_of(CACHE)(engine)
    second = job_of(CACHE, useless=lambda text: text == first.text)(engine)
    assert second.text not in ("", first.text)
    assert not worth_a_try(second)


def test_the_most_probable_ways_are_tried_and_no_others(engine: Engine) -> None:
    job = job_of(CACHE)
    first = job(engine)
    assert 1 <= len(first.forks) <= 3
    assert [fork.chance for fork in first.forks] == sorted((f.chance for f in first.forks), reverse=True)
    alone = replace(first, forks=())
    assert Likelier(job, alone, math.inf, CancelToken())(engine) == alone


def test_the_block_below_stays_open(engine: Engine) -> None:
    """A text that begins otherwise must open it, too."""
    job = job_of("def read(path):\n    ", "\n        return file.read()\n")
    first, better = found(engine, job)
    assert first.begins
    assert any(better.text.startswith(begin) for begin in first.begins)


def test_time_that_is_over_leaves_the_first(engine: Engine) -> None:
    first, same = found(engine, job_of(CACHE), deadline=time.monotonic() - 1)
    assert same.text == first.text


def test_it_gives_way(engine: Engine) -> None:
    cancel = CancelToken()
    cancel.cancel()
    first, same = found(engine, job_of(CACHE), cancel=cancel)
    assert same.text == first.text


def test_close_choices_are_told_without_the_model(engine: Engine) -> None:
    first = job_of(CACHE)(engine)
    sure = replace(first.generation, probabilities=(0.99,) * len(first.generation.probabilities))
    assert worth_a_try(first)
    assert not worth_a_try(replace(first, generation=sure))
    assert not worth_a_try(replace(first, forks=()))
