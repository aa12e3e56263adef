"""The answers of a run, kept as they come: a run that was interrupted goes on, and another run can use them.

JSON lines. The first is a header: {"format": "mccomd-answers/1", "settings": {...}}. Every other is one
answer:

    {"id": "case's id", "text": "...", "model": "...", "confidence": 0.71, "ms": 48.2, "generated": 9, ...}

This is also how a large model's recorded outputs are handed to `--recorded`: `id` and `text` are enough
there, `generated` (tokens) and `ms` make its times exact. Blank lines and unknown fields are ignored.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from mccomd.errors import MccomdError

__all__ = ["FORMAT", "Answer", "Answers", "load_answers"]

FORMAT = "mccomd-answers/1"


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was answered to one case."""

    id: str
    text: str  # the last one that stood there
    first: str | None = None  # the one before, where another took its place; `ms` is its time
    search_ms: float = 0.0  # behind the answer, for a more probable one
    source: str = "local"  # local, cloud, none
    model: str = ""
    confidence: float = 0.0  # the chance that all tokens are right
    ms: float = 0.0  # from the request to the answer, in a buffer that was read ahead
    warm_ms: float = 0.0  # the reading ahead: the whole prompt
    decode_ms: float = 0.0
    generated: int = 0  # tokens
    drafted: int = 0
    accepted: int = 0
    snippets: int = 0
    finish: str = ""
    reason: str = ""


class _Header(msgspec.Struct, frozen=True):
    format: str
    settings: dict[str, Any] = {}


class Answers:
    """The file of one run, open for appending; a context manager."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        """settings: what answers depend on; those of an older run must be the same.

        fresh: forget what is there. Raises MccomdError.
        """
        self.path = path
        self.known: dict[str, Answer] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise MccomdError(f"cannot write {path}: {error.strerror}") from error
        try:
            self._begin(settings, fresh)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, answer: Answer) -> None:
        """Keep one answer: it is in the file when this returns."""
        self.known[answer.id] = answer
        self._write(msgspec.json.encode(answer))

    def _begin(self, settings: Mapping[str, Any], fresh: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MccomdError(
                f"another run writes to {self.path}: wait for it, or name another file"
            ) from error
        if fresh:
            self._file.truncate(0)
        self._file.seek(0)
        raw = self._file.read()
        whole = raw.rfind(b"\n") + 1  # a run that was killed may have left half a line
        if whole < len(raw):
            self._file.truncate(whole)
        if whole:
            header, self.known = _parse(self.path, raw[:whole])
            _check(self.path, header, settings)
        else:
            self._write(msgspec.json.encode(_Header(FORMAT, dict(settings))))

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as error:
            raise MccomdError(f"cannot write {self.path}: {error.strerror}") from error


def load_answers(path: Path) -> dict[str, Answer]:
    """Recorded answers by the case's id; a header is not required. Raises MccomdError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MccomdError(f"cannot read {path}: {error.strerror}") from error
    return _parse(path, raw[: raw.rfind(b"\n") + 1] if b"\n" in raw else raw)[1]


def _parse(path: Path, raw: bytes) -> tuple[dict[str, Any] | None, dict[str, Answer]]:
    """The header's settings (None without one) and the answers; of two with one id the later counts."""
    settings: dict[str, Any] | None = None
    answers: dict[str, Answer] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            if number == 1 and b'"format"' in line:
                settings = _settings(path, line)
                continue
            answer = msgspec.json.decode(line, type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MccomdError(f"{path}:{number}: no recorded answer: {error}") from error
        answers[answer.id] = answer
    return settings, answers


def _settings(path: Path, line: bytes) -> dict[str, Any]:
    header = msgspec.json.decode(line, type=_Header)
    if header.format != FORMAT:
        raise MccomdError(f"{path}: the format is {header.format!r}, this version reads {FORMAT!r}")
    return header.settings


def _check(path: Path, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(dict(wanted)))
    if found is None:
        raise MccomdError(f"{path} has no header: it was not written by a run that can go on")
    other = sorted(key for key in {*found, *plain} if found.get(key) != plain.get(key))
    if other:
        said = ", ".join(f"{key} was {found.get(key)!r} and is {plain.get(key)!r}" for key in other[:3])
        raise MccomdError(
            f"{os.fspath(path)} belongs to another run ({said}): name another file, or use --fresh"
        )
