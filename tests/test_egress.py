"""No record, no send: the door that every outgoing request passes, and its ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from mccomd.egress import LEDGER_FILE, PREVIEW, Egress, Ledger, Preview, bare_endpoint, read_ledger
from mccomd.errors import EgressError

URL = "https://user:key@api.example:8443/v1/completions?key=abc#x"


def egress(folder: Path, why: str = "", **limits: int) -> Egress:
    return Egress(Ledger(folder, **limits), lambda: why)


def test_one_entry_a_request_and_no_text_in_it(tmp_path: Path) -> None:
    door = egress(tmp_path)
    body = b'{"prompt": "def secret_sauce("}'
    door.admit(URL, body, masked=["password"], request_id="client-1-7")
    door.admit("http://localhost:8080/infill", b"", purpose="warm")
    assert (door.requests, door.bytes) == (2, len(body))
    first, second = read_ledger(tmp_path)
    assert first.pop("time").endswith("Z")
    assert first == {
        "endpoint": "https://api.example:8443/v1/completions",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "masked": ["password"],
        "request_id": "client-1-7",
        "purpose": "complete",
    }
    assert (second["endpoint"], second["bytes"], second["purpose"]) == (
        "http://localhost:8080/infill",
        0,
        "warm",
    )
    text = (tmp_path / LEDGER_FILE).read_text()
    assert not [leak for leak in ("sauce", "user", "key=abc") if leak in text]
    assert stat.S_IMODE((tmp_path / LEDGER_FILE).stat().st_mode) == 0o600


def test_nothing_leaves_while_silence_is_wanted(tmp_path: Path) -> None:
    door = egress(tmp_path, "offline: said so")
    assert door.refusal == "offline: said so"
    with pytest.raises(EgressError, match="offline: said so"):
        door.admit(URL, b"x")
    assert door.requests == 0
    assert not (tmp_path / LEDGER_FILE).exists()


def test_a_preview_catches_what_would_leave(tmp_path: Path) -> None:
    door = egress(tmp_path, "no large model is configured")

    async def catch() -> None:
        preview = Preview()
        PREVIEW.set(preview)
        with pytest.raises(EgressError, match="preview"):
            door.admit(URL, b"body", masked=["jwt"])
        assert [(a.endpoint, a.body, a.masked) for a in preview.attempts] == [
            (bare_endpoint(URL), b"body", ("jwt",))
        ]

    async def both() -> None:
        await asyncio.create_task(catch())
        with pytest.raises(EgressError, match="no large model"):  # the task beside it is no preview
            door.admit(URL, b"body")

    asyncio.run(both())
    assert not (tmp_path / LEDGER_FILE).exists()


def test_a_full_disk_sends_nothing_and_leaves_no_half_line(tmp_path: Path) -> None:
    """The file size limit of a process stands for the disk: the write stops in the middle of a line."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_fill, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    entries = list(read_ledger(tmp_path))
    assert entries
    assert all("damaged" not in entry for entry in entries)
    assert (tmp_path / "refusal").read_text().endswith("nothing is sent without a record")
    assert (tmp_path / "sent").read_text() == str(len(entries))
    egress(tmp_path).admit(URL, b"there is room again")
    assert len(list(read_ledger(tmp_path))) == len(entries) + 1


def _fill(folder: str) -> None:
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    door = egress(Path(folder))
    for sent in range(100):
        try:
            door.admit(URL, b"x")
        except EgressError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            (Path(folder) / "refusal").write_text(str(error))
            (Path(folder) / "sent").write_text(str(sent))
            return


def test_it_is_turned_over_and_bounded(tmp_path: Path) -> None:
    door = egress(tmp_path, max_bytes=1000, max_files=3)
    for number in range(60):
        door.admit(URL, b"x", request_id=str(number))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["egress.1.jsonl", "egress.2.jsonl", "egress.jsonl"]
    assert all(p.stat().st_size < 1300 for p in tmp_path.iterdir())
    ids = [int(entry["request_id"]) for entry in read_ledger(tmp_path)]
    assert ids == list(range(ids[0], 60))  # the newest, in order, without a gap
    assert len(ids) >= 8


