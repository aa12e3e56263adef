"""The cascade's bench: what is computed, what is typed, and the command that shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mccomd.bench.cascade import CascadePlan, always_cloud, figures_of, keystrokes_of, used_calls
from mccomd.bench.modelled import (
    Network,
    Place,
    answer_by_share,
    key_of,
    load_answers,
    save_answers,
)
from mccomd.bench.traces import Event, Trace, shipped_traces
from mccomd.bench.typing import Keystroke, places_of
from mccomd.errors import MccomdError

EVENTS = (
    Event(0, "insert", "r", 2, 0),
    Event(100, "insert", "e", 2, 1),
    Event(200, "insert", "turn x", 2, 2),
    Event(300, "insert", "\n", 2, 8),
    Event(400, "insert", "y", 1, 0),
)
TRACE = Trace("t", "a.py", "python", "def f():\n\n", EVENTS, "ydef f():\nreturn x\n\n")


def test_what_was_typed_next_is_the_truth_of_a_place() -> None:
    found = [(place.prefix, place.suffix, place.truth) for place in places_of(TRACE)]
    assert found == [
        ("def f():\nr", "\n", "eturn x"),
        ("def f():\nre", "\n", "turn x"),
        ("def f():\nreturn x", "\n", ""),
        ("def f():\nreturn x\n", "\n", ""),
        ("y", "def f():\nreturn x\n\n", ""),
    ]


def test_the_stand_in_is_right_as_often_as_stated() -> None:
    places = [place for trace in shipped_traces() for place in places_of(trace)]
    answers = answer_by_share(places, 0.65, 1)
    asked = [place for place in places if place.truth]
    right = sum(answers[place.key] == place.truth for place in asked) / len(asked)
    assert 0.6 < right < 0.75  # another place's text is the same now and then
    assert answers == answer_by_share(places, 0.65, 1)


def key(prefix: str, gap_ms: float, truth: str = "bc") -> Keystroke:
    return Keystroke(Place(prefix, "", "python", truth), 0.0, gap_ms)


def test_the_large_model_at_every_key_is_computed_from_its_network() -> None:
    network = Network(50, 50, 100)
    answers = {key_of(p, ""): text for p, text in (("xa", "bcd efg"), ("xq", "w"), ("xz", "one two"))}
    keys = [key("xa", 1000), key("xab", 10), key("xabx", 10), key("xq", 50), key("xz", 150, "one")]
    mode = always_cloud(keys, answers, network)
    shown = [[(round(ms), text, source) for ms, text, source in k.shown] for k in mode.keys]
    assert shown == [
        [(100, "bcd", "cloud"), (300, "bcd efg", "cloud")],
        [(0, "cd efg", "cache")],  # typed through
        [],  # typed differently, and the next key came first
        [],  # the answer would have come later than the next key
        [(100, "one", "cloud")],  # so far, when the next key came
    ]
    assert (mode.calls, mode.used) == (4, 2)
    plan = CascadePlan([TRACE], network=network)
    found = figures_of(plan, [mode], {})["cloud"]
    assert (found["calls_share"], found["wasted_calls"], found["shown_share"]) == (0.8, 0.5, 0.6)
    assert found["em"] == 0.2
    assert keystrokes_of(plan) == 10


def test_a_call_that_goes_on_for_several_keys_is_used_once() -> None:
    def shown(began: float, *at: tuple[float, str]) -> Keystroke:
        return Keystroke(
            Place("x", "", "python", ""), began, shown=[(ms, "text", source) for ms, source in at]
        )

    keys = [
        shown(10.0, (100, "local")),  # asked at 10.05
        shown(10.2, (0, "cache"), (50, "cloud")),
        shown(10.4, (0, "cloud")),  # the same call
        shown(10.6, (10, "local")),  # asked at 10.65, nothing came
        shown(10.8, (200, "cloud")),  # asked at 10.85
    ]
    assert used_calls(keys, [10.05, 10.65, 10.85]) == 2
    assert used_calls(keys, []) == 0


def test_answers_are_recorded_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    save_answers({"a": "x\ny", "b": ""}, path)
    assert load_answers(path) == {"a": "x\ny", "b": ""}
    path.write_text('{"key": "a"}\n')
    with pytest.raises(MccomdError, match="line 1: no recorded answer"):
        load_answers(path)
    with pytest.raises(MccomdError, match="cannot read"):
        load_answers(tmp_path / "none")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mccomd", "bench", "cascade", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170)


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "c.html"
    done = run("--limit", "6", "--pace", "0.2", "--json", "--html", str(page))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    keys = {"calls_share", "wasted_calls", "first_ms", "final_ms", "em"}
    assert all(keys <= set(found[mode]) for mode in ("local", "cloud", "cascade"))
    assert found["local"]["calls"] == 0
    assert found["cascade"]["requests"] == found["local"]["requests"] == 6
    assert "<svg" in page.read_text()


def test_drafts_need_a_model() -> None:
    done = run("--strategies", "--no-typing")
    assert done.returncode == 2
    assert "--gguf FILE" in done.stderr
