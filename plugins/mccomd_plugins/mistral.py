"""Backend `mistral`: fill-in-the-middle with fields for both sides, as Mistral and Inception serve it.

Neither takes a draft here: `prediction` is chat's alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from mccomd.cloud.adapter import Adapter, choices_of, content_of, whole, with_path
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.fim import Window, cut
from mccomd.errors import PluginError
from mccomd.hooks import Backend, CloudRequest, Endpoint, PluginContext, Transport, hookimpl

NAME = "mistral"
DIALECTS = {  # (address, model)
    "mistral": ("https://api.mistral.ai/v1", "codestral-latest"),
    "inception": ("https://api.inceptionlabs.ai/v1", "mercury-edit-2"),
}


class MistralFim(Adapter):
    """POST /fim/completions; the answer is in chat's chunks."""

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        super().__init__(endpoint, transport, Caps(fim="suffix"))

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        prefix, suffix = cut(request.prefix, request.suffix, Window())

        def body() -> dict[str, Any]:
            return {
                "model": self.endpoint.model,
                "prompt": prefix + begun,
                "suffix": suffix,
                "max_tokens": request.max_tokens,
                "temperature": 0,
                "stream": True,
            }

        async with contextlib.aclosing(
            self.events(f"{self.endpoint.url}/fim/completions", body, request)
        ) as events:
            async for event in events:
                usage = event.get("usage")
                if isinstance(usage, Mapping):
                    request.report.prompt_tokens = whole(usage.get("prompt_tokens"))
                    request.report.output_tokens = whole(usage.get("completion_tokens"))
                for choice in choices_of(event):
                    if text := content_of(choice.get("delta") or choice.get("message")):
                        yield text


@hookimpl
def mccomd_backends(context: PluginContext) -> list[Backend]:
    if context.transport is None or context.endpoint is None:
        return []
    endpoint = context.endpoint
    dialect = endpoint.dialect or "mistral"
    if dialect not in DIALECTS:
        raise PluginError(f"cloud.dialect is {dialect!r}; there are {', '.join(DIALECTS)}")
    url, model = DIALECTS[dialect]
    if not endpoint.url:
        raise PluginError(f"backend 'mistral' needs cloud.url, such as {url}")
    endpoint = replace(endpoint, url=with_path(endpoint.url, "/v1"), model=endpoint.model or model)
    return [
        StrategyBackend(
            NAME, MistralFim(endpoint, context.transport), CapsFile(context.cache_dir, NAME, endpoint)
        )
    ]
