"""The bytes of a config file to values, with every mistake and its line. Follows nothing, runs nothing."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from mccomd.config.lines import DEEP_KEY, MAX_KEY_PARTS, KeyPath, shown
from mccomd.config.schema import SECTIONS, Config, IndexConfig, RepositoryConfig, Rule
from mccomd.errors import ConfigError

__all__ = ["MAX_REPOSITORY_FILE_KB", "Reader", "decode", "parse", "read_bytes"]

MAX_REPOSITORY_FILE_KB = 4096
MAX_REPOSITORY_PATTERNS = 1000
MAX_PATTERN_CHARS = 1000
MAX_REPOSITORY_PROBLEMS = 20


def read_bytes(path: Path, limit: int, *, follow: bool) -> bytes | None:
    """The file's bytes; None where there is none. Never blocks on a pipe, never reads beyond limit."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        if not follow and path.is_symlink():
            raise ConfigError(f"{shown(path)} is a link; a file is expected")
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{shown(path)} is not a file")
        if found.st_size > limit:
            raise ConfigError(f"{shown(path)} has {found.st_size} bytes, at most {limit} are expected")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def decode(path: Path, data: bytes) -> str:
    if b"\0" in data:
        raise ConfigError(f"{shown(path)} is not a text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown(path)}:{line}: byte 0x{data[error.start]:02x} is not UTF-8") from error
    return text.replace("\r\n", "\n")


