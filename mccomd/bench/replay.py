"""A trace as an editor sends it: the change, then the question, then the wait for the answer.

One Sample a request. A key is never sent before the answer to the one before it has come: what is measured is
how long a user who waits for each answer waits. Knows no statistics.
"""

from __future__ import annotations

import bisect
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mccomd.bench.traces import Event, Trace, apply, apply_to_lines
from mccomd.client import Client

__all__ = ["Options", "Sample", "cold", "cold_texts", "replay", "windows"]

DEADLINE_MS = 30_000  # of each request: an answer cut short would look fast
MAX_PAUSE_S = 2.0  # longer pauses of a trace bring nothing: all that is read ahead has been read
STRETCH = 12  # keystrokes of one trace at least
TOKENS_A_REQUEST = "generated"  # field of an answer, in daemons that count what they decoded


@dataclass(frozen=True)
class Options:
    """How traces are replayed."""

    pace: float = (
        0.0  # of the trace's own pauses: 1.0 as typed, 0.0 the next key as soon as the answer is there
    )
    root: Path = Path("/")  # documents are opened under this folder; nothing is written there


@dataclass(frozen=True)
class Sample:
    """One request and its answer."""

    trace: str
    number: int  # of the event in its trace
    role: str  # cold: a buffer just opened, measured apart; first: of a trace; keystroke: all others
    kind: str  # model: it worked; cache: an answer without it; none: nothing to show, without it
    ms: float  # from before the change is sent to the whole answer
    text: str
    finish: str
    prefilled: int
    reused: int
    drafted: int
    accepted: int
    generated: int | None  # tokens decoded; None where the daemon does not say
    stages_ms: dict[str, float] = field(repr=False)
    prefix: str = field(repr=False)
    suffix: str = field(repr=False)
    language: str
    path: str


def replay(client: Client, trace: Trace, options: Options, advance: Callable[[int], None]) -> list[Sample]:
    """Open the document, type all events, close it; a sample for each insert event."""
    path = str(options.root / trace.path)
    opened = {"path": path, "text": trace.initial_text, "language": trace.language, "version": 0}
    client.call("document/open", opened)
    editor = _Editor(client, trace, path, trace.initial_text.split("\n"))
    samples: list[Sample] = []
    clock = _Clock(trace.events[0].t_ms, options.pace)
    cursor: tuple[int, int] | None = None
    for number, event in enumerate(trace.events):
        if options.pace:
            if cursor != (event.line, event.col):
                clock.wait(event, 0.5)  # somewhere in the pause the cursor comes here, and rests
                editor.warm(event.line, event.col)
            clock.wait(event, 1.0)
            clock.typed(event)
        apply_to_lines(editor.lines, event)
        cursor = event.cursor_after()
        if event.op == "delete":
            editor.change(event)
            continue
        samples.append(editor.type(number, event, "keystroke" if samples else "first"))
        advance(1)
    client.call("document/close", {"path": path})
    return samples


