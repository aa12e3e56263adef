"""A daemon of the benchmark's own: a real `mccomd serve` in a temporary home, gone when we are done."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError, MccomdError
from mccomd.paths import SOCKET_VARIABLE

C = TypeVar("C", bound=Client)

__all__ = ["Company", "OwnDaemon", "cpu_seconds"]

START_S = 20.0
FIRST_ANSWER_S = 120.0
_POLL_S = 0.005


class OwnDaemon:
    """A context manager; `start_s` and `first_answer_s` tell how long it took to come up."""

    def __init__(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        """options: sections of the configuration file, such as {"completion": {"snippets": 0}}."""
        self._options = options
        self.start_s = 0.0
        self.first_answer_s = 0.0

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="mccomd-bench-", ignore_cleanup_errors=True)
        self.home = Path(self._home.name)
        try:
            self._start()
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._home.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self) -> Client:
        """A connection that counts columns in code points."""
        return self.connect(Client)

    def connect(self, kind: type[C], *, updates: bool = False) -> C:
        """The same, by a client of one's own. updates: it takes them, as the editor clients do."""
        client = kind(self._socket, timeout_s=FIRST_ANSWER_S)
        about = {"client": "mccomd bench", "position_encoding": "utf-32", "updates": updates}
        client.call("initialize", about)
        return client

    def _start(self) -> None:
        folders = {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in _HOMES}
        runtime = self.home / "run"
        runtime.mkdir(mode=0o700)
        self._socket = runtime / "s"
        config = self.home / "config" / "mccomd" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(_toml(self._options))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MCCOMD_"))}
        environment = {"XDG_RUNTIME_DIR": str(runtime), SOCKET_VARIABLE: str(self._socket)}
        with open(self.home / "output.log", "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mccomd", "serve"],
                env={**kept, **folders, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours to handle: we end the daemon
                cwd=self.home,
            )
        self._began = time.monotonic()

    def _wait(self) -> None:
        with self._connect() as client:
            client.call("status")
            self.start_s = time.monotonic() - self._began
            place = {"path": str(self.home / "first.py"), "position": {"line": 0, "column": 4}}
            answer = client.call("complete", {**place, "text": "x = ", "deadline_ms": 60_000})
            self.first_answer_s = time.monotonic() - self._began
            model = client.call("status")["model"]
        if not model["loaded"]:
            raise MccomdError(f"the daemon has no model: {model['reason'] or answer['reason']}")

    def _connect(self) -> Client:
        while time.monotonic() < self._began + START_S and self._process.poll() is None:
            try:
                return self.client()
            except DaemonUnavailableError:
                time.sleep(_POLL_S)
        said = (self.home / "output.log").read_text(errors="replace").strip().splitlines()
        raise DaemonUnavailableError(f"the daemon did not start: {said[-1] if said else 'it said nothing'}")


class Company:
    """How much of the machine others used while we measured; ours is this process and its ended children."""

    def __init__(self) -> None:
        self._before = self._now()

    def share(self) -> float:
        """0..1 of all cores, since the beginning."""
        busy, ours, clock = (b - a for a, b in zip(self._before, self._now(), strict=True))
        return max(0.0, min(1.0, (busy - ours) / (clock * (psutil.cpu_count() or 1))))

    def _now(self) -> tuple[float, float, float]:
        total, ours = psutil.cpu_times(), os.times()
        idle = total.idle + getattr(total, "iowait", 0.0)
        spent = ours.user + ours.system + ours.children_user + ours.children_system
        return sum(total) - idle - getattr(total, "guest", 0.0), spent, time.monotonic()


_HOMES = ("CONFIG", "CACHE", "DATA", "STATE")


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system seconds of a process, and of its children, dead and alive."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    children = times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            spent = child.cpu_times()
        except psutil.Error:
            continue
        children += spent.user + spent.system
    return times.user + times.system, children


def _toml(options: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(line for section, values in options.items() for line in _table(section, values)) + "\n"


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table's own keys first, then the tables inside it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"[{name}]"]
    lines += [f"{_value(key)} = {_value(value)}" for key, value in values.items() if key not in inner]
    return lines + [line for key, value in inner.items() for line in _table(f"{name}.{_value(key)}", value)]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
