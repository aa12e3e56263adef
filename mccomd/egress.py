"""What has left this machine, when and where to? The one door that every outgoing request passes.

`Egress.admit` is called with the bytes of a request before they are sent. It refuses where nothing may
leave, and writes the ledger's entry first: what cannot be recorded is not sent. The ledger holds sizes,
hashes and kinds of masked secrets, no source text and no key. Knows nothing of HTTP; opens no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mccomd.errors import EgressError
from mccomd.outgoing import CloudRequest

__all__ = [
    "LEDGER_FILE",
    "PREVIEW",
    "Attempt",
    "Egress",
    "Entry",
    "Ledger",
    "Preview",
    "bare_endpoint",
    "parse_line",
    "read_ledger",
]

LEDGER_FILE = "egress.jsonl"
MAX_LEDGER_BYTES = 1_000_000
MAX_LEDGER_FILES = 5
"""About 20,000 requests; the oldest file goes first."""
MAX_LINE_BYTES = 16_384
_MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One outgoing request."""

    time: str  # UTC, ISO 8601 with milliseconds
    endpoint: str  # method, scheme, host, port and path; never a query, a user or a key
    bytes: int  # of head and body
    sha256: str  # of the body, hexadecimal
    masked: Sequence[str]  # the kind of each secret that was masked
    request_id: str  # of the completion; "" for what belongs to none
    purpose: str = "complete"  # complete, warm, probe, ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a preview caught instead of sending it."""

    endpoint: str
    body: bytes = field(repr=False)
    masked: Sequence[str] = ()
    purpose: str = "complete"


@dataclass
class Preview:
    """What would leave."""

    request: CloudRequest | None = None  # as every backend would get it; None where nobody would be asked
    attempts: list[Attempt] = field(default_factory=list)  # what the configured backend made of it
    refusal: str = ""  # why nothing would leave
    work: list[asyncio.Task[None]] = field(default_factory=list, repr=False)  # to be waited for


PREVIEW: ContextVar[Preview | None] = ContextVar("mccomd_egress_preview", default=None)
"""Set in a task: what would leave from it, and from those it begins, is put here, and nothing does."""


class Egress:
    """The door. why_silent: why nothing may leave now, "" where it may; asked each time."""

    def __init__(self, ledger: Ledger, why_silent: Callable[[], str]) -> None:
        self._ledger = ledger
        self._why_silent = why_silent
        self.requests = 0
        self.bytes = 0

    @property
    def refusal(self) -> str:
        """Why nothing may leave now; "" where it may. To be asked before a connection is opened."""
        return self._why_silent()

    def admit(
        self,
        endpoint: str,
        body: bytes,
        *,
        size: int | None = None,
        masked: Sequence[str] = (),
        request_id: str = "",
        purpose: str = "complete",
    ) -> None:
        """Returns when the request may be sent, and is in the ledger; raises EgressError when it may not.

        endpoint: "POST https://..." or a URL. size: of head and body together, where that is known.

        Takes 0.1 ms: one write to a file that stays open, no wait for the disk.
        """
        if (preview := PREVIEW.get()) is not None:
            preview.attempts.append(Attempt(bare_endpoint(endpoint), body, tuple(masked), purpose))
            raise EgressError("a preview: nothing is sent")
        if reason := self._why_silent():
            raise EgressError(reason)
        self._ledger.record(
            Entry(
                time=_now(),
                endpoint=bare_endpoint(endpoint),
                bytes=len(body) if size is None else size,
                sha256=hashlib.sha256(body).hexdigest(),
                masked=tuple(masked),
                request_id=request_id,
                purpose=purpose,
            )
        )
        self.requests += 1
        self.bytes += len(body) if size is None else size


