"""mccomd.known, through postprocess: what the file defines or imports already is not offered again."""

from __future__ import annotations

import pytest

from .test_postprocess import check

TAKEN = "import os\nfrom pathlib import Path\n\n\ndef load(path):\n    return path\n\n\n"


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "expected"),
    [
        (TAKEN[:36], "import os", "\n", ""),
        (TAKEN[:36] + "imp", "ort os", "\n", ""),
        (TAKEN[:36], "import re", "\n", "import re"),
        ("import re\n", "import os", "\nimport sys\nimport os\n", ""),
        (TAKEN[:35], "\nfrom pathlib import Path", "\n", ""),
        (TAKEN[:36], "    import os", "\n", "    import os"),  # another scope
        (TAKEN, "def load(name):", "\n", ""),
        (TAKEN, "async def load(name):", "\n", "async def load(name):"),
        (TAKEN, "def loads(text):", "\n", "def loads(text):"),
        (TAKEN, "def lo", "ad(name):\n", "def lo"),
        ("", "class Loader:", "\n    pass\n\n\nclass Loader(Base):\n", ""),
        (TAKEN + "@overload\n", "def load(name):", "\n", "def load(name):"),
        ("class A:\n    def x(self):\n        pass\n\n", "    def x(self):", "\n", "    def x(self):"),
    ],
)
def test_what_the_file_has_already(prefix: str, text: str, suffix: str, expected: str) -> None:
    check(prefix, text, suffix, expected)


@pytest.mark.parametrize(
    ("language", "line"),
    [("c", "#include <stdio.h>"), ("rust", "use std::fmt;"), ("java", "import java.util.List;")],
)
def test_imports_of_other_languages(language: str, line: str) -> None:
    other = "// a comment\n"
    check(line + "\n" + other, line, "\n", "", language)
    check(other, line, "\n", line, language)


GO = """package a

func (a A) Name() string {
	return "a"
}

func load(b []byte) {
}

type A struct{}

"""
RUST = """use std::fmt;

pub(crate) struct A<'a> {
    a: &'a str,
}

fn load() {}

impl A {
    fn new() -> A {}
}

"""
SCRIPT = "const a = require('a')\n\nexport class A {}\n\nfunction load() {}\n\nlet b = 1\n\n"


@pytest.mark.parametrize(
    ("language", "prefix", "text", "expected"),
    [
        ("go", GO, "func (x *A) Name() int {", ""),
        ("go", GO, "func (b B) Name() string {", "func (b B) Name() string {"),
        ("go", GO, "func load(c int) {", ""),
        ("go", GO + "func ", "load(c int) {", ""),
        ("go", GO, "func (a A) load() {", "func (a A) load() {"),
        ("go", GO, "type A interface {", ""),
        ("go", GO, "\npackage a", ""),
        ("go", "func init() {\n}\n\n", "func init() {", "func init() {"),
        ("rust", RUST, "struct A {", ""),
        ("rust", RUST, "struct Ab {", "struct Ab {"),
        ("rust", RUST, "impl B {", "impl B {"),
        ("rust", RUST, "pub fn load(a: A) {", ""),
        ("rust", RUST + "#[cfg(windows)]\n#[inline]\n", "fn load() {", "fn load() {"),
        ("rust", RUST + "#[inline]\n", "fn load() {", ""),
        ("rust", RUST + "impl B {\n", "    fn new() -> B {", "    fn new() -> B {"),
        ("rust", RUST[:-3], "    pub fn new(a: A) -> A {", ""),  # in the block of the other one
        ("rust", RUST[:-3] + "    #[cfg(unix)]\n", "    fn new() -> A {", "    fn new() -> A {"),
        ("rust", "impl Default for A {\n}\n\n", "impl Default for A {", ""),
        ("rust", "impl Default for A {\n}\n\n", "impl Default for B {", "impl Default for B {"),
        ("rust", "const fn a() {}\n", "const fn b() {", "const fn b() {"),
        ("rust", "const _: () = a();\n", "const _: () = b();", "const _: () = b();"),
        ("javascript", SCRIPT, "class A {", ""),
        ("javascript", SCRIPT, "export function load(a) {", ""),
        ("javascript", SCRIPT, "const a = require('a')", ""),
        ("javascript", SCRIPT, "const a2 = require('a2')", "const a2 = require('a2')"),
        ("javascript", SCRIPT + "function f() {\n", "  let b = 2", "  let b = 2"),
        ("javascript", "f(() => {\n  const a = 1\n  g()\n", "  const a = 2", ""),
        ("javascript", "f(() => {\n  const a = 1\n})\nf(() => {\n", "  const a = 2", "  const a = 2"),
        ("javascript", SCRIPT, "b = 2", "b = 2"),
        ("typescript", "function f(a: A): A\n", "function f(a: B): B", "function f(a: B): B"),  # an overload
        ("typescript", "interface A {\n}\n", "export interface A {", ""),
        ("typescript", "type A = 1\n", "const A: A = 1", "const A: A = 1"),
        ("typescript", "import type {\n  A,\n} from './a'\n", "import type {", "import type {"),
        ("typescript", "export * from './a'\n", "export * from './a'", ""),
        ("python", "package = None\n", "package = None", ""),  # it is the line above
        ("python", "package = None\nx = 1\n", "package = None", "package = None"),
    ],
)
def test_what_a_file_in_another_language_has_already(
    language: str, prefix: str, text: str, expected: str
) -> None:
    check(prefix, text, "\n", expected, language)
