"""Real git repositories with fixed dates, and an index of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mccomd_index import IndexOptions, Report, Repository, Snapshot, Status, find_repository, refresh, status

Place = tuple[str, int, int, str]


class Repo:
    """A repository driven by the git command, deaf to the configuration of whoever runs the tests."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.path = path
        self.ticks = 0
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", *arguments)

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        self.ticks += 1
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ada@example.org" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_DATE": f"{1_700_000_000 + self.ticks} +0000" for who in ("AUTHOR", "COMMITTER")},
        }
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, name: str, content: str | bytes) -> None:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes | None] | None = None, *arguments: str) -> str:
        """Write (or, for None, remove) files and commit everything."""
        for name, content in (files or {}).items():
            if content is None:
                (self.path / name).unlink()
            else:
                self.write(name, content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change", *arguments)
        return self.git("rev-parse", "HEAD")

    def found(self) -> Repository:
        repository = find_repository(self.path)
        assert repository is not None
        return repository

    def object_file(self, oid: str) -> Path:
        return Path(self.found().common_dir, "objects", oid[:2], oid[2:])


class Indexed:
    """A repository with an index folder beside it."""

    def __init__(self, repo: Repo, folder: Path, options: IndexOptions | None = None) -> None:
        self.repo = repo
        self.folder = folder
        self.options = options or IndexOptions()

    def refresh(self, **arguments: bool) -> Report:
        return refresh(self.repo.found(), self.folder, self.options, **arguments)

    def status(self) -> Status:
        return status(self.repo.found(), self.folder, self.options)

    def snapshot(self) -> Snapshot:
        found = Snapshot.open(self.repo.found(), self.folder)
        assert found is not None
        return found

    def search(self, query: str, limit: int = 1000) -> set[Place]:
        snapshot = self.snapshot()
        hits = snapshot.search(query, limit)
        snapshot.close()
        return {(hit.path, hit.start_line, hit.end_line, hit.text) for hit in hits}

    def paths(self, query: str) -> list[str]:
        return sorted({path for path, *_ in self.search(query)})

    def generation(self) -> Path:
        return self.folder / self.snapshot().stamp.generation


class Worker:
    """The indexer in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "mccomd_index.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.events: list[dict[str, Any]] = []

    def send_bytes(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, **request: Any) -> None:
        self.send_bytes(json.dumps({"id": 1, **request}).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """The next event that is no progress; those before it are kept."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] != "progress":
                return event
            self.events.append(event)
        raise AssertionError("the worker ended without an answer")

    def end(self) -> int:
        self.process.communicate(timeout=30)
        return self.process.returncode
