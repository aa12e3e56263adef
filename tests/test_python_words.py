"""mccomd.python_words, through postprocess: no Python in files of other languages."""

from __future__ import annotations

import pytest

from .test_postprocess import check


@pytest.mark.parametrize(
    ("language", "prefix", "text", "expected"),
    [
        ("javascript", "  ", "if (a == b):", "if (a == b)"),
        ("javascript", "  ", "if (a == b):\n    c()", "if (a == b)"),
        ("rust", "    ", "else:", "else"),
        ("go", "\t", "for i in range(len(a)):", ""),
        ("go", "\tfor i", " in range(len(a)):", ""),
        ("typescript", "", "# TODO: this", ""),
        ("typescript", "  ", "#", ""),
        ("typescript", "  ", "#FIXME: this", ""),
        ("javascript", "", "def load(path):", ""),
        ("javascript", "  x ", "elif y", "elif y"),
        ("java", "  ", "elif (y) {", ""),
        ("go", "func f(", "a int) -> None:", "a int)"),
        ("typescript", "function f(", "a) -> list[str]:\n  pass", "a)"),
        ("rust", "fn f(", "a: A) -> None:", "a: A)"),
        ("javascript", "  if ", "data is not None {", ""),
        ("go", "\tif data ", "is None {", ""),
        ("typescript", "  ", "} else if data {", ""),
        ("c", "  while ", "!data", ""),
        # other languages have these
        ("rust", "fn f(", "a: A) -> Option<A> {", "a: A) -> Option<A> {"),
        ("java", "  case A(", "b) -> c;", "b) -> c;"),
        ("go", "\tif ", "data {", "data {"),
        ("javascript", "  for ", "await (const a of b) {", "await (const a of b) {"),
        ("cpp", "  if ", "constexpr (a) {", "constexpr (a) {"),
        ("javascript", "  ", "if(a) b()", "if(a) b()"),
        ("rust", "    if ", "a == None {", "a == None {"),
        ("javascript", "x = {\n", "  for: b,", "  for: b,"),
        ("python", "", "for i in range(3):", "for i in range(3):"),
        ("rust", "", "#[derive(Debug)]", "#[derive(Debug)]"),
        ("rust", "    if ", "Kind::", "Kind::"),
        ("javascript", "class A {\n  ", "#x = 1", "#x = 1"),
        ("javascript", "  if (a) b = c ? d ", ":", ":"),
        ("javascript", "x = `\n", "# a heading", "# a heading"),
        ("cpp", "  for (auto x ", ":", ":"),
        ("cpp", "", "# define A", "# define A"),
        ("go", "\tswitch a {\n\t", "case b:", "case b:"),
        ("go", "\tswitch a {\n\t", "default:", "default:"),
        ("ruby", "", "# a comment", "# a comment"),
        ("scala", "", "if a then b else:", "if a then b else:"),
    ],
)
def test_python_in_other_languages(language: str, prefix: str, text: str, expected: str) -> None:
    check(prefix, text, "\n", expected, language)
