"""Cases made of a repository's own history: statements of recent commits, hidden as if they were being typed.

Python is read by its own parser; in other languages a statement is a line of code. The cursor stands at the
start of the statement (40 %), behind a token of it (40 %) or inside a name (20 %). The same commit and seed
give the same cases. Only reads.
"""

from __future__ import annotations

import ast
import io
import os
import random
import re
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mccomd.errors import MccomdError
from mccomd.evaluate.cases import Case, statement_kind
from mccomd.evaluate.trees import git_dir_of, read_blobs, run_git
from mccomd.languages import language, language_of

__all__ = ["Harvest", "Span", "harvest", "lines_of_code", "python_statements"]

MAX_FILES = 400
MAX_COMMITS = 1000
MAX_FILE_BYTES = 400_000
MAX_LINES = 6
MAX_COLUMNS = 160
MIN_LEFT = 5  # characters to be completed, blanks not counted
A_FILE = 10  # cases at most
TESTS, IMPORTS = 0.25, 0.05  # of all cases at most
_TEST = re.compile(
    r"(^|/)(tests?|testing|testsuite|spec)(/|$)|(^|/)(test_[^/]*|[^/]*[._](test|spec)\.\w+|conftest\.py)$"
)
_SKIPPED = re.compile(
    r"(^|/)(vendor|_vendor|vendored|third_party|node_modules|site-packages|generated|dist|build|migrations)(/|$)"
    r"|_pb2(_grpc)?\.pyi?$|\.min\.js$"
)
_GENERATED = re.compile(
    r"generated (by|from|file|code)|auto-?generated|do not edit|@generated", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Span:
    """A statement in a text: offsets of its ends, and of the tokens inside."""

    start: int
    end: int
    tokens: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What was found, and how recent it is."""

    cases: list[Case]
    commit: str
    git_dir: Path
    recent: int  # of the cases, those whose lines all come from the newest commits


def harvest(folder: Path, limit: int, seed: int) -> Harvest:
    """At most `limit` cases of the repository that holds `folder`; recent ones first. Raises MccomdError."""
    git_dir = _repository(folder)
    commit = _head(git_dir)
    chance = random.Random(f"{seed} {commit}")
    recent, others = _paths(git_dir, commit)
    since = _oldest(git_dir, commit)
    chance.shuffle(recent)
    chance.shuffle(others)
    found = list(_drawn(_from_files(git_dir, commit, recent[:MAX_FILES], since, chance), limit))
    fresh = len(found)
    if fresh < limit:
        known = {_statement(case) for case in found}
        older = _from_files(git_dir, commit, (others + recent)[:MAX_FILES], "", chance)
        unseen = ([case for case in cases if _statement(case) not in known] for cases in older)
        found += _drawn(unseen, limit - fresh)
    if not found:
        raise MccomdError(f"{folder}: no statement of a commit to hide; is there source code in HEAD?")
    return Harvest(found, commit, git_dir, fresh)


def _statement(case: Case) -> tuple[str, int]:
    """The file and where the statement in it ends: the same wherever the cursor was put."""
    return case.path, len(case.prefix) + len(case.target)


def _head(git_dir: Path) -> str:
    try:
        return run_git(git_dir, "rev-parse", "--verify", "-q", "HEAD^{commit}").decode().strip()
    except MccomdError as error:
        raise MccomdError(f"{git_dir}: HEAD is no commit; cases come from committed code") from error


def _repository(folder: Path) -> Path:
    for place in (folder.resolve(), *folder.resolve().parents):
        found = git_dir_of(place)
        if found is not None:
            return found
    raise MccomdError(f"{folder} is in no git repository: name one, or a file of cases with --cases-file")


def _paths(git_dir: Path, commit: str) -> tuple[list[str], list[str]]:
    """Source files of HEAD: those that the newest commits changed, and the others."""
    listed = run_git(git_dir, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).split(b"\0")
    source = [path for path in map(os.fsdecode, listed) if path and _is_source(path)]
    log = run_git(git_dir, "log", "-z", f"-{MAX_COMMITS}", "--name-only", "--format=", "--no-renames", commit)
    changed = set(map(os.fsdecode, log.replace(b"\n", b"\0").split(b"\0")))
    return [p for p in source if p in changed], [p for p in source if p not in changed]


def _is_source(path: str) -> bool:
    if _SKIPPED.search(path) or not path.isprintable():
        return False
    entry = language(language_of(path))
    return bool(entry.name) and not entry.line_only


def _oldest(git_dir: Path, commit: str) -> str:
    """The commit that recent ones follow; "" where the history is shorter: then all of it is recent."""
    found = run_git(git_dir, "rev-list", f"--skip={MAX_COMMITS}", "-1", commit)
    return found.decode().strip()


def _from_files(
    git_dir: Path, commit: str, paths: Sequence[str], since: str, chance: random.Random
) -> Iterator[list[Case]]:
    """The cases of each file, in random order. since: only lines that younger commits wrote; "": all."""
    for path in paths:
        text = _text(git_dir, commit, path)
        if text is None:
            continue
        spans = list(python_statements(text) if path.endswith((".py", ".pyi")) else lines_of_code(text, path))
        if spans and since:
            fresh = _fresh_lines(git_dir, commit, path, since)
            spans = [span for span in spans if fresh.issuperset(_lines_of(text, span))]
        chance.shuffle(spans)
        yield [
            case for span in spans if (case := _case(git_dir, commit, path, text, span, chance)) is not None
        ]


def _drawn(files: Iterator[list[Case]], limit: int) -> Iterator[Case]:
    """A few of each file; no statement twice, and not mostly tests."""
    seen: set[str] = set()
    taken = tests = imports = 0
    for cases in files:
        is_test = bool(cases) and bool(_TEST.search(cases[0].path))
        for case in cases[:A_FILE]:
            key = re.sub(r"\s", "", case.target)
            if taken == limit or (is_test and tests >= max(1, TESTS * limit)):
                break
            is_import = statement_kind(case) == "import"
            if key in seen or (is_import and imports >= IMPORTS * limit):
                continue
            seen.add(key)
            taken, tests, imports = taken + 1, tests + is_test, imports + is_import
            yield case
        if taken == limit:
            return


def _case(git_dir: Path, commit: str, path: str, text: str, span: Span, chance: random.Random) -> Case | None:
    at = _cursor(text, span, chance)
    if _left(text, at, span) < MIN_LEFT:
        at = span.start
        if _left(text, at, span) < MIN_LEFT:
            return None
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1)
    return Case(
        id=f"{commit[:12]}/{path}:{line}:{column}",
        repo=git_dir.parent.name if git_dir.name in (".git", "repo") else git_dir.name,
        commit=commit,
        path=path,
        language=language_of(path),
        prefix=text[:at],
        suffix=text[span.end :],
        target=text[at : span.end],
        kind="statement",
    )


def _left(text: str, at: int, span: Span) -> int:
    return len(re.sub(r"\s", "", text[at : span.end]))


def _cursor(text: str, span: Span, chance: random.Random) -> int:
    """Where the user is: at the start, behind a token, or inside a name; nearer the start more often."""
    kind = chance.random()
    inner = span.tokens[:-1]
    if kind < 0.4 or not inner:
        return span.start
    if kind >= 0.8:
        names = [(a, b) for a, b in span.tokens if b - a >= 4 and text[a:b].isidentifier()]
        if names:
            start, end = chance.choices(names, [1 / (1 + 0.12 * i) for i in range(len(names))])[0]
            return start + chance.randint(1, min(4, end - start - 2))
    place = chance.choices(range(len(inner)), [1 / (1 + 0.12 * i) for i in range(len(inner))])[0]
    following = span.tokens[place + 1][0]
    return (
        following
        if chance.random() < 0.6 and "\n" not in text[inner[place][1] : following]
        else inner[place][1]
    )


def _lines_of(text: str, span: Span) -> range:
    first = text.count("\n", 0, span.start)
    return range(first, first + text.count("\n", span.start, span.end) + 1)


def _text(git_dir: Path, commit: str, path: str) -> str | None:
    """A file's text with plain line breaks; None for what is binary, too large, generated or not here."""
    (raw,) = read_blobs(git_dir, [f"{commit}:{path}"])
    if raw is None or len(raw) > MAX_FILE_BYTES or b"\0" in raw:
        return None
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return None
    return None if _GENERATED.search("\n".join(text.split("\n", 8)[:8])) else text


def _fresh_lines(git_dir: Path, commit: str, path: str, since: str) -> set[int]:
    """Numbers from 0 of the lines that a commit after `since` wrote."""
    out = run_git(git_dir, "blame", "-w", "--incremental", f"{since}..{commit}", "--", path)
    spans: list[tuple[bytes, int, int]] = []
    old: set[bytes] = set()
    for line in out.split(b"\n"):
        head = _BLAMED.match(line)
        if head:
            spans.append((head[1], int(head[2]) - 1, int(head[3])))
        elif line == b"boundary" and spans:
            old.add(spans[-1][0])
    return {n for name, start, count in spans if name not in old for n in range(start, start + count)}


_BLAMED = re.compile(rb"^([0-9a-f]{40,64}) \d+ (\d+) (\d+)$")

# --- Python ---------------------------------------------------------------------------------------

_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Raise, ast.Assert, ast.Delete,
           ast.Import, ast.ImportFrom, ast.Expr)  # fmt: skip
