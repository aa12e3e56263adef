"""What may leave for the large model: a request without secrets, hidden characters and secret files.

One function makes a `CloudRequest` fit to leave, before any backend sees it, and its answer fit to be
inserted. A backend from outside is protected the same way. Knows no endpoint and sends nothing; what was sent
is `egress.py`'s business.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mccomd.outgoing import CloudRequest
from mccomd.redact import (
    Masker,
    Span,
    assigned,
    restore,
    secrets_in,
    shaped,
    visible,
    without_begun_mask,
)
from mccomd_index import Filters, IndexOptions

__all__ = ["MAX_PREFIX", "MAX_SUFFIX", "Screened", "screen", "why_never_sent"]

MAX_PREFIX = 48_000
MAX_SUFFIX = 16_000
"""Characters around the cursor that are looked at and may leave; no prompt of ours is as long."""
_FILTERS = Filters(IndexOptions())
_PROBE = "q7Zp4Xv9Rk2Wm8Tb3"
_NEAR = 4_000


@dataclass(frozen=True, slots=True)
class Screened:
    """A request as it may leave, or why it may not. secrets: of the edited document, by mask."""

    request: CloudRequest
    refusal: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def answer(self, text: str) -> str:
        """The large model's text as it may be inserted; "" for one that holds a secret of another file.

        A mask that comes back becomes the secret again where that secret stands in the edited document: the
        user may well use it twice. A mask of a snippet, or one that the model made up, spoils the answer.
        Nothing that cannot be seen is ever inserted.
        """
        return restore(visible(text), self.secrets) or ""

    def answer_so_far(self, text: str) -> str:
        """Of an answer that is still coming in: without the last characters where a mask may have begun."""
        return self.answer(without_begun_mask(text))


def why_never_sent(path: str) -> str:
    """Why a file's text never leaves and is never completed by a large model; "" where it may."""
    secret = _FILTERS.refuse_path(path) == "secret"
    return f"{posixpath.basename(path)!r} is on the list of secret files" if secret else ""


def screen(request: CloudRequest) -> Screened:
    """The request as it may leave.

    Prefix and suffix are one text to the search for secrets, so that one the cursor stands in is found;
    there, and in a secret file, nothing is asked. Snippets of secret files are left out, and so is a draft
    with a secret.
    """
    if refusal := why_never_sent(request.path):
        return Screened(_nothing_of(request), refusal)
    path = _one_line(request.path)
    prefix = visible(_last_lines(request.prefix, MAX_PREFIX))
    suffix = visible(_first_lines(request.suffix, MAX_SUFFIX))
    spans = secrets_in(prefix + suffix, path)
    if _touches(spans, len(prefix), len(prefix)) or _asks_for_secret(prefix, suffix, path):
        return Screened(_nothing_of(request), "the cursor stands in a secret")
    snippets = [
        replace(s, path=_one_line(s.path), text=visible(s.text))
        for s in request.snippets
        if not why_never_sent(s.path)
    ]
    masker = Masker([prefix, suffix, *(s.text for s in snippets)])
    before = masker.mask(prefix, [s for s in spans if s.end <= len(prefix)])
    after = masker.mask(suffix, [_moved(s, -len(prefix)) for s in spans if s.start >= len(prefix)])
    found = [masker.mask(s.text, secrets_in(s.text, s.path)) for s in snippets]
    fit = replace(
        request,
        path=path,
        prefix=before.text,
        suffix=after.text,
        snippets=tuple(replace(s, text=masked.text) for s, masked in zip(snippets, found, strict=True)),
        **_drafts(request, prefix, suffix, path, before.text),
    )
    request.report.masked = tuple(kind for text in (before, after, *found) for kind in text.masked)
    return Screened(fit, "", {**before.secrets, **after.secrets})


def _nothing_of(request: CloudRequest) -> CloudRequest:
    return replace(request, prefix="", suffix="", draft="", typed="", alternatives=(), snippets=())


def _asks_for_secret(prefix: str, suffix: str, path: str) -> bool:
    """Whether anything written at the cursor would be a secret, as between the quotes of password = ""."""
    left, right = prefix[-_NEAR:], suffix[:_NEAR]
    tried = f"{left}{_PROBE}{right}"
    return _touches([*shaped(tried), *assigned(tried, path)], len(left), len(left) + len(_PROBE))


def _drafts(request: CloudRequest, prefix: str, suffix: str, path: str, masked_prefix: str) -> dict[str, Any]:
    """Drafts are read where they would stand: one with a secret stays here, and so do all where the user has
    typed one since."""
    typed = visible(request.typed)
    if not masked_prefix.endswith(typed):
        return {"draft": "", "typed": "", "alternatives": ()}
    start = prefix.removesuffix(typed)

    def fit(text: str) -> str:
        left = start[-_NEAR:]
        spans = secrets_in(f"{left}{text}{suffix[:_NEAR]}", path) if text else []
        return "" if _touches(spans, len(left), len(left) + len(text)) else text

    others = [fit(visible(text)) for text in request.alternatives]
    return {
        "draft": fit(visible(request.draft)),
        "typed": typed,
        "alternatives": tuple(text for text in others if text),
    }


def _touches(spans: Sequence[Span], start: int, end: int) -> bool:
    return any(span.start < end and start < span.end for span in spans)


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.kind)


def _last_lines(text: str, most: int) -> str:
    """At most so many characters of the end, from the beginning of a line where there is one."""
    if len(text) <= most:
        return text
    cut = text.find("\n", len(text) - most)
    return text[cut + 1 :] if 0 <= cut < len(text) - 1 else text[-most:]


def _first_lines(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    cut = text.rfind("\n", 0, most)
    return text[: cut + 1] if cut > 0 else text[:most]


def _one_line(path: str) -> str:
    """A path that stays on its line of a prompt."""
    return visible(path).replace("\n", " ").replace("\r", " ")
