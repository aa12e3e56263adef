"""The only way out of this machine: HTTP/1.1, recorded, bounded, cancelled by leaving.

The only importer of httpx. HTTP/2 stays off: httpx never resets a stream, so that a server would generate on
after the user has typed on. There are no sleeping retries: a completion is worth nothing after two seconds.
Knows no dialect and no FIM; what is sent was masked before (escalation.py).
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from mccomd import __version__
from mccomd.cloud.breaker import Breaker, retry_after_s
from mccomd.cloud.keys import find_key
from mccomd.cloud.response import HttpResponse
from mccomd.cloud.sse import error_in
from mccomd.cloud.words import no_connection, one_line, refused, unusable, without
from mccomd.errors import CloudError, EgressError
from mccomd.outgoing import Call

__all__ = [
    "CONNECT_S",
    "KEEP_S",
    "HttpTransport",
    "Sent",
    "client_options",
    "origin_of",
]

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 65_536
CONNECT_S = 2.0
KEEP_S = 60.0
"""How long an idle connection is kept. Servers close earlier (llama.cpp after 5 s): hence the one retry."""
STALL_S = 2.5
_DIED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Nothing has left, and nobody bills it; the ledger, which is written before, keeps its line."""
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
NO_MONEY_S = 300.0  # after 402; asking again in a moment changes nothing


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it left, for the ledger."""

    time: float  # seconds since 1970
    endpoint: str  # method, scheme, host and path; never a key or a query
    bytes: int  # of head and body
    sha256: str  # of the body
    masked: tuple[str, ...]
    request_id: str
    purpose: str = "complete"
    body: builtins.bytes = field(default=b"", repr=False)  # for a preview; not kept


def client_options(*, here: bool = False) -> dict[str, Any]:
    """Of the one httpx client. Proxies and certificate authorities come from the environment.

    here: for an endpoint on this machine, which needs neither and shall not fail for a proxy that is no use.
    """
    return {
        "http1": True,
        "http2": False,  # see above; a test holds this
        "follow_redirects": False,
        "trust_env": not here,
        "timeout": httpx.Timeout(connect=CONNECT_S, read=None, write=CONNECT_S, pool=0.5),
        "limits": httpx.Limits(max_connections=8, max_keepalive_connections=2, keepalive_expiry=KEEP_S),
        "headers": {"user-agent": f"mccomd/{__version__}", "accept-encoding": "identity"},
        "mounts": {f"all://{host}": None for host in _LOOPBACK},  # no proxy to this machine itself
    }


class HttpTransport:
    """One client for all requests, one breaker for each scheme, host and port."""

    def __init__(
        self,
        url: str,
        key_place: str = "",
        record: Callable[[Sent], None] = lambda sent: None,
        stall_s: float = STALL_S,
    ) -> None:
        """url: where the key may go. record: called before anything leaves; what raises there stops it."""
        self._origin = origin_of(url)
        self._here = _is_here(url)
        self._key_place = key_place
        self._key: str | None = None
        self._record = record
        self._stall_s = stall_s
        self._breakers: dict[str, Breaker] = {}
        self._client: httpx.AsyncClient | None = None
        self._making: asyncio.Lock = asyncio.Lock()
        self._used = -KEEP_S

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def state(self) -> tuple[str, str]:
        """The configured endpoint's state and its reason: ready, cooling, looking, off."""
        breaker, now = self._breaker(self._origin), time.monotonic()
        return breaker.state(now), breaker.refusal(now) or breaker.last

    def look_again(self) -> None:
        """Somebody has mended something: what was refused may be sent, and the key is looked up anew."""
        self._breakers.clear()
        self._key = None

    async def warm(self, url: str) -> None:
        """Open a connection ahead of need, at most one within KEEP_S; failures are the next request's."""
        if time.monotonic() - self._used < KEEP_S - 5 or self.state()[1]:
            return
        self._used = time.monotonic()
        with contextlib.suppress(CloudError):
            async with self.send(
                Call(url, time.monotonic() + CONNECT_S, trial=True, purpose="warm")
            ) as response:
                await response.text()

    @contextlib.asynccontextmanager
    async def send(self, call: Call) -> AsyncIterator[HttpResponse]:
        """See outgoing.Transport."""
        breaker = self._breaker(origin_of(call.url))
        if why := breaker.refusal(time.monotonic()):
            raise CloudError(why, passing=True)
        breaker.begin()
        try:
            response = await self._open(call, breaker)
        except CloudError as error:
            self._judge(breaker, error, trial=call.trial)
            raise
        except BaseException:
            breaker.left()
            raise
        try:
            yield response
        except CloudError as error:
            self._judge(breaker, error, trial=call.trial)
            raise
        except BaseException:
            breaker.left()
            raise
        else:
            breaker.succeeded() if response.spoke else breaker.left()
        finally:
            await response.aclose()
            # An answer that was left has taken its connection with it.
            self._used = time.monotonic() if response.whole else -KEEP_S

    # --- inside ---------------------------------------------------------------------------------

    def _breaker(self, origin: str) -> Breaker:
        return self._breakers.setdefault(origin, Breaker())

    def _hide_key(self, error: CloudError) -> None:
        """Some endpoints quote the key that they refuse."""
        if self._key:
            error.args = (without(str(error), self._key),)

    def _judge(self, breaker: Breaker, error: CloudError, *, trial: bool) -> None:
        """trial: what it tells of an ability is no fault of the endpoint's."""
        self._hide_key(error)
        now, last = time.monotonic(), breaker.last
        if isinstance(error, EgressError):
            breaker.left()  # says nothing of the endpoint
        elif isinstance(error, _Refused):
            breaker.cool_down(now, error.cool_s, str(error))
        elif error.status in (401, 403) or (error.status in (301, 302, 307, 308, 404, 405) and not trial):
            breaker.disable(str(error))
            log.warning("the large model is off: %s", error)
        elif 400 <= error.status < 500:
            breaker.left(str(error))
        else:
            breaker.failed(now, str(error))
        if trial:
            breaker.last = last

    async def _open(self, call: Call, breaker: Breaker) -> HttpResponse:
        """The answer's head, with a good status."""
        try:
            client = await self._ready_client()
            key = await self._find_key(call)
        except CloudError as error:
            breaker.disable(str(error))
            raise
        request = self._request(client, call, key)
        for again in (True, False):
            size = self._keep_record(request, call)
            try:
                async with asyncio.timeout_at(call.deadline):
                    answer = await client.send(request, stream=True)
                break
            except TimeoutError as error:
                raise CloudError("no answer within the deadline", passing=True) from error
            except _DIED as error:
                if not again or not _before_any_byte(error):
                    raise CloudError(f"the connection broke: {one_line(error)}", passing=True) from error
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                if isinstance(error, _NOT_SENT):
                    call.report.bytes_sent -= size
                words = no_connection(error, origin_of(call.url), self._proxy_to(call.url))
                raise CloudError(words, passing=True) from error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        stall_s = self._stall_s if call.stall_s is None else call.stall_s
        response = HttpResponse(answer.status_code, headers, _raw(answer), answer.aclose, call, stall_s)
        if not 200 <= answer.status_code < 300:
            await self._refuse(response, urlsplit(call.url).path, with_key=bool(key))
        return response

    def _proxy_to(self, url: str) -> str:
        """The origin of the proxy that the environment names for an address; "" for none."""
        parts = urlsplit(url)
        if self._here or _is_here(url) or proxy_bypass(parts.hostname or ""):
            return ""
        proxies = getproxies()
        return origin_of(proxies.get(parts.scheme) or proxies.get("all") or "").strip(":/")

    async def _refuse(self, response: HttpResponse, path: str, *, with_key: bool) -> None:
        status, details = response.status, None
        try:
            details = _decoded(await response.text(MAX_ERROR_BYTES))
            said = error_in(details)
        except CloudError as error:
            said = str(error)
        finally:
            await response.aclose()
        words = refused(status, path, said, response.headers, with_key=with_key)
        if status in (402, 429, 503):
            seconds = retry_after_s(response.headers, time.time())
            raise _Refused(words, status, NO_MONEY_S if status == 402 and seconds is None else seconds)
        raise CloudError(words, status, details)

    async def _ready_client(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:  # reading certificates takes 20-50 ms: not on the event loop
                options = client_options(here=self._here)
                try:
                    self._client = await asyncio.to_thread(lambda: httpx.AsyncClient(**options))
                except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
                    raise CloudError(unusable(error), passing=True) from error
        return self._client

    async def _find_key(self, call: Call) -> str:
        """The configured key, for the configured endpoint alone."""
        if origin_of(call.url) != self._origin:
            return ""
        if self._key is None:
            self._key = await asyncio.to_thread(find_key, self._key_place, os.environ)
        return self._key

    def _request(self, client: httpx.AsyncClient, call: Call, key: str) -> httpx.Request:
        headers = {}
        if key:
            headers = {"authorization": f"Bearer {key}"} if call.auth == "bearer" else {"api-key": key}
        if call.body is None:
            return client.build_request("GET", call.url, headers=headers)
        body = json.dumps(call.body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        headers["content-type"] = "application/json"
        return client.build_request("POST", call.url, content=body, headers=headers)

    def _keep_record(self, request: httpx.Request, call: Call) -> int:
        """The bytes that are to leave."""
        body = request.content
        head = len(request.method) + len(request.url.raw_path) + len(b"  HTTP/1.1\r\n\r\n")
        size = head + sum(len(name) + len(value) + 4 for name, value in request.headers.raw) + len(body)
        place = f"{request.method} {origin_of(call.url)}{urlsplit(call.url).path}"
        digest = hashlib.sha256(body).hexdigest()
        try:
            self._record(
                Sent(
                    time.time(), place, size, digest, call.report.masked, call.request_id, call.purpose, body
                )
            )
        except OSError as error:
            raise CloudError(f"nothing was sent: the egress ledger cannot be written: {error}") from error
        call.report.requests += 1
        call.report.bytes_sent += size
        call.report.endpoint = origin_of(call.url)
        return size


async def _raw(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        raise CloudError(f"the answer broke off: {one_line(error)}", passing=True) from error


class _Refused(CloudError):
    """429 or 503. cool_s: how long to stay away; None where the endpoint does not say."""

    def __init__(self, message: str, status: int, cool_s: float | None) -> None:
        super().__init__(message, status)
        self.cool_s = cool_s


def origin_of(url: str) -> str:
    """Scheme, host and port, without a user or a key in it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise CloudError(f"no address of an endpoint: {error}") from error
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _is_here(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def _before_any_byte(error: Exception) -> bool:
    """Whether the connection died without a word, as an idle one does that the server has closed."""
    return not isinstance(error, httpx.RemoteProtocolError) or "without sending" in str(error)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
