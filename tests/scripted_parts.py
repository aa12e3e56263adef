"""Doubles for everything around a Completer that takes time: a model, an index, a clock, and a plugin module.

Each does what its script says, when the test says so. The completer, its sessions, plugins and hand-off
are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from mccomd.engine import Generation
from mccomd.generate import Generate, Generated
from mccomd.hooks import CloudRequest, Decision, Evidence
from mccomd.likelier import Likelier
from mccomd.prompt import Prompt
from mccomd.protocol import ModelStatus
from mccomd.second_choice import Fork
from mccomd.types import CancelToken, Finish, Query, Snippet

__all__ = ["SCRIPT", "Call", "Script", "ScriptedIndexing", "ScriptedModel", "VirtualLoop", "plugin_of"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.now = float(int(time.monotonic()) + 1)  # whole: sums of steps of 1/16 s are exact

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, job: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        """At once: what takes a thread a moment must not make two runs of one sequence differ."""
        future = self.create_future()
        try:
            future.set_result(job(*arguments))
        except Exception as error:  # noqa: BLE001 - the waiter's
            future.set_exception(error)
        return future

    @property
    def busy(self) -> bool:
        """Whether anything could run now: a thread may have handed it over since the last look."""
        return bool(self._ready)  # type: ignore[attr-defined] - what asyncio itself looks at

    async def until_idle(self) -> None:
        """Until nothing is left to be run now; timers that are due now included."""
        turns = 0
        while turns < 2 or self.busy:
            await asyncio.sleep(0)
            turns += 1


@dataclass
class Job:
    """A generation under way."""

    generate: Generate
    future: asyncio.Future[Generated]
    told: bool = False  # the first three tokens
    said: str = ""

    @property
    def open(self) -> bool:
        return not self.future.done()


@dataclass
class Search:
    """For a more probable text, under way; like the real one it ends when it is told to give way."""

    likelier: Likelier
    future: asyncio.Future[Generated]
    said: str = ""

    @property
    def open(self) -> bool:
        return not self.future.done()

    def end(self, text: str | None) -> None:
        """text: what is more probable; None: nothing is."""
        first = self.likelier.first
        self.said = first.text if text is None else text
        self.future.set_result(first if text is None else Generated(first.prompt, first.generation, text))


class ScriptedModel:
    """In place of mccomd.model.Model."""

    name = "scripted"
    problem = ""
    calibration = None
    mixture = None
    folder = None

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.searches: list[Search] = []

    async def ready(self) -> bool:
        return True

    def status(self) -> ModelStatus:
        return ModelStatus(self.name, True, "ready", "")

    async def run(self, job: Generate) -> Generated:
        for search in self.open_searches():
            search.likelier.cancel.cancel()
        job_ = Job(job, asyncio.get_running_loop().create_future())
        self.jobs.append(job_)
        return await job_.future

    async def read_ahead(self, job: Likelier, cancel: CancelToken) -> Generated:
        search = Search(job, asyncio.get_running_loop().create_future())
        self.searches.append(search)
        return await search.future

    def open_searches(self) -> list[Search]:
        return [search for search in self.searches if search.open]

    def open_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.open]

    def tokens(self, job: Job, probability: float) -> None:
        """The first three tokens are there: whoever wants to know is asked, once."""
        if job.told:
            return
        job.told = True
        if job.generate.early is not None and job.generate.early((probability,) * 3):
            self._end(job, "", (probability,) * 3, Finish.ABANDONED)

    def finish(self, job: Job, text: str, probability: float, *, close: bool = False) -> None:
        """close: of its choices one was close."""
        self.tokens(job, probability)
        job.said = text
        if job.open:
            finish = Finish.CANCELLED if job.generate.cancel.cancelled else Finish.STOP
            self._end(job, text, (probability,) * max(3, len(text)), finish, close=close)

    def finish_short(self, job: Job, text: str, probability: float) -> None:
        """An answer of two tokens: nobody was asked after the third."""
        job.told, job.said = True, text
        self._end(job, text, (probability,) * 2, Finish.STOP)

    def _end(
        self, job: Job, text: str, probabilities: tuple[float, ...], finish: Finish, *, close: bool = False
    ) -> None:
        ids = tuple(range(len(probabilities)))
        generation = Generation(ids, probabilities, finish, 10, 0, 0, 0, 1.0, 1.0)
        prompt = Prompt((1, 2, 3), "", tuple(job.generate.snippets))
        forks = (Fork("b", 0.9, (0.9,)),) if close else ()
        job.future.set_result(Generated(prompt, generation, text, forks=forks))


@dataclass
class _Location:
    root: str | None = "/repo"
    relative: str = "a.py"


class ScriptedIndexing:
    """In place of mccomd.indexing.Indexing."""

    async def locate(self, path: str) -> _Location:
        return _Location()

    def known_root(self, path: str) -> str | None:
        return "/repo"

    def touch(self, root: str) -> None:
        pass

    def hushed(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def commit_of(self, root: str | None) -> str:
        return "c0ffee"


@dataclass
class Call:
    """One request to the large model."""

    request: CloudRequest
    pieces: asyncio.Queue[str | Exception | None] = field(default_factory=asyncio.Queue)
    ended: bool = False
    said: str = ""

    def say(self, piece: str) -> None:
        self.said += piece
        self.pieces.put_nowait(piece)


@dataclass
class Script:
    """What the plugin's parts do, and what they saw."""

    calls: list[Call] = field(default_factory=list)
    started: Callable[[CloudRequest], None] = lambda request: None
    primed: Callable[[CloudRequest], None] = lambda request: None
    reading: int = 0  # of the primes, those under way
    read: asyncio.Event = field(default_factory=asyncio.Event)
    retriever: str = "work"  # work, raise, hang
    router: str = "work"  # work, raise
    threshold: float = 0.5
    gate: threading.Event = field(default_factory=threading.Event)
    in_gate: int = 0

    def open_calls(self) -> list[Call]:
        return [call for call in self.calls if not call.ended]


