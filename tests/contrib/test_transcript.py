"""contrib/README.md is held to the code: its tables, its client, its transcript against a real daemon."""

from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from mccomd import protocol

README = Path(__file__).parents[2] / "contrib" / "README.md"
PAGE = README.read_text()
HOME = "/home/ada/project"
NOT_ON_THE_PAGE = {"Empty"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def tables() -> dict[str, list[list[str]]]:
    """The rows of each table, by the name in its first cell."""
    found: dict[str, list[list[str]]] = {}
    for is_table, lines in groupby(PAGE.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
            found[rows[0][0]] = rows[2:]
    return found


def structs() -> dict[str, type[msgspec.Struct]]:
    members = inspect.getmembers(protocol, inspect.isclass)
    mine = {
        name: kind
        for name, kind in members
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct
    }
    return {name: kind for name, kind in mine.items() if name not in NOT_ON_THE_PAGE}


@pytest.mark.parametrize("name", sorted(structs()))
def test_a_table_names_each_field_and_its_default(name: str) -> None:
    rows = tables()[name]
    fields = msgspec.structs.fields(structs()[name])
    assert [row[0] for row in rows] == [field.name for field in fields]
    for row, field in zip(rows, fields, strict=True):
        if len(row) == 4:
            wanted = "required" if field.required else json.dumps(field.default)
            assert row[2] == wanted, f"{name}.{field.name}"
        else:
            assert field.required, f"{name}.{field.name} has a default: its table needs that column"


def test_every_method_has_a_heading_and_every_code_a_row() -> None:
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert headings == list(protocol.METHODS)
    assert [row[0] for row in tables()["code"]] == [code.value for code in protocol.ErrorCode]
    for kind in (protocol.PositionEncoding, protocol.FeedbackKind):
        assert all(f"`{member.value}`" in PAGE for member in kind)


def test_the_transcript_covers_methods_notifications_and_errors() -> None:
    text = "\n".join(blocks("transcript"))
    assert all(f'"{method}"' in text for method in protocol.METHODS)
    assert f'"{protocol.NOTIFY_PROGRESS}"' in text
    assert len({code for code in protocol.ErrorCode if f'["{code.value}", ' in text}) >= 4
    (update,) = blocks("update")
    kind, method, (params,) = json.loads(update.removeprefix("<-- "))
    assert (kind, method) == (2, protocol.NOTIFY_UPDATE)
    assert set(params) == {field.name for field in msgspec.structs.fields(protocol.Update)}
    protocol.parse(protocol.Update, params)


def matches(wanted: Any, found: Any, names: dict[str, Any]) -> bool:
    """`"*"` is anything, `"$name"` what the name stands for; a map may have more keys than are wanted."""
    match wanted:
        case "*":
            return True
        case str() if wanted.startswith("$"):
            return names.setdefault(wanted, found) == found
        case dict():
            return isinstance(found, dict) and all(
                key in found and matches(wanted[key], found[key], names) for key in wanted
            )
        case list():
            pairs = isinstance(found, list) and len(wanted) == len(found)
            return pairs and all(matches(one, other, names) for one, other in zip(wanted, found, strict=True))
    return type(wanted) is type(found) and wanted == found


def filled_in(message: Any, names: dict[str, Any]) -> Any:
    """The message with its names replaced by what they stand for."""
    match message:
        case dict():
            return {key: filled_in(value, names) for key, value in message.items()}
        case list():
            return [filled_in(value, names) for value in message]
    return names.get(message, message) if isinstance(message, str) else message


class Wire:
    """One bare connection; messages are kept until the transcript wants them."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.settimeout(30)
        self._unpacker = msgpack.Unpacker()
        self.unread: list[Any] = []

    def send(self, messages: list[Any]) -> None:
        """In one piece: what stands together is sent together."""
        self._socket.sendall(b"".join(msgpack.packb(message) for message in messages))

    def receive(self, wanted: Any) -> Any:
        """The first message with the id, or the method, that is wanted."""
        while True:
            for message in self.unread:
                if message[:2] == wanted[:2]:
                    self.unread.remove(message)
                    return message
            problem = f"the daemon ended or was silent before {wanted}; unread: {self.unread}"
            try:
                assert self._read(), problem
            except TimeoutError:
                raise AssertionError(problem) from None

    def read_to_the_end(self) -> None:
        while self._read():
            pass
        self._socket.close()

    def _read(self) -> bool:
        data = self._socket.recv(1 << 16)
        self._unpacker.feed(data)
        self.unread.extend(self._unpacker)
        return bool(data)


def steps(block: str, folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Runs of lines of one direction, with the repository's real place put in."""
    lines = [line.partition(" ") for line in block.replace(HOME, str(folder)).splitlines()]
    for arrow, run in groupby(lines, lambda line: line[0]):
        yield arrow, [json.loads(text) for _, _, text in run]


def test_the_transcript_is_what_the_daemon_says(start: Callable[..., Any], repository: Path) -> None:
    """Its own daemon: it counts what it did, and it ends with a shutdown."""
    add_files(repository)
    daemon = start()
    for block in blocks("transcript"):
        wire, names = Wire(daemon.socket), {}
        for arrow, messages in steps(block, repository):
            if arrow == "-->":
                wire.send(filled_in(messages, names))
                continue
            for wanted in messages:
                found = wire.receive(wanted)
                assert matches(wanted, found, names), f"wanted {wanted}\nfound  {found}"
        wire.read_to_the_end()
        assert [message for message in wire.unread if message[:2] != [2, "progress"]] == []
    assert daemon.process.wait(timeout=20) == 0


def add_files(repository: Path) -> None:
    """5 MB of source: `progress` is sent from a tenth of a second on, and an index takes longer for this."""
    line = "value_{0} = compute(alpha_{0}, beta_{0}) + offset[{0}]\n"
    for number in range(250):
        text = "".join(line.format(number * 400 + i) for i in range(400))
        (repository / f"filler_{number}.py").write_text(text)
    run = ["git", "-C", str(repository), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*run, "add", "-A"], check=True)
    subprocess.run([*run, "commit", "-q", "-m", "filler"], check=True)


def test_the_client_of_the_page_runs(daemon: Any) -> None:
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 30
    env = {**os.environ, **daemon.env, "MCCOMD_SOCKET": str(daemon.socket)}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    text, source, *_ = done.stdout.split()
    assert source in ("local", "none"), f"{done.stdout} after {time.monotonic() - began:.1f} s"
    assert text[0] in "'\""
