"""What the parts of mccomd hand to each other inside the daemon.

Knows nothing of the wire (protocol), of asyncio, and of any heavy library.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["EARLY", "CancelToken", "Defined", "Document", "Finish", "Place", "Query", "Snippet"]


EARLY = 3
"""After so many tokens of an answer it is asked whether the rest is wanted."""


class CancelToken:
    """One flag: set by whoever no longer wants the answer, read between model passes."""

    __slots__ = ("_callbacks", "_cancelled")

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        self._cancelled = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have it called once: when the token is cancelled, in that thread; now, where it is already."""
        if self._cancelled:
            callback()
        else:
            self._callbacks.append(callback)

    @property
    def cancelled(self) -> bool:
        return self._cancelled


class Finish(enum.StrEnum):
    """Why generation ended."""

    STOP = "stop"  # a stop rule (end of statement, end of line) or the model's own end token
    LENGTH = "length"  # max_tokens, or the context is full
    DEADLINE = "deadline"  # time ran out; what stands is returned
    CANCELLED = "cancelled"  # superseded, or the client went away
    UNSURE = "unsure"  # the chance that all of it is right fell below what the user wants
    ABANDONED = "abandoned"  # the router saw the first tokens and would not have the rest


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a file that may help to complete another one."""

    path: str  # relative to the repository, '/' between parts
    start_line: int  # 1-based, inclusive
    end_line: int  # 1-based, inclusive
    text: str
    score: float  # of its retriever; comparable only within one retriever
    commit: str  # the commit it was read at; "" for text that is not committed
    source: str  # the retriever's name


class Place(Protocol):
    """Lines of a file that define something."""

    @property
    def path(self) -> str:
        """Relative to the repository."""
        ...

    @property
    def start_line(self) -> int:
        """1-based, of the decorators of what is defined there."""
        ...

    @property
    def end_line(self) -> int:
        """Inclusive."""
        ...

    @property
    def score(self) -> float:
        """Comparable within one answer."""
        ...

    @property
    def line(self) -> int:
        """That the name stands on; 0 where these are lines with several definitions."""
        ...

    @property
    def kind(self) -> str:
        """function, class (whatever has members), value; "" where there are several definitions."""
        ...


class Defined(Protocol):
    """A named piece of a file."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str:
        """function, class (whatever has members), value"""
        ...

    @property
    def container(self) -> str:
        """The class it is a member of; "" for none."""
        ...

    @property
    def start_line(self) -> int:
        """1-based, of its decorators."""
        ...

    @property
    def line(self) -> int:
        """That its name stands on."""
        ...

    @property
    def end_line(self) -> int:
        """Inclusive."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """One text as an editor has it, which may differ from the file on disk."""

    path: str  # absolute
    text: str
    language: str  # "python", "lua", ...; "" when unknown
    version: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """What a retriever is asked for: help at this cursor."""

    path: str  # absolute path of the document
    relative_path: str  # within the repository; the file name when there is no repository
    repository: str | None  # absolute path of the work tree, None outside any
    language: str
    prefix: str  # text left of the cursor
    suffix: str  # text right of the cursor
    limit: int  # at most so many snippets
    documents: tuple[Document, ...] = field(default=())  # the client's other open documents
    draft: str = ""  # round 2: a text for this place that the user would not have