SCRIPT: list[Script] = [Script()]
"""The script in force: a list, because the plugin's module outlives it."""


class ScriptedRetriever:
    name = "finder"

    def retrieve(self, query: Query) -> list[Snippet]:
        script = SCRIPT[0]
        if script.retriever == "raise":
            raise RuntimeError("a retriever's bug")
        if script.retriever == "hang":
            script.in_gate += 1
            script.gate.wait()
        return [Snippet("b.py", 1, 9, "def b(): pass", 2.0 + len(query.draft), "c0ffee", self.name)]


class ScriptedRouter:
    name = "scripted"

    def give_up(self, probabilities: tuple[float, ...]) -> bool:
        return sum(probabilities) / len(probabilities) < SCRIPT[0].threshold

    def decide(self, evidence: Evidence) -> Decision:
        if SCRIPT[0].router == "raise":
            raise RuntimeError("a router's bug")
        if evidence.rejected is not None:
            return Decision(True, evidence.confidence, "escalated: rejected")
        unsure = evidence.confidence < SCRIPT[0].threshold
        return Decision(unsure, evidence.confidence, "escalated: unsure" if unsure else "local: sure")


class ScriptedBackend:
    name = "large"

    def why_not_ahead(self) -> str:
        return ""

    async def prime_ahead(self, request: CloudRequest) -> None:
        script = SCRIPT[0]
        script.primed(request)
        script.reading += 1
        try:
            await script.read.wait()
        finally:
            script.reading -= 1

    async def stream(self, request: CloudRequest) -> AsyncIterator[str]:
        script, call = SCRIPT[0], Call(request)
        script.started(request)
        script.calls.append(call)
        try:
            while (piece := await call.pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            call.ended = True


def plugin_of(hook: str, part: str) -> str:
    """The source of a plugin with one part."""
    return (
        f"from mccomd.hooks import hookimpl\nfrom tests.scripted_parts import {part}\n\n"
        f"@hookimpl\ndef {hook}(context):\n    return [{part}()]\n"
    )
