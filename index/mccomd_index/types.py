"""The values that cross this package's border; they hold no file, no repository, no index open."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class IndexOptions:
    """What decides an index's content, and nothing else: a change of any of these forces a rebuild."""

    max_file_kb: int = 512
    ignore: tuple[str, ...] = ()  # globs as in .gitignore, without negation; see filters.py
    languages: tuple[str, ...] = ()  # names of languages.py; empty: all
    ignore_files: tuple[str, ...] = ()  # in force, each as "HASH PATH"; found by a refresh, not given to it


@dataclass(frozen=True)
class Repository:
    """Where a repository is and what its HEAD was when it was found."""

    work_tree: str | None  # None: bare
    git_dir: str  # of this work tree
    common_dir: str  # shared by all worktrees of one repository
    head: str | None  # commit, 40 hex digits; None: unborn
    branch: str | None  # short name; None: detached
    detached: bool


class IndexState(enum.StrEnum):
    """The one answer to "what is the matter with this index?"."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    OTHER_FORMAT = "other format"
    OTHER_OPTIONS = "other options"
    BEHIND = "behind"
    CURRENT = "current"


@dataclass(frozen=True)
class Status:
    """The state of an index beside its repository's HEAD."""

    state: IndexState
    reason: str
    head: str | None
    stamp_commit: str | None
    behind: (
        int  # commits of HEAD that the index has not seen; -1: the stamp's commit is no ancestor, or unknown
    )
    files: int
    chunks: int
    overlay_files: int  # that differ from HEAD on disk
    note: str  # what is not in the overlay, and why


@dataclass(frozen=True)
class Progress:
    """How far a refresh is."""

    files: int
    total: int
    bytes: int  # of source text taken in so far


@dataclass(frozen=True)
class Report:
    """What a refresh did."""

    state: IndexState  # after it
    head: str | None
    files: int
    chunks: int
    overlay_files: int  # that differ from HEAD on disk
    changed_files: int  # read, replaced or removed
    bytes: int  # of source text taken in
    unreadable: int  # files whose blob is missing (partial clone) or damaged
    ms: float
    look_ms: float  # of it: looking at the work tree
    rebuilt: bool  # from all of HEAD, not from a difference
    reason: str
    note: str  # what is not in the overlay, and why
    crowded: str = ""  # why the store should be built anew; everything is searchable all the same


@dataclass(frozen=True)
class Hit:
    """A chunk found, with its text."""

    path: str  # relative to the work tree; bytes that are no UTF-8 are surrogates (os.fsencode)
    start_line: int  # 1-based
    end_line: int  # inclusive
    score: float
    commit: str  # that the text stands in; "" for what is on disk, or in an editor, and not committed
    text: str  # lines joined by \n, whatever the file's line ends are


class Defining(NamedTuple):
    """Lines that define something, found without their text."""

    path: str
    start_line: int  # 1-based
    end_line: int  # inclusive
    score: float
    line: int = 0  # that the name stands on, of one definition; 0: a chunk, which may have several
    kind: str = ""  # of one definition: function, class (whatever has members), value
