"""mccomd_index: a repository's HEAD as a full-text index of code chunks, kept in step with git.

Writers call `refresh` (usually in the process of `mccomd_index.worker`), readers hold a `Snapshot`.
Imports nothing of mccomd.
"""

from .buffers import Buffers
from .chunk import Lines, lines_between
from .definitions import Definition, definitions
from .errors import CorruptError, FolderError, IndexingError, LockedError, OptionsError, RepositoryError
from .filters import Filters
from .git import files_at_head, find_repository
from .ignore import IGNORE_NAMES, IgnoreFiles, live_ignore_files
from .imports import Import, Modules, closeness, imports
from .languages import LANGUAGES, language_of
from .look import Look
from .outline import signature
from .refresh import refresh
from .snapshot import Snapshot
from .sources import texts_at_head
from .stamp import Stamp
from .state import status
from .types import Defining, Hit, IndexOptions, IndexState, Progress, Report, Repository, Status

__all__ = [
    "IGNORE_NAMES",
    "LANGUAGES",
    "Buffers",
    "CorruptError",
    "Defining",
    "Definition",
    "Filters",
    "FolderError",
    "Hit",
    "IgnoreFiles",
    "Import",
    "IndexOptions",
    "IndexState",
    "IndexingError",
    "Lines",
    "LockedError",
    "Look",
    "Modules",
    "OptionsError",
    "Progress",
    "Report",
    "Repository",
    "RepositoryError",
    "Snapshot",
    "Stamp",
    "Status",
    "closeness",
    "definitions",
    "files_at_head",
    "find_repository",
    "imports",
    "language_of",
    "lines_between",
    "live_ignore_files",
    "refresh",
    "signature",
    "status",
    "texts_at_head",
]
