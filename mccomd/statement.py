"""Where does the statement under the cursor end?

Asked after every token of a generation, so it is cheap: what stands left of the cursor is read once per
line typed, the text generated so far is read again only when it has grown by a whole line.

It is a scanner for comments, strings and brackets, not a parser: code under the cursor rarely parses.
Knows nothing of tokens, models and editors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from mccomd.languages import Language, language

__all__ = ["MAX_LINES", "Scan", "StatementRule", "scan_prefix", "scan_text", "single_line_wanted"]

MAX_LINES = 8  # a completion is never longer
LEADING_BREAKS = 3  # line breaks before the first word: two blank lines, as between Python functions
PREFIX_CHARS = 131_072  # so much left of the cursor decides on open strings and brackets; read in 6 ms
MOST_UNCLOSED = 64  # brackets left open that a closing one may skip to find its own
FAR_LINES = 24  # a bracket opened further up holds a table, and the unit of a table is its entry

_OPEN = {")": "(", "]": "[", "}": "{"}
_NOT_TEXT = frozenset(")]}>\"'`;, \t\r")

# Words that begin a statement and cannot stand inside brackets: where one begins a line, brackets still
# open above it were never closed, because the code above is being edited.
_PYTHON_RESTART = (
    r"(?:async\s+def|def|class|return|import|raise|while|try|assert|del|pass|break|continue|with|global|nonlocal"
    r"|elif|except|finally)[\s:]"
)
# A block that begins inside brackets and ends with a word, as in "foo(function(a)": counted as an open '{',
# which the ')' around it closes.
_BLOCK_HEADERS = {
    "lua": r"\bfunction\b[ \t]*[\w.:]*[ \t]*\([^()\n]*\)[ \t]*(?=\n)",
    "ruby": r"\bdo\b(?:[ \t]*\|[^|\n]*\|)?[ \t]*(?=\n)",
    "elixir": r"\bdo[ \t]*(?=\n)",
    "julia": r"\bdo\b[^\n]*(?=\n)",
}
_BRACE_RESTART = (
    r"(?:(?:return|let|var|while|package|throw|break|continue)[\s(;]|import\s)"  # import(..) is a value
)

# A line that is hardly inside a docstring: where reading begins in a very long file.
_DEFINITION = re.compile(r"\n(?=(?:def|class|async def|func|fn|pub|static|import|export|function)\b)")

# A last word made of operator characters, as in "a +" or "x =", continues on the next line; these do not.
_OPERATOR_WORD = re.compile(r"(?:^|\s)([-+*/%&|^=<>?:~.!]+|and|or)$")
_NO_CONTINUATION = frozenset(["*/", "++", "--", ">", "/>", "...", "!"])
_SHELL_CONTINUATION = frozenset(["|", "||", "&&"])


@dataclass(slots=True)
class Scan:
    """What is open at one place of a text."""

    brackets: list[tuple[str, int]] = field(default_factory=list)  # (opening one, its line), innermost last
    string_end: str = ""  # what ends the open string or block comment; "" in code
    string_line: int = 0
    long_string: bool = False  # the open string may run over lines
    comment: bool = False  # in a comment that ends with its line
    line: int = 0
    comment_at: int = -1  # where the last line comment began, in the text scanned last
    surplus: int = 0  # closing brackets that closed nothing

    def copy(self) -> Scan:
        return Scan(
            list(self.brackets), self.string_end, self.string_line, self.long_string, self.comment, self.line
        )


class _Scanner:
    """Finds the comments, strings and brackets of one language."""

    def __init__(self, entry: Language) -> None:
        self._longs = dict(entry.long_strings)
        self._blocks = dict(entry.block_comments)
        self._raw = {"]]", *self._blocks.values()} | ({"`"} if entry.name == "go" else set())
        if entry.name == "shell":
            self._raw.add("'")
        self._ends: dict[str, re.Pattern[str]] = {}
        comment = re.escape(entry.line_comment) if entry.line_comment else r"(?!)"
        if entry.name == "shell":
            comment = r"(?<![^\s;()&|])" + comment
        begins = sorted((*self._longs, *entry.strings), key=len, reverse=True)
        restart = _PYTHON_RESTART if entry.by_indentation else _BRACE_RESTART
        parts = [
            rf"(?P<break>\n)(?=(?P<restart>[ \t]*{restart})?)",
            f"(?P<block>{'|'.join(map(re.escape, self._blocks)) or '(?!)'})",
            f"(?P<comment>{comment}[^\n]*)",
            r"(?P<skip>\\\r?\n|\\.)",
            f"(?P<string>{'|'.join(map(re.escape, begins)) or '(?!)'})",
            r"(?P<bracket>[()\[\]{}])",
            r"(?P<semicolon>;)" if entry.semicolons else r"(?P<semicolon>(?!))",
        ]
        if entry.name in _BLOCK_HEADERS:
            parts.insert(0, f"(?P<header>{_BLOCK_HEADERS[entry.name]})")
        if entry.name == "rust":  # 'x' is a character, 'a without an end a lifetime
            parts.insert(0, r"(?P<char>'(?:\\[^'\n]*|[^'\\\n])')")
        self._code = re.compile("|".join(parts), re.DOTALL)

    def walk(self, text: str, at: Scan) -> Iterator[tuple[str, int]]:
        """Moves `at` through text; gives ("break" | "semicolon", index) of each of those in code."""
        position = 0
        at.comment_at = -1
        if at.comment:
            position = text.find("\n") if "\n" in text else len(text)
            at.comment = position == len(text)
            at.comment_at = 0
        while position < len(text):
            if at.string_end:
                position = self._through_string(text, position, at)
                continue
            match = self._code.search(text, position)
            if match is None:
                return
            position = match.end()
            kind = match.lastgroup or ""
            if match["break"]:
                if match["restart"]:
                    _restart(at)
                yield "break", match.start()
                at.line += 1
                at.comment_at = -1
            elif kind == "bracket":
                _bracket(match[0], at)
            elif kind == "header":
                at.brackets.append(("{", at.line))
            elif kind == "comment":
                at.comment_at = match.start()
                at.comment = position == len(text)
            elif kind == "semicolon":
                yield kind, match.start()
            elif kind == "skip":
                at.line += match[0].endswith("\n")
            elif kind in ("string", "block"):
                self._begin_string(match[0], kind, at)

    def _begin_string(self, begin: str, kind: str, at: Scan) -> None:
        ends = self._blocks if kind == "block" else self._longs
        at.string_end = ends.get(begin, begin)
        at.long_string = begin in ends
        at.string_line = at.line

    def _through_string(self, text: str, position: int, at: Scan) -> int:
        """The index behind the string's end; a short string left open ends before its line break."""
        end = at.string_end
        if end not in self._ends:
            escape = "" if end in self._raw else r"\\\r?\n|\\.|"
            self._ends[end] = re.compile(rf"{escape}{re.escape(end)}|\n", re.DOTALL)
        while match := self._ends[end].search(text, position):
            position = match.end()
            if match[0] == end:
                at.string_end = ""
                return position
            if match[0] == "\n" and not at.long_string:
                at.string_end = ""
                return match.start()
            at.line += match[0].endswith("\n")
        return len(text)


