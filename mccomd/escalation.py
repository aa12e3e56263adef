"""The second opinion: the router's decision carried out, and the large model's answer as an `update`.

Nothing here delays or changes the local answer; whatever a backend does, the worst is that no update comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mccomd.config import Config
from mccomd.hooks import CloudRequest, Decision
from mccomd.plugins import Plugins
from mccomd.types import CancelToken, Query, Snippet

__all__ = ["Escalations", "LargeRequest"]

log = logging.getLogger(__name__)


def _ignore(text: str) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True)
class LargeRequest:
    """What is asked of the large model, and who takes the answer."""

    query: Query
    draft: str
    max_tokens: int
    cancel: CancelToken
    answer: Callable[[str, str, float], None]  # (text, backend's name, milliseconds)
    request_id: str = ""
    snippets: tuple[Snippet, ...] = ()  # of the repository, best first
    partial: Callable[[str], None] = _ignore  # all of the text so far, while it comes
    failed: Callable[[str], None] = _ignore  # why no answer will come; never beside `answer`


class Escalations:
    """Requests to backends under way."""

    def __init__(self, config: Callable[[], Config], plugins: Plugins) -> None:
        self._config = config
        self._plugins = plugins
        self._running: set[asyncio.Task[None]] = set()

    def carry_out(self, decision: Decision, request: LargeRequest) -> Decision:
        """Begin what was decided; the decision with the reason why nothing was begun, if so."""
        name = self._config().cloud.backend
        if not decision.escalate:
            return decision
        if not name:
            return replace(decision, reason=f"{decision.reason}; no large model is configured")
        if self._plugins.backend(name) is None:
            return replace(decision, reason=f"{decision.reason}; backend {name!r} is not at work")
        task = asyncio.create_task(self._ask(name, request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return decision

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ask(self, name: str, request: LargeRequest) -> None:
        started = time.monotonic()
        deadline_s = self._config().cloud.deadline_ms / 1000
        try:
            async with asyncio.timeout(deadline_s):
                text = await self._collect(name, request, started + deadline_s)
        except TimeoutError:
            log.info("backend %s gave no answer within %.0f ms", name, deadline_s * 1000)
            request.failed(f"{name} gave no answer within {deadline_s * 1000:.0f} ms")
        except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
            self._plugins.fail_backend(name, error)
            request.failed(f"{name} failed: {type(error).__name__}")
        else:
            if not request.cancel.cancelled:
                request.answer(text, name, (time.monotonic() - started) * 1000)

    async def _collect(self, name: str, request: LargeRequest, deadline: float) -> str:
        """All pieces of the answer; what there is when the request is superseded."""
        query = request.query
        backend = self._plugins.backend(name)
        if backend is None:
            return ""
        wire = CloudRequest(
            prefix=query.prefix,
            suffix=query.suffix,
            language=query.language,
            path=query.relative_path,
            snippets=request.snippets,
            draft=request.draft,
            max_tokens=request.max_tokens,
            deadline=deadline,
        )
        pieces: list[str] = []
        async for piece in backend.stream(wire):
            pieces.append(piece)
            if request.cancel.cancelled:
                break
            request.partial("".join(pieces))
        return "".join(pieces)
