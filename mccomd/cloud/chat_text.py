"""A hole to fill, as a chat model is asked, and its answer without what chat models put around code. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mccomd.types import Snippet

__all__ = ["HOLE", "OPEN", "STOP", "messages", "stripped"]

HOLE, OPEN, STOP = "{{FILL_HERE}}", "<COMPLETION>", "</COMPLETION>"
SYSTEM = (
    "You are a hole filler. You get a file with a hole, written as {{FILL_HERE}}. Answer with the text that "
    "replaces the hole and nothing else, between <COMPLETION> and </COMPLETION>: no explanation, no fence, "
    "none of the text that stands before or after the hole. Complete one statement; keep the indentation."
)
ECHO_CHARS = 400  # of the prefix's end are looked for at the beginning of an answer
MIN_ECHO = 6
_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\n")


def messages(
    prefix: str, suffix: str, path: str, language: str, snippets: Sequence[Snippet]
) -> list[dict[str, str]]:
    """What is sent. A hole mark in the user's own code is broken with a blank."""
    prefix, suffix = (part.replace(HOLE, "{ {FILL_HERE}}") for part in (prefix, suffix))
    others = "".join(f"<FILE path={s.path!r}>\n{s.text}\n</FILE>\n" for s in reversed(snippets))
    around = f"{others}<QUERY path={path!r} language={language!r}>\n{prefix}{HOLE}{suffix}\n</QUERY>"
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": around}]


def stripped(raw: str, prefix: str, suffix: str, *, finished: bool) -> str:
    """The code in an answer so far; a beginning that may still turn out to be wrapping is held back.

    raw: everything that came. What is returned for a longer raw begins with what was returned before.
    """
    text = raw
    if OPEN in text:
        text = text[text.index(OPEN) + len(OPEN) :]
    elif not finished and OPEN.startswith(text.lstrip()[: len(OPEN)]):
        return ""
    if fence := _FENCE.match(text):
        text = text[fence.end() :]
    elif not finished and _may_be(text.lstrip(), "```") and "\n" not in text.lstrip():
        return ""
    text = _before(text, STOP, finished)
    text = _before(text, "\n```", finished)
    text = text.removesuffix("```") if finished else text
    text = _without_echo(text, prefix, finished)
    return _before_suffix(text, suffix, finished)


def _may_be(text: str, mark: str) -> bool:
    """Whether a text that may still grow begins with a mark, as far as it goes."""
    return text.startswith(mark) or mark.startswith(text)


def _before(text: str, mark: str, finished: bool) -> str:
    """What stands before a mark; without the part at the end that may be its beginning."""
    place = text.find(mark)
    if place >= 0:
        return text[:place]
    if not finished:
        for size in range(min(len(mark) - 1, len(text)), 0, -1):
            if mark.startswith(text[-size:]):
                return text[:-size]
    return text


def _without_echo(text: str, prefix: str, finished: bool) -> str:
    """Without the end of the prefix, should the answer begin by repeating it."""
    tail = prefix[-ECHO_CHARS:]
    starts = [i + 1 for i, char in enumerate(tail) if char == "\n"]
    if len(tail) == len(prefix):
        starts.insert(0, 0)
    for start in starts:
        echo = tail[start:]
        for known in (echo, echo.lstrip()):
            if len(known.strip()) < MIN_ECHO:
                continue
            if text.startswith(known):
                return text[len(known) :]
            if not finished and text and known.startswith(text):
                return ""
    return text


def _before_suffix(text: str, suffix: str, finished: bool) -> str:
    """What stands before the first whole line of the suffix, should the answer go on into it."""
    line = next((line for line in suffix.split("\n")[1:] if line.strip()), "")
    if len(line.strip()) < MIN_ECHO:
        return text
    return _before(text, "\n" + line, finished)
