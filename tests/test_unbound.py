"""What the Python below the cursor uses and nothing binds."""

from __future__ import annotations

import pytest

from mccomd.binding import bindings
from mccomd.unbound import Unbound, unbound
from mccomd.undefined import undefined

F = "def f(rows):\n    "


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        (F, "\n    return total\n", Unbound(False, (), ("total",))),
        (F, "\n        print(row)\n    return row\n", Unbound(True, ("row",))),
        (F, "\n        pass\n    return total\n", Unbound(True, (), ("total",))),
        (F, "\n        print(a, b)\n    c()\n", Unbound(True, ("a", "b"), ("c",))),
        ("", "\n    return x\n", Unbound(True, ("x",))),
        ("", "\n\nprint(x)\n\n\ndef f():\n    return y\n", Unbound(False, (), ("x", "y"))),
        ("class A:\n    ", "\n        return self.x\n", Unbound(True, ("self",))),
        # the bound ones: by what is above, ...
        (F, "\n    return rows\n", Unbound(False)),
        ("import os\n" + F, "\n    return os.sep, len(rows)\n", Unbound(False)),
        ("from a import (\n    b,\n    c as d,\n)\n" + F, "\n    return b, d\n", Unbound(False)),
        ("if 1:\n    import os\n    X: int = 1\n" + F, "\n    return os.sep, X\n", Unbound(False)),
        ("def g():\n    global X\n" + F, "\n    return X\n", Unbound(False)),
        ("def f():\n    def g(x):\n        ", "\n        return x, f\n", Unbound(False)),
        # ... by what is below, before its use or outside of functions, ...
        (F, "\n    x = 1\n    return x\n", Unbound(False)),
        (F, "\n    return g()\n\n\ndef g():\n    pass\n", Unbound(False)),
        (F, "\n    return g\n\n\nclass A:\n    def g(self): ...\n", Unbound(False, (), ("g",))),
        (F, "\n    return [x for x in rows], lambda y: y, {k: v for k, v in rows}\n", Unbound(False)),
        (F, "\n    for a, (b, *c) in rows:\n        d(a, b, c)\n", Unbound(False, (), ("d",))),
        (F, "\n    with rows as r:\n        r\n    if (s := r):\n        s\n", Unbound(False)),
        (F, "\n    try:\n        pass\n    except OSError as e:\n        e\n", Unbound(False)),
        (
            F,
            "\n    match rows:\n        case [a, *b] | {'k': c, **d} as e:\n            a, b, c, d, e\n",
            Unbound(False),
        ),
        (
            F,
            "\n    def g(a, *b, c=1, **d) -> int:\n        return a, b, c, d, h\n    def h(): ...\n",
            Unbound(False),
        ),
        (F, "\n    class A(object):\n        x = 1\n        y = x\n    A\n", Unbound(False)),
        (F, "\n    import a.b, c as d\n    from e import f as g\n    a, d, g\n", Unbound(False)),
        (F, "\n    nonlocal x\n    x\n", Unbound(False)),
        (F, "\n    x += 1\n", Unbound(False, (), ("x",))),
        (F, "\n    x: T = 1\n", Unbound(False, (), ("T",))),
        # ... or by nothing that can be seen
        ("from a import *\n" + F, "\n    return x\n", Unbound(False)),
        (F, '\n    return _("translated")\n', Unbound(False)),
        # words that bind nothing
        ("# total\n" + F, "\n    return total\n", Unbound(False, (), ("total",))),
        (F + '"""The total."""\n    ', "\n    return total\n", Unbound(False, (), ("total",))),
        (F + "rows.total\n    ", "\n    return total\n", Unbound(False, (), ("total",))),
        ("def g(total): ...\n\n" + F, "\n    return total\n", Unbound(False, (), ("total",))),
        # what cannot be parsed, or is not there
        (F, "\n    x = total\n    y = (\n", Unbound(False, (), ("total",))),
        (F, "\n    )))\n", Unbound(False)),
        (F, "\n    '\0' + x\n", Unbound(False)),
        (F, "\nx\n", Unbound(False)),
        (F, "", Unbound(False)),
    ],
)
def test_unbound(prefix: str, suffix: str, expected: Unbound) -> None:
    assert unbound(prefix, suffix) == expected


def test_a_bad_escape_below_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    assert unbound(F, "\n    re.match('\\d', x)\n").outer == ("re", "x")
    assert not recwarn.list


def test_hostile_text_is_read_in_no_time() -> None:
    deep = "(" * 5_000
    for text in (deep, "-" * 8_000 + "x", "a.b" * 2_000, "x\n" * 100_000, "'" * 9_999, "if x:\n" * 2_000):
        unbound(F, "\n    " + text + "\n")
        unbound(text + "\n" + F, "\n    return x\n")
    spaces = " " * 300_000
    for line in (
        f"{spaces}x",
        f"    a:{spaces}== b",
        "a, " * 100_000 + "b",
        "x" * 300_000,
        f"from{spaces}x",
        "(" * 300_000,
    ):
        unbound(f"{line}\n{F}", f"\n    return x\n{line}\n")
        undefined(f"class A:\n    {line}\n    ", f"\n    return x\n{line}\n")
        bindings(f"{line}\n{F}", f"\n    return x\n{line}\n", "python")
        bindings(line, "\nreturn x\n", "python")
        bindings("x\n", line, "python")
    assert len(unbound(F, "\n    " + ", ".join(f"x{i}" for i in range(500)) + "\n").outer) <= 6
