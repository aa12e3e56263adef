"""Guessing ahead, in float32: the ids are those of plain greedy decoding, whatever was guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Generation, Limits, StopRule
from mccomd.engine.draft import PAST_IDS, Drafter, Guess, Odds, Pace
from mccomd.types import CancelToken, Finish
from mccomd_models.graph import Precision
from tests.engine.tiny import CancelAfter, Tiny, change_manifest, never, write_tiny

UNIT = np.random.default_rng(11).integers(2, 258, size=20).tolist()


class Free(Pace):
    """Passes that all cost the same: everything is worth guessing, on any machine."""

    def saw(self, count: int, seconds: float) -> None:
        pass

    def cost(self, count: int) -> float:
        return 1.0


@pytest.fixture
def drafting(tiny: Tiny) -> Iterator[Engine]:
    engine = open_drafting(tiny)
    yield engine
    engine.close()


def open_drafting(tiny: Tiny) -> Engine:
    engine = Engine(tiny.folder, EngineOptions(1, 256, 16, draft_tokens=7))
    object.__setattr__(engine._open(), "pace", Free())
    return engine


def run(
    engine: Engine,
    prompt: Sequence[int],
    count: int = 24,
    stop: StopRule = never,
    cancel: CancelToken | None = None,
    heal: str = "",
) -> Generation:
    return engine.generate(prompt, Limits(count, math.inf), stop, cancel or CancelToken(), heal=heal)


def repeating(tiny: Tiny) -> tuple[list[int], Generation]:
    """A prompt in which its own greedy continuation stands already, and the plain result."""
    plain = Engine(tiny.folder, EngineOptions(1, 256, 16, draft_tokens=0))
    prompt = list(UNIT)
    for _ in range(3):
        prompt += [*run(plain, prompt, 24).ids, *UNIT]
    return prompt, run(plain, prompt)


def test_a_repeated_context_is_guessed_and_changes_nothing(tiny: Tiny, drafting: Engine) -> None:
    prompt, plain = repeating(tiny)
    found = run(drafting, prompt)
    assert found.ids == plain.ids
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-4)
    assert 0 < found.accepted <= found.drafted
    assert found.passes < plain.passes == 23
    assert plain.drafted == 0


@pytest.mark.parametrize("seed", range(8))
def test_any_context(tiny: Tiny, drafting: Engine, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt = rng.choice(rng.integers(2, 258, size=6), size=100).tolist()  # few ids: much to guess
    plain = Engine(tiny.folder, EngineOptions(1, 256, 16, draft_tokens=0))
    for end in (90, 95, 100):
        assert run(drafting, prompt[:end]).ids == run(plain, prompt[:end]).ids


@pytest.mark.parametrize("length", [1, 2, 5, 11, 24])
def test_a_stop_within_a_guess_is_a_stop(tiny: Tiny, drafting: Engine, length: int) -> None:
    prompt, plain = repeating(tiny)
    found = run(drafting, prompt, stop=lambda ids: len(ids) >= length)
    assert (found.finish, found.ids) == (Finish.STOP, plain.ids[:length])
    assert len(found.probabilities) == length
    assert run(drafting, prompt, length).ids == plain.ids[:length]
    assert run(drafting, prompt).ids == plain.ids


@pytest.mark.parametrize("at", [0, 3, 9])
def test_an_end_id_within_a_guess_is_an_end(
    tiny: Tiny, tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    prompt, plain = repeating(tiny)
    copy = write_tiny(tmp_path_factory.mktemp("ends"), Precision("fp32"))
    end = plain.ids[at]
    change_manifest(copy.folder, end_ids=(end,))
    found = run(open_drafting(copy), prompt)
    assert (found.finish, found.ids) == (Finish.STOP, plain.ids[: plain.ids.index(end)])
    assert len(found.probabilities) == len(found.ids)


@pytest.mark.parametrize("looks", range(0, 24, 3))
def test_cancelling_leaves_the_cache_right(tiny: Tiny, drafting: Engine, looks: int) -> None:
    prompt, plain = repeating(tiny)
    found = run(drafting, prompt, cancel=CancelAfter(looks))
    assert plain.ids[: len(found.ids)] == found.ids
    assert run(drafting, prompt).ids == plain.ids


def test_the_healed_text_comes_before_any_guess(tiny: Tiny, drafting: Engine) -> None:
    prompt, _ = repeating(tiny)
    plain = Engine(tiny.folder, EngineOptions(1, 256, 16, draft_tokens=0))
    for heal in ("a", " bc", "é("):
        found, expected = run(drafting, prompt, heal=heal), run(plain, prompt, heal=heal)
        assert (found.ids, found.healed) == (expected.ids, expected.healed)


def test_guesses_end_with_the_context(tiny: Tiny, drafting: Engine) -> None:
    prompt = (UNIT * 13)[:250]
    found = run(drafting, prompt, 6)
    assert (found.finish, len(found.ids)) == (Finish.LENGTH, 6)


def follow(*sequences: Sequence[int]) -> Drafter:
    drafter = Drafter()
    for ids in sequences:
        drafter.follow(ids)
    return drafter


@pytest.mark.parametrize(
    ("ids", "guess"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], Guess((4, 5, 1), 3)),
        ([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3], Guess((8, 1, 2), 3)),  # the most recent of equals
        ([0, 1, 2, 3, 9, 7, 1, 2, 3, 8, 0, 1, 2, 3], Guess((9, 7, 1), 4)),  # the longest first
        ([1, 2, 3, 4, 1, 2], Guess((3, 4, 1), 2)),
        ([1, 2, 3, 4, 9, 2], None),
        ([1, 2], None),
        ([1], None),
        ([], None),
        ([5, 5, 5], Guess((5,), 2)),
    ],
)
def test_guesses(ids: list[int], guess: Guess | None) -> None:
    assert follow(ids).guess(3, lambda _: True) == guess
    assert follow([7, 7, 7, 7, *ids], ids).guess(3, lambda _: True) == guess


@pytest.mark.parametrize(
    ("answers", "ids", "guess"),
    [
        ([((1, 2, 3), (4, 5, 6))], [1, 2, 3], Guess((4, 5, 6), 3, past=True)),
        ([((1, 2, 3), (4, 5, 6))], [9, 4, 5], Guess((6,), 2, past=True)),  # within an answer
        ([((1, 2, 3), (4, 5, 6))], [9, 5, 6], None),  # nothing followed it
        ([((1, 2), (3, 4)), ((1, 2), (3, 5))], [0, 1, 2], Guess((3, 5), 2, past=True)),  # the latest answer
        ([((1, 2, 3), (4, 5, 6))], [1, 2, 3, 8, 8, 2, 3], Guess((4, 5, 6), 2, past=True)),  # before the text
        ([((9, 2, 3), (4, 5, 6))], [1, 2, 3, 8, 1, 2, 3], Guess((8, 1, 2), 3)),  # a longer match in the text
        ([((1, 2, 3), (4,))], [1, 2, 3], None),  # one id is no answer worth keeping
        ([((1, 2), (3, 4)), ((5, 6), (7, 8))], [9, 3, 4], None),  # answers do not run into each other
    ],
)
def test_earlier_answers_are_guessed_from(
    answers: list[tuple[tuple[int, ...], tuple[int, ...]]], ids: list[int], guess: Guess | None
) -> None:
    drafter = Drafter()
    for prompt, answer in answers:
        drafter.remember(prompt, answer)
    drafter.follow(ids)
    assert drafter.guess(3, lambda _: True) == guess


def test_answers_are_forgotten_when_there_are_too_many() -> None:
    drafter = Drafter()
    drafter.remember((1, 2), (3, 4))
    for number in range(PAST_IDS):
        drafter.remember((10_000 + number, 20_000 + number), (30_000 + number, 40_000 + number))
    drafter.follow([0, 1, 2])
    assert drafter.guess(3, lambda _: True) is None
    drafter.follow([10_000 + PAST_IDS - 1, 20_000 + PAST_IDS - 1])
    assert drafter.guess(1, lambda _: True) == Guess((30_000 + PAST_IDS - 1,), 2, past=True)
    assert len(drafter._past.ids) < 3 * PAST_IDS


def test_the_next_keystroke_costs_few_passes(tiny: Tiny, drafting: Engine) -> None:
    """The user types past an answer: the next one is often the same from there on."""
    plain = run(Engine(tiny.folder, EngineOptions(1, 256, 16, draft_tokens=0)), UNIT)
    first = run(drafting, UNIT)
    again = run(drafting, [*UNIT, *plain.ids[:2]], 20)
    assert first.ids == plain.ids
    assert again.ids == plain.ids[2:22]
    assert again.passes <= 3


def test_guesses_that_do_not_fit_are_passed_over() -> None:
    drafter = follow([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3])
    assert drafter.guess(1, lambda ids: ids[0] == 9) == Guess((9,), 3)


def test_following_anything_is_following_it_from_the_start() -> None:
    rng = np.random.default_rng(2)
    drafter, ids = Drafter(), list[int]()
    for _ in range(300):
        ids = (
            ids[: int(rng.integers(0, len(ids) + 1))]
            + rng.integers(0, 3, size=int(rng.integers(0, 9))).tolist()
        )
        drafter.follow(ids)
        fresh = follow(ids)
        assert (drafter._now.ids, drafter._now._after) == (fresh._now.ids, fresh._now._after)


def test_guesses_that_fail_are_given_up_and_come_back() -> None:
    odds, guess = Odds(), Guess((1, 2, 3, 4), 3)
    odds.saw(guess, 0, 1)
    assert Odds().how_many(guess, 1, Pace()) > 0
    for _ in range(10):
        odds.saw(guess, 0, 1)
    assert odds.how_many(guess, 1, Pace()) == 0
    for _ in range(20):
        odds.saw(guess, 1, 0)
    assert odds.how_many(guess, 1, Pace()) > 0


def test_dear_passes_make_guesses_short() -> None:
    pace, guess = Pace(), Guess(tuple(range(7)), 12)
    cheap = Odds().how_many(guess, 1, pace)
    pace.saw(1, 0.01)
    for count in range(2, 9):
        for _ in range(50):
            pace.saw(count, 0.01 * count)
    assert Odds().how_many(guess, 1, pace) == 0 < cheap
