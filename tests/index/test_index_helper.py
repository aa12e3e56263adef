"""A second process that takes contents apart: what it says is what the first would have said, or nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from index_repos import Indexed, Repo

from mccomd_index import refresh
from mccomd_index.git import Git
from mccomd_index.head import MANY
from mccomd_index.helper import Helper, Task
from mccomd_index.parts import Part, part_of
from mccomd_index.store import content_id
from mccomd_index.upkeep import compare

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs fork and a second core"
)
FILES = MANY + 20


def texts(word: str) -> dict[str, str | bytes | None]:
    """Files of several kinds, among them some of which nothing is kept."""
    files: dict[str, str | bytes | None] = {}
    for number in range(FILES):
        member = f"    def of_{number}(self):\n        return '{word}'\n"
        files[f"m{number:02}.py"] = f"class {word.title()}{number}:\n{member * (number % 5 + 1)}"
    other = {"zero.py": f"# {word}\n\x00", "long.js": "x" * 9_000 + word, "é.go": f"func {word}() {{\n}}\n"}
    return files | other


def tasks_of(repo: Repo) -> tuple[Git, list[Task]]:
    git = Git(repo.found())
    return git, [Task(content_id(file.blob, "python"), "python", file.blob) for file in git.files(git.head())]


def wait_for(helper: Helper, count: int) -> Iterator[Part]:
    """So many parts, or fewer where it ends before."""
    os.set_blocking(helper._pipe, True)
    for number, part in enumerate(helper.arrived(), 1):
        yield part
        if number == count:
            return


def test_its_parts_are_those_of_one_process(repo: Repo) -> None:
    repo.commit(texts("one"))
    git, tasks = tasks_of(repo)
    helper = Helper.start(reversed(tasks), git.read)
    assert helper is not None
    found = list(wait_for(helper, len(tasks)))
    helper.close()
    assert found == [part_of(task.content, task.language, git.read(task.blob) or b"") for task in tasks[::-1]]
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(helper._pid, os.WNOHANG)


def test_what_it_cannot_read_is_left_to_its_parent(repo: Repo) -> None:
    repo.commit({"a.py": "one = 1\n", "b.py": "two = 2\n"})
    repo.object_file(repo.git("rev-parse", "HEAD:a.py")).unlink()
    git, tasks = tasks_of(repo)
    helper = Helper.start(tasks, git.read)
    assert helper is not None
    found = list(wait_for(helper, len(tasks)))
    helper.close()
    assert [part.rows[0][0] for part in found] == ["two"]


@pytest.mark.parametrize("moment", ["at once", "in the middle", "never"])
def test_a_switch_is_whole_whatever_becomes_of_the_helper(
    repo: Repo, indexed: Indexed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    repo.commit(texts("one"))
    indexed.refresh()
    repo.commit(texts("two"))
    begun: list[Helper] = []
    start = Helper.start

    def started(*arguments: object, **more: object) -> Helper | None:
        helper = start(*arguments, **more)  # type: ignore[arg-type]
        assert helper is not None
        begun.append(helper)
        if moment == "at once":
            os.kill(helper._pid, signal.SIGKILL)
        if moment == "in the middle":  # of a part: its pipe ends within one
            part = next(wait_for(helper, 1))
            os.kill(helper._pid, signal.SIGKILL)
            os.set_blocking(helper._pipe, False)
            helper._waiting[:0] = b"\x00\x00\xff\xff" + bytes(len(part.outline))
        return helper

    monkeypatch.setattr(Helper, "start", started)
    done = refresh(repo.found(), indexed.folder, indexed.options, helped=True)
    assert len(begun) == 1
    assert done.changed_files == FILES + 3
    assert compare(repo.found(), indexed.folder, indexed.options, tmp_path / "scratch") == []
    assert len(indexed.paths("two")) > 1
    with pytest.raises(ChildProcessError):
        os.waitpid(begun[0]._pid, os.WNOHANG)


def test_a_small_change_and_a_branch_that_was_met_need_none(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repo.commit(texts("one"))
    indexed.refresh()
    second = repo.commit(texts("two"))
    indexed.refresh()
    begun: list[object] = []
    monkeypatch.setattr(Helper, "start", lambda *_, **__: begun.append(1))
    repo.git("checkout", "--quiet", first)
    refresh(repo.found(), indexed.folder, indexed.options, helped=True)
    repo.git("checkout", "--quiet", second)
    repo.commit({"m01.py": "three = 3\n"})
    refresh(repo.found(), indexed.folder, indexed.options, helped=True)
    assert begun == []
