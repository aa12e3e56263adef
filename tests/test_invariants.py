"""Whatever a user, a model, an endpoint and plugins do, in whatever order: these things hold.

- Every request gets exactly one answer.
- No large model is asked for a request that was cancelled, nor when none may be asked (offline, none is
  configured, the budget is spent, the backend is switched off).
- A call to the large model goes on for the newest request exactly as long as what was typed since agrees with
  what it has said; there is never a second one beside it.
- No update after an accept, after a newer request, before the answer, or for another text than the newest.
- What an update leaves standing grows until it is whole; a text that was dismissed here does not come back.
- A plugin that raises or hangs changes its own state and no other's, and no request waits for it for long.

MCCOMD_SEQUENCES sets how many random sequences are tried (10,000 take six minutes of one core).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mccomd.completer import Completer
from mccomd.config import BehaviourConfig, BudgetConfig, Config, PowerConfig, RouterConfig
from mccomd.errors import CloudError, RequestError
from mccomd.explanations import Explanations
from mccomd.guest import Guest
from mccomd.history import History, month_of
from mccomd.hooks import CloudRequest
from mccomd.ngram_tables import NgramTables
from mccomd.outgoing import CloudReport
from mccomd.plugins import PluginOptions, Plugins
from mccomd.postprocess import clean
from mccomd.protocol import Completion, Feedback, FeedbackKind, Position, Update
from mccomd.routing import Routing
from mccomd.session import Sessions
from mccomd.task import Task
from mccomd.types import CancelToken, Document

from .conftest import put_plugin
from .scripted_parts import SCRIPT, Call, Job, Script, ScriptedIndexing, ScriptedModel, VirtualLoop, plugin_of

SEQUENCES = int(os.environ.get("MCCOMD_SEQUENCES", "150"))
NAMES = ("finding", "routing", "asking")
PATH = "/repo/a.py"
TEXTS = st.text("ab(", min_size=1, max_size=4)
STEPS_S = (1 / 16, 1 / 16, 5 / 16, 13 / 16, 13 / 16, 55 / 16)
MOST_S = 90.0  # less than the large model's deadline, which is kept by a real clock
NOW_S = 1_790_000_000.0


def _site() -> str:
    """A folder with one plugin a part, so that each has a state of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mccomd-invariants-"))
    hooks = ("mccomd_retrievers", "mccomd_routers", "mccomd_backends")
    kinds = ("ScriptedRetriever", "ScriptedRouter", "ScriptedBackend")
    for name, hook, part in zip(NAMES, hooks, kinds, strict=True):
        put_plugin(folder, name, plugin_of(hook, part))
    return str(folder)


@dataclass
class Asked:
    """One request, as the client knows it."""

    task: Task
    future: asyncio.Task[Completion]
    shown: str = ""  # what the client has, for the place of the request
    growing: bool = False
    updates: list[Update] = field(default_factory=list)


