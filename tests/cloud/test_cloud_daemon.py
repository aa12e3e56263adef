"""A real daemon, a large model that behaves or does not: the local answer stands, the update comes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.endpoint import FAULTS, Out, Peer, Received
from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError, RequestError
from mccomd.protocol import ErrorCode
from tests.conftest import FINISHED, Daemon

TEXT = "def area(width, height):\n    return "
ANSWER = "(width + 0) * height"  # not what the local model says


async def good(request: Received, out: Out) -> None:
    await out.head()
    for piece in ("(width", " + 0) * ", "height", "\n", "never shown"):
        await out.event({"choices": [{"text": piece}]})
    await out.event("[DONE]")
    await out.end()


def cloud_config(peer: Peer, more: str = "") -> str:
    return f"""
[power]
mode = "full"
[router]
threshold = 1.0
unsure = "show"
[cloud]
backend = "completions"
url = "{peer.url}/v1"
model = "qwen2.5-coder"
stall_ms = 300
deadline_ms = 5000
{more}
"""


def ask(client: Client, text: str = TEXT, path: str = "/a.py") -> dict[str, Any]:
    lines = text.split("\n")
    position = {"line": len(lines) - 1, "column": len(lines[-1])}
    params = {"path": path, "text": text, "position": position, "version": 1, "deadline_ms": 30_000}
    return dict(client.call("complete", params, timeout_s=60))


def completions_of(peer: Peer) -> list[Received]:
    return peer.posted("/v1/completions")


def test_an_answer_of_the_large_model_reaches_the_editor(
    start: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Peer(good) as peer:
        daemon = start(cloud_config(peer, 'key = "env:LARGE_KEY"\nstrategy = "plain"'), LARGE_KEY="s3cret")
        with daemon.client() as client:
            local = ask(client)
            while (update := client.wait_notification("update", timeout_s=60))["text"] != ANSWER:
                assert ANSWER.startswith(update["text"])
            assert (update["request_id"], update["source"]) == (local["request_id"], "cloud")
            status = client.call("status")
        assert (status["cloud"]["state"], status["cloud"]["reason"]) == ("ready", "")
        sent = completions_of(peer)[0]
        assert sent.body["prompt"].startswith("<|fim_prefix|>")
        assert sent.headers["authorization"] == "Bearer s3cret"
        kept = b"".join(p.read_bytes() for p in (daemon.home / "state" / "mccomd").iterdir() if p.is_file())
        assert b"s3cret" not in kept
        assert "s3cret" not in json.dumps(status)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_local_answer_comes_whatever_the_large_model_does(cloudy: tuple[Daemon, Peer], name: str) -> None:
    daemon, peer = cloudy
    peer.handler = FAULTS[name]
    with daemon.client() as client:
        answers = [ask(client, TEXT.replace("area", f"{name}_{i}"), f"/{name}.py") for i in range(2)]
        assert [a["finish"] for a in answers if a["finish"] not in FINISHED] == []
        status = client.call("status")
    assert next(row for row in status["plugins"] if row["name"] == "completions")["state"] == "loaded"
    assert "Traceback" not in daemon.log


@pytest.fixture(scope="module")
def cloudy(start: Callable[..., Daemon], request: pytest.FixtureRequest) -> Any:
    with Peer(good) as peer:
        yield start(cloud_config(peer)), peer


def test_a_request_that_is_superseded_is_cancelled_at_the_server(start: Callable[..., Daemon]) -> None:
    with Peer(FAULTS["silent"]) as peer, start(cloud_config(peer, 'strategy = "plain"')).client() as client:
        ask(client)
        peer.arrived.acquire(timeout=60)
        first = completions_of(peer)[0]
        assert not first.left.is_set()
        ask(client, TEXT.replace("area", "size"))  # changed elsewhere: what was asked is worth nothing
        assert first.left.wait(60)


def test_a_stream_goes_on_for_who_types_along_with_it(start: Callable[..., Daemon]) -> None:
    more = threading.Event()

    async def slow(request: Received, out: Out) -> None:
        await out.head()
        await out.event({"choices": [{"text": "(zeta + 0) * "}]})
        await asyncio.to_thread(more.wait, 60)
        await out.event({"choices": [{"text": "height\n"}]})
        await out.end()

    with Peer(slow) as peer:
        config = cloud_config(peer, 'strategy = "plain"')
        config = config.replace("_ms = 300", "_ms = 90000").replace("_ms = 5000", "_ms = 90000")
        # Held back, no local answer stands in the way of the stream's beginning.
        config = config.replace('"show"', '"hold"\nhold_ms = 60000')
        daemon = start(config)
        client = daemon.client()
        first = ask(client)
        while client.wait_notification("update", timeout_s=60)["text"] != "(zeta + 0) *":
            pass
        second = ask(client, TEXT + "(ze")
        third = ask(client, TEXT + "(zet")
        more.set()
        while not (update := client.wait_notification("update", timeout_s=60))["final"]:
            assert update["source"] == "cloud"
        assert (update["request_id"], update["text"]) == (third["request_id"], "a + 0) * height")
        found = client.call("explain", {"request_id": third["request_id"]})
        assert (found["carried"], found["bytes_sent"]) == (first["request_id"], 0)
        assert found["cloud"]["bytes_sent"] > 0
        assert (second["text"], second["finish"]) == ("ta + 0) *", "carried")
        assert len(completions_of(peer)) == 1
        client.close()


async def primeable(request: Received, out: Out) -> None:
    """llama.cpp's own wire format, with an n-gram pool that guesses whatever it has read."""
    if request.method == "GET":
        await out.json({"default_generation_settings": {"n_ctx": 4096}})
    elif request.body["n_predict"] == 0:
        await out.json({"timings": {}})
    else:
        await out.head()
        await out.event({"content": ANSWER + "\n", "timings": {"predicted_n": 9, "draft_n": 8}})
        await out.end()


