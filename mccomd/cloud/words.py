"""What went wrong on the way to an endpoint, in words that say where to look. Pure; knows no HTTP library."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

__all__ = ["MASKED", "no_connection", "one_line", "origin_in", "refused", "unusable", "without"]

MASKED = "<key>"
_PATH_WRONG = (301, 302, 303, 307, 308, 404, 405)
_LEAST_KEY = 4  # characters; what is shorter stands in every text


def no_connection(error: Exception, origin: str, proxy: str = "") -> str:
    """proxy: its origin, where one stands between."""
    place = f"{origin} through the proxy {proxy}" if proxy else origin
    return f"no connection to {place}: {_reason(error)}"


def _reason(error: Exception) -> str:
    kind, said = type(error).__name__, one_line(error)
    causes = list(_causes(error))
    if found := re.search(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.+?)(?: \(_ssl|$)", said):
        return f"its certificate is not trusted ({found[1]}); SSL_CERT_FILE may name an authority of yours"
    if "[SSL" in said or any("[SSL" in one_line(cause) for cause in causes):
        return f"it does not speak TLS as expected ({said}): should cloud.url begin with http://?"
    if kind == "ProxyError" and "407" in said:
        return "the proxy wants a login (407): HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "nothing listens there: does the server run, and is cloud.url right?"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "no such host: is cloud.url right, and is there a network?"
    if kind in ("ConnectTimeout", "PoolTimeout"):
        return "nobody answers in time: does the server run, and is there a network?"
    return said


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it was made from, groups taken apart."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def refused(status: int, path: str, said: str, headers: Mapping[str, str], *, with_key: bool) -> str:
    """A status that is none of success. said: the endpoint's own words, "" where it has none."""
    words = f"the endpoint answers {status}{f': {said}' if said else ''}"
    if status in (401, 403):
        return f"{words}; {'is the key at cloud.key right?' if with_key else 'cloud.key names no key'}"
    if status == 407:
        return f"{words}; that is a proxy, which wants a login: HTTP_PROXY=http://USER:PASSWORD@HOST:PORT"
    if status in _PATH_WRONG:
        place = origin_in(headers.get("location", ""))
        return f"{words} at {path}{f' and points to {place}' if place else ''}; is cloud.url right?"
    return words


def unusable(error: Exception) -> str:
    """The environment's proxies or certificates cannot be used at all."""
    said = one_line(error)
    if "socksio" in said:
        return "the environment names a SOCKS proxy, which needs a library: pip install 'httpx[socks]'"
    if isinstance(error, OSError):  # of SSL too
        return f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error.strerror or said}"
    return f"the environment's proxy cannot be used ({without(said, *_passwords(said))})"


def _passwords(text: str) -> list[str]:
    return re.findall(r"://([^/\s@']{1,300})@", text)


def without(text: str, *secrets: str) -> str:
    """A text that repeats no secret: some endpoints quote the key that they refuse."""
    for secret in secrets:
        if len(secret) >= _LEAST_KEY:
            text = text.replace(secret, MASKED)
    return text


def origin_in(url: str) -> str:
    """Scheme and host of a foreign address; "" for one that has none, or is none."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}{port}"[:200] if parts.scheme and parts.hostname else ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
