"""Other answers than the greedy one, in float32, against an exhaustive search with the numpy reference."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Generation, Limits, StopRule
from mccomd.engine.alternatives import most_probable
from mccomd.engine.output import Other, Output
from mccomd.engine.spelling import Spelling
from mccomd.types import CancelToken, Finish
from mccomd_models.graph import Precision
from mccomd_models.reference import forward
from tests.engine.tiny import CancelAfter, Tiny, never, write_tiny

PROMPTS = int(os.environ.get("MCCOMD_ALTERNATIVES_PROMPTS", "20"))
MOST = 10
ENDS = frozenset(range(2, 60))  # ids that end an answer: about one in five


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Sure enough of its ids for some to be far more probable than others."""
    return write_tiny(tmp_path_factory.mktemp("sharp"), Precision("fp32"), sharpness=2.5)


def ends(ids: Sequence[int]) -> bool:
    return bool(ids) and ids[-1] in ENDS


def prompt_of(seed: int) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(2, 258, size=24).tolist()
    return found


def run(
    engine: Engine,
    prompt: Sequence[int],
    tries: int,
    *,
    stop: StopRule = ends,
    least: float = 0.0,
    cancel: CancelToken | None = None,
    heal: str = "",
    worth: StopRule | None = None,
    deadline: float = math.inf,
) -> Generation:
    limits = Limits(MOST, deadline, least, tries)
    return engine.generate(prompt, limits, stop, cancel or CancelToken(), heal=heal, worth=worth)


def open_engine(tiny: Tiny, draft_tokens: int = 0) -> Engine:
    return Engine(tiny.folder, EngineOptions(1, 128, 16, draft_tokens=draft_tokens))


