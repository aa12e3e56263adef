"""Which ids stand in the rows of the key-value cache, and how many of them a prompt can use again.

Knows nothing of the model: it is the list beside session.Session's position. Both move together only
through `Cached`, so an exception in a pass leaves them equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from mccomd.engine.session import FloatArray, Session

__all__ = ["Cached", "common_prefix"]


class Cached:
    """A session together with the ids that its cache was computed from."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ids: list[int] = []

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._ids)

    def reuse(self, prompt: Sequence[int]) -> int:
        """Rewind to what the cache and the prompt share; returns how many ids that is.

        The prompt's last id is never counted as shared: its logits are wanted, so it has to run.
        """
        shared = common_prefix(self._ids, prompt[:-1])
        self.rewind(shared)
        return shared

    def forward(self, ids: Sequence[int], n_logits: int) -> FloatArray:
        """session.Session.forward, with the ids remembered."""
        logits = self.session.forward(ids, n_logits)
        self._ids.extend(ids)
        return logits

    def rewind(self, position: int) -> None:
        """Forget all ids from `position` on."""
        self.session.rewind(position)
        del self._ids[position:]


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids two sequences share from the start. [1, 2, 3], [1, 2, 9, 3] -> 2."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
