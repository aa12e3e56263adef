"""What a client can do wrong: each gets an error or a closed connection, and the daemon lives."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mccomd.errors import DaemonUnavailableError, RequestError
from mccomd.protocol import METHODS
from mccomd.rpc import MAX_MESSAGE_BYTES, Request, encode

from .conftest import FINISHED, Daemon, environment, start_daemon

SLOW_S = 60.0


@contextlib.contextmanager
def raw(daemon: Daemon) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(str(daemon.socket))
        peer.settimeout(SLOW_S)
        yield peer


def read_all(peer: socket.socket) -> list[Any]:
    """Every message until the daemon closes."""
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(65536):
            unpacker.feed(data)
    return list(unpacker)


def at(text: str, path: str = "/project/a.py") -> dict[str, Any]:
    """Parameters of a completion at the end of a one-line text."""
    return {"path": path, "text": text, "position": {"line": 0, "column": len(text)}, "deadline_ms": 20_000}


def check_alive(daemon: Daemon) -> None:
    with daemon.client() as client:
        assert client.call("status")["pid"] == daemon.process.pid


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"}',
        b"\xc1" * 10,
        b"\x94\x00",  # torn: the client goes before the frame is whole
        b"",
        msgpack.packb([0, 1, "status"]),
        msgpack.packb([0, 1, "status", [{}, {}]]),
        msgpack.packb({"method": "status"}),
        b"\x91" * 5000,
    ],
)
def test_bytes_that_are_no_message(daemon: Daemon, sent: bytes) -> None:
    with raw(daemon) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        answers = read_all(peer)
    assert all(answer[0] == 1 and answer[2][0] == "bad_request" for answer in answers)
    assert len(answers) <= 1
    check_alive(daemon)


def test_whole_requests_before_bad_bytes_are_answered(daemon: Daemon) -> None:
    with raw(daemon) as peer:
        peer.sendall(encode(Request(1, "status", {})) + encode(Request(2, "complete", at("x = "))) + b"\xc1")
        answers = read_all(peer)
    assert sorted(answer[1] for answer in answers[:-1]) == [1, 2]
    assert answers[-1][1] is None


def test_a_frame_sent_byte_by_byte_is_one_request(daemon: Daemon) -> None:
    with raw(daemon) as peer:
        for byte in encode(Request(5, "status", {})):
            peer.sendall(bytes([byte]))
        answer = msgpack.unpackb(peer.recv(65536))
    assert answer[:3] == [1, 5, None]


def test_a_frame_over_the_cap_closes_the_connection(daemon: Daemon) -> None:
    """A 200 MB line: the daemon stops reading long before it has been sent."""
    with raw(daemon) as peer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(b"\x94\x00\x01\xa8complete\x91\x81\xa4text\xdb\x0c\x00\x00\x00")
            for _ in range(200):
                peer.sendall(b"x" * 1_000_000)
            pytest.fail("200 MB were read")
        answers = read_all(peer)
    assert not answers or answers[0][2][0] == "bad_request"
    with daemon.client() as client:
        assert client.call("status")["rss_mb"] < 900


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("nonsense", {}, "unknown_method", "there are: initialize"),
        ("complete", {}, "bad_params", "path"),
        ("complete", {**at("x"), "position": {"line": "1", "column": 0}}, "bad_params", "position.line"),
        ("complete", {**at("x"), "position": {"line": -1, "column": 0}}, "bad_params", "position.line"),
        ("complete", {**at("x"), "position": {"line": 2**63, "column": 0}}, "bad_params", "position.line"),
        ("complete", {**at("x"), "path": "relative.py"}, "bad_params", "path"),
        ("complete", {**at("x"), "path": "/a\0b"}, "bad_params", "path"),
        ("complete", {**at("x"), "text": 5}, "bad_params", "text"),
        ("complete", {**at("x"), "text": b"bytes"}, "bad_params", "text"),
        ("complete", {**at("x"), "deadline_ms": 0}, "bad_params", "deadline_ms"),
        ("complete", [1, 2], "bad_params", "object"),
        ("complete", {"path": "/a.py", "position": {"line": 0, "column": 0}}, "unknown_document", "not open"),
        ("document/change", {"path": "/a.py", "version": 1, "changes": []}, "unknown_document", "not open"),
        ("feedback", {"request_id": "nobody-1", "kind": "shown"}, "unknown_request", "nobody-1"),
        ("feedback", {"request_id": "nobody-1", "kind": "loved"}, "bad_params", "kind"),
        ("initialize", {"position_encoding": "utf-7"}, "bad_params", "position_encoding"),
        ("refresh", {"path": "/"}, "no_repository", "git init"),
        ("search", {"path": "/", "query": "x"}, "no_repository", "git init"),
        ("search", {"path": "/", "query": "x", "limit": 0}, "bad_params", "limit"),
    ],
)
def test_a_bad_request_is_answered_with_its_reason(
    daemon: Daemon, method: str, params: Any, code: str, text: str
) -> None:
    with raw(daemon) as peer:
        peer.sendall(encode(Request(1, method, params)))
        kind, id_, error, result = msgpack.unpackb(peer.recv(65536))
    assert (kind, id_, result) == (1, 1, None)
    assert error[0] == code
    assert text in error[1]


def test_a_request_for_an_old_version_is_told_so(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("document/open", {"path": "/v.py", "text": "x = ", "version": 3})
        with pytest.raises(RequestError, match="the daemon has 3") as caught:
            client.call("complete", {"path": "/v.py", "position": {"line": 0, "column": 4}, "version": 2})
    assert caught.value.code == "stale_version"


def test_a_client_that_vanishes_in_mid_request(daemon: Daemon) -> None:
    for _ in range(10):
        with raw(daemon) as peer:
            peer.sendall(encode(Request(1, "complete", at("def vanish("))))
    check_alive(daemon)


def test_a_client_that_never_reads_is_cut_off(daemon: Daemon) -> None:
    """Its answers pile up in the daemon, up to a bound."""
    with raw(daemon) as peer:
        peer.settimeout(5)
        request = encode(Request(1, "nonsense" * 12, {}))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for _ in range(300_000):
                peer.sendall(request)
    with daemon.client() as client:
        assert client.call("status")["rss_mb"] < 900


def test_a_newer_request_supersedes_the_older_of_its_document(daemon: Daemon) -> None:
    with daemon.client() as client:
        ids = [client.send("complete", at(f"total_{n} = sum(")) for n in range(6)]
        answers = [client.result(id_, timeout_s=SLOW_S) for id_ in ids]
    assert [answer["finish"] for answer in answers[:-1]].count("cancelled") >= 4
    assert answers[-1]["finish"] != "cancelled"


def test_requests_for_different_documents_do_not_supersede(daemon: Daemon) -> None:
    with daemon.client() as client:
        ids = [client.send("complete", at("import ", f"/project/{n}.py")) for n in range(4)]
        answers = [client.result(id_, timeout_s=SLOW_S) for id_ in ids]
    assert all(answer["finish"] != "cancelled" for answer in answers)


def test_fifty_clients_at_once(daemon: Daemon) -> None:
    finishes: list[str] = []

    def one_client(number: int) -> None:
        with daemon.client() as client:
            finishes.append(
                client.call("complete", at("return ", f"/c/{number}.py"), timeout_s=SLOW_S)["finish"]
            )

    threads = [threading.Thread(target=one_client, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(finishes) == 50
    assert set(finishes) <= {*FINISHED, "deadline"}


def test_too_many_requests_of_one_client_are_refused_one_by_one(daemon: Daemon) -> None:
    with raw(daemon) as peer:
        peer.sendall(b"".join(encode(Request(n, "complete", at("x", f"/m/{n}.py"))) for n in range(100)))
        peer.shutdown(socket.SHUT_WR)
    check_alive(daemon)
    with daemon.client() as client:
        ids = [client.send("complete", {**at("x", f"/m/{n}.py"), "deadline_ms": 200}) for n in range(100)]
        outcomes = Counter(_outcome(client, id_) for id_ in ids)
    assert outcomes["answered"] + outcomes["too_busy"] == 100
    assert outcomes["too_busy"] >= 30


def _outcome(client: Any, id_: int) -> str:
    try:
        client.result(id_, timeout_s=SLOW_S)
    except RequestError as error:
        return error.code
    return "answered"


WHOLE = st.integers(-(2**63), 2**64 - 1)
NAMES = st.sampled_from(["path", "text", "position", "query", "version", "kind"])


def _complete_params(line: int, column: int, text: str) -> dict[str, Any]:
    return {**at(text), "position": {"line": line, "column": column}, "deadline_ms": 30}


def _open_params(text: str) -> dict[str, Any]:
    return {"path": "/p.py", "text": text, "version": 1}


ANY_PARAMS = st.one_of(
    st.none(),
    WHOLE,
    st.text(max_size=5),
    st.lists(WHOLE, max_size=2),
    st.dictionaries(NAMES, st.none() | st.text(max_size=9) | WHOLE),
    st.builds(_complete_params, st.integers(0, 9), st.integers(0, 99), st.text(max_size=30)),
    st.builds(_open_params, st.text(max_size=30)),
)
ANY_METHOD = st.sampled_from([*(m for m in METHODS if m != "shutdown"), "", "no/such", "initialize "])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ANY_METHOD, ANY_PARAMS, st.booleans()), max_size=12))
def test_every_request_has_exactly_one_answer(daemon: Daemon, calls: list[tuple[str, Any, bool]]) -> None:
    asked = [n for n, (_, _, wants) in enumerate(calls) if wants]
    with raw(daemon) as peer:
        for n, (method, params, wants) in enumerate(calls):
            peer.sendall(msgpack.packb([0, n, method, [params]] if wants else [2, method, [params]]))
        peer.sendall(msgpack.packb([0, 1000, "status", []]))
        answered: Counter[int] = Counter()
        unpacker = msgpack.Unpacker()
        while sum(answered.values()) < len(asked) + 1:
            data = peer.recv(65536)
            assert data, f"closed with {sum(answered.values())} of {len(asked) + 1} answers"
            unpacker.feed(data)
            answered.update(message[1] for message in unpacker if message[0] == 1)
    assert answered == Counter([*asked, 1000])


# --- the process ----------------------------------------------------------------------------------


def test_the_socket_is_private(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o700
    assert daemon.socket.stat().st_uid == os.getuid()


def test_a_second_daemon_refuses_and_leaves_the_first_alone(daemon: Daemon) -> None:
    with pytest.raises(AssertionError, match="already listens"):
        _start_again(daemon)
    check_alive(daemon)


def _start_again(daemon: Daemon) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "mccomd", "serve"],
        env=dict(daemon.env),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    raise AssertionError(done.stderr)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(start: Callable[..., Daemon], signum: int) -> None:
    own = start()
    with own.client() as client:
        id_ = client.send("complete", at("x = "))
        client.call("status")
        own.process.send_signal(signum)
        try:
            assert client.result(id_)["finish"] in (*FINISHED, "cancelled")
        except RequestError as error:  # it still waited for the model to load
            assert error.code == "shutting_down"  # noqa: PT017 - either is an answer
    assert own.process.wait(timeout=20) == 0
    assert not own.socket.exists()


def test_shutdown_is_answered_before_the_end(start: Callable[..., Daemon]) -> None:
    own = start()
    with own.client() as client:
        assert client.call("shutdown") == {}
    assert own.process.wait(timeout=20) == 0


def test_a_socket_left_by_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    first = start_daemon(tmp_path)
    first.process.kill()
    first.process.wait()
    assert first.socket.exists()
    second = start_daemon(tmp_path)
    check_alive(second)
    second.process.terminate()
    assert second.process.wait(timeout=20) == 0


def test_status_is_answered_while_the_model_loads(start: Callable[..., Daemon]) -> None:
    own = start()
    with own.client() as client:
        assert client.call("status")["model"]["state"] in ("loading", "ready")


def test_no_daemon_is_a_clear_error(tmp_path: Path) -> None:
    from mccomd.client import Client

    with pytest.raises(DaemonUnavailableError, match="start it with `mccomd start`"):
        Client(Path(environment(tmp_path)["XDG_RUNTIME_DIR"], "none.sock"))


def test_clients_come_and_go_without_a_trace(daemon: Daemon) -> None:
    for _ in range(300):
        with raw(daemon):
            pass
    deadline = time.monotonic() + 10
    with daemon.client() as client:
        while client.call("status")["clients"] > 1:
            assert time.monotonic() < deadline
    assert MAX_MESSAGE_BYTES == 8 * 1024 * 1024
