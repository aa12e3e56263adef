"""What of a text is Python, where the file is in another language?

A small model that was trained on Python writes its headers everywhere. Pure; knows nothing of models.
"""

from __future__ import annotations

import re

__all__ = ["without_python"]

# Languages whose blocks stand in braces, whose comments begin with // and in which '# ' begins nothing.
_BRACES = frozenset(
    ["javascript", "typescript", "go", "rust", "java", "kotlin", "swift", "dart", "zig", "cpp", "c"]
)
_HASH = frozenset(["cpp", "c"])  # "# define" may be written so
_IN_PARENTHESES = frozenset(["javascript", "typescript", "java", "dart", "cpp", "c"])  # their conditions
_BARE_CONDITION = re.compile(
    r"\s*(?:\}\s*)?(?:else )?(?:if|while|for|switch) +(?!await\b|constexpr\b)[\w!'\"]"
)
_ONLY_PYTHON = re.compile(
    r"\s*(?:elif\b|(?:def|class) \w+(?:\([\w., ]*\))?:$|(?:try|finally|except\b.*|with\b.*):$"
    r"|for \w+(?:, ?\w+)* in range\(|(?:if|while) .*\bis (?:not )?None\b)"
)
_COMMENT = re.compile(r"\s*#(?:\s|$|(?:TODO|FIXME|XXX|NOTE)\b)")
_RETURNS = re.compile(r"\s*->\s*(?:None|[\w\[\]., |]+):$")
_NO_ARROWS = _IN_PARENTHESES - {"cpp"} | {"go"}  # what a function gives is not written behind an arrow
_HEADER = re.compile(r"\s*(?:\}\s*)?(?:if|else|for|while)\b[^?]*(?<!:):$")


def without_python(head: str, text: str, language_name: str) -> str:
    """text without what Python has at the end of a header; "" where the line is a Python header or comment.

    head: what stands left of the cursor on its line.
    ("", "if (a == b):", "javascript") -> "if (a == b)"; ("func f(", "a int) -> None:", "go") -> "a int)";
    ("", "for i in range(3):", "go") -> "".
    """
    if language_name not in _BRACES:
        return text
    body = text.rstrip()
    lead = body[: len(body) - len(body.lstrip("\n"))]
    first = body[len(lead) :].partition("\n")[0]
    line = (head + first).rstrip()
    if _ONLY_PYTHON.match(line) or (language_name not in _HASH and _COMMENT.match(line)):
        return ""
    if language_name in _IN_PARENTHESES and _BARE_CONDITION.match(line):
        return ""
    returns = _RETURNS.search(first) if ")" in line else None
    if returns and (language_name in _NO_ARROWS or "None" in returns[0]):
        return lead + first[: returns.start()]
    if _HEADER.match(line) and first.endswith(":") and line.count("(") == line.count(")"):
        return lead + first[:-1].rstrip()
    return text
