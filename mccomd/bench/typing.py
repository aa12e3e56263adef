"""A trace typed in real time by somebody who does not wait: what stands on the screen, and when.

The next key is hit when it is due, whether or not an answer has come; a request is what an editor sends at
each key. Knows the daemon only by its socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mccomd.bench.modelled import Place
from mccomd.bench.traces import Trace, apply_to_lines
from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError

__all__ = ["MAX_PAUSE_S", "Keystroke", "Listening", "places_of", "type_trace"]

MAX_PAUSE_S = 2.0  # of a trace's pauses: longer ones show nothing new
LAST_S = 2.0  # for what is still to come after a trace's last key


@dataclass
class Keystroke:
    """One request and what it put on the screen until the next key; times in ms since the key."""

    place: Place
    began: float  # time.monotonic() seconds
    gap_ms: float = 0.0  # until the next key
    request: int = 0
    request_id: str = ""
    source: str = ""
    route: str = ""
    shown: list[tuple[float, str, str]] = field(default_factory=list)  # (ms, text, source), in order

    @property
    def final(self) -> str:
        return self.shown[-1][1] if self.shown else ""


def places_of(trace: Trace) -> list[Place]:
    """The cursor behind each insert event, with what its author typed next there."""
    lines = trace.initial_text.split("\n")
    found = []
    for number, event in enumerate(trace.events):
        apply_to_lines(lines, event)
        if event.op == "insert":
            line, column = event.cursor_after()
            prefix = "\n".join([*lines[: line - 1], lines[line - 1][:column]])
            suffix = "\n".join([lines[line - 1][column:], *lines[line:]])
            found.append(Place(prefix, suffix, trace.language, _typed_next(trace, number)))
    return found


def _typed_next(trace: Trace, number: int) -> str:
    """What follows at the same place up to the end of the line."""
    text = ""
    cursor = trace.events[number].cursor_after()
    for event in trace.events[number + 1 :]:
        if event.op != "insert" or (event.line, event.col) != cursor:
            break
        head, broke, _ = event.text.partition("\n")
        text += head
        if broke:
            break
        cursor = event.cursor_after()
    return text


class Listening(Client):
    """A connection whose messages are taken as they come, with their time."""

    def listen(self, until: float, take: Callable[[float], None]) -> None:
        while time.monotonic() < until:
            try:
                self._read(until)
            except DaemonUnavailableError as error:
                if "in time" not in str(error):
                    raise
            take(time.monotonic())

    def answer_to(self, request: int) -> dict[str, Any] | None:
        response = self._answers.pop(request, None)
        return None if response is None or response.error is not None else dict(response.result)

    def updates(self) -> list[dict[str, Any]]:
        found = [n.params for n in self.notifications if n.method == "update"]
        self.notifications.clear()
        return found


def type_trace(
    client: Listening, trace: Trace, root: str, pace: float, advance: Callable[[int], None]
) -> list[Keystroke]:
    """Open the document, type all of it, close it."""
    path = f"{root}/{trace.path}"
    client.call(
        "document/open", {"path": path, "text": trace.initial_text, "language": trace.language, "version": 0}
    )
    places = iter(places_of(trace))
    typed: list[Keystroke] = []
    last_ms, last = trace.events[0].t_ms, time.monotonic()
    for version, event in enumerate(trace.events, start=1):
        due = last + min(MAX_PAUSE_S, (event.t_ms - last_ms) / 1000 * pace)
        _watch(client, typed, due)
        last_ms, last = event.t_ms, time.monotonic()
        if typed and not typed[-1].gap_ms:
            typed[-1].gap_ms = (last - typed[-1].began) * 1000
        client.notify("document/change", {"path": path, "version": version, "changes": [_change(event)]})
        if event.op == "insert":
            line, column = event.cursor_after()
            key = Keystroke(next(places), began=last)
            position = {"line": line - 1, "column": column}
            key.request = client.send(
                "complete", {"path": path, "position": position, "version": version, "deadline_ms": 10_000}
            )
            typed.append(key)
            advance(1)
    _watch(client, typed, time.monotonic() + LAST_S)
    if typed:
        typed[-1].gap_ms = LAST_S * 1000
    client.call("document/close", {"path": path})
    return typed


def _watch(client: Listening, typed: list[Keystroke], until: float) -> None:
    """Take in what comes until the next key is due; only what belongs to the newest request is shown."""
    key = typed[-1] if typed else None

    def take(now: float) -> None:
        if key is None:
            client.updates()
            return
        ms = (now - key.began) * 1000
        answer = client.answer_to(key.request)
        if answer is not None:
            key.request_id, key.source, key.route = answer["request_id"], answer["source"], answer["route"]
            if answer["text"]:
                key.shown.append((ms, answer["text"], answer["source"]))
                client.notify("feedback", {"request_id": key.request_id, "kind": "shown"})
        for update in client.updates():
            if update["request_id"] == key.request_id and update["text"] != key.final:
                key.shown.append((ms, update["text"], update["source"]))

    client.listen(until, take)


def _change(event: Any) -> dict[str, Any]:
    start = {"line": event.line - 1, "column": event.col}
    end = {"line": event.end_line - 1, "column": event.end_col} if event.op == "delete" else start
    return {"range": {"start": start, "end": end}, "text": "" if event.op == "delete" else event.text}
