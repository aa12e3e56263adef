"""Continuations that are bound to begin with a text, on the tiny model: one id is one byte there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Generation, Limits
from mccomd.engine.spelling import Spelling
from mccomd.types import CancelToken, Finish
from mccomd_models.reference import forward
from tests.engine.tiny import Tiny, never

PROMPT = np.random.default_rng(5).integers(2, 258, size=30).tolist()
PIECES = [b"", b"r", b"re", b"return", b"ret", b"retry", b"\xff", b"\xff\xff", b" ", b"x", b"", b"re"]


def run(engine: Engine, heal: str, max_tokens: int = 4) -> Generation:
    return engine.generate(PROMPT, Limits(max_tokens, math.inf), never, CancelToken(), heal=heal)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (b"ret", [1, 2, 3, 4, 5, 11]),
        (b"retu", [1, 2, 3, 4, 11]),
        (b"r", [1, 2, 3, 4, 5, 11]),
        (b"\xff", [6, 7]),
        (b"y", []),
        (b"xy", [9]),
    ],
)
def test_ids_that_may_begin_a_text(text: bytes, allowed: list[int]) -> None:
    assert sorted(Spelling(PIECES).allowed(text).tolist()) == allowed


@pytest.mark.parametrize(
    ("ids", "text", "agrees"),
    [
        ([2], b"ret", True),
        ([2, 9], b"ret", False),
        ([3, 9], b"ret", True),
        ([9], b"ret", False),
        ([], b"r", True),
    ],
)
def test_guesses_that_agree_with_a_text(ids: list[int], text: bytes, agrees: bool) -> None:
    assert Spelling(PIECES).agrees(ids, text) is agrees


def test_a_text_with_a_byte_that_is_no_token_cannot_be_spelt() -> None:
    assert Spelling(PIECES).can_spell(b"r x")
    assert not Spelling(PIECES).can_spell(b"ret")  # "t" stands in longer pieces only


@pytest.mark.parametrize("draft_tokens", [0, 5])
@pytest.mark.parametrize("heal", ["a", " self", "é", "\n    "])
def test_the_healed_text_comes_first_and_counts_for_nothing(tiny: Tiny, heal: str, draft_tokens: int) -> None:
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16, draft_tokens=draft_tokens))
    forced = engine.tokenizer.encode(heal)
    found = run(engine, heal)
    assert list(found.ids[: len(forced)]) == forced
    assert found.healed == len(forced)
    plain = engine.generate([*PROMPT, *forced], Limits(4, math.inf), never, CancelToken())
    assert found.ids[found.healed :] == plain.ids
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-4)


def test_probability_of_an_id_that_goes_beyond_is_among_the_allowed(tiny: Tiny) -> None:
    """Half of a character: its first byte is bound, the second is not."""
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16))
    machinery = engine._open()
    pieces = [machinery.spelling.bytes_of(i) for i in range(288)]
    pieces[40], pieces[41] = b"zz", b"zy"
    object.__setattr__(machinery, "spelling", Spelling(pieces))
    z = engine.tokenizer.encode("z")[0]
    logits = forward(tiny.config, tiny.weights, PROMPT)[-1]
    found = run(engine, "z", 1)
    chosen = max((40, 41, z), key=lambda i: logits[i])
    assert found.ids[0] == chosen
    if chosen != z:
        share = np.exp(logits[chosen]) / np.exp(logits[[40, 41, z]]).sum()
        assert found.probabilities[0] == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("draft_tokens", [0, 5])
@pytest.mark.parametrize("heal", ["", "a", "\n  "])
def test_one_of_several_beginnings(tiny: Tiny, heal: str, draft_tokens: int) -> None:
    """Of the texts the one whose bytes the model finds most probable, one after the other."""
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16, draft_tokens=draft_tokens))
    begins, ids = ["for ", "from", "if ", "wh"], list(PROMPT)
    ids += engine.tokenizer.encode(heal)
    left, probabilities = [engine.tokenizer.encode(begin) for begin in begins], []
    while all(left):
        logits = forward(tiny.config, tiny.weights, ids)[-1]
        allowed = sorted({begin[0] for begin in left})
        best = max(allowed, key=lambda i: logits[i])
        probabilities.append(np.exp(logits[best]) / np.exp(logits[allowed]).sum())
        ids.append(best)
        left = [begin[1:] for begin in left if begin[0] == best]
    found = engine.generate(PROMPT, Limits(12, math.inf), never, CancelToken(), heal=heal, begins=begins)
    assert list(found.ids[: len(ids) - len(PROMPT)]) == ids[len(PROMPT) :]
    assert found.healed == len(engine.tokenizer.encode(heal))
    np.testing.assert_allclose(found.probabilities[: len(probabilities)], probabilities, atol=1e-4)
    plain = engine.generate(ids, Limits(2, math.inf), never, CancelToken())
    assert found.ids[len(ids) - len(PROMPT) :][:2] == plain.ids


def test_seconds_are_what_would_have_been_chosen_else(tiny: Tiny) -> None:
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16))
    found = engine.generate(PROMPT, Limits(3, math.inf), never, CancelToken())
    for at, (second, probability) in enumerate(found.seconds):
        logits = forward(tiny.config, tiny.weights, [*PROMPT, *found.ids[:at]])[-1]
        assert second == int(np.argsort(logits)[-2])
        assert probability == pytest.approx(np.exp(logits[second]) / np.exp(logits).sum(), abs=1e-4)


def test_what_cannot_be_spelt_stands_at_the_end_of_the_prompt(tiny: Tiny) -> None:
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16))
    machinery = engine._open()
    pieces = [machinery.spelling.bytes_of(i) for i in range(288)]
    forced = engine.tokenizer.encode("q=")
    pieces[forced[0]] = b""
    object.__setattr__(machinery, "spelling", Spelling(pieces))
    seen: list[tuple[int, ...]] = []

    def stop(ids: Sequence[int]) -> bool:
        seen.append(tuple(ids))
        return False

    found = engine.generate(PROMPT, Limits(3, math.inf), stop, CancelToken(), heal="q=")
    plain = engine.generate([*PROMPT, *forced], Limits(3, math.inf), never, CancelToken())
    assert found.ids == (*forced, *plain.ids)
    assert (found.healed, len(found.probabilities)) == (2, 3)
    assert all(list(ids[:2]) == forced for ids in seen)


def test_early_is_asked_once_with_the_first_three(tiny: Tiny) -> None:
    engine = Engine(tiny.folder, EngineOptions(1, 128, 16))
    asked: list[Sequence[float]] = []

    def early(probabilities: Sequence[float]) -> bool:
        asked.append(tuple(probabilities))
        return False

    whole = engine.generate(PROMPT, Limits(6, math.inf), never, CancelToken(), heal="ab", early=early)
    assert asked == [whole.probabilities[:3]]
    found = engine.generate(
        PROMPT, Limits(6, math.inf), never, CancelToken(), heal="ab", early=lambda _: True
    )
    assert (found.finish, found.ids) == (Finish.ABANDONED, whole.ids[:5])
