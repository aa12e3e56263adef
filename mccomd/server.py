"""The socket: read, dispatch, answer exactly once, supersede, shut down.

Everything a client can do wrong ends here, as an error or a closed connection. Knows every method by name
and none of what it takes to meet it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from mccomd import __version__, protocol
from mccomd.daemon import Daemon
from mccomd.documents import Documents, split_at
from mccomd.errors import MccomdError, ProtocolError, RequestError
from mccomd.protocol import ErrorCode
from mccomd.rpc import MAX_MESSAGE_BYTES, Decoder, Message, Notification, Request, Response, encode
from mccomd.task import Task
from mccomd.types import CancelToken, Document

__all__ = ["Connection", "Server"]

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
MAX_RUNNING = 64
"""Requests of one client that may be under way at once; more are answered `too_busy`."""
MAX_UNSENT_BYTES = 4 * MAX_MESSAGE_BYTES
"""A client that does not read its answers is cut off at so many unsent bytes."""
MAX_CLIENTS = 256


class Server:
    """Serves one daemon on one Unix socket."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._connections: set[Connection] = set()
        self.stopping = asyncio.Event()

    @property
    def clients(self) -> int:
        return len(self._connections)

    async def serve(self, listener: socket.socket) -> None:
        """Serve until `stopping` is set; every request already read is answered first."""
        server = await asyncio.start_unix_server(self._accept, sock=listener)
        try:
            await self.stopping.wait()
        finally:
            server.close()
            await asyncio.gather(*(connection.close() for connection in list(self._connections)))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        problem = _why_refused(writer.get_extra_info("socket"), self.clients)
        if problem:
            log.warning("connection refused: %s", problem)
            writer.close()
            return
        connection = Connection(self, self._daemon, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


def _why_refused(peer: socket.socket, clients: int) -> str:
    if clients >= MAX_CLIENTS:
        return f"{MAX_CLIENTS} clients are connected"
    uid = peer_uid(peer)
    return f"peer has uid {uid}, not ours" if uid not in (None, os.getuid()) else ""


def peer_uid(peer: socket.socket) -> int | None:
    """The user on the other side; None where the system does not tell (the socket's mode guards there)."""
    if sys.platform == "linux":
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    return None


class Connection:
    """One client: its documents, its sessions and its requests under way."""

    _ids = itertools.count(1)

    def __init__(
        self, server: Server, daemon: Daemon, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._daemon = daemon
        self._reader = reader
        self._writer = writer
        self._documents = Documents()
        self._sessions = daemon.new_sessions()
        self._running: set[asyncio.Task[None]] = set()
        self._name = f"client-{next(self._ids)}"
        self._requests = itertools.count(1)
        self._closing = False
        self._updates = False

    async def run(self) -> None:
        """Read until the client leaves; never raises."""
        decoder = Decoder()
        try:
            while data := await self._reader.read(READ_BYTES):
                for message in decoder.feed(data):
                    self._dispatch(message)
        except ProtocolError as error:
            for message in error.read:
                self._dispatch(message)
            await self._refuse_stream(error)
        except (ConnectionError, OSError) as error:
            log.info("%s: %s", self._name, error)
        finally:
            self._leave()

    async def close(self) -> None:
        """Answer what is under way as cancelled, then hang up."""
        self._closing = True
        self._sessions.cancel_all(time.monotonic())
        if self._running:
            await asyncio.wait(self._running, timeout=2.0)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._writer.close()

    def _leave(self) -> None:
        self._sessions.cancel_all(time.monotonic())
        self._daemon.left(self)
        for task in self._running:
            task.cancel()
        self._writer.close()

    async def _refuse_stream(self, error: ProtocolError) -> None:
        log.warning("%s: %s", self._name, error)
        if self._running:  # these were whole requests: they are still owed their answer
            await asyncio.wait(self._running, timeout=5.0)
        self._send(Response(None, [ErrorCode.BAD_REQUEST, str(error)], None))
        try:
            async with asyncio.timeout(1.0):
                await self._writer.drain()
        except (TimeoutError, ConnectionError):
            return

    def _send(self, message: Message) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning("%s does not read its answers: connection closed", self._name)
            transport.abort()
            return
        self._writer.write(encode(message))

    def _notify(self, method: str, params: msgspec.Struct) -> None:
        self._send(Notification(method, protocol.to_wire(params)))

    # --- one message ----------------------------------------------------------------------------

    def _dispatch(self, message: Message) -> None:
        """Documents change here and now, in order; everything else becomes a task."""
        match message:
            case Request(id, method, params):
                self._answer(id, lambda: self._begin(method, params))
            case Notification(method, params):
                self._answer(None, lambda: self._begin(method, params))
            case Response():
                log.info("%s: an answer to nothing was ignored", self._name)

    def _answer(self, id: int | None, begin: Callable[[], Awaitable[Any] | Any]) -> None:
        """Run `begin` now; answer with its value, or with what it awaits to."""
        try:
            value = begin()
        except Exception as error:  # noqa: BLE001 - every request is answered
            self._reply_error(id, error)
            return
        if not isinstance(value, Awaitable):
            self._reply(id, value)
            return
        task = asyncio.ensure_future(self._answer_later(id, value))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer_later(self, id: int | None, value: Awaitable[Any]) -> None:
        try:
            result = await value
        except asyncio.CancelledError:
            self._reply_error(id, RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down"))
            raise
        except Exception as error:  # noqa: BLE001 - every request is answered
            self._reply_error(id, error)
        else:
            self._reply(id, result)

    def _reply(self, id: int | None, result: Any) -> None:
        if id is not None:
            self._send(Response(id, None, protocol.to_wire(result)))

    def _reply_error(self, id: int | None, error: Exception) -> None:
        if isinstance(error, RequestError):
            code, text = error.code, str(error)
        elif isinstance(error, MccomdError):
            code, text = ErrorCode.INTERNAL, str(error)
        else:
            log.exception("%s: a request failed", self._name, exc_info=error)
            code, text = ErrorCode.INTERNAL, f"{type(error).__name__}: {error} (see the daemon's log)"
        if id is None:
            log.info("%s: notification failed: %s: %s", self._name, code, text)
        else:
            self._send(Response(id, [str(code), text], None))

    def _begin(self, method: str, raw: Any) -> Any:
        kind = protocol.METHODS.get(method)
        if kind is None:
            known = ", ".join(protocol.METHODS)
            raise RequestError(ErrorCode.UNKNOWN_METHOD, f"no method {method[:100]!r}; there are: {known}")
        if len(self._running) >= MAX_RUNNING:
            raise RequestError(ErrorCode.TOO_BUSY, f"{MAX_RUNNING} requests of this client are under way")
        if self._closing:
            raise RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
        params = protocol.parse(kind, raw)
        match params:
            case protocol.InitializeParams():
                return self._initialize(params)
            case protocol.DocumentOpen():
                return self._opened(self._documents.open(params))
            case protocol.DocumentChange():
                document = self._documents.change(params)
                self._daemon.edited(self, document)
                self._sessions.text_is(document, time.monotonic())
                return protocol.Empty()
            case protocol.DocumentClose():
                return self._closed(params)
            case protocol.CompleteParams():
                return self._complete(params)
            case protocol.CloudParams():
                return self._daemon.cloud(params)
            case protocol.WarmParams():
                return self._warm(params)
            case protocol.Feedback():
                return self._feedback(params)
            case protocol.RefreshParams():
                return self._daemon.refresh(params, lambda p: self._notify(protocol.NOTIFY_PROGRESS, p))
            case protocol.SearchParams():
                return self._daemon.search(params)
            case protocol.PreviewParams():
                return self._preview(params)
            case protocol.ExplainParams():
                return self._daemon.explain(params)
            case protocol.TuneParams():
                return self._daemon.tune(params)
        if method == "status":
            return self._daemon.status(self._server.clients)
        return self._shutdown()

    # --- methods that concern this connection ---------------------------------------------------

    def _initialize(self, params: protocol.InitializeParams) -> protocol.InitializeResult:
        if params.client:
            self._name = f"{self._name} ({params.client} {params.version})".rstrip()
        self._documents.encoding = params.position_encoding
        self._updates = params.updates
        return protocol.InitializeResult(
            server="mccomd",
            version=__version__,
            protocol=protocol.PROTOCOL_VERSION,
            position_encoding=params.position_encoding,
            methods=list(protocol.METHODS),
            max_message_bytes=MAX_MESSAGE_BYTES,
        )

    def _opened(self, document: Document) -> protocol.Empty:
        self._sessions.text_is(document, time.monotonic())
        self._daemon.edited(self, document)
        self._daemon.touch(document.path)
        return protocol.Empty()

    def _closed(self, params: protocol.DocumentClose) -> protocol.Empty:
        self._documents.close(params.path)
        self._daemon.closed(self, params.path)
        self._sessions.forget(params.path, time.monotonic())
        return protocol.Empty()

    def _feedback(self, params: protocol.Feedback) -> protocol.Empty:
        self._sessions.feedback(params, time.monotonic())
        self._daemon.count_feedback(params.kind)
        return protocol.Empty()

    def _shutdown(self) -> protocol.Empty:
        log.info("%s asked for shutdown", self._name)
        # After this answer has been written.
        asyncio.get_running_loop().call_soon(self._server.stopping.set)
        return protocol.Empty()

    def _complete(self, params: protocol.CompleteParams) -> Awaitable[protocol.Completion]:
        task = self._task(self._document_of(params), params.position)
        self._sessions.cursor_is(task.document, task.prefix, task.suffix, task.started)
        task.session.supersede(task.cancel, task.prefix, task.suffix)
        return self._daemon.complete(
            replace(task, deadline_ms=params.deadline_ms, max_tokens=params.max_tokens, wait=params.wait)
        )

    def _warm(self, params: protocol.WarmParams) -> Awaitable[protocol.WarmResult]:
        return self._daemon.warm(self._task(self._documents.require(params.path), params.position))

    def _preview(self, params: protocol.PreviewParams) -> Awaitable[protocol.PreviewResult]:
        text = protocol.CompleteParams(params.path, params.position, params.text, params.language)
        task = self._task(self._documents.adhoc(text), params.position)
        # Sessions of its own: a preview says nothing about what the user does.
        return self._daemon.preview(
            replace(task, sessions=self._daemon.new_sessions(), deadline_ms=params.deadline_ms)
        )

    def _task(self, document: Document, position: protocol.Position) -> Task:
        prefix, suffix = split_at(document.text, position, self._documents.encoding)
        return Task(
            request_id=f"{self._name.split()[0]}-{next(self._requests)}",
            document=document,
            position=position,
            prefix=prefix,
            suffix=suffix,
            others=self._documents.others(document.path),
            cancel=CancelToken(),
            sessions=self._sessions,
            send_update=lambda update: self._notify(protocol.NOTIFY_UPDATE, update),
            updates=self._updates,
            encoding=self._documents.encoding,
        )

    def _document_of(self, params: protocol.CompleteParams) -> Document:
        """The text that is meant; raises RequestError(unknown_document, stale_version)."""
        if params.text is not None:
            return self._documents.adhoc(params)
        document = self._documents.require(params.path)
        if params.version not in (None, document.version):
            raise RequestError(
                ErrorCode.STALE_VERSION,
                f"version {params.version} of {params.path} is asked for, the daemon has {document.version}",
            )
        return document
