"""The key of an endpoint: from an environment variable, the system's keyring, or a private file.

A key never stands in the configuration, a log, a message or the ledger; errors name the place and not what
was found there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from mccomd.errors import CloudError

__all__ = ["find_key"]

MAX_KEY_BYTES = 4096


def find_key(place: str, environment: Mapping[str, str]) -> str:
    """The key at `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`; "" where place is "".

    May wait for a keyring that asks the user. Raises CloudError.
    """
    if not place:
        return ""
    kind, _, name = place.partition(":")
    match kind:
        case "env":
            found = environment.get(name, "")
            if not found:
                raise CloudError(
                    f"cloud.key: the variable {name} is not set in the daemon's environment: export it, then "
                    "`mccomd stop`; the next command starts the daemon anew"
                )
        case "file":
            found = _from_file(Path(name).expanduser())
        case "keyring":
            found = _from_keyring(*(name.split("/", 1) if "/" in name else (name, "mccomd")))
        case _:
            raise CloudError("cloud.key: env:NAME, file:PATH or keyring:SERVICE/USER is expected")
    found = found.strip()
    if not found or not found.isascii() or not found.isprintable():
        raise CloudError(f"cloud.key: what stands at {place} is no key")
    return found


def _from_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise CloudError(f"cloud.key: {path} is not a file")
            if found.st_mode & 0o077 or found.st_uid != os.getuid():
                raise CloudError(f"cloud.key: others may read {path}: chmod 600 it")
            return os.read(descriptor, MAX_KEY_BYTES).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CloudError(f"cloud.key: {path} cannot be read: {error.strerror}") from error


def _from_keyring(service: str, user: str) -> str:
    try:
        import keyring  # optional: pip install keyring
    except ImportError as error:
        raise CloudError("cloud.key names the keyring: pip install keyring, or use env: or file:") from error
    try:
        found = keyring.get_password(service, user)
    except Exception as error:
        raise CloudError(f"cloud.key: the keyring fails: {type(error).__name__}") from error
    if not found:
        raise CloudError(f"cloud.key: the keyring has nothing for {service}/{user}")
    return str(found)
