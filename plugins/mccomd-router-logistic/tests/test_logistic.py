"""The logistic router learns from a history what confidence alone does not tell, and says when it cannot."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mccomd_router_logistic.features import Place, features, kind_of, place_of
from mccomd_router_logistic.learning import HISTORY_VERSION, Row, cut_for, learn, read_history
from mccomd_router_logistic.regression import chance, fit, surprises
from mccomd_router_logistic.router import LogisticRouter, mccomd_routers

from mccomd.hooks import Evidence, PluginContext
from mccomd.testing import check_router

PLACE = Place(0.5, "python", 12, 4, True, "space", 3.0, True)
COLUMNS = (
    "run TEXT, request TEXT, at REAL, model TEXT, language TEXT, confidence REAL, escalated INTEGER, "
    "shadow INTEGER, source TEXT, chars INTEGER, lines INTEGER, prefix_chars INTEGER, indent INTEGER, "
    "blank_after INTEGER, last_kind TEXT, since_last_s REAL, last_good INTEGER, verdict TEXT, "
    "explicit INTEGER, shown_ms REAL"
)


def a_user(count: int, taken: Callable[[Place, random.Random], bool], seed: int = 1) -> list[Row]:
    """The history of one who takes answers by some rule."""
    chance_of = random.Random(seed)
    rows: list[Row] = []
    last: bool | None = None
    for _ in range(count):
        place = Place(
            confidence=chance_of.random(),
            language=chance_of.choice(["python", "lua"]),
            prefix_chars=chance_of.randrange(0, 80),
            indent=0,
            blank_after=chance_of.random() < 0.7,
            last_kind=chance_of.choice(["letter", "space", "open"]),
            since_last_s=None if last is None else chance_of.random() * 60,
            last_good=last,
        )
        last = taken(place, chance_of)
        rows.append(Row(place, last))
    return rows


def by_habit(place: Place, chance_of: random.Random) -> bool:
    """Streaks, and no answers in the middle of a line; confidence matters a little."""
    p = (
        0.1
        + 0.2 * place.confidence
        + (0.4 if place.last_good else 0.0)
        + (0.25 if place.blank_after else 0.0)
    )
    return chance_of.random() < p


def by_lot(place: Place, chance_of: random.Random) -> bool:
    return chance_of.random() < 0.5


def write(path: Path, rows: Iterable[Row], version: int = HISTORY_VERSION) -> Path:
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE answers (id INTEGER PRIMARY KEY, {COLUMNS})")
        db.execute(f"PRAGMA user_version = {version}")
        for number, row in enumerate(rows):
            place = row.place
            verdict = {True: "accepted", False: "rejected", None: "missed"}[row.taken]
            db.execute(
                f"INSERT INTO answers VALUES ({', '.join('?' * 21)})",
                (number + 1, "run", str(number), float(number), "mccomd-135m", place.language,
                 place.confidence, 0, None, "local", 8, 1,
                 place.prefix_chars, place.indent, int(place.blank_after), place.last_kind,
                 -1.0 if place.since_last_s is None else place.since_last_s,
                 -1 if place.last_good is None else int(place.last_good), verdict, 0, 900.0),
            )  # fmt: skip
    return path


def evidence(confidence: float, prefix: str = "    x = ", suffix: str = "\n", **more: object) -> Evidence:
    known = {name: value for name, value in more.items() if name in Evidence.__dataclass_fields__}
    return replace(Evidence((confidence, 1.0, 1.0), "y", "python", prefix, suffix, None), **known)  # type: ignore[arg-type]


def router(path: Path, threshold: float = 0.5, **options: int) -> LogisticRouter:
    found = LogisticRouter(threshold, history=path, **options)
    found.learn_now()
    return found


@pytest.mark.parametrize("rows", [0, 1000])
def test_the_contract(tmp_path: Path, rows: int) -> None:
    found = router(write(tmp_path / "history.db", a_user(rows, by_habit)))
    check_router(found, *(evidence(c / 10) for c in range(11)), budget_ms=2000.0)


def test_it_learns_what_confidence_does_not_tell() -> None:
    learnt = learn(a_user(3000, by_habit), 200)
    assert learnt.why_not == ""
    assert learnt.loss < learnt.baseline_loss - 0.02
    assert learnt.weights["the last answer was taken"] > 0.5 > learnt.weights["the last answer was rejected"]
    assert learnt.weights["nothing behind the cursor"] > 0.5


def test_what_cannot_be_learnt_is_not_pretended() -> None:
    reasons = [learn(a_user(1000, by_lot, seed), 200).why_not for seed in range(40)]
    assert reasons.count("it would predict not clearly better than confidence alone") >= 37


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "0 judged answers, 200 are needed"),
        (a_user(150, by_habit), "150 judged answers, 200 are needed"),
        ([replace(row, taken=None) for row in a_user(500, by_habit)], "0 judged answers"),
        ([replace(row, taken=True) for row in a_user(500, by_habit)], "fewer than 30 answers were rejected"),
        ([replace(row, taken=False) for row in a_user(500, by_habit)], "fewer than 30 answers were taken"),
    ],
)
def test_too_little_history_means_confidence_and_says_so(
    tmp_path: Path, rows: list[Row], reason: str
) -> None:
    found = router(write(tmp_path / "history.db", rows), 0.45)
    low, high = found.decide(evidence(0.3)), found.decide(evidence(0.6))
    assert (low.escalate, high.escalate) == (True, False)
    assert low.reason.startswith("escalated: confidence 0.30 < 0.45 (")
    assert reason in low.reason
    assert found.give_up((0.1, 0.1, 0.1))
    assert not found.give_up((0.9, 0.9, 0.9))


def test_as_many_requests_escalate_as_the_user_wished(tmp_path: Path) -> None:
    rows = a_user(3000, by_habit)
    found = router(write(tmp_path / "history.db", rows))
    for threshold in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        found.set_threshold(threshold)
        wanted = sum(row.place.confidence < threshold for row in rows)
        learnt = learn(rows, 200)
        cut = cut_for(learnt, threshold)
        assert sum(chance(learnt.weights, features(row.place)) < cut for row in rows) == wanted


def test_those_that_escalate_are_those_that_would_be_rejected() -> None:
    """The same number of calls, spent where they help: on another part of the same user's history."""
    learnt = learn(a_user(4000, by_habit, seed=1), 200)
    new = a_user(4000, by_habit, seed=2)
    cut = cut_for(learnt, 0.3)
    ours = [row.taken for row in new if chance(learnt.weights, features(row.place)) < cut]
    plain = [row.taken for row in new if row.place.confidence < 0.3]
    assert 0.9 < len(ours) / len(plain) < 1.1
    assert sum(map(bool, ours)) / len(ours) < sum(map(bool, plain)) / len(plain) - 0.05


