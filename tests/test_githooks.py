"""Git hooks with real git: beside whatever else is there, and out again byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mccomd import githooks

from .conftest import GIT_ENVIRONMENT, Daemon, commit_all, environment, git

HERE = Path(sys.executable).parent


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Of a user whose daemon does not run."""
    return {**environment(tmp_path / "home"), **GIT_ENVIRONMENT}


Command = Callable[..., Any]


@pytest.fixture
def hooks(env: dict[str, str], repository: Path) -> Command:
    """`mccomd hooks ... --json` in the repository, or what it says when it fails."""

    def command(*arguments: str, cwd: Path = repository) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "mccomd", "hooks", *arguments, "--json"],
            cwd=cwd, env=env, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            assert done.returncode == 1
            assert done.stderr.startswith("error: ")
            return done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return command


@pytest.fixture
def quick(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same without a process for each: half a second that a table of cases need not pay."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    does = {"install": githooks.install, "uninstall": githooks.uninstall, "status": githooks.status}

    def command(what: str) -> Any:
        return {"hooks": [asdict(hook) for hook in does[what](githooks.find_folder(str(repository)))]}

    return command


def states(found: dict[str, Any]) -> set[str]:
    return {hook["state"] for hook in found["hooks"]}


def picture(folder: Path) -> dict[str, Any]:
    """Everything in a folder: names, modes, bytes, where links go."""
    return {
        entry.name: os.readlink(entry) if entry.is_symlink() else (entry.stat().st_mode, entry.read_bytes())
        for entry in folder.iterdir()
    }


def commit(repository: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["git", "commit", "--allow-empty", "-qm", "again"],
        cwd=repository, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done


def script(place: Path, text: str, mode: int = 0o755) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())
    place.chmod(mode)


# --- what may be there already ------------------------------------------------------------------------

MARK = 'echo "$@" >> "$PWD/ran"\n'


def nothing(folder: Path) -> None: ...


def shell_hooks(folder: Path) -> None:
    script(folder / "post-commit", f"#!/bin/sh -eu\n{MARK}exit 0\n")
    script(folder / "post-checkout", f"#!/usr/bin/env bash\nset -euo pipefail\n{MARK}")
    script(folder / "post-merge", f"#! /bin/sh\n{MARK}", 0o700)


def other_languages(folder: Path) -> None:
    body = "import sys; open('ran', 'a').write(' '.join(sys.argv[1:]) + chr(10))\n"
    script(folder / "post-commit", f"#!{sys.executable}\n{body}")
    script(folder / "post-checkout", MARK)  # no first line: git has sh run it


def a_link(folder: Path) -> None:
    script(folder.parent / "tools" / "hook", f"#!/bin/sh\n{MARK}")
    folder.mkdir(exist_ok=True)
    (folder / "post-commit").symlink_to("../tools/hook")


def not_executable(folder: Path) -> None:
    script(folder / "post-commit", "#!/bin/sh\nexit 1\n", 0o644)


def odd_line_ends(folder: Path) -> None:
    script(folder / "post-commit", f"#!/bin/sh\n{MARK}# no line end")
    script(folder / "post-merge", "#!/bin/sh")
    script(folder / "post-rewrite", "#!/bin/sh\r\n")


def only_a_first_line(folder: Path) -> None:
    script(folder / "post-commit", "#!/bin/sh\n")


EVERY = [nothing, shell_hooks, other_languages, a_link, not_executable, odd_line_ends, only_a_first_line]


@pytest.mark.parametrize("before", EVERY)
def test_install_twice_then_uninstall_leaves_no_trace(
    quick: Command, env: dict[str, str], repository: Path, before: Callable[[Path], None]
) -> None:
    folder = repository / ".git" / "hooks"
    shutil.rmtree(folder)
    folder.mkdir()
    before(folder)
    was = picture(folder)
    assert states(quick("install")) == {"installed"}
    once = picture(folder)
    assert states(quick("install")) == {"installed"}
    assert picture(folder) == once
    commit(repository, env)
    quick("uninstall")
    assert picture(folder) == was
    quick("uninstall")
    assert picture(folder) == was


@pytest.mark.parametrize("before", [shell_hooks, other_languages, a_link])
def test_hooks_that_were_there_go_on_working(
    quick: Command, env: dict[str, str], repository: Path, before: Callable[[Path], None]
) -> None:
    before(repository / ".git" / "hooks")
    quick("install")
    commit(repository, env)
    assert (repository / "ran").read_text() == "\n"
    if before is not a_link:
        git(repository, "checkout", "-q", "-b", "side")
        assert (repository / "ran").read_text().endswith(" 1\n")  # all three arguments came through


def test_what_a_hook_reads_from_git_reaches_the_hook_that_was_there(quick: Command, repository: Path) -> None:
    script(repository / ".git" / "hooks" / "post-rewrite", '#!/bin/sh\ncat > "$PWD/rewritten"\n')
    quick("install")
    old = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--amend", "-m", "amended")
    assert old in (repository / "rewritten").read_text()


def test_a_hook_that_is_not_executable_stays_asleep(
    quick: Command, env: dict[str, str], repository: Path
) -> None:
    script(repository / ".git" / "hooks" / "post-commit", '#!/bin/sh\necho > "$PWD/ran"\n', 0o644)
    quick("install")
    commit(repository, env)
    assert not (repository / "ran").exists()


def test_lines_added_below_ours_stay(hooks: Command, repository: Path) -> None:
    hooks("install")
    place = repository / ".git" / "hooks" / "post-commit"
    place.write_bytes(place.read_bytes() + b"echo mine\n")
    hooks("uninstall")
    assert place.read_bytes() == b"#!/bin/sh\necho mine\n"


# --- where hooks may be -------------------------------------------------------------------------------


def test_core_hooks_path_is_honoured(hooks: Command, repository: Path) -> None:
    git(repository, "config", "core.hooksPath", "my-hooks")
    found = hooks("install")
    assert (found["kind"], found["folder"]) == ("core.hooksPath", str(repository / "my-hooks"))
    assert (repository / "my-hooks" / "post-commit").exists()
    (repository / "sub").mkdir()
    assert hooks("status", cwd=repository / "sub")["folder"] == str(repository / "my-hooks")


def test_hooks_of_all_repositories_are_not_touched_unasked(
    hooks: Command, repository: Path, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "gitconfig").write_text(f"[core]\nhooksPath = {tmp_path}/all\n")
    env["GIT_CONFIG_GLOBAL"] = str(tmp_path / "gitconfig")
    assert "all your repositories" in hooks("install")
    assert not (tmp_path / "all").exists()
    assert states(hooks("install", "--shared")) == {"installed"}
    assert (tmp_path / "all" / "post-commit").exists()


def test_hooks_that_the_project_shares_are_not_touched_unasked(hooks: Command, repository: Path) -> None:
    script(repository / "githooks" / "pre-commit", "#!/bin/sh\n")
    commit_all(repository)
    git(repository, "config", "core.hooksPath", "githooks")
    assert "tracked by git" in hooks("install")
    assert not (repository / "githooks" / "post-commit").exists()


def test_husky(hooks: Command, env: dict[str, str], repository: Path) -> None:
    """As version 9 lays it out: stubs in an ignored folder, which call the project's own scripts."""
    stub = repository / ".husky" / "_"
    script(stub / "h", '#!/usr/bin/env sh\nname=${0##*/}\n. "${0%/*}/../$name"\n')
    (stub / ".gitignore").write_text("*")
    script(stub / "post-commit", '#!/usr/bin/env sh\n. "${0%/*}/h"\n')
    script(repository / ".husky" / "post-commit", MARK)
    git(repository, "config", "core.hooksPath", ".husky/_")
    was = picture(stub)
    found = hooks("install")
    assert (found["kind"], states(found)) == ("husky", {"installed"})
    commit(repository, env)
    assert (repository / "ran").exists()
    assert git(repository, "status", "--porcelain", "--", ".husky/_") == ""
    hooks("uninstall")
    assert picture(stub) == was


PRE_COMMIT = """\
repos:
-   repo: local
    hooks:
    -   id: mark
        name: mark
        entry: sh -c 'echo >> ran'
        language: system
        stages: [post-commit]
        always_run: true
        verbose: false
"""


def pre_commit(repository: Path, env: dict[str, str], *arguments: str) -> None:
    command = [str(HERE / "pre-commit"), *arguments]
    subprocess.run(command, cwd=repository, env=env, check=True, capture_output=True)


@pytest.mark.parametrize("first", ["pre-commit", "mccomd"])
def test_pre_commit_in_either_order(
    hooks: Command, env: dict[str, str], repository: Path, first: str
) -> None:
    (repository / ".pre-commit-config.yaml").write_text(PRE_COMMIT)
    commit_all(repository)
    folder = repository / ".git" / "hooks"
    if first == "mccomd":
        hooks("install")
    pre_commit(repository, env, "install", "-t", "post-commit")
    was = picture(folder) if first == "pre-commit" else {}
    assert states(hooks("install")) == {"installed"}
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=repository, env=env, check=True)
    assert (repository / "ran").exists()
    hooks("uninstall")
    assert states(hooks("status")) == {"other", "absent"}
    if was:
        assert picture(folder) == was
    else:
        assert [place.name for place in folder.iterdir() if b"mccomd" in place.read_bytes()] == []
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=repository, env=env, check=True)
    assert len((repository / "ran").read_text()) == 2


