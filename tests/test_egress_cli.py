"""`mccomd egress` with a real daemon and a real server: what it shows is what was received, nothing else."""

from __future__ import annotations

import hashlib
import http.server
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mccomd.egress import LEDGER_FILE, Egress, Ledger

from .conftest import Daemon, environment, put_plugin

POSTING = """
from mccomd.hooks import Decision, hookimpl
from mccomd.outgoing import Call

class Always:
    name = "always"
    def decide(self, evidence):
        return Decision(True, 0.1, "escalated: always")

class Posting:
    name = "posting"
    def __init__(self, context):
        self.transport, self.endpoint = context.transport, context.endpoint
    async def stream(self, request):
        body = {"prompt": request.prefix, "suffix": request.suffix, "path": request.path}
        call = Call(self.endpoint.url + "/v1/completions?key=in-the-url", request.deadline, body,
                    request_id=request.request_id, report=request.report)
        async with self.transport.send(call) as response:
            yield (await response.json())["text"]

@hookimpl
def mccomd_routers(context):
    return [Always()]

@hookimpl
def mccomd_backends(context):
    return [Posting(context)] if context.transport else []
"""
CONFIG = """
[plugins]
enabled = ["posting"]
[router]
name = "always"
[cloud]
backend = "posting"
url = "http://127.0.0.1:{port}"
"""
TEXT = 'import os\npassword = "hunter2"\u202e\nconnect('


class Server(http.server.ThreadingHTTPServer):
    """Keeps the bodies that it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.put(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps({"text": '"ada", "<secret-1>")\u200b'}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def posting(start: Callable[..., Daemon], server: Server, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    site = tmp_path_factory.mktemp("posting") / "site"
    put_plugin(site, "posting", POSTING)
    return start(CONFIG.format(port=server.server_port), PYTHONPATH=str(site))


def egress(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mccomd", "egress", *arguments]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=120, cwd="/")


def ask(daemon: Daemon, text: str, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The local answer and the update behind it."""
    line = text.count("\n")
    position = {"line": line, "column": len(text.rpartition("\n")[2])}
    with daemon.client() as client:
        client.call("initialize", {"client": "tests", "updates": True})
        answer = client.call(
            "complete",
            {"path": path, "text": text, "position": position, "deadline_ms": 30_000},
            timeout_s=60,
        )
        return answer, client.wait_notification("update", timeout_s=30)


def test_what_is_shown_is_what_was_received(posting: Daemon, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(TEXT, encoding="utf-8")
    preview = json.loads(egress(posting.env, "--preview", str(path), "--json").stdout)
    assert server.bodies.empty()
    assert egress(posting.env).stdout.startswith("nothing has left this machine")

    answer, update = ask(posting, TEXT, str(path))
    body = server.bodies.get(timeout=10)
    assert json.loads(body)["prompt"] == 'import os\npassword = "<secret-1>"\nconnect('
    assert b"hunter2" not in body
    assert update["text"] == '"ada", "hunter2")'  # the document's own secret is back, the hidden one is not

    (request,) = preview["requests"]
    assert request["body"].encode() == body
    assert (preview["masked"], preview["refusal"]) == (["password"], "")
    entry = json.loads(egress(posting.env, "--json").stdout)
    assert entry["sha256"] == hashlib.sha256(body).hexdigest() == request["sha256"]
    assert (
        entry["endpoint"]
        == request["endpoint"]
        == f"POST http://127.0.0.1:{server.server_port}/v1/completions"
    )
    assert (entry["masked"], entry["request_id"]) == (["password"], answer["request_id"])
    assert entry["bytes"] > len(body)
    ledger = (posting.home / "state" / "mccomd" / LEDGER_FILE).read_text()
    assert not [word for word in ("hunter2", "connect", "in-the-url") if word in ledger]


def test_a_preview_for_people(posting: Daemon, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a: file\nwith a strange name.py"
    path.write_text("first = 1\nAPI_KEY = 'open-sesame'\nlast(", encoding="utf-8")
    for place in (str(path), f"{path}:3", f"{path}:3:5"):
        done = egress(posting.env, "--preview", place)
        assert done.returncode == 0, done.stderr
        assert "API_KEY = '<secret-1>'" in done.stdout
        assert "open-sesame" not in done.stdout
        assert done.stdout.endswith("masked: secret; nothing was sent\n")
    assert server.bodies.empty()


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        (".env", "KEY=abc\n", "'.env' is on the list of secret files"),
        ("a.py", 'password = "', "the cursor stands in a secret"),
    ],
)
def test_a_preview_of_what_never_leaves(
    posting: Daemon, server: Server, tmp_path: Path, name: str, text: str, refusal: str
) -> None:
    (tmp_path / name).write_text(text)
    found = json.loads(egress(posting.env, "--preview", str(tmp_path / name), "--json").stdout)
    assert (found["refusal"], found["prefix"], found["requests"]) == (refusal, "", [])


