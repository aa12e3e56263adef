"""What an endpoint can do, as it has proved, and remembered from one start to the next.

Never inferred from status 200: servers ignore fields silently. What a dialect's documentation promises is
tried by `probe` and used only then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mccomd.outgoing import Endpoint

__all__ = ["Caps", "CapsFile"]

Draft = Literal["none", "speculation", "prediction"]
Verify = Literal["none", "vllm", "sglang", "echo"]


@dataclass(frozen=True, slots=True)
class Caps:
    """Flags of one endpoint. `proved` is False for what documentation says only."""

    proved: bool = False
    fim: str = "none"  # none, suffix (a field of its own), infill, chat, or a template's name
    draft: Draft = "none"  # a field that takes a draft
    verify: Verify = "none"  # how the scores of a prompt can be had
    prime: bool = False  # its n-gram pool is shared between requests
    keeps_prompts: bool = False  # what it has read of a prompt is not read again
    max_stops: int = 4
    n_ctx: int | None = None
    bills_rejected: bool = False  # tokens of a draft that were not used cost money
    reads_cache_when_scoring: bool = True  # False: scoring reads the whole prompt again
    score_token_ms: float = 0.0  # and takes so long for each of its tokens; 0 = not measured
    dialect: str = ""  # how it speaks, where the configuration does not say
    refused: tuple[str, ...] = ()  # fields that it will not take
    notes: tuple[str, ...] = ()  # what the probe saw, a line each


class CapsFile:
    """One endpoint's flags in the cache folder; a damaged or foreign file is as good as none."""

    def __init__(self, cache_dir: str, backend: str, endpoint: Endpoint) -> None:
        mark = "\n".join((backend, endpoint.url, endpoint.model, endpoint.dialect))
        name = hashlib.sha256(mark.encode()).hexdigest()[:16]
        self._path = Path(cache_dir, f"caps-{name}.json") if cache_dir else None

    def load(self) -> Caps | None:
        if self._path is None:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            return _from_json(json.loads(self._path.read_bytes()[:65_536]))
        return None

    def save(self, caps: Caps) -> None:
        """Only time is lost where it cannot be written."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent)
            with open(handle, "w", encoding="utf-8") as stream:
                json.dump(asdict(caps), stream)
            os.replace(name, self._path)


def _from_json(found: Mapping[str, Any]) -> Caps:
    """Raises TypeError, ValueError."""
    known = {key.name for key in fields(Caps)}
    if set(found) != known:
        raise ValueError("flags of another version")
    texts = {key: tuple(str(item) for item in found[key]) for key in ("refused", "notes")}
    caps = Caps(**{**found, **texts})
    if caps.draft not in ("none", "speculation", "prediction") or not isinstance(caps.n_ctx, int | None):
        raise ValueError("flags of another version")
    return caps
