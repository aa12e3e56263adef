"""A repository's n-grams: made beside the daemon, of what the index has, and never in the way."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import mccomd_index
from mccomd.client import Client
from mccomd.config import CompletionConfig, IndexConfig
from mccomd.engine import Engine, EngineOptions, LineEncoder, Mixture, Table, Tokenizer, load_manifest
from mccomd.engine.mixture import CACHES, FEATURES
from mccomd.errors import MccomdError
from mccomd.generate import mixing
from mccomd.indexing import Indexing
from mccomd.ngram_tables import AGAIN_S, GONE_S, LOOK_S, SERVES_S, NgramTables
from mccomd.ngram_worker import Built, Job, build, from_answer, read_head
from mccomd.prompt import Budget, build_prompt
from mccomd.types import Query
from mccomd_index import IndexOptions

from .conftest import Daemon, commit_all, git

MODEL = Path(__file__).parent.parent / "models" / "mccomd-135m"
FILES = {
    "geometry.py": "def area(side):\n    return side * side\n",
    "deep/down/here.py": "from geometry import area\n\nprint(area(3))\n",
    "deep/other.py": "import deep\n",
    "web/page.js": "function area(side) { return side * side; }\n",
    ".env.py": "PASSWORD = 'x'\n",
    "build/out.py": "ignored = 1\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / ".gitignore").write_text("build/\n")
    git(folder, "init", "-q")
    commit_all(folder)
    return folder


def indexed(project: Path, folder: Path) -> Job:
    repository = mccomd_index.find_repository(str(project))
    assert repository is not None
    mccomd_index.refresh(repository, folder, IndexOptions())
    return Job(str(project), str(folder), IndexOptions(), "python", "deep/down/here.py", str(MODEL), 10_000)


def text_of(built: Built, path: str) -> str:
    manifest = load_manifest(MODEL)
    tokenizer = Tokenizer(MODEL, manifest.prompt.token_names(), manifest.vocab)
    first, end = built.files[path]
    return tokenizer.decode(built.table.ids[first:end].tolist())


def test_a_table_has_what_the_index_has_the_nearest_files_first(project: Path, tmp_path: Path) -> None:
    built = build(indexed(project, tmp_path / "index"))
    assert list(built.files) == ["deep/down/here.py", "deep/other.py", "geometry.py"]
    for path in built.files:
        assert text_of(built, path) == FILES[path]


def test_a_table_has_files_as_they_are_on_disk(project: Path, tmp_path: Path) -> None:
    (project / "geometry.py").unlink()
    (project / "deep" / "other.py").write_text("import changed\n")
    (project / "new.py").write_text("new = 1\n")
    built = build(indexed(project, tmp_path / "index"))
    assert sorted(built.files) == ["deep/down/here.py", "deep/other.py", "new.py"]
    assert text_of(built, "deep/other.py") == "import changed\n"


def test_its_tokens_are_those_of_prompts(project: Path, tmp_path: Path) -> None:
    built = build(indexed(project, tmp_path / "index"))
    manifest = load_manifest(MODEL)
    lines = LineEncoder(Tokenizer(MODEL, manifest.prompt.token_names(), manifest.vocab))
    first, end = built.files["geometry.py"]
    assert built.table.ids[first:end].tolist() == lines.encode(FILES["geometry.py"])


def test_a_file_is_not_found_in_itself(project: Path, tmp_path: Path) -> None:
    built = build(indexed(project, tmp_path / "index"))
    first, _ = built.files["geometry.py"]
    last = built.table.ids[first + 2 : first + 6].tolist()
    assert built.table.matches(last)
    assert all(match.length < 4 for match in built.without("geometry.py").matches(last))
    assert len(built.without("nowhere.py").matches(last)) == len(built.table.matches(last))


def test_what_finds_no_room_is_counted(project: Path, tmp_path: Path) -> None:
    built = build(replace(indexed(project, tmp_path / "index"), most=17))
    assert list(built.files) == ["deep/down/here.py"]
    assert built.left_out == 2


def test_without_an_index_there_is_none(project: Path, tmp_path: Path) -> None:
    job = replace(indexed(project, tmp_path / "index"), index=str(tmp_path / "nothing"))
    with pytest.raises(MccomdError, match="no index"):
        build(job)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_is_mixed_goes_on_where_the_healed_text_begins(line_end: str) -> None:
    engine = Engine(MODEL, EngineOptions(context_tokens=256))
    prefix = line_end.join(["def f(a):", "    b = a", "    "])
    query = Query("/a.py", "a.py", None, "python", prefix, "", 0)
    prompt = build_prompt(query, [], engine.manifest.prompt, engine.lines, Budget(200, 0))
    assert prompt.healed == "\n    "
    mixture = Mixture(np.zeros((len(CACHES), len(FEATURES))))
    found = mixing(engine, query, prompt, mixture, None)
    engine.close()
    assert list(found.before) == engine.lines.encode("def f(a):\n    b = a")


def worker(given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mccomd.ngram_worker"], input=given, capture_output=True, check=True
    )


def test_the_process_says_what_the_function_returns(project: Path, tmp_path: Path) -> None:
    job = indexed(project, tmp_path / "index")
    line, _, content = worker(job.to_json()).stdout.partition(b"\n")
    head, size = read_head(line)
    assert size == len(content)
    found, wanted = from_answer(head, content), build(job)
    assert found.files == wanted.files
    assert found.table.ids.tolist() == wanted.table.ids.tolist()
    assert found.table.order.tolist() == wanted.table.order.tolist()
    assert found.table.keyed == wanted.table.keyed


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"not json\n", "JSON"),
        (b"{}\n", "options"),
        (b'{"options": {"max_file_kb": "x"}}\n', "max_file_kb"),
        (b'{"options": {}, "repository": "/nowhere"}\n', "missing"),
    ],
)
def test_a_job_that_is_none_is_told(given: bytes, told: str) -> None:
    with pytest.raises(MccomdError, match=told):
        read_head(worker(given).stdout)


def test_nobody_asks_for_anything() -> None:
    assert worker(b"").stdout == b""


@dataclass
class Clock:
    """Goes on by hand."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