def test_no_record_no_send(posting: Daemon, server: Server, tmp_path: Path) -> None:
    """The ledger becomes a folder: the local answer stands, and nothing reaches the server."""
    ledger = posting.home / "state" / "mccomd" / LEDGER_FILE
    aside = ledger.with_name("aside")
    if ledger.exists():
        ledger.rename(aside)
    ledger.mkdir()
    try:
        with posting.client() as client:
            place = {"path": "/w/b.py", "text": "x = ", "position": {"line": 0, "column": 4}}
            client.call("complete", {**place, "deadline_ms": 30_000}, timeout_s=60)
            while "nothing is sent without a record" not in posting.log:
                client.call("status")
    finally:
        ledger.rmdir()
        if aside.exists():
            aside.rename(ledger)
    assert server.bodies.empty()


@pytest.fixture
def home(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """An environment without a daemon, and its state folder."""
    env = environment(tmp_path / "home")
    state = tmp_path / "home" / "state" / "mccomd"
    state.mkdir(parents=True)
    return env, state


def test_reading_needs_no_daemon_and_starts_none(home: tuple[dict[str, str], Path]) -> None:
    env, state = home
    Egress(Ledger(state), lambda: "").admit("https://a.example/x", b"1")
    assert json.loads(egress(env, "--json").stdout)["endpoint"] == "https://a.example/x"
    assert "1 bytes  nothing masked" in egress(env).stdout
    assert egress(env, "--since", "1h").stdout.count("\n") == 1
    assert egress(env, "--since", "2999-01-01").stdout.startswith("nothing has left this machine since then")
    assert not (Path(env["XDG_RUNTIME_DIR"]) / "mccomd" / "mccomd.sock").exists()


@pytest.mark.parametrize("since", ["yesterday", "5x", "2026-13-01", "-1h"])
def test_a_time_that_is_none(home: tuple[dict[str, str], Path], since: str) -> None:
    done = egress(home[0], "--since", since)
    assert done.returncode == 2
    assert "an age such as 12h" in done.stderr


def test_a_ledger_that_somebody_wrote_into(home: tuple[dict[str, str], Path]) -> None:
    env, state = home
    evil = {
        "time": "\x1b[2J",
        "endpoint": "\x1b]0;owned\x07",
        "bytes": "many",
        "masked": "abc",
        "request_id": 7,
    }
    lines = [json.dumps(evil), "\x1b[31mnot json", "{}", json.dumps({"endpoint": "x", "masked": [1, None]})]
    (state / LEDGER_FILE).write_text("\n".join(lines) + "\n")
    done = egress(env)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert done.stdout.count("(a damaged line)") == 2
    assert [next(iter(json.loads(line))) for line in egress(env, "--json").stdout.splitlines()] == [
        "time", "damaged", "damaged", "endpoint"
    ]  # fmt: skip


def test_following_sees_new_entries_over_a_turn_of_the_file(home: tuple[dict[str, str], Path]) -> None:
    env, state = home
    door = Egress(Ledger(state, max_bytes=400, max_files=3), lambda: "")
    door.admit("https://a.example/before", b"1")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "mccomd", "egress", "--follow", "--json"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "before" in process.stdout.readline()
    for number in range(6):  # two entries fill a file; each is seen before the next is written
        door.admit(f"https://a.example/{number}", b"1")
        seen = json.loads(process.stdout.readline())
        assert seen["endpoint"] == f"https://a.example/{number}"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip() == "interrupted"


@pytest.mark.parametrize("place", ["/nowhere.py", "/nowhere.py:3", ":::", "/etc:1"])
def test_a_preview_of_no_file(home: tuple[dict[str, str], Path], place: str) -> None:
    done = egress(home[0], "--preview", place)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
