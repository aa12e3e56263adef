"""A fake daemon for the mechanics of an editor client: its answers are chosen by the test.

It keeps the texts it is told with the daemon's own `Documents`, so that a test can compare them with the
buffer, and it parses every message as strictly as the daemon does.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvim_driver import poll

from mccomd import protocol
from mccomd.documents import Documents
from mccomd.errors import MccomdError, RequestError
from mccomd.protocol import PositionEncoding
from mccomd.rpc import Decoder, Notification, Request, Response, encode

__all__ = ["ScriptedPeer", "completion"]

_numbers = itertools.count(1)


def completion(text: str, **fields: Any) -> dict[str, Any]:
    """A result of `complete` with a request id of its own."""
    base = {
        "request_id": f"r{next(_numbers)}", "text": text, "source": "local" if text else "none",
        "model": "fake", "confidence": 0.9, "ms": 1.0, "finish": "stop", "reason": "", "route": "",
        "snippets": [], "stages_ms": {}, "prefilled": 0, "reused": 0,
        "drafted": 0, "accepted": 0, "generated": 0,
    }  # fmt: skip
    return {**base, **fields}


class ScriptedPeer:
    """Listens on a Unix socket; one thread a client. `answers` maps a method to f(params) -> result.

    An answer of None is never sent: the test sends it later, with `reply`. `torn` writes byte by byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received: list[
            tuple[str, dict[str, Any]]
        ] = []  # (method, parameters), requests and notifications
        self.open_requests: dict[str, list[int]] = {}  # ids of unanswered requests by method
        self.violations: list[str] = []
        self.documents = Documents(PositionEncoding.UTF8)
        self.torn = False
        self.connections = 0
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "initialize": lambda params: {
                "server": "fake", "version": "0", "protocol": protocol.PROTOCOL_VERSION,
                "position_encoding": params["position_encoding"], "methods": list(protocol.METHODS),
                "max_message_bytes": 8388608,
            },
            "complete": lambda params: completion(""),
        }  # fmt: skip
        self._client: socket.socket | None = None
        self._closed = False
        self._listener = self._listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        return listener

    def __enter__(self) -> ScriptedPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.hang_up()
        self._listener.close()

    def hang_up(self) -> None:
        """Close the connection, as a daemon that is killed does."""
        if self._client is not None:
            client, self._client = self._client, None
            client.shutdown(socket.SHUT_RDWR)
            client.close()

    def parameters(self, method: str) -> list[dict[str, Any]]:
        """Of all messages of that method so far."""
        return [params for name, params in list(self.received) if name == method]

    def wait(self, method: str, count: int = 1) -> dict[str, Any]:
        """The parameters of the count-th message of that method, as soon as it is here."""
        poll(
            lambda: len(self.parameters(method)) >= count,
            f"{count} x {method}; received {self.received[-5:]}",
        )
        return self.parameters(method)[count - 1]

    def text(self, path: Path) -> str | None:
        document = self.documents.get(str(path))
        return document.text if document else None

    def reply(self, method: str, result: Any, error: list[str] | None = None) -> None:
        """Answer the oldest unanswered request of that method."""
        poll(lambda: self.open_requests.get(method), f"a request of {method}")
        self._send(Response(self.open_requests[method].pop(0), error, result))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self._send(Notification(method, params))

    def send_bytes(self, data: bytes) -> None:
        client = self._client
        if client is None:
            raise OSError("hung up")
        for piece in [data[i : i + 1] for i in range(len(data))] if self.torn else [data]:
            client.sendall(piece)

    def _send(self, message: Request | Response | Notification) -> None:
        self.send_bytes(encode(message))

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._client, self.documents = client, Documents(PositionEncoding.UTF8)
            self.connections += 1
            self.open_requests = {}
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        decoder = Decoder()
        try:
            while data := client.recv(1 << 16):
                for message in decoder.feed(data):
                    self._handle(message)
        except OSError:
            return
        except MccomdError as error:
            self.violations.append(str(error))

    def _handle(self, message: Request | Response | Notification) -> None:
        if isinstance(message, Response):
            return
        error = self._apply(message.method, message.params)
        self.received.append((message.method, message.params))
        if isinstance(message, Notification):
            return
        answer = self.answers.get(message.method, lambda params: {})
        result = None if error else answer(message.params)
        if error or isinstance(result, list):  # a list is an error [code, message]
            self._send(Response(message.id, error or result, None))
        elif result is not None:
            self._send(Response(message.id, None, result))
        else:
            self.open_requests.setdefault(message.method, []).append(message.id)

    def _apply(self, method: str, raw: Any) -> list[str] | None:
        try:
            params = protocol.parse(protocol.METHODS[method], raw)
            match params:
                case protocol.DocumentOpen():
                    self.documents.open(params)
                case protocol.DocumentChange():
                    self.documents.change(params)
                case protocol.DocumentClose():
                    self.documents.close(params.path)
                case protocol.CompleteParams():
                    document = self.documents.require(params.path)
                    if document.version != params.version:
                        self.violations.append(f"asked version {params.version}, told {document.version}")
        except (RequestError, KeyError) as error:
            self.violations.append(f"{method}: {error}")
            return ["bad_params", str(error)]
        return None
