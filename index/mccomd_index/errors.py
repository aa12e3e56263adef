"""What can go wrong in the index, as the caller sees it.

    IndexingError
    ├── RepositoryError   git's side: broken, not ours to read, of a kind libgit2 cannot read
    ├── OptionsError      an option that cannot be understood
    ├── FolderError       the index folder: not readable, not writable, disk full
    ├── LockedError       another process has been writing this index for too long
    └── CorruptError      the files of the index are damaged; a rebuild cures it

A query, an odd file or a missing blob is never an error.
"""

from __future__ import annotations


class IndexingError(Exception):
    """Anything this package raises on purpose; its text says what to do next."""


class RepositoryError(IndexingError):
    """The repository is there but cannot be read."""


class OptionsError(IndexingError):
    """An option has a value that cannot be understood."""


class FolderError(IndexingError):
    """The index folder cannot be read or written."""


class LockedError(IndexingError):
    """Another process held the writer's lock for longer than we wait."""


class CorruptError(IndexingError):
    """The index's files are damaged."""
