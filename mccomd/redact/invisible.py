"""What in a text cannot be seen, and what would be read as a marker instead of as text?

Hidden characters carry instructions past the reader's eye (the "Rules File Backdoor", Trojan Source): they
are dropped. Marker strings of models in user code would end a prompt early: they are broken in two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["MARKERS", "mend", "neutralise", "visible"]

# Bidi controls, lone surrogates, zero-width and filler characters, invisible operators, tags, variation
# selectors (both ranges: they smuggle bytes), interlinear annotation, line separators, and controls but tab,
# newline, form feed, carriage return.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS = "\u200c\u200d"
_EMOJI_LOOK = "\ufe0e\ufe0f"


def visible(text: str) -> str:
    """The text without characters that nobody sees.

    Kept: a joiner between two letters of a script that is written with it (Arabic to Khmer), and the
    selector of an emoji's look directly behind a symbol.
    """
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(_hidden, text)


def _hidden(match: re.Match[str]) -> str:
    text, at = match.string, match.start()
    if not 0 < at < len(text):
        return ""
    before, here = text[at - 1], match[0]
    if here in _EMOJI_LOOK:
        return here if unicodedata.category(before) == "So" else ""
    if here in _JOINERS and at + 1 < len(text):
        return here if _joins(before) and _joins(text[at + 1]) else ""
    return ""


def _joins(c: str) -> bool:
    """A letter or vowel sign of Arabic, Syriac, the scripts of India, Myanmar, Khmer, Mongolian."""
    return (
        "\u0600" <= c <= "\u0dff" or "\u1000" <= c <= "\u109f" or "\u1780" <= c <= "\u18af"
    ) and unicodedata.category(c)[0] in "LM"


MARKERS: tuple[str, ...] = (
    # Fill-in-the-middle of CodeLlama, StarCoder and its kin, Codestral, Mellum, Seed-Coder; beside the shapes
    # <|...|> and <｜...｜> of Qwen, Granite 4, CodeGemma, DeepSeek, SmolLM and all chat formats like them.
    "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<file_sep>", "<repo_name>", "<filename>",
    "<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>",
    "<PRE>", "<SUF>", "<MID>", "<EOT>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>",
    "[PREFIX]", "[SUFFIX]", "[MIDDLE]", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>",
    "<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>", "</s>",
)  # fmt: skip
_OVERLAPS = 4
_SHAPES = r"<[|｜](?=[A-Za-z0-9_▁./-]{1,60}[|｜]>)"


def neutralise(text: str, markers: Iterable[str] = ()) -> str:
    """The text with a blank behind the first character of everything a model could take for a marker.

    markers: those of the template in use, beside MARKERS and everything of the form <|...|>. For
    prompts that a server tokenises with its special tokens on. `mend` undoes it.
    """
    if "<" not in text and "[" not in text and not markers:
        return text
    pattern = _pattern(tuple(markers))
    for _ in range(_OVERLAPS):  # where two overlap, breaking one leaves the other
        text, broken = pattern.subn(_broken, text)
        if not broken:
            break
    return text


def mend(text: str, markers: Iterable[str] = ()) -> str:
    """An answer in which broken markers stand as the user wrote them."""
    if "< " not in text and "[ " not in text and not markers:
        return text
    return _broken_pattern(tuple(markers)).sub(lambda match: match[0][0] + match[0][2:], text)


def _broken(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"


_patterns: dict[tuple[str, ...], tuple[re.Pattern[str], re.Pattern[str]]] = {}


def _pattern(markers: tuple[str, ...]) -> re.Pattern[str]:
    return _both(markers)[0]


def _broken_pattern(markers: tuple[str, ...]) -> re.Pattern[str]:
    return _both(markers)[1]


def _both(markers: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compiled once for each template."""
    found = _patterns.get(markers)
    if found is None:
        # Two characters at least: a marker of one cannot be broken, and none exists.
        whole = sorted({m.strip() for m in (*MARKERS, *markers) if len(m.strip()) > 1}, key=len, reverse=True)
        as_is = "|".join([*map(re.escape, whole), _SHAPES])
        broken = "|".join(
            [*(f"{re.escape(m[0])} {re.escape(m[1:])}" for m in whole), _SHAPES.replace("<", "< ", 1)]
        )
        found = _patterns[markers] = re.compile(as_is), re.compile(broken)
    return found
