"""The life of one completion: retrieve, prompt, generate, route, escalate.

Pure orchestration: what each step does is elsewhere. A failing retriever, router or backend costs its own
part of the answer and never the answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mccomd.config import Config
from mccomd.errors import EngineError, MccomdError
from mccomd.hooks import CloudRequest, Decision, Evidence
from mccomd.indexing import Indexing
from mccomd.model import Model
from mccomd.plugins import Plugins
from mccomd.postprocess import clean
from mccomd.prompt import Budget, Prompt, build_prompt
from mccomd.protocol import Completion, Position, SnippetInfo, Update
from mccomd.session import Offered, Session, Sessions, place_of
from mccomd.statement import StatementRule, single_line_wanted
from mccomd.types import CancelToken, Document, Finish, Query, Snippet

if TYPE_CHECKING:
    from mccomd.engine import Engine, Generation

__all__ = ["Completer", "Task"]

log = logging.getLogger(__name__)

GRACE_S = 0.3
"""How long after its deadline a request may still wait for the pass that is running."""


@dataclass(frozen=True)
class Task:
    """One request for a completion, resolved against the client's documents."""

    request_id: str
    document: Document
    position: Position
    prefix: str
    suffix: str
    others: tuple[Document, ...]
    deadline: float  # time.monotonic() seconds
    max_tokens: int
    cancel: CancelToken
    sessions: Sessions
    send_update: Callable[[Update], None]
    started: float = field(default_factory=time.monotonic)

    @property
    def session(self) -> Session:
        return self.sessions.of(self.document.path)


@dataclass
class _Progress:
    """What one completion has gathered so far."""

    stages_ms: dict[str, float] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    prefilled: int = 0
    reused: int = 0

    def stage(self, name: str, since: float) -> float:
        now = time.monotonic()
        self.stages_ms[name] = (now - since) * 1000
        return now


