"""What a user reads when the way to an endpoint is blocked: where to look, and nothing that is secret."""

from __future__ import annotations

import asyncio
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mccomd.bench.endpoint import FAULTS, Handler, Out, Peer, Received
from mccomd.cloud.sse import ServerSentEvents
from mccomd.cloud.transport import HttpTransport
from mccomd.cloud.words import MASKED, no_connection, refused, without
from mccomd.errors import CloudError
from mccomd.outgoing import Call
from mccomd_plugins import chat, completions, llamacpp, mistral, ollama

from .asking import of_plugin, request, text_of, with_backend

FAR = "https://large.example"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def failure(url: str, key_place: str = "", times: int = 1) -> tuple[str, tuple[str, str]]:
    """(what is said, the endpoint's state after it)."""

    async def ask(transport: HttpTransport) -> None:
        call = Call(f"{url}/v1/completions", time.monotonic() + 60, {"prompt": "x"})
        async with transport.send(call) as response:
            async for _ in response.events(ServerSentEvents()):
                continue

    async def run() -> tuple[str, tuple[str, str]]:
        transport = HttpTransport(url, key_place)
        try:
            for _ in range(times):
                with pytest.raises(CloudError) as caught:
                    await ask(transport)
            return str(caught.value), transport.state()
        finally:
            await transport.aclose()

    return asyncio.run(run())


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- no connection --------------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    said, (state, reason) = failure(url)
    assert said == (
        f"no connection to {url}: nothing listens there: does the server run, and is cloud.url right?"
    )
    assert (state, reason) == ("ready", f"the last request failed: {said}")


def test_what_did_not_leave_is_not_paid_for() -> None:
    """A server that was down cost the month's budget a prompt at each try."""

    async def use(backend: Any) -> Any:
        asked = request()
        with pytest.raises(CloudError, match="nothing listens there"):
            await text_of(backend, asked)
        report = asked.report
        return report.requests, report.bytes_sent, report.prompt_tokens, report.cost

    with Peer(FAULTS["silent"]) as peer:
        url = f"http://127.0.0.1:{closed_port()}"
        assert with_backend(peer, use, url=url, strategy="plain", input_price=3.0) == (1, 0, 0, 0.0)


@pytest.fixture(scope="module")
def tls_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server whose certificate nobody signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=wrong.example"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with Peer(FAULTS["silent"], context) as peer:
        yield peer.port


def test_a_certificate_that_nobody_signed(tls_port: int) -> None:
    said, _ = failure(f"https://127.0.0.1:{tls_port}")
    assert "its certificate is not trusted (self" in said
    assert "SSL_CERT_FILE" in said


