"""The second opinion: the router's decision carried out, and the large model's answer as an `update`.

Nothing here delays or changes the local answer; whatever a backend does, the worst is that no update comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mccomd.config import Config, why_silent
from mccomd.egress import PREVIEW, Preview
from mccomd.errors import CloudError, EgressError
from mccomd.hooks import Backend, CloudReport, CloudRequest, Decision
from mccomd.outgoing import NOTHING
from mccomd.plugins import Plugins
from mccomd.screening import Screened, screen
from mccomd.types import CancelToken, Query, Snippet

__all__ = ["Escalations", "LargeRequest"]

log = logging.getLogger(__name__)

SUPERSEDED = "superseded: the user typed on, or the client left"


def _ignore(told: object) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True)
class LargeRequest:
    """What is asked of the large model, and who takes the answer."""

    query: Query
    draft: str  # the local answer; may be ""
    max_tokens: int
    cancel: CancelToken
    answer: Callable[[str, str, float], None]  # (text, the model's name, milliseconds); text is never ""
    request_id: str = ""
    snippets: tuple[Snippet, ...] = ()  # of the repository, best first
    partial: Callable[[str], None] = _ignore  # all of the text so far, while it comes
    failed: Callable[[str], None] = _ignore  # why no answer will come; never beside `answer`
    typed: str = ""  # since the draft was offered; the query's prefix ends with it
    rejected: bool = False  # the user would not have the draft
    alternatives: tuple[str, ...] = ()  # other local answers
    report: Callable[[CloudReport], None] = _ignore  # once it began, whatever became of it
    ended: Callable[[], None] = lambda: None  # once, where it was begun at all; after everything else


class Escalations:
    """Requests to backends under way."""

    def __init__(self, config: Callable[[], Config], plugins: Plugins) -> None:
        self._config = config
        self._plugins = plugins
        self._running: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def carry_out(self, decision: Decision, request: LargeRequest) -> Decision:
        """Begin what was decided; the decision with the reason why nothing was begun, if so."""
        if (preview := PREVIEW.get()) is not None:
            return self._previewed(decision, request, preview)
        name = self._config().cloud.backend
        backend = self._plugins.backend(name) if name else None
        if not decision.escalate:
            if backend is not None:
                self._begin(self._warm(backend))
            return decision
        if silent := why_silent(self._config()):
            return replace(decision, reason=f"{decision.reason}; {silent}")
        if backend is None:
            return replace(decision, reason=f"{decision.reason}; backend {name!r} is not at work")
        if request.cancel.cancelled:
            return replace(decision, reason=f"{decision.reason}; {SUPERSEDED}")
        task = self._begin(self._ask(name, backend, request))
        task.add_done_callback(lambda _: request.ended())
        loop = asyncio.get_running_loop()
        request.cancel.on_cancel(lambda: _cancel_soon(loop, task))
        return decision

    def prime(self, request: LargeRequest) -> bool:
        """Let the large model's server read what it may be asked soon, where that pays; whether it was begun.

        Nobody waits for it. It leaves this machine as a request does: screened, and in the ledger.
        """
        name = self._config().cloud.backend
        backend = self._plugins.backend(name) if name else None
        why_not = getattr(backend, "why_not_ahead", None)
        if backend is None or why_not is None or request.cancel.cancelled or why_silent(self._config()):
            return False
        try:
            if why_not():
                return False
        except Exception as error:  # noqa: BLE001 - a plugin's, not ours
            self._plugins.fail_backend(name, error)
            return False
        task = self._begin(self._prime(name, backend, request))
        task.add_done_callback(lambda _: request.ended())
        loop = asyncio.get_running_loop()
        request.cancel.on_cancel(lambda: _cancel_soon(loop, task))
        return True

    def _previewed(self, decision: Decision, request: LargeRequest, preview: Preview) -> Decision:
        """Whatever the router says: what would be asked here, up to the point where it would leave."""
        name = self._config().cloud.backend
        backend = self._plugins.backend(name) if name else None
        preview.refusal = why_silent(self._config())
        if not preview.refusal and backend is None:
            preview.refusal = f"backend {name!r} is not at work"
        started = time.monotonic()
        work = (
            self._screen(self._wire(name, request, started))
            if backend is None or preview.refusal
            else self._ask(name, backend, request)
        )
        preview.work.append(self._begin(work))
        return decision

    async def _screen(self, wire: CloudRequest) -> None:
        with contextlib.suppress(EgressError):
            await _screened(wire)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _warm(self, backend: Backend) -> None:
        """While the user types with a sure local model: the connection is there when it will be needed."""
        warm = getattr(backend, "warm", None)
        if warm is None or not self._config().cloud.keep_warm:
            return
        try:
            await warm()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - only time would be saved
            log.info("backend %s: no connection ahead of need: %s", backend.name, error)

    async def _ask(self, name: str, backend: Backend, request: LargeRequest) -> None:
        started = time.monotonic()
        wire = self._wire(name, request, started)
        report = wire.report
        with self._reported(name, request, report, started, request.failed):
            async with asyncio.timeout_at(wire.deadline):
                text = await self._collect(backend, wire, request, started)
            if not text:
                report.error = report.dropped or NOTHING
            elif not request.cancel.cancelled:
                request.answer(text, report.model or name, (time.monotonic() - started) * 1000)

    async def _prime(self, name: str, backend: Any, request: LargeRequest) -> None:
        started = time.monotonic()
        wire = replace(self._wire(name, request, started), purpose="prime")
        with self._reported(name, request, wire.report, started):
            async with asyncio.timeout_at(wire.deadline):
                screened = await _screened(wire)
                await backend.prime_ahead(screened.request)

    @contextlib.contextmanager
    def _reported(
        self,
        name: str,
        request: LargeRequest,
        report: CloudReport,
        started: float,
        failed: Callable[[str], None] = _ignore,
    ) -> Iterator[None]:
        """Whatever becomes of the work inside ends in the report; only being cancelled leaves it, too."""
        try:
            yield
        except TimeoutError:
            report.error = f"no whole answer within {(time.monotonic() - started) * 1000:.0f} ms"
        except CloudError as error:
            report.error = str(error)
        except asyncio.CancelledError:
            report.error = SUPERSEDED
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - a plugin's, not ours
            report.error = f"{type(error).__name__}: {error}"[:300]
            self._plugins.fail_backend(name, error)
        finally:
            report.ms = (time.monotonic() - started) * 1000
            if report.error and report.error != SUPERSEDED:
                log.info("backend %s: no answer: %s", name, report.error)
                failed(f"{name}: {report.error}")
            request.report(report)

    def _wire(self, name: str, request: LargeRequest, started: float) -> CloudRequest:
        """The request as it is before screening."""
        query, cloud = request.query, self._config().cloud
        return CloudRequest(
            prefix=query.prefix,
            suffix=query.suffix,
            language=query.language,
            path=query.relative_path,
            snippets=request.snippets,
            draft=request.draft,
            max_tokens=request.max_tokens,
            deadline=started + cloud.deadline_ms / 1000,
            typed=request.typed,
            rejected=request.rejected,
            alternatives=request.alternatives,
            request_id=request.request_id,
            report=CloudReport(backend=name, model=cloud.model),
        )

    async def _collect(
        self, backend: Backend, wire: CloudRequest, request: LargeRequest, started: float
    ) -> str:
        """The whole answer; each piece is handed on as it comes."""
        screened = await _screened(wire)
        text = ""
        stream = backend.stream(screened.request)
        try:
            async for piece in stream:
                if not piece:
                    continue
                ms = (time.monotonic() - started) * 1000
                if wire.report.first_ms is None:
                    wire.report.first_ms = ms
                text += piece
                if not request.cancel.cancelled:
                    request.partial(screened.answer_so_far(text))
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()  # now, and not when it is collected: that is what closes the connection
        return screened.answer(text)


async def _screened(wire: CloudRequest) -> Screened:
    """Raises EgressError where nothing of it may leave. In a thread: up to 9 ms of processor."""
    screened = await asyncio.to_thread(screen, wire)
    if (preview := PREVIEW.get()) is not None:
        preview.request = screened.request
        preview.refusal = screened.refusal or preview.refusal
    if screened.refusal:
        raise EgressError(screened.refusal)
    return screened


def _cancel_soon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """From whichever thread the token is cancelled in."""
    with contextlib.suppress(RuntimeError):  # the loop has ended, and the task with it
        loop.call_soon_threadsafe(task.cancel)
