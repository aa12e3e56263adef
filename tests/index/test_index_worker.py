from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from index_repos import Indexed, Repo, Worker

from mccomd_index import IndexState


@pytest.fixture
def worker() -> Iterator[Worker]:
    running = Worker()
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    """One for all the tests that must leave it as it was."""
    running = Worker()
    yield running
    assert running.end() == 0


def request(indexed: Indexed, **more: Any) -> dict[str, Any]:
    return {"op": "refresh", "repository": str(indexed.repo.path), "index": str(indexed.folder), **more}


def test_a_refresh_is_answered_once_with_its_report(repo: Repo, indexed: Indexed, worker: Worker) -> None:
    head = repo.commit({"a.py": "alpha = 1\n", "b.go": "alpha := 1\n"})
    worker.send(**request(indexed, options={"languages": ["python"]}))
    done = worker.answer()
    assert (done["id"], done["event"], done["state"], done["head"]) == (1, "done", "current", head)
    assert (done["files"], done["chunks"], done["rebuilt"], done["reason"]) == (1, 1, True, "no index yet")
    assert done["rss_peak_mb"] > 1
    repo.commit({"c.py": "beta = 1\n"})
    worker.send(**request(indexed, id="second", options={"languages": ["python"]}))
    done = worker.answer()
    assert (done["id"], done["files"], done["rebuilt"]) == ("second", 2, False)
    assert worker.end() == 0
    assert indexed.paths("alpha beta") == ["a.py", "c.py"]


def test_progress_comes_first_and_not_too_often(repo: Repo, indexed: Indexed, worker: Worker) -> None:
    text = "".join(f"def function_{number}(argument): return argument\n" for number in range(2000))
    repo.commit({f"m{number}.py": f"value_{number} = 1\n{text}" for number in range(60)})
    worker.send(**request(indexed))
    done = worker.answer()
    assert done["files"] == 60
    assert 1 <= len(worker.events) <= done["ms"] / 100 + 1
    counts = [event["files"] for event in worker.events]
    assert counts == sorted(counts)
    assert {event["total"] for event in worker.events} == {60}
    assert {event["id"] for event in worker.events} == {1}
    assert worker.events[-1]["mb"] > 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\n", "bad request"),
        (b"junk\n", "bad request"),
        (b"[1, 2]\n", "a request is a JSON object"),
        (b"\xff\xfe\n", "bad request"),
        (b"[" * 200_000 + b"\n", ""),
        (b'{"id": 7}\n', "op: None is unknown"),
        (b'{"id": 7, "op": "dance"}\n', "op: 'dance' is unknown"),
        (b'{"id": 7, "op": "refresh"}\n', "repository: expected a path"),
        (b'{"id": 7, "op": "refresh", "repository": 5}\n', "repository: expected a path"),
        (b'{"id": 7, "op": "refresh", "repository": "/", "index": "/x"}\n', "not inside a git repository"),
    ],
)
def test_bad_lines_are_answered_and_survived(
    repo: Repo, indexed: Indexed, shared: Worker, line: bytes, said: str
) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    shared.send_bytes(line)
    failed = shared.answer()
    assert failed["event"] == "failed"
    assert failed["id"] == (7 if b'"id": 7' in line else None)
    assert said in failed["error"]
    shared.send(**request(indexed))
    assert shared.answer()["event"] == "done"


@pytest.mark.parametrize(
    "options",
    [
        [],
        {"size": 1},
        {"max_file_kb": "512"},
        {"max_file_kb": True},
        {"max_file_kb": -1},
        {"ignore": "*.py"},
        {"ignore": [1]},
        {"languages": ["klingon"]},
    ],
)
def test_bad_options_are_named(repo: Repo, indexed: Indexed, shared: Worker, options: Any) -> None:
    shared.send(**request(indexed, options=options))
    failed = shared.answer()
    assert failed["event"] == "failed"
    assert "Traceback" not in failed["error"]
    assert not (indexed.folder / "views.db").exists()


def test_a_bad_index_folder_fails_the_request_only(repo: Repo, indexed: Indexed, shared: Worker) -> None:
    indexed.folder.write_text("in the way")
    shared.send(**request(indexed))
    assert "cannot be written" in shared.answer()["error"]


