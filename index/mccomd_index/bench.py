"""What the index costs on a real repository: full index, commits, queries, memory.

Everything runs in the long-lived worker that the daemon uses, in a temporary folder, on a scratch clone
that shares the repository's objects: the repository itself is only read. Needs the git command.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .chunk import decode
from .errors import IndexingError, RepositoryError
from .filters import Filters
from .git import Git, find_repository
from .snapshot import Snapshot
from .store import MAX_TERMS, Reader
from .tokens import query_terms
from .types import IndexOptions, Repository

LIMIT = 10  # hits of a query
SEED = 7
SWITCH_FILES = 1_000
GROWTH = 3  # each part of `bench_growth` has so many times the files of the one before


@dataclass(frozen=True)
class IndexBench:
    """The figures of one run; the keys of `mccomd bench index`."""

    files: int
    mb: float  # source text taken in, 1e6 bytes
    chunks: int
    seconds: float  # wall, first index, worker already running
    mb_per_s_per_core: float  # by CPU seconds of all threads
    commit_1_ms: float  # request to searchable and answered, median
    commit_10_ms: float
    commit_100_ms: float
    switch_ms: float  # to a branch where `switch_files` differ, until it is searchable
    switch_back_ms: float
    switch_files: int
    query_p50_ms: float  # text -> words -> ranked places
    query_p95_ms: float
    round_p95_ms: float  # the same with the snippets read back from git
    rss_peak_mb: float  # of the indexing process
    index_mb: float  # on disk, after the first index


def bench_index(
    repository_path: str | Path, *, commits_each: int = 5, queries_count: int = 400
) -> IndexBench:
    """Measure the repository that a path is in.

    commits_each: commits of each size; their median counts.
    """
    repository = find_repository(repository_path)
    if repository is None or repository.head is None:
        raise RepositoryError(f"{repository_path}: no git repository with a commit")
    with tempfile.TemporaryDirectory(prefix="mccomd-bench-") as scratch:
        clone = scratch_clone(repository, Path(scratch, "clone.git"))
        folder = Path(scratch, "index")
        with _Worker() as worker:
            first = worker.refresh(clone, folder)
            index_mb = _size(folder) / 1e6
            queries = list(_queries(clone, queries_count))
            places, rounds = _time_queries(clone, folder, queries)
            numbers = range(commits_each)
            commits = {
                size: statistics.median(_time_commit(worker, clone, folder, size, n) for n in numbers)
                for size in (1, 10, 100)
            }
            switch_files, there, back = _time_switch(worker, clone, folder)
            peak = worker.refresh(clone, folder)["rss_peak_mb"]
    mb = first["bytes"] / 1e6
    return IndexBench(
        files=first["files"],
        mb=round(mb, 2),
        chunks=first["chunks"],
        seconds=round(first["ms"] / 1000, 3),
        mb_per_s_per_core=round(mb / max(first["cpu_s"], 1e-9), 2),
        commit_1_ms=round(commits[1], 1),
        commit_10_ms=round(commits[10], 1),
        commit_100_ms=round(commits[100], 1),
        switch_ms=round(there, 1),
        switch_back_ms=round(back, 1),
        switch_files=switch_files,
        query_p50_ms=round(_percentile(places, 50), 3),
        query_p95_ms=round(_percentile(places, 95), 3),
        round_p95_ms=round(_percentile(rounds, 95), 3),
        rss_peak_mb=round(peak, 1),
        index_mb=round(index_mb, 2),
    )


class _Worker:
    """A running indexer process."""

    def __enter__(self) -> _Worker:
        command = [sys.executable, "-m", "mccomd_index.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=60)

    def settle(self) -> None:
        """Wait for what it does after its last answer."""
        with contextlib.suppress(IndexingError):
            self._ask({"id": 1, "op": "none"})

    def refresh(self, repository: Repository, folder: Path) -> dict[str, Any]:
        return self._ask({"id": 1, "op": "refresh", "repository": repository.git_dir, "index": str(folder)})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "failed":
                raise IndexingError(event["error"])
            if event["event"] == "done":
                return event
        raise IndexingError("the indexing process ended without an answer")


def scratch_clone(repository: Repository, place: Path, commit: str | None = None) -> Repository:
    """A bare clone that shares the repository's objects, at the same HEAD or at another commit."""
    _git(None, "clone", "--quiet", "--shared", "--bare", repository.git_dir, str(place))
    _git(place, "update-ref", "--no-deref", "HEAD", commit or str(repository.head))
    found = find_repository(place)
    if found is None:
        raise RepositoryError(f"{place}: the scratch clone is no repository")
    return found


