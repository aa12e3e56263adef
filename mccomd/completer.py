"""The life of one completion: retrieve, prompt, generate, route, escalate, answer.

Pure orchestration: what each step does is elsewhere. A failing retriever, router or backend costs its own
part of the answer and never the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mccomd.answers import CUT, Said, completion, why_cut
from mccomd.asking import Asking
from mccomd.config import Config
from mccomd.egress import PREVIEW
from mccomd.errors import EngineError, MccomdError
from mccomd.explanations import Explanations
from mccomd.gathering import Gathering
from mccomd.generate import Generate, Generated, ReadAhead
from mccomd.guest import Guest
from mccomd.handoff import Handoff, Text
from mccomd.hooks import Decision
from mccomd.indexing import Indexing
from mccomd.model import Model
from mccomd.ngram_tables import NgramTables
from mccomd.plugins import Plugins
from mccomd.postprocess import Cleaned, clean
from mccomd.protocol import Completion, WarmResult
from mccomd.question import fit_at
from mccomd.remembered import Answer
from mccomd.routing import Routing
from mccomd.searching import Searching
from mccomd.task import Task
from mccomd.turn import Turn
from mccomd.types import Finish, Query

if TYPE_CHECKING:
    from mccomd.engine import Mixture, Table

__all__ = ["Completer"]

log = logging.getLogger(__name__)

GRACE_S = 0.3
"""How long after its deadline a request may still wait for the pass that is running."""
REJECTED = "you rejected this text here before"
ABANDONED = "the router gave the local answer up after its first tokens"
SUPERSEDED = "superseded by a newer request, or the client left"


class Completer:
    """Answers tasks; holds the model, the plugins and the index together."""

    def __init__(
        self,
        config: Callable[[], Config],
        model: Model,
        plugins: Plugins,
        indexing: Indexing,
        tables: NgramTables,
        guest: Guest,
        routing: Routing,
        explanations: Explanations,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._guest = guest
        self._model = model
        self._indexing = indexing
        self._tables = tables
        self._routing = routing
        self._explanations = explanations
        self._now = now
        self._gathering = Gathering(config, plugins, indexing, lambda task: self._deadline(task) - now())
        self._asking = Asking(config, plugins, routing, self._remember_update, now)
        self._background: set[asyncio.Task[None]] = set()
        self._searching = Searching(config, model, guest, self._keep, self._fit, now)

    async def complete(self, task: Task) -> Completion:
        """The one answer; a reason takes the place of a text that cannot be had."""
        self._routing.prepare()
        preview = PREVIEW.get() is not None  # what would leave is asked, and nothing else is to come of it
        explanation = self._explanations.begin(task, self._routing.threshold(), keep=not preview)
        turn = Turn(task, explanation, preview)
        self._asking.carry_over(turn)
        if at_once := self._at_once(turn):
            return self._say(turn, *at_once)
        task.cancel.on_cancel(turn.local.cancel)
        try:
            with self._indexing.hushed():
                async with asyncio.timeout_at(self._loop_time(self._deadline(task) + GRACE_S)):
                    return await self._complete(turn)
        except TimeoutError:
            turn.local.cancel()
            return self._late(turn)
        except MccomdError as error:
            return self._say(turn, Said(reason=str(error)))

    async def warm(self, task: Task) -> WarmResult:
        """Read ahead for the completion that may be asked for next."""
        if why := self._guest.manners(self._config().power).why_saving:
            return WarmResult(0, why)
        query = await self._gathering.query(task)
        found = await self._gathering.retrieve(task, query)
        if not await self._model.ready():
            return WarmResult(0, self._model.problem)
        self._table(query)
        job = ReadAhead(query, found, self._config(), task.cancel)
        with self._indexing.hushed():
            tokens = await self._model.read_ahead(job, task.cancel)
        return WarmResult(tokens, "gave way to a request" if task.cancel.cancelled else "")

    @property
    def busy(self) -> bool:
        """Whether anything is under way that has its answer already."""
        return bool(self._background) or self._asking.busy

    async def close(self) -> None:
        for work in self._background:
            work.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._asking.close()

    def _at_once(self, turn: Turn) -> tuple[Said, str] | None:
        """The answer, and the model's name, when no model is needed.

        The user types what was shown, or is back where it was; or the large model, asked at a request before,
        has said something that goes on from here.
        """
        task, known = turn.task, self._known(turn)
        large = turn.handoff.so_far if turn.handoff is not None else None
        if large is not None and (large.final or task.updates) and not task.was_rejected(large.text):
            stands = known.text if known is not None else ""
            if large.final or large.text.startswith(stands):
                route = f"what was asked for {turn.explanation.carried} goes on"
                return Said(
                    large.text, "cloud", 0.0, "stop" if large.final else "carried", "", route
                ), large.model
        return None if known is None else (known, "")

    def _known(self, turn: Turn) -> Said | None:
        task = turn.task
        root = self._indexing.known_root(task.document.path)
        found = task.session.remembered.at(task.place, self._made_with(root))
        if found is None:
            return None
        if root is not None:
            self._indexing.touch(root)
        answer, left = found
        turn.gathered.snippets = answer.snippets
        source, reason = "cache" if left else "none", answer.reason
        if left and task.was_rejected(left):
            left, source, reason = "", "none", REJECTED
        return Said(left, source, answer.confidence, answer.finish, reason, answer.route)

    def _made_with(self, root: str | None) -> object:
        """What an answer depends on beside the text: options, and what the index holds."""
        config = self._mannerly()
        commit = self._indexing.commit_of(root)
        return (self._model.name, config.model, config.completion, config.router, commit)

    # --- the stages -----------------------------------------------------------------------------

    async def _complete(self, turn: Turn) -> Completion:
        task, gathered = turn.task, turn.gathered
        query = turn.query = await self._gathering.query(task)
        mark = self._now()
        turn.rejection = task.session.rejection(task.prefix, task.suffix, mark)
        turn.found = await self._gathering.retrieve(task, query)
        await self._second_round(turn)
        mark = gathered.stage("retrieve", mark, self._now())
        if not await self._model.ready():
            raise EngineError(self._model.problem)
        mark = gathered.stage("wait_model", mark, self._now())
        limits = self._max_tokens(task), self._deadline(task)
        job = Generate(
            query,
            turn.found,
            self._mannerly(),
            *limits,
            turn.local,
            self._asking.early(turn),
            self._useless(turn),
            self._mixture(),
            self._table(query),
        )
        generating = asyncio.ensure_future(self._model.run(job))
        try:
            if await self._held_back(turn, generating):
                self._keep(self._finish_held(turn, generating, mark))
                return self._say(turn, self._while_held(turn))
            generated = await generating
        except asyncio.CancelledError:
            generating.cancel()
            raise
        return await self._finished(turn, job, generated, mark)

    def _mixture(self) -> Mixture | None:
        return self._model.mixture if self._config().completion.ngrams else None

    def _table(self, query: Query) -> Table | None:
        """What the repository holds, for the mixture; it is made in the background where there is none."""
        if self._mixture() is None or self._model.folder is None:
            return None
        return self._tables.of(query.repository, query.relative_path, self._model.folder)

    async def _held_back(self, turn: Turn, generating: asyncio.Future[Generated]) -> bool:
        """Wait for the local answer, or until it is known that it is not to be shown yet."""
        if not turn.task.updates:
            return False
        unsure = asyncio.ensure_future(turn.unsure.wait())
        both: set[asyncio.Future[Any]] = {generating, unsure}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unsure.cancel()
        return turn.unsure.is_set()

    def _while_held(self, turn: Turn) -> Said:
        decision = turn.decision or Decision(True, 0.0, "")
        reason = f"held back, unsure: {self._config().cloud.backend} is asked"
        return Said("", "none", decision.confidence, "held", reason, decision.reason)

    async def _finish_held(self, turn: Turn, generating: asyncio.Future[Generated], mark: float) -> None:
        """The local answer goes on as the fallback, after the request has its answer."""
        text = None
        try:
            async with asyncio.timeout_at(self._loop_time(self._deadline(turn.task) + GRACE_S)):
                generated = await generating
        except TimeoutError:
            turn.local.cancel()
        except MccomdError as error:
            log.info("a held answer failed: %s", error)
        else:
            turn.gathered.take(generated)
            turn.gathered.stage("generate", mark, self._now())
            if generated.generation.finish is not Finish.CANCELLED:
                fitted, _ = self._fit(turn, generated)
                self._asking.record(turn, generated.generation.probabilities, fitted)
                text = self._text(turn, fitted)
        self._explain(turn)
        if turn.handoff is not None:
            turn.handoff.local(text)

    async def _finished(self, turn: Turn, job: Generate, generated: Generated, mark: float) -> Completion:
        turn.gathered.take(generated)
        mark = turn.gathered.stage("generate", mark, self._now())
        if generated.generation.finish is Finish.CANCELLED:
            return self._say(turn, Said(finish="cancelled", reason=SUPERSEDED))
        text, reason = self._fit(turn, generated)
        held = False
        if turn.decision is None:
            held = self._asking.decide_at_the_end(turn, generated.generation.probabilities, text)
        self._asking.record(turn, generated.generation.probabilities, text)
        if held and turn.task.updates and turn.handoff is not None:
            turn.handoff.local(self._text(turn, text))
            return self._say(turn, self._while_held(turn))
        if text and not turn.asked and self._asking.priming.near(turn):
            self._asking.priming.prime(turn, text)
        if turn.unsure.is_set() and turn.handoff is not None:  # a client that takes no updates
            await self._settled(turn, turn.handoff)
        turn.gathered.stage("finish", mark, self._now())
        if not self._searching.wanted(turn, generated):
            return self._answer(turn, generated, text, reason)
        if turn.task.wait:
            generated = await self._searching.look(turn, job, generated)
            return self._answer(turn, generated, *self._fit(turn, generated))
        handoff = self._asking.handoff(turn, fit_at(turn.task))
        answer = self._answer(turn, generated, text, reason)
        self._searching.begin(turn, job, generated, handoff)
        return answer

    async def _settled(self, turn: Turn, handoff: Handoff) -> None:
        """Until the large model has answered, as long as an unsure answer may be held back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._loop_time(self._deadline(turn.task))):
                await handoff.settled.wait()

    async def _second_round(self, turn: Turn) -> None:
        """After a rejection: what else the rejected answer finds.

        For the large model at once. The local model reads other snippets only when there is nobody else to
        ask: they stand first in its prompt, and all of it would have to be read again.
        """
        wanted = self._gathering.wants_second_round(turn)
        if not self._routing.why_not():
            if wanted or self._asking.priming.likely(turn):
                self._keep(self._for_the_large_model(turn, second_round=wanted))
            return
        if not wanted:
            return
        await self._gathering.second_round(turn)
        self._gathering.keep_second_round(turn)

    async def _for_the_large_model(self, turn: Turn, *, second_round: bool) -> None:
        """While the local model begins: what the large one will probably be asked."""
        if second_round:
            await self._gathering.second_round(turn)
        if self._asking.priming.likely(turn) and not self._guest.manners(self._config().power).saving:
            self._asking.priming.prime(turn)

    def _deadline(self, task: Task) -> float:
        """In the seconds of `now`."""
        return task.started + (task.deadline_ms or self._config().completion.deadline_ms) / 1000

    def _loop_time(self, at: float) -> float:
        """An instant of `now` in the clock of the running loop."""
        return asyncio.get_running_loop().time() + at - self._now()

    def _max_tokens(self, task: Task) -> int:
        return task.max_tokens or self._config().completion.max_tokens

    def _mannerly(self) -> Config:
        """The config, with answers of one line while the machine has better things to do."""
        config = self._config()
        if not self._guest.manners(config.power).saving:
            return config
        return replace(config, completion=replace(config.completion, multi_line=False))

    def _fit(self, turn: Turn, generated: Generated) -> tuple[str, str]:
        """The text as the editor inserts it, and why there is none or less."""
        if generated.generation.finish is Finish.ABANDONED:
            return "", ABANDONED
        task = turn.task
        cleaned = _cleaned(task, generated.text)
        if cleaned.text and task.was_rejected(cleaned.text):
            return "", REJECTED
        finish = generated.generation.finish
        if cleaned.text:
            return cleaned.text, CUT.get(finish, "")
        if finish is Finish.DEADLINE:
            return "", why_cut(generated)
        if finish is Finish.UNSURE:
            return "", "the model was too unsure of its first words"
        return "", ", ".join(cleaned.reasons) or "the model had nothing to add"

    def _useless(self, turn: Turn) -> Callable[[str], bool]:
        """Whether nothing of a text of the model's would be shown; asked in its thread, where it is pure."""
        task, session = turn.task, turn.task.session

        def useless(text: str) -> bool:
            shown = _cleaned(task, text).text
            return bool(text.strip()) and (not shown or session.was_rejected(task.prefix, task.suffix, shown))

        return useless

    # --- the answers ----------------------------------------------------------------------------

    def _text(self, turn: Turn, text: str) -> Text | None:
        ms = (self._now() - turn.task.started) * 1000
        return Text(text, "local", self._model.name, ms) if text else None

    def _answer(self, turn: Turn, generated: Generated, text: str, reason: str) -> Completion:
        decision, finish = turn.decision or Decision(False, 0.0, ""), generated.generation.finish
        local = self._text(turn, text)
        best = turn.handoff.best(local) if turn.handoff else local
        if best is not None and best is not local:
            text, reason = best.text, ""
        if finish in (Finish.STOP, Finish.LENGTH, Finish.UNSURE):
            self._remember(turn, text, reason, decision, finish.value)
        source = best.source if best else "none"
        said = Said(text, source, decision.confidence, finish.value, reason, decision.reason)
        return self._say(turn, said, best.model if best else "")

    def _remember_update(self, turn: Turn, text: Text) -> None:
        """What was shown later is what typing it through, or coming back, finds."""
        decision = turn.decision or Decision(True, 0.0, "")
        self._remember(turn, text.text, "", decision, "stop")

    def _remember(self, turn: Turn, text: str, reason: str, decision: Decision, finish: str) -> None:
        root = self._indexing.known_root(turn.task.document.path)
        said = text, reason, decision.confidence, finish, decision.reason
        answer = Answer(*said, turn.gathered.snippets, self._made_with(root))
        turn.task.session.remembered.keep(turn.task.place, answer)

    def _late(self, turn: Turn) -> Completion:
        """The local answer is out of time; the large model's may be there or still come."""
        decision = turn.decision or Decision(False, 0.0, "")
        best = turn.handoff.best(None) if turn.handoff else None
        if best is not None:
            return self._say(
                turn,
                Said(best.text, best.source, decision.confidence, "deadline", "", decision.reason),
                best.model,
            )
        if not turn.asked:
            turn.task.cancel.cancel()
        loading = self._model.status().state == "loading"
        reason = "the model is still loading" if loading else "out of time: the model was busy with others"
        return self._say(turn, Said("", "none", decision.confidence, "deadline", reason, decision.reason))

    def _say(self, turn: Turn, said: Said, model: str = "") -> Completion:
        """The answer goes out: from here on there are only updates."""
        task, now = turn.task, self._now()
        offered = task.offered(said.text, said.source, said.confidence)
        task.sessions.offer(task.document.path, offered, now)
        answer = completion(task, turn.gathered, said, model or self._model.name, now)
        turn.explanation.completion, turn.said = answer, True
        self._explain(turn)
        if turn.handoff is not None:
            # After this answer has been written: an update of what nobody has yet would be lost.
            asyncio.get_running_loop().call_soon(turn.handoff.answered, said.text)
        return answer

    def _explain(self, turn: Turn) -> None:
        explanation, gathered = turn.explanation, turn.gathered
        explanation.stages_ms, explanation.counts = gathered.stages_ms, gathered.counts()
        explanation.local, explanation.prompt_ids = gathered.snippets, gathered.prompt_ids
        if turn.decision is not None:
            explanation.route, explanation.confidence = turn.decision.reason, turn.decision.confidence

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _cleaned(task: Task, text: str) -> Cleaned:
    place = {"prefix": task.prefix, "suffix": task.suffix, "language": task.document.language}
    return clean(text, **place, eol=task.eol)