def test_https_where_http_is_spoken() -> None:
    class Plain(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        said, _ = failure(f"https://127.0.0.1:{server.server_address[1]}")
    assert "should cloud.url begin with http://?" in said


def causes(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = ExceptionGroup("both addresses", [cause])
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (causes(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")), "no such host"),
        (httpx.ConnectTimeout(""), "nobody answers in time"),
        (httpx.ReadError(""), "ReadError"),
        (OSError(101, "Network is unreachable"), "[Errno 101] Network is unreachable"),
    ],
)
def test_other_reasons(error: Exception, said: str) -> None:
    assert no_connection(error, FAR).startswith(f"no connection to {FAR}: {said}")


# --- the environment's proxies and certificates ---------------------------------------------------------


async def wants_a_login(request: Received, out: Out) -> None:
    await out.raw(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")


def test_a_proxy_that_wants_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(wants_a_login) as peer:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:hunter2@127.0.0.1:{peer.port}")
        said, state = failure(FAR)
        assert said.startswith(
            f"no connection to {FAR} through the proxy {peer.url}: the proxy wants a login"
        )
        assert [r.method for r in peer.received] == ["CONNECT"]
        monkeypatch.setenv("HTTP_PROXY", f"http://ada:hunter2@127.0.0.1:{peer.port}")
        assert "a proxy, which wants a login" in failure("http://large.example")[0]
    assert "hunter2" not in f"{said}{state}"


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://ada:hunter2@127.0.0.1:{closed_port()}")
    said, _ = failure(FAR)
    assert "through the proxy http://127.0.0.1:" in said
    assert "nothing listens there" in said
    assert "hunter2" not in said
    monkeypatch.setenv("NO_PROXY", "0.0.0.0")
    said, _ = failure(f"http://0.0.0.0:{closed_port()}")
    assert "nothing listens there" in said
    assert "proxy" not in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "ALL_PROXY",
            "socks5://ada:hunter2@127.0.0.1:1080",
            "SOCKS proxy, which needs a library: pip install",
        ),
        ("HTTPS_PROXY", "ftp://ada:hunter2@127.0.0.1:1080", "the environment's proxy cannot be used"),
        ("SSL_CERT_FILE", "/nowhere/authorities.pem", "SSL_CERT_FILE or SSL_CERT_DIR cannot be read"),
    ],
)
def test_an_environment_that_is_no_use(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """It was an ImportError or a ValueError of the HTTP library, and took the backend for broken."""
    monkeypatch.setenv(name, value)
    found, (state, reason) = failure(FAR)
    assert said in found
    assert (state, "hunter2" in found + reason) == ("off", False)
    with Peer(FAULTS["internal"]) as peer:  # on this machine neither is needed
        assert "answers 500: out of memory" in failure(peer.url)[0]


# --- what an endpoint refuses ---------------------------------------------------------------------------


async def quotes_the_key(request: Received, out: Out) -> None:
    await out.json({"error": {"message": f"Incorrect key provided: {request.headers['authorization']}"}}, 401)


async def quotes_it_in_the_stream(request: Received, out: Out) -> None:
    await out.head()
    await out.event({"error": {"message": f"no credit for {request.headers['authorization']}"}})
    await out.end()


@pytest.mark.parametrize("handler", [quotes_the_key, quotes_it_in_the_stream])
def test_a_key_that_the_endpoint_quotes_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LARGE_KEY", "sk-abcdefgh")
    with Peer(handler) as peer:
        said, state = failure(peer.url, "env:LARGE_KEY")
        assert peer.received[0].headers["authorization"] == "Bearer sk-abcdefgh"
    assert f"Bearer {MASKED}" in said
    assert "sk-abcdefgh" not in f"{said}{state}{caplog.text}"


@pytest.mark.parametrize(
    ("status", "headers", "with_key", "said"),
    [
        (401, {}, False, "answers 401: no; cloud.key names no key"),
        (403, {}, True, "answers 403: no; is the key at cloud.key right?"),
        (404, {}, True, "answers 404: no at /v1/completions; is cloud.url right?"),
        (308, {"location": "https://evil.example:8443/v1?token=1"}, True,
         "answers 308: no at /v1/completions and points to https://evil.example:8443; is cloud.url right?"),
        (302, {"location": "/elsewhere"}, True, "answers 302: no at /v1/completions; is cloud.url right?"),
        (302, {"location": "http://[broken"}, True, "302: no at /v1/completions; is cloud.url right?"),
        (500, {}, True, "answers 500: no"),
    ],
)  # fmt: skip
def test_a_status_says_where_to_look(status: int, headers: dict[str, str], with_key: bool, said: str) -> None:
    assert refused(status, "/v1/completions", "no", headers, with_key=with_key).endswith(said)


def test_an_endpoint_that_wants_money_is_left_alone_for_some_minutes() -> None:
    """It was asked again, with the user's code, at each key."""

    async def poor(request: Received, out: Out) -> None:
        await out.json({"error": {"message": "Insufficient Balance"}}, 402)

    with Peer(poor) as peer:
        said, (state, _) = failure(peer.url, times=2)
        assert len(peer.received) == 1
    assert state == "cooling"
    assert "402: Insufficient Balance; asked again in 300 s" in said


def test_short_words_are_no_secrets() -> None:
    assert without("an a is no key", "a") == "an a is no key"


# --- a probe by hand ------------------------------------------------------------------------------------


async def not_found(request: Received, out: Out) -> None:
    await out.head(404, "text/html")
    await out.chunk("<html><h1>404 Not Found</h1></html>")
    await out.end()


async def nothing(request: Received, out: Out) -> None:
    await out.head()
    await out.end()


async def healthy(request: Received, out: Out) -> None:
    """Some other service, which answers whatever is asked."""
    await out.head(200, "application/json")
    await out.chunk('{"status": "ok"}\n')
    await out.end()


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (not_found, "404 at "),
        (FAULTS["web_page"], "a web page"),
        (FAULTS["forbidden"], "403"),
        (nothing, "has no '.*' in it"),
        (healthy, "has no '.*' in it"),
    ],
)
@pytest.mark.parametrize("plugin", [completions, mistral, llamacpp, ollama, chat])
def test_a_probe_finds_an_endpoint_that_is_none(plugin: Any, handler: Handler, said: str) -> None:
    """With most kinds of servers it asked for nothing, and called a login page ready."""

    async def use(backend: Any) -> None:
        with pytest.raises(CloudError, match=said):
            await backend.probe()
        assert not backend.caps.proved

    with Peer(handler) as peer:
        with_backend(peer, use, of_plugin(plugin))


def test_a_probe_tells_what_came() -> None:
    async def counts(request: Received, out: Out) -> None:
        await out.head()
        await out.event({"choices": [{"text": " 15 16"}]})
        await out.event("[DONE]")
        await out.end()

    async def use(backend: Any) -> Any:
        return (await backend.probe())["caps"]["notes"]

    with Peer(counts) as peer:
        assert "answered a count with ' 15 16'" in with_backend(peer, use)


def test_an_ability_that_is_lacking_is_no_fault() -> None:
    """A probe left "the last request failed" behind, of a look that was only a trial."""

    async def counts(request: Received, out: Out) -> None:
        if request.method == "GET" or "echo" in request.body:
            await out.json({"error": {"message": "no such thing here"}}, 400)
        else:
            await out.head()
            await out.event({"choices": [{"text": " 15 16"}]})
            await out.end()

    async def use(backend: Any) -> Any:
        caps = (await backend.probe())["caps"]
        return caps["verify"], backend._adapter.transport.state()

    with Peer(counts) as peer:
        assert with_backend(peer, use, dialect="together") == ("none", ("ready", ""))


def test_what_was_mended_is_asked_again(tmp_path: Path) -> None:
    """A key that was not there: `mccomd cloud probe` said "off" until the configuration was touched."""
    place = tmp_path / "key"

    async def use() -> tuple[str, str]:
        transport = HttpTransport(peer.url, f"file:{place}")
        call: Callable[[], Call] = lambda: Call(f"{peer.url}/v1/models", time.monotonic() + 60)  # noqa: E731
        for _ in range(2):
            with pytest.raises(CloudError, match="cannot be read"):
                async with transport.send(call()):
                    raise AssertionError
        place.touch(0o600)
        place.write_text("s3cret")
        transport.look_again()
        async with transport.send(call()) as response:
            await response.json()
        await transport.aclose()
        return transport.state()

    async def good(request: Received, out: Out) -> None:
        await out.json({"data": []})

    with Peer(good) as peer:
        assert asyncio.run(use()) == ("ready", "")
        assert [r.headers["authorization"] for r in peer.received] == ["Bearer s3cret"]
