"""`mccomd doctor`: each fault is found, named and given its remedy; one that is healthy is told so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mccomd.doctor import running
from mccomd.doctor.check import Check, checked

from .conftest import Daemon, commit_all, environment, put_plugin


def run(env: Mapping[str, str], *arguments: str, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mccomd", "doctor", *arguments],
        env=env, cwd=cwd, capture_output=True, text=True, timeout=150,
    )  # fmt: skip


def report(env: Mapping[str, str], *arguments: str, healthy: bool) -> dict[str, dict[str, Any]]:
    done = run(env, *arguments, "--json")
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["healthy"], done.returncode) == (healthy, 0 if healthy else 1), found
    assert all(set(check) == {"name", "ok", "detail", "fix"} for check in found["checks"])
    assert all(check["fix"] for check in found["checks"] if not check["ok"])
    return {check["name"]: check for check in found["checks"]}


def failed(found: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, check in found.items() if not check["ok"]]


def test_all_is_well(daemon: Daemon, repository: Path) -> None:
    found = report(daemon.env, str(repository), healthy=True)
    assert "goes on `" in found["completion"]["detail"]
    assert found["index"]["detail"].startswith("current, 3 of 3 files")
    assert found["watch"]["detail"].startswith("changes are seen at once")
    assert "hooks install" in found["hooks"]["fix"]
    assert "nothing leaves" in found["large model"]["detail"]
    for_people = run(daemon.env, str(repository))
    assert for_people.stdout.splitlines()[-1] == f"healthy: all {len(found)} checks passed"


def test_outside_a_repository_all_is_well_too(daemon: Daemon, tmp_path: Path) -> None:
    found = report(daemon.env, str(tmp_path), healthy=True)
    assert "without snippets" in found["repository"]["detail"]


def test_a_config_that_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    env = environment(tmp_path)
    (tmp_path / "config" / "mccomd").mkdir(parents=True)
    file = tmp_path / "config" / "mccomd" / "config.toml"
    file.write_text("[model]\nnmae = 'x'\n")
    found = report(env, str(tmp_path), healthy=False)
    assert failed(found) == ["config", "daemon"]
    assert f"{file}:2" in found["config"]["detail"]
    done = run(env, str(tmp_path))
    assert done.stdout.splitlines()[-1].startswith("2 of 7 checks failed; first do: correct")


def test_a_model_that_is_not_whole(start: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{")
    own = start(f'[model]\nfolder = "{tmp_path / "model"}"\n')
    found = report(own.env, str(tmp_path), healthy=False)
    assert failed(found) == ["model", "completion"]
    assert "manifest.json" in found["model"]["detail"]
    assert "model.folder" in found["model"]["fix"]


def test_faults_around_a_daemon_that_runs(
    start: Callable[..., Daemon], repository: Path, tmp_path: Path
) -> None:
    """An index that everything is kept from, hooks of another installation, a plugin, a socket."""
    put_plugin(tmp_path / "plugins", "broken", "raise RuntimeError('not today')\n")
    own = start('[plugins]\nenabled = ["broken"]\n', PYTHONPATH=str(tmp_path / "plugins"))
    (repository / ".cursorignore").write_text("*\n")
    commit_all(repository)
    (repository / ".git" / "hooks" / "post-commit").write_text(
        "#!/bin/sh\n# >>> mccomd >>> x\nif [ -x /gone ]; then ( /gone & ); fi\n# <<< mccomd <<<\n"
    )
    own.socket.chmod(0o666)
    found = report(own.env, str(repository), healthy=False)
    assert failed(found) == ["socket", "plugins", "index", "hooks"]
    assert "0666" in found["socket"]["detail"]
    assert "broken" in found["plugins"]["detail"]
    assert "not today" in found["plugins"]["detail"]
    assert "4 ignored by .cursorignore" in found["index"]["detail"]
    assert "another installation" in found["hooks"]["detail"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"version": "0.0.1", "uptime_s": 5.0}, "started before an upgrade"),
        ({"version": running.__version__, "uptime_s": 1e9}, "changed after the daemon was started"),
    ],
)
def test_a_daemon_from_before_an_upgrade(status: dict[str, Any], text: str) -> None:
    found = running._version(status)
    assert not found.ok
    assert text in found.detail
    assert found.fix == "mccomd stop && mccomd start"


def test_a_check_that_stumbles_is_a_failed_check() -> None:
    assert checked("x", lambda: 1 // 0, "do this") == Check(  # type: ignore[arg-type, return-value]
        "x", False, "ZeroDivisionError: integer division or modulo by zero", "do this"
    )
