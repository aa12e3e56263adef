"""Functions that a Python file calls and nothing defines."""

from __future__ import annotations

import pytest

from mccomd.undefined import undefined

CALLS = "class A:\n    def a(self):\n        self.b()\n\n    "


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("x = run(1)\n\n\n", "\n    return 1\n", ("run",)),
        ("", "\n    return 1\n\n\ndef main():\n    load(run())\n", ("load", "run")),
        ("def run(): ...\n\n\ndef ", "\n\n\nrun()\n", ()),
        ("from a import run\n\n\ndef ", "\n\n\nrun()\n", ()),
        ("from a import *\n\n\ndef ", "\n\n\nrun()\n", ()),
        ("def f(run):\n    run()\n\n\ndef ", "\n", ()),
        ("a.run()\nprint(len([]))\n'run()'  # run()\n\n\ndef ", "\n", ()),
        ("".join(f"f{n}()\n" for n in range(9)) + "def ", "\n", ()),
        (CALLS, "\n        pass\n", ("b",)),
        (CALLS + "def ", "\n        pass\n", ("b",)),
        (CALLS.replace("A:", "A(ABC):"), "", ("b",)),
        (CALLS.replace("A:", "A(B):"), "", ()),  # the parent may have it
        (CALLS, "\n\n    def b(self): ...\n", ()),
        (CALLS, "\n\n    def c(self):\n        self.b = 1\n", ()),
        (CALLS, "\n\n    b: Callable[[], None]\n", ()),
        (CALLS.replace("self.b()", "self.b"), "", ()),
        ("def f():\n    g()\n    ", "\n", ()),  # a function in a function: `unbound` tells
    ],
)
def test_undefined(prefix: str, suffix: str, expected: tuple[str, ...]) -> None:
    assert undefined(prefix, suffix) == expected
