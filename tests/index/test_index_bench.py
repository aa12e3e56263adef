from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from index_repos import Repo

from mccomd.bench.growth import exponent
from mccomd.cli import commands
from mccomd.errors import MccomdError
from mccomd_index import RepositoryError
from mccomd_index.bench import Point, bench_growth, bench_index

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


def two_repositories(make_repo: Callable[..., Repo]) -> list[str]:
    for name in ("one", "other"):
        files: dict[str, str | bytes | None] = {
            f"m{number}.py": f"def {name}_{number}(): pass\n" * 200 for number in range(9)
        }
        make_repo(name).commit({**files, ".env": "left_out = 1\n"})
    return [str(make_repo(name).path) for name in ("one", "other")]


def test_growth_indexes_parts_of_several_repositories_as_one(make_repo: Callable[..., Repo]) -> None:
    points = list(bench_growth(two_repositories(make_repo), points=3))
    assert [point.files for point in points] == [2, 6, 18]
    assert all(min(asdict(point).values()) >= 0 and point.rss_peak_mb > 1 for point in points)


def test_growth_is_drawn_and_printed(make_repo: Callable[..., Repo], tmp_path: Path) -> None:
    arguments = ["bench", "index", *two_repositories(make_repo), "--growth", "--points", "2"]
    target = tmp_path / "growth.html"
    done = CliRunner().invoke(commands, [*arguments, "--html", str(target)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "grow with the power nan of the size" in done.output  # so small, nothing can be said
    assert target.read_text().count("<svg") == 2
    done = CliRunner().invoke(commands, [*arguments, "--json"], catch_exceptions=False)
    assert [json.loads(line)["files"] for line in done.stdout.splitlines()] == [6, 18]
    done = CliRunner().invoke(commands, ["bench", "index", str(tmp_path), "--growth"])
    assert isinstance(done.exception, MccomdError)  # one line for who reads it
    done = CliRunner().invoke(commands, arguments[:4])
    assert done.exit_code == 2  # two repositories are measured together for their growth only


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_the_exponent_is_that_of_the_cost(power: float) -> None:
    def point(mb: float) -> Point:
        return Point(1, mb, 0.1 * mb**power, 1.0, 1.0, 1.0)

    small = Point(1, 0.1, 5.0, 1.0, 1.0, 1.0)  # mostly the start of the process
    assert math.isclose(exponent([small, *map(point, (3.0, 10.0, 30.0, 300.0))]), power)
    assert math.isnan(exponent([small, point(3.0)]))
