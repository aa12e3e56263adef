"""No network socket while nothing may leave: refused by the interpreter itself, whoever asks for one.

The transport refuses by itself; this stands behind it, for plugins and libraries that open sockets of their
own. An audit hook sees every socket, connection and name look-up that is made through Python. What it does
not see: compiled code that calls the system directly, and other programs that a plugin starts (they inherit
MCCOMD_OFFLINE). README.md says how the kernel can be asked to watch those.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["guard_sockets"]

_LOOK_UPS = frozenset(
    f"socket.{name}" for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
)
_TO_ADDRESS = frozenset(f"socket.{name}" for name in ("connect", "bind", "sendto", "sendmsg"))


def guard_sockets(why_silent: Callable[[], str], own: Path) -> None:
    """From now on, for this process: PermissionError for what leads out while `why_silent` gives a reason.

    own: the daemon's socket, the only one that may be connected to. An audit hook cannot be taken back.
    """
    own_path = os.fsencode(own)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if (
            event.startswith("socket.")
            and _leads_out(event, arguments, own_path)
            and (reason := why_silent())
        ):
            raise PermissionError(errno.EACCES, f"mccomd opens no network socket ({reason})")

    sys.addaudithook(watch)


def _leads_out(event: str, arguments: tuple[Any, ...], own: bytes) -> bool:
    if event in _LOOK_UPS:
        return True
    if (
        event == "socket.__new__"
    ):  # (self, family, type, protocol); -1: the family of a descriptor that exists
        return arguments[1] not in (socket.AF_UNIX, -1)
    if event in _TO_ADDRESS:
        unix = arguments[0].family == socket.AF_UNIX
        return not unix or (
            event != "socket.bind" and arguments[1] is not None and _path(arguments[1]) != own
        )
    return False


def _path(address: object) -> bytes:
    return (
        os.fsencode(address) if isinstance(address, str) else address if isinstance(address, bytes) else b""
    )
