"""What has the user set, and where is it written?

The user's config.toml becomes one frozen Config; a repository's .mccomd.toml may only add to what is left
out of the index. Every mistake is reported with its line, none is dropped. Knows no other part of mccomd:
what a value means is up to whoever reads it.
"""

from __future__ import annotations

import os
from pathlib import Path

from mccomd.config.lines import key_lines
from mccomd.config.reader import Reader, decode, parse, read_bytes
from mccomd.config.render import origins, render
from mccomd.config.schema import (
    BehaviourConfig,
    BudgetConfig,
    CloudConfig,
    CompletionConfig,
    Config,
    IndexConfig,
    LogConfig,
    ModelConfig,
    PluginsConfig,
    PowerConfig,
    RepositoryConfig,
    RouterConfig,
)
from mccomd.config.silence import OFFLINE_VARIABLE, why_no_sockets, why_offline, why_silent
from mccomd.errors import ConfigError

__all__ = [
    "OFFLINE_VARIABLE",
    "BehaviourConfig",
    "BudgetConfig",
    "CloudConfig",
    "CompletionConfig",
    "Config",
    "ConfigFile",
    "IndexConfig",
    "LogConfig",
    "ModelConfig",
    "PluginsConfig",
    "PowerConfig",
    "RepositoryConfig",
    "RouterConfig",
    "load",
    "load_repository",
    "origins",
    "render",
    "why_no_sockets",
    "why_offline",
    "why_silent",
]

MAX_FILE_BYTES = 1_048_576
MAX_REPOSITORY_FILE_BYTES = 65_536


def load(path: Path) -> Config:
    """The config written at path; the defaults where there is no file.

    Raises ConfigError that lists every problem, a line each: "FILE:LINE: what was found, what is expected".
    """
    data = read_bytes(path, MAX_FILE_BYTES, follow=True)
    if data is None:
        return Config()
    text = decode(path, data)
    reader = Reader(path, parse(path, text), key_lines(text))
    config = reader.config()
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return config


class ConfigFile:
    """The user's config as it is now: read again when the file has changed.

    Raises ConfigError where the file is invalid at the start.  Later an invalid text leaves `current` as it
    was and is described by `problem`, until the file changes again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._stamp = _stamp(path)
        self.current = load(path)

    def reload_if_changed(self) -> bool:
        """Whether `current` or `problem` is new."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp  # taken before reading: a write in between is seen the next time
        before = (self.current, self.problem)
        try:
            self.current = load(self.path)
            self.problem = ""
        except ConfigError as error:
            self.problem = str(error)
        return (self.current, self.problem) != before


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def load_repository(path: Path) -> RepositoryConfig:
    """What the .mccomd.toml at path may set: [index] ignore, languages and max_file_kb.

    The file comes with a clone, from anybody: it is never followed if it is a link, never read beyond
    MAX_REPOSITORY_FILE_BYTES, and never raises.
    """
    try:
        data = read_bytes(path, MAX_REPOSITORY_FILE_BYTES, follow=False)
        if data is None:
            return RepositoryConfig()
        text = decode(path, data)
        reader = Reader(path, parse(path, text), key_lines(text))
    except ConfigError as error:
        return RepositoryConfig(problems=(str(error),))
    return reader.repository()
