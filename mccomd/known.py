"""Does the file define or import already what a line defines or imports? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["is_known"]

_IMPORT = re.compile(
    r"(?:import|from|use|using|#include)\s|package [\w.]+;?$|export\s.*\sfrom\s"
    r"|(?:const|let|var)\s.*=\s*require\("
)

_NAME = r"(?!_\b)([A-Za-z_]\w*)"
_RUST_TYPES = (
    rf"(?:pub(?:\([^)]*\))? )?(?:unsafe )?(struct|enum|union|trait|type|mod|static|const) (?!fn ){_NAME}"
)
_RUST_FUNCTION = rf"(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*(fn) {_NAME}[(<]"
_SCRIPT = (
    r"(?:export )?(?:default )?(?:declare )?(?:abstract )?(class|interface|enum|type|const|let) (?!enum )"
    rf"{_NAME}(?=[ <:;{{(])"
)

# What defines a name once in a file or in a block, with groups that tell two definitions apart. In Python and
# Go only at the margin. TypeScript's functions may be declared many times.
_DEFINITIONS = {
    "python": (r"((?:async )?(?:def|class) \w+)",),
    "go": (
        rf"func (?:\((?:\w+ )?\*?(\w+)[^)]*\) )?(?!init\b){_NAME}[(\[]",
        rf"(type) {_NAME}[ \[]",
    ),
    "rust": (_RUST_TYPES, _RUST_FUNCTION, rf"(macro_rules!) {_NAME}", r"((?:unsafe )?impl\b.* for .*)\{"),
    "javascript": (_SCRIPT, rf"(?:export )?(?:default )?(?:async )?(function)\*? {_NAME} ?\("),
    "typescript": (_SCRIPT,),
}
_COMPILED = {name: tuple(map(re.compile, patterns)) for name, patterns in _DEFINITIONS.items()}
_BLOCKS = frozenset(["javascript", "rust", "typescript"])
_TWICE = {"python": "@", "rust": "#[cfg"}  # a line that begins so says that what follows shares its name


def is_known(
    line: str, goes_on: bool, above: Sequence[str], below: Sequence[str], language_name: str
) -> bool:
    """Whether line is an import, alone, or a definition that stands in the lines around it too.

    above: nearest last, below: nearest first. ("func f(b int) {", .., ["func f(a int) {"], .., "go") -> True.
    """
    if _IMPORT.match(line) and not goes_on and not line.endswith("{"):
        return line in above or line in below
    if _may_share_its_name(above, language_name):
        return False
    lead = line[: len(line) - len(line.lstrip())]
    around = [*_block(reversed(above), lead), *_block(below, lead)]
    for pattern in _COMPILED.get(language_name, ()):
        found = pattern.match(line, len(lead) if language_name in _BLOCKS else 0)
        if found is not None:
            return any(_same(pattern.match(other), found) for other in around)
    return False


def _block(lines: Iterable[str], lead: str) -> Iterator[str]:
    """What follows the lead in those of lines, the nearest first, that stand in one block with it."""
    for line in lines:
        if not line.startswith(lead):
            return
        yield line[len(lead) :]


def _same(other: re.Match[str] | None, found: re.Match[str]) -> bool:
    return other is not None and other.groups() == found.groups()


def _may_share_its_name(above: Sequence[str], language_name: str) -> bool:
    """Where a decorator or a condition stands above: overloads, and one function for each platform."""
    mark = _TWICE.get(language_name)
    if mark is None or not above:
        return False
    if language_name == "rust":
        for line in reversed(above[-8:]):
            if not line.lstrip().startswith("#["):
                return False
            if line.lstrip().startswith(mark):
                return True
        return False
    return above[-1].startswith(mark)
