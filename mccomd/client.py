"""A small blocking client of the daemon: what the command line, the tests and editor authors read first.

with Client(find_paths().socket) as client:
    client.call("initialize", {"client": "example"})
    place = {"path": "/tmp/a.py", "position": {"line": 0, "column": 6}}
    answer = client.call("complete", {**place, "text": "def f("})
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mccomd.errors import DaemonUnavailableError, RequestError
from mccomd.rpc import Decoder, Notification, Request, Response, encode

__all__ = ["Client"]

DEFAULT_TIMEOUT_S = 30.0
_READ_BYTES = 256 * 1024


class Client:
    """One connection. Not for several threads at once."""

    def __init__(self, path: Path, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Raises DaemonUnavailableError when nobody listens on `path`."""
        self._timeout_s = timeout_s
        self._decoder = Decoder(max_message_bytes=2**31 - 2**21)  # what the daemon sends is trusted
        self._answers: dict[int, Response] = {}
        self._next_id = 0
        self.notifications: deque[Notification] = deque(maxlen=10_000)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise DaemonUnavailableError(
                f"no daemon listens on {path} ({error.strerror}): start it with `mccomd start`"
            ) from error

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        on_notification: Callable[[Notification], None] | None = None,
    ) -> Any:
        """The result of one request.

        Raises RequestError for an error answer, DaemonUnavailableError when the connection ends or the
        time is up.
        """
        return self.result(self.send(method, params), timeout_s=timeout_s, on_notification=on_notification)

    def send(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request without waiting; its id."""
        self._next_id += 1
        self._write(encode(Request(self._next_id, method, dict(params or {}))))
        return self._next_id

    def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        self._write(encode(Notification(method, dict(params or {}))))

    def result(
        self,
        id: int,
        *,
        timeout_s: float | None = None,
        on_notification: Callable[[Notification], None] | None = None,
    ) -> Any:
        """The result of the request `id`; other answers and notifications met on the way are kept."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while id not in self._answers:
            self._read(deadline)
            while on_notification and self.notifications:
                on_notification(self.notifications.popleft())
        answer = self._answers.pop(id)
        if answer.error is not None:
            raise RequestError(answer.error[0], answer.error[1])
        return answer.result

    def wait_notification(self, method: str, timeout_s: float | None = None) -> Any:
        """The parameters of the next notification `method`; others before it are dropped."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            while self.notifications:
                notification = self.notifications.popleft()
                if notification.method == method:
                    return notification.params
            self._read(deadline)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            raise DaemonUnavailableError(f"the daemon closed the connection: {error}") from error

    def _read(self, deadline: float) -> None:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError as error:
            raise DaemonUnavailableError("the daemon did not answer in time: see `mccomd status`") from error
        except OSError as error:
            raise DaemonUnavailableError(f"the daemon closed the connection: {error}") from error
        if not data:
            raise DaemonUnavailableError("the daemon closed the connection: see its log")
        for message in self._decoder.feed(data):
            match message:
                case Response(None, problem, _):
                    code, text = problem or ["internal", "the daemon closed the stream"]
                    raise RequestError(code, text)
                case Response(int(id), _, _):
                    self._answers[id] = message
                case Notification():
                    self.notifications.append(message)
                case _:
                    with contextlib.suppress(OSError):
                        self._socket.close()
                    raise DaemonUnavailableError("the peer sent a request: it is not a mccomd daemon")
