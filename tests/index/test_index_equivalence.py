"""After any walk through git's commands the index finds what a fresh one would.

Equal: for each query the same hits, with the same lines, text and commit; the same counts. The order of
hits may differ while contents of other branches are still in the store, since BM25 counts them; once it is
rebuilt, order and scores are equal, too.

    MCCOMD_WALK_STEPS=500 MCCOMD_WALK_REPO=~/src/project pytest -s tests/index/test_index_equivalence.py
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from walks import Walk

from mccomd_index import Hit, IndexOptions, Repository, Snapshot, find_repository, refresh, status

STEPS = int(os.environ.get("MCCOMD_WALK_STEPS", "40"))
ORIGINAL = os.environ.get("MCCOMD_WALK_REPO", "")
SEED = os.environ.get("MCCOMD_WALK_SEED", "1")
QUERIES = ["alpha", "beta_gamma deltaEpsilon", "def search reader", "class", "git import self", "unique"]
ALL = 4_000


def hits_of(repository: Repository, folder: Path, query: str, limit: int) -> list[Hit]:
    snapshot = Snapshot.open(repository, folder)
    assert snapshot is not None
    try:
        return snapshot.search(query, limit)
    finally:
        snapshot.close()


def check_equal(tree: Path, folder: Path, fresh: Path, *, exactly: bool = False) -> list[float]:
    """Compare with an index made from scratch; returns each query's share of the ten best in common."""
    repository = find_repository(tree)
    assert repository is not None
    shutil.rmtree(fresh, ignore_errors=True)
    refresh(repository, fresh, IndexOptions())
    common = []
    for query in QUERIES:
        one, other = hits_of(repository, folder, query, ALL), hits_of(repository, fresh, query, ALL)
        assert {_said(hit) for hit in one} == {_said(hit) for hit in other}
        assert len(one) == len(other)
        if exactly:
            assert [(*_said(hit), round(hit.score, 3)) for hit in one[:50]] == [
                (*_said(hit), round(hit.score, 3)) for hit in other[:50]
            ]
        best = {_said(hit) for hit in one[:10]}
        common.append(len(best & {_said(hit) for hit in other[:10]}) / max(len(best), 1))
    mine, theirs = (status(repository, place, IndexOptions()) for place in (folder, fresh))
    assert (mine.state, mine.files, mine.chunks, mine.overlay_files) == (
        theirs.state,
        theirs.files,
        theirs.chunks,
        theirs.overlay_files,
    )
    return common


def _said(hit: Hit) -> tuple[str, int, int, str, str]:
    return hit.path, hit.start_line, hit.end_line, hit.text, hit.commit


@pytest.mark.timeout(60 + 5 * STEPS)
def test_a_walk_through_git_ends_where_a_fresh_index_begins(tmp_path: Path) -> None:
    walk = Walk(tmp_path, SEED, ORIGINAL)
    folder, fresh = tmp_path / "index", tmp_path / "fresh"
    common: list[float] = []
    rebuilt = 0
    for _ in range(STEPS):
        walk.step()
        repository = find_repository(walk.tree)
        assert repository is not None
        rebuilt += refresh(repository, folder, IndexOptions()).rebuilt
        try:
            common += check_equal(walk.tree, folder, fresh)
        except AssertionError:
            print("steps:", " ".join(walk.log))
            raise
    walk.tree = walk.home
    for tree in sorted(tmp_path.glob("tree-*")):
        walk.git("worktree", "remove", "--force", "--force", str(tree))
    repository = find_repository(walk.tree)
    assert repository is not None
    refresh(repository, folder, IndexOptions(), rebuild=True)
    check_equal(walk.tree, folder, fresh, exactly=True)
    print(f"\n{STEPS} steps, {rebuilt} made anew; of the ten best {sum(common) / len(common):.1%} in common")
