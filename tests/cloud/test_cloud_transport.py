"""What leaves is recorded, what comes is bounded, and a server that misbehaves costs one error line."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from mccomd.bench.endpoint import FAULTS, Out, Peer, Received
from mccomd.cloud.response import MAX_RESPONSE_BYTES
from mccomd.cloud.sse import ServerSentEvents
from mccomd.cloud.transport import HttpTransport, Sent, client_options, origin_of
from mccomd.errors import CloudError
from mccomd.outgoing import Call, CloudReport

SOURCE = Path(__file__).parents[2] / "mccomd"


def call(peer: Peer, *, within_s: float = 20.0, **fields: Any) -> Call:
    return Call(f"{peer.url}/v1/completions", time.monotonic() + within_s, {"prompt": "x"}, **fields)


async def text_of(transport: HttpTransport, asked: Call) -> str:
    found = ""
    async with transport.send(asked) as response:
        async for event in response.events(ServerSentEvents()):
            for choice in event["choices"]:
                found += choice["text"]
    return found


def run(use: Callable[[HttpTransport], Coroutine[Any, Any, Any]], url: str, **options: Any) -> Any:
    async def work() -> Any:
        transport = HttpTransport(url, **options)
        try:
            return await use(transport)
        finally:
            await transport.aclose()

    return asyncio.run(work())


async def good(request: Received, out: Out) -> None:
    await out.head()
    for text in ("a", "b", ""):
        await out.event({"choices": [{"text": text}]})
    await out.event({"choices": [], "usage": {"prompt_tokens": 3}})
    await out.event("[DONE]")
    await out.end()


def test_one_connection_serves_many_requests_and_each_is_recorded() -> None:
    sent: list[Sent] = []
    report = CloudReport(masked=("aws-key",))
    with Peer(good) as peer:

        async def twice(transport: HttpTransport) -> list[str]:
            asked = call(peer, request_id="7", report=report)
            return [await text_of(transport, asked), await text_of(transport, asked)]

        assert run(twice, peer.url, record=sent.append) == ["ab", "ab"]
        assert [r.connection for r in peer.received] == [1, 1]
        request = peer.received[0]
    size = len(request.raw) + len(f"POST {request.path} HTTP/1.1\r\n\r\n")
    size += sum(len(f"{name}: {value}\r\n") for name, value in request.headers.items())
    assert [(s.bytes, s.request_id, s.masked) for s in sent] == [(size, "7", ("aws-key",))] * 2
    assert sent[0].endpoint == f"POST {peer.url}/v1/completions"
    assert (report.requests, report.bytes_sent, report.endpoint) == (2, 2 * size, peer.url)
    assert report.bytes_received > 0


def test_nothing_leaves_when_the_ledger_cannot_be_written() -> None:
    def full(sent: Sent) -> None:
        raise OSError("no space left on device")

    with Peer(good) as peer:
        with pytest.raises(CloudError, match="nothing was sent"):
            run(lambda transport: text_of(transport, call(peer)), peer.url, record=full)
        assert not peer.received


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("too_many", "answers 429: slow down"),
        ("overloaded", "answers 503: no capacity"),
        ("internal", "answers 500: out of memory"),
        ("forbidden", "answers 403: this key may not"),
        ("silent", "within the deadline"),
        ("stall", "stalled"),
        ("keep_alive_for_ever", "stalled"),
        ("error_inside", "the endpoint reports: the engine died"),
        ("cut", "broke off"),
        ("slow_drip", "within the deadline"),
        ("wrong_json", "no JSON"),
        ("huge", f"more than {MAX_RESPONSE_BYTES} bytes"),
        ("endless_line", "a line of more than"),
        ("moved", "answers 302"),
        ("garbage", "connection"),
        ("web_page", "a web page and no answer: is cloud.url right"),
        ("hang_up", "connection broke"),
    ],
)
def test_each_misbehaviour_is_one_error_line(name: str, said: str) -> None:
    within_s = 0.4 if name in ("silent", "slow_drip") else 60
    stall_s = 0.2 if said == "stalled" else 60
    with Peer(FAULTS[name]) as peer, pytest.raises(CloudError, match=said):
        run(lambda transport: text_of(transport, call(peer, within_s=within_s)), peer.url, stall_s=stall_s)


def test_a_dead_connection_is_tried_once_more_and_only_before_any_byte() -> None:
    async def dies_once(request: Received, out: Out) -> None:
        await (FAULTS["hang_up"] if len(peer.received) == 1 else good)(request, out)

    with Peer(dies_once) as peer:
        assert run(lambda transport: text_of(transport, call(peer)), peer.url) == "ab"
        assert [r.connection for r in peer.received] == [1, 2]
    for name in ("cut", "garbage"):
        with Peer(FAULTS[name]) as peer:
            with pytest.raises(CloudError):
                run(lambda transport: text_of(transport, call(peer)), peer.url)
            assert len(peer.received) == 1, name


def test_leaving_closes_the_connection_at_once() -> None:
    async def endless(request: Received, out: Out) -> None:
        await out.head()
        while True:
            await out.event({"choices": [{"text": "more"}]})
            await asyncio.sleep(0.001)

    with Peer(endless) as peer:

        async def leave(transport: HttpTransport) -> None:
            async with transport.send(call(peer)) as response:
                async for _ in response.events(ServerSentEvents()):
                    break
            assert await asyncio.to_thread(peer.received[0].left.wait, 20)
            task = asyncio.create_task(text_of(transport, call(peer)))
            await asyncio.to_thread(peer.arrived.acquire)
            await asyncio.to_thread(peer.arrived.acquire)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(peer.received[1].left.wait, 20)
            assert transport.state() == ("ready", "")

        run(leave, peer.url)


def test_after_429_and_after_403_nothing_is_sent() -> None:
    for name, state, said in (("too_many", "cooling", "asked again in 7 s"), ("forbidden", "off", "403")):
        with Peer(FAULTS[name]) as peer:

            async def ask_twice(transport: HttpTransport) -> tuple[str, str]:
                for _ in range(2):
                    with pytest.raises(CloudError):
                        await text_of(transport, call(peer))
                return transport.state()

            found = run(ask_twice, peer.url)
            assert found[0] == state
            assert said in found[1]
            assert len(peer.received) == 1


def test_a_path_that_is_not_there_switches_off_unless_it_was_a_trial() -> None:
    async def nothing(request: Received, out: Out) -> None:
        await out.json({"error": "no such path"}, 404)

    async def states(transport: HttpTransport) -> list[str]:
        found = []
        for trial in (True, False):
            with pytest.raises(CloudError):
                await text_of(transport, call(peer, trial=trial))
            found.append(transport.state()[0])
        return found

    with Peer(nothing) as peer:
        assert run(states, peer.url) == ["ready", "off"]


def test_the_key_goes_to_its_endpoint_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGE_KEY", "s3cret")
    sent: list[Sent] = []
    with Peer(good) as mine, Peer(good) as other:

        async def both(transport: HttpTransport) -> None:
            await text_of(transport, call(mine))
            await text_of(transport, call(mine, auth="api-key"))
            await text_of(transport, call(other))

        run(both, mine.url + "/v1", key_place="env:LARGE_KEY", record=sent.append)
        assert mine.received[0].headers["authorization"] == "Bearer s3cret"
        assert mine.received[1].headers["api-key"] == "s3cret"
        assert not {"authorization", "api-key"} & set(other.received[0].headers)
    assert "s3cret" not in repr(sent)


def test_without_its_key_an_endpoint_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LARGE_KEY", raising=False)

    async def ask(transport: HttpTransport) -> tuple[str, str]:
        with pytest.raises(CloudError, match="LARGE_KEY is not set"):
            await text_of(transport, call(peer))
        return transport.state()

    with Peer(good) as peer:
        assert run(ask, peer.url, key_place="env:LARGE_KEY")[0] == "off"
        assert not peer.received


def test_a_connection_is_opened_ahead_of_need_once() -> None:
    async def warm(transport: HttpTransport) -> str:
        await transport.warm(f"{peer.url}/v1/models")
        await transport.warm(f"{peer.url}/v1/models")
        return await text_of(transport, call(peer))

    with Peer(good) as peer:
        assert run(warm, peer.url) == "ab"
        assert [(r.method, r.connection) for r in peer.received] == [("GET", 1), ("POST", 1)]


def test_a_connection_that_was_left_is_made_anew_ahead_of_need() -> None:
    async def leave_and_warm(transport: HttpTransport) -> None:
        async with transport.send(call(peer)) as response:
            async for _ in response.events(ServerSentEvents()):
                break
        await transport.warm(f"{peer.url}/v1/models")
        await text_of(transport, call(peer))

    async def slow_then_good(request: Received, out: Out) -> None:
        await (FAULTS["stall"] if len(peer.received) == 1 else good)(request, out)

    with Peer(slow_then_good) as peer:
        run(leave_and_warm, peer.url)
        assert [(r.method, r.connection) for r in peer.received] == [("POST", 1), ("GET", 2), ("POST", 2)]


def test_http_2_stays_off() -> None:
    """httpx never resets an HTTP/2 stream: the server would generate on after we have left."""
    options = client_options()
    assert options["http1"]
    assert not options["http2"]
    client = httpx.AsyncClient(**options)
    assert not client._transport._pool._http2  # type: ignore[attr-defined]
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "http2":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path


def test_proxies_come_from_the_environment_and_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    client = httpx.AsyncClient(**client_options())
    direct = client._transport
    assert client._transport_for_url(httpx.URL("https://api.example.com/v1")) is not direct
    assert client._transport_for_url(httpx.URL("http://127.0.0.1:8080/v1")) is direct
    assert client._transport_for_url(httpx.URL("http://localhost:8080/v1")) is direct


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://me:secret@api.example.com:8443/v1?key=1", "https://api.example.com:8443"),
        ("http://[::1]:8080/completion", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_origin_holds_no_secret(url: str, origin: str) -> None:
    assert origin_of(url) == origin
