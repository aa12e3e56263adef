"""What an answer begins with where the text below uses names that nothing binds."""

from __future__ import annotations

import pytest

from mccomd.binding import bindings

F = "def f(rows):\n    "
LOOP = "\n        print(row)\n"


@pytest.mark.parametrize(
    ("prefix", "suffix", "some", "none"),
    [
        # a block below, what it uses is bound by its header
        (
            F,
            LOOP,
            ("for row in", "for row,", "for _, row", "with ", "def "),
            ("if ", "if row :=", "row ="),
        ),
        (F + "f", LOOP, ("or row in",), ("ith ", "if row :=")),
        (F, "\n        print(a, b)\n", ("for a, b", "for b, a", "for a, (b", "with "), ("for a in",)),
        (F, "\n    return a, b\n", ("a, b", "b, a"), ("a =",)),
        (F + "a", "\n    return a, b\n", (", b",), (" =",)),
        (F + "a, ", "\n    return a, b\n", ("b =", "b,"), ()),
        (F + "if ", LOOP, ("row :=", "(row :=", "not (row :="), ()),
        (F + "for ", LOOP, ("row in", "_, row"), ()),
        (F + "for r", LOOP, ("ow in", "ow,"), ()),
        (F + "for i, ", LOOP, ("row in", "row,"), ()),
        (F + "for i, (", LOOP, ("row)", "row,"), ("row in",)),
        (F + "with rows as ", LOOP, ("row",), ()),
        ("class A:\n    ", "\n        return self.x\n", ("def ", "async def "), ("for ", "with ")),
        ("", "\n    return 1\n\n\nrun()\n", ("def run(", "class run:"), ("run =", "if ")),
        (
            F + "case = 1\n    match rows:\n        case 1: pass\n        ",
            "\n            print(row)\n",
            ("case ",),
            (),
        ),
        # what the file calls and nothing defines
        ("run()\n\n\ndef ", "\n", ("run(",), ()),
        ("run()\n\n\ndef ", "\n\nx = y()\n", ("run(", "y("), ()),
        ("run()\n\n\ndef r", "\n", ("un(",), ()),
        ("run()\n\n\nasync def ", "\n    return x\n", ("run(",), ()),
        ("run()\n\n\n", "\n    return x\n", ("def run(", "with ", "for x in"), ("def ",)),
        ("class A:\n    def a(self): self.b()\n    ", "\n        self.c\n", ("def b(",), ("def ", "with ")),
        # a bare line: its level is between those of its neighbours
        ("def f():\n", "\n    return total\n", ("    total =",), ("total =", "for total in")),
        ("def f():\r\n", "\r\n    return total\r\n", ("    total =",), ("total =", "for total in")),
        ("def f():\n\n", "\n        print(row)\n", ("    for row in",), ("        row =",)),
        ("def f():\n    x = 1\n", "\n        print(row)\n", ("    for row in",), ()),
        ("def f():\n    if x:\n        x\n", "\n    return y\n", ("    y =", "        y ="), ("y =",)),
        ("def f():\n    return 1\n\n\n", "\n    return y\n", ("def ",), ("    y =", "y =")),
        ("if x:\n\tx = 1\n", "\n\tprint(y)\n", ("\ty =",), ()),
        # no block: an assignment, or an import
        (F, "\n    return total\n", ("total =", "total,", "total:"), ("from ", "import ", "for ")),
        (F + "to", "\n    return total\n", ("tal =", "tal,"), ()),
        (F + "total", "\n    return total\n", (" =", ",", ":"), ()),
        (F + "count, ", "\n    return total\n", ("total =", "total,"), ()),
        ("", "\n\nprint(sep)\n", ("sep =", "from ", "import "), ()),
        ("import os\nfrom typing import An", "\n\nx: Any = f()\n", ("y",), ()),
        ("def f():\n    ", "\n    import os\n    return Path()\n", ("Path =", "from "), ()),
    ],
)
def test_bindings(prefix: str, suffix: str, some: tuple[str, ...], none: tuple[str, ...]) -> None:
    found = bindings(prefix, suffix, "python")
    assert set(some) <= set(found)
    assert not set(none) & set(found)


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        (F, "\n    return rows\n"),  # nothing is missing
        (F + "return ", "\n    return total\n"),  # the line binds nothing
        ("run()\n\n\ndef x", "\n"),  # the function has another name
        (F + "total = ", "\n    return total\n"),  # it is bound already
        (F + "x", "\n    return total\n"),  # another name is being written
        (F + "x = [\n    ", "\n    return total\n"),  # inside a bracket
        (F + "'''\n    ", "\n    return total\n"),  # or a string
        (F, ")\n    return total\n"),  # something stands right of the cursor
        (F, "\n    return Path()\n"),  # a class is imported, not bound here
        ("import os\nfrom typing import ", "\n\nx: Any = 1\n"),  # other names may come first
    ],
)
def test_nothing_is_told(prefix: str, suffix: str) -> None:
    assert bindings(prefix, suffix, "python") == ()


def test_only_python() -> None:
    assert bindings("", "\nprint(x)\n", "nim") == ()
