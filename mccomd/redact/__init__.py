"""What must not leave this machine as it stands, and what takes its place?

Secrets become `<secret-1>`, `<secret-2>`, ... inside the quotes they stood in; the same secret has the same
mask everywhere in one request. Pure: the same texts give the same masks, and nothing is remembered. What
belongs into a request is `outgoing.py`'s business, what left is `egress.py`'s.

Not masked is what no rule knows: a password in prose, a name in no list. README.md says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mccomd.redact.invisible import MARKERS, mend, neutralise, visible
from mccomd.redact.literals import assigned, random_literals
from mccomd.redact.rules import Span, shaped

__all__ = [
    "MARKERS",
    "Masker",
    "Redacted",
    "Span",
    "assigned",
    "mend",
    "neutralise",
    "redact",
    "redact_all",
    "restore",
    "secrets_in",
    "shaped",
    "visible",
    "without_begun_mask",
]

_MASK = re.compile(r"<secret-[1-9][0-9]{0,3}>")
_BEGUN = re.compile(r"<(?:s(?:e(?:c(?:r(?:e(?:t(?:-(?:[1-9][0-9]{0,3})?)?)?)?)?)?)?)?\Z")


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text fit to leave, and what only we know of it."""

    text: str
    masked: tuple[str, ...]  # the kind of each masked secret, in order of appearance; never the secret
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # mask -> secret


def redact(text: str, path: str) -> Redacted:
    """The text without its secrets. path: tells configuration from code; "" when unknown.

    redact('key = "AKIAIOSFODNN7EXAMPLE"', "a.py").text -> 'key = "<secret-1>"'
    """
    return redact_all([(text, path)])[0]


def redact_all(texts: Sequence[tuple[str, str]]) -> list[Redacted]:
    """Several (text, path) that leave together: a secret that stands in two has one mask."""
    masker = Masker(text for text, _ in texts)
    return [masker.mask(text, secrets_in(text, path)) for text, path in texts]


def secrets_in(text: str, path: str) -> list[Span]:
    """Where secrets stand, in order and apart from each other."""
    found = sorted(
        (*shaped(text), *assigned(text, path), *random_literals(text)), key=lambda s: (s.start, -s.end)
    )
    apart: list[Span] = []
    for span in found:
        if span.end <= span.start:
            continue
        if apart and span.start < apart[-1].end:
            last = apart[-1]
            apart[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            apart.append(span)
    return apart


def restore(text: str, secrets: Mapping[str, str]) -> str | None:
    """An answer with the user's own secrets where their masks came back.

    None where a mask stands in it that is not in `secrets`: that answer is worth nothing to the user.
    """
    lost = False

    def original(match: re.Match[str]) -> str:
        nonlocal lost
        lost = lost or match[0] not in secrets
        return secrets.get(match[0], "")

    restored = _MASK.sub(original, text) if "<secret-" in text else text
    return None if lost else restored


def without_begun_mask(text: str) -> str:
    """The part of a streamed answer that can be restored already: a mask may be half here."""
    begun = _BEGUN.search(text, max(0, len(text) - 16))
    return text[: begun.start()] if begun else text


class Masker:
    """One mask for each secret of the texts that leave together.

    texts: all of them; a number that stands in a mask-like word of the user's own is not used.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._taken = {mask for text in texts if "<secret-" in text for mask in _MASK.findall(text)}
        self._masks: dict[str, str] = {}  # secret -> mask
        self._number = 0

    def mask(self, text: str, spans: Sequence[Span]) -> Redacted:
        """The text with a mask at each of the spans, which are in order and apart."""
        pieces: list[str] = []
        own: dict[str, str] = {}
        at = 0
        for span in spans:
            secret = text[span.start : span.end]
            mask = self._mask_of(secret)
            own[mask] = secret
            pieces += [text[at : span.start], mask]
            at = span.end
        pieces.append(text[at:])
        return Redacted("".join(pieces), tuple(span.kind for span in spans), own)

    def _mask_of(self, secret: str) -> str:
        mask = self._masks.get(secret)
        while mask is None:
            self._number += 1
            if (name := f"<secret-{self._number}>") not in self._taken:
                mask = self._masks[secret] = name
        return mask