class Making:
    """Tables over a real index and a real worker, on a clock of its own."""

    def __init__(self, folder: Path, config: CompletionConfig | None = None) -> None:
        self.clock, self.saver, self.options = Clock(), "", IndexOptions()
        self.config = config or CompletionConfig()
        self.indexing = Indexing(folder, lambda place: (self.options, ()), IndexConfig)
        self.tables = NgramTables(self.indexing, lambda: self.config, lambda: self.saver, self.clock)

    async def index(self, project: Path) -> str:
        root = await self.indexing.require(str(project / "geometry.py"))
        await self.indexing.refresh(root)
        self.indexing.search(root, "area", 1)  # opens it
        return root

    def of(self, root: str | None, path: str = "new.py") -> Table | None:
        return self.tables.of(root, path, MODEL)

    async def made(self, root: str, path: str = "new.py") -> Table:
        """Ask until nothing is going on any more."""
        self.of(root, path)
        await self.settled()
        found = self.of(root, path)
        assert found is not None, self.tables.status()
        return found

    async def settled(self) -> None:
        """Until nothing is being made."""
        slots = self.tables._slots.values()
        tasks = [task for slot in slots for task in (slot.task, slot.look) if task is not None]
        await asyncio.gather(*tasks)

    def state(self) -> tuple[str, str, int]:
        (row,) = self.tables.status()
        return row.state, row.reason, row.files

    async def close(self) -> None:
        await self.tables.close()
        await self.indexing.close()


def during(folder: Path, check: Callable[[Making], Any], config: CompletionConfig | None = None) -> None:
    async def run() -> None:
        making = Making(folder, config)
        try:
            async with asyncio.timeout(120):
                await check(making)
        finally:
            await making.close()

    asyncio.run(run())


def test_a_table_is_made_in_the_background_and_again_when_the_index_has_changed_for_a_while(
    project: Path, tmp_path: Path
) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        assert making.of(root) is None
        assert making.state()[0] == "building"
        first = await making.made(root)
        assert making.state() == ("ready", "", 3)
        (project / "more.py").write_text("more = 1\n")
        commit_all(project)
        await making.index(project)
        assert (await making.made(root)).ids is first.ids  # it serves for a while
        making.clock.time += SERVES_S + 1
        await making.made(root)
        assert making.state() == ("ready", "", 4)
        making.clock.time += SERVES_S + 1
        kept = (await making.made(root)).ids
        assert (await making.made(root)).ids is kept  # nothing has changed

    during(tmp_path / "indexes", check)


