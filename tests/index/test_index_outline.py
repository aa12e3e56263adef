from __future__ import annotations

from mccomd_index import definitions, signature

PYTHON = '''
class Cache(Base):
    """Holds it.

    For long."""

    def get(
        self,
        key: str,  # any
        default: int = 3,
    ) -> int:
        r"""Find it."""
        return {1: 2}[key]

    size: int = 3


def short(a): return {1: 2}
'''


def check(text: str, language: str, expected: list[list[str]], *, docstring: bool = False) -> None:
    lines = text.split("\n")
    found = [signature(lines, one, language, docstring=docstring) for one in definitions(text, language)]
    assert found == expected


def test_python_on_one_line_without_its_comments() -> None:
    check(
        PYTHON,
        "python",
        [
            ["class Cache(Base):"],
            ["    def get(self, key: str, default: int = 3,) -> int:"],
            ["    size: int = 3"],
            ["def short(a): return {1: 2}"],
        ],
    )


def test_python_with_the_first_line_of_the_docstring() -> None:
    lines = PYTHON.split("\n")
    cache, get, *_ = definitions(PYTHON, "python")
    assert signature(lines, cache, "python", docstring=True)[1] == '    """Holds it."""'
    assert signature(lines, get, "python", docstring=True)[1] == '        """Find it."""'


def test_braces_end_a_signature() -> None:
    text = "func (s *Store) Open(\n\ta int,\n) error {\n\treturn nil\n}\ntype T struct {\n\tn int\n}\n"
    check(text, "go", [["func (s *Store) Open(a int,) error"], ["type T struct"], ["\tn int"]])
    check("int f(int a);\nint g(void)\n{\n}\n", "c", [["int f(int a);"], ["int g(void)"]])


def test_a_long_line_is_cut() -> None:
    (shown,) = signature(["x = " + "1" * 500], definitions("x = " + "1" * 500, "python")[0], "python")
    assert len(shown) == 160
