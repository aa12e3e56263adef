"""Real things for the tests: a daemon with the shipped model in a home of its own, real git repositories."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError

FINISHED = ("stop", "length", "unsure")
"""How an answer ends that the model gave in its own time."""
FIXED_DATE = "2024-05-17T12:00:00+00:00"
GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": FIXED_DATE,
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": FIXED_DATE,
}


def git(folder: Path, *arguments: str) -> str:
    """Run git with fixed identity and dates, and no configuration of this machine."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder, env={**os.environ, **GIT_ENVIRONMENT}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit_all(folder: Path, message: str = "change") -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with one commit: a module, its user, and a text."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "geometry.py").write_text(GEOMETRY)
    (folder / "report.py").write_text(REPORT)
    (folder / "README.md").write_text("# Shapes\n\nAreas of shapes.\n")
    commit_all(folder, "first")
    return folder


GEOMETRY = '''\
"""Areas of shapes."""

import math


class Rectangle:
    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height

    def area(self) -> float:
        return self.width * self.height


def circle_area(radius: float) -> float:
    """The area of a circle."""
    return math.pi * radius**2
'''
REPORT = '''\
"""Prints areas."""

from geometry import Rectangle, circle_area


def report(shapes: list[Rectangle]) -> None:
    for shape in shapes:
        print(shape.area())
'''


@dataclass(frozen=True)
class Daemon:
    """A daemon in a process of its own."""

    socket: Path
    env: Mapping[str, str] = field(repr=False)
    process: subprocess.Popen[bytes]
    home: Path

    def client(self, *, updates: bool = True) -> Client:
        client = Client(self.socket)
        client.call("initialize", {"client": "tests", "updates": updates})
        return client

    @property
    def log(self) -> str:
        return (self.home / "state" / "mccomd" / "mccomd.log").read_text()


def environment(home: Path) -> dict[str, str]:
    """XDG folders of its own for one run."""
    runtime = home / "run"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    folders = {f"XDG_{kind.upper()}_HOME": str(home / kind) for kind in ("config", "cache", "data", "state")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MCCOMD_"))}
    return {
        **kept,
        **folders,
        "XDG_RUNTIME_DIR": str(runtime),
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def start_daemon(home: Path, **variables: str) -> Daemon:
    """Start `mccomd serve` with further environment variables and wait until it answers."""
    env = {**environment(home), **variables}
    socket = Path(env["XDG_RUNTIME_DIR"], "mccomd", "mccomd.sock")
    output = open(home / "output.log", "wb")  # noqa: SIM115 - the child's
    process = subprocess.Popen(
        [sys.executable, "-m", "mccomd", "serve"], env=env, stdout=output, stderr=output
    )
    output.close()
    while True:
        try:
            Client(socket).close()
        except DaemonUnavailableError:
            if process.poll() is not None:
                raise AssertionError((home / "output.log").read_text()) from None
        else:
            return Daemon(socket, env, process, home)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons, each in a home of its own with the given config; ends them after the session."""
    running: list[Daemon] = []

    def begin(config: str = "", home: Path | None = None, **variables: str) -> Daemon:
        home = home or tmp_path_factory.mktemp("home")
        if config:
            (home / "config" / "mccomd").mkdir(parents=True, exist_ok=True)
            (home / "config" / "mccomd" / "config.toml").write_text(config)
        daemon = start_daemon(home, **variables)
        running.append(daemon)
        return daemon

    yield begin
    for daemon in running:
        daemon.process.terminate()
    for daemon in running:
        daemon.process.wait(timeout=20)


@pytest.fixture(scope="session")
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """One daemon with the shipped model and default config, shared by the tests that do not change it."""
    shared = start('[power]\nmode = "full"\n')  # a busy test machine must not change the answers
    with shared.client() as client:  # the model is loaded once this is answered
        client.call(
            "complete",
            {"path": "/a.py", "text": "x = ", "position": {"line": 0, "column": 4}, "deadline_ms": 30_000},
            timeout_s=60,
        )
    return shared


def put_plugin(folder: Path, name: str, source: str) -> None:
    """A one-module distribution with an entry point, as an installer would leave it in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"plugin_{name}.py").write_text(source)
    info = folder / f"plugin_{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[mccomd.plugins]\n{name} = plugin_{name}\n")
