"""What texts define, in each language that is understood; for Python it is what the own parser finds."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd_index import definitions

LIBRARY = Path(textwrap.__file__).parent
MODULES = ["argparse", "dataclasses", "enum", "typing", "logging/__init__", "asyncio/tasks", "http/server"]


def check(language: str, text: str, expected: str) -> None:
    """expected: `container.name kind first-last` of each definition, line by line."""
    found = definitions(textwrap.dedent(text).lstrip("\n"), language)
    lines = [
        f"{one.container + '.' if one.container else ''}{one.name} {one.kind} {one.start_line}-{one.end_line}"
        for one in found
    ]
    assert lines == textwrap.dedent(expected).split("\n")[1:-1]


def test_python() -> None:
    check(
        "python",
        """
        LIMIT = 3
        @register(
            name="x",
        )
        class Cache(Base):
            '''Holds.

            size: how many
            '''
            size: int = 3
            def __init__(self, n):
                self.n = n
                local = 1
            async def get(self, key):
                def inner(): ...
                return key
            limit = 3
            class Meta:
                order = 1

        if True:
            def late(): pass
        """,
        """
        LIMIT value 1-1
        Cache class 2-19
        Cache.size value 10-10
        Cache.__init__ function 11-13
        Cache.n value 12-12
        Cache.get function 14-16
        Cache.limit value 17-17
        Cache.Meta class 18-19
        Meta.order value 19-19
        late function 22-22
        """,
    )


def test_javascript() -> None:
    check(
        "javascript",
        """
        export function open(path) {
          const inner = 1;
        }
        export const close = (handle) => handle.end();
        class Queue extends Base {
          size = 0;
          push(item) { return 1; }
        }
        exports.parse = function () {};
        """,
        """
        open function 1-3
        close function 4-4
        Queue class 5-8
        Queue.size value 6-6
        Queue.push function 7-7
        parse function 9-9
        """,
    )


def test_typescript_with_and_without_markup() -> None:
    check(
        "typescript",
        """
        export interface Options { depth: number; run(): void }
        type Name = string;
        enum Colour { Red, Green = 2 }
        namespace inner { export function f(): void {} }
        export const View = () => <div>{x}</div>;
        """,
        """
        Options class 1-1
        Options.depth value 1-1
        Options.run function 1-1
        Name value 2-2
        Colour class 3-3
        Colour.Red value 3-3
        Colour.Green value 3-3
        inner class 4-4
        inner.f function 4-4
        View function 5-5
        """,
    )


def test_go() -> None:
    check(
        "go",
        """
        package p
        type Store struct { Path string }
        type Opener interface { Open() error }
        func (s *Store) Open() error { return nil }
        func New(path string) *Store { return nil }
        const Limit = 3
        """,
        """
        Store class 2-2
        Store.Path value 2-2
        Opener class 3-3
        Opener.Open function 3-3
        Store.Open function 4-4
        New function 5-5
        Limit value 6-6
        """,
    )


def test_rust() -> None:
    check(
        "rust",
        """
        pub struct Walk<'a> { depth: usize }
        impl<'a> Iterator for Walk<'a> {
            fn next(&mut self) -> Option<u8> { None }
        }
        mod inner { pub fn f() {} }
        macro_rules! say { () => {} }
        enum Kind { A, B }
        """,
        """
        Walk class 1-1
        Walk.depth value 1-1
        Walk.next function 3-3
        inner class 5-5
        inner.f function 5-5
        say function 6-6
        Kind class 7-7
        Kind.A value 7-7
        Kind.B value 7-7
        """,
    )


def test_java() -> None:
    check(
        "java",
        """
        public class Box<T> {
            private int size = 0;
            public Box() {}
            T get() { return null; }
            enum Kind { A }
        }
        """,
        """
        Box class 1-6
        Box.size value 2-2
        Box.Box function 3-3
        Box.get function 4-4
        Box.Kind class 5-5
        Kind.A value 5-5
        """,
    )


def test_c() -> None:
    check(
        "c",
        """
        #define LIMIT 3
        #ifdef X
        typedef struct node { int key; } node_t;
        #endif
        static int *find(struct node *n, int key)
        {
            int local = 1;
            return 0;
        }
        int shared;
        """,
        """
        LIMIT value 1-2
        node class 3-3
        node.key value 3-3
        node_t value 3-3
        find function 5-9
        shared value 10-10
        """,
    )


def test_cpp_even_in_a_header_of_c() -> None:
    text = """
        namespace io {
        template <typename T> class Buffer {
         public:
          int size() const { return 1; }
        };
        int Buffer<int>::grow(int n) { return n; }
        }
        """
    expected = """
        Buffer class 2-5
        Buffer.size function 4-4
        grow function 6-6
        """
    check("cpp", text, expected)
    check("c", text, expected)


@pytest.mark.parametrize("module", MODULES)
def test_python_is_what_the_parser_finds(module: str) -> None:
    """Functions and classes outside functions: name, container, line; all of them, and none besides."""
    text = (LIBRARY / f"{module}.py").read_text()
    found = {(d.container, d.name, d.line) for d in definitions(text, "python") if d.kind != "value"}
    assert found == set(_parsed(ast.parse(text).body, ""))


def _parsed(body: list[ast.stmt], container: str) -> Iterator[tuple[str, str, int]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield container, node.name, node.lineno
        if isinstance(node, ast.ClassDef):
            yield from _parsed(node.body, node.name)
        for part in ("body", "orelse", "finalbody") if isinstance(node, ast.If | ast.Try) else ():
            yield from _parsed(getattr(node, part, []), container)
        for handler in getattr(node, "handlers", []):
            yield from _parsed(handler.body, container)


LANGUAGES = ["python", "javascript", "typescript", "go", "rust", "java", "c", "cpp", "lua"]
CODE = "def class ( ) { } [ ] : ; = x y self. @ fn func struct impl # // /* ' \" ''' \\ < é"
PIECES = [*CODE.split(" "), "\n", "\n    ", "\t", "\r", "\0", "\ud800"]


@given(st.sampled_from(LANGUAGES), st.lists(st.sampled_from(PIECES), max_size=80))
def test_broken_code_is_never_an_error_and_lines_stay_inside(language: str, pieces: list[str]) -> None:
    text = " ".join(pieces)
    for one in definitions(text, language):
        assert 1 <= one.start_line <= one.line <= one.end_line <= text.count("\n") + 1


def test_a_language_without_a_grammar_and_a_text_too_large_have_none() -> None:
    assert definitions("function f() end", "lua") == []
    assert definitions("int f(void) { return 1; }\n" * 20_000, "c") == []
