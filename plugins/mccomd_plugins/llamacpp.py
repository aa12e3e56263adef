"""Backend `llamacpp`: llama.cpp's own server, by its native `/completion`.

A draft gets there by priming: with `--spec-type ngram-mod` the server's pool of n-grams is shared between
requests, so that a request for prompt and draft without an answer lets the next one guess the draft. The
draft never stands in the real prompt: the answer is that of the plain request.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from mccomd.cloud.adapter import Adapter, base_of, text_field, whole
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.fim import template_for
from mccomd.errors import CloudError, PluginError
from mccomd.hooks import Backend, CloudReport, CloudRequest, Endpoint, PluginContext, Transport, hookimpl

NAME = "llamacpp"


class LlamaCpp(Adapter):
    """One server."""

    resumes = True

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        template = template_for(endpoint.model, endpoint.fim_template)
        # Every server takes any number of stops.
        super().__init__(endpoint, transport, Caps(fim=template.name, max_stops=32))
        self._use(template.name)
        self._known = bool(endpoint.model or endpoint.fim_template)

    @property
    def look_url(self) -> str:
        return f"{self.endpoint.url}/health"

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        await self._meet(request)

        def body() -> dict[str, Any]:
            return self._body(self.prompt(self._template, request, begun), request.max_tokens)

        healed = self.healed(self._template, request, begun)
        async with contextlib.aclosing(self.events(self._url, body, request, field="content")) as events:
            async for event in events:
                self._count(event, request.report)
                if text := text_field(event, "content"):
                    yield text.removeprefix(healed)
                    healed = ""

    async def prime(self, request: CloudRequest, draft: str) -> None:
        """Sent as `n_predict: 0`: the server reads it, and answers with nothing.

        The pool is searched by the prompt's last tokens: where the prompt ends with text, those must be the
        same with the draft behind them, so that both are tokenised apart.
        """
        await self._meet(request)
        request.report.drafted = 0  # counted by the server, in the request that follows
        prompt = self.prompt(self._template, request)
        draft = self.healed(self._template, request) + draft
        parts: str | list[int] = prompt + draft
        if not self._template.hard_end:
            parts = await self._ids(prompt, request, special=True) + await self._ids(draft, request)

        def body() -> dict[str, Any]:
            return self._body(parts, 0) | {"stream": False, "samplers": [], "response_fields": ["timings"]}

        await self.ask(self._url, body, request)

    async def probe(self) -> Caps:
        """The context's length; and whether the server guesses what it was primed with."""
        notes = []
        _, found = await self.look(f"{self.endpoint.url}/props")
        settings = found.get("default_generation_settings") if isinstance(found, Mapping) else None
        n_ctx = whole(settings.get("n_ctx")) if isinstance(settings, Mapping) else 0
        self._meet_props(found)
        # A count that any model goes on with, from a number that nobody else counts from: what is guessed
        # can come from the priming only. Guessing begins behind the first token, so that must be right.
        first = secrets.randbelow(8000) + 1000
        head = ", ".join(str(number) for number in range(first, first + 12)) + ","
        draft = "".join(f" {number}," for number in range(first + 12, first + 20))
        request = self.probe_request(head, max_tokens=24)
        await self.prime(request, draft)
        async with contextlib.aclosing(self.stream(request)) as pieces:
            async for _ in pieces:
                continue
        prime = request.report.drafted > 0
        notes.append(
            f"guessed {request.report.drafted} tokens after priming"
            if prime
            else "guesses nothing after priming: start it with --spec-type ngram-mod"
        )
        return replace(
            self.caps, proved=True, n_ctx=n_ctx or self.caps.n_ctx, prime=prime, notes=tuple(notes)
        )

    # --- inside ---------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return f"{self.endpoint.url}/completion"

    def _use(self, name: str) -> None:
        self._template = template_for("", name)
        self.markers = self._template.markers
        self.caps = replace(self.caps, fim=name)

    async def _meet(self, request: CloudRequest) -> None:
        """Where the configuration names no model, the server says which one it has; asked once."""
        if self._known:
            return
        self._known = True
        with contextlib.suppress(CloudError):
            self._meet_props((await self.look(f"{self.endpoint.url}/props"))[1])

    def _meet_props(self, props: Any) -> None:
        if self.endpoint.model or self.endpoint.fim_template or not isinstance(props, Mapping):
            return
        name = PurePath(text_field(props, "model_alias") or text_field(props, "model_path")).name
        self._known = True
        self._use(template_for(name).name)

    async def _ids(self, text: str, request: CloudRequest, *, special: bool = False) -> list[int]:
        """A text's tokens; special: as the server reads a prompt, with its first token and markers."""

        def body() -> dict[str, Any]:
            return {"content": text, "add_special": special, "parse_special": special}

        found = await self.ask(f"{self.endpoint.url}/tokenize", body, request)
        tokens = found.get("tokens") if isinstance(found, Mapping) else None
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise CloudError("the server's /tokenize gives no tokens")
        return tokens

    def _body(self, prompt: str | list[int], tokens: int) -> dict[str, Any]:
        return {
            "prompt": prompt,
            "n_predict": tokens,
            "temperature": 0,
            "stream": True,
            "cache_prompt": True,
            "stop": self.stops(),
        }

    def _count(self, event: Mapping[str, Any], report: CloudReport) -> None:
        timings = event.get("timings")
        if not isinstance(timings, Mapping):
            return
        report.prompt_tokens = whole(timings.get("prompt_n")) + whole(timings.get("cache_n"))
        report.output_tokens = whole(timings.get("predicted_n"))
        report.drafted = whole(timings.get("draft_n"))
        report.accepted = whole(timings.get("draft_n_accepted"))


@hookimpl
def mccomd_backends(context: PluginContext) -> list[Backend]:
    if context.transport is None or context.endpoint is None:
        return []
    endpoint = context.endpoint
    if endpoint.dialect:
        raise PluginError(f"backend 'llamacpp' has no dialects; cloud.dialect is {endpoint.dialect!r}")
    if not endpoint.url:
        raise PluginError("backend 'llamacpp' needs cloud.url, such as http://localhost:8080")
    endpoint = replace(endpoint, url=base_of(endpoint.url).removesuffix("/v1"))
    return [
        StrategyBackend(
            NAME, LlamaCpp(endpoint, context.transport), CapsFile(context.cache_dir, NAME, endpoint)
        )
    ]
