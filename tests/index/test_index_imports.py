"""Which names a text takes from where, and whether a path is that place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd_index import closeness, imports


def check(language: str, path: str, text: str, *expected: str) -> None:
    """expected: `local: name of module` of each import; a whole module has no name."""
    found = [f"{one.local}: {one.name} of {one.module}" for one in imports(text, language, path)]
    assert found == list(expected)


def test_python() -> None:
    text = "from .store import (\n    Reader as R,  # as\n    Writer,\n)\nimport a.b as c, os\n"
    check(
        "python",
        "pkg/sub/index.py",
        text + "from .. import up\nfrom x import *\n    from y.z import late\n",
        "R: Reader of pkg/sub/store",
        "Writer: Writer of pkg/sub/store",
        "c:  of a/b",
        "os:  of os",
        "up: up of pkg",
        "late: late of y/z",
    )


def test_javascript_and_typescript() -> None:
    text = "import A, {b as c, type D} from '../x/y.js';\nimport * as n from './q';\n"
    check(
        "typescript",
        "src/a/m.ts",
        text + "const {z: k} = require('./z');\nexport { f } from '@/deep/f';\n",
        "c: b of src/x/y",
        "D: D of src/x/y",
        "A: A of src/x/y",
        "n:  of src/a/q",
        "k: z of src/a/z",
        "f: f of deep/f",
    )


def test_go() -> None:
    text = 'package p\nimport (\n\t"fmt"\n\th "github.com/o/r/common/h"\n)\nfunc f() { x := "not/this" }\n'
    check("go", "a/b.go", text, "fmt:  of fmt", "h:  of github.com/o/r/common/h")


def test_rust() -> None:
    text = "pub use crate::a::{B, c::{D as E}};\nuse std::io;\n"
    check("rust", "src/x.rs", text, "B: B of a", "E: D of a/c", "io: io of std")


def test_java() -> None:
    text = "import a.b.C;\nimport static a.b.C.run;\nimport a.d.*;\n"
    check("java", "X.java", text, "C: C of a/b/C", "run: run of a/b/C", ":  of a/d")


def test_c() -> None:
    check("c", "src/x.c", '#include "../lib/sds.h"\n#include <stdio.h>\n', ":  of lib/sds", ":  of stdio")


@pytest.mark.parametrize(
    ("module", "path", "expected"),
    [
        ("a/b", "src/a/b.py", 1.0),
        ("a/b", "a/b/__init__.py", 1.0),
        ("a/b", "src/a/b/c.py", 0.8),
        ("github.com/o/r/common/h", "common/h/helpers.go", 0.6),
        ("a/b", "src/a/bc.py", 0.0),
        ("b", "a/xb.py", 0.0),
        ("", "a.py", 0.0),
    ],
)
def test_closeness(module: str, path: str, expected: float) -> None:
    assert closeness(module, path) == expected


CODE = "from import use as ( ) { } , ; . .. * \" ' a b crate:: require( #include < > / const ="
WORDS = [*CODE.split(" "), "\n"]


@given(
    st.sampled_from(["python", "javascript", "typescript", "go", "rust", "java", "c", "cpp", "lua"]),
    st.lists(st.sampled_from(WORDS), max_size=60),
)
def test_broken_imports_are_never_an_error(language: str, words: list[str]) -> None:
    for one in imports(" ".join(words), language, "a/b/c.x"):
        closeness(one.module, "a/b/c.py")
