"""The bare words of a Python text: names as they stand outside of strings, comments and attributes.

By regular expressions, so that half a file will do. Knows nothing of scopes.
"""

from __future__ import annotations

import builtins
import re
from functools import lru_cache

__all__ = ["BARE", "BUILTIN", "FAR_CHARS", "MOST_LINE_CHARS", "knowable", "plain"]

FAR_CHARS = 400_000  # so much above and below the cursor is looked through for what binds a name
MOST_LINE_CHARS = 1_000

BARE = re.compile(r"(?<![\w.])[^\W\d]\w*")
BUILTIN = frozenset(
    [
        *dir(builtins),
        *("__file__", "__class__", "__path__", "__all__", "__version__", "__annotations__"),
        *("_", "display", "get_ipython", "reveal_type", "profile", "WindowsError"),
        *("basestring", "long", "raw_input", "reduce", "unichr", "unicode", "xrange"),
    ]
)

_NOISE = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*',
    re.DOTALL,
)
_UNKNOWABLE = re.compile(r"^[ \t]*from\s+\S+\s+import\s+\*|\bexec\(|\bglobals\(\)", re.MULTILINE)


@lru_cache(4)
def plain(text: str) -> str:
    """text without strings, comments and lines that nobody wrote by hand; the others stay where they were."""
    words = _NOISE.sub(lambda found: "" if found[0][0] == "#" else '""' + "\n" * found[0].count("\n"), text)
    return "\n".join(line if len(line) <= MOST_LINE_CHARS else "" for line in words.split("\n"))


def knowable(text: str) -> bool:
    """Whether the text itself says which names it binds."""
    return _UNKNOWABLE.search(text) is None
