"""How an answer is read: under a cap of bytes, a deadline, and a limit of silence.

Knows no httpx: the body comes as pieces, the transport's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from mccomd.cloud.sse import error_in
from mccomd.errors import CloudError
from mccomd.outgoing import Call, CloudReport, Parser

__all__ = ["MAX_RESPONSE_BYTES", "HttpResponse"]

T = TypeVar("T")

MAX_RESPONSE_BYTES = 8_388_608
_TO_HTML = "the endpoint sent a web page and no answer: is cloud.url right, and is there no login before it?"


class HttpResponse:
    """An answer being read. Every byte counts against the cap, every wait against the deadline."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        raw: AsyncGenerator[bytes, None],
        close: Callable[[], Awaitable[None]],
        call: Call,
        stall_s: float,
    ) -> None:
        """headers: names in lower case. raw: the body as it comes; raises CloudError where it breaks off."""
        self.status = status
        self.headers = headers
        self._raw = raw
        self._close = close
        self._deadline = call.deadline
        self._report: CloudReport = call.report
        self._stall_s = stall_s
        self.spoke = False  # payload has come
        self.whole = False  # and all of it

    async def events(self, parser: Parser[T]) -> AsyncGenerator[T, None]:
        """What the parser finds, as it comes. A comment is no payload: it does not put off giving up."""
        self._refuse_pages()
        last: float | None = None
        pieces = self._pieces(MAX_RESPONSE_BYTES)
        async with contextlib.aclosing(pieces):
            while True:
                stalled = None if last is None else last + self._stall_s
                until = self._deadline if stalled is None else min(self._deadline, stalled)
                try:
                    async with asyncio.timeout_at(until):
                        found = parser.feed(await anext(pieces))
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    late = until == self._deadline
                    words = "no whole answer within the deadline" if late else "the answer stalled"
                    raise CloudError(words, passing=True) from error
                if found:
                    last, self.spoke = time.monotonic(), True
                for event in found:
                    yield event
            for event in parser.end():
                self.spoke = True
                yield event

    async def json(self) -> Any:
        """Raises CloudError: no JSON, or more than MAX_RESPONSE_BYTES."""
        self._refuse_pages()
        text = await self.text()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CloudError("the endpoint sent what is no JSON") from error
        if said := error_in(found):
            raise CloudError(f"the endpoint reports: {said}")
        return found

    async def text(self, limit: int = MAX_RESPONSE_BYTES) -> str:
        try:
            async with asyncio.timeout_at(self._deadline):
                body = b"".join([piece async for piece in self._pieces(limit)])
        except TimeoutError as error:
            raise CloudError("no whole answer within the deadline", passing=True) from error
        self.spoke = True
        return body.decode("utf-8", "replace")

    async def aclose(self) -> None:
        await self._close()

    def _refuse_pages(self) -> None:
        if self.headers.get("content-type", "").lstrip().lower().startswith("text/html"):
            raise CloudError(_TO_HTML)

    async def _pieces(self, limit: int) -> AsyncGenerator[bytes, None]:
        read = 0
        async for piece in self._raw:
            read += len(piece)
            self._report.bytes_received += len(piece)
            if read > limit:
                raise CloudError(f"the answer has more than {limit} bytes")
            yield piece
        self.whole = True
