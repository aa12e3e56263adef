"""What every adapter shares: requests that learn what an endpoint will not take. Each knows one wire format.

Strategies are above (backend.py): an adapter only streams, scores, primes and probes.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from mccomd.cloud.caps import Caps
from mccomd.cloud.fim import Template, Window, render
from mccomd.cloud.sse import JsonLines, ServerSentEvents
from mccomd.cloud.verify import Scores
from mccomd.errors import CloudError, PluginError
from mccomd.outgoing import Call, CloudReport, CloudRequest, Endpoint, Transport

__all__ = [
    "COUNT",
    "PROBE_S",
    "Adapter",
    "base_of",
    "choices_of",
    "content_of",
    "dialect_of",
    "text_field",
    "tokens_in",
    "whole",
    "with_path",
]

D = TypeVar("D")

PROBE_S = 45.0  # a vLLM's first scoring took 16 s
COUNT = "1 2 3 4 5 6 7 8 9 10 11 12 13 14"  # what everybody goes on with
PROBE = "probe"  # in place of a request's id
ANSWER = "probe-answer"
ASKED = (
    "/chat/completions",
    "/fim/completions",
    "/completions",
    "/completion",
    "/infill",
    "/api/generate",
    "/api/chat",
)
RESERVED_TOKENS = 32
CHARS_A_TOKEN = 3.0  # until a refusal tells more
_TOO_LONG = re.compile(r"(?:maximum context length|context (?:size|length|window))\D{0,40}?(\d{3,7})", re.I)
_REFUSALS = (400, 422)


class Adapter:
    """One endpoint in one wire format. Subclasses say what a request looks like and where its text is."""

    markers: tuple[str, ...] = ()  # control strings that end an answer
    resumes = False  # whether an answer can be continued from its middle: the prompt is raw text
    auth: Literal["bearer", "api-key"] = "bearer"

    def __init__(self, endpoint: Endpoint, transport: Transport, caps: Caps) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.caps = caps
        self._chars_a_token = CHARS_A_TOKEN

    def stream(self, request: CloudRequest, *, draft: str = "", begun: str = "") -> AsyncGenerator[str, None]:
        """The answer in pieces. draft: handed over natively; begun: what the answer has already.

        Counts tokens, drafted and accepted ones into the report, where the endpoint tells.
        """
        raise NotImplementedError

    async def score(self, request: CloudRequest, draft: str) -> Scores:
        """What the model says at each token of the draft."""
        raise CloudError("this endpoint cannot score a draft")

    async def prime(self, request: CloudRequest, draft: str) -> None:
        """Let the server see the draft, so that it guesses it in the next request."""
        raise CloudError("this endpoint cannot be primed")

    async def probe(self) -> Caps:
        """Try what the endpoint can do, with texts of our own and never the user's."""
        return replace(self.caps, proved=True)

    async def short_answer(self) -> str:
        """To a text of our own; raises CloudError where the endpoint is no use as it is configured."""
        asked = replace(self.probe_request(COUNT), request_id=ANSWER)  # no trial: what it meets is the state
        async with contextlib.aclosing(self.stream(asked)) as pieces:
            return "".join([piece async for piece in pieces])

    @property
    def look_url(self) -> str:
        """What may be asked for to have a connection; costs nothing."""
        return f"{self.endpoint.url}/models"

    # --- for subclasses -------------------------------------------------------------------------

    def prompt(self, template: Template, request: CloudRequest, begun: str = "") -> str:
        """The raw prompt, within the context as far as that is known; without a blank that is healed."""
        room = None if self.caps.n_ctx is None else self.caps.n_ctx - request.max_tokens - RESERVED_TOKENS
        text = render(
            template,
            request.prefix.removesuffix(self.healed(template, request, begun)),
            request.suffix,
            path=request.path,
            language=request.language,
            snippets=request.snippets,
            window=Window().within(room, self._chars_a_token),
        )
        return text + begun

    @staticmethod
    def healed(template: Template, request: CloudRequest, begun: str = "") -> str:
        """The blank at the end of a prompt that ends with text: tokens of code begin with theirs.

        It is left out, and the answer's first piece should begin with it.
        """
        at_end = request.prefix[-1:] == " " and bool(request.prefix[-2:-1].strip())
        return " " if at_end and not begun and not template.hard_end else ""

    def stops(self) -> list[str]:
        return list(self.markers[: self.caps.max_stops])

    async def events(
        self,
        url: str,
        body: Callable[[], Mapping[str, Any]],
        request: CloudRequest,
        parser: Callable[[], ServerSentEvents | JsonLines] = ServerSentEvents,
        field: str = "choices",
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of a streamed answer, of which one at least has the field; else CloudError.

        body is made anew after something was learned from a refusal.
        """
        for last in (False, False, True):
            begun = told = False
            try:
                async with (
                    self.transport.send(self._call(url, body(), request)) as response,
                    contextlib.aclosing(response.events(parser())) as events,
                ):
                    async for event in events:
                        begun, told = True, told or field in event
                        yield event
                    if not told:
                        raise CloudError(f"the endpoint's answer has no {field!r} in it: is cloud.url right?")
                return
            except CloudError as error:
                if begun or last or not self._learn(error, body()):
                    raise

    async def ask(self, url: str, body: Callable[[], Mapping[str, Any]], request: CloudRequest) -> Any:
        """A whole answer."""
        for last in (False, False, True):
            try:
                async with self.transport.send(self._call(url, body(), request)) as response:
                    return await response.json()
            except CloudError as error:
                if last or not self._learn(error, body()):
                    raise
        raise CloudError("no answer")

    async def look(self, url: str) -> tuple[Mapping[str, str], Any]:
        """(headers, body) of a GET during a probe; raises CloudError."""
        async with self.transport.send(self._looking(url)) as response:
            return response.headers, await response.json()

    async def look_at_text(self, url: str) -> str:
        """What is no JSON; raises CloudError."""
        async with self.transport.send(self._looking(url)) as response:
            return await response.text()

    def _looking(self, url: str) -> Call:
        until = time.monotonic() + PROBE_S
        return Call(url, until, auth=self.auth, trial=True, report=CloudReport(), purpose=PROBE)

    def probe_request(self, prefix: str, max_tokens: int = 8) -> CloudRequest:
        deadline = time.monotonic() + PROBE_S
        return CloudRequest(prefix, "", "", "", (), "", max_tokens, deadline, request_id=PROBE, purpose=PROBE)

    def _call(self, url: str, body: Mapping[str, Any], request: CloudRequest) -> Call:
        probing = request.request_id == PROBE
        kept = {key: value for key, value in body.items() if key not in self.caps.refused}
        return Call(
            url,
            request.deadline,
            kept,
            self.auth,
            request.request_id,
            trial=probing,
            report=request.report,
            purpose=request.purpose,
            stall_s=PROBE_S if request.purpose == PROBE else None,  # nobody types behind a probe
        )

    def _learn(self, error: CloudError, body: Mapping[str, Any]) -> bool:
        """Whether the same can be asked in a way that will be taken: without a field, or with less text."""
        if error.status not in _REFUSALS:
            return False
        n_ctx, tokens = _context_in(error)
        if n_ctx is not None:
            sent = body.get("prompt")
            if tokens and isinstance(sent, str):
                self._chars_a_token = min(self._chars_a_token, 0.9 * len(sent) / tokens)
            elif n_ctx == self.caps.n_ctx:
                self._chars_a_token /= 2
            self.caps = replace(self.caps, n_ctx=n_ctx)
            return True
        named = [
            key
            for key in body
            if key not in _NEEDED and key not in self.caps.refused and re.search(rf"\b{key}\b", str(error))
        ]
        self.caps = replace(self.caps, refused=(*self.caps.refused, *named))
        return bool(named)


_NEEDED = (
    "model",
    "prompt",
    "messages",
    "text",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
)  # an answer is always capped


def _context_in(error: CloudError) -> tuple[int | None, int]:
    """(the context's length, the prompt's or 0) where a refusal names them, in fields or in words."""
    details = error.details.get("error") if isinstance(error.details, Mapping) else None
    if isinstance(details, Mapping) and whole(details.get("n_ctx")):
        return whole(details.get("n_ctx")), whole(details.get("n_prompt_tokens"))
    found = _TOO_LONG.search(str(error))
    return (int(found[1]) if found else None), 0


def dialect_of(endpoint: Endpoint, dialects: Mapping[str, D], backend: str) -> D:
    """What a backend knows of the endpoint's dialect; "generic" where the config names none.

    Raises PluginError for a dialect that it does not know, and without cloud.url and cloud.model.
    """
    dialect = dialects.get(endpoint.dialect or "generic")
    if dialect is None:
        raise PluginError(f"cloud.dialect is {endpoint.dialect!r}; there are {', '.join(dialects)}")
    if not endpoint.url or not endpoint.model:
        raise PluginError(f"backend {backend!r} needs cloud.url and cloud.model")
    return dialect


def base_of(url: str) -> str:
    """The user's address without what is asked there, as manuals have it at the end."""
    for end in ASKED:
        if url.endswith(end):
            return url.removesuffix(end)
    return url


def with_path(url: str, path: str) -> str:
    """The user's base, with a dialect's usual path where it has none. ("http://h:1", "/v1") -> "http://h:1/v1"."""
    base = base_of(url)
    return base if urlsplit(base).path.strip("/") else base.rstrip("/") + path


def text_field(holder: Any, name: str) -> str:
    """A text in an object of the endpoint's; "" for null. Raises CloudError for anything else."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    if found is None:
        return ""
    if not isinstance(found, str):
        raise CloudError(
            f"the endpoint's answer has a {type(found).__name__} as {name!r}, a text is expected"
        )
    return found


def content_of(message: Any) -> str:
    """A chat message's text, which may come as a list of parts. Raises CloudError."""
    found = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(found, list):
        return "".join(text_field(part, "text") for part in found)
    return text_field(message, "content")


def choices_of(event: Any) -> list[Mapping[str, Any]]:
    """The choices of an event; [] in one that only counts tokens. Raises CloudError."""
    found = event.get("choices", []) if isinstance(event, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(choice, Mapping) for choice in found):
        raise CloudError("the endpoint's answer has no list of choices")
    return found


def whole(found: Any) -> int:
    """A count; 0 for anything else."""
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0


def tokens_in(text: str) -> int:
    """About so many tokens: code has 3.5 characters a token."""
    return max(1, round(len(text) / 3.5)) if text else 0