def _bracket(char: str, at: Scan) -> None:
    if char not in _OPEN:
        at.brackets.append((char, at.line))
        return
    innermost = len(at.brackets) - 1
    for depth in range(innermost, max(innermost - MOST_UNCLOSED, -1), -1):
        if at.brackets[depth][0] == _OPEN[char]:
            del at.brackets[depth:]
            return
    at.surplus += 1


def _restart(at: Scan) -> None:
    """Forgets ( and [ that were never closed, up to the block around them."""
    while at.brackets and at.brackets[-1][0] != "{":
        at.brackets.pop()


@lru_cache(maxsize=64)
def _scanner(name: str) -> _Scanner:
    return _Scanner(language(name))


@lru_cache(maxsize=16)
def _scan_lines(lines: str, name: str) -> Scan:
    """What is open after whole lines; kept, because most keystrokes stay on their line."""
    at = Scan()
    for _ in _scanner(name).walk(lines, at):
        pass
    return at


def scan_text(text: str, at: Scan, name: str) -> Scan:
    """What is open after text, where `at` was open before it."""
    after = at.copy()
    for _ in _scanner(name).walk(text, after):
        pass
    return after


def scan_prefix(prefix: str, name: str) -> Scan:
    """What is open at the cursor, by the last PREFIX_CHARS left of it."""
    if len(prefix) > PREFIX_CHARS:
        start = _DEFINITION.search(prefix, len(prefix) - PREFIX_CHARS)
        prefix = prefix[start.end() if start else -PREFIX_CHARS :]
    lines = prefix.rfind("\n") + 1
    return scan_text(prefix[lines:], _scan_lines(prefix[:lines], language(name).name), name)


