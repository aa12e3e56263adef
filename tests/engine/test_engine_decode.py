"""The engine against the numpy reference, with a tiny float32 model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Generation, Limits, StopRule
from mccomd.engine.artifact import load_manifest
from mccomd.engine.session import Session
from mccomd.errors import EngineError
from mccomd.types import CancelToken, Finish
from mccomd_models.reference import continue_greedily, forward
from tests.engine.conftest import OPTIONS
from tests.engine.tiny import CancelAfter, Tiny, change_manifest, never

PROMPT = np.random.default_rng(7).integers(2, 258, size=60).tolist()
# Both sides are float32 sums in another order; logits are about +-4 here.
TOLERANCE = 1e-4


def run(
    engine: Engine,
    prompt: Sequence[int] = PROMPT,
    *,
    max_tokens: int = 8,
    deadline: float = math.inf,
    stop: StopRule = never,
    cancel: CancelToken | None = None,
) -> Generation:
    return engine.generate(prompt, Limits(max_tokens, deadline), stop, cancel or CancelToken())


def expected(tiny: Tiny, prompt: Sequence[int] = PROMPT, count: int = 8) -> tuple[int, ...]:
    return tuple(continue_greedily(tiny.config, tiny.weights, prompt, count))


def open_session(tiny: Tiny) -> Session:
    return Session(tiny.folder, load_manifest(tiny.folder), EngineOptions(1, 128, 64))


@pytest.mark.parametrize("cuts", [[60], [1] * 60, [1, 2, 4, 8, 16, 29], [59, 1], [30, 30]])
def test_logits_are_the_references_however_the_ids_are_cut(tiny: Tiny, cuts: list[int]) -> None:
    session, at, rows = open_session(tiny), 0, []
    for count in cuts:
        rows.append(session.forward(PROMPT[at : at + count], count).copy())
        at += count
    np.testing.assert_allclose(
        np.concatenate(rows), forward(tiny.config, tiny.weights, PROMPT), atol=TOLERANCE
    )


def test_only_the_wanted_rows_come_back(tiny: Tiny) -> None:
    session = open_session(tiny)
    session.forward(PROMPT[:50], 1)
    logits = session.forward(PROMPT[50:], 4)
    reference = forward(tiny.config, tiny.weights, PROMPT)
    np.testing.assert_allclose(logits, reference[-4:], atol=TOLERANCE)


def test_garbage_that_is_rewound_leaves_no_trace(tiny: Tiny) -> None:
    session = open_session(tiny)
    session.forward(PROMPT[:40], 1)
    session.forward([9] * 30, 30)
    session.rewind(40)
    logits = session.forward(PROMPT[40:], 1)
    np.testing.assert_allclose(logits, forward(tiny.config, tiny.weights, PROMPT)[-1:], atol=TOLERANCE)


def test_greedy_ids_and_probabilities_are_the_references(tiny: Tiny, engine: Engine) -> None:
    found = run(engine)
    assert found.ids == expected(tiny)
    assert found.finish is Finish.LENGTH
    assert (found.prefilled, found.reused, found.drafted, found.accepted) == (60, 0, 0, 0)
    logits = forward(tiny.config, tiny.weights, [*PROMPT, *found.ids[:-1]])[-8:].astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, softmax.max(axis=1), atol=TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 7, 16, 60, 100])
def test_chunks_change_nothing(tiny: Tiny, chunk: int) -> None:
    engine = Engine(tiny.folder, EngineOptions(1, 128, chunk))
    assert run(engine).ids == expected(tiny)


@pytest.mark.parametrize(
    ("first", "then", "reused"),
    [
        (PROMPT, PROMPT, 59),  # the last id has to run: its logits are wanted
        (PROMPT, PROMPT[:30], 29),
        (PROMPT[:30], PROMPT, 30),
        (PROMPT, [*PROMPT[:20], 99, *PROMPT[21:]], 20),
        (PROMPT, [99, *PROMPT[1:]], 0),
    ],
)
def test_what_two_prompts_share_is_reused(
    tiny: Tiny, engine: Engine, first: list[int], then: list[int], reused: int
) -> None:
    run(engine, first)
    found = run(engine, then)
    assert (found.reused, found.prefilled) == (reused, len(then) - reused)
    assert found.ids == expected(tiny, then)


def test_an_accepted_completion_is_reused(tiny: Tiny, engine: Engine) -> None:
    first = run(engine)
    longer = [*PROMPT, *first.ids, 42]
    found = run(engine, longer)
    assert found.reused == len(PROMPT) + len(first.ids) - 1  # the last id was chosen and never run
    assert found.ids == expected(tiny, longer)


@pytest.mark.parametrize("looks", range(12))
def test_cancelling_at_any_time_leaves_the_cache_right(tiny: Tiny, engine: Engine, looks: int) -> None:
    found = run(engine, cancel=CancelAfter(looks))  # 4 chunks of prompt, then 8 ids
    whole = expected(tiny)
    chosen = max(0, looks - 3)
    if chosen < len(whole):
        assert (found.finish, found.ids) == (Finish.CANCELLED, whole[:chosen])
    assert found.prefilled == min(60, looks * 16)
    other = [*PROMPT[:35], 99]
    assert run(engine, other).ids == expected(tiny, other)


def test_a_deadline_that_has_passed_gives_nothing(engine: Engine) -> None:
    found = run(engine, deadline=time.monotonic())
    assert (found.finish, found.ids, found.prefilled) == (Finish.DEADLINE, (), 0)


def test_a_deadline_keeps_what_stands(tiny: Tiny, engine: Engine) -> None:
    deadline = time.monotonic() + 1  # a hundred times what the prefill of the tiny model takes

    def dawdle(ids: Sequence[int]) -> bool:
        while len(ids) == 2 and time.monotonic() < deadline:
            pass
        return False

    found = run(engine, deadline=deadline, stop=dawdle)
    assert (found.finish, found.ids) == (Finish.DEADLINE, expected(tiny)[:2])


def test_a_stop_rule_sees_all_ids_and_ends_with_them(tiny: Tiny, engine: Engine) -> None:
    seen: list[tuple[int, ...]] = []

    def three(ids: Sequence[int]) -> bool:
        seen.append(tuple(ids))
        return len(ids) == 3

    found, whole = run(engine, stop=three), expected(tiny)
    assert (found.finish, found.ids) == (Finish.STOP, whole[:3])
    assert seen == [whole[:1], whole[:2], whole[:3]]


def test_an_error_in_a_stop_rule_leaves_the_cache_right(tiny: Tiny, engine: Engine) -> None:
    def broken(ids: Sequence[int]) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(engine, stop=broken)
    assert run(engine).ids == expected(tiny)


def test_an_end_id_ends_and_is_left_out(tiny: Tiny, folder: Path) -> None:
    whole = expected(tiny)
    end = whole[3]
    change_manifest(folder, end_ids=(end,))
    found = run(Engine(folder, OPTIONS))
    assert (found.finish, found.ids) == (Finish.STOP, whole[: whole.index(end)])
    assert len(found.probabilities) == len(found.ids)


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "text"),
    [
        ([], 8, "prompt of 0 tokens"),
        (PROMPT, 0, "max_tokens 0"),
        (PROMPT * 2, 9, "prompt of 120 tokens with max_tokens 9: the context has 128"),
        ([5, 288], 8, "ids must be 0..287, found 5..288"),
        ([5, -1], 8, "ids must be 0..287"),
    ],
)
def test_requests_that_cannot_be_met(
    tiny: Tiny, engine: Engine, prompt: list[int], max_tokens: int, text: str
) -> None:
    run(engine)
    with pytest.raises(EngineError, match=text):
        run(engine, prompt, max_tokens=max_tokens)
    assert run(engine).ids == expected(tiny)


def test_a_prompt_may_fill_the_context(engine: Engine) -> None:
    found = run(engine, PROMPT * 2, max_tokens=8)
    assert (found.finish, len(found.ids)) == (Finish.LENGTH, 8)


def test_prefill_warms_the_cache(tiny: Tiny, engine: Engine) -> None:
    assert engine.prefill(PROMPT[:40], CancelToken()) == 40
    assert engine.prefill(PROMPT, CancelToken()) == 20
    assert engine.prefill(PROMPT[:40], CancelToken()) == 0
    found = run(engine)
    assert (found.reused, found.ids) == (59, expected(tiny))


def test_a_cancelled_prefill_is_gone_on_with(tiny: Tiny, engine: Engine) -> None:
    assert engine.prefill(PROMPT, CancelAfter(2)) == 32
    found = run(engine)
    assert (found.reused, found.ids) == (32, expected(tiny))


def test_prefill_of_too_long_a_prompt(engine: Engine) -> None:
    with pytest.raises(EngineError, match="prompt of 180 tokens, the context has 128"):
        engine.prefill(PROMPT * 3, CancelToken())


def test_session_refuses_what_does_not_fit(tiny: Tiny) -> None:
    session = open_session(tiny)
    session.forward(PROMPT, 1)
    for ids, rows in [(PROMPT + PROMPT, 1), (PROMPT, 0), (PROMPT[:2], 3), ([], 0)]:
        with pytest.raises(EngineError):
            session.forward(ids, rows)
    with pytest.raises(EngineError, match="cannot rewind to 61"):
        session.rewind(61)
    assert session.position == 60


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (EngineOptions(context_tokens=257), "context_tokens is 257, tiny takes 2..256"),
        (EngineOptions(context_tokens=128, prefill_chunk=0), "prefill_chunk is 0"),
        (EngineOptions(context_tokens=128, threads=-1), "threads is -1"),
        (EngineOptions(context_tokens=128, slots=0), "slots is 0, at least 1"),
        (EngineOptions(context_tokens=128, background_chunk=0), "background_chunk is 0"),
        (EngineOptions(context_tokens=128, draft_tokens=-1), "draft_tokens is -1"),
    ],
)
def test_options_that_the_model_cannot_meet(tiny: Tiny, options: EngineOptions, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        Engine(tiny.folder, options)


def test_a_closed_engine_says_so(tiny: Tiny) -> None:
    engine = Engine(tiny.folder, OPTIONS)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        run(engine)
