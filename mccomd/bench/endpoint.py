"""An endpoint of our own, byte by byte: what no decent server does can be made to happen.

For measuring what a misbehaving large model does to local answers, and for the tests. Runs in a thread, so
that a daemon in another process and a caller in this one can both talk to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FAULTS", "Handler", "Out", "Peer", "Received", "fault"]

FOREVER_S = 3600.0


@dataclass
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)
    left: threading.Event = field(default_factory=threading.Event)  # the client went before the end

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


class Out:
    """The answer being written."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, item: Any) -> None:
        await self.chunk(f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n")

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def json(self, item: Any, status: int = 200, **headers: str) -> None:
        await self.head(status, "application/json", **headers)
        await self.chunk(json.dumps(item))
        await self.end()


Handler = Callable[[Received, Out], Awaitable[None]]


class Peer:
    """A running server; a context manager. `handler` may be replaced while it runs."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self._tls = tls
        self.received: list[Received] = []
        self.arrived = threading.Semaphore(0)  # released for each request
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls), self._loop
        )
        self._server = started.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def posted(self, path: str = "") -> list[Received]:
        return [r for r in self.received if r.method == "POST" and r.path.startswith(path)]

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while request := await _read(reader, number):
                self.received.append(request)
                self.arrived.release()
                work = asyncio.ensure_future(self.handler(request, Out(writer)))
                gone = asyncio.ensure_future(reader.read(1))  # nothing comes before the answer has gone
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    request.left.set()
                    work.cancel()
                    await asyncio.gather(work, gone, return_exceptions=True)
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                if work.exception() is not None or writer.is_closing():
                    request.left.set()
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client has gone, or the whole endpoint ends
        finally:
            with contextlib.suppress(Exception):
                writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body, connection)


# --- faults: each answers like a completions endpoint that went wrong -------------------------------


def _words(*texts: str) -> Iterator[dict[str, Any]]:
    for text in texts:
        yield {"choices": [{"index": 0, "text": text, "finish_reason": None}]}


async def too_many(request: Received, out: Out) -> None:
    await out.json({"error": {"message": "slow down"}}, 429, retry_after="7")


async def overloaded(request: Received, out: Out) -> None:
    await out.json({"error": "no capacity"}, 503, retry_after_ms="1500")


async def internal(request: Received, out: Out) -> None:
    await out.json({"detail": "out of memory"}, 500)


async def forbidden(request: Received, out: Out) -> None:
    await out.json({"error": {"message": "this key may not"}}, 403)


async def silent(request: Received, out: Out) -> None:
    await asyncio.sleep(FOREVER_S)


async def stall(request: Received, out: Out) -> None:
    await out.head()
    await out.event(next(_words("half")))
    await asyncio.sleep(FOREVER_S)


async def keep_alive_for_ever(request: Received, out: Out) -> None:
    await out.head()
    await out.event(next(_words("half")))
    while True:
        await out.chunk(": keep-alive\n\n")
        await asyncio.sleep(0.01)


async def error_inside(request: Received, out: Out) -> None:
    await out.head()
    await out.event(next(_words("half")))
    await out.event({"error": {"message": "the engine died", "code": 500}})
    await out.event("[DONE]")
    await out.end()


async def cut(request: Received, out: Out) -> None:
    await out.head()
    await out.raw(b'40\r\ndata: {"choices": [{"te')
    out.writer.close()


async def slow_drip(request: Received, out: Out) -> None:
    await out.head()
    data = b"".join(f"data: {json.dumps(item)}\n\n".encode() for item in _words("a", "b"))
    for i in range(len(data)):
        await out.chunk(data[i : i + 1])
        await asyncio.sleep(0.05)
    await out.end()


async def wrong_json(request: Received, out: Out) -> None:
    await out.head()
    await out.event('{"choices": [{"text": "x"')
    await out.end()


async def other_shape(request: Received, out: Out) -> None:
    await out.head()
    await out.event({"choices": [{"text": ["a", 1]}, 3]})
    await out.event({"choices": "none"})
    await out.end()


async def huge(request: Received, out: Out) -> None:
    await out.head()
    while True:
        await out.event(next(_words("x" * 100_000)))


async def endless_line(request: Received, out: Out) -> None:
    await out.head()
    while True:
        await out.chunk(b"x" * 100_000)


async def web_page(request: Received, out: Out) -> None:
    await out.head(200, "text/html")
    await out.chunk("<html><body>Sign in to the guest network</body></html>")
    await out.end()


async def moved(request: Received, out: Out) -> None:
    await out.json({}, 302, location="http://127.0.0.1:9/elsewhere")


async def garbage(request: Received, out: Out) -> None:
    await out.raw(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
    out.writer.close()


async def hang_up(request: Received, out: Out) -> None:
    out.writer.close()


FAULTS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        too_many, overloaded, internal, forbidden, silent, stall, keep_alive_for_ever, error_inside, cut,
        slow_drip, wrong_json, other_shape, huge, endless_line, web_page, moved, garbage, hang_up,
    )
}  # fmt: skip


def fault(name: str) -> Handler:
    return FAULTS[name]
