"""What an answer's place looks like, as sparse features: the same of a live request and of a row of history.

The features of Copilot's contextual filter (arXiv 2405.14753, appendix), and confidence. Not the answer's own
text or length: the router is also asked when only three tokens of it are known, and would see another
feature than it learnt from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mccomd.hooks import Evidence

__all__ = ["BASELINE", "Place", "features", "place_of"]

BASELINE = ("confidence", "bias")
"""The features of a router that looks at confidence alone."""
MOST_CHARS = 2000
_KINDS = {**dict.fromkeys("([{", "open"), **dict.fromkeys(")]}", "close"), **dict.fromkeys("\"'`", "quote")}


@dataclass(frozen=True, slots=True)
class Place:
    """What both a request and the history know."""

    confidence: float
    language: str
    prefix_chars: int  # on the cursor's line
    indent: int
    blank_after: bool
    last_kind: str
    since_last_s: float | None  # since the answer before was judged
    last_good: bool | None  # whether that one was taken


def place_of(evidence: Evidence) -> Place:
    """Of a request. 10 us, whatever the size of the document."""
    line = evidence.prefix[-MOST_CHARS:].rpartition("\n")[2]
    return Place(
        confidence=evidence.confidence,
        language=evidence.language,
        prefix_chars=len(line),
        indent=len(line) - len(line.lstrip()),
        blank_after=not evidence.suffix[:MOST_CHARS].partition("\n")[0].strip(),
        last_kind=kind_of(line),
        since_last_s=getattr(evidence, "since_last_s", None),
        last_good=getattr(evidence, "last_good", None),
    )


def kind_of(line: str) -> str:
    """The kind of a line's last character, as mccomd's history writes it."""
    if not line:
        return "none"
    last = line[-1]
    if last.isalpha() or last == "_":
        return "letter"
    if last.isdigit():
        return "digit"
    return "space" if last.isspace() else _KINDS.get(last, "sign")


def features(place: Place) -> dict[str, float]:
    """Name -> value; what is absent is 0. Values are of the order of 1."""
    chars = min(place.prefix_chars, MOST_CHARS)
    found = {
        "bias": 1.0,
        "confidence": _logit(place.confidence),
        "line length": math.log1p(chars) / 4,
        "typed on the line": math.log1p(max(0, chars - place.indent)) / 4,
        f"language {place.language or 'unknown'}": 1.0,
        f"behind a {place.last_kind}": 1.0,
    }
    if place.blank_after:
        found["nothing behind the cursor"] = 1.0
    if place.last_good is not None:
        found["the last answer was taken" if place.last_good else "the last answer was rejected"] = 1.0
    if place.since_last_s is not None and place.since_last_s >= 0:
        found["time since the last answer"] = min(math.log1p(place.since_last_s), 10.0) / 5
    return found


def _logit(probability: float) -> float:
    bounded = min(max(probability, 0.01), 0.99) if math.isfinite(probability) else 0.01
    return math.log(bounded / (1 - bounded)) / 2
