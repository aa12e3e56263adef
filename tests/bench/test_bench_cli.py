"""`mccomd bench keystroke`, `engine` and `record` as scripts call them. Times are not looked at."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import environment

needs_llama = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed"
)


def mccomd(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mccomd", "bench", *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=170)


def found(home: Path, *arguments: str) -> dict[str, Any]:
    done = mccomd(home, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    last: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return last


def daemons() -> set[int]:
    """The daemons below this process; other tests may have some."""
    return {p.pid for p in psutil.Process().children(recursive=True) if "serve" in p.cmdline()}


def test_keystroke_has_all_keys_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before, report = daemons(), tmp_path / "report.html"
    plots = ["--html", str(report)] if importlib.util.find_spec("matplotlib") else []
    figures = found(tmp_path, "keystroke", "--limit", "6", "--repeats", "1", "--cold", "1", "--json", *plots)
    assert figures["keystroke"].keys() >= {"p50_ms", "p95_ms", "p99_ms", "n", "p50_spread_ms"}
    assert figures["typed_through"].keys() >= {"p50_ms", "p95_ms", "n"}
    assert figures["cold"]["n"] == 1
    assert 900 <= figures["cold"]["prefilled_p50"] <= 1024
    assert figures["prefilled_tokens"].keys() >= {"p50", "p95"}
    expected = {
        "drafted",
        "accepted",
        "cache_hits",
        "cpu_s_per_keystroke",
        "rss_mb",
        "stages_ms",
        "tokens_out",
    }
    assert figures.keys() >= expected
    assert figures["cpu_s_per_keystroke"] > 0
    assert 0 <= figures["machine"]["others_share"] <= 1
    kinds = [figures[name]["n"] for name in ("all_keystrokes", "first_of_a_buffer")]
    assert sum(kinds) == 6
    if plots:
        page = report.read_text()
        assert page.count("<svg") == 3
        assert "<script" not in page
        assert str(tmp_path) not in page
    assert daemons() == before


def test_engine_has_all_keys(tmp_path: Path) -> None:
    figures = found(tmp_path, "engine", "--rounds", "1", "--json")
    assert figures["prefill_tok_s"].keys() == {"256", "512", "1024"}
    assert figures["verify_ms"].keys() == {"2", "4", "8", "16"}
    assert figures["decode_ms"] == figures["decode_ms_at"]["256"]["median"] > 0
    assert figures.keys() >= {"load_s", "rss_mb", "limits"}
    assert figures["limits"].keys() >= {"read_gb_per_s", "decode_floor_ms", "fp32_gflops"}


def test_a_recorded_history_can_be_replayed(tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "own.jsonl.gz"
    made = found(tmp_path, "record", str(repository), "--out", str(out), "--json")
    assert made["keystrokes"] > 100
    arguments = ("--traces", str(out), "--repository", str(repository), "--limit", "2")
    figures = found(
        tmp_path, "keystroke", *arguments, "--repeats", "1", "--cold", "0", "--pace", "0.1", "--json"
    )
    assert figures["first_of_a_buffer"]["n"] == figures["all_keystrokes"]["n"] == 1
    assert figures["cold"]["n"] == 0
    assert figures["cold"]["p50_ms"] is None
    assert (
        "keystroke, by the model"
        in mccomd(tmp_path, "keystroke", *arguments, "--repeats", "1", "--cold", "0").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keystroke", "--traces", "{home}/none"), "error: cannot read {home}/none: No such file"),
        (("keystroke", "--model", "gpt-9"), "error: no model 'gpt-9'"),
        (("engine", "--model", "gpt-9"), "error: no model 'gpt-9'"),
        (("record", "{home}", "--out", "{home}/x"), "error: git log in {home}: fatal: not a git repository"),
    ],
)  # fmt: skip
def test_errors_are_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = mccomd(tmp_path, *(argument.format(home=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith(said.format(home=tmp_path))
    assert done.stderr.count("\n") == 1


@needs_llama
def test_the_peer_needs_weights_of_the_same_model(tmp_path: Path) -> None:
    done = mccomd(tmp_path, "keystroke", "--peer", "llamacpp", "--gguf", str(tmp_path / "none.gguf"))
    assert done.returncode == 1
    assert done.stderr == f"error: cannot read {tmp_path}/none.gguf: No such file or directory\n"
