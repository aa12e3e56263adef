"""What the daemon would have shown at a cursor: its index of a commit, its retrievers, its order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mccomd.config import IndexConfig
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.plugins import PluginOptions, Plugins
from mccomd.types import Query, Snippet
from mccomd_index import IndexOptions, find_repository
from mccomd_index.bench import scratch_clone

__all__ = ["Retrieval", "Retriever"]

PATIENCE_S = 60.0  # for one query: nobody waits for it


class Retriever(Protocol):
    """Where a sample's snippets come from."""

    def search(self, query: Query) -> Sequence[Snippet]: ...


class Retrieval:
    """The index of one commit of a repository, in a folder that goes when this does; a context manager.

    The index holds the file that a query stands in as it was written, answer included: no snippet is from it.
    """

    def __init__(self, clone: Path, commit: str) -> None:
        """Index it.  Raises RepositoryError, ValueError when there is no repository."""
        repository = find_repository(clone)
        if repository is None:
            raise ValueError(f"{clone}: no git repository")
        self._scratch = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._clone = scratch_clone(repository, Path(self._scratch.name, "clone.git"), commit)
        self._loop.run_until_complete(self._index())

    async def _index(self) -> None:
        place = Path(self._scratch.name, "index")
        self._indexing = Indexing(place, lambda _: (IndexOptions(), ()), IndexConfig)
        self._plugins = Plugins(PluginOptions(), self._indexing.search, lookup=IndexLookup(self._indexing))
        self._root = await self._indexing.require(self._clone.git_dir)
        await self._indexing.refresh(self._root)

    def search(self, query: Query) -> list[Snippet]:
        """Snippets of other files than the query's, as the daemon would order them."""
        place = str(Path(self._root, query.relative_path))
        asked = replace(query, path=place, repository=self._root)
        found = self._loop.run_until_complete(self._plugins.retrieve(asked, PATIENCE_S))
        return [snippet for snippet in found if snippet.path != query.relative_path]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._plugins.close()
        self._loop.run_until_complete(self._indexing.close())
        self._loop.close()
        self._scratch.cleanup()
