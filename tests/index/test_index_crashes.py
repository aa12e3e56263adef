"""The indexer is killed at random instants of a walk through git; what comes next is consistent.

After each: no lock remains, what was found before is found, and the next refresh finds what a fresh index
would, without reading again what had been committed to the store.

    MCCOMD_CRASHES=200 pytest -s tests/index/test_index_crashes.py
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from index_repos import Worker
from test_index_equivalence import QUERIES, check_equal, hits_of
from walks import Walk

from mccomd_index import IndexOptions, Snapshot, find_repository, refresh, status
from mccomd_index.stamp import writer_lock

CRASHES = int(os.environ.get("MCCOMD_CRASHES", "10"))
ORIGINAL = os.environ.get("MCCOMD_WALK_REPO", "")
SEED = os.environ.get("MCCOMD_WALK_SEED", "1")


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill it, unless it ended by itself; whether it was killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.timeout(120 + 5 * CRASHES)
def test_an_indexer_killed_at_any_moment_leaves_nothing_wrong(tmp_path: Path) -> None:
    walk, chance = Walk(tmp_path, f"crash {SEED}", ORIGINAL), random.Random(SEED)
    folder, fresh = tmp_path / "index", tmp_path / "fresh"
    killed_at_work = 0
    took = 0.5
    for number in range(CRASHES):
        for _ in range(3):
            walk.step()
        repository = find_repository(walk.tree)
        assert repository is not None
        worker = Worker()
        worker.send(op="none")
        worker.answer()  # it runs: what follows is killed in the job, not in its imports
        job: dict[str, Any] = {"op": "refresh", "repository": str(walk.tree), "index": str(folder)}
        worker.send(**job, rebuild=number % 5 == 4)
        instant = chance.uniform(0, took)
        kill_after(worker.process, instant)
        out, _ = worker.process.communicate()
        killed_at_work += b'"done"' not in out
        with writer_lock(folder, 0.0):  # the kernel let go of the dead one's
            pass
        began = time.monotonic()
        refresh(repository, folder, IndexOptions())
        took = max(0.05, min(2.0, (took + time.monotonic() - began) / 1.5))
        try:
            check_equal(walk.tree, folder, fresh)
        except AssertionError:
            print("steps:", " ".join(walk.log))
            raise
        assert [place.name for place in folder.iterdir() if place.is_dir()] == [
            snapshot_of(walk.tree, folder).stamp.generation
        ]
    assert killed_at_work > CRASHES // 5
    print(f"\n{CRASHES} kills of the indexer, {killed_at_work} of them before it had answered")


def snapshot_of(tree: Path, folder: Path) -> Snapshot:
    repository = find_repository(tree)
    assert repository is not None
    snapshot = Snapshot.open(repository, folder)
    assert snapshot is not None
    snapshot.close()
    return snapshot


def test_what_a_killed_first_index_has_committed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first index of a large repository commits in portions."""
    from mccomd_index import contents

    monkeypatch.setattr(contents, "PORTION", 20_000)
    walk = Walk(tmp_path, SEED)
    repository = find_repository(walk.tree)
    assert repository is not None
    seen: list[int] = []

    class Killed(BaseException):
        pass

    def die(progress: Any) -> None:
        seen.append(progress.bytes)
        if progress.files == progress.total:
            raise Killed

    with pytest.raises(Killed):
        refresh(repository, tmp_path / "index", IndexOptions(), die)
    assert status(repository, tmp_path / "index", IndexOptions()).stamp_commit is None
    report = refresh(repository, tmp_path / "index", IndexOptions())
    assert 0 < report.bytes < 60_000 < seen[-1]
    check_equal(walk.tree, tmp_path / "index", tmp_path / "fresh")


def test_a_reader_beside_a_writer_that_dies_sees_one_state_or_the_other(tmp_path: Path) -> None:
    walk = Walk(tmp_path, SEED)
    repository = find_repository(walk.tree)
    assert repository is not None
    folder = tmp_path / "index"
    refresh(repository, folder, IndexOptions())
    before = {query: len(hits_of(repository, folder, query, 50)) for query in QUERIES}
    for number in range(5):
        worker = Worker()
        worker.send(op="refresh", repository=str(walk.tree), index=str(folder), rebuild=True)
        kill_after(worker.process, 0.2 + number * 0.05)
        worker.process.communicate()
        assert {query: len(hits_of(repository, folder, query, 50)) for query in QUERIES} == before
