"""What a part is asked with in a test: queries, evidence, requests, a context, a network that is none."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mccomd.errors import CloudError
from mccomd.hooks import Evidence, PluginContext
from mccomd.outgoing import Call, CloudRequest, Endpoint, Parser
from mccomd.types import Query, Snippet

__all__ = ["FakeTransport", "context", "evidence", "query", "request"]

T = TypeVar("T")


def query(prefix: str = "import os\nx = ", suffix: str = "\n", **more: Any) -> Query:
    """A query as the daemon makes them; `more` replaces any of its fields."""
    plain = Query("/project/a.py", "a.py", "/project", "python", prefix, suffix, 4)
    return replace(plain, **more)


def evidence(*probabilities: float, **more: Any) -> Evidence:
    """Evidence for a router; `more` replaces any of its fields."""
    plain = Evidence(probabilities, "value", "python", "x = ", "\n", None)
    return replace(plain, **more)


def request(prefix: str = "x = ", suffix: str = "\n", **more: Any) -> CloudRequest:
    """A request for a backend, with five seconds; `more` replaces any of its fields."""
    deadline = time.monotonic() + 5.0
    plain = CloudRequest(prefix, suffix, "python", "a.py", (), "draft", 48, deadline, request_id="test-1")
    return replace(plain, **more)


def context(
    options: Mapping[str, Any] | None = None, hits: Sequence[Snippet] = (), **more: Any
) -> PluginContext:
    """A context whose search finds `hits`; with transport= and endpoint= for backends."""

    def search(
        repository: str, text: str | Sequence[tuple[str, float]], limit: int, /, *, without: str = ""
    ) -> Sequence[Snippet]:
        return [hit for hit in hits if hit.path != without][:limit]

    return PluginContext(options or {}, search, **more)


@dataclass
class FakeTransport:
    """Stands for the network: each call is answered with the next of `answers`, and kept in `calls`.

    An answer is bytes, a list of pieces of bytes, or an exception to raise; None never comes. `open` is the
    number of answers that were begun and not left.
    """

    answers: list[bytes | list[bytes] | Exception | None] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    open: int = 0

    def endpoint(self, url: str = "https://api.example/v1", **more: Any) -> Endpoint:
        return Endpoint(url, **more)

    @asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[_FakeResponse]:
        self.calls.append(call)
        if not self.answers:
            raise CloudError("no connection: the fake transport has no answer left")
        answer = self.answers.pop(0)
        self.open += 1
        try:
            if isinstance(answer, Exception):
                raise answer
            yield _FakeResponse([answer] if isinstance(answer, bytes) else answer, call.deadline)
        finally:
            self.open -= 1


@dataclass
class _FakeResponse:
    pieces: list[bytes] | None
    deadline: float
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def events(self, parser: Parser[T]) -> AsyncIterator[T]:
        async for piece in self._pieces():
            for event in parser.feed(piece):
                yield event
        for event in parser.end():
            yield event

    async def text(self) -> str:
        return b"".join([piece async for piece in self._pieces()]).decode("utf-8", "replace")

    async def json(self) -> Any:
        try:
            return json.loads(await self.text())
        except ValueError as error:
            raise CloudError("the endpoint sent what is no JSON") from error

    async def _pieces(self) -> AsyncIterator[bytes]:
        if self.pieces is None:
            await asyncio.Event().wait()
        for piece in self.pieces or ():
            await asyncio.sleep(0)
            yield piece
