"""Changes one key of the user's config file and leaves every other byte of it alone.

The text before and after is parsed: a change that did more or less than it should is not written.
"""

from __future__ import annotations

import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from mccomd.config.lines import KeyPath, key_lines, shown
from mccomd.config.reader import decode, parse, read_bytes
from mccomd.errors import ConfigError

__all__ = ["set_texts", "with_text"]

MAX_BYTES = 1_000_000


def set_texts(path: Path, section: str, values: Mapping[str, str]) -> None:
    """Set keys of one section of the file, which is made if need be; at once or not at all.

    Raises ConfigError for a file that is not valid or cannot be changed safely.
    """
    raw = read_bytes(path, MAX_BYTES, follow=True)
    text = "" if raw is None else decode(path, raw)
    wanted = parse(path, text)
    table = wanted.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{shown(path)}: {section} is no table")
    for key, value in values.items():
        table[key] = value
        text = with_text(path, text, (section, key), value)
    try:
        same = parse(path, text) == wanted
    except ConfigError:
        same = False
    if not same:
        raise ConfigError(
            f"{shown(path)}: [{section}] is not written in a way that is changed here: edit it by hand"
        )
    _replace(path, text, crlf=raw is not None and b"\r\n" in raw)


def with_text(path: Path, text: str, key: KeyPath, value: str) -> str:
    """The TOML text with one key set to a text; its comment, its place and all else as before."""
    lines = text.split("\n")
    known = key_lines(text)
    written = f"{key[-1]} = {_quoted(value)}"
    if key in known:
        at = known[key] - 1
        lines[at] = _replaced(path, lines[at], key, value)
    elif key[:-1] in known and lines[known[key[:-1]] - 1].lstrip().startswith("["):
        lines.insert(known[key[:-1]], written)
    else:
        before = [*lines[:-1], ""] if lines[-1] == "" else [*lines, ""]
        lines = [*(before if text.strip() else []), f"[{key[0]}]", written, ""]
    return "\n".join(lines)


def _replaced(path: Path, line: str, key: KeyPath, value: str) -> str:
    """A line `name = "old"  # comment` with another value. Raises ConfigError for any other shape."""
    before, equals, rest = line.partition("=")
    end = _end_of_text(rest)
    if not equals or end is None:
        raise ConfigError(
            f"{shown(path)}: {'.'.join(key)} is written over several lines or inline: edit it by hand"
        )
    blank = rest[: len(rest) - len(rest.lstrip())]
    return f"{before}={blank or ' '}{_quoted(value)}{rest[end:]}"


def _end_of_text(rest: str) -> int | None:
    """Where the value that begins `rest` ends: the shortest start that is a value, with a comment behind."""
    for end in range(1, len(rest) + 1):
        if rest[end:].strip() and not rest[end:].lstrip().startswith("#"):
            continue
        try:
            tomllib.loads(f"k ={rest[:end]}")
        except (tomllib.TOMLDecodeError, ValueError):
            continue
        return end
    return None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _replace(path: Path, text: str, *, crlf: bool) -> None:
    """A new file under the old name, with its mode; a link, as people keep of dotfiles, stays one."""
    target = Path(os.path.realpath(path))
    data = (text.replace("\n", "\r\n") if crlf else text).encode()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be written: {error.strerror}") from error