def windows(traces: Sequence[Trace], keystrokes: int, seed: int) -> list[Trace]:
    """About so many keystrokes, the same from each trace: a stretch of it from a random place.

    What was typed before a stretch stands in its initial text. Few keystrokes come from few traces: the
    first request of each costs a whole prompt. 0: all of every trace.
    """
    chance = random.Random(seed)
    order = sorted(traces, key=lambda trace: chance.random())
    if keystrokes:
        order = order[: -(-keystrokes // STRETCH)]
    cut: list[Trace] = []
    for number, trace in enumerate(order):
        share = -(-(keystrokes - sum(t.keystrokes for t in cut)) // (len(order) - number))
        if not keystrokes:
            share = trace.keystrokes
        if share > 0:
            cut.append(_window(trace, share, chance))
    return cut


def _window(trace: Trace, keystrokes: int, chance: random.Random) -> Trace:
    if keystrokes >= trace.keystrokes:
        return trace
    inserts = [i for i, event in enumerate(trace.events) if event.op == "insert"]
    first = chance.randrange(len(inserts) - keystrokes + 1)
    start, end = inserts[first], inserts[first + keystrokes - 1] + 1
    before = apply(trace.initial_text, trace.events[:start])
    events = trace.events[start:end]
    return Trace(trace.id, trace.path, trace.language, before, events, apply(before, events))


def cold_texts(
    traces: Sequence[Trace], count: int, tokens: int, count_tokens: Callable[[str], int], seed: object
) -> Iterator[str]:
    """Buffers of at most so many tokens, none like another: lines of the traces from a random place on."""
    chance = random.Random(f"cold {seed}")
    lines = [line for trace in traces for line in trace.final_text.split("\n") if len(line) <= 200]
    for _ in range(count):
        start = chance.randrange(len(lines))
        head, tail = f"# buffer {chance.random()}", "for name in "
        turned = lines[start:] + lines[:start]
        turned *= -(-tokens // len(turned))  # a line with its break is a token at least
        fitting = bisect.bisect_right(
            range(tokens), tokens, key=lambda n: count_tokens("\n".join([head, *turned[:n], tail]))
        )
        yield "\n".join([head, *turned[: fitting - 1], tail])


def cold(client: Client, name: str, text: str, options: Options) -> Sample:
    """Open a buffer and ask at its end at once; the time runs from before it is opened."""
    path = str(options.root / f"{name}.py")
    trace = Trace(name, f"{name}.py", "python", text, (), text)
    editor = _Editor(client, trace, path, text.split("\n"))
    sample = editor.open_and_ask(text)
    client.call("document/close", {"path": path})
    return sample


class _Clock:
    """When the next key is due."""

    def __init__(self, first_ms: int, pace: float) -> None:
        self._pace = pace
        self._last_ms = first_ms
        self._last = time.monotonic()

    def wait(self, event: Event, share: float) -> None:
        """Until that share of the pause before the event is over; an answer that took longer took it."""
        pause = min(MAX_PAUSE_S, (event.t_ms - self._last_ms) / 1000 * self._pace)
        time.sleep(max(0.0, self._last + pause * share - time.monotonic()))

    def typed(self, event: Event) -> None:
        self._last_ms, self._last = event.t_ms, time.monotonic()


class _Editor:
    """One open document at the other end of the socket."""

    def __init__(self, client: Client, trace: Trace, path: str, lines: list[str]) -> None:
        self.lines = lines
        self._client = client
        self._trace = trace
        self._path = path
        self._version = 0

    def change(self, event: Event) -> None:
        start = {"line": event.line - 1, "column": event.col}
        end = {"line": event.end_line - 1, "column": event.end_col} if event.op == "delete" else start
        text = "" if event.op == "delete" else event.text
        self._send([{"range": {"start": start, "end": end}, "text": text}])

    def type(self, number: int, event: Event, role: str) -> Sample:
        line, column = event.cursor_after()
        began = time.perf_counter()
        self.change(event)
        return self._ask(number, role, line - 1, column, began)

    def open_and_ask(self, text: str) -> Sample:
        began = time.perf_counter()
        self._client.notify(
            "document/open", {"path": self._path, "text": text, "language": "python", "version": 0}
        )
        return self._ask(0, "cold", len(self.lines) - 1, len(self.lines[-1]), began)

    def warm(self, line: int, column: int) -> None:
        """As editors do when the cursor comes to rest."""
        self._client.notify("warm", {"path": self._path, "position": {"line": line - 1, "column": column}})

    def _send(self, changes: list[dict[str, Any]]) -> None:
        self._version += 1
        params = {"path": self._path, "version": self._version, "changes": changes}
        self._client.notify("document/change", params)

    def _ask(self, number: int, role: str, line: int, column: int, began: float) -> Sample:
        position = {"line": line, "column": column}
        place = {"path": self._path, "position": position, "version": self._version}
        answer = self._client.call("complete", {**place, "deadline_ms": DEADLINE_MS})
        ms = (time.perf_counter() - began) * 1000
        if answer["text"]:
            self._client.notify("feedback", {"request_id": answer["request_id"], "kind": "shown"})
        return self._sample(number, role, line, column, ms, answer)

    def _sample(
        self, number: int, role: str, line: int, column: int, ms: float, answer: dict[str, Any]
    ) -> Sample:
        prefix = "\n".join([*self.lines[:line], self.lines[line][:column]])
        suffix = "\n".join([self.lines[line][column:], *self.lines[line + 1 :]])
        worked = answer["prefilled"] + answer["reused"] > 0
        return Sample(
            trace=self._trace.id,
            number=number,
            role=role,
            kind="model" if worked else "cache" if answer["source"] == "cache" else "none",
            ms=ms,
            text=answer["text"],
            finish=answer["finish"],
            prefilled=answer["prefilled"],
            reused=answer["reused"],
            drafted=answer["drafted"],
            accepted=answer["accepted"],
            generated=answer.get(TOKENS_A_REQUEST),
            stages_ms=answer["stages_ms"],
            prefix=prefix,
            suffix=suffix,
            language=self._trace.language,
            path=self._trace.path,
        )
