"""Which ids stand in the rows of each key-value cache, and which of the caches does a prompt get?

Knows nothing of the model: it is the lists beside session.Session's positions. Both move together only
through `Cached`, so an exception in a pass leaves them equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from mccomd.engine.session import FloatArray, Session

__all__ = ["Cached", "common_prefix"]

SMALL_LOSS = 64  # prompt tokens that may be forgotten for a prompt that shares the rest: 0.15 s of prefill


class Cached:
    """A session together with the ids that its caches were computed from."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ids: list[list[int]] = [[] for _ in range(session.slots)]
        self._wanted = [0] * session.slots  # of these, the prompt's: what was generated is no loss
        self._order = list(range(session.slots))  # least recently used first
        self._slot = 0  # in use
        self._foreground = 0  # the last one that a completion was generated in

    @property
    def ids(self) -> tuple[int, ...]:
        """What stands in the slot in use."""
        return tuple(self._ids[self._slot])

    def reuse(self, prompt: Sequence[int]) -> int:
        """Put the best slot for the prompt in use, rewound to what both share; returns how many ids that is.

        The prompt's last id is never counted as shared: its logits are wanted, so it has to run.
        """
        slot, source, shared = self._choose(prompt, range(len(self._ids)))
        self._foreground = slot
        return self._take(slot, source, min(shared, len(prompt) - 1), len(prompt))

    def reuse_ahead(self, prompt: Sequence[int]) -> int:
        """The same for a prompt that is only read ahead, whose last id may be shared as well.

        The slot of the last completion is taken only if nothing of its prompt is lost; and a prompt that
        stands in a slot already leaves that as it is.
        """
        others = [slot for slot in self._order if slot != self._foreground] or [self._foreground]
        slot, source, shared = self._choose(prompt, others)
        if shared == len(prompt):
            return shared
        return self._take(slot, source, shared, len(prompt))

    def forward(self, ids: Sequence[int], n_logits: int) -> FloatArray:
        """session.Session.forward, with the ids remembered."""
        logits = self.session.forward(ids, n_logits)
        self._ids[self._slot].extend(ids)
        return logits

    def rewind(self, position: int) -> None:
        """Forget all ids from `position` on, in the slot in use."""
        self.session.rewind(position)
        del self._ids[self._slot][position:]

    def _choose(self, prompt: Sequence[int], others: Sequence[int]) -> tuple[int, int, int]:
        """(slot to use, slot that shares most with the prompt, how many ids these are).

        The two are one if the prompt goes on where that slot's prompt ended, more or less; else the least
        recently used of `others` is given up, and what is shared copied into it.
        """
        shared = [common_prefix(ids, prompt) for ids in self._ids]
        source = max(reversed(self._order), key=lambda slot: shared[slot])
        loss = min(self._wanted[source], len(self._ids[source])) - shared[source]
        small = loss <= 0 or (source in others and loss <= min(SMALL_LOSS, shared[source]))
        if shared[source] and small:
            return source, source, shared[source]
        return next(slot for slot in self._order if slot in others), source, shared[source]

    def _take(self, slot: int, source: int, shared: int, wanted: int) -> int:
        self.session.use(slot)
        self._slot = slot
        self._order.remove(slot)
        self._order.append(slot)
        if slot != source:
            self.rewind(0)
            self.session.copy_from(source, shared)
            self._ids[slot] = self._ids[source][:shared]
        self.rewind(shared)
        self._wanted[slot] = wanted
        return shared


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids two sequences share from the start. [1, 2, 3], [1, 2, 9, 3] -> 2."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
