"""Which options a repository is indexed with: the user's, narrowed by the repository's own file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mccomd.config import IndexConfig, RepositoryConfig, load_repository
from mccomd_index import IndexOptions

__all__ = ["options_for"]

REPOSITORY_CONFIG = ".mccomd.toml"


def options_for(mine: IndexConfig, root: str) -> tuple[IndexOptions, Sequence[str]]:
    """The options in force, and what is wrong with the file in the repository's folder root."""
    its = load_repository(Path(root, REPOSITORY_CONFIG))
    return _narrow(IndexOptions(mine.max_file_kb, mine.ignore, mine.languages), its), its.problems


def _narrow(mine: IndexOptions, its: RepositoryConfig) -> IndexOptions:
    """It may leave out, never add."""
    languages = its.languages
    if mine.languages and languages:
        languages = tuple(name for name in languages if name in mine.languages) or mine.languages
    return IndexOptions(
        max_file_kb=mine.max_file_kb if its.max_file_kb is None else min(mine.max_file_kb, its.max_file_kb),
        ignore=(*mine.ignore, *its.ignore),
        languages=languages or mine.languages,
    )