_HEADED = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.FunctionDef,
           ast.AsyncFunctionDef, ast.ClassDef)  # fmt: skip
_NO_CODE = frozenset({tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
                      tokenize.ENCODING, tokenize.COMMENT})  # fmt: skip


def python_statements(text: str) -> Iterator[Span]:
    """Simple statements, and the headers of compound ones up to the colon; none of what cannot be parsed.

    Left out: docstrings and bare values, what has a comment or another statement on its lines, long texts.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
        return
    file = _PythonFile(text, tokens)
    for node in ast.walk(tree):
        if isinstance(node, (*_SIMPLE, *_HEADED)) and not _is_bare_value(node):
            span = file.span(node)
            if span is not None and file.is_usable(span):
                yield span


def _is_bare_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class _PythonFile:
    """Offsets of the tokens of a text."""

    def __init__(self, text: str, tokens: Sequence[tokenize.TokenInfo]) -> None:
        self._text = text
        self._starts = [0]
        for line in text.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._code = [t for t in tokens if t.type not in _NO_CODE]
        self._places = [(self._offset(*t.start), self._offset(*t.end)) for t in self._code]
        self._first = {start: i for i, (start, _) in reversed(list(enumerate(self._places)))}
        self._comments = [self._offset(*t.start) for t in tokens if t.type == tokenize.COMMENT]

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def span(self, node: ast.stmt) -> Span | None:
        """Of a simple statement its whole, of a compound one its header."""
        start = self._char_offset(node.lineno, node.col_offset)
        first = self._first.get(start)
        if first is None:
            return None
        if isinstance(node, _HEADED):
            last = self._colon(first)
        else:
            end = self._char_offset(node.end_lineno or node.lineno, node.end_col_offset or 0)
            last = next((i for i in range(first, len(self._places)) if self._places[i][1] >= end), None)
        return (
            None
            if last is None
            else Span(start, self._places[last][1], tuple(self._places[first : last + 1]))
        )

    def _char_offset(self, line: int, byte_column: int) -> int:
        """ast counts columns in bytes."""
        start = self._starts[line - 1]
        written = self._text[start : self._starts[line] - 1]
        column = (
            byte_column if written.isascii() else len(written.encode()[:byte_column].decode(errors="ignore"))
        )
        return start + column

    def _colon(self, first: int) -> int | None:
        depth = 0
        for i in range(first, min(first + 2000, len(self._code))):
            character = self._code[i].string
            if self._code[i].type != tokenize.OP:
                continue
            depth += (character in "([{") - (character in ")]}")
            if character == ":" and depth == 0:
                return i
        return None

    def is_usable(self, span: Span) -> bool:
        text = self._text
        begin = text.rfind("\n", 0, span.start) + 1
        end = text.find("\n", span.end)
        end = len(text) if end < 0 else end
        lines = text[begin:end].split("\n")
        if text[begin : span.start].strip() or text[span.end : end].strip():
            return False
        if len(lines) > MAX_LINES or any(len(line) > MAX_COLUMNS for line in lines) or len(span.tokens) < 3:
            return False
        if any(begin <= comment < end for comment in self._comments):
            return False
        strings = [b - a for a, b in span.tokens if text[a] in "\"'" or text[b - 1] in "\"'"]
        return max(strings, default=0) <= 90 and sum(strings) <= 0.6 * (span.end - span.start)


# --- other languages -------------------------------------------------------------------------------

_TOKEN = re.compile(r"\w+|\"[^\"\n]*\"|'[^'\n]*'|[^\w\s]")


def lines_of_code(text: str, path: str) -> Iterator[Span]:
    """Lines with a statement of their own: no comments, no lone brackets."""
    entry = language(language_of(path))
    comments = tuple(
        filter(None, [entry.line_comment, *(part for pair in entry.block_comments for part in pair), "*"])
    )
    start = 0
    for line in text.split("\n"):
        stripped = line.strip()
        begin = start + len(line) - len(line.lstrip())
        start += len(line) + 1
        if not stripped or stripped.startswith(comments) or len(line) > MAX_COLUMNS:
            continue
        if any(mark in stripped for mark in comments if mark != "*"):
            continue
        tokens = tuple((begin + m.start(), begin + m.end()) for m in _TOKEN.finditer(stripped))
        if len(tokens) >= 3 and (stripped[0].isalpha() or stripped[0] in "_@#$"):
            yield Span(begin, begin + len(stripped), tokens)