def single_line_wanted(prefix: str, suffix: str) -> bool:
    """Whether text stands right of the cursor, so that a completion must stay on its line.

    Closing brackets, quotes, ';', ',' and white space are no text: editors put them there by themselves.
    """
    del prefix  # the rule looks right only; a better one may look left
    rest = suffix[: suffix.find("\n")] if "\n" in suffix else suffix
    return any(char not in _NOT_TEXT for char in rest)


class StatementRule:
    """The stop rule of one request: made once, then asked with all the text generated so far.

    Python: a line break outside brackets and long strings, and not after a backslash, ends a statement; a
    compound one ends after its header.  Languages with braces: the same for ( and [, but a '{' left open
    ends the header too, and a line that ends with an operator continues; ';' ends at once.  In comments,
    docstrings, prose, data and unknown languages a line is all.

    Text may begin with up to LEADING_BREAKS line breaks: behind a complete line the model starts on the next.
    A bracket or a string opened left of the cursor counts, unless FAR_LINES above.
    """

    def __init__(self, prefix: str, suffix: str, language_name: str, single_line: bool) -> None:
        del suffix  # not needed yet: the caller has decided on single_line by it
        entry = language(language_name)
        self._scanner = _scanner(entry.name)
        self._language = entry
        self._single_line = single_line
        self._at = scan_prefix(prefix, entry.name)
        at = self._at
        at.brackets = [bracket for bracket in at.brackets if bracket[1] >= at.line - FAR_LINES]
        inside_text = bool(at.string_end) and at.long_string and at.string_line < at.line
        self._line_only = entry.line_only or at.comment or inside_text

    def end_of(self, text: str) -> int | None:
        """The index in text at which the completion is complete, None while it may go on.

        White space before the end is outside it: "x = 1  \\n" -> 5.
        """
        if self._single_line:
            return _end_of_line(text)
        if "\n" not in text and not (self._language.semicolons and ";" in text):
            return None
        if self._line_only:
            return _end_of_first_line(text)
        end = self._end_of_statement(text)
        limit = _end_of_lines(text)
        if end is None or limit is None:
            return limit if end is None else end
        return min(end, limit)

    def _end_of_statement(self, text: str) -> int | None:
        at = self._at.copy()
        line_start = 0
        for kind, index in self._scanner.walk(text, at):
            line = text[line_start : at.comment_at if at.comment_at >= line_start else index]
            if kind == "semicolon":
                if self._ends_at_semicolon(at):
                    return index + 1
                continue
            if text[:index].strip() and not self._continues(line.rstrip(), at):
                return len(text[:index].rstrip())
            line_start = index + 1
        return None

    def _ends_at_semicolon(self, at: Scan) -> bool:
        """Not in for (;;), and not in a block begun on this line, whose '}' follows."""
        return not at.brackets or (at.brackets[-1][0] == "{" and at.brackets[-1][1] < at.line)

    def _continues(self, line: str, at: Scan) -> bool:
        """Whether a statement goes on behind this line."""
        innermost = at.brackets[-1][0] if at.brackets else ""
        if self._language.by_indentation:
            return bool(innermost)
        if innermost in ("(", "["):
            return True
        if line.endswith(","):
            return not innermost  # inside '{' it ends an entry: a field, an enum member, a match arm
        word = _OPERATOR_WORD.search(line)
        if self._language.name == "shell":
            return bool(word and word[1] in _SHELL_CONTINUATION)
        return line.endswith(".") or bool(word and word[1] not in _NO_CONTINUATION)


def _end_of_line(text: str) -> int | None:
    ends = [index for index in (text.find("\n"), text.find("\r")) if index >= 0]
    return len(text[: min(ends)].rstrip(" \t")) if ends else None


def _end_of_first_line(text: str) -> int | None:
    """Where the first line that holds something ends."""
    start = len(text) - len(text.lstrip())
    index = text.find("\n", start)
    if index >= 0 and start < len(text):
        return len(text[:index].rstrip())
    return 0 if text.count("\n") > LEADING_BREAKS else None


def _end_of_lines(text: str) -> int | None:
    """Where the last line allowed ends; 0 for text of nothing but line breaks."""
    start = len(text) - len(text.lstrip())
    if text[:start].count("\n") > LEADING_BREAKS:
        return 0
    index = start - 1
    for _ in range(MAX_LINES):
        index = text.find("\n", index + 1)
        if index < 0:
            return None
    return len(text[:index].rstrip())