class Completer:
    """Answers tasks; holds the model, the plugins and the index together."""

    def __init__(
        self, config: Callable[[], Config], model: Model, plugins: Plugins, indexing: Indexing
    ) -> None:
        self._config = config
        self._model = model
        self._plugins = plugins
        self._indexing = indexing
        self._escalations: set[asyncio.Task[None]] = set()

    async def complete(self, task: Task) -> Completion:
        """The one answer; a reason takes the place of a text that cannot be had."""
        progress = _Progress()
        try:
            async with asyncio.timeout_at(task.deadline + GRACE_S):
                return await self._complete(task, progress)
        except TimeoutError:
            task.cancel.cancel()
            reason = (
                "the model is still loading" if self._model.status().state == "loading" else "out of time"
            )
            return self._none(task, progress, "deadline", reason)
        except MccomdError as error:
            return self._none(task, progress, "none", str(error))

    async def close(self) -> None:
        for escalation in self._escalations:
            escalation.cancel()
        await asyncio.gather(*self._escalations, return_exceptions=True)

    async def _complete(self, task: Task, progress: _Progress) -> Completion:
        query = await self._query(task)
        found = await self._retrieve(task, query, progress)
        mark = time.monotonic()
        if not await self._model.ready():
            raise EngineError(self._model.problem)
        mark = progress.stage("wait_model", mark)
        if task.cancel.cancelled:
            return self._none(
                task, progress, "cancelled", "superseded by a newer request, or the client left"
            )
        job = _Generate(task, query, found, self._config())
        prompt, generation, raw = await self._model.run(job)
        progress.stage("generate", mark)
        progress.stages_ms |= {"prefill": generation.prefill_ms, "decode": generation.decode_ms}
        progress.snippets = prompt.snippets
        progress.prefilled, progress.reused = generation.prefilled, generation.reused
        if generation.finish is Finish.CANCELLED:
            return self._none(
                task, progress, "cancelled", "superseded by a newer request, or the client left"
            )
        return self._answer(task, query, progress, generation, raw)

    async def _query(self, task: Task) -> Query:
        path = task.document.path
        location = await self._indexing.locate(path)
        if location.root is not None:
            self._indexing.touch(location.root)
        return Query(
            path=path,
            relative_path=location.relative,
            repository=location.root,
            language=task.document.language,
            prefix=task.prefix,
            suffix=task.suffix,
            limit=self._config().completion.snippets,
            documents=task.others,
        )

    async def _retrieve(self, task: Task, query: Query, progress: _Progress) -> list[Snippet]:
        mark = time.monotonic()
        budget_s = min(self._config().completion.retrieve_ms / 1000, max(0.0, task.deadline - mark))
        found = await self._plugins.retrieve(query, budget_s) if query.limit else []
        progress.stage("retrieve", mark)
        return found

    def _answer(
        self, task: Task, query: Query, progress: _Progress, generation: Generation, raw: str
    ) -> Completion:
        mark = time.monotonic()
        cleaned = clean(
            raw, prefix=task.prefix, suffix=task.suffix, language=query.language, eol=_eol(task.document.text)
        )
        text, reason = (
            cleaned.text,
            "" if cleaned.text else ", ".join(cleaned.reasons) or "the model had nothing to add",
        )
        place = place_of(task.prefix, task.suffix)
        if text and task.session.was_rejected(place, text):
            text, reason = "", "you dismissed this text here before"
        decision = self._route(task, query, generation, text, place)
        task.sessions.offer(task.request_id, Offered(task.document.path, place, text))
        progress.stage("finish", mark)
        if generation.finish is Finish.DEADLINE:
            reason = reason or "cut at the deadline"
        return Completion(
            request_id=task.request_id,
            text=text,
            source="local" if text else "none",
            model=self._model.name,
            confidence=decision.confidence,
            ms=(time.monotonic() - task.started) * 1000,
            finish=generation.finish.value,
            reason=reason,
            route=decision.reason,
            snippets=[_info(snippet) for snippet in progress.snippets],
            stages_ms=progress.stages_ms,
            prefilled=progress.prefilled,
            reused=progress.reused,
        )

    def _none(self, task: Task, progress: _Progress, finish: str, reason: str) -> Completion:
        task.sessions.offer(task.request_id, Offered(task.document.path, 0, ""))
        return Completion(
            request_id=task.request_id,
            text="",
            source="none",
            model=self._model.name,
            confidence=0.0,
            ms=(time.monotonic() - task.started) * 1000,
            finish=finish,
            reason=reason,
            route="",
            snippets=[_info(snippet) for snippet in progress.snippets],
            stages_ms=progress.stages_ms,
            prefilled=progress.prefilled,
            reused=progress.reused,
        )

    # --- the large model ------------------------------------------------------------------------

    def _route(self, task: Task, query: Query, generation: Generation, text: str, place: int) -> Decision:
        config = self._config()
        evidence = Evidence(
            generation.probabilities,
            text,
            query.language,
            task.prefix,
            task.suffix,
            task.session.rejected_at(place),
        )
        decision = self._plugins.decide(config.router.name, evidence)
        if decision.escalate:
            return self._escalate(task, query, text, decision)
        return decision

    def _escalate(self, task: Task, query: Query, text: str, decision: Decision) -> Decision:
        name = self._config().cloud.backend
        if not name:
            return replace(decision, reason=f"{decision.reason}; no large model is configured")
        if self._plugins.backend(name) is None:
            return replace(decision, reason=f"{decision.reason}; backend {name!r} is not at work")
        job = asyncio.create_task(self._ask_backend(name, task, query, text))
        self._escalations.add(job)
        job.add_done_callback(self._escalations.discard)
        return decision

    async def _ask_backend(self, name: str, task: Task, query: Query, draft: str) -> None:
        """Ask the large model and send what it says as an `update`; its failure is only logged."""
        started = time.monotonic()
        backend = self._plugins.backend(name)
        if backend is None:
            return
        deadline_s = self._config().cloud.deadline_ms / 1000
        request = CloudRequest(
            task.prefix,
            task.suffix,
            query.language,
            query.relative_path,
            (),
            draft,
            task.max_tokens,
            started + deadline_s,
        )
        try:
            async with asyncio.timeout(deadline_s):
                pieces = []
                async for piece in backend.stream(request):
                    pieces.append(piece)
                    if task.cancel.cancelled:
                        return
        except TimeoutError:
            log.info("backend %s gave no answer within %.0f ms", name, deadline_s * 1000)
            return
        except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
            self._plugins.fail_backend(name, error)
            return
        self._send_update(task, query, "".join(pieces), name, started)

    def _send_update(self, task: Task, query: Query, raw: str, name: str, started: float) -> None:
        eol = _eol(task.document.text)
        text = clean(raw, prefix=task.prefix, suffix=task.suffix, language=query.language, eol=eol).text
        place = place_of(task.prefix, task.suffix)
        if not text or task.cancel.cancelled or task.session.was_rejected(place, text):
            return
        task.sessions.offer(task.request_id, Offered(task.document.path, place, text))
        task.send_update(
            Update(
                task.request_id,
                task.document.path,
                task.document.version,
                task.position,
                text,
                "cloud",
                name,
                (time.monotonic() - started) * 1000,
            )
        )


class _Generate:
    """What happens in the model's thread: prompt, generation, text up to the end of the statement."""

    def __init__(self, task: Task, query: Query, found: list[Snippet], config: Config) -> None:
        self._task = task
        self._query = query
        self._found = found
        self._config = config

    def __call__(self, engine: Engine) -> tuple[Prompt, Generation, str]:
        from mccomd.engine import Limits

        config = self._config
        budget = Budget(config.model.context_tokens, config.completion.snippet_tokens)
        prompt = build_prompt(self._query, self._found, engine.manifest.prompt, engine.tokenizer, budget)
        rule = self._rule()

        def text_of(ids: object) -> str:
            return engine.tokenizer.decode(ids).removeprefix(prompt.healed)  # type: ignore[arg-type]

        generation = engine.generate(
            prompt.ids,
            Limits(self._task.max_tokens, self._task.deadline),
            lambda ids: rule.end_of(text_of(ids)) is not None,
            self._task.cancel,
        )
        text = text_of(generation.ids)
        return prompt, generation, text[: rule.end_of(text)]

    def _rule(self) -> StatementRule:
        query = self._query
        single_line = not self._config.completion.multi_line or single_line_wanted(query.prefix, query.suffix)
        return StatementRule(query.prefix, query.suffix, query.language, single_line)


def _info(snippet: Snippet) -> SnippetInfo:
    return SnippetInfo(
        snippet.path, snippet.start_line, snippet.end_line, snippet.score, snippet.commit, snippet.source
    )


def _eol(text: str) -> str:
    return "\r\n" if "\r\n" in text[:100_000] else "\n"
