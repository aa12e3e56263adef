"""Our lines in a repository's git hooks: put in, found, taken out again without a trace.

They tell a running daemon that git moved (notify.py) and let whatever else is there run as before. They never
block, never fail, never start anything when mccomd or the daemon is gone. Where another hook stands:

    a shell script     our lines go under its first line, and come out again byte for byte
    anything else      it is moved to NAME.before-mccomd and called from ours, with everything it was given

Knows git's command line, no daemon.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mccomd.errors import MccomdError

__all__ = ["HOOKS", "Hook", "HookFolder", "find_folder", "install", "run_git", "status", "uninstall"]

HOOKS = ("post-commit", "post-checkout", "post-merge", "post-rewrite")
ASIDE = ".before-mccomd"
LEGACY = ".legacy"  # where pre-commit puts a hook that was there before its own, and calls it

_BEGIN = "# >>> mccomd >>> `mccomd hooks uninstall` takes these lines out"
_MADE = f"{_BEGIN}, and this file with them"
_END = "# <<< mccomd <<<"
_BLOCK = re.compile(rb"# >>> mccomd >>> [^\n]*\n(?:[^\n]*\n)*?# <<< mccomd <<<\n")
_SHELL = re.compile(
    rb"#![ \t]*(?:/usr/bin/env[ \t]+)?(?:/[^ \t\n]*/)?(?:sh|bash|dash|ash|ksh|zsh)(?:[ \t][^\n\r]*)?\n"
)


@dataclass(frozen=True)
class HookFolder:
    """Where git looks for the hooks of a repository."""

    repository: str
    path: Path
    kind: str  # git, core.hooksPath, husky
    shared: str  # why others would be concerned, "" where nobody would


@dataclass(frozen=True)
class Hook:
    """One hook as it is."""

    name: str
    path: str
    state: str  # installed, outdated, other (another's only), absent
    detail: str


def find_folder(path: str) -> HookFolder:
    """The folder of hooks that git uses in the repository of `path`; it need not exist.

    MccomdError: no repository, no git command.
    """
    place = os.path.abspath(path)
    place = place if os.path.isdir(place) else os.path.dirname(place)
    top = run_git(place, "rev-parse", "--show-toplevel", check=False) or run_git(
        place, "rev-parse", "--absolute-git-dir"
    )
    folder = Path(os.path.normpath(os.path.join(top, run_git(top, "rev-parse", "--git-path", "hooks"))))
    configured = run_git(top, "config", "--show-scope", "--get", "core.hooksPath", check=False)
    if not configured:
        return HookFolder(top, folder, "git", "")
    kind = "husky" if folder.parts[-2:] == (".husky", "_") else "core.hooksPath"
    return HookFolder(top, folder, kind, _whose(top, folder, configured.split("\t")[0]))


def install(folder: HookFolder, *, shared: bool = False) -> list[Hook]:
    """Put our lines into all four hooks; doing it again changes nothing.

    MccomdError: the folder is shared and `shared` is not given, or cannot be written.
    """
    if folder.shared and not shared:
        raise MccomdError(
            f"{folder.path}: {folder.shared}: nothing was installed; --shared does it all the same"
        )
    with _explained(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        for name in HOOKS:
            _install_one(folder.path / name)
    return status(folder)


def uninstall(folder: HookFolder) -> list[Hook]:
    """Take our lines out wherever they are; what was there before is there again, byte for byte."""
    with _explained(folder.path):
        for name in HOOKS:
            for place in (folder.path / name, folder.path / f"{name}{LEGACY}"):
                _uninstall_one(place)
    return status(folder)


def status(folder: HookFolder) -> list[Hook]:
    return [_status_of(folder.path / name) for name in HOOKS]


def _install_one(place: Path) -> None:
    legacy = _read(place.with_name(place.name + LEGACY))
    if legacy is not None and _BLOCK.search(legacy):
        return
    found = _read(place)
    if found is not None and (old := _BLOCK.search(found)):
        made = _MADE.encode() in old.group()
        lines = _lines(place.name, made, chained=made and os.path.lexists(_aside(place)))
        _write(place, found[: old.start()] + lines + found[old.end() :], 0o755 if made else None)
    elif found is None and not os.path.lexists(place):
        _write(place, b"#!/bin/sh\n" + _lines(place.name, made=True), 0o755)
    elif found is not None and _SHELL.match(found) and os.access(place, os.X_OK) and not place.is_symlink():
        first = found.index(b"\n") + 1
        _write(place, found[:first] + _lines(place.name, made=False) + found[first:])
    else:
        aside = _aside(place)
        if os.path.lexists(aside):
            raise MccomdError(f"{aside} is in the way: remove it, or move it back to {place.name}")
        os.rename(place, aside)
        _write(place, b"#!/bin/sh\n" + _lines(place.name, made=True, chained=True), 0o755)


def _uninstall_one(place: Path) -> None:
    found = _read(place)
    block = _BLOCK.search(found) if found is not None else None
    if found is None or block is None:
        return
    rest = found[: block.start()] + found[block.end() :]
    if _MADE.encode() not in block.group() or rest != b"#!/bin/sh\n":
        _write(place, rest)
        return
    aside = _aside(place)
    if os.path.lexists(aside):
        os.replace(aside, place)
    else:
        place.unlink()


def _status_of(place: Path) -> Hook:
    def hook(state: str, detail: str = "") -> Hook:
        return Hook(place.name, str(place), state, detail)

    found = _read(place)
    block = _BLOCK.search(found) if found is not None else None
    if block is None:
        legacy = _read(place.with_name(place.name + LEGACY))
        if legacy is not None and (block := _BLOCK.search(legacy)):
            return hook("installed", f"called by the hook that replaced it ({place.name}{LEGACY})")
        if found is None and not os.path.lexists(place):
            return hook("absent")
        aside = os.path.lexists(_aside(place))
        return hook("other", "another tool replaced ours: run `mccomd hooks install` again" if aside else "")
    made = _MADE.encode() in block.group()
    wanted = {_lines(place.name, made, chained=chained) for chained in (False, True)}
    if block.group() not in wanted:
        return hook("outdated", "it names another installation of mccomd: run `mccomd hooks install`")
    if not os.access(place, os.X_OK):
        return hook("outdated", "it is not executable: run `mccomd hooks install`")
    chained = os.path.lexists(_aside(place))
    return hook("installed", "beside another hook" if chained or not made else "")


def _aside(place: Path) -> Path:
    return place.with_name(place.name.removesuffix(LEGACY) + ASIDE)


def _lines(name: str, made: bool, *, chained: bool = False) -> bytes:
    """Our lines. -P: nothing in the repository may be imported in the place of mccomd."""
    python = shlex.quote(sys.executable)
    call = f'{python} -P -m mccomd.notify {name} "$@" </dev/null >/dev/null 2>&1 &'
    lines = [_MADE if made else _BEGIN, f"if [ -x {python} ]; then ( {call} ); fi"]
    if chained:
        aside = f'"${{0%/*}}/{name}{ASIDE}"'
        lines.append(f'if [ -x {aside} ]; then exec {aside} "$@"; fi')
    return "\n".join([*lines, _END, ""]).encode()


def _read(place: Path) -> bytes | None:
    """What a hook holds; None: there is none, or it is no file that can be read."""
    try:
        return place.read_bytes()
    except OSError:
        return None


def _write(place: Path, data: bytes, mode: int | None = None) -> None:
    """In one step, with the permissions that were there."""
    mode = stat.S_IMODE(place.stat().st_mode) if mode is None else mode
    temporary = place.with_name(f".{place.name}.mccomd-{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.chmod(mode)
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def _whose(top: str, folder: Path, scope: str) -> str:
    """Why a configured folder of hooks concerns others than this repository's user here."""
    if scope in ("global", "system"):
        return f"core.hooksPath is set for all your repositories ({scope} config)"
    if run_git(top, "ls-files", "--", str(folder), check=False):
        return "its files are tracked by git, so all who work on the project would get our lines"
    return ""


def run_git(place: str, *arguments: str, check: bool = True) -> str:
    """What git prints, or "" where it fails; with `check` that is a MccomdError: no repository, or no git."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or "CONFIG" in key}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=place, env=env, capture_output=True, text=True, errors="surrogateescape"
        )
    except FileNotFoundError as error:
        raise MccomdError(f"{place}: no such folder, or git is not installed") from error
    if done.returncode != 0 and check:
        raise MccomdError(f"{place} is not in a git repository: name a path inside one")
    return done.stdout.strip("\n") if done.returncode == 0 else ""


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MccomdError(f"{error.filename or folder}: cannot change this hook: {error.strerror}") from error