def parse(path: Path, text: str) -> dict[str, Any]:
    if deep := DEEP_KEY.search(text):  # 60 kB of "a.a.a..." keep tomllib busy for 13 s (Python 3.11)
        line = text.count("\n", 0, deep.start()) + 1
        raise ConfigError(f"{shown(path)}:{line}: not valid here: a key of more than {MAX_KEY_PARTS} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_error(path, text, str(error))) from error
    except (RecursionError, ValueError) as error:  # ValueError: a date that does not exist, a number too long
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{shown(path)}:1: not valid TOML: {reason}") from error


def _syntax_error(path: Path, text: str, message: str) -> str:
    line, column = text.count("\n") + 1, 0
    if place := re.search(r" \(at line (\d+), column (\d+)\)$", message):
        line, column = int(place[1]), int(place[2])
        message = message[: place.start()]
    where = f", column {column}" if column else ""
    message = message.removesuffix(" (at end of document)")
    return f"{shown(path)}:{line}: not valid TOML: {shown(message)}{where}"


class Reader:
    """Turns the parsed tables of one file into values and collects what is wrong with them."""

    def __init__(self, path: Path, tables: dict[str, Any], lines: dict[KeyPath, int]) -> None:
        self._path = path
        self._tables = tables
        self._lines = lines
        self.problems: list[str] = []

    def config(self) -> Config:
        sections = {}
        for name, value in self._tables.items():
            if name not in SECTIONS:
                self._unknown((name,), isinstance(value, dict), list(SECTIONS))
            elif not isinstance(value, dict):
                self._wrong((name,), value, f"a table [{name}]")
            else:
                sections[name] = self._section(name, value)
        config = Config(**sections, written_at=self._written_at())
        self._check_together(config)
        return config

    def repository(self) -> RepositoryConfig:
        found: dict[str, Any] = {}
        for name, table in self._tables.items():
            if name != "index" or not isinstance(table, dict):
                keys = [(name, key) for key in table] if isinstance(table, dict) and table else [(name,)]
                for key in keys:
                    self._forbidden(key)
                continue
            for key, value in table.items():
                if key in ("ignore", "languages", "max_file_kb"):
                    self._value(IndexConfig, ("index", key), value, found)
                else:
                    self._forbidden(("index", key))
        size = found.get("max_file_kb")
        if size is not None and size > MAX_REPOSITORY_FILE_KB:
            self._add(
                ("index", "max_file_kb"),
                f"a repository may ask for {MAX_REPOSITORY_FILE_KB} at most, not {size}",
            )
            size = MAX_REPOSITORY_FILE_KB
        ignore = self._patterns(found.get("ignore", ()))
        return RepositoryConfig(ignore, found.get("languages", ()), size, self._first_problems())

    def _patterns(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """Those that only add to what is left out: a '!' would bring back what the user leaves out."""
        key = ("index", "ignore")
        for pattern in (pattern for pattern in patterns if pattern.startswith("!")):
            self._add(key, f"a repository may not bring back {shown(repr(pattern))}")
        kept = [p for p in patterns if not p.startswith("!") and len(p) <= MAX_PATTERN_CHARS]
        if any(len(p) > MAX_PATTERN_CHARS for p in patterns):
            self._add(key, f"a pattern may have {MAX_PATTERN_CHARS} characters at most")
        if len(kept) > MAX_REPOSITORY_PATTERNS:
            self._add(key, f"{len(kept)} patterns, the first {MAX_REPOSITORY_PATTERNS} are used")
        return tuple(kept[:MAX_REPOSITORY_PATTERNS])

    def _first_problems(self) -> tuple[str, ...]:
        more = len(self.problems) - MAX_REPOSITORY_PROBLEMS
        rest = (f"{shown(self._path)}: {more} problems more",) if more > 0 else ()
        return (*self.problems[:MAX_REPOSITORY_PROBLEMS], *rest)

    def _section(self, name: str, table: dict[str, Any]) -> Any:
        kind = SECTIONS[name]
        known = [key.name for key in fields(kind)]
        found: dict[str, Any] = {}
        for key, value in table.items():
            if key not in known:
                self._unknown((name, key), False, known)
            elif (name, key) == ("plugins", "options"):
                found[key] = self._options(value)
            else:
                self._value(kind, (name, key), value, found)
        return kind(**found)

    def _options(self, value: object) -> Mapping[str, Mapping[str, Any]]:
        if not isinstance(value, dict):
            self._wrong(("plugins", "options"), value, "a table [plugins.options.NAME] for each plugin")
            return MappingProxyType({})
        for name, table in value.items():
            if not isinstance(table, dict):
                self._wrong(("plugins", "options", name), table, f"a table [plugins.options.{shown(name)}]")
        return MappingProxyType(value)

    def _value(self, kind: type, path: KeyPath, value: object, found: dict[str, Any]) -> None:
        """Puts a valid value into found; reports any other."""
        key = next(key for key in fields(kind) if key.name == path[-1])
        expected, fits = _TYPES[str(key.type)]
        rule: Rule = key.metadata["rule"]
        if not fits(value):
            self._wrong(path, value, expected)
        elif rule.choices and value not in rule.choices:
            self._wrong(path, value, "one of " + ", ".join(rule.choices))
        elif rule.low is not None and rule.high is not None and not _within(value, rule.low, rule.high):
            self._wrong(path, value, f"{rule.low} to {rule.high} ({rule.unit})")
        elif problem := _FURTHER.get(path, _no_problem)(value):
            self._add(path, problem)
        else:
            found[path[-1]] = tuple(value) if isinstance(value, list) else value

    def _check_together(self, config: Config) -> None:
        """Values that are valid alone and not together. Default values give way silently."""
        for name in sorted(set(config.plugins.enabled) & set(config.plugins.disabled)):
            self._add(("plugins", "disabled"), f"{shown(repr(name))} is in plugins.enabled too")
        pairs = (
            (("completion", "retrieve_ms"), config.completion.retrieve_ms, config.completion.deadline_ms),
            (("completion", "snippet_tokens"), config.completion.snippet_tokens, config.model.context_tokens),
        )
        limits = ("completion.deadline_ms", "model.context_tokens")
        for (path, value, most), limit in zip(pairs, limits, strict=True):
            if value > most and path in self._lines:
                self._add(path, f"{'.'.join(path)} is {value}, at most {limit} ({most}) is expected")

    def _written_at(self) -> dict[str, str]:
        leaves = [path for path in _leaves(self._tables) if path[:1] != ("plugins",) or len(path) < 5]
        return {".".join(path): f"{self._path}:{self._line(path)}" for path in leaves}

    def _line(self, path: KeyPath) -> int:
        """Of the key, else of the innermost table around it that has a line."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 1

    def _add(self, path: KeyPath, problem: str) -> None:
        self.problems.append(f"{shown(self._path)}:{self._line(path)}: {problem}")

    def _wrong(self, path: KeyPath, value: object, expected: str) -> None:
        self._add(path, f"{_dotted(path)} is {_described(value)}, {expected} is expected")

    def _forbidden(self, path: KeyPath) -> None:
        self._add(path, f"a repository may not set '{_dotted(path)}'")

    def _unknown(self, path: KeyPath, is_table: bool, known: list[str]) -> None:
        import difflib  # here: only a mistake needs it

        close = difflib.get_close_matches(path[-1][:100], known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"
        self._add(path, f"{'table' if is_table else 'key'} '{_dotted(path)}' is unknown{hint}")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, tuple[str, Callable[[object], bool]]] = {  # annotation -> (in words, test)
    "str": ("a text", lambda value: isinstance(value, str)),
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "tuple[str, ...]": ("a list of texts", _is_texts),
}


def _within(value: Any, low: float, high: float) -> bool:
    return bool(low <= value <= high)  # False for nan


def _no_problem(value: Any) -> str:
    return ""


def _folder_problem(value: str) -> str:
    if not value or os.path.isabs(os.path.expanduser(value)):
        return ""
    return f"model.folder is {_described(value)}, an absolute path or one from ~ is expected"


def _languages_problem(value: list[str]) -> str:
    import difflib

    from mccomd_index import LANGUAGES  # both here: few configs need them, and they take 0.1 s

    for name in value:
        if name not in LANGUAGES:
            close = difflib.get_close_matches(name[:100], LANGUAGES, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            return f"index.languages names {_described(name)}, which mccomd does not know{hint}"
    return ""


def _url_problem(value: str) -> str:
    """An address that sends source text over the net must be encrypted, and holds no key."""
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "cloud.url is no address: https://HOST/PATH is expected"
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in value):
        return f"cloud.url is {_described(value)}, https://HOST/PATH is expected"
    if parts.username is not None or parts.query or parts.fragment:
        return "cloud.url may hold no user, query or key: name the place of the key in cloud.key"
    if parts.scheme == "http" and not _is_near(host):
        return f"cloud.url would send your code unencrypted to {shown(host, 60)}: https is expected"
    return ""


def _is_near(host: str) -> bool:
    """This machine, or one of a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa", ".localhost"))
    return address.is_private or address.is_loopback or address.is_link_local


def _key_problem(value: str) -> str:
    kind, _, name = value.partition(":")
    if not value or (kind in ("env", "file", "keyring") and name):
        return ""  # never quoted: it may be a key
    return "cloud.key is not the place of a key: env:NAME, file:PATH or keyring:SERVICE/USER is expected"


_FURTHER: dict[KeyPath, Callable[[Any], str]] = {
    ("model", "folder"): _folder_problem,
    ("index", "languages"): _languages_problem,
    ("cloud", "url"): _url_problem,
    ("cloud", "key"): _key_problem,
}


def _leaves(table: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The key path of each value, down to the keys of [plugins.options.NAME]."""
    for key, value in table.items():
        path = (*above, key)
        if isinstance(value, dict) and value and len(path) < 4:
            yield from _leaves(value, path)
        else:
            yield path


def _described(value: object) -> str:
    """A value in words, short and safe to print."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'a text ("{shown(value, 40)}")'
        case int() | float():
            return "a huge number" if abs(value) > 1e30 else shown(value, 40)
        case list():
            return "a list" if _is_texts(value) or not value else "a list of other things"
        case dict():
            return "a table"
    return "a date or time"


def _dotted(path: KeyPath) -> str:
    return ".".join(shown(part, 60) for part in path)