def test_what_must_not_be_shown_any_more_leaves_at_once(project: Path, tmp_path: Path) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        await making.made(root)
        making.options = IndexOptions(ignore=("geometry.py",))
        await making.index(project)
        assert making.of(root) is None
        await making.made(root)
        assert making.state() == ("ready", "", 2)
        (project / ".mccomdignore").write_text("deep/\n")  # nobody has told the index
        async with asyncio.timeout(20):
            while making.of(root) is not None:  # ignore files are looked at once a second
                making.clock.time += LOOK_S + 1
                making.of(root)
                await making.settled()

    during(tmp_path / "indexes", check)


def test_a_file_that_is_gone_has_the_table_made_anew_soon(project: Path, tmp_path: Path) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        await making.made(root)
        (project / "geometry.py").rename(project / "secrets.yml")
        await making.index(project)
        making.clock.time += LOOK_S + 1
        await making.made(root)
        assert making.state() == ("ready", "", 3)
        making.clock.time += GONE_S + 1
        await making.made(root)
        assert making.state() == ("ready", "", 2)

    during(tmp_path / "indexes", check)


def test_each_language_has_its_own_and_the_latest_are_kept(project: Path, tmp_path: Path) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        python, script = await making.made(root), await making.made(root, "web/new.js")
        assert python.ids.tolist() != script.ids.tolist()
        assert {row.language for row in making.tables.status()} == {"python", "javascript"}
        for path in ("a.go", "a.rs", "a.java"):
            making.of(root, path)
        assert [row.language for row in making.tables.status()] == ["rust", "java"]
        making.tables.forget()
        assert making.tables.status() == []

    during(tmp_path / "indexes", check)


def test_nothing_is_made_where_nothing_is_wanted(project: Path, tmp_path: Path) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        assert making.of(None) is None
        making.config = CompletionConfig(ngrams=False)
        assert making.of(root) is None
        making.config = CompletionConfig(ngram_tokens=0)
        assert making.of(root) is None
        assert making.tables.status() == []
        making.config, making.saver = CompletionConfig(), "saver mode: on battery"
        assert making.of(root) is None
        assert making.state() == ("waiting", "saver mode: on battery", 0)
        making.saver = ""
        await making.made(root)

    during(tmp_path / "indexes", check)


def test_a_failure_is_told_and_tried_again_later(project: Path, tmp_path: Path) -> None:
    async def check(making: Making) -> None:
        root = await making.index(project)
        broken = tmp_path / "model"
        broken.mkdir()
        making.tables.of(root, "new.py", broken)
        await making.settled()
        assert making.state()[0] == "failed"
        assert "manifest.json" in making.state()[1]
        shutil.copytree(MODEL, broken, dirs_exist_ok=True)
        assert making.tables.of(root, "new.py", broken) is None
        making.clock.time += AGAIN_S + 1
        making.tables.of(root, "new.py", broken)
        await making.settled()
        assert making.state() == ("ready", "", 3)

    during(tmp_path / "indexes", check)


def test_a_killed_worker_is_a_failure_and_closing_ends_one(project: Path, tmp_path: Path) -> None:
    def workers() -> list[psutil.Process]:
        return [p for p in psutil.Process().children() if "mccomd.ngram_worker" in p.cmdline()]

    async def check(making: Making) -> None:
        root = await making.index(project)
        making.of(root)
        while not workers():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        workers()[0].kill()
        await making.settled()
        assert making.state()[0] == "failed"
        assert "ended with code -9" in making.state()[1]
        making.clock.time += AGAIN_S + 1
        making.of(root)
        while not workers():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)

    during(tmp_path / "indexes", check)
    assert workers() == []


def test_the_daemon_says_what_the_repository_adds(start: Callable[..., Daemon], project: Path) -> None:
    own = start('[power]\nmode = "full"\n')
    place = {"path": str(project / "geometry.py"), "position": {"line": 1, "column": 11}}
    with own.client() as client:
        client.call("refresh", {"path": str(project)})
        row = wait_ready(client, {**place, "text": FILES["geometry.py"], "deadline_ms": 30_000})
    assert (row["repository"], row["language"], row["files"]) == (str(project), "python", 3)
    assert row["tokens"] > 30
    shown = subprocess.run(
        [sys.executable, "-m", "mccomd", "status"], env=own.env, capture_output=True, text=True, check=True
    )
    assert "python: ready" in shown.stdout


def wait_ready(client: Client, place: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        client.call("complete", place, timeout_s=60)
        rows = client.call("status")["ngrams"]
        if rows and rows[0]["state"] == "ready":
            return dict(rows[0])
        assert time.monotonic() < deadline, json.dumps(rows)