@pytest.mark.parametrize(
    ("more", "primes"), [("", True), ("input_price = 0.5", False), ('prime_ahead = "never"', False)]
)
def test_a_server_of_ones_own_reads_ahead_what_it_will_be_asked(
    start: Callable[..., Daemon], more: str, primes: bool
) -> None:
    """Each request escalates here, so that the next one in the same document is likely to."""
    with Peer(primeable) as peer:
        config = cloud_config(peer, more).replace('"completions"', '"llamacpp"').replace("/v1", "")
        daemon = start(config)
        with daemon.client() as client:
            ask(client)
            while not client.call("cloud")["caps"]["prime"]:  # probed after the first answer
                pass
            probed = len(peer.posted())
            for number in range(2, 40):
                answer = ask(client, TEXT.replace("area", f"area{number}"))
                while not (found := client.call("explain", {"request_id": answer["request_id"]}))["cloud"]:
                    pass
                read = [r for r in peer.posted()[probed:] if r.body["n_predict"] == 0]
                if read or (number >= 3 and not primes):
                    break
            assert bool(read) is primes
            assert all("<|fim_prefix|>" in r.body["prompt"] and "area" in r.body["prompt"] for r in read)
            assert (found["primed_ms"] is not None) is primes
        shown = _run(daemon, "egress", "--json").stdout
        purposes = {json.loads(line)["purpose"] for line in shown.splitlines()}
        assert ("prime" in purposes) is primes
        assert {"probe", "complete"} <= purposes


def test_an_endpoint_that_refuses_is_off_until_the_configuration_changes(
    start: Callable[..., Daemon],
) -> None:
    with Peer(FAULTS["forbidden"]) as peer:
        daemon = start(cloud_config(peer))
        with daemon.client() as client:
            ask(client)
            while client.call("status")["cloud"]["state"] != "off":
                pass
            assert "403: this key may not" in client.call("status")["cloud"]["reason"]
            asked = len(peer.received)
            ask(client, TEXT + "w")
            with pytest.raises(DaemonUnavailableError, match="in time"):
                client.wait_notification("update", timeout_s=0.3)
            assert len(peer.received) == asked
            peer.handler = good
            config = daemon.home / "config" / "mccomd" / "config.toml"
            config.write_text(cloud_config(peer, "keep_warm = false"))
            while client.call("status")["cloud"]["state"] != "ready":
                pass
            ask(client, TEXT.replace("area", "size"))
            assert client.wait_notification("update", timeout_s=60)["text"]


def test_what_is_known_of_the_endpoint(start: Callable[..., Daemon]) -> None:
    with Peer(good) as peer:
        daemon = start(cloud_config(peer))
        shown = mccomd(daemon, "cloud", "status", "--json")
        assert (shown["status"]["backend"], shown["caps"]["fim"], shown["caps"]["proved"]) == (
            "completions",
            "qwen",
            False,
        )
        assert not peer.received
        probed = mccomd(daemon, "cloud", "probe", "--json")
        assert probed["caps"]["proved"]
        assert "the markers of qwen" in _run(daemon, "cloud", "status").stdout
    with daemon.client() as client:  # the endpoint has gone
        assert client.call("cloud")["caps"]["proved"]


def test_without_an_endpoint_there_is_nothing_to_probe(daemon: Daemon) -> None:
    assert "nothing leaves this machine" in _run(daemon, "cloud", "status").stdout
    done = _run(daemon, "cloud", "probe")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: nothing to probe: ")
    with daemon.client() as client, pytest.raises(RequestError, match="Expected `bool`") as caught:
        client.call("cloud", {"probe": "yes"})
    assert caught.value.code == ErrorCode.BAD_PARAMS


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            'backend = "openai"',
            "there is no backend 'openai' (cloud.backend); there are completions, mistral",
        ),
        (
            'backend = "completions"',
            "is not at work: loading: backend 'completions' needs cloud.url and cloud.",
        ),
    ],
)
def test_a_backend_that_cannot_work_says_why_where_one_looks(
    start: Callable[..., Daemon], config: str, said: str
) -> None:
    """It said only that it was not at work, and doctor's advice was to disable the plugin."""
    daemon = start(f'[cloud]\n{config}\nurl = "http://127.0.0.1:9/v1"\n')
    done = _run(daemon, "cloud", "probe")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert said in _run(daemon, "status").stdout
    checks = json.loads(_run(daemon, "doctor", str(daemon.home), "--json").stdout)["checks"]
    bad = {check["name"]: check["fix"] for check in checks if not check["ok"]}
    assert "large model" in bad
    assert all("[cloud]" in fix for fix in bad.values())
    assert "Traceback" not in daemon.log


def test_doctor_does_not_call_a_server_well_that_never_answered(start: Callable[..., Daemon]) -> None:
    with Peer(FAULTS["internal"]) as peer:
        daemon = start(cloud_config(peer, 'strategy = "plain"'))
        with daemon.client() as client:
            ask(client)
            while not client.call("status")["cloud"]["reason"]:
                pass
        checks = json.loads(_run(daemon, "doctor", str(daemon.home), "--json").stdout)["checks"]
        (large,) = [check for check in checks if check["name"] == "large model"]
        assert not large["ok"]
        assert "out of memory" in large["detail"]


def mccomd(daemon: Daemon, *arguments: str) -> Any:
    done = _run(daemon, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _run(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mccomd", *arguments]
    return subprocess.run(command, env=dict(daemon.env), capture_output=True, text=True, timeout=170)
