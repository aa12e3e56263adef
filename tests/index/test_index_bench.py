from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from index_repos import Repo

from mccomd_index import RepositoryError
from mccomd_index.bench import bench_index

FIGURES = """
    files mb chunks seconds mb_per_s_per_core commit_1_ms commit_10_ms commit_100_ms
    switch_ms switch_back_ms switch_files
    query_p50_ms query_p95_ms round_p95_ms rss_peak_mb index_mb
"""


def test_the_figures_of_a_small_bare_repository(repo: Repo, tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {
        f"package {number}/m.py": "".join(f"def name_{number}_{line}(): pass\n" for line in range(80))
        for number in range(12)
    }
    head = repo.commit(files)
    bare = tmp_path / "bare.git"
    repo.git("clone", "--quiet", "--bare", ".", str(bare))
    found = asdict(bench_index(bare, commits_each=1, queries_count=20))
    assert list(found) == FIGURES.split()
    assert found["files"] == 12
    assert all(value > 0 for value in found.values())
    assert repo.git("--git-dir", str(bare), "for-each-ref", "--format=%(objectname)") == head


def test_without_a_commit_there_is_nothing_to_measure(repo: Repo, tmp_path: Path) -> None:
    for place in (repo.path, tmp_path):
        with pytest.raises(RepositoryError, match="no git repository with a commit"):
            bench_index(place)
