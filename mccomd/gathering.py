"""What is retrieved for one completion: round one at once, round two after a rejection.

Knows no model and no router; who is asked in the end is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mccomd.config import Config
from mccomd.fusion import fuse
from mccomd.indexing import Indexing
from mccomd.plugins import Plugins
from mccomd.session import Rejection
from mccomd.task import Task
from mccomd.turn import Turn
from mccomd.types import Query, Snippet

__all__ = ["Gathering"]


class Gathering:
    """Asks the index and the retrievers. left_s: of a task's time, in seconds."""

    def __init__(
        self,
        config: Callable[[], Config],
        plugins: Plugins,
        indexing: Indexing,
        left_s: Callable[[Task], float],
    ) -> None:
        self._config = config
        self._plugins = plugins
        self._indexing = indexing
        self._left_s = left_s

    async def query(self, task: Task) -> Query:
        location = await self._indexing.locate(task.document.path)
        if location.root is not None:
            self._indexing.touch(location.root)
        return Query(
            path=task.document.path,
            relative_path=location.relative,
            repository=location.root,
            language=task.document.language,
            prefix=task.prefix,
            suffix=task.suffix,
            limit=self._config().completion.snippets,
            documents=task.others,
        )

    async def retrieve(self, task: Task, query: Query) -> list[Snippet]:
        """The snippets of this region of the document: the same until the cursor or the index moves.

        They stand first in the prompt: others at the next keystroke would have all of it read again.
        """
        if not query.limit:
            return []
        commit = self._indexing.commit_of(query.repository)
        kept = task.session.snippets_near(task.position.line, commit)
        if kept is not None:
            return kept
        found = await self._plugins.retrieve(query, self._retrieve_s(task))
        task.session.keep_snippets(task.position.line, commit, found)
        return found

    def wants_second_round(self, turn: Turn) -> bool:
        return turn.rejection is not None and bool(turn.query.limit) and self._config().router.round_two

    async def second_round(self, turn: Turn) -> None:
        """What else the rejected answer finds: fused with round one, for the large model."""
        if turn.rejection is None:
            return
        again = _with_draft(turn.query, turn.rejection)
        second = await self._plugins.retrieve(again, self._retrieve_s(turn.task))
        if second:
            turn.fused = fuse(turn.found, second, turn.rejection.offered.confidence, turn.query.limit)

    def keep_second_round(self, turn: Turn) -> None:
        """For the local model, too: all of its prompt is read again."""
        if turn.fused:
            commit = self._indexing.commit_of(turn.query.repository)
            turn.found = turn.fused
            turn.task.session.keep_snippets(turn.task.position.line, commit, turn.fused)

    def _retrieve_s(self, task: Task) -> float:
        return max(0.0, min(self._config().completion.retrieve_ms / 1000, self._left_s(task)))


def _with_draft(query: Query, rejection: Rejection) -> Query:
    offered = rejection.offered
    return replace(query, prefix=offered.prefix + offered.text, draft=offered.text)