def test_a_rejection_escalates_whatever_was_learnt(tmp_path: Path) -> None:
    found = router(write(tmp_path / "history.db", a_user(1000, by_habit)))
    assert found.decide(replace(evidence(0.99), rejected="no")).escalate


def test_the_reason_says_what_it_was(tmp_path: Path) -> None:
    found = router(write(tmp_path / "history.db", a_user(3000, by_habit)))
    reasons = [found.decide(evidence(c, suffix=s)).reason for c in (0.05, 0.95) for s in ("\n", ")\n")]
    assert all("chance to be taken 0." in reason for reason in reasons)
    assert any("most of all for " in reason for reason in reasons)


LEARNT = learn(a_user(3000, by_habit), 200)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0, 1), st.text(max_size=300), st.text(max_size=5),
    st.sampled_from(["python", "lua", "cobol", ""]), st.sampled_from([True, False, None]),
    st.floats(0, 1e9), st.floats(0, 1),
)  # fmt: skip
def test_giving_up_early_never_contradicts_the_decision(
    confidence: float,
    prefix: str,
    suffix: str,
    language: str,
    last: bool | None,
    since: float,
    threshold: float,
) -> None:
    found = LogisticRouter(history=Path("/nowhere"), now=lambda: -1e18)
    found._learnt, found._begun = LEARNT, 0.0
    found._highest = __import__("mccomd_router_logistic.router", fromlist=["_at_most"])._at_most(
        LEARNT.weights
    )
    found.set_threshold(threshold)
    asked = replace(
        evidence(confidence, prefix, suffix, last_good=last, since_last_s=since), language=language
    )
    if found.give_up(asked.probabilities):
        assert found.decide(asked).escalate


