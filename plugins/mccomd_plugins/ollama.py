"""Backend `ollama`: `/api/generate`, one JSON object a line.

A model whose template knows `suffix` fills in by it; another one gets the raw prompt of its family.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from mccomd.cloud.adapter import Adapter, base_of, text_field, whole
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.fim import Window, cut, template_for
from mccomd.cloud.sse import JsonLines
from mccomd.errors import CloudError, PluginError
from mccomd.hooks import Backend, CloudRequest, Endpoint, PluginContext, Transport, hookimpl

NAME = "ollama"


class Ollama(Adapter):
    """One server."""

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        self._template = template_for(endpoint.model, endpoint.fim_template)
        fim = self._template.name if endpoint.fim_template else "suffix"
        super().__init__(endpoint, transport, Caps(fim=fim, max_stops=16))
        self.markers = self._template.markers

    @property
    def look_url(self) -> str:
        return f"{self.endpoint.url}/api/version"

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        def body() -> dict[str, Any]:
            options = {"num_predict": request.max_tokens, "temperature": 0, "stop": self.stops()}
            base = {"model": self.endpoint.model, "stream": True, "options": options}
            if self.caps.fim != "suffix":
                return base | {"prompt": self.prompt(self._template, request, begun), "raw": True}
            prefix, suffix = cut(request.prefix, request.suffix, Window())
            return base | {"prompt": prefix + begun, "suffix": suffix}

        url = f"{self.endpoint.url}/api/generate"
        answered = False
        async with contextlib.aclosing(self.events(url, body, request, JsonLines, "response")) as events:
            async for event in events:
                if event.get("done") is True:
                    request.report.prompt_tokens = whole(event.get("prompt_eval_count"))
                    request.report.output_tokens = whole(event.get("eval_count"))
                if text := text_field(event, "response"):
                    yield text if begun or answered else text.removeprefix(self._healed(request))
                    answered = True

    def _healed(self, request: CloudRequest) -> str:
        return "" if self.caps.fim == "suffix" else self.healed(self._template, request)

    def _learn(self, error: CloudError, body: Mapping[str, Any]) -> bool:
        if error.status == 400 and "insert" in str(error) and self.caps.fim == "suffix":
            self.caps = replace(self.caps, fim=self._template.name)
            return True
        return super()._learn(error, body)


@hookimpl
def mccomd_backends(context: PluginContext) -> list[Backend]:
    if context.transport is None or context.endpoint is None:
        return []
    endpoint = context.endpoint
    if not endpoint.url or not endpoint.model:
        raise PluginError("backend 'ollama' needs cloud.url, such as http://localhost:11434, and cloud.model")
    endpoint = replace(endpoint, url=base_of(endpoint.url).removesuffix("/api").removesuffix("/v1"))
    return [
        StrategyBackend(
            NAME, Ollama(endpoint, context.transport), CapsFile(context.cache_dir, NAME, endpoint)
        )
    ]
