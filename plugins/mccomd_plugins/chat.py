"""Backend `chat`: models that only chat, asked to fill a hole. OpenAI, Anthropic, Gemini and others alike.

Where a dialect takes `prediction`, the local draft is handed over in the frame that the model answers in.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mccomd.cloud.adapter import Adapter, choices_of, content_of, dialect_of, whole, with_path
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile, Draft
from mccomd.cloud.chat_text import OPEN, STOP, messages, stripped
from mccomd.cloud.fim import Window, cut
from mccomd.errors import CloudError
from mccomd.hooks import Backend, CloudRequest, Endpoint, PluginContext, Transport, hookimpl

NAME = "chat"
PROBE_HOLE = "numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "
PROBE_DRAFT = "13, 14, 15, 16, 17, 18, 19, 20]"
WRAPPING_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one vendor's chat takes; `draft` is used once the probe has seen it work."""

    draft: Draft = "none"
    bills_rejected: bool = False
    usage: bool = True  # stream_options.include_usage
    auth: Literal["bearer", "api-key"] = "bearer"
    cap: str = "max_tokens"


DIALECTS = {
    "generic": Dialect(usage=False),
    "openai": Dialect("prediction", bills_rejected=True),
    "azure": Dialect("prediction", bills_rejected=True, auth="api-key"),
    "mistral": Dialect("prediction", usage=False),
    "cerebras": Dialect("prediction"),
    "groq": Dialect(),
    "anthropic": Dialect(),
    "gemini": Dialect(),
}


class Chat(Adapter):
    """One endpoint."""

    def __init__(self, endpoint: Endpoint, transport: Transport, dialect: Dialect) -> None:
        super().__init__(endpoint, transport, Caps(fim="chat", bills_rejected=dialect.bills_rejected))
        self.dialect = dialect
        self.auth = dialect.auth
        self._cap = dialect.cap

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        prefix, suffix = cut(request.prefix, request.suffix, Window())

        def body() -> dict[str, Any]:
            extra: dict[str, Any] = {"stream_options": {"include_usage": True}} if self.dialect.usage else {}
            if draft:
                extra["prediction"] = {"type": "content", "content": OPEN + draft}
            return {
                "model": self.endpoint.model,
                "messages": messages(prefix, suffix, request.path, request.language, request.snippets),
                self._cap: request.max_tokens + WRAPPING_TOKENS,
                "temperature": 0,
                "stop": [STOP],
                "stream": True,
            } | extra

        raw = shown = ""
        url = f"{self.endpoint.url}/chat/completions"
        async with contextlib.aclosing(self.events(url, body, request)) as events:
            async for event in events:
                self._count(event, request)
                for choice in choices_of(event):
                    raw += content_of(choice.get("delta") or choice.get("message"))
                text = stripped(raw, prefix, suffix, finished=False)
                if len(text) > len(shown):
                    yield text[len(shown) :]
                    shown = text
        text = stripped(raw, prefix, suffix, finished=True)
        if len(text) > len(shown) and text.startswith(shown):
            yield text[len(shown) :]

    async def probe(self) -> Caps:
        """Whether a prediction that is right is taken, by the endpoint's own count."""
        if self.dialect.draft == "none":
            return replace(self.caps, proved=True)
        request = self.probe_request(PROBE_HOLE, max_tokens=48)
        async with contextlib.aclosing(self.stream(request, draft=PROBE_DRAFT)) as pieces:
            async for _ in pieces:
                continue
        accepted = request.report.accepted
        return replace(
            self.caps,
            proved=True,
            draft="prediction" if accepted else "none",
            notes=(f"took {accepted} tokens of a prediction that is right",),
        )

    def _count(self, event: Mapping[str, Any], request: CloudRequest) -> None:
        usage, report = event.get("usage"), request.report
        if not isinstance(usage, Mapping):
            return
        report.prompt_tokens = whole(usage.get("prompt_tokens"))
        report.output_tokens = whole(usage.get("completion_tokens"))
        details = usage.get("completion_tokens_details")
        if isinstance(details, Mapping):
            report.accepted = whole(details.get("accepted_prediction_tokens"))
            rejected = whole(details.get("rejected_prediction_tokens"))
            report.drafted = report.accepted + rejected or report.drafted

    def _learn(self, error: CloudError, body: Mapping[str, Any]) -> bool:
        if error.status == 400 and self._cap == "max_tokens" and "max_completion_tokens" in str(error):
            self._cap = "max_completion_tokens"
            return True
        return super()._learn(error, body)


@hookimpl
def mccomd_backends(context: PluginContext) -> list[Backend]:
    if context.transport is None or context.endpoint is None:
        return []
    endpoint = context.endpoint
    dialect = dialect_of(endpoint, DIALECTS, NAME)
    endpoint = replace(endpoint, url=with_path(endpoint.url, "/v1"))
    adapter = Chat(endpoint, context.transport, dialect)
    return [StrategyBackend(NAME, adapter, CapsFile(context.cache_dir, NAME, endpoint))]
