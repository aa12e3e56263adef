"""Bytes of a stream -> the JSON objects in it: server-sent events, or one object a line. Pure.

Servers differ: `data:` with or without a blank, comments that keep the connection alive, CRLF, no `[DONE]`,
a blank line before a body, one object that is no stream at all. All of that is read; what is no JSON raises
CloudError, as do an `error` inside a stream (they come with status 200) and a line without end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mccomd.errors import CloudError

__all__ = ["MAX_LINE_BYTES", "JsonLines", "ServerSentEvents", "error_in"]

MAX_LINE_BYTES = 262_144
DONE = b"[DONE]"
MAX_SAID = 300


class _Lines:
    """Whole lines out of pieces; LF, CRLF and CR end one."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        held = b""
        if data.endswith(b"\r"):  # half of a CRLF, perhaps
            data, held = data[:-1], b"\r"
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        if len(self._rest) > MAX_LINE_BYTES:
            raise CloudError(f"the endpoint sent a line of more than {MAX_LINE_BYTES} bytes")
        return lines

    def end(self) -> list[bytes]:
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        return [rest] if rest else []


class ServerSentEvents:
    """The objects of `text/event-stream`; `done` once `[DONE]` has come."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._data: list[bytes] = []
        self._bare = False
        self.done = False

    def feed(self, data: bytes) -> Sequence[dict[str, Any]]:
        return self._take(self._lines.feed(data))

    def end(self) -> Sequence[dict[str, Any]]:
        return self._take([*self._lines.end(), b""])

    def _take(self, lines: list[bytes]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            if self.done:
                break
            name, _, value = line.partition(b":")
            if not line:
                found += self._event()
            elif name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif self._bare or line[:1] in (b"{", b"["):  # the server does not stream, or reports an error so
                self._bare = True
                self._data.append(line)
        return found

    def _event(self) -> list[dict[str, Any]]:
        data, self._data, self._bare = b"\n".join(self._data).strip(), [], False
        if data == DONE:
            self.done = True
        if not data or self.done:
            return []
        return [_object(data)]


class JsonLines:
    """One object a line, as Ollama sends; `done` once one says so."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self.done = False

    def feed(self, data: bytes) -> Sequence[dict[str, Any]]:
        return self._take(self._lines.feed(data))

    def end(self) -> Sequence[dict[str, Any]]:
        return self._take(self._lines.end())

    def _take(self, lines: list[bytes]) -> list[dict[str, Any]]:
        found = [_object(line.strip()) for line in lines if line.strip() and not self.done]
        self.done = self.done or any(item.get("done") is True for item in found)
        return found


def error_in(body: Any) -> str:
    """What a body says went wrong, in a line; "" when it says nothing of the kind."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error") or (body if body.get("object") == "error" else None)
    if not error and "detail" in body and "choices" not in body:
        error = body["detail"]
    if not error:
        return ""
    said = (error.get("message") or error.get("type") or error) if isinstance(error, Mapping) else error
    return " ".join(str(said).split())[:MAX_SAID] or "an error without words"


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CloudError("the endpoint sent what is no JSON") from error
    if not isinstance(found, dict):
        raise CloudError(f"the endpoint sent a {type(found).__name__}, an object is expected")
    if said := error_in(found):
        raise CloudError(f"the endpoint reports: {said}")
    return found
