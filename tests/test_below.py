"""What the text below the cursor makes the answer begin with."""

from __future__ import annotations

import pytest

from mccomd.below import beginnings
from mccomd.languages import language

WORDS = language("python").block_words


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("def f():\n    wi", "\n        pass\n", ("th ", "th(")),
        ("def f():\n    if", "\r\n        pass\r\n", (" ", "(")),
        ("def f():\n    ", "\n        pass\n", (*WORDS, "    ")),
        ("def f():\n\t", "\n\t\tpass\n", (*WORDS, "\t")),
        ("def f():\n", "\n\n    pass\n", (*WORDS, "    ")),
        ("x = 1\n", "\n    # a comment stands where it likes\ny = 2\n", ()),
        ("x = 1\n", "\n# a comment\n    pass\n", (*WORDS, "    ")),
        ("def f():\n", "\n        pass\n", (*WORDS, *("    " + word for word in WORDS), " " * 8)),
        ("if x:\n", "\n    pass\n  y\n", (*WORDS, *("  " + word for word in WORDS), "    ")),
        ("if x:\n  y\n", "\n    pass\n", (*WORDS, *("  " + word for word in WORDS), "    ")),  # above, by two
        # no header: nothing deeper, text right of the cursor, or a line that has begun otherwise
        ("def f():\n    ", "\n    pass\n", ()),
        ("def f():\n    ", "", ()),
        ("def f():\n    ", "x\n        pass\n", ()),
        ("def f():\n    self", "\n        pass\n", ()),
        ("def f():\n    if x", "\n        pass\n", ()),
        ("def f():\n  \t", "\n        pass\n", ()),
        # what is deeper belongs to a bracket or a string
        ("x = 1\n", "\n    a,\n    b,\n)\n", ()),
        ("x = 1\n", "\n    a)\n", ()),
        ("def f():\n    ", '\n        the rest of a docstring.\n    """\n', ()),
        ("x = [\n    ", "\n        1,\n    ]\n", ()),
        ('"""Doc.\n\n', "\n    deeper\n", ()),
        ("# a comment ", "\n    pass\n", ()),
    ],
)
def test_beginnings(prefix: str, suffix: str, expected: tuple[str, ...]) -> None:
    assert beginnings(prefix, suffix, "python") == expected


@pytest.mark.parametrize("name", ["javascript", "yaml", "text", "", "nim"])
def test_only_languages_with_words_for_blocks(name: str) -> None:
    assert beginnings("a\n", "\n    b\n", name) == ()


def test_a_huge_text_below_is_not_read() -> None:
    assert beginnings("", "\n" * 100_000 + "    deeper", "python") == ()
    assert beginnings("", "\n    " + "x" * 10_000_000, "python") == (*WORDS, "    ")
