"""A request whose answer is known, and a backend that puts it to an endpoint of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mccomd.bench.endpoint import Peer
from mccomd.cloud.adapter import dialect_of
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import CapsFile
from mccomd.cloud.transport import HttpTransport
from mccomd.hooks import CloudRequest, PluginContext
from mccomd.outgoing import Endpoint
from mccomd_plugins import completions
from mccomd_plugins.dialects import DIALECTS

__all__ = [
    "HALF",
    "MODEL",
    "PREFIX",
    "RIGHT",
    "WRONG",
    "never_exploring",
    "of_plugin",
    "request",
    "text_of",
    "with_backend",
]

MODEL = "mccomd-135m"  # as the peers call what they serve

PREFIX = """\
class Rectangle:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        return """
RIGHT = "self.width * self.height"
"""What the shipped model ends the statement with; test_cloud_strategies.py holds it to that."""
HALF = "self.width + self.depth"
WRONG = "math.pi * radius ** 2"

Make = Callable[[Endpoint, HttpTransport], StrategyBackend]


class Streams(Protocol):
    """A backend, or an adapter."""

    def stream(self, request: CloudRequest, /) -> AsyncGenerator[str, None]: ...


def request(draft: str = "", **fields: Any) -> CloudRequest:
    base = CloudRequest(PREFIX, "\n", "python", "shapes.py", (), draft, 24, time.monotonic() + 60)
    return replace(base, **fields)


async def text_of(source: Streams, asked: CloudRequest) -> str:
    return "".join([piece async for piece in source.stream(asked)])


def of_plugin(plugin: Any = completions, cache: Path | None = None) -> Make:
    """What a plugin makes of an endpoint."""

    def make(endpoint: Endpoint, transport: HttpTransport) -> StrategyBackend:
        context = PluginContext({}, None, transport, endpoint, str(cache or ""))  # type: ignore[arg-type]
        (backend,) = plugin.mccomd_backends(context)
        return backend  # type: ignore[no-any-return]

    return make


def never_exploring(endpoint: Endpoint, transport: HttpTransport) -> StrategyBackend:
    """What is chosen is what pays."""
    adapter = completions.Completions(endpoint, transport, dialect_of(endpoint, DIALECTS, completions.NAME))
    return StrategyBackend(completions.NAME, adapter, CapsFile("", "", endpoint), dice=lambda: 1.0)


def with_backend(
    peer: Peer, use: Callable[[Any], Coroutine[Any, Any, Any]], make: Make | None = None, **fields: Any
) -> Any:
    """Run `use` with a backend that asks the peer. fields: of its Endpoint."""

    async def work() -> Any:
        transport = HttpTransport(peer.url, stall_s=60)
        endpoint = Endpoint(**({"url": peer.url, "model": MODEL} | fields))
        try:
            return await use((make or of_plugin())(endpoint, transport))
        finally:
            await transport.aclose()

    return asyncio.run(work())
