"""mccomd.surroundings: how the text around the cursor is indented."""

from __future__ import annotations

import pytest

from mccomd.surroundings import indentation

CONTINUED = "def f():\n  a(\n      b,\n      c)\n  d(\n      e)\n"  # by 2, with 4 more inside brackets


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        ("a\n", "b\n", (None, 4)),
        ("if a:\n    b\n", "", (False, 4)),
        ("if a:\n  b\n", "", (False, 2)),
        ("if (a) {\r\n  b\r\n", "", (False, 2)),
        ("if (a) {\n\tb\n", "", (True, 4)),
        ("if a:\n\tb\n", "if a:\n    b\n", (None, 4)),
        # what is deeper than a header, not the widths
        ("class A:\n  def f():\n" + "    a\n" * 20, "", (False, 2)),
        ("def f():\n    a = b(c,\n      d,\n      e)\n", "", (False, 4)),
        (CONTINUED, "", (False, 2)),
        ("", CONTINUED, (False, 2)),
        ("if a:\n  b\nif a:\n    b\nif a:\n\n    b\n", "", (False, 4)),
        # the widths, where there is no header
        ("  a\n    b\n", "", (False, 2)),
        ("    a\n        b\n", "", (False, 4)),
        ("if x:\n", "    pass\n  y\n", (False, 2)),  # the header of what stands below is missing
    ],
)
def test_indentation(above: str, below: str, expected: tuple[bool | None, int]) -> None:
    assert indentation(above.split("\n"), below.split("\n")) == expected
