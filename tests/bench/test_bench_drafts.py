"""`mccomd bench drafts` as a script calls it, at a vLLM that knows one line. Times are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mccomd.bench.endpoint import Peer
from tests.cloud.asking import MODEL
from tests.cloud.vllm_peer import Vllm
from tests.conftest import environment

LINE = "parrot(width, height) + 1\n"


class Parrot:
    """A model with a character a token: wherever its line has begun, it goes on with it, and ends there."""

    def encode(self, text: str) -> list[int]:
        return [min(ord(char), 127) for char in text]

    def text(self, token: int) -> str:
        return chr(token)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids[-len(LINE) :]))

    def next(self, ids: Sequence[int]) -> int:
        said = self.decode(ids)
        known = next((k for k in range(len(LINE) - 1, 0, -1) if said.endswith(LINE[:k])), 0)
        return ord(LINE[known])

    def greedy(self, ids: Sequence[int], most: int) -> list[tuple[int, str, float]]:
        written = list(ids)
        while len(written) < len(ids) + most and not self.decode(written).endswith(LINE):
            written.append(self.next(written))
        return [(token, chr(token), -0.1) for token in written[len(ids) :]]

    def prompt_rows(self, ids: Sequence[int]) -> Any:
        rows = np.full((len(ids), 128), -9.0, np.float32)
        for number in range(len(ids)):
            rows[number, self.next(ids[: number + 1])] = -0.1
        return rows


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(Vllm(Parrot(), n_ctx=4000)) as running:  # type: ignore[arg-type]
        yield running


def bench(home: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(home)
    file = Path(variables["XDG_CONFIG_HOME"], "mccomd", "config.toml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config)
    command = [sys.executable, "-m", "mccomd", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=170)


def test_drafts_are_measured_where_the_endpoint_is_configured(tmp_path: Path, peer: Peer) -> None:
    config = f'[cloud]\nbackend = "completions"\nurl = "{peer.url}/v1"\nmodel = "{MODEL}"\n'
    done = bench(tmp_path, config, "bench", "drafts", "--places", "2", "--runs", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["dialect"], found["places"], found["runs"]) == ("vllm", 2, 2)
    rows = found["rows"]
    assert list(rows) == ["plain cold", "plain read", "verify right", "verify half", "verify wrong"]
    assert [row["identical"] for row in rows.values()] == ["2/2"] + ["4/4"] * 4
    assert rows["verify right"]["used"] == "4/4"
    assert rows["verify right"]["accepted"] == rows["verify right"]["drafted"] > 0
    assert all(row["total_ms"] >= row["first_ms"] > 0 for row in rows.values())
    told = [json.loads(line) for line in bench(tmp_path, config, "egress", "--json").stdout.splitlines()]
    assert len(told) == len(peer.received)
    assert sum(line["bytes"] for line in told) > 2000
    assert {line["purpose"] for line in told} == {"bench"}


@pytest.mark.parametrize(
    ("config", "said"),
    [("", "no large model is configured"),
     ('[cloud]\nbackend = "completions"\noffline = true\nurl = "http://127.0.0.1:1"\nmodel = "m"\n',
      "nothing may leave this machine"),
     ('[cloud]\nbackend = "klingon"\nurl = "http://127.0.0.1:1"\nmodel = "m"\n', "is not built in"),
     ('[cloud]\nbackend = "completions"\nurl = "http://127.0.0.1:1"\nmodel = "m"\n', "no connection")],
)  # fmt: skip
def test_without_an_endpoint_one_line_says_why(tmp_path: Path, config: str, said: str) -> None:
    done = bench(tmp_path, config, "bench", "drafts")
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