def test_requests_piped_in_are_all_answered_before_the_end(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    lines = "".join(json.dumps({"id": number, **request(indexed)}) + "\n" for number in range(3))
    command = [sys.executable, "-m", "mccomd_index.worker"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["id"] for event in events if event["event"] == "done"] == [0, 1, 2]
    assert done.stderr == ""


def test_it_ends_when_nobody_reads(repo: Repo, indexed: Indexed) -> None:
    worker = Worker()
    assert worker.process.stdout is not None
    assert worker.process.stdin is not None
    worker.process.stdout.close()
    worker.send(**request(indexed))
    assert worker.process.wait(30) == 0
    worker.process.stdin.close()


@pytest.mark.skipif(not hasattr(os, "nice"), reason="no priorities here")
def test_it_gives_way_to_others(shared: Worker) -> None:
    shared.send(op="none")
    shared.answer()
    process = psutil.Process(shared.process.pid)
    assert process.nice() > os.nice(0)
    if hasattr(process, "ionice") and sys.platform == "linux":
        assert process.ionice().ioclass == psutil.IOPRIO_CLASS_IDLE


def test_killed_at_many_moments_it_leaves_nothing_wrong(repo: Repo, indexed: Indexed) -> None:
    """Each worker is killed a little later than the one before, in a first index and in catching up."""
    repo.commit({f"m{number}.py": f"alpha = {number}\n" * 300 for number in range(100)})
    for moment in range(12):
        if moment == 6:
            indexed.refresh()
            repo.commit({f"m{number}.py": f"beta = {number}\n" * 300 for number in range(50)})
        worker = Worker()
        worker.send(op="none")
        worker.answer()
        worker.send(**request(indexed))
        try:
            worker.process.wait(moment % 6 * 0.02)
        except subprocess.TimeoutExpired:
            worker.process.send_signal(signal.SIGKILL)
        worker.process.communicate()
    indexed.refresh()
    fresh = Indexed(repo, indexed.folder.with_name("fresh"))
    fresh.refresh()
    for query in ("alpha", "beta"):
        assert indexed.search(query) == fresh.search(query)
    assert indexed.status().state is IndexState.CURRENT


def test_the_working_directory_may_vanish(repo: Repo, indexed: Indexed, tmp_path: Path) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    place = tmp_path / "gone"
    place.mkdir()
    command = [sys.executable, "-m", "mccomd_index.worker"]
    process = subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    place.rmdir()
    output, _ = process.communicate(json.dumps({"id": 1, **request(indexed)}) + "\n", timeout=60)
    assert json.loads(output.splitlines()[-1])["event"] == "done"


def test_the_store_is_cleared_away_after_the_answer(repo: Repo, indexed: Indexed, worker: Worker) -> None:
    def commit(number: int) -> None:
        repo.commit({f"m{n}.py": f"word = {number}{n}00\n" * 300 for n in range(120)})

    commit(1)
    worker.send(**request(indexed))
    worker.answer()
    for number in (2, 3):
        commit(number)
        worker.send(**request(indexed))
        done = worker.answer()
    assert done["rebuilt"] is False
    assert "chunks that no work tree has" in done["crowded"]
    worker.send(op="none")
    worker.answer()
    assert indexed.snapshot().stamp.generation == "gen-0002"
    worker.send(**request(indexed))
    assert worker.answer()["crowded"] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_it_dies_with_the_process_that_started_it() -> None:
    """Whatever its pipes: one that a stop reaches after its daemon was killed would stand there for ever."""
    worker = "[sys.executable, '-m', 'mccomd_index.worker', str(os.getpid())]"
    code = f"import os, subprocess, sys; subprocess.run({worker})"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert json.loads(parent.stdout.readline()) == {"event": "ready"}
    workers = psutil.Process(parent.pid).children()
    parent.kill()
    assert len(workers) == 1
    assert psutil.wait_procs(workers, timeout=60)[1] == []  # and its input is open still
    parent.communicate()


def test_it_does_not_begin_when_the_process_that_started_it_is_gone() -> None:
    command = [sys.executable, "-m", "mccomd_index.worker", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as late:
        assert late.stdout is not None
        assert late.stdout.read() == b""
        assert late.wait(60) == 0
