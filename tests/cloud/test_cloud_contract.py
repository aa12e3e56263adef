"""The built-in backends keep the contract that plugin authors' are held to; failed probes are repeated."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mccomd.bench.endpoint import FAULTS, Out, Peer, Received
from mccomd.cloud.adapter import Adapter
from mccomd.cloud.backend import PROBE_AGAIN_MOST_S, PROBE_AGAIN_S, StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.transport import HttpTransport
from mccomd.errors import CloudError
from mccomd.hooks import CloudRequest, PluginContext
from mccomd.outgoing import Endpoint
from mccomd.testing import check_backend
from mccomd.testing import request as asked_for
from mccomd_plugins import chat, completions, llamacpp, mistral, ollama

from .asking import MODEL
from .dialects import Server
from .large_model import LargeModel

PREFIX = "def area(width, height):\n    return width "
SUFFIX = "\n"


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer(Server(LargeModel())) as running:
        yield running


def request() -> CloudRequest:
    more = {"draft": "* height", "max_tokens": 8, "deadline": time.monotonic() + 100}
    return asked_for(PREFIX, SUFFIX, **more)


def backend(plugin: Any, peer: Peer, **fields: Any) -> StrategyBackend:
    endpoint = Endpoint(**{"url": peer.url, "model": MODEL, **fields})
    context = PluginContext({}, None, HttpTransport(peer.url, stall_s=100), endpoint, "")  # type: ignore[arg-type]
    (made,) = plugin.mccomd_backends(context)
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("plugin", "fields"),
    [
        (completions, {}),
        (completions, {"dialect": "vllm", "strategy": "verify"}),
        (completions, {"dialect": "sglang"}),
        (mistral, {}),
        (ollama, {}),
        (chat, {}),
        (chat, {"dialect": "openai"}),
    ],
)
def test_a_built_in_backend_keeps_the_contract(peer: Peer, plugin: Any, fields: Any) -> None:
    (answer,) = check_backend(lambda: backend(plugin, peer, **fields), request(), leaves_s=60)
    assert answer.strip()


@pytest.mark.parametrize(
    ("plugin", "path", "asked"),
    [
        (completions, "", "/v1/completions"),
        (completions, "/v1/completions", "/v1/completions"),
        (mistral, "/v1/fim/completions", "/v1/fim/completions"),
        (chat, "/v1/chat/completions", "/v1/chat/completions"),
        (ollama, "/api/generate", "/api/generate"),
        (ollama, "/api", "/api/generate"),
        (llamacpp, "/completion", "/completion"),
        (llamacpp, "/v1/completions", "/completion"),
    ],
)
def test_an_address_may_be_copied_whole(plugin: Any, path: str, asked: str) -> None:
    """What is asked at an address belongs to the backend; manuals show both in one."""

    async def silent(request: Received, out: Out) -> None:
        await out.json({}, 503)

    async def ask(made: StrategyBackend) -> None:
        with contextlib.suppress(CloudError):
            async for _ in made.stream(request()):
                continue

    with Peer(silent) as peer:
        asyncio.run(ask(backend(plugin, peer, url=peer.url + path)))
        assert peer.posted()[0].path == asked


class Unsteady(Adapter):
    """Answers always; its probe fails so many times."""

    def __init__(self, failures: list[Exception]) -> None:
        super().__init__(Endpoint("http://127.0.0.1:1"), None, Caps())  # type: ignore[arg-type]
        self.failures = failures
        self.probes = 0

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        yield "x\n"

    async def probe(self) -> Caps:
        self.probes += 1
        if self.failures:
            raise self.failures.pop(0)
        return replace(self.caps, proved=True)


def test_a_probe_that_failed_is_repeated_ever_later() -> None:
    adapter = Unsteady([CloudError("the answer stalled"), RuntimeError("a bug"), CloudError("busy", 503)])
    now = [1000.0]
    made = StrategyBackend(
        "unsteady", adapter, CapsFile("", "unsteady", adapter.endpoint), now=lambda: now[0]
    )

    async def answers_after(seconds: float) -> int:
        now[0] += seconds
        for _ in range(2):
            async for _ in made.stream(request()):
                continue
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return adapter.probes

    async def run() -> list[int]:
        waits = (0, PROBE_AGAIN_S - 1, 1, 2 * PROBE_AGAIN_S - 1, 1, 4 * PROBE_AGAIN_S, PROBE_AGAIN_MOST_S)
        return [await answers_after(seconds) for seconds in waits]

    assert asyncio.run(run()) == [1, 1, 2, 2, 3, 4, 4]
    assert made.caps.proved


@pytest.mark.parametrize("name", ["overloaded", "internal", "hang_up"])
def test_an_endpoint_that_is_down_has_proved_nothing(name: str) -> None:
    """It was taken for one that scores no draft, and that was remembered."""

    async def use(peer: Peer) -> None:
        made = backend(completions, peer, dialect="vllm")
        with pytest.raises(CloudError):
            await made.probe()
        assert not made.caps.proved

    with Peer(FAULTS[name]) as peer:
        asyncio.run(use(peer))
