"""The life of one completion: retrieve, prompt, generate, route, escalate.

Pure orchestration: what each step does is elsewhere. A failing retriever, router or backend costs its own
part of the answer and never the answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mccomd.config import Config
from mccomd.errors import EngineError, MccomdError
from mccomd.escalation import Escalations, LargeRequest
from mccomd.generate import Generate, Generated, ReadAhead
from mccomd.guest import Guest
from mccomd.hooks import Decision, Evidence
from mccomd.indexing import Indexing
from mccomd.model import Model
from mccomd.plugins import Plugins
from mccomd.postprocess import clean
from mccomd.protocol import Completion, SnippetInfo, Update, WarmResult
from mccomd.remembered import Answer
from mccomd.task import Task
from mccomd.types import Finish, Query, Snippet

__all__ = ["Completer"]

log = logging.getLogger(__name__)

GRACE_S = 0.3
"""How long after its deadline a request may still wait for the pass that is running."""
REJECTED = "you rejected this text here before"
ABANDONED = "the router gave the local answer up after its first tokens"
SUPERSEDED = "superseded by a newer request, or the client left"


@dataclass
class _Gathered:
    """What one completion has gathered so far, whatever becomes of it."""

    stages_ms: dict[str, float] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    prefilled: int = 0
    reused: int = 0
    drafted: int = 0
    accepted: int = 0
    generated: int = 0

    def stage(self, name: str, since: float) -> float:
        now = time.monotonic()
        self.stages_ms[name] = (now - since) * 1000
        return now

    def take(self, generated: Generated) -> None:
        generation = generated.generation
        self.stages_ms |= {"prefill": generation.prefill_ms, "decode": generation.decode_ms}
        self.snippets = generated.prompt.snippets
        self.prefilled, self.reused = generation.prefilled, generation.reused
        self.drafted, self.accepted = generation.drafted, generation.accepted
        self.generated = len(generation.ids)


class Completer:
    """Answers tasks; holds the model, the plugins and the index together."""

    def __init__(
        self,
        config: Callable[[], Config],
        model: Model,
        plugins: Plugins,
        indexing: Indexing,
        guest: Guest,
    ) -> None:
        self._config = config
        self._guest = guest
        self._model = model
        self._plugins = plugins
        self._indexing = indexing
        self._escalations = Escalations(config, plugins)

    async def complete(self, task: Task) -> Completion:
        """The one answer; a reason takes the place of a text that cannot be had."""
        gathered = _Gathered()
        if known := self._known(task, gathered):
            return known
        try:
            async with asyncio.timeout_at(_loop_time(self._deadline(task) + GRACE_S)):
                return await self._complete(task, gathered)
        except TimeoutError:
            task.cancel.cancel()
            return self._empty(task, gathered, "deadline", self._why_late())
        except MccomdError as error:
            return self._empty(task, gathered, "none", str(error))

    async def warm(self, task: Task) -> WarmResult:
        """Read ahead for the completion that may be asked for next."""
        manners = self._guest.manners(self._config().power)
        if manners.saving:
            return WarmResult(0, f"saver mode: {manners.reason}")
        query = await self._query(task)
        found = await self._retrieve(task, query)
        if not await self._model.ready():
            return WarmResult(0, self._model.problem)
        job = ReadAhead(query, found, self._config(), task.cancel)
        tokens = await self._model.read_ahead(job, task.cancel)
        return WarmResult(tokens, "gave way to a request" if task.cancel.cancelled else "")

    async def close(self) -> None:
        await self._escalations.close()

    def _known(self, task: Task, gathered: _Gathered) -> Completion | None:
        """The answer when no model is needed: the user types what was shown, or is back where it was."""
        root = self._indexing.known_root(task.document.path)
        found = task.session.remembered.at(task.place, self._made_with(root))
        if found is None:
            return None
        if root is not None:
            self._indexing.touch(root)
        answer, left = found
        gathered.snippets = answer.snippets
        source = "cache" if left else "none"
        reason = answer.reason
        if left and task.was_rejected(left):
            left, source, reason = "", "none", REJECTED
        return self._completion(
            task,
            gathered,
            text=left,
            source=source,
            confidence=answer.confidence,
            finish=answer.finish,
            reason=reason,
            route=answer.route,
        )

    def _made_with(self, root: str | None) -> object:
        """What an answer depends on beside the text: options, and what the index holds."""
        config = self._mannerly()
        commit = self._indexing.commit_of(root)
        return (self._model.name, config.model, config.completion, config.router, commit)

    # --- the stages -----------------------------------------------------------------------------

    async def _complete(self, task: Task, gathered: _Gathered) -> Completion:
        query = await self._query(task)
        mark = time.monotonic()
        found = await self._retrieve(task, query)
        mark = gathered.stage("retrieve", mark)
        if not await self._model.ready():
            raise EngineError(self._model.problem)
        mark = gathered.stage("wait_model", mark)
        limits = self._max_tokens(task), self._deadline(task)
        job = Generate(query, found, self._mannerly(), *limits, task.cancel, self._early())
        generated = await self._model.run(job)
        gathered.take(generated)
        mark = gathered.stage("generate", mark)
        if generated.generation.finish is Finish.CANCELLED:
            return self._empty(task, gathered, "cancelled", SUPERSEDED)
        text, reason = self._fit(task, query, generated)
        decision = self._decide(task, query, generated, text)
        gathered.stage("finish", mark)
        return self._answer(task, gathered, generated, text, reason, decision)

    def _early(self) -> Callable[[Sequence[float]], bool] | None:
        """What may stop a generation after its first tokens: the router, when somebody else can answer."""
        config = self._config()
        if not config.cloud.backend or self._plugins.backend(config.cloud.backend) is None:
            return None
        return lambda probabilities: self._plugins.give_up(config.router.name, probabilities)

    def _deadline(self, task: Task) -> float:
        """In time.monotonic() seconds."""
        return task.started + (task.deadline_ms or self._config().completion.deadline_ms) / 1000

    def _max_tokens(self, task: Task) -> int:
        return task.max_tokens or self._config().completion.max_tokens

    def _mannerly(self) -> Config:
        """The config, with answers of one line while the machine has better things to do."""
        config = self._config()
        if not self._guest.manners(config.power).saving:
            return config
        return replace(config, completion=replace(config.completion, multi_line=False))

    async def _query(self, task: Task) -> Query:
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

    async def _retrieve(self, task: Task, query: Query) -> list[Snippet]:
        """The snippets of this region of the document: the same until the cursor or the index moves.

        They stand first in the prompt: others at the next keystroke would have all of it read again.
        """
        if not query.limit:
            return []
        commit = self._indexing.commit_of(query.repository)
        kept = task.session.snippets_near(task.position.line, commit)
        if kept is not None:
            return kept
        budget_s = min(self._config().completion.retrieve_ms / 1000, self._deadline(task) - time.monotonic())
        found = await self._plugins.retrieve(query, max(0.0, budget_s))
        task.session.keep_snippets(task.position.line, commit, found)
        return found

    def _fit(self, task: Task, query: Query, generated: Generated) -> tuple[str, str]:
        """The text as the editor inserts it, and why there is none or less."""
        if generated.generation.finish is Finish.ABANDONED:
            return "", ABANDONED
        cleaned = clean(
            generated.text, prefix=task.prefix, suffix=task.suffix, language=query.language, eol=task.eol
        )
        if cleaned.text and task.was_rejected(cleaned.text):
            return "", REJECTED
        late = generated.generation.finish is Finish.DEADLINE
        if cleaned.text:
            return cleaned.text, "cut at the deadline" if late else ""
        if late:
            return "", _why_cut(generated)
        return "", ", ".join(cleaned.reasons) or "the model had nothing to add"

    def _decide(self, task: Task, query: Query, generated: Generated, text: str) -> Decision:
        rejection = task.session.rejection(task.prefix, task.suffix, time.monotonic())
        evidence = Evidence(
            probabilities=generated.generation.probabilities,
            text=text,
            language=query.language,
            prefix=task.prefix,
            suffix=task.suffix,
            rejected=rejection.offered.text if rejection else None,
        )
        decision = self._plugins.decide(self._config().router.name, evidence)

        def answer(raw: str, name: str, ms: float) -> None:
            if rejection is not None:
                task.session.made_good(rejection)
            self._update(task, query, raw, name, ms)

        request = LargeRequest(
            query, text, self._max_tokens(task), task.cancel, answer, request_id=task.request_id
        )
        return self._escalations.carry_out(decision, request)

    # --- the answers ----------------------------------------------------------------------------

    def _answer(
        self,
        task: Task,
        gathered: _Gathered,
        generated: Generated,
        text: str,
        reason: str,
        decision: Decision,
    ) -> Completion:
        finish = generated.generation.finish
        if finish in (Finish.STOP, Finish.LENGTH):
            root = self._indexing.known_root(task.document.path)
            said = text, reason, decision.confidence, finish.value, decision.reason
            answer = Answer(*said, gathered.snippets, self._made_with(root))
            task.session.remembered.keep(task.place, answer)
        return self._completion(
            task,
            gathered,
            text=text,
            source="local" if text else "none",
            confidence=decision.confidence,
            finish=finish.value,
            reason=reason,
            route=decision.reason,
        )

    def _empty(self, task: Task, gathered: _Gathered, finish: str, reason: str) -> Completion:
        return self._completion(
            task, gathered, text="", source="none", confidence=0.0, finish=finish, reason=reason, route=""
        )

    def _completion(self, task: Task, gathered: _Gathered, **said: Any) -> Completion:
        offered = task.offered(said["text"], said["source"])
        task.sessions.offer(task.document.path, offered, time.monotonic())
        return Completion(
            request_id=task.request_id,
            model=self._model.name,
            ms=(time.monotonic() - task.started) * 1000,
            snippets=[_info(snippet) for snippet in gathered.snippets],
            stages_ms=gathered.stages_ms,
            prefilled=gathered.prefilled,
            reused=gathered.reused,
            drafted=gathered.drafted,
            accepted=gathered.accepted,
            generated=gathered.generated,
            **said,
        )

    def _update(self, task: Task, query: Query, raw: str, name: str, ms: float) -> None:
        """Offer the large model's text; where it was dismissed before, or is none, nothing is sent."""
        cleaned = clean(raw, prefix=task.prefix, suffix=task.suffix, language=query.language, eol=task.eol)
        if not cleaned.text or task.was_rejected(cleaned.text):
            return
        path, version = task.document.path, task.document.version
        task.sessions.offer(path, task.offered(cleaned.text, "cloud"), time.monotonic())
        task.send_update(
            Update(task.request_id, path, version, task.position, cleaned.text, "cloud", name, ms)
        )

    def _why_late(self) -> str:
        loading = self._model.status().state == "loading"
        return (
            "the model is still loading" if loading else "out of time: the model was busy with other requests"
        )


def _loop_time(monotonic: float) -> float:
    """A time.monotonic() instant in the clock of the running loop."""
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()


def _why_cut(generated: Generated) -> str:
    read = generated.generation.prefilled + generated.generation.reused
    total = len(generated.prompt.ids)
    if read < total:
        return f"out of time: {read} of {total} prompt tokens were read, and are kept for the next request"
    return "out of time before the first whole word"


def _info(snippet: Snippet) -> SnippetInfo:
    return SnippetInfo(
        snippet.path, snippet.start_line, snippet.end_line, snippet.score, snippet.commit, snippet.source
    )