class Cascade(RuleBasedStateMachine):
    """A user at one document, with everything behind it."""

    site: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        if not Cascade.site:
            Cascade.site = _site()
            sys.path.insert(0, Cascade.site)
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.script = SCRIPT[0] = Script(started=self.large_model_asked, primed=self.large_model_primed)
        self.config = Config(power=PowerConfig(mode="full"))
        self.model = ScriptedModel()
        self.folder = tempfile.TemporaryDirectory()
        self.text, self.cursor, self.version = "x = \ny = 1\n", 4, 1
        self.asked: list[Asked] = []
        self.broken: set[str] = set()  # plugins that were made to fail
        self.accepted: set[str] = set()  # request ids
        self.dismissed: set[tuple[str, str]] = set()  # (text before and the answer, text after)
        self.spent = False
        self.primes = 0
        self.passed = 0.0
        self.violations: list[str] = []  # a plugin's exceptions are caught: what it sees is noted

    @initialize(
        unsure=st.sampled_from(["hold", "show", "drop"]),
        updates=st.booleans(),
        read_ms=st.sampled_from([0, 750]),
        stream_ms=st.sampled_from([0, 1]),
        backend=st.sampled_from(["large", "large", "large", ""]),
        prime_ahead=st.sampled_from(["always", "auto", "never"]),
        is_open=st.sampled_from([True, True, False]),
        trouble=st.sampled_from(["", "", "", "raise", "hang", "router"]),
        trouble_after=st.integers(0, 5),
    )
    def begin(
        self,
        unsure: str,
        updates: bool,
        read_ms: int,
        stream_ms: int,
        backend: str,
        prime_ahead: str,
        is_open: bool,
        trouble: str,
        trouble_after: int,
    ) -> None:
        self.trouble, self.trouble_after = trouble, trouble_after
        router = RouterConfig(
            name="scripted", unsure=unsure, hold_ms=800, stream_ms=stream_ms, shadow="scripted"
        )
        self.config = replace(
            self.config,
            router=router,
            behaviour=BehaviourConfig(read_ms=read_ms),
            cloud=replace(self.config.cloud, backend=backend, deadline_ms=100_000, prime_ahead=prime_ahead),
            completion=replace(self.config.completion, deadline_ms=3000),
            budget=BudgetConfig(tokens=1000),
        )
        self.updates, self.is_open = updates, is_open
        self.plugins = Plugins(PluginOptions(NAMES, ("bm25", "confidence")), lambda *_, **__: ())
        self.history = History(Path(self.folder.name))
        self.history.loaded = True
        self.routing = Routing(
            lambda: self.config, self.plugins, self.model, self.history, Path(self.folder.name), lambda: NOW_S
        )  # type: ignore[arg-type]
        self.explanations = Explanations(self.loop.time)
        indexing = ScriptedIndexing()
        tables = NgramTables(indexing, lambda: self.config.completion, lambda: "")  # type: ignore[arg-type]
        self.completer = Completer(
            lambda: self.config, self.model, self.plugins, indexing, tables, Guest(), self.routing,
            self.explanations, self.loop.time,
        )  # type: ignore[arg-type]  # fmt: skip
        self.sessions = Sessions(
            lambda: self.config.behaviour, lambda path, judged: self.routing.judged(judged)
        )
        self.sessions.text_is(self.document(), self.loop.now)

    # --- the client -------------------------------------------------------------------------------

    def document(self) -> Document:
        return Document(PATH, self.text, "python", self.version)

    def position(self) -> Position:
        before = self.text[: self.cursor].split("\n")
        return Position(len(before) - 1, len(before[-1]))

    def edited(self, text: str, cursor: int) -> None:
        self.text, self.cursor, self.version = text, cursor, self.version + 1
        if self.is_open:
            self.sessions.text_is(self.document(), self.loop.now)
        self.settle()

    @rule(text=TEXTS)
    def type(self, text: str) -> None:
        self.edited(self.text[: self.cursor] + text + self.text[self.cursor :], self.cursor + len(text))

    @rule(count=st.integers(1, 9))
    def type_what_is_shown(self, count: int) -> None:
        rest = self.on_screen()
        if rest:
            self.type(rest[:count])

    @rule(count=st.integers(1, 3))
    def delete(self, count: int) -> None:
        start = max(0, self.cursor - count)
        self.edited(self.text[:start] + self.text[self.cursor :], start)

    @rule(place=st.integers(0, 12))
    def jump(self, place: int) -> None:
        self.cursor = min(place, len(self.text))

    @rule(text=TEXTS)
    def type_and_ask(self, text: str) -> None:
        self.type(text)
        self.ask()

    @rule(
        text=st.text("ab(", min_size=1, max_size=6),
        typed=st.integers(0, 2),
        then=st.lists(st.sampled_from(["local", "end", "wait", "accept"]), max_size=4, unique=True),
    )
    def unsure_from_beginning_to_end(self, text: str, typed: int, then: list[str]) -> None:
        """Where most can go wrong: unsure, both models answer, the user types on or accepts meanwhile."""
        self.ask()
        if job := self.job():
            self.model.tokens(job, 0.1)
        self.settle()
        calls = self.script.open_calls()
        if calls:
            calls[-1].say(text + " b")
        self.settle()
        if typed:
            self.type(text[:typed])
        for step in then:
            if step == "local" and job and job.open:
                self.model.finish(job, text[:2] + "ab", 0.1)
            elif step == "end" and calls:
                calls[-1].pieces.put_nowait(None)
            elif step == "wait":
                self.time_passes(13 / 16)
            elif step == "accept" and self.asked[-1].shown:
                self.feedback(FeedbackKind.ACCEPTED, 0, 0)
            self.settle()

    @rule(
        text=st.text("ab( ", min_size=2, max_size=8),
        said=st.integers(0, 8),
        steps=st.lists(st.integers(0, 3), min_size=1, max_size=3),
        astray=st.sampled_from(["", "", "", "", "b", "(", "back", "jump"]),
        local=st.sampled_from(["", "early", "sure", "unsure"]),
        end=st.booleans(),
    )
    def types_along_with_the_large_model(
        self, text: str, said: int, steps: list[int], astray: str, local: str, end: bool
    ) -> None:
        """Asks at each key while the large model, asked at the first one, is still writing."""
        self.ask()
        if job := self.job():
            self.model.tokens(job, 0.1)
        self.settle()
        calls = self.script.open_calls()
        if calls and said:
            calls[-1].say(text[:said])
        at = 0
        for step in steps:
            self.type(text[at : at + step])
            at += step
            self.ask()
            if local and (job := self.job()):
                self.model.tokens(job, 0.9 if local == "sure" else 0.1)
                self.settle()
                if local != "early" and job.open:
                    self.model.finish(job, text[at:] or "ab", 0.9 if local == "sure" else 0.1)
            self.settle()
        if astray == "jump":
            self.jump(0)
            self.ask()
        elif astray == "back":
            self.delete(1)
            self.ask()
        elif astray:
            self.type_and_ask(astray)
        if calls and not calls[-1].ended:
            calls[-1].say(text[said:] + " b")
            self.settle()
            if end:
                calls[-1].pieces.put_nowait(None)
        self.settle()

    @rule()
    def ask(self) -> None:
        if len(self.asked) >= self.trouble_after:
            self.begin_trouble()
        cancel = CancelToken()
        task = Task(
            request_id=f"client-1-{len(self.asked) + 1}",
            document=self.document(),
            position=self.position(),
            prefix=self.text[: self.cursor],
            suffix=self.text[self.cursor :],
            others=(),
            cancel=cancel,
            sessions=self.sessions,
            send_update=self.update_came,
            updates=self.updates,
            started=self.loop.now,
        )
        self.sessions.cursor_is(task.document, task.prefix, task.suffix, self.loop.now)
        task.session.supersede(cancel, task.prefix, task.suffix)
        going_on = [call for call in self.script.open_calls() if self.agrees(call)]
        self.asked.append(Asked(task, self.loop.create_task(self.answer(task))))
        self.settle()
        if not self.config.cloud.offline:
            self.check(all(not call.ended for call in going_on), "a call that agrees was given up")

    async def answer(self, task: Task) -> Completion:
        answer = await self.completer.complete(task)
        asked = next(asked for asked in self.asked if asked.task is task)
        asked.shown, asked.growing = answer.text, answer.finish == "carried"
        dismissed = self.was_dismissed(task.prefix, task.suffix, answer.text)
        self.check(not dismissed or not answer.text, "a dismissed text was answered again")
        return answer

    @precondition(lambda self: any(asked.shown for asked in self.asked))
    @rule(kind=st.sampled_from(list(FeedbackKind)), back=st.integers(0, 2), characters=st.integers(0, 5))
    def feedback(self, kind: FeedbackKind, back: int, characters: int) -> None:
        shown = [asked for asked in self.asked if asked.shown]
        asked = shown[max(0, len(shown) - 1 - back)]
        try:
            self.sessions.feedback(Feedback(asked.task.request_id, kind, characters), self.loop.now)
        except RequestError:
            raise AssertionError("an answer of this client is unknown") from None
        if kind in (FeedbackKind.ACCEPTED, FeedbackKind.PARTIALLY_ACCEPTED):
            self.accepted.add(asked.task.request_id)
            self.dismissed.discard(self.mark(asked.task.prefix, asked.task.suffix, asked.shown))
        elif kind is FeedbackKind.DISMISSED and asked is shown[-1]:
            self.dismissed.add(self.mark(asked.task.prefix, asked.task.suffix, asked.shown))
        self.settle()

    @rule()
    def close_document(self) -> None:
        self.sessions.forget(PATH, self.loop.now)
        self.dismissed.clear()
        self.sessions.text_is(self.document(), self.loop.now)
        self.settle()

    def mark(self, prefix: str, suffix: str, text: str) -> tuple[str, str]:
        return prefix + text, suffix

    def was_dismissed(self, prefix: str, suffix: str, text: str) -> bool:
        return self.mark(prefix, suffix, text) in self.dismissed

    def on_screen(self) -> str:
        """What is left of the newest answer at the cursor."""
        if not self.asked or not self.asked[-1].shown:
            return ""
        task, shown = self.asked[-1].task, self.asked[-1].shown
        typed = self.text[len(task.prefix) : self.cursor]
        return shown[len(typed) :] if shown.startswith(typed) else ""

    # --- what is behind it --------------------------------------------------------------------------

    def job(self) -> Job | None:
        jobs = self.model.open_jobs()
        return jobs[-1] if jobs else None

    @precondition(lambda self: self.model.open_jobs())
    @rule(probability=st.sampled_from([0.1, 0.9]))
    def first_tokens(self, probability: float) -> None:
        if job := self.job():
            self.model.tokens(job, probability)
        self.settle()

    @precondition(lambda self: self.model.open_jobs())
    @rule(
        text=st.text("ab(", max_size=6),
        probability=st.sampled_from([0.1, 0.6, 0.9]),
        oldest=st.booleans(),
        close=st.booleans(),
    )
    def local_answer(self, text: str, probability: float, oldest: bool, close: bool = False) -> None:
        jobs = self.model.open_jobs()
        self.model.finish(jobs[0] if oldest else jobs[-1], text, probability, close=close)
        self.settle()

    @precondition(lambda self: self.model.open_searches())
    @rule(text=st.one_of(st.none(), st.text("ab(", max_size=6)), oldest=st.booleans())
    def a_search_ends(self, text: str | None, oldest: bool) -> None:
        self.model.open_searches()[0 if oldest else -1].end(text)
        self.settle()

    @rule(
        text=st.text("ab(", min_size=1, max_size=6),
        better=st.text("ab(", min_size=1, max_size=6),
        then=st.lists(st.sampled_from(["type", "ask", "accept", "dismiss", "wait", "end"]), max_size=4),
    )
    def an_answer_whose_choices_were_close(self, text: str, better: str, then: list[str]) -> None:
        """A more probable text is looked for while the user types on, accepts or dismisses."""
        self.ask()
        if job := self.job():
            self.model.finish(job, text, 0.6, close=True)
        self.settle()
        for step in then:
            if step == "type":
                self.type(better[:1])
            elif step == "ask":
                self.ask()
            elif step in ("accept", "dismiss") and self.asked[-1].shown:
                kind = FeedbackKind.ACCEPTED if step == "accept" else FeedbackKind.DISMISSED
                self.feedback(kind, 0, 0)
            elif step == "wait":
                self.time_passes(1 / 16)
            elif step == "end" and (searches := self.model.open_searches()):
                searches[-1].end(better)
                self.settle()

    @precondition(lambda self: self.script.open_calls())
    @rule(piece=st.text("ab( ", min_size=1, max_size=4), end=st.booleans(), oldest=st.booleans())
    def large_model_speaks(self, piece: str, end: bool, oldest: bool) -> None:
        call = self.script.open_calls()[0 if oldest else -1]
        call.say(piece)
        if end:
            call.pieces.put_nowait(None)
        self.settle()

    @precondition(lambda self: self.script.open_calls())
    @rule(really=st.sampled_from([False, False, False, True]))
    def large_model_raises(self, really: bool) -> None:
        if not really:
            return
        self.broken.add("asking")
        self.script.open_calls()[-1].pieces.put_nowait(RuntimeError("a backend's bug"))
        self.settle()

    @precondition(lambda self: self.script.open_calls())
    @rule()
    def large_model_fails(self) -> None:
        """As an endpoint does: no fault of the backend's."""
        self.script.open_calls()[-1].pieces.put_nowait(CloudError("the answer broke off"))
        self.settle()

    @rule(seconds=st.sampled_from(STEPS_S))
    def time_passes(self, seconds: float) -> None:
        self.passed += seconds
        if self.passed > MOST_S:
            return
        self.loop.now += seconds
        self.settle()

    @rule(offline=st.sampled_from([False, False, True]))
    def go_offline(self, offline: bool) -> None:
        self.config = replace(self.config, cloud=replace(self.config.cloud, offline=offline))

    @rule(spent=st.sampled_from([False, False, True]))
    def spend_the_budget(self, spent: bool) -> None:
        if spent and not self.spent:
            self.spent = True
            left = self.config.budget.tokens - self.history.month(month_of(NOW_S)).tokens
            self.routing.budget.paid(CloudReport(requests=1, prompt_tokens=left - 1, output_tokens=1))
        elif not spent and self.spent:
            self.spent = False  # the user allows more
            self.config = replace(self.config, budget=BudgetConfig(tokens=self.config.budget.tokens + 10**6))

    def begin_trouble(self) -> None:
        """The part that was chosen to fail does so from here on."""
        if self.trouble == "router":
            self.script.router = "raise"
            self.broken.add("routing")
        elif self.trouble:
            self.script.retriever = self.trouble
            self.broken.add("finding")
        self.trouble = ""

    @precondition(lambda self: self.script.in_gate)
    @rule()
    def the_retriever_comes_back(self) -> None:
        self.let_go()

    # --- what holds -----------------------------------------------------------------------------------

    def large_model_asked(self, request: CloudRequest) -> None:
        """At the moment when a backend is called."""
        asked = next(a for a in self.asked if a.task.request_id == request.request_id)
        self.check(not asked.task.cancel.cancelled, "asked for a request that was cancelled")
        self.check(self.config.cloud.backend == "large", "asked although none is configured")
        self.check(not self.config.cloud.offline, "asked although offline")
        self.check(not self.spent, "asked although the budget is spent")
        self.check(asked is self.asked[-1], "asked for an old request")
        beside = [call for call in self.script.open_calls() if self.agrees(call)]
        self.check(not beside, "asked beside a call that agrees")
        row = next(row for row in self.plugins.status() if row.name == "large")
        self.check(row.state == "loaded", "asked although it is switched off")

    def large_model_primed(self, request: CloudRequest) -> None:
        """At the moment when a backend is given something to read ahead."""
        self.primes += 1
        asked = next(a for a in self.asked if a.task.request_id == request.request_id)
        self.check(not asked.task.cancel.cancelled, "primed for a request that was cancelled")
        self.check(self.config.cloud.backend == "large", "primed although none is configured")
        self.check(self.config.cloud.prime_ahead == "always", "primed although it may not be")
        self.check(not self.config.cloud.offline, "primed although offline")
        self.check(not self.spent, "primed although the budget is spent")

    def update_came(self, update: Update) -> None:
        """At the moment when an update is sent."""
        asked = next(a for a in self.asked if a.task.request_id == update.request_id)
        task = asked.task
        self.check(asked.future.done(), "an update before the answer")
        self.check(asked is self.asked[-1], "an update of an old request")
        self.check(not task.cancel.cancelled, "an update of a cancelled request")
        self.check(update.request_id not in self.accepted, "an update after an accept")
        self.check(update.text != "", "an update with nothing to show")
        typed = self.realigned(task, update)
        self.check(typed is not None, "an update for another text than the newest")
        whole = (typed or "") + update.text
        given = [said[len(task.prefix) :] for said in self.said_by_large() if said.startswith(task.prefix)]
        given += [job.said for job in self.model.jobs if job.generate.query.prefix == task.prefix]
        searches = (search for search in self.model.searches if search.said)
        given += [each.said for each in searches if each.likelier.generate.query.prefix == task.prefix]
        self.check(any(text.startswith(typed or "") for text in given), "an update that was typed against")
        if not update.final:
            self.check(whole.startswith(asked.shown), "a part that takes away what stood there")
            self.check(len(whole) > len(asked.shown), "a part that says nothing new")
        if not asked.growing:
            self.check(whole != asked.shown, "an update that changes nothing")
        dismissed = self.was_dismissed(task.prefix, task.suffix, whole)
        self.check(not dismissed, "a dismissed text came back")
        asked.shown, asked.growing = whole, not update.final
        asked.updates.append(update)

    def said_by_large(self) -> list[str]:
        """What each call has said, behind the text before the place that it was asked for."""
        return [call.request.prefix + call.said for call in self.script.calls]

    def agrees(self, call: Call) -> bool:
        """Whether what is typed at the place of a call since says nothing against what it has said so far."""
        before, after = call.request.prefix, call.request.suffix
        if not self.text[: self.cursor].startswith(before) or self.text[self.cursor :] != after:
            return False
        typed = self.text[len(before) : self.cursor]
        return call.said.startswith(typed) or typed.startswith(call.said)

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)

    @invariant()
    def nothing_was_violated(self) -> None:
        assert not self.violations, self.violations

    def realigned(self, task: Task, update: Update) -> str | None:
        """What was typed since, by the update's own position; None where that is not the newest text."""
        known = self.text if self.is_open else task.document.text
        lines = known.split("\n")
        before = "\n".join(
            [*lines[: update.position.line], lines[update.position.line][: update.position.column]]
        )
        if not before.startswith(task.prefix) or known[len(before) :] != task.suffix:
            return None
        return before[len(task.prefix) :]

    @invariant()
    def no_call_goes_on_against_what_was_typed(self) -> None:
        """Looked at between requests: by then the newest one has been told."""
        if not hasattr(self, "plugins") or not self.asked:
            return
        newest = self.asked[-1].task
        for call in self.script.open_calls():
            assert newest.prefix.startswith(call.request.prefix), "a call for another place"
            assert newest.suffix == call.request.suffix, "a call for another text"
            typed = newest.prefix[len(call.request.prefix) :]
            place = {"prefix": call.request.prefix, "suffix": newest.suffix}
            fitted = clean(call.said, **place, language="python", eol="\n")
            heard = (call.said, fitted.text)
            agreed = any(said.startswith(typed) or typed.startswith(said) for said in heard)
            assert agreed, "a call that was typed against"

    @invariant()
    def failing_plugins_change_their_own_state_only(self) -> None:
        if not hasattr(self, "plugins"):
            return
        for name, part in zip(NAMES, ("finder", "scripted", "large"), strict=True):
            row = next(row for row in self.plugins.status() if row.name == part)
            assert row.state == "loaded" or name in self.broken, (name, row)

    def teardown(self) -> None:
        if not hasattr(self, "plugins"):
            self.loop.close()
            self.folder.cleanup()
            return
        try:
            self.let_go()
            self.passed = 0.0
            self.time_passes(1 / 16)
            self.time_passes(55 / 16)  # past every deadline: by now each request has its answer
            for asked in self.asked:
                assert asked.future.done(), "a request without an answer"
                assert asked.future.exception() is None
                assert asked.future.result().request_id == asked.task.request_id
            self.sessions.cancel_all(self.loop.now)
            self.settle()
            assert not self.violations, self.violations
            assert not self.script.open_calls(), "the large model works on for nobody"
            assert not self.script.reading, "the large model reads for nobody"
            assert self.routing.budget.reserved == (0, 0.0), "a part of the budget is held for nobody"
        finally:
            self.script.gate.set()
            for work in (*self.model.open_jobs(), *self.model.open_searches()):
                work.future.cancel()
            self.run(self.completer.close())
            self.run(self.history.close())
            self.plugins.close()
            self.loop.close()
            self.folder.cleanup()

    def let_go(self) -> None:
        """A retriever that hangs comes back."""
        self.script.retriever = "work"
        self.script.gate.set()
        while self.loop.busy or self.plugins.busy("finder"):
            self.settle_once()
        self.script.gate, self.script.in_gate = threading.Event(), 0
        self.settle()

    def settle(self) -> None:
        """Run whatever can run now. A retriever at work is waited for, one that hangs is not."""
        if not hasattr(self, "plugins"):
            return
        self.settle_once()
        while self.loop.busy or (self.plugins.busy("finder") and self.script.in_gate == 0):
            self.settle_once()

    def settle_once(self) -> None:
        self.run(self.loop.until_idle())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)


TestCascade = Cascade.TestCase
TestCascade.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