def test_threads_and_daemons_share_one_ledger(tmp_path: Path) -> None:
    doors = [egress(tmp_path, max_bytes=3000, max_files=50) for _ in range(3)]

    def many(door: Egress, name: str) -> None:
        for number in range(40):
            door.admit(URL, b"x", request_id=f"{name}-{number}")

    threads = [
        threading.Thread(target=many, args=(door, f"{n}-{k}"))
        for n, door in enumerate(doors)
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    ids = {json.loads(line)["request_id"] for line in lines}
    assert len(lines) == len(ids) == 240


def test_since(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    times = ["2026-01-01T00:00:00.000Z", "2026-06-01T00:00:00.000Z"]
    path.write_text("".join(json.dumps({"time": time, "endpoint": "x"}) + "\n" for time in times))
    assert [entry["time"] for entry in read_ledger(tmp_path, since="2026-02")] == times[1:]


@pytest.mark.parametrize(
    "line", [b"{", b"[" * 5000, b"\xff\xfe", b"7", b'{"endpoint": 3}', b"null", b"\0" * 100]
)
def test_a_damaged_line_is_shown_as_such(tmp_path: Path, line: bytes) -> None:
    egress(tmp_path).admit(URL, b"x")
    with open(tmp_path / LEDGER_FILE, "ab") as file:
        file.write(line + b"\n")
    egress(tmp_path).admit(URL, b"y")
    entries = list(read_ledger(tmp_path))
    assert ["damaged" in entry for entry in entries] == [False, True, False]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_ledger(tmp_path / "nowhere")) == []


def test_a_removed_ledger_is_begun_anew(tmp_path: Path) -> None:
    door = egress(tmp_path)
    door.admit(URL, b"x")
    (tmp_path / LEDGER_FILE).unlink()
    door.admit(URL, b"y")
    assert [entry["sha256"] for entry in read_ledger(tmp_path)] == [hashlib.sha256(b"y").hexdigest()]


@pytest.mark.parametrize("obstacle", ["link", "pipe", "folder", "hard link", "no folder"])
def test_a_ledger_that_is_not_ours_sends_nothing(tmp_path: Path, obstacle: str) -> None:
    folder = tmp_path / "state"
    path = folder / LEDGER_FILE
    other = tmp_path / "other"
    other.write_text("precious")
    if obstacle != "no folder":
        folder.mkdir()
    match obstacle:
        case "link":
            path.symlink_to(other)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "hard link":
            os.link(other, path)
    with pytest.raises(EgressError, match="nothing is sent without a record"):
        egress(folder).admit(URL, b"x")
    assert other.read_text() == "precious"


def test_a_ledger_readable_by_others_is_made_private(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).touch(mode=0o644)
    egress(tmp_path).admit(URL, b"x")
    assert stat.S_IMODE((tmp_path / LEDGER_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://api.example/v1?key=1", "https://api.example/v1"),
        ("http://u:p@[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://a:b:c", "(not a URL)"),
        ("unix:/run/x.sock", "unix:///run/x.sock"),
    ],
)
def test_no_key_in_an_endpoint(url: str, bare: str) -> None:
    assert bare_endpoint(url) == bare


def test_what_follows_half_a_line_is_whole(tmp_path: Path) -> None:
    """A daemon may be killed in the middle of a write that spans two pages."""
    egress(tmp_path).admit(URL, b"x")
    with open(tmp_path / LEDGER_FILE, "ab") as file:
        file.write(b'{"time": "2026-')
    for body in (b"y", b"z"):
        egress(tmp_path).admit(URL, body)
    entries = list(read_ledger(tmp_path))
    assert ["damaged" in entry for entry in entries] == [False, True, False, False]
