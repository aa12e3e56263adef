"""Traces: what is refused and why, what is recorded from a real history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.record import Wanted, record_traces, type_edit
from mccomd.bench.replay import cold_texts, windows
from mccomd.bench.traces import TraceError, apply, dump_traces, load_traces, shipped_traces
from mccomd.errors import MccomdError
from tests.conftest import commit_all, git


def insert(text: str, line: int, col: int, **other: Any) -> dict[str, Any]:
    return {"t_ms": 1, "op": "insert", "text": text, "line": line, "col": col, **other}


def delete(text: str, line: int, col: int, end_line: int, end_col: int) -> dict[str, Any]:
    end = {"end_line": end_line, "end_col": end_col}
    return {"t_ms": 2, "op": "delete", "text": text, "line": line, "col": col, **end}


def trace(initial: str, events: list[dict[str, Any]], final: str) -> dict[str, Any]:
    head = {"id": "a", "path": "a.py", "language": "python", "more": "is ignored"}
    return {**head, "initial_text": initial, "events": events, "final_text": final}


GOOD = trace("a\nb", [insert("\n  ", 1, 1), insert("ö", 2, 2), delete("ö\nb", 2, 2, 3, 1)], "a\n  ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "malformed|truncated"),
        ("[]", "Expected `object`"),
        (json.dumps({**GOOD, "events": [{**insert("a", 1, 0), "op": "move"}]}), "op"),
        (json.dumps({**GOOD, "events": [insert("a", 0, 0)]}), ">= 1"),
        (json.dumps({**GOOD, "final_text": "else"}), "do not lead from initial_text to final_text"),
        (json.dumps(trace("a", [insert("x", 2, 0)], "ax")), "event 1: insert at 2:0"),
        (json.dumps(trace("a", [insert("x", 1, 2)], "ax")), "event 1: insert at 1:2"),
        (
            json.dumps(trace("ab", [insert("x", 1, 0), delete("b", 1, 1, 1, 2)], "xb")),
            "event 2: delete of 'b', there stands 'a'",
        ),
        (json.dumps(trace("ab", [delete("b", 1, 1, 2, 0), insert("x", 1, 0)], "x")), "delete up to 2:0"),
        (json.dumps(trace("ab", [delete("b", 1, 1, 1, 2)], "a")), "nothing is typed"),
        (json.dumps(trace("a\r\n", [insert("x", 1, 0)], "xa\r\n")), "carriage returns"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    with pytest.raises(TraceError, match=said) as caught:
        load_traces(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_traces_survive_their_file(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source.jsonl"
    source.write_text(json.dumps(GOOD))
    traces = load_traces(source)
    dump_traces(traces, tmp_path / name)
    assert load_traces(tmp_path / name) == traces
    written = (tmp_path / name).read_bytes()
    dump_traces(traces, tmp_path / name)
    assert (tmp_path / name).read_bytes() == written


def test_a_file_without_traces_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(TraceError, match="holds no trace; `mccomd bench record`"):
        load_traces(empty)
    with pytest.raises(TraceError, match=r"No such file.*`mccomd bench record`"):
        load_traces(tmp_path / "none.jsonl")
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(TraceError, match=r"cannot read .*bad\.gz"):
        load_traces(tmp_path / "bad.gz")


def test_the_shipped_traces_lead_to_their_final_texts() -> None:
    traces = shipped_traces()
    assert len(traces) >= 5
    assert sum(trace.keystrokes for trace in traces) > 1000
    for trace in traces:
        assert apply(trace.initial_text, trace.events) == trace.final_text
        assert all(a.t_ms <= b.t_ms for a, b in zip(trace.events, trace.events[1:], strict=False))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "a = 1\n"),
        ("a = 1\n", "b = 0\na = 1\n"),
        ("a\nb\nc\n", "a\nb\nx\n  y\nc\n"),
        ("a\nb\nc\n", "a\nc\n"),
        ("a\nb\nc\n", "b\nc\n"),
        ("a\nb\nc", "a\nb"),
        ("value = old_name(1)\n", "value = new_name(1, 2)\n"),
        ("a\nb\nc\nd\n", "a\nB1\nB2\nd\nä 😀\n"),
        ("x\n\n\ny", "x\ny\n\n"),
        ("def f():\n    return 1\n", "def f():\n    if a:\n        return 1\n    return 2\n"),
    ],
)
def test_typing_leads_from_the_old_text_to_the_new(old: str, new: str) -> None:
    events = type_edit(old, new, 1)
    assert apply(old, events) == new
    assert events == type_edit(old, new, 1)
    assert all(len(event.text.strip()) <= 1 for event in events if event.op == "insert")


def test_words_are_replaced_whole() -> None:
    events = type_edit("value = old_name(1)\n", "value = new_name(1)\n", 1)
    assert [event.text for event in events if event.op == "delete"] == ["old_name"]
    assert "".join(event.text for event in events if event.op == "insert") == "new_name"


@pytest.fixture
def history(repository: Path) -> Path:
    """Beside the first commit: an edit, prose, a binary file, Windows line breaks, a merge of moved lines."""
    lines = (repository / "geometry.py").read_text().splitlines()
    more = [
        "",
        "",
        "def square_area(side: float) -> float:",
        '    """Of a square."""',
        "    return side * side",
    ]
    (repository / "geometry.py").write_text("\n".join([*lines, *more, ""]))
    (repository / "notes.md").write_text("some prose\n" * 9)
    (repository / "data.py").write_bytes(b"a = '\xff\xfe'\n" * 9)
    (repository / "windows.py").write_bytes(b"a = 1\r\n" * 9)
    (repository / "vendor").mkdir()
    (repository / "vendor" / "theirs.py").write_text("theirs = 1\n" * 9)
    commit_all(repository, "second")
    return repository


def test_a_history_becomes_traces(history: Path) -> None:
    head = git(history, "rev-parse", "HEAD")
    traces = record_traces(history, Wanted(count=10))
    assert {trace.path for trace in traces} == {"geometry.py", "report.py"}
    edit = traces[0]  # before the files that the commits brought
    assert edit.id == f"{head[:12]}:geometry.py"
    assert edit.final_text == (history / "geometry.py").read_text()
    assert edit.initial_text == git(history, "show", "HEAD~1:geometry.py") + "\n"
    assert record_traces(history, Wanted(count=10)) == traces
    assert record_traces(history, Wanted(count=1)) == traces[:1]
    assert record_traces(history, Wanted(count=1, seed=2))[0].events != edit.events


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        (Wanted(languages=("markdown",)), {"notes.md"}),
        (Wanted(min_lines=15), {"geometry.py"}),
        (Wanted(max_lines=8), {"geometry.py", "report.py"}),
    ],
)
def test_what_is_recorded_can_be_chosen(history: Path, wanted: Wanted, paths: set[str]) -> None:
    assert {trace.path for trace in record_traces(history, wanted)} == paths


def test_no_fitting_commit_is_an_error(history: Path, tmp_path: Path) -> None:
    with pytest.raises(MccomdError, match="no commit adds 5 to 80 lines to a source file since 2030-01-01"):
        record_traces(history, Wanted(since="2030-01-01"))
    with pytest.raises(MccomdError, match=r"git log in .*: fatal: not a git repository"):
        record_traces(tmp_path, Wanted())


def test_a_window_is_a_trace_of_its_own() -> None:
    traces = shipped_traces()
    cut = windows(traces, 30, 1)
    assert sum(trace.keystrokes for trace in cut) == 30
    assert all(apply(trace.initial_text, trace.events) == trace.final_text for trace in cut)
    assert windows(traces, 30, 1) == cut
    assert windows(traces, 30, 2) != cut
    assert {trace.id: trace for trace in windows(traces, 0, 1)} == {trace.id: trace for trace in traces}
    assert sum(trace.keystrokes for trace in windows(traces, 3, 1)) == 3


def test_cold_texts_are_as_long_as_asked_and_all_different() -> None:
    texts = list(cold_texts(shipped_traces(), 5, 900, lambda text: len(text.split()), 1))
    assert all(850 < len(text.split()) <= 900 for text in texts)
    assert len({text[:40] for text in texts}) == 5
    short = list(cold_texts(shipped_traces(), 1, 5, len, 1))
    assert len(short[0]) > 0
