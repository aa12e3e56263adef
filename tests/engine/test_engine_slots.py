"""Several sequences side by side, and what is read ahead."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Generation, Limits
from mccomd.types import CancelToken, Finish
from mccomd_models.reference import continue_greedily
from tests.engine.test_engine_drafts import Free
from tests.engine.tiny import CancelAfter, Tiny, never

RNG = np.random.default_rng(17)
A, B, C = (RNG.integers(2, 258, size=90).tolist() for _ in range(3))
EDITS = int(os.environ.get("MCCOMD_TEST_EDITS", "400"))
"""How many random edits the test below makes; 10,000 take some minutes."""


def opened(tiny: Tiny, slots: int = 2, draft_tokens: int = 5) -> Engine:
    return Engine(
        tiny.folder,
        EngineOptions(1, 256, 16, background_chunk=8, slots=slots, draft_tokens=draft_tokens),
    )


def run(engine: Engine, prompt: list[int], cancel: CancelToken | None = None, heal: str = "") -> Generation:
    return engine.generate(prompt, Limits(6, math.inf), never, cancel or CancelToken(), heal=heal)


def expected(tiny: Tiny, prompt: list[int]) -> tuple[int, ...]:
    return tuple(continue_greedily(tiny.config, tiny.weights, prompt, 6))


def test_two_documents_keep_their_places(tiny: Tiny) -> None:
    engine = opened(tiny)
    for prompt, reused in [(A, 0), (B, 0), ([*A, 9], 90), ([*B, 9], 90), (A, 89)]:
        found = run(engine, prompt)
        assert (found.reused, found.ids) == (reused, expected(tiny, prompt))


def test_the_least_recently_used_goes(tiny: Tiny) -> None:
    engine = opened(tiny)
    for prompt, reused in [(A, 0), (B, 0), (A, 89), (C, 0), (A, 89), (B, 0)]:
        assert run(engine, prompt).reused == reused


def test_one_slot_holds_one_document(tiny: Tiny) -> None:
    engine = opened(tiny, slots=1)
    for prompt, reused in [(A, 0), (B, 0), (A, 0), (A, 89)]:
        found = run(engine, prompt)
        assert (found.reused, found.ids) == (reused, expected(tiny, prompt))


def test_what_is_shared_is_copied_where_much_would_be_lost(tiny: Tiny) -> None:
    """Two places of a document share its beginning; both stay."""
    engine = opened(tiny)
    here, there = [*A[:20], *B], [*A[:20], *C]
    for prompt, reused in [(here, 0), (there, 20), (here, 109), (there, 109)]:
        found = run(engine, prompt)
        assert (found.reused, found.ids) == (reused, expected(tiny, prompt))


def test_an_edit_near_the_end_stays_in_its_slot(tiny: Tiny) -> None:
    engine = opened(tiny)
    for prompt, reused in [(B, 0), (A, 0), ([*A[:60], 9, *A[61:]], 60), (B, 89)]:
        assert run(engine, prompt).reused == reused


def test_reading_ahead_leaves_the_document_in_use_alone(tiny: Tiny) -> None:
    engine = opened(tiny)
    run(engine, A)
    for other in (B, C, B):
        assert engine.prefill(other, CancelToken()) == 90
    assert run(engine, A).reused == 89
    assert run(engine, B).reused == 89


def test_reading_ahead_goes_on_where_the_document_ends(tiny: Tiny) -> None:
    engine = opened(tiny)
    run(engine, A)
    run(engine, B)
    assert engine.prefill([*B, *C[:10]], CancelToken()) == 10
    assert run(engine, A).reused == 89
    found = run(engine, [*B, *C[:10]])
    assert (found.reused, found.ids) == (99, expected(tiny, [*B, *C[:10]]))


@pytest.mark.parametrize("looks", [0, 1, 4])
def test_reading_ahead_gives_way_within_a_small_pass(tiny: Tiny, looks: int) -> None:
    engine = opened(tiny)
    assert engine.prefill(A, CancelAfter(looks)) == looks * 8
    found = run(engine, A)
    assert (found.reused, found.ids) == (looks * 8, expected(tiny, A))


def test_random_edits_never_meet_the_wrong_cache(tiny: Tiny) -> None:
    """Edits anywhere, cancels, reading ahead, healed text, guesses: as if each request were the first."""
    rng = np.random.default_rng(23)
    engine, plain = opened(tiny), opened(tiny, slots=1, draft_tokens=0)
    object.__setattr__(engine._open(), "pace", Free())
    documents = [rng.choice(rng.integers(2, 258, size=12), size=60).tolist() for _ in range(3)]
    drafted = reused = 0
    for _ in range(EDITS):
        document = documents[rng.integers(3)]
        _edit(document, rng)
        cancel = CancelAfter(int(rng.integers(0, 9))) if rng.random() < 0.2 else CancelToken()
        if rng.random() < 0.15:
            engine.prefill(document, cancel)
            continue
        heal = str(rng.choice(["", "", "a", " b", "é\n"]))
        found = run(engine, document, cancel, heal)
        plain._open().cached.rewind(0)  # forgets: the next prompt is read from its start
        whole = run(plain, document, heal=heal)
        assert whole.reused == 0
        assert found.ids == whole.ids[: len(found.ids)]
        if found.finish is not Finish.CANCELLED:
            assert found.ids == whole.ids
            np.testing.assert_allclose(found.probabilities, whole.probabilities, atol=1e-4)
        drafted, reused = drafted + found.accepted, reused + found.reused
        if rng.random() < 0.3 and len(document) < 200:
            document += found.ids  # taken over, as with Tab
    assert drafted > EDITS / 10
    assert reused > EDITS * 20


def _edit(document: list[int], rng: np.random.Generator) -> None:
    """Mostly at the end: a character more, some fewer; now and then far above."""
    kind = rng.random()
    if kind < 0.6:
        document.append(int(rng.choice(document)))
    elif kind < 0.75 or len(document) > 220:
        del document[-int(rng.integers(1, 30)) :]
    else:
        document[int(rng.integers(len(document)))] = int(rng.integers(2, 258))
    if len(document) < 20:
        document += rng.integers(2, 258, size=40).tolist()
