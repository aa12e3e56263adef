"""What is a typed trace, and is this file one?

A trace is one file's edit as a person would type it: the text before, an event for each key (or for an
Enter with the indentation an editor adds, or for a removal), the text after. JSON lines, one trace each:

    {"id", "path", "language", "initial_text", "final_text",
     "events": [{"t_ms", "op": "insert" or "delete", "text", "line", "col"[, "end_line", "end_col"]}]}

`line` counts from 1, `col` in code points from 0, both in the text as it stands before the event. Unknown
fields are ignored. Loading applies every event: a trace that does not end in `final_text` is refused.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mccomd.errors import MccomdError

__all__ = ["Event", "Trace", "TraceError", "apply", "dump_traces", "load_traces", "shipped_traces"]

SHIPPED = Path(__file__).with_name("traces.jsonl.gz")


class TraceError(MccomdError):
    """A trace file that cannot be replayed; the text names file and line."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key, or one removal."""

    t_ms: Annotated[int, Meta(ge=0)]  # since the trace began
    op: Literal["insert", "delete"]
    text: str  # what appears, or what goes
    line: Annotated[int, Meta(ge=1)]
    col: Annotated[int, Meta(ge=0)]
    end_line: int = 0  # of a removal
    end_col: int = 0

    def cursor_after(self) -> tuple[int, int]:
        """(line, col) where the cursor stands behind this event."""
        if self.op == "delete":
            return self.line, self.col
        breaks = self.text.count("\n")
        column = len(self.text) - self.text.rfind("\n") - 1 if breaks else self.col + len(self.text)
        return self.line + breaks, column


class Trace(msgspec.Struct, frozen=True):
    """One edit of one file."""

    id: str
    path: str  # within its repository
    language: str
    initial_text: str
    events: tuple[Event, ...]
    final_text: str

    @property
    def keystrokes(self) -> int:
        """Events that are followed by a request."""
        return sum(event.op == "insert" for event in self.events)


def apply(text: str, events: Sequence[Event]) -> str:
    """The text after all events.

    Raises ValueError naming the event (from 1) that does not fit.
    """
    lines = text.split("\n")
    for number, event in enumerate(events, start=1):
        try:
            apply_to_lines(lines, event)
        except ValueError as error:
            raise ValueError(f"event {number}: {error}") from None
    return "\n".join(lines)


def apply_to_lines(lines: list[str], event: Event) -> None:
    """Change the lines in place. Raises ValueError for a place that is not there."""
    line = event.line - 1
    if line >= len(lines) or event.col > len(lines[line]):
        raise ValueError(f"{event.op} at {event.line}:{event.col}, the text has no such place")
    if event.op == "insert":
        head, tail = lines[line][: event.col], lines[line][event.col :]
        lines[line : line + 1] = (head + event.text + tail).split("\n")
        return
    last = event.end_line - 1
    if not line <= last < len(lines) or event.end_col > len(lines[last]):
        raise ValueError(f"delete up to {event.end_line}:{event.end_col}, the text has no such place")
    gone = "\n".join(lines[line : last + 1])[event.col :]
    gone = gone[: len(gone) - len(lines[last]) + event.end_col]
    if gone != event.text:
        raise ValueError(f"delete of {event.text[:40]!r}, there stands {gone[:40]!r}")
    lines[line : last + 1] = [lines[line][: event.col] + lines[last][event.end_col :]]


def load_traces(path: Path | None = None) -> list[Trace]:
    """The traces of a file (JSON lines, `.gz` or not); by default those that come with mccomd.

    Raises TraceError naming file and line.
    """
    path = path or SHIPPED
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).split(b"\n")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"cannot read {path}: {reason}; `mccomd bench record` makes such a file") from error
    traces = [_read(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not traces:
        raise TraceError(f"{path} holds no trace; `mccomd bench record` makes such a file")
    return traces


def shipped_traces() -> list[Trace]:
    """The traces that come with mccomd, from its own history."""
    return load_traces(SHIPPED)


def dump_traces(traces: Sequence[Trace], path: Path) -> None:
    """Write JSON lines, compressed when the name ends in `.gz`; the same traces give the same bytes."""
    raw = b"".join(msgspec.json.encode(trace) + b"\n" for trace in traces)
    path.write_bytes(gzip.compress(raw, 9, mtime=0) if path.suffix == ".gz" else raw)


def _read(path: Path, number: int, line: bytes) -> Trace:
    try:
        trace = msgspec.json.decode(line, type=Trace)
        if "\r" in trace.initial_text + trace.final_text:
            raise ValueError("carriage returns: line breaks have to be \\n")
        if not trace.keystrokes:
            raise ValueError("no insert event: nothing is typed")
        if apply(trace.initial_text, trace.events) != trace.final_text:
            raise ValueError("the events do not lead from initial_text to final_text")
    except (ValueError, msgspec.DecodeError) as error:
        raise TraceError(f"{path}, line {number}: {error}") from error
    return trace
