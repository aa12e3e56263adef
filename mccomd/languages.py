"""What are the comments, strings and brackets of a language?

One small table; which language a file is in, the index knows. Knows no grammar: whatever needs a parse
tree does without or asks elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLOSERS", "CLOSING", "MOST_CLOSERS", "Language", "as_comment", "language", "language_of"]

CLOSERS = ")]}>\"'`"
"""Brackets and quotes that an editor puts right of the cursor by itself, at most MOST_CLOSERS of them."""
CLOSING = CLOSERS + ";,: \t"
"""What may stand among them where nothing else follows on the line."""
MOST_CLOSERS = 8

_C_STRINGS = ('"', "'")
_C_BLOCK = (("/*", "*/"),)
_PYTHON_BLOCKS = (
    *("async ", "case ", "class ", "def ", "elif ", "elif(", "else:", "except ", "except:", "except*"),
    *("finally:", "for ", "if ", "if(", "match ", "try:", "while ", "while(", "with ", "with("),
)


@dataclass(frozen=True, slots=True)
class Language:
    """What the daemon needs to know of a language's surface."""

    name: str
    line_comment: str = ""  # "" when a comment needs an end; then see block_comments
    block_comments: tuple[tuple[str, str], ...] = ()  # (begin, end)
    strings: tuple[str, ...] = ()  # delimiters that end with the line at the latest
    long_strings: tuple[tuple[str, str], ...] = ()  # (begin, end) of those that run over lines
    brackets: tuple[str, ...] = ("()", "[]", "{}")
    by_indentation: bool = False  # a block is what is indented deeper
    semicolons: bool = False  # a statement ends with ';'
    line_only: bool = False  # prose, data and the unknown: the unit of completion is the line
    block_words: tuple[str, ...] = ()  # what a line begins with whose block is indented below it


def _same(*delimiters: str) -> tuple[tuple[str, str], ...]:
    return tuple((delimiter, delimiter) for delimiter in delimiters)


def _c_like(
    name: str, *, long_strings: tuple[tuple[str, str], ...] = (), semicolons: bool = True
) -> Language:
    return Language(name, "//", _C_BLOCK, _C_STRINGS, long_strings, semicolons=semicolons)


_TABLE = (
    Language(
        "python",
        "#",
        strings=_C_STRINGS,
        long_strings=_same('"""', "'''"),
        by_indentation=True,
        block_words=_PYTHON_BLOCKS,
    ),
    _c_like("javascript", long_strings=_same("`")),
    _c_like("typescript", long_strings=_same("`")),
    _c_like("go", long_strings=_same("`"), semicolons=False),
    Language("rust", "//", _C_BLOCK, (), _same('"'), semicolons=True),  # ' is a lifetime, see statement.py
    _c_like("java", long_strings=_same('"""')),
    _c_like("kotlin", long_strings=_same('"""'), semicolons=False),
    _c_like("scala", long_strings=_same('"""'), semicolons=False),
    _c_like("swift", long_strings=_same('"""'), semicolons=False),
    _c_like("c"),
    _c_like("cpp"),
    _c_like("csharp", long_strings=_same('"""')),
    _c_like("dart", long_strings=_same('"""', "'''")),
    _c_like("php"),
    _c_like("zig"),
    Language("lua", "--", (("--[[", "]]"),), _C_STRINGS, (("[[", "]]"),)),
    _c_like("cuda"),
    _c_like("groovy", long_strings=_same("'''", '"""'), semicolons=False),
    _c_like("objc"),
    _c_like("protobuf"),
    Language("fsharp", "//", (("(*", "*)"),), ('"',), _same('"""'), by_indentation=True, line_only=True),
    Language("ocaml", "", (("(*", "*)"),), ('"',), line_only=True),
    Language("nim", "#", strings=('"',), long_strings=_same('"""'), by_indentation=True, line_only=True),
    Language("erlang", "%", strings=('"',), line_only=True),
    Language("fortran", "!", strings=_C_STRINGS, line_only=True),
    Language("asm", ";", line_only=True),
    Language("ruby", "#", (("=begin", "=end"),), _C_STRINGS),
    Language("perl", "#", strings=_C_STRINGS, semicolons=True),
    Language("r", "#", strings=_C_STRINGS),
    Language("julia", "#", (("#=", "=#"),), ('"',), _same('"""')),
    Language("elixir", "#", strings=_C_STRINGS, long_strings=_same('"""')),
    Language("shell", "#", long_strings=_same('"', "'")),
    Language("powershell", "#", (("<#", "#>"),), _C_STRINGS),
    Language("haskell", "--", (("{-", "-}"),), ('"',), by_indentation=True, line_only=True),
    Language("sql", "--", _C_BLOCK, line_only=True),
    Language("vim", '"', line_only=True),
    Language("lisp", ";", strings=('"',), line_only=True),
    Language("clojure", ";", strings=('"',), line_only=True),
    Language("make", "#", line_only=True),
    Language("cmake", "#", line_only=True),
    Language("dockerfile", "#", line_only=True),
    Language("terraform", "#", _C_BLOCK, ('"',), line_only=True),
    Language("nix", "#", _C_BLOCK, ('"',), line_only=True),
    Language("yaml", "#", by_indentation=True, line_only=True),
    Language("toml", "#", line_only=True),
    Language("ini", "#", line_only=True),
    Language("json", "//", line_only=True),
    Language("css", "", _C_BLOCK, line_only=True),
    Language("html", "", (("<!--", "-->"),), line_only=True),
    Language("xml", "", (("<!--", "-->"),), line_only=True),
    Language("markdown", "", (("<!--", "-->"),), line_only=True),
    Language("rst", "..", line_only=True),
    Language("tex", "%", line_only=True),
    Language("text", "", line_only=True),
)

_LANGUAGES = {entry.name: entry for entry in _TABLE}
_UNKNOWN = Language("", "#", strings=(), line_only=True)

_ALIASES = {  # what editors call a language (LSP ids, vim file types) -> our name
    "bash": "shell", "c++": "cpp", "cs": "csharp", "golang": "go", "javascriptreact": "javascript",
    "js": "javascript", "jsonc": "json", "less": "css", "plaintext": "text", "ps1": "powershell",
    "py": "python", "rs": "rust", "scss": "css", "sh": "shell", "shellscript": "shell", "ts": "typescript",
    "typescriptreact": "typescript", "zsh": "shell",
}  # fmt: skip


def language_of(path: str) -> str:
    """The name of the language of the file at path, by its name alone; "text" when it does not tell."""
    from mccomd_index import language_of as by_name  # 0.1 s of libraries that the command line does without

    return by_name(path.replace("\\", "/"))


def language(name: str) -> Language:
    """The table's entry for a language, by our name or an editor's; the unknown language for any other."""
    name = name.lower()
    return _LANGUAGES.get(_ALIASES.get(name, name), _UNKNOWN)


def as_comment(text: str, name: str) -> str:
    """text as comment lines of a language, for showing a snippet inside a prompt.

    as_comment("a\\nb", "python") -> "# a\\n# b".  Where only /* */ or <!-- --> exists, each line gets both.
    """
    entry = language(name)
    begin, end = entry.line_comment, ""
    if not begin and entry.block_comments:
        begin, end = entry.block_comments[0]
    if not begin:
        begin = _UNKNOWN.line_comment
    lines = (line.replace(end, "") if end else line for line in text.splitlines())
    return "\n".join(f"{begin} {line} {end}".rstrip() for line in lines)
