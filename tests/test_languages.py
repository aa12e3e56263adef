"""mccomd.languages: the language of a file by its name, and code shown as comments."""

from __future__ import annotations

import pytest

from mccomd.languages import as_comment, language, language_of
from mccomd_index import LANGUAGES


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/project/main.py", "python"),
        ("stub.pyi", "python"),
        ("App.JSX", "javascript"),
        ("a.tsx", "typescript"),
        ("a.mts", "typescript"),
        ("main.go", "go"),
        ("lib.rs", "rust"),
        ("Main.java", "java"),
        ("a.c", "c"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("init.lua", "lua"),
        ("a.rb", "ruby"),
        ("Rakefile", "ruby"),
        ("run.sh", "shell"),
        (".bashrc", "shell"),
        ("README.md", "markdown"),
        ("Makefile", "make"),
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("notes.txt", "text"),
        (r"C:\work\a.py", "python"),
        ("archive.tar.gz", "text"),
        ("LICENSE", "text"),
        (".py", "text"),
        ("folder.py/", "text"),
        ("", "text"),
    ],
)
def test_language_of(path: str, expected: str) -> None:
    assert language_of(path) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python", "python"),
        ("py", "python"),
        ("typescriptreact", "typescript"),
        ("shellscript", "shell"),
        ("C++", "cpp"),
        ("klingon", ""),
        ("", ""),
    ],
)
def test_editors_names(name: str, expected: str) -> None:
    assert language(name).name == expected


def test_every_language_the_index_names_is_in_the_table() -> None:
    assert {language(name).name for name in LANGUAGES} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("a\nb", "python", "# a\n# b"),
        ("a\n\nb\n", "lua", "-- a\n--\n-- b"),
        ("a", "rust", "// a"),
        ("a\n */ b", "css", "/* a */\n/*   b */"),
        ("a --> b", "html", "<!-- a  b -->"),
        ("a", "", "# a"),
        ("a", "text", "# a"),
        ("", "python", ""),
    ],
)
def test_as_comment(text: str, name: str, expected: str) -> None:
    assert as_comment(text, name) == expected
