"""A backend: the strategies above one adapter, and what of its answer may be shown.

Whatever a strategy does wrong becomes a plain request within the same deadline. Knows no wire format
(the adapters) and no HTTP (transport.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from mccomd.cloud import ahead
from mccomd.cloud.adapter import Adapter, tokens_in
from mccomd.cloud.ahead import Ahead, Primed
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.realign import Aligned, common_beginning, realign
from mccomd.cloud.shown import Shown
from mccomd.cloud.strategy import EXPLORE, Choice, Estimates, Policy, choose
from mccomd.cloud.verify import best_branch, settle
from mccomd.errors import CloudError
from mccomd.outgoing import CloudReport, CloudRequest

__all__ = ["StrategyBackend"]

log = logging.getLogger(__name__)

SAME = "it is what the user rejected"
PROBE_AGAIN_S, PROBE_AGAIN_MOST_S = 30.0, 3600.0
"""After a failed probe; twice as long after each further one."""


class StrategyBackend:
    """See hooks.Backend. One request's strategy is chosen from the endpoint's flags and running estimates."""

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        caps_file: CapsFile,
        dice: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """dice: for the few calls that explore. now: for when a failed probe is repeated."""
        self.name = name
        self.estimates = Estimates()
        self._ahead = Ahead(self.estimates)
        self._adapter = adapter
        self._caps_file = caps_file
        self._dice = dice
        self._now = now
        self._probing: asyncio.Task[None] | None = None
        self._probes_failed = 0  # in a row
        self._probe_at = 0.0
        if remembered := caps_file.load():
            adapter.caps = remembered

    @property
    def caps(self) -> Caps:
        return self._adapter.caps

    # --- what the daemon calls ------------------------------------------------------------------

    async def stream(self, request: CloudRequest) -> AsyncGenerator[str, None]:
        """The answer up to the end of its statement, and nothing of one that the user rejected."""
        rest = realign(request.draft, request.typed)
        banned = rest.text.rstrip() if request.rejected and rest.typed_as_drafted else ""
        aligned = _best_draft(request, rest)
        filtered = Shown(request, banned, self._adapter)
        try:
            async with contextlib.aclosing(self._pieces(request, aligned, banned)) as pieces:
                async for piece in pieces:
                    if new := filtered.take(piece):
                        yield new
                    if filtered.complete:
                        break
        finally:
            self._price(request, filtered.raw)
        if last := filtered.rest():
            yield last
        elif not filtered.shown and filtered.raw.strip():
            request.report.dropped = SAME
        self._probe_when_due()

    def why_not_ahead(self) -> str:
        """Why nothing is primed ahead of an answer; "" where it is."""
        if self._adapter.endpoint.strategy not in ("auto", "prime"):
            return f"the strategy is {self._adapter.endpoint.strategy}"
        if not (self.caps.prime or self.caps.keeps_prompts):
            return "the endpoint has not proved that it can be primed"
        if self.estimates.ttft_ms is None:
            return "its times are not known yet"
        return self._ahead.off

    async def prime_ahead(self, request: CloudRequest) -> None:
        """Have the server read a prompt and a draft that it may be asked for; raises CloudError.

        A few times not, so that the estimates of plain stay true.
        """
        if self._dice() < EXPLORE:
            return
        draft = _best_draft(request, realign(request.draft, request.typed)).text
        try:
            await self._ahead.prime(request, draft, lambda: self._adapter.prime(request, draft))
        finally:
            self._price(request, "")

    async def warm(self) -> None:
        opener = getattr(self._adapter.transport, "warm", None)
        if opener is not None:
            await opener(self._adapter.look_url)

    async def probe(self) -> Mapping[str, Any]:
        """Whether the endpoint answers at all; then its abilities are tried and remembered."""
        text = await self._adapter.short_answer()
        said = f"answered a count with {text[:40]!r}" if text else "gave no text to a count that was begun"
        await self._find_out(said)
        return self.status()

    async def _find_out(self, *notes: str) -> None:
        caps = await self._adapter.probe()
        self._adapter.caps = replace(caps, notes=(*notes, *caps.notes))
        self._caps_file.save(self.caps)

    def status(self) -> Mapping[str, Any]:
        known = self.estimates
        return {
            "caps": asdict(self.caps),
            "estimates": {
                "ttft_ms": known.ttft_ms,
                "token_ms": known.token_ms,
                "accepted": known.accepted,
                "primed_ahead": self._ahead.primes,
                "primed_used": self._ahead.used,
            },
            "strategies": {name: asdict(record) for name, record in known.records.items()},
        }

    # --- inside ---------------------------------------------------------------------------------

    async def _pieces(
        self, request: CloudRequest, aligned: Aligned, banned: str
    ) -> AsyncGenerator[str, None]:
        report = request.report
        began = time.monotonic()
        primed = await self._ahead.meet(request)
        waited_ms = (time.monotonic() - began) * 1000
        choice = _with_primed(self._choose(request, aligned), primed, request, aligned.text)
        report.strategy, report.why = choice.name, choice.why
        text = ""
        for name in (choice.name, "plain"):
            clock = _Clock(waited_ms if name == choice.name else 0.0)
            pieces = self._run(name, request, aligned.text, banned, begun=text)
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        clock.tick()
                        text += piece
                        yield piece
            except GeneratorExit:  # enough: the statement is complete
                self._took(name, report, clock, text, aligned.text)
                raise
            except Exception as error:
                if name == "plain" or (text and not self._adapter.resumes):
                    raise
                self.estimates.failed(name, _words(error))
                report.strategy, report.why, report.drafted = "plain", f"{name} failed: {_words(error)}", 0
                log.info("backend %s: %s", self.name, report.why)
            else:
                self._took(name, report, clock, text, aligned.text)
                return

    def _run(
        self, name: str, request: CloudRequest, draft: str, banned: str, *, begun: str
    ) -> AsyncGenerator[str, None]:
        match name:
            case "native":
                request.report.drafted = tokens_in(draft)
                return self._adapter.stream(request, draft=draft)
            case "prime":
                return self._prime(request, draft)
            case ahead.NAME:
                return self._adapter.stream(request)
            case "verify":
                return self._verify(request, draft, banned)
        return self._adapter.stream(request, begun=begun)

    def _choose(self, request: CloudRequest, aligned: Aligned) -> Choice:
        usable = aligned.text if aligned.at_cursor else ""
        if aligned.text and not usable and self.caps.verify == "none":
            usable = aligned.text  # a draft that does not begin at the cursor can still be found in a pool
        shown = request.prefix[-8000:], request.suffix[:2000], *(snippet.text for snippet in request.snippets)
        policy = Policy(self._adapter.endpoint.strategy)
        tokens = tokens_in(usable), sum(map(tokens_in, shown))
        return choose(self.caps, *tokens, self.estimates, policy, self._dice())

    async def _prime(self, request: CloudRequest, draft: str) -> AsyncGenerator[str, None]:
        await self._adapter.prime(request, draft)
        async with contextlib.aclosing(self._adapter.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def _verify(self, request: CloudRequest, draft: str, banned: str) -> AsyncGenerator[str, None]:
        report = request.report
        scores = await self._adapter.score(request, draft)
        settled = settle(scores)
        report.drafted, report.accepted = len(scores.rows), settled.accepted
        text, finished = settled.text, settled.finished
        agrees = settled.accepted == len(scores.rows)
        written = settled.accepted + (tokens_in(scores.continuation) if agrees else 1)
        if banned and agrees and draft.rstrip() == banned:
            branch = best_branch(scores.rows)
            if branch is None:
                report.why += "; the large model agrees with what was rejected"
                yield draft  # not shown: see shown.py
                return
            report.why += "; it agrees with what was rejected: another way from its least sure token"
            text, finished, written = branch.text, False, branch.rows + 1
        yield text
        request = replace(request, max_tokens=request.max_tokens - written)  # one cap for both calls
        if finished or request.max_tokens < 1:
            return
        before = report.prompt_tokens, report.output_tokens  # of the scoring: the stream counts anew
        report.prompt_tokens = report.output_tokens = 0
        try:
            async with contextlib.aclosing(self._adapter.stream(request, begun=text)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            report.prompt_tokens += before[0]
            report.output_tokens += before[1]

    def _took(self, name: str, report: CloudReport, clock: _Clock, text: str, draft: str) -> None:
        if clock.first_ms is None:
            return
        if name == "plain":
            self.estimates.plain_took(clock.first_ms, clock.ms, tokens_in(text))
            return
        if name == ahead.NAME:  # a draft was taken only where the server has counted it
            self.estimates.saw_draft(report.drafted, report.accepted)
            self.estimates.other_took(name, clock.ms, tokens_in(text))
            return
        if not report.accepted and name != "verify":  # it does not count, or was left before it said so
            report.drafted = tokens_in(draft)
            report.accepted = min(report.drafted, tokens_in(common_beginning(draft, text)))
        self.estimates.saw_draft(report.drafted, report.accepted)
        self.estimates.other_took(name, clock.ms, tokens_in(text))

    def _price(self, request: CloudRequest, raw: str) -> None:
        """By the endpoint's own count; where it does not count (or was left early), by the text's length."""
        report, endpoint = request.report, self._adapter.endpoint
        if not report.output_tokens:
            report.output_tokens = tokens_in(raw)
        if not report.prompt_tokens and report.bytes_sent:
            # A head has 250 bytes; code in JSON 3.5 a token.
            report.prompt_tokens = max(1, round((report.bytes_sent - 250 * report.requests) / 3.5))
        spent = report.prompt_tokens * endpoint.input_price + report.output_tokens * endpoint.output_price
        report.cost = spent / 1e6

    def _probe_when_due(self) -> None:
        """After an answer, in the background: a probe costs a few tokens and saves time later."""
        if self.caps.proved or self._probing is not None or self._adapter.endpoint.strategy == "plain":
            return
        if self._now() >= self._probe_at:
            self._probing = asyncio.create_task(self._probe_quietly())

    async def _probe_quietly(self) -> None:
        try:
            await self._find_out()
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and the answer before it was good
            self._probes_failed += 1
            wait_s = min(PROBE_AGAIN_MOST_S, PROBE_AGAIN_S * 2 ** (self._probes_failed - 1))
            self._probe_at = self._now() + wait_s
            words = f"not probed: {_words(error)}; again with an answer after {wait_s:.0f} s"
            log.info("backend %s: %s", self.name, words)
        else:
            self._probes_failed = 0
        finally:
            self._probing = None


def _best_draft(request: CloudRequest, rest: Aligned) -> Aligned:
    """What is left of the rejected answer; or the newest local one, where that fits the cursor better."""
    other = next((text for text in request.alternatives if text), "")
    fresh = rest.at_cursor and not (request.rejected and rest.typed_as_drafted)
    return Aligned(other, True, False) if other and not fresh else rest


def _with_primed(choice: Choice, primed: Primed | None, request: CloudRequest, draft: str) -> Choice:
    """Where all of it was primed ahead, nothing is left to do in series; what is plain is judged apart."""
    if primed is None or (choice.name == "prime" and not primed.is_whole(request, draft)):
        return choice
    if choice.name not in ("plain", "prime"):
        return choice
    return Choice("ahead", f"its prompt was read before it was asked; {choice.why}")


class _Clock:
    """Times of one answer. waited_ms: before it could begin."""

    def __init__(self, waited_ms: float = 0.0) -> None:
        self._began = time.monotonic() - waited_ms / 1000
        self.first_ms: float | None = None
        self.ms = 0.0

    def tick(self) -> None:
        self.ms = (time.monotonic() - self._began) * 1000
        self.first_ms = self.ms if self.first_ms is None else self.first_ms


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, CloudError) else f"{type(error).__name__}: {error}"[:200]
