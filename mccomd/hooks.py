"""What a plugin can be: one screen of hook specs and the protocols of the parts they return.

A plugin is a module named by an entry point of the group `mccomd.plugins`. Its hooks run once, when the
daemon starts; the parts they return work later. plugins/README.md has one tested example of each.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import pluggy

from mccomd.outgoing import CloudReport, CloudRequest, Endpoint, Transport
from mccomd.types import Defined, Place, Query, Snippet

__all__ = [
    "Backend",
    "CloudReport",
    "CloudRequest",
    "Decision",
    "Definitions",
    "Endpoint",
    "Evidence",
    "Lookup",
    "PluginContext",
    "Retriever",
    "Router",
    "Search",
    "Transport",
    "hookimpl",
    "hookspec",
]

PROJECT = "mccomd"
T = TypeVar("T")
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Search(Protocol):
    """The repository's index, best first: the same that `mccomd search` shows. For any thread."""

    def __call__(
        self, repository: str, text: str | Sequence[tuple[str, float]], limit: int, /, *, without: str = ""
    ) -> Sequence[Snippet]:
        """text: one, or several, each with how much its words count.

        without: a path in the repository whose text is not wanted.
        """
        ...


class Definitions(Protocol):
    """What a repository defines, and where, all of it as it is at one moment."""

    commit: str

    def defined(self, names: Iterable[str], /, *, most: int = 24) -> Mapping[str, Sequence[Place]]:
        """Where each name is defined; one with no definition is left out, and one with more than `most`."""
        ...

    def about(self, words: Mapping[str, float], limit: int, /) -> Sequence[Place]:
        """Pieces of files whose definitions' names have these lower-case words, weighted; best first."""
        ...

    def rareness(self, words: Iterable[str], /) -> Mapping[str, float]:
        """How much each word says when a defined name has it: near 0 where most have it."""
        ...

    def outline(self, path: str, /) -> Sequence[Defined]:
        """What a file defines, by start line; nothing where there is no such file. Costs no reading."""
        ...

    def members(self, path: str, line: int, /) -> Sequence[Defined]:
        """What the class has whose name stands at this line of a file; nothing where there is none."""
        ...

    def within(self, path: str, first: int, last: int, /) -> Sequence[Defined]:
        """What is defined in these lines of a file."""
        ...

    def read(self, path: str, /) -> str | None:
        """A file of the repository as it is indexed, line ends as \\n; None: it must not be shown."""
        ...


class Lookup(Protocol):
    """Puts a question to a repository's definitions; None while it has no index. For any thread.

    What editors have open and not saved is part of them, but for the text at the path `without`: that of the
    document where one completes, which changes with every key.
    """

    def __call__(
        self, repository: str, question: Callable[[Definitions], T], /, *, without: str = ""
    ) -> T | None: ...


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What the daemon hands to every plugin."""

    options: Mapping[str, Any]  # the table [plugins.options.NAME] of the user's config
    search: Search
    transport: Transport | None = None  # None: no large model is configured, or mccomd is offline
    endpoint: Endpoint | None = None  # what the user's [cloud] says, where its backend is this plugin's
    cache_dir: str = ""  # a folder for what may be forgotten at any time; "" = none
    lookup: Lookup | None = None  # None: there is no index


@runtime_checkable
class Retriever(Protocol):
    """Finds text that may help at a cursor. Called in a thread of its own, at most once at a time."""

    name: str

    def retrieve(self, query: Query) -> Sequence[Snippet]: ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a router may look at."""

    probabilities: tuple[float, ...]  # of each token the local model chose, in order
    text: str  # the local answer after post-processing; may be ""
    language: str
    prefix: str
    suffix: str
    rejected: str | None  # the answer the user has just typed past or dismissed here
    last_good: bool | None = None  # whether the answer judged last, in any document, was taken
    since_last_s: float | None = None  # since then; None: there was none yet

    @property
    def confidence(self) -> float:
        """The chance that all of these tokens are right: the product; 0.0 of none."""
        return math.prod(self.probabilities) if self.probabilities else 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the large model should be asked, and why; the user reads the reason."""

    escalate: bool
    confidence: float  # 0..1
    reason: str


@runtime_checkable
class Router(Protocol):
    """Decides whether the large model is asked. Pure and fast: it runs on the event loop.

    Asked with all of the local answer, or with its first three tokens and the text "" where the user has
    rejected an answer or `give_up` said yes: then the large model is asked while the local one goes on.
    May have two more methods. `give_up(probabilities) -> bool` is asked in the model's thread after the
    first three tokens, and once more with all of them, only while a backend is at work; True: too unsure to
    be shown at once.
    `set_threshold(threshold)` is told what the user's wish amounts to (`mccomd tune`), when that changes.
    """

    name: str

    def decide(self, evidence: Evidence) -> Decision: ...


@runtime_checkable
class Backend(Protocol):
    """A large model. Yields the answer in pieces; leaving the iterator cancels the request.

    Sends through `context.transport`, so that it is in the egress ledger, and writes what it knows into
    `request.report`. Raises CloudError where the endpoint fails: that is no failure of the plugin. May have
    `status() -> Mapping` for `mccomd cloud status`, and `async probe() -> Mapping` for `mccomd cloud probe`.
    May be given what it will probably be asked: `async prime_ahead(request)`, where `why_not_ahead() -> str`
    is "", as long as the user's `cloud.prime_ahead` allows it.
    """

    name: str

    def stream(self, request: CloudRequest) -> AsyncIterator[str]: ...


class Specs:
    """The hooks. Each is optional; each returns a list of parts."""

    @hookspec
    def mccomd_retrievers(self, context: PluginContext) -> Sequence[Retriever]:  # type: ignore[empty-body]
        """Parts that find snippets for a prompt."""

    @hookspec
    def mccomd_routers(self, context: PluginContext) -> Sequence[Router]:  # type: ignore[empty-body]
        """Parts that decide when the large model is asked; the config picks one by name."""

    @hookspec
    def mccomd_backends(self, context: PluginContext) -> Sequence[Backend]:  # type: ignore[empty-body]
        """Parts that ask a large model; the config picks one by name."""
