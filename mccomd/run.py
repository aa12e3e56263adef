"""The daemon as a process: one instance a socket, its log, its signals, its end.

Knows nothing of completions. `spawn` starts a daemon that outlives us, `serve` is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import logging.handlers
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mccomd import __version__
from mccomd.client import Client
from mccomd.config import OFFLINE_VARIABLE, ConfigFile, why_no_sockets
from mccomd.errors import AlreadyRunningError, DaemonUnavailableError, MccomdError
from mccomd.paths import SOCKET_VARIABLE, Paths, ensure_private
from mccomd.socket_guard import guard_sockets

__all__ = ["serve", "spawn"]

log = logging.getLogger(__name__)

LOG_BYTES = 2_000_000
LOG_FILES = 3
START_S = 10.0
_POLL_S = 0.02


_held: set[int] = set()
"""Descriptors of the lock and the socket: a child that a plugin forks must not keep them when we are gone."""


def serve(paths: Paths, *, detached: bool, offline: bool = False) -> None:
    """Be the daemon until a signal or `shutdown`. offline: whatever the config says.

    detached: nobody reads what is printed; once it serves, that goes nowhere, not into a file that grows.

    It need not return: see _leave_threads_behind.
    Raises AlreadyRunningError, ConfigError, and MccomdError when a folder cannot be made.
    """
    if offline:
        os.environ[OFFLINE_VARIABLE] = "1"  # for the processes that we start, too
    config = ConfigFile(paths.config_file)
    guard_sockets(lambda: why_no_sockets(config.current), paths.socket)
    _log_to(paths, config.current.log.level, to_terminal=not detached)
    os.register_at_fork(after_in_child=_let_go)
    with _only_one(paths), _listening(paths.socket) as listener:
        log.info("pid %d listens on %s", os.getpid(), paths.socket)
        asyncio.run(_serve(paths, config, listener, detached=detached))
    log.info("stopped")
    _leave_threads_behind()


def _leave_threads_behind() -> None:
    """End the process here where a thread is still at work: reading the model, or in a plugin.

    The interpreter's own end pulls the ground from under it, which now and then is SIGABRT and a core file.
    """
    if threading.active_count() > 1:
        logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)


async def _serve(paths: Paths, config: ConfigFile, listener: socket.socket, *, detached: bool) -> None:
    # Imported here: the client half of this file must start in no time.
    from mccomd.daemon import Daemon
    from mccomd.server import Server

    daemon = Daemon(paths, config)
    server = Server(daemon)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, server.stopping.set)
    daemon.start()
    if detached:
        _print_nowhere()
    try:
        await server.serve(listener)
    finally:
        await daemon.close()


def _let_go() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


def _print_nowhere() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def spawn(paths: Paths, *, offline: bool = False) -> Client:
    """Start a daemon in the background and connect to it; or connect to the one that runs.

    Raises MccomdError with the end of its log when it does not come up, and where an offline one is wanted
    and another one runs.
    """
    if client := _connected(paths):
        return _checked_offline(client) if offline else client
    ensure_private(paths.state_dir)
    with open(paths.state_dir / "start.log", "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mccomd", "serve", "--detached"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={**os.environ, OFFLINE_VARIABLE: "1"} if offline else None,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if client := _connected(paths):  # to this process, or to the one that won the race
            return _checked_offline(client) if offline else client
        if process.poll() is not None and not _is_locked(paths):
            break
        time.sleep(_POLL_S)
    raise DaemonUnavailableError(f"the daemon did not start: {_last_line(paths.state_dir / 'start.log')}")


def _checked_offline(client: Client) -> Client:
    if client.call("status")["cloud"]["state"] != "offline":
        client.close()
        raise MccomdError("a daemon that is not offline is running: `mccomd stop` ends it")
    return client


def _connected(paths: Paths) -> Client | None:
    """A connection on which the daemon has spoken; None while nobody listens."""
    with contextlib.suppress(DaemonUnavailableError):
        client = Client(paths.socket)
        client.call("initialize", {"client": "mccomd", "version": __version__})
        return client
    return None


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"see {path}"


def _is_locked(paths: Paths) -> bool:
    """Whether some daemon holds this socket's lock."""
    try:
        with _only_one(paths):
            return False
    except AlreadyRunningError:
        return True


@contextlib.contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Hold the lock of this socket; the kernel lets it go when the process dies."""
    if not os.environ.get(SOCKET_VARIABLE) or not paths.socket.parent.exists():
        ensure_private(paths.socket.parent)
    descriptor = os.open(paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"a daemon already listens on {paths.socket}: `mccomd status` shows it, `mccomd stop` ends it"
            ) from None
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A listening socket, 0600 from its first moment; removed at the end.

    A socket file left by a crash is in the way of bind; the lock proves that nobody listens on it.
    """
    if os.path.lexists(path):
        if not path.is_socket():
            raise MccomdError(
                f"{path} is in the way and is not a socket: remove it, or set {SOCKET_VARIABLE}"
            )
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise MccomdError(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(mask)
    listener.listen(128)
    listener.setblocking(False)
    _held.add(listener.fileno())
    try:
        yield listener
    finally:
        _held.discard(listener.fileno())
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _log_to(paths: Paths, level: str, *, to_terminal: bool) -> None:
    """The log file rotates; it never holds source text."""
    ensure_private(paths.state_dir)
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(
            paths.log_file, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    ]
    if to_terminal:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers, level="WARNING"
    )
    logging.getLogger("mccomd").setLevel(level.upper())
