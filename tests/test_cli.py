"""The command line as scripts see it: JSON keys, exit codes, one line of error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mccomd.calibration import load, probability
from mccomd.documents import lines_of
from mccomd.engine import load_manifest, shipped_models

from .conftest import FINISHED, commit_all, environment, git

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """One home for all tests of this file; its daemon is started by the first command that needs it."""
    variables = environment(tmp_path_factory.mktemp("home"))
    yield variables
    subprocess.run([sys.executable, "-m", "mccomd", "stop"], env=variables, check=True, capture_output=True)


@pytest.fixture
def run(env: Mapping[str, str]) -> Run:
    def command(*arguments: str, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mccomd", *arguments],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return command


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def check_error(done: subprocess.CompletedProcess[str], *parts: str, code: int = 1) -> None:
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def test_complete_starts_the_daemon_and_answers(run: Run, repository: Path) -> None:
    found = as_json(run("complete", f"{repository}/report.py:8:8", "--json"))
    for key in ("request_id", "text", "source", "model", "confidence", "ms", "finish", "snippets"):
        assert key in found
    assert found["model"] == "mccomd-135m"
    assert found["source"] in ("local", "none")
    for snippet in found["snippets"]:
        assert {"path", "start_line", "end_line", "score", "commit"} <= snippet.keys()
    paths = {snippet["path"] for snippet in found["snippets"]}
    assert "geometry.py" in paths
    assert "report.py" not in paths  # its own text is in the prompt already


def test_complete_for_people(run: Run, repository: Path) -> None:
    done = run("complete", "report.py:8:9", cwd=repository)
    assert done.returncode == 0
    assert "mccomd-135m, confidence" in done.stdout
    assert "from geometry.py:" in done.stdout


@pytest.mark.parametrize(
    ("place", "code", "text"),
    [
        ("report.py", 2, "no FILE:LINE:COL"),
        ("report.py:x:1", 2, "no FILE:LINE:COL"),
        ("report.py:0:1", 2, "no FILE:LINE:COL"),
        ("missing.py:1:0", 1, "No such file"),
        ("report.py:99:0", 1, "has 9 lines"),
        ("report.py:1:99", 1, "has 19 characters"),
        (".:1:0", 1, "Is a directory"),
    ],
)
def test_complete_at_no_place(run: Run, repository: Path, place: str, code: int, text: str) -> None:
    check_error(run("complete", place, cwd=repository), text, code=code)


def test_complete_outside_any_repository(run: Run, tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text("import os\nimport sys\n\nprint(os.path.")
    done = run("complete", f"{tmp_path}/alone.py:4:14", "--json")
    assert as_json(done)["snippets"] == []
    assert "not in a git repository" in done.stderr


@pytest.mark.parametrize("name", ["with space.py", "new\nline.py", "ünï.py", "no_extension", "-dash.py"])
def test_complete_in_files_with_any_name(run: Run, repository: Path, name: str) -> None:
    (repository / name).write_text("value = 1\nother = ")
    assert as_json(run("complete", f"{repository}/{name}:2:8", "--json"))["finish"] in FINISHED


@pytest.mark.parametrize(
    "data",
    [
        b"x = 1\r\ny = ",
        b"\xff\xfe\x00",
        b"caf\xe9 = '\xe9'\ny = ",
        b"",
        b"\n\n\n",
        b"a" * 300_000 + b"\ny = ",
        b"\0\0\nx = ",
    ],
)
def test_complete_in_files_of_any_content(run: Run, repository: Path, data: bytes) -> None:
    (repository / "odd.py").write_bytes(data)
    text = data.decode("utf-8", "surrogateescape")
    place = f"{repository}/odd.py:{len(lines_of(text))}:{len(lines_of(text)[-1])}"
    found = as_json(run("complete", place, "--json"))
    assert "\n" not in found["text"].replace("\r\n", "") or b"\r\n" not in data


def test_refresh_and_search(run: Run, repository: Path) -> None:
    report = as_json(run("refresh", str(repository), "--json"))
    assert report["state"] == "current"
    assert report["head"] == git(repository, "rev-parse", "HEAD")
    for key in ("behind", "overlay_files", "files", "chunks", "ms"):
        assert key in report
    done = run("search", "circle_area radius", "--repo", str(repository), "--limit", "1", "--json")
    hit = as_json(done)
    assert hit["path"] == "geometry.py"
    assert "math.pi" in hit["text"]
    assert {"start_line", "end_line", "score"} <= hit.keys()


def test_search_sees_a_new_commit(run: Run, repository: Path) -> None:
    as_json(run("refresh", str(repository), "--json"))
    (repository / "volume.py").write_text("def tetrahedron_volume(edge):\n    return edge ** 3 / 8.485\n")
    commit_all(repository)
    assert as_json(run("search", "tetrahedron", "--repo", str(repository), "--json"))["path"] == "volume.py"
    git(repository, "rm", "-q", "volume.py")
    commit_all(repository)
    assert run("search", "tetrahedron", "--repo", str(repository), "--json").stdout == ""


def test_refresh_outside_a_repository(run: Run, tmp_path: Path) -> None:
    check_error(run("refresh", str(tmp_path)), "not in a git repository", "git init")


def test_status_and_plugins(run: Run, repository: Path) -> None:
    as_json(run("refresh", str(repository), "--json"))
    found = as_json(run("status", "--json"))
    assert {
        "version",
        "pid",
        "uptime_s",
        "model",
        "repositories",
        "plugins",
        "clients",
        "rss_mb",
    } <= found.keys()
    assert found["model"]["name"] == "mccomd-135m"
    assert str(repository) in [entry["repository"] for entry in found["repositories"]]
    row = as_json(run("plugins", "--json"))
    assert {"name", "kind", "version", "state", "reason"} <= row.keys()
    assert "bm25" in run("status").stdout
    assert "confidence" in run("plugins").stdout


def test_try_prints_answers_beside_what_stood_there(run: Run, repository: Path) -> None:
    body = "\n".join(f"def area_{n}(width, height):\n    return width * height + {n}\n" for n in range(12))
    (repository / "long.py").write_text(body)
    commit_all(repository)
    done = run("try", str(repository), "--cases", "1")
    assert done.returncode == 0, done.stderr
    assert "stood there:" in done.stdout
    assert "1 exactly as it stood" in done.stdout
    rows = [
        json.loads(line) for line in run("try", str(repository), "--cases", "1", "--json").stdout.splitlines()
    ]
    assert {"text", "expected", "similarity", "line", "column"} <= rows[0].keys()


def test_try_where_there_is_no_code(run: Run, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    check_error(run("try", str(tmp_path)), "no source file")


def test_start_and_stop(run: Run, env: Mapping[str, str]) -> None:
    started = as_json(run("start", "--json"))
    assert started["pid"] == as_json(run("start", "--json"))["pid"]
    assert Path(run("socket").stdout.strip()) == Path(started["socket"])
    assert as_json(run("stop", "--json")) == {"stopped": True}
    assert as_json(run("stop", "--json")) == {"stopped": False}
    check_error(run("status"), "no daemon listens", "mccomd start")


def test_a_broken_config_is_told_with_its_line(tmp_path: Path) -> None:
    env = environment(tmp_path)
    (tmp_path / "config" / "mccomd").mkdir(parents=True)
    file = tmp_path / "config" / "mccomd" / "config.toml"
    file.write_text("[completion]\ndeadlne_ms = 5\n")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mccomd", *arguments], env=env, capture_output=True, text=True
        )

    for arguments in (["config", "check"], ["config", "show"], ["start"], ["serve"]):
        check_error(command(*arguments), f"{file}:2:", "deadline_ms")
    file.write_text("[completion]\ndeadline_ms = 700\n")
    assert as_json(command("config", "check", "--json"))["ok"] is True
    shown = as_json(command("config", "show", "--json"))
    assert shown["options"]["completion"]["deadline_ms"] == 700
    assert shown["origins"]["completion.deadline_ms"] == f"{file}:2"


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout.startswith("mccomd 0.")
    assert "FILE:LINE:COL" in run("complete", "--help").stdout
    check_error(run("no-such-command"), "No such command", code=2)


def test_explain_tells_how_an_answer_came_about(run: Run, repository: Path) -> None:
    answer = as_json(run("complete", f"{repository}/report.py:8:8", "--json"))
    found = as_json(run("explain", "--json"))
    keys = {"request_id", "route", "reason", "confidence", "drafted", "accepted", "prefilled", "reused"}
    assert keys | {"stages_ms", "snippets", "bytes_sent", "cost"} <= found.keys()
    assert found["request_id"] == answer["request_id"]
    assert "for shape in shapes" in found["prompt"]
    assert (found["bytes_sent"], found["cloud"]) == (0, None)
    measured = load_manifest(shipped_models()["mccomd-135m"]).calibration
    assert found["likely"] == probability(load(measured), found["confidence"])
    said = run("explain", answer["request_id"], "--prompt").stdout
    assert "of such answers were right when the model was measured" in said
    assert "nothing left this machine" in said
    assert "for shape in shapes" in said
    check_error(run("explain", "client-99-1"), "mccomd explain last")


def test_tune_proposes_and_changes_nothing_unasked(run: Run) -> None:
    found = as_json(run("tune", "--threshold", "0.25", "--json"))
    assert (found["proposed"], found["applied"]) == (0.25, False)
    assert found["why"] == "router.threshold of the config"
    applied = as_json(run("tune", "--threshold", "0.25", "--apply", "--json"))
    assert (applied["threshold"], applied["applied"]) == (0.25, True)
    assert "applied by tune" in run("status").stdout
    run("stop")
    assert as_json(run("tune", "--json"))["threshold"] == 0.25  # it outlives the daemon
    assert as_json(run("tune", "--reset", "--json"))["why"] == "router.threshold of the config"
    check_error(run("tune", "--share", "0.1", "--precision", "0.5"), "one wish at a time", code=2)
    check_error(run("tune", "--budget", "--apply"), "no budget is set")
