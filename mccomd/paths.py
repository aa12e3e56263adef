"""Where do mccomd's files and its socket live?

The XDG base directories, read at the moment of the question, so that every run can be given a home of
its own by the environment.  Finding a path creates nothing; only ensure_private() touches the disk.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mccomd.errors import MccomdError

__all__ = ["MAX_SOCKET_BYTES", "SOCKET_VARIABLE", "Paths", "check_private", "ensure_private", "find_paths"]

APP = "mccomd"
SOCKET_VARIABLE = "MCCOMD_SOCKET"
MAX_SOCKET_BYTES = 103  # sun_path holds 104 on macOS and the BSDs, 108 on Linux, with a NUL at its end


@dataclass(frozen=True, slots=True)
class Paths:
    """Every place mccomd reads or writes outside repositories."""

    config_file: Path
    cache_dir: Path  # may be deleted at any time
    data_dir: Path
    state_dir: Path  # logs, ledgers, histories
    log_file: Path
    runtime_dir: Path  # private to the user, gone with the session
    socket: Path

    @property
    def index_dir(self) -> Path:
        return self.cache_dir / "index"

    @property
    def lock_file(self) -> Path:
        """Held by the daemon that listens on the socket."""
        return self.socket.with_name(self.socket.name + ".lock")


def find_paths() -> Paths:
    """The paths of this user in this environment.

    Raises MccomdError where an XDG variable is not absolute, the socket's path is too long, or the
    socket's folder belongs to somebody else.
    """
    from platformdirs.unix import Unix  # here: 6 ms that an import of this module need not take

    # The XDG layout on macOS too: command line users look for ~/.config there.
    folders = Unix(APP, appauthor=False)
    state_dir = _absolute(folders.user_state_path, "XDG_STATE_HOME")
    runtime_dir = _runtime_dir(state_dir)
    return Paths(
        config_file=_absolute(folders.user_config_path, "XDG_CONFIG_HOME") / "config.toml",
        cache_dir=_absolute(folders.user_cache_path, "XDG_CACHE_HOME"),
        data_dir=_absolute(folders.user_data_path, "XDG_DATA_HOME"),
        state_dir=state_dir,
        log_file=state_dir / "mccomd.log",
        runtime_dir=runtime_dir,
        socket=_socket(runtime_dir),
    )


def ensure_private(folder: Path) -> Path:
    """The folder, made if need be, owned by us and readable by nobody else (0700).

    Raises MccomdError where it belongs to somebody else or is a link that somebody else placed.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise MccomdError(f"{folder}: cannot make this folder: {error.strerror}") from error
    _check_link(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MccomdError(f"{folder}: cannot open this folder: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        _check_owner(folder, found)
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return folder


def check_private(folder: Path) -> None:
    """Raises MccomdError if the folder exists and is not ours alone; creates and changes nothing."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        if not folder.is_symlink():
            return
        raise MccomdError(f"{folder} is a link to nothing; remove it") from None
    except OSError as error:
        raise MccomdError(f"{folder}: cannot look at this folder: {error.strerror}") from error
    _check_link(folder)
    _check_owner(folder, found)
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise MccomdError(f"{folder} has mode {mode:04o}, others can reach it; run: chmod 700 {folder}")


def _absolute(path: Path, variable: str) -> Path:
    if not path.is_absolute():
        raise MccomdError(f"{variable} is {os.environ.get(variable)!r}, an absolute path is expected")
    return path


def _runtime_dir(state_dir: Path) -> Path:
    """$XDG_RUNTIME_DIR/mccomd; without a usable variable a folder in the state directory.

    Not /tmp at once: a home is ours alone, and a run with its own XDG_STATE_HOME gets its own daemon.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "").strip()
    if base and _is_ours(base):
        return Path(base) / APP
    return state_dir / "run"


def _is_ours(folder: str) -> bool:
    """Whether the variable is to be trusted: after su it still names the folder of another user."""
    try:
        found = os.stat(folder)
    except OSError:
        return False
    return os.path.isabs(folder) and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _socket(runtime_dir: Path) -> Path:
    override = os.environ.get(SOCKET_VARIABLE, "")
    if override:
        path = Path(os.path.abspath(override))
        if not _fits(path):
            found = len(os.fsencode(path))
            raise MccomdError(f"{SOCKET_VARIABLE} has {found} bytes; a socket has {MAX_SOCKET_BYTES} at most")
        return path
    path = runtime_dir / "mccomd.sock"
    if not _fits(path):
        import hashlib  # here: rarely needed, loads OpenSSL

        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        path = Path("/tmp") / f"{APP}-{os.getuid()}" / f"{digest}.sock"
    check_private(path.parent)
    return path


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_SOCKET_BYTES


def _check_link(folder: Path) -> None:
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid != os.getuid():
        raise MccomdError(f"{folder} is a link placed by user {found.st_uid}; remove it")


def _check_owner(folder: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise MccomdError(f"{folder} is not a folder; remove it")
    if found.st_uid != os.getuid():
        raise MccomdError(f"{folder} belongs to user {found.st_uid}, not to us; remove it")
