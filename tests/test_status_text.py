"""What `mccomd status` says at a glance."""

from __future__ import annotations

from typing import Any

import click
import pytest

from mccomd.cli.status_text import status_text

COUNTS = (
    "requests answered from_cache empty superseded shown accepted partially_accepted dismissed p50_ms p95_ms"
)
FAILED = {"name": "x", "kind": "retriever", "state": "failed", "reason": "boom"}
CORRUPT = {"state": "corrupt", "reason": "bits"}
REPOSITORY: dict[str, Any] = {
    "repository": "/src/project", "state": "current", "reason": "at abc1234", "head": "abc1234567",
    "behind": 0, "overlay_files": 0, "files": 10, "chunks": 99, "indexing": False, "progress": 0.0,
    "watch": "events", "watch_reason": "",
}  # fmt: skip
WELL: dict[str, Any] = {
    "version": "0.1", "pid": 1, "uptime_s": 90.0, "rss_mb": 90.0, "clients": 1, "config_file": "/c",
    "config_problem": "", "log_file": "/l", "model": {"name": "m", "state": "ready", "reason": ""},
    "power": {"mode": "full", "reason": ""}, "repositories": [REPOSITORY],
    "plugins": [{"name": "bm25", "kind": "retriever", "state": "loaded", "reason": ""}],
    "cloud": {"backend": "", "endpoint": "", "model": "", "state": "none", "reason": ""},
    "router": {"name": "confidence", "threshold": 0.45, "why": "", "shadow": {"name": ""}},
    "month": {"month": "2026-11", "calls": 0, "tokens": 0, "money": 0.0, "reason": ""},
    "completions": dict.fromkeys(COUNTS.split(), 0),
}  # fmt: skip


def plain(found: dict[str, Any]) -> str:
    return click.unstyle(status_text(found))


def test_one_word_where_all_works() -> None:
    text = plain(WELL)
    assert text.splitlines()[0] == "working"
    assert "nothing leaves this machine" in text
    assert "/src/project: current, HEAD abc1234, 0 behind, 10 files, 99 chunks" in text


@pytest.mark.parametrize(
    ("part", "value", "says", "fix"),
    [
        ("model", {"name": "m", "state": "failed", "reason": "no file"}, "no completions", "mccomd doctor"),
        ("model", {"name": "m", "state": "loading", "reason": ""}, "not yet", "wait"),
        ("config_problem", "c:2: what", "refused: c:2: what", "mccomd config check"),
        ("plugins", [FAILED], "boom", "mccomd plugins"),
        ("repositories", [{**REPOSITORY, **CORRUPT}], "no snippets", "doctor /src"),
        ("cloud", {**WELL["cloud"], "backend": "b", "state": "cooling", "reason": "429"}, "429", "doctor"),
    ],
)
def test_what_does_not_work_comes_first_with_its_remedy(part: str, value: Any, says: str, fix: str) -> None:
    first, second, *_ = plain({**WELL, part: value}).splitlines()
    assert first.startswith("attention")
    assert says in first
    assert fix in second


def test_changed_files_and_commits_behind_are_counted() -> None:
    row = {**REPOSITORY, "state": "behind", "behind": 2, "overlay_files": 3, "reason": "at x"}
    text = plain({**WELL, "repositories": [row]})
    assert "HEAD abc1234 + 3 changed files, 2 behind" in text
    assert text.splitlines()[0] == "working"


def test_polling_is_said_with_its_reason() -> None:
    row = {**REPOSITORY, "watch": "polling", "watch_reason": "nfs4 is a network file system"}
    assert "watch: polling (nfs4 is" in plain({**WELL, "repositories": [row]})