def test_it_learns_in_the_background_when_it_is_due(tmp_path: Path) -> None:
    now = [0.0]
    path = write(tmp_path / "history.db", a_user(1000, by_habit))
    found = LogisticRouter(0.5, relearn_minutes=10, history=path, now=lambda: now[0])
    assert "nothing was learnt yet" in found.decide(evidence(0.5)).reason or found._worker is not None
    assert found._worker is not None
    found._worker.join(60)
    assert "chance to be taken" in found.decide(evidence(0.5)).reason
    first = found._worker
    now[0] = 601.0
    found.decide(evidence(0.5))
    assert found._worker is not first
    found._worker.join(60)


@pytest.mark.parametrize(
    "damage", ["missing", "text", "folder", "empty", "other version", "no table", "odd types"]
)
def test_a_history_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "history.db"
    match damage:
        case "text":
            path.write_text("this is no database " * 100)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "other version":
            write(path, [], version=7)
        case "no table":
            with sqlite3.connect(path) as db:
                db.execute(f"PRAGMA user_version = {HISTORY_VERSION}")
        case "odd types":
            write(path, a_user(3, by_habit))
            with sqlite3.connect(path) as db:
                db.execute("UPDATE answers SET confidence = 'high', last_good = NULL")
    before = path.read_bytes() if path.is_file() else None
    rows, problem = read_history(path)
    assert rows == []
    assert str(path) in problem
    assert str(path) in router(path).decide(evidence(0.2)).reason
    assert (path.read_bytes() if path.is_file() else None) == before  # it never writes


@pytest.mark.parametrize(
    "options", [{"threshold": 2}, {"threshold": "low"}, {"min_answers": 0}, {"relearn_minutes": 0}]
)
def test_options_that_make_no_sense_are_an_error_at_start(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        mccomd_routers(PluginContext(options, lambda *a, **k: ()))


def test_features_are_those_of_the_history() -> None:
    found = place_of(evidence(0.5, prefix="def f():\n    return (", suffix=" )\nrest"))
    assert (found.prefix_chars, found.indent, found.blank_after, found.last_kind) == (12, 4, False, "open")
    routing = pytest.importorskip("mccomd.routing")
    for character in map(chr, range(32, 0x2FF)):
        assert kind_of(f"x{character}") == routing._kind(f"x{character}")


def test_the_histories_columns_are_those_that_mccomd_writes() -> None:
    history = pytest.importorskip("mccomd.history")
    assert {name.split()[0] for name in COLUMNS.split(", ")} == set(history.Answered.__dataclass_fields__)
    assert history.VERSION == HISTORY_VERSION
    assert history.FILE == "history.db"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=1, max_size=60))
def test_a_fit_is_finite_and_no_worse_than_knowing_the_share(data: list[tuple[float, bool]]) -> None:
    rows = [{"bias": 1.0, "x": x} for x, _ in data]
    labels = [label for _, label in data]
    weights = fit(rows, labels)
    share = sum(labels) / len(labels)
    known = sum(surprises([share] * len(rows), labels))
    assert sum(surprises([chance(weights, row) for row in rows], labels)) <= known + 1e-3 * len(rows)


def test_the_report(tmp_path: Path) -> None:
    path = write(tmp_path / "history.db", a_user(1500, by_habit))

    def report(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mccomd_router_logistic.report", *arguments]
        env = {"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    found = json.loads(report("--history", str(path), "--json").stdout)
    assert (found["answers"], found["judged"], found["why_not"]) == (1500, 1500, "")
    assert "by confidence alone" in report("--history", str(path)).stdout
    none = report()
    assert none.returncode == 1
    assert none.stderr.startswith("error: ")
    assert "there is no history yet" in none.stderr