def _git(place: Path | None, *arguments: str, stdin: bytes | None = None) -> bytes:
    where = [] if place is None else ["--git-dir", str(place)]
    command = ["git", *where, *arguments]
    try:
        return subprocess.run(command, input=stdin, check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        raise RepositoryError("bench needs the git command on PATH") from error
    except subprocess.CalledProcessError as error:
        raise RepositoryError(error.stderr.decode(errors="replace").strip()) from error


def _time_commit(worker: _Worker, clone: Repository, folder: Path, size: int, number: int) -> float:
    """Milliseconds from the request to the answer, when a commit of `size` files is searchable."""
    _commit(clone, size, number)
    worker.settle()
    began = time.perf_counter()
    worker.refresh(clone, folder)
    return (time.perf_counter() - began) * 1000


def _time_switch(worker: _Worker, clone: Repository, folder: Path) -> tuple[int, float, float]:
    """Files that differ, and milliseconds to a branch and back, when the store has met neither before."""
    before = Git(clone)
    head = before.head()
    count = min(SWITCH_FILES, len(_sources(before)))
    before.close()
    there = _time_commit(worker, clone, folder, count, 0)
    _git(Path(clone.git_dir), "update-ref", "--no-deref", "HEAD", str(head))
    worker.settle()
    began = time.perf_counter()
    worker.refresh(clone, folder)
    return count, there, (time.perf_counter() - began) * 1000


@dataclass(frozen=True)
class Point:
    """What a first index of a part of a repository costs."""

    files: int
    mb: float
    cpu_s: float  # of all threads
    seconds: float
    rss_peak_mb: float
    index_mb: float  # on disk


def bench_growth(repository_paths: Sequence[str | Path], points: int = 4) -> Iterator[Point]:
    """First indexes of growing parts of one or several repositories, each by a process of its own.

    Files are drawn by chance; each part has a third of the next, the last one has all. Several repositories
    become the folders of one.
    """
    repositories = []
    for path in repository_paths:
        repository = find_repository(path)
        if repository is None or repository.head is None:
            raise RepositoryError(f"{path}: no git repository with a commit")
        repositories.append(repository)
    with tempfile.TemporaryDirectory(prefix="mccomd-bench-") as scratch:
        clone = scratch_of_all(repositories, Path(scratch, "clone.git"))
        git = Git(clone)
        files = _sources(git)
        git.close()
        random.Random(SEED).shuffle(files)
        if len(repositories) > 1:
            _part(clone, files)
            _pack(Path(clone.git_dir))
        for number in reversed(range(points)):
            folder = Path(scratch, f"index-{number}")
            _part(clone, files[: max(1, len(files) // GROWTH**number)])
            with _Worker() as worker:
                done = worker.refresh(clone, folder)
            mb, seconds = round(done["bytes"] / 1e6, 2), round(done["ms"] / 1000, 3)
            cpu_s, peak = round(done["cpu_s"], 3), round(done["rss_peak_mb"], 1)
            yield Point(done["files"], mb, cpu_s, seconds, peak, round(_size(folder) / 1e6, 2))
            shutil.rmtree(folder)


def scratch_of_all(repositories: Sequence[Repository], place: Path) -> Repository:
    """A bare repository whose folders are the HEADs of others; it shares their objects."""
    if len(repositories) == 1:
        return scratch_clone(repositories[0], place)
    _git(None, "init", "--quiet", "--bare", str(place))
    shared = [f"{repository.common_dir.rstrip('/')}/objects\n" for repository in repositories]
    (place / "objects" / "info" / "alternates").write_text("".join(shared), errors="surrogateescape")
    folders = []
    for number, repository in enumerate(repositories):
        tree = _git(place, "rev-parse", f"{repository.head}^{{tree}}").decode().strip()
        folders.append(f"040000 tree {tree}\tpart_{number:03}\n")
    tree = _git(place, "mktree", stdin="".join(folders).encode()).decode().strip()
    who = ["-c", "user.name=bench", "-c", "user.email=bench"]
    commit = _git(place, *who, "commit-tree", "-m", "bench", tree).decode().strip()
    _git(place, "update-ref", "--no-deref", "HEAD", commit)
    found = find_repository(place)
    if found is None:
        raise RepositoryError(f"{place}: the scratch repository is none")
    return found


def _part(clone: Repository, files: list[tuple[str, str]]) -> None:
    """Make HEAD a commit of these files alone."""
    out = b"commit refs/mccomd/part\ncommitter bench <bench> 1700000000 +0000\ndata 5\nbench\n"
    out += b"".join(b"M 100644 %s %s\n" % (blob.encode(), _quoted(path)) for path, blob in files)
    place = Path(clone.git_dir)
    _git(place, "fast-import", "--quiet", "--force", stdin=out)
    _git(place, "update-ref", "--no-deref", "HEAD", "refs/mccomd/part")


def _pack(place: Path) -> None:
    """Bring what HEAD needs into one pack: libgit2 keeps up to 16 MB for each of many, which would count."""
    _git(place, "-c", "pack.window=0", "repack", "-a", "-d", "--quiet")
    (place / "objects" / "info" / "alternates").unlink()


def _quoted(path: str) -> bytes:
    name = path.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + name.replace(b"\n", b"\\n") + b'"'


def _commit(clone: Repository, count: int, number: int) -> None:
    """Append a line to `count` files, drawn by chance, in one commit."""
    place, git = Path(clone.git_dir), Git(clone)
    files = [file for file in _sources(git) if file[0].isascii() and file[0].replace("/", "").isprintable()]
    chosen = random.Random(f"{count} {number}").sample(files, min(count, len(files)))
    head = git.head()
    stream = [f"commit refs/mccomd/bench\ncommitter bench <bench> {1_700_000_000 + number} +0000\n"]
    stream.append(f"data 5\nbench\nfrom {head}\n")
    out = "".join(stream).encode()
    for path, blob in chosen:
        data = (git.read(blob) or b"") + f"\nchanged_{count}_{number} = 1\n".encode()
        name = path.replace("\\", "\\\\").replace('"', '\\"')
        out += f'M 100644 inline "{name}"\ndata {len(data)}\n'.encode() + data + b"\n"
    git.close()
    _git(place, "fast-import", "--quiet", "--force", stdin=out)
    _git(place, "update-ref", "--no-deref", "HEAD", "refs/mccomd/bench")


def _sources(git: Git) -> list[tuple[str, str]]:
    filters = Filters(IndexOptions())
    return [
        (path, blob)
        for path, blob in git.files(git.head())
        if filters.refuse_path(path) is None
        and (size := git.size(blob)) is not None  # a partial clone lacks some
        and filters.refuse_size(size) is None
    ]


def _queries(clone: Repository, count: int) -> Iterator[str]:
    """The text around places in real files, large enough for a full query of 60 words."""
    git, chance = Git(clone), random.Random(SEED)
    files = [file for file in _sources(git) if file[0].endswith(".py")] or _sources(git)
    for _ in range(count):
        lines = decode(git.read(chance.choice(files)[1]) or b"").split("\n")
        line = chance.randrange(len(lines))
        for reach in (20, 40, 80, 160):
            text = "\n".join(lines[max(0, line - reach) : line + reach // 2])
            if len(query_terms(text)) >= MAX_TERMS:
                break
        yield text
    git.close()


def _time_queries(clone: Repository, folder: Path, queries: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds of each query, once for the places alone and once with the texts."""
    snapshot = Snapshot.open(clone, folder)
    if snapshot is None:
        raise IndexingError(f"{folder}: no index after a refresh")
    reader = Reader(folder / snapshot.stamp.generation)
    places, rounds = [], []
    for query in queries:
        began = time.perf_counter()
        reader.search(dict.fromkeys(query_terms(query), 1.0), LIMIT)
        places.append((time.perf_counter() - began) * 1000)
    for query in queries:
        began = time.perf_counter()
        snapshot.search(query, LIMIT)
        rounds.append((time.perf_counter() - began) * 1000)
    snapshot.close()
    return places, rounds


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
