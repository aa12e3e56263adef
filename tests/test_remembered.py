"""Typed through, come back by undo, changed elsewhere: when may an old answer be given again?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.remembered import MAX_ANSWERS, TAIL, Answer, Place, Remembered


def answer(text: str, made_with: object = "a") -> Answer:
    return Answer(text, "", 0.9, "stop", "local", (), made_with)


@pytest.mark.parametrize(
    ("prefix", "suffix", "left"),
    [
        ("x = ", "\n", "sum(y)"),  # the same place: after undo and redo
        ("x = s", "\n", "um(y)"),
        ("x = sum(", "\n", "y)"),
        ("x = sum(y)", "\n", None),  # all of it typed: nothing is left to say
        ("x = t", "\n", None),
        ("x = s", "", None),  # something right of the cursor went
        ("x = s", ")\n", None),  # the editor closed a bracket
        ("x =", "\n", None),
        ("y = s", "\n", None),
        ("xx = s", "\n", None),
        ("z\nx = s", "\n", None),
    ],
)
def test_what_is_left(prefix: str, suffix: str, left: str | None) -> None:
    remembered = Remembered()
    remembered.keep(Place.of("x = ", "\n"), answer("sum(y)"))
    found = remembered.at(Place.of(prefix, suffix), "a")
    assert (found[1] if found else None) == left


def test_other_options_other_answers() -> None:
    remembered = Remembered()
    remembered.keep(Place.of("x", ""), answer("abc"))
    assert remembered.at(Place.of("x", ""), "b") is None


def test_the_newest_that_fits() -> None:
    remembered = Remembered()
    remembered.keep(Place.of("x", ""), answer("abc"))
    remembered.keep(Place.of("xa", ""), answer("bd"))
    found = remembered.at(Place.of("xab", ""), "a")
    assert found is not None
    assert found[1] == "d"


def test_long_texts_are_compared_by_their_ends() -> None:
    remembered, text = Remembered(), "line of code\n" * 1000
    remembered.keep(Place.of(text, text), answer("abc"))
    assert remembered.at(Place.of(text + "a", text), "a") is not None
    assert remembered.at(Place.of("#" + text[1:] + "a", text), "a") is not None  # far above: no matter
    near = text[: -TAIL // 2] + "#" + text[-TAIL // 2 + 1 :]
    assert remembered.at(Place.of(near + "a", text), "a") is None


def test_it_is_bounded() -> None:
    remembered = Remembered()
    for number in range(MAX_ANSWERS + 50):
        remembered.keep(Place.of(f"{number}", ""), answer("abc"))
    assert remembered.at(Place.of("0", ""), "a") is None
    assert remembered.at(Place.of(f"{MAX_ANSWERS + 49}", ""), "a") is not None


@given(
    st.text("ab\n", max_size=20),
    st.text("ab\n", min_size=1, max_size=12),
    st.text("ab\n", max_size=9),
    st.data(),
)
def test_typing_the_answer_always_leaves_its_rest(
    prefix: str, text: str, suffix: str, data: st.DataObject
) -> None:
    typed = data.draw(st.integers(0, len(text) - 1))
    remembered = Remembered()
    remembered.keep(Place.of(prefix, suffix), answer(text))
    found = remembered.at(Place.of(prefix + text[:typed], suffix), "a")
    assert found is not None
    assert found[1] == text[typed:]