class Exhaustive:
    """Every answer through a second choice, by the reference."""

    def __init__(self, tiny: Tiny, prompt: Sequence[int]) -> None:
        self._tiny = tiny
        self._prompt = list(prompt)
        self._kept: dict[tuple[int, ...], np.ndarray[tuple[int], np.dtype[np.float64]]] = {}

    def odds(self, ids: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        key = tuple(ids)
        if key not in self._kept:
            logits = forward(self._tiny.config, self._tiny.weights, [*self._prompt, *ids])[-1]
            exp = np.exp(logits.astype(np.float64) - logits.max())
            self._kept[key] = exp / exp.sum()
        return self._kept[key]

    def greedy(self, ids: Sequence[int], chance: float) -> tuple[tuple[int, ...], float]:
        found = list(ids)
        while len(found) < MOST and not ends(found) and 0 not in found:
            odds = self.odds(found)
            found.append(int(odds.argmax()))
            chance *= float(odds.max())
        return tuple(found), chance

    def best(self) -> tuple[tuple[int, ...], float]:
        first, best = self.greedy((), 1.0)
        answer, chance = first, 1.0
        for at in range(len(first)):
            odds = self.odds(first[:at])
            other = int(np.argsort(-odds)[1])
            ids, own = self.greedy((*first[:at], other), chance * float(odds[other]))
            if 2 <= other < 258 and ends(ids) and own > best:  # the others have no text
                answer, best = ids, own
            chance *= float(odds[first[at]])
        return answer, best


@pytest.mark.parametrize("draft_tokens", [0, 7])
def test_the_most_probable_answer_through_a_second_choice_is_found(tiny: Tiny, draft_tokens: int) -> None:
    engine, others = open_engine(tiny, draft_tokens), 0
    for seed in range(PROMPTS):
        prompt = prompt_of(seed)
        answer, chance = Exhaustive(tiny, prompt).best()
        found = run(engine, prompt, 1000)
        assert found.ids == answer, seed
        assert math.prod(found.probabilities) == pytest.approx(chance, rel=1e-3)
        others += found.ids != run(engine, prompt, 0).ids
    engine.close()
    assert others > PROMPTS // 10  # the search is not idle


def test_few_tries_lie_between_none_and_all(tiny: Tiny) -> None:
    engine = open_engine(tiny)
    for seed in range(PROMPTS):
        chances = [math.prod(run(engine, prompt_of(seed), tries).probabilities) for tries in (0, 1, 3, 1000)]
        assert chances == pytest.approx(sorted(chances), rel=1e-4)
    assert run(engine, prompt_of(0), 0).tried == 0
    assert all(run(engine, prompt_of(seed), 2).tried <= 2 for seed in range(PROMPTS))
    engine.close()


def test_an_answer_that_is_not_worth_having_replaces_none(tiny: Tiny) -> None:
    engine = open_engine(tiny)
    for seed in range(PROMPTS):
        plain = run(engine, prompt_of(seed), 0)
        found = run(engine, prompt_of(seed), 1000, worth=lambda ids: False)
        assert found.ids == plain.ids
        assert found.probabilities == pytest.approx(plain.probabilities, rel=1e-4)
    engine.close()


def test_what_the_answer_must_begin_with_stays(tiny: Tiny) -> None:
    engine = open_engine(tiny)
    limits = Limits(MOST, math.inf, 0.0, 1000)
    for seed in range(PROMPTS):
        found = engine.generate(prompt_of(seed), limits, ends, CancelToken(), heal="a", begins=("bcd", "xy"))
        text = engine.tokenizer.decode(found.ids)
        assert text.startswith(("abcd", "axy")) or "abcd".startswith(text) or "axy".startswith(text)
        assert len(found.probabilities) == len(found.seconds) == len(found.ids) - found.healed
    engine.close()


def test_the_text_that_is_typed_already_stays(tiny: Tiny) -> None:
    engine, others = open_engine(tiny), 0
    for seed in range(PROMPTS):
        found = run(engine, prompt_of(seed), 1000, heal="ab")
        assert engine.tokenizer.decode(found.ids).startswith("ab")
        assert len(found.probabilities) == len(found.seconds) == len(found.ids) - found.healed
        others += found.ids != run(engine, prompt_of(seed), 0, heal="ab").ids
    engine.close()
    assert others


def test_an_answer_that_was_given_up_makes_way_for_a_whole_one(tiny: Tiny) -> None:
    engine, changed = open_engine(tiny), 0
    for seed in range(PROMPTS):
        plain = run(engine, prompt_of(seed), 0, least=0.02)
        found = run(engine, prompt_of(seed), 1000, least=0.02)
        if found.ids != plain.ids:
            assert found.finish is Finish.STOP
            assert math.prod(found.probabilities) > 0.02
            changed += plain.finish is Finish.UNSURE
    engine.close()
    assert changed


@pytest.mark.parametrize("draft_tokens", [0, 7])
def test_cancelling_at_any_time_leaves_the_cache_right(tiny: Tiny, draft_tokens: int) -> None:
    engine = open_engine(tiny, draft_tokens)
    prompt, other = prompt_of(1), [*prompt_of(1)[:15], 99]
    plain, wanted = run(engine, prompt, 0), run(engine, other, 1000)
    for looks in range(60):
        found = run(engine, prompt, 1000, cancel=CancelAfter(looks))
        if found.finish is not Finish.CANCELLED:
            break
        assert found.ids == plain.ids[: len(found.ids)] or found.tried
        assert run(engine, other, 1000).ids == wanted.ids
    else:
        pytest.fail("never came to an end")
    engine.close()


def test_no_doubt_no_work(tiny: Tiny) -> None:
    """What the first answer takes is not changed where nothing can be more probable."""
    engine = open_engine(tiny)
    for seed in range(PROMPTS):
        plain, found = run(engine, prompt_of(seed), 0, stop=never), run(engine, prompt_of(seed), 16)
        assert found.tried or plain.ids[: len(found.ids)] == found.ids
        assert found.passes == len(found.ids) - 1 or found.tried
    engine.close()


# --- the order of attempts -----------------------------------------------------------------------------


class Scripted(Output):
    def __init__(self, chance: float, others: Sequence[Other] = ()) -> None:
        super().__init__(Spelling([]), b"")
        self.chance = chance
        self._others = others

    def others(self) -> Iterator[Other]:
        return iter(self._others)


def output(chance: float, *others: Other) -> Output:
    return Scripted(chance, others)


def tried(
    first: Output, finish: Finish, ends: Sequence[tuple[float, Finish]], tries: int = 9
) -> list[object]:
    """What is asked for, and at last what comes out."""
    asked: list[object] = []

    def attempt(other: Other, floor: float) -> tuple[Output, Finish]:
        asked.append((other.token_id, floor))
        chance, end = ends[len(asked) - 1]
        return output(chance), end

    answer, end, count = most_probable(first, finish, tries, 0.02, attempt)
    assert count == len(asked)
    return [*asked, (answer.chance, end)]


A, B, C = Other(0, 7, 0.3, 0.3), Other(1, 8, 0.4, 0.24), Other(2, 9, 0.1, 0.03)


def test_the_most_probable_beginning_comes_first_and_the_floor_rises() -> None:
    found = tried(output(0.1, C, B, A), Finish.STOP, [(0.2, Finish.STOP), (0.2, Finish.UNSURE)])
    assert found == [(7, 0.1), (8, 0.2), (0.2, Finish.STOP)]


def test_what_cannot_win_is_not_tried() -> None:
    assert tried(output(0.4, A, B, C), Finish.STOP, []) == [(0.4, Finish.STOP)]
    assert tried(output(0.1, A, B, C), Finish.STOP, [], tries=0) == [(0.1, Finish.STOP)]


def test_a_given_up_answer_is_beaten_by_any_whole_one() -> None:
    found = tried(output(0.019, C), Finish.UNSURE, [(0.021, Finish.STOP)])
    assert found == [(9, 0.02), (0.021, Finish.STOP)]
    found = tried(output(0.019, C), Finish.UNSURE, [(0.025, Finish.LENGTH)])
    assert found == [(9, 0.02), (0.019, Finish.UNSURE)]


def test_time_that_runs_out_keeps_the_best_and_who_leaves_gets_that_said() -> None:
    ends = [(0.2, Finish.STOP), (0.1, Finish.DEADLINE)]
    assert tried(output(0.1, A, B), Finish.STOP, ends)[-1] == (0.2, Finish.STOP)
    ends = [(0.2, Finish.STOP), (0.1, Finish.CANCELLED)]
    assert tried(output(0.1, A, B), Finish.STOP, ends)[-1] == (0.2, Finish.CANCELLED)