def test_a_tool_that_writes_over_ours_is_shown(hooks: Command, repository: Path) -> None:
    place = repository / ".git" / "hooks" / "post-commit"
    script(place, f"#!{sys.executable}\n")
    hooks("install")
    script(place, "#!/bin/sh\necho another tool\n")
    (row,) = [hook for hook in hooks("status")["hooks"] if hook["name"] == "post-commit"]
    assert row["state"] == "other"
    assert "again" in row["detail"]


def test_worktrees_share_them(hooks: Command, env: dict[str, str], repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "linked"))
    found = hooks("install", cwd=tmp_path / "linked")
    assert found["folder"] == str(repository / ".git" / "hooks")
    commit(tmp_path / "linked", env)
    assert states(hooks("status")) == {"installed"}


def test_outside_a_repository(hooks: Command, tmp_path: Path) -> None:
    assert "not in a git repository" in hooks("install", str(tmp_path))


def test_a_folder_that_cannot_be_written(hooks: Command, repository: Path) -> None:
    shutil.rmtree(repository / ".git" / "hooks")
    (repository / ".git" / "hooks").write_text("in the way")
    assert "cannot change this hook" in hooks("install")


# --- what they do -------------------------------------------------------------------------------------


def test_git_works_when_mccomd_is_gone(
    hooks: Command, env: dict[str, str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = repository.parent / "gone" / "python"
    monkeypatch.setattr(sys, "executable", str(gone))
    githooks.install(githooks.find_folder(str(repository)))
    monkeypatch.undo()
    commit(repository, env)
    assert states(hooks("status")) == {"outdated"}
    assert states(hooks("install")) == {"installed"}


def test_nothing_in_the_repository_is_imported(hooks: Command, env: dict[str, str], repository: Path) -> None:
    """`python -m` would look in the current folder first: a clone could have its own code run."""
    for name in ("mccomd", "msgpack"):
        (repository / name).mkdir()
        (repository / name / "__init__.py").write_text(f"open({str(repository / 'evil')!r}, 'w')\n")
        (repository / name / "notify.py").write_text(f"open({str(repository / 'evil')!r}, 'w')\n")
    (line,) = [
        line for line in githooks._lines("post-commit", made=True).decode().splitlines() if "notify" in line
    ]
    foreground = line.replace(" &", "")
    subprocess.run(["sh", "-c", foreground], cwd=repository, env=env, check=True)
    assert not (repository / "evil").exists()


def test_a_daemon_that_runs_follows_every_move_of_head(
    daemon: Daemon, repository: Path, tmp_path: Path
) -> None:
    """Nobody works in these repositories, so no watcher helps."""
    env = {**daemon.env, **GIT_ENVIRONMENT}
    subprocess.run([sys.executable, "-m", "mccomd", "hooks", "install"], cwd=repository, env=env, check=True)
    with daemon.client() as client:
        for move in (
            ["commit", "-q", "--allow-empty", "-m", "one"],
            ["commit", "-q", "--allow-empty", "--amend", "-m", "two"],
            ["checkout", "-q", "-b", "side"],
            ["worktree", "add", "-q", str(tmp_path / "linked")],
        ):
            subprocess.run(["git", *move], cwd=repository, env=env, check=True)
            root = tmp_path / "linked" if move[0] == "worktree" else repository
            head = git(root, "rev-parse", "HEAD")
            deadline = time.monotonic() + 60
            while True:
                rows = {row["repository"]: row for row in client.call("status")["repositories"]}
                row = rows.get(str(root), {"state": "", "head": ""})
                if (row["state"], row["head"]) == ("current", head):
                    break
                assert time.monotonic() < deadline
            assert rows[str(root)]["watch"] == "off"


def test_no_daemon_is_started(env: dict[str, str], hooks: Command, repository: Path) -> None:
    hooks("install")
    subprocess.run(
        [sys.executable, "-P", "-m", "mccomd.notify", "post-commit"], cwd=repository, env=env, check=True
    )
    assert not Path(env["XDG_RUNTIME_DIR"], "mccomd").exists()
