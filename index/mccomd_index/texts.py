"""Texts and outlines read back for those who look: from git, from disk and from the rows, the latest kept.

For use from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from .chunk import decode
from .git import Git, blob_id
from .overlay import read
from .packed import Outline, unpacked
from .views import OVERLAY, Held, Views

MAX_CACHED = 16_000_000  # characters of files kept for the next query: a cold file costs 0.2 ms
MAX_OUTLINED = 40_000  # definitions kept for the next round: 10 MB or so


class Outlines:
    """What contents define, the latest kept: a content never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Outline] = OrderedDict()
        self._size = 0

    def of(self, views: Views, content: int) -> Outline:
        """CorruptError: what is stored is no outline."""
        with self._lock:
            kept = self._kept.get(content)
            if kept is not None:
                self._kept.move_to_end(content)
                return kept
        found = unpacked(views.outline(content) or "")
        with self._lock:
            if content not in self._kept:
                self._size += len(found)
            self._kept[content] = found
            while self._size > MAX_OUTLINED and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found


class Files:
    """Texts read back from git and from disk, the latest kept; one thread at a time inside."""

    def __init__(self, git: Git, work_tree: str | None) -> None:
        self._git = git
        self._work_tree = work_tree
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()  # blob -> text
        self._size = 0

    def text(self, held: Held) -> str | None:
        """What a path holds, as it was indexed; None where that cannot be read (any more)."""
        if held.layer == OVERLAY:
            return self._text_on_disk(held)
        with self._lock:
            if held.blob in self._kept:
                self._kept.move_to_end(held.blob)
                return self._kept[held.blob]
            data = self._same_on_disk(held)
            data = self._git.read(held.blob) if data is None else data
            if data is None:
                return None
            text = self._kept[held.blob] = decode(data)
            self._size += len(text)
            while self._size > MAX_CACHED and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
            return text

    def _text_on_disk(self, held: Held) -> str | None:
        """Read each time: what the file held when it was indexed must not be shown once it holds else."""
        data = self._same_on_disk(held)
        return None if data is None else decode(data)

    def _same_on_disk(self, held: Held) -> bytes | None:
        """What the file holds, where that is what was indexed: most files are as in HEAD.

        To read one and make sure of its hash takes a quarter of the time that git's deltas and zlib do.
        """
        data = None if self._work_tree is None else read(self._work_tree, held.path, MAX_CACHED)
        return data if data is not None and blob_id(data) == held.blob else None

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._git.close()
