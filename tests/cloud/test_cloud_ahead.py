"""A server reads a prompt before it is asked: what that changes, and when it is not done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from mccomd.cloud.adapter import Adapter
from mccomd.cloud.ahead import SOME_PRIMES
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.strategy import LOSING_CALLS
from mccomd.config import CloudConfig
from mccomd.errors import CloudError
from mccomd.hooks import CloudRequest
from mccomd.outgoing import Endpoint
from mccomd.priming import may_prime


class Reader(Adapter):
    """A server that reads when the test lets it."""

    def __init__(self, strategy: str = "auto") -> None:
        super().__init__(
            Endpoint("http://127.0.0.1:1", strategy=strategy),
            None,  # type: ignore[arg-type]
            Caps(proved=True, prime=True),
        )
        self.log: list[str] = []
        self.may_read = asyncio.Event()
        self.fails = False

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        self.log.append(f"ask {request.prefix}")
        yield "answer\n"

    async def prime(self, request: CloudRequest, draft: str) -> None:
        self.log.append(f"read {request.prefix}|{draft}")
        try:
            await self.may_read.wait()
        except asyncio.CancelledError:
            self.log.append(f"left {request.prefix}")
            raise
        if self.fails:
            raise CloudError("no")
        self.log.append(f"done {request.prefix}")


def asked(prefix: str = "x = ", draft: str = "a_long_enough_draft", **more: object) -> CloudRequest:
    plain = CloudRequest(prefix, "\n", "python", "a.py", (), draft, 48, time.monotonic() + 60)
    return replace(plain, **more)  # type: ignore[arg-type]


def made(adapter: Reader, dice: float = 0.5) -> StrategyBackend:
    backend = StrategyBackend("reader", adapter, CapsFile("", "reader", adapter.endpoint), lambda: dice)
    backend.estimates.plain_took(1000.0, 2000.0, 10)
    return backend


async def answer(backend: StrategyBackend, request: CloudRequest) -> CloudRequest:
    assert "".join([piece async for piece in backend.stream(request)]).strip() == "answer"
    return request


async def begun(backend: StrategyBackend, request: CloudRequest) -> asyncio.Task[None]:
    task = asyncio.ensure_future(backend.prime_ahead(request))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("strategy", ["auto", "prime"])
def test_who_asks_waits_for_what_is_being_read_and_reads_nothing_again(strategy: str) -> None:
    async def run() -> None:
        adapter = Reader(strategy)
        backend = made(adapter)
        reading = await begun(backend, asked())
        asking = asyncio.ensure_future(answer(backend, asked()))
        await asyncio.sleep(0)
        adapter.may_read.set()
        request = await asking
        await reading
        assert adapter.log == ["read x = |a_long_enough_draft", "done x = ", "ask x = "]
        assert (request.report.strategy, request.report.drafted) == ("ahead", 0)
        assert "read before it was asked" in request.report.why
        record = backend.estimates.record("ahead")
        assert (record.calls, record.gain_ms > 0) == (1, True)
        assert backend.estimates.record("plain").calls == 1  # not mistaken for plain

    asyncio.run(run())


def test_a_draft_that_is_another_by_then_is_primed_in_series() -> None:
    async def run() -> None:
        adapter = Reader("prime")
        adapter.may_read.set()
        backend = made(adapter)
        await backend.prime_ahead(asked())
        request = await answer(backend, asked("x = y", typed="y", draft="y, and another draft"))
        assert request.report.strategy == "prime"
        assert [line for line in adapter.log if line.startswith("read")] == [
            "read x = |a_long_enough_draft", "read x = y|, and another draft"]  # fmt: skip

    asyncio.run(run())


@pytest.mark.parametrize("other", ["y = ", "x", "x = " + "z" * 201])
def test_what_is_read_for_another_place_is_left(other: str) -> None:
    async def run() -> None:
        adapter = Reader()
        backend = made(adapter)
        reading = await begun(backend, asked())
        request = await answer(backend, asked(other, draft=""))
        assert adapter.log[-2:] == ["left x = ", f"ask {other}"]
        assert request.report.strategy == "plain"
        await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(run())


def test_a_prime_that_fails_costs_the_answer_nothing() -> None:
    async def run() -> None:
        adapter = Reader()
        adapter.fails = True
        backend = made(adapter)
        reading = await begun(backend, asked())
        adapter.may_read.set()
        request = await answer(backend, asked(draft=""))
        assert request.report.strategy == "plain"
        with pytest.raises(CloudError):
            await reading

    asyncio.run(run())


def test_it_ends_where_it_loses() -> None:
    async def run() -> None:
        adapter = Reader()
        adapter.may_read.set()
        backend = made(adapter)
        backend.estimates.ttft_ms = backend.estimates.token_ms = 0.0
        for number in range(LOSING_CALLS):
            assert backend.why_not_ahead() == ""
            await backend.prime_ahead(asked(f"x{number} = "))
            await answer(backend, asked(f"x{number} = ", draft=""))
        assert "slower than plain" in backend.why_not_ahead()

    asyncio.run(run())


def test_it_ends_where_hardly_anything_that_was_read_is_asked() -> None:
    async def run() -> None:
        adapter = Reader()
        adapter.may_read.set()
        backend = made(adapter)
        for number in range(SOME_PRIMES):
            assert backend.why_not_ahead() == ""
            await backend.prime_ahead(asked(f"x{number} = "))
        assert backend.why_not_ahead() == "only 0 of 60 prompts that were read ahead were asked"
        assert backend.status()["estimates"]["primed_ahead"] == SOME_PRIMES

    asyncio.run(run())


def test_it_is_left_out_now_and_then_and_until_plain_is_known() -> None:
    async def run() -> None:
        adapter = Reader()
        await made(adapter, dice=0.01).prime_ahead(asked())
        assert adapter.log == []

    asyncio.run(run())
    fresh = StrategyBackend("reader", Reader(), CapsFile("", "", Endpoint("")))
    assert fresh.why_not_ahead() == "its times are not known yet"
    unable = Reader()
    unable.caps = Caps(proved=True)
    assert "has not proved" in made(unable).why_not_ahead()
    assert made(Reader("plain")).why_not_ahead() == "the strategy is plain"


@pytest.mark.parametrize(
    ("url", "more", "allowed"),
    [
        ("http://localhost:8080", {}, True),
        ("http://127.0.0.1:8080", {}, True),
        ("http://[::1]:8080", {}, True),
        ("http://192.168.1.20:8080", {}, True),
        ("http://8.8.8.8:8080", {}, False),
        ("https://api.example.com/v1", {}, False),
        ("http://localhost.example.com", {}, False),
        ("http://localhost:8080", {"input_price": 0.1}, False),
        ("http://localhost:8080", {"output_price": 0.1}, False),
        ("http://localhost:8080", {"prime_ahead": "never"}, False),
        ("https://api.example.com/v1", {"input_price": 0.1, "prime_ahead": "always"}, True),
        ("not a url [", {}, False),
    ],
)
def test_where_it_may_be_done(url: str, more: dict[str, object], allowed: bool) -> None:
    assert may_prime(CloudConfig(url=url, **more)) is allowed  # type: ignore[arg-type]