class Ledger:
    """An append-only file of JSON lines, ours alone (0600); older ones are egress.1.jsonl and so on.

    Safe for several threads and several daemons of one state folder.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_LEDGER_BYTES, max_files: int = MAX_LEDGER_FILES
    ) -> None:
        self.path = folder / LEDGER_FILE
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._lock = threading.Lock()
        self._descriptor = -1

    def record(self, entry: Entry) -> None:
        """Raises EgressError where the whole entry does not reach the file; then nothing of it is there."""
        line = json.dumps(asdict(entry), ensure_ascii=True).encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise EgressError(f"{self.path}: an entry of {len(line)} bytes; nothing is sent without a record")
        try:
            with self._lock, self._locked() as descriptor:
                self._append(descriptor, line)
        except OSError as error:
            raise EgressError(
                f"{self.path}: cannot be written ({error.strerror}); nothing is sent without a record"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _append(self, descriptor: int, line: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # whoever wrote last was killed in the middle
            line = b"\n" + line
        written = 0
        try:
            while written < len(line):
                written += os.write(descriptor, line[written:])
        except OSError:  # the disk is full, perhaps in the middle of the line
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The open file, with room for a line, while nobody else writes or turns it over."""
        for _ in range(_MOST_TRIES):
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                if not self._is_current(descriptor):  # turned over by another daemon, or removed
                    continue
                if os.fstat(descriptor).st_size >= self._max_bytes:
                    self._turn_over()
                    continue
                yield descriptor
                return
            finally:
                if self._descriptor == descriptor:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                    if not self._is_current(descriptor):
                        self._drop()
        raise EgressError(f"{self.path} is replaced all the time; nothing is sent without a record")

    def _open(self) -> int:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags, 0o600)
            try:
                _check_ours(self.path, os.fstat(self._descriptor))
                os.fchmod(self._descriptor, 0o600)
            except BaseException:
                self._drop()
                raise
        return self._descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.path))
        except OSError:
            return False

    def _turn_over(self) -> None:
        for number in range(self._max_files - 1, 0, -1):
            source = self.path if number == 1 else _older(self.path, number - 1)
            if os.path.lexists(source):
                os.replace(source, _older(self.path, number))
        if self._max_files == 1:
            os.unlink(self.path)

    def _drop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_ledger(folder: Path, *, since: str = "", upto: int | None = None) -> Iterator[dict[str, Any]]:
    """All entries from a time on (as Entry.time is written), the oldest first.

    upto: no more bytes of the newest file, for who reads on from there.

    A damaged line is handed out as {"damaged": its beginning}: the reader must see that there is one.
    """
    current = folder / LEDGER_FILE
    for path in [*reversed([_older(current, n) for n in range(1, MAX_LEDGER_FILES + 1)]), current]:
        try:
            with open(path, "rb") as file:
                most = 4 * MAX_LEDGER_BYTES if upto is None or path != current else upto
                lines = file.read(most).splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EgressError(f"{path}: cannot be read: {error.strerror}") from error
        for line in lines:
            entry = parse_line(line)
            if "damaged" in entry or str(entry.get("time", "")) >= since:
                yield entry


def parse_line(line: bytes) -> dict[str, Any]:
    """One line of a ledger."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if isinstance(entry, dict) and isinstance(entry.get("endpoint"), str):
        return entry
    return {"damaged": line[:80].decode("utf-8", "backslashreplace")}


def bare_endpoint(url: str) -> str:
    """A URL, perhaps behind a method, without user, query and fragment: keys stand there."""
    method, blank, rest = url.rpartition(" ")
    try:
        parts = urlsplit(rest)
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    except ValueError:
        return "(not a URL)"
    return f"{method}{blank}{parts.scheme}://{host}{port}{parts.path}"[:500]


def _check_ours(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        problem = "is not a file"
    elif found.st_uid != os.getuid():
        problem = f"belongs to user {found.st_uid}"
    elif found.st_nlink > 1:
        problem = "has a second name somewhere"
    else:
        return
    raise EgressError(f"{path} {problem}: remove it; nothing is sent without a record")


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
