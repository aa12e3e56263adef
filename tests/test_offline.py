"""Nothing leaves: every socket that a real daemon opens is watched, by the interpreter and by the kernel."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError

from .conftest import Daemon, environment, put_plugin

WATCH = """
import os, sys
LOG = os.open(os.environ["SOCKET_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def _watch(event, arguments):
    if event.startswith("socket."):
        family = getattr(arguments[0], "family", None) if arguments else None
        if event == "socket.__new__":
            family = arguments[1]
        os.write(LOG, f"{event} {int(family) if family is not None else '-'} {arguments[1:]!r}\\n".encode())
sys.addaudithook(_watch)
"""
TALKATIVE = '''
import os, socket, urllib.request
from mccomd.hooks import Decision, hookimpl
from mccomd.types import Snippet

ADDRESS = ("127.0.0.1", {port})

def tries():
    """Every way out that a plugin has, and what became of it."""
    def tcp(): socket.create_connection(ADDRESS, timeout=2)
    def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ADDRESS)
    def six(): socket.socket(socket.AF_INET6, socket.SOCK_STREAM).connect(("::1", {port}))
    def dns(): socket.getaddrinfo("mccomd.invalid", 80)
    def raw():
        import _socket
        _socket.socket().connect(ADDRESS)
    def http(): urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=2)
    def unix(): socket.socket(socket.AF_UNIX).connect({unix!r})
    for way in (tcp, udp, six, dns, raw, http, unix):
        try:
            way()
            yield way.__name__ + " got out"
        except OSError as error:
            reason = getattr(error, "reason", error)
            yield f"{{way.__name__}} {{type(reason).__name__}}: {{reason}}"

class Part:
    name = "talkative"
    def retrieve(self, query):
        with open(os.environ["SOCKET_LOG"] + ".ways", "w") as file:
            file.write("".join(f"{{way}}\\n" for way in tries()))
        return [Snippet("ways", 1, 1, "x = 1", 1.0, "", self.name)]
    def decide(self, evidence):
        return Decision(True, 0.1, "escalated: always")
    async def stream(self, request):
        yield "asked"

@hookimpl
def mccomd_retrievers(context):
    return [Part()]

@hookimpl
def mccomd_routers(context):
    return [Part()]

@hookimpl
def mccomd_backends(context):
    return [Part()]
'''
CONFIG = """
[completion]
deadline_ms = 40000
retrieve_ms = 20000
snippet_tokens = 700
[plugins]
enabled = ["talkative"]
disabled = ["bm25"]
{plugins}
[router]
name = "talkative"
[cloud]
{cloud}
"""


class Listener:
    """Servers on the loopback interface and on a Unix socket that count who comes."""

    def __init__(self, folder: Path) -> None:
        self.unix = str(folder / "other.sock")
        self.visitors = 0
        self._sockets = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self._sockets[1].bind(self.unix)
        self._sockets[1].listen()
        self.port = self._sockets[0].getsockname()[1]
        for server in self._sockets:
            threading.Thread(target=self._count, args=(server,), daemon=True).start()

    def _count(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = server.accept()
                self.visitors += 1
                visitor.close()

    def close(self) -> None:
        for server in self._sockets:
            server.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    found = Listener(tmp_path)
    yield found
    found.close()


@pytest.fixture
def watched(start: Callable[..., Daemon], tmp_path: Path, listener: Listener) -> Callable[..., Daemon]:
    """Starts daemons with a plugin that tries every way out, and with every socket event in a file."""
    site = tmp_path / "site"
    put_plugin(site, "talkative", TALKATIVE.format(port=listener.port, unix=listener.unix))
    (site / "sitecustomize.py").write_text(WATCH)

    def begin(cloud: str, plugins: str = "", **variables: str) -> Daemon:
        log = str(tmp_path / "sockets.log")
        config = CONFIG.format(cloud=cloud, plugins=plugins)
        return start(config, PYTHONPATH=str(site), SOCKET_LOG=log, **variables)

    return begin


def a_days_work(daemon: Daemon, repository: Path) -> dict[str, Any]:
    """Every method once; the completion with the plugin's snippet."""
    path = str(repository / "geometry.py")
    with daemon.client() as client:
        client.call("refresh", {"path": path}, timeout_s=60)
        client.call("search", {"query": "area", "path": path})
        client.call("document/open", {"path": path, "text": "import os\nx = ", "version": 1})
        place = {"path": path, "position": {"line": 1, "column": 4}}
        client.call("warm", place, timeout_s=60)
        answer = client.call("complete", {**place, "deadline_ms": 50_000}, timeout_s=90)
        client.call("feedback", {"request_id": answer["request_id"], "kind": "shown"})
        client.call("preview", {**place, "text": "import os\nx = "}, timeout_s=60)
        client.call("status")
    return dict(answer)


@pytest.mark.parametrize(
    ("cloud", "variables", "reason"),
    [
        ("", {}, "no large model is configured"),
        ('backend = "talkative"\noffline = true', {}, "offline: cloud.offline is set in the config"),
        ('backend = "talkative"', {"MCCOMD_OFFLINE": "1"}, "offline: MCCOMD_OFFLINE is set"),
    ],
)
def test_no_way_out_while_silence_is_wanted(
    watched: Callable[..., Daemon],
    repository: Path,
    listener: Listener,
    tmp_path: Path,
    cloud: str,
    variables: dict[str, str],
    reason: str,
) -> None:
    daemon = watched(cloud, 'network = ["talkative"]' if "offline" in reason else "", **variables)
    answer = a_days_work(daemon, repository)
    assert reason in answer["route"]
    assert listener.visitors == 0
    assert not (daemon.home / "state" / "mccomd" / "egress.jsonl").exists()
    events = (tmp_path / "sockets.log").read_text().splitlines()
    tried = {line.split()[0] for line in events if not re.match(rf"\S+ ({int(socket.AF_UNIX)}|-1) ", line)}
    assert tried >= {"socket.__new__", "socket.getaddrinfo"}  # the plugin did try, and the watch does see
    refused = (tmp_path / "sockets.log.ways").read_text().splitlines()
    assert [line.split()[0] for line in refused] == ["tcp", "udp", "six", "dns", "raw", "http", "unix"]
    assert all("PermissionError" in line and "mccomd opens no network socket" in line for line in refused)
    with daemon.client() as client:
        rows = {(p["name"], p["kind"]): p["state"] for p in client.call("status")["plugins"]}
    assert rows["talkative", "retriever"] == "loaded"  # what it met were errors of the usual kind


def test_a_plugin_may_be_let_out_by_name(
    watched: Callable[..., Daemon], repository: Path, listener: Listener, tmp_path: Path
) -> None:
    daemon = watched("", 'network = ["talkative"]')
    a_days_work(daemon, repository)
    assert listener.visitors >= 3
    assert "tcp got out" in (tmp_path / "sockets.log.ways").read_text()


def test_status_and_start_say_that_it_is_offline(start: Callable[..., Daemon]) -> None:
    daemon = start('[cloud]\nbackend = "completions"\nurl = "http://127.0.0.1:9"\n', MCCOMD_OFFLINE="1")
    with daemon.client() as client:
        cloud = client.call("status")["cloud"]
    assert cloud["state"] == "offline"
    assert "MCCOMD_OFFLINE" in cloud["reason"]
    command = [sys.executable, "-m", "mccomd", "start", "--offline"]
    done = subprocess.run(command, env=dict(daemon.env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_offline_daemon_is_not_confused_with_another(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "mccomd", "start", "--offline"]
    done = subprocess.run(command, env=dict(daemon.env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: a daemon that is not offline is running: `mccomd stop` ends it\n"


STRACE = shutil.which("strace")


def _may_trace() -> bool:
    if STRACE is None:
        return False
    tried = subprocess.run([STRACE, "-f", "-e", "trace=network", "true"], capture_output=True, timeout=30)
    return tried.returncode == 0


@pytest.mark.skipif(not _may_trace(), reason="no strace, or not allowed to trace")
@pytest.mark.parametrize("arguments", [[], ["--offline"]])
def test_the_kernel_sees_no_network_socket(tmp_path: Path, repository: Path, arguments: list[str]) -> None:
    """All system calls about sockets, of the daemon and of its children, from the first to the last."""
    assert STRACE is not None
    home = tmp_path / "home"
    env = environment(home)
    if arguments:
        (home / "config" / "mccomd").mkdir(parents=True)
        (home / "config" / "mccomd" / "config.toml").write_text(
            '[cloud]\nbackend = "completions"\nurl = "http://127.0.0.1:9"\n[router]\nthreshold = 1.0\n'
        )
    trace = tmp_path / "trace"
    process = subprocess.Popen(
        [STRACE, "-f", "-qq", "-e", "trace=network", "-o", str(trace),
         sys.executable, "-m", "mccomd", "serve", *arguments],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    path = Path(env["XDG_RUNTIME_DIR"], "mccomd", "mccomd.sock")
    daemon = Daemon(path, env, process, home)  # type: ignore[arg-type]
    try:
        while True:
            with contextlib.suppress(DaemonUnavailableError):
                Client(path).close()
                break
            assert process.poll() is None
        a_days_work(daemon, repository)
        with daemon.client() as client:
            client.call("shutdown")
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
    calls = trace.read_text()
    families = set(re.findall(r"socket(?:pair)?\((\w+)", calls))
    assert "AF_UNIX" in families  # the trace does see sockets
    assert families == {"AF_UNIX"}
    # The C library may ask the name service cache about the user's home; that socket is local, too.
    connected = set(re.findall(r"connect\(\d+, \{sa_family=AF_UNIX, sun_path=\"([^\"]*)\"", calls))
    assert connected <= {"/var/run/nscd/socket"}
    assert not re.search(r"sa_family=AF_(?!UNIX)", calls)


def test_the_indexer_is_told_too(start: Callable[..., Daemon], repository: Path) -> None:
    daemon = start("", MCCOMD_OFFLINE="1")
    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)}, timeout_s=60)
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    if not children.exists():
        pytest.skip("no /proc")
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in children.read_text().split()]
    assert environments
    assert all(b"MCCOMD_OFFLINE=1\0" in found for found in environments)
    assert os.environ.get("MCCOMD_OFFLINE") is None
