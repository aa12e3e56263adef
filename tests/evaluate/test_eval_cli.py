"""`mccomd eval` as its users run it: the real model, a daemon of its own, a real repository."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mccomd.bench.keystroke import resolve_model
from mccomd.bench.own_daemon import OwnDaemon
from mccomd.config import ModelConfig
from mccomd.engine.artifact import load_manifest
from mccomd.evaluate.ask import Asking
from mccomd.evaluate.calibrate import write_calibration
from mccomd.evaluate.cases import Case
from mccomd.evaluate.harvest import harvest
from mccomd.evaluate.trees import Source, Tree
from tests.conftest import commit_all, environment, put_plugin

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    env = environment(tmp_path / "home")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mccomd", *arguments], env=env, capture_output=True, text=True, timeout=150
        )

    return command


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_repository_a_report_and_a_cascade(run: Run, repository: Path, tmp_path: Path) -> None:
    page, results = tmp_path / "r.html", tmp_path / "small.jsonl"
    asked = ("eval", str(repository), "--limit", "4", "--results", str(results), "--json")
    found = as_json(run(*asked, "--html", str(page)))
    assert found["n"] == 4
    assert {"em", "es", "id_f1", "em_ci", "ms_p50", "cloud_share", "calibration", "by"} <= found.keys()
    assert {"cursor", "kind", "length"} == found["by"].keys()
    assert sum(group["n"] for group in found["by"]["cursor"].values()) == 4
    assert found["retrieval"] is True
    assert found["em_ci"][0] <= found["em"] <= found["em_ci"][1]
    assert page.read_text().count("<svg") == 3

    lines = results.read_text().splitlines()
    again = as_json(run(*asked))
    assert results.read_text().splitlines() == lines  # nothing was asked again
    assert again == found

    truths = {case.id: case.target for case in harvest(repository, 4, 1).cases}
    large = tmp_path / "large.jsonl"
    large.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in truths.items()))
    recorded = ("--recorded", str(large), "--threshold", "1.0")
    cascade = as_json(run(*asked, "--mode", "cascade", *recorded, "--html", str(page)))
    assert (
        cascade["em"] == cascade["cloud_share"] == 1.0
    )  # all are unsure by that threshold, and it knows all
    assert cascade["cascade"]["rows"]["local"]["em"] == found["em"]
    assert page.read_text().count("<svg") == 4
    alone = as_json(run(*asked, "--mode", "cloud", *recorded, "--against", str(results)))
    assert (alone["em"], alone["cloud_share"]) == (1.0, 1.0)
    apart = alone["against"]
    assert (apart["n"], apart["worse"], apart["em"]) == (4, 0, pytest.approx(1 - found["em"], abs=1e-4))
    assert apart["better"] == round(4 * (1 - found["em"]))


def test_the_index_that_answers_cannot_hold_the_target(repository: Path) -> None:
    """The file as committed has the target; what the daemon indexes and searches has not."""
    source = (repository / "geometry.py").read_text()
    target = "return zygomorphic_value * 2"
    (repository / "geometry.py").write_text(
        f"{source}\n\ndef double(zygomorphic: int) -> int:\n    {target}\n"
    )
    commit = commit_all(repository)
    prefix, suffix = (repository / "geometry.py").read_text().split(target)
    case = Case("a", "geometry.py", prefix, suffix, target, "o/project", commit)
    other = Case("b", "report.py", "x = ", "\n", "1", "o/project", commit)
    asking = Asking(resolve_model(ModelConfig().name), True, Source(repository))

    def paths_of(shown: Case) -> list[str]:
        path = str(tree.show(shown))
        with daemon.client() as client:
            assert client.call("refresh", {"path": path, "wait": True})["state"] == "current"
            hits = client.call("search", {"query": "zygomorphic_value", "path": path, "limit": 10})["hits"]
            return [hit["path"] for hit in hits if "zygomorphic_value" in hit["text"]]

    with OwnDaemon(asking.options) as daemon, Tree(asking.source, commit) as tree:
        assert paths_of(case) == []
        assert paths_of(other) == ["geometry.py"]  # and it is back for the next case
        assert paths_of(case) == []


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd().startswith(str(folder))
    except psutil.Error:
        return False


def test_a_run_that_is_ended_goes_on(repository: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**environment(tmp_path / "home"), "TMPDIR": str(scratch)}
    results = tmp_path / "run.jsonl"
    command = [
        sys.executable,
        "-m",
        "mccomd",
        "eval",
        str(repository),
        "--limit",
        "6",
        "--results",
        str(results),
    ]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not results.exists() or results.read_bytes().count(b"\n") < 3:  # the header and two answers
        assert process.poll() is None, process.stderr and process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    kept = results.read_text()
    assert (process.returncode, said.decode().strip()) == (130, "interrupted")
    assert kept.count("\n") < 7, "it was over before it could be ended"
    assert list(scratch.glob("mccomd-*")) == []  # the daemon's home and the scratch repository are gone
    assert not any(_works_in(process, scratch) for process in psutil.process_iter())
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=150)
    assert results.read_text().startswith(kept)
    assert len({json.loads(line)["id"] for line in results.read_text().splitlines()[1:]}) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "name a repository, or a file of cases"),
        (("/",), 1, "/ is in no git repository"),
        (("--cases-file", "/nothing"), 1, "cannot read /nothing"),
        (("/", "--trees", "/"), 2, "--trees goes with --cases-file"),
        (("/", "--cloud-ms", "fast"), 2, "is not two numbers with a comma"),
        (("/", "--model", "nosuch"), 1, "no model 'nosuch'"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("eval", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_large_model_that_is_not_configured(run: Run, repository: Path) -> None:
    done = run("eval", str(repository), "--mode", "cascade")
    assert done.returncode == 1
    assert "no large model is configured: set cloud.backend, or name the answers" in done.stderr


def test_recorded_answers_to_other_cases(run: Run, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "large.jsonl").write_text('{"id": "other", "text": ""}\n')
    done = run("eval", str(repository), "--mode", "cloud", "--recorded", str(tmp_path / "large.jsonl"))
    assert done.returncode == 1
    assert "has answers to none of these cases" in done.stderr


def test_a_calibration_of_few_cases_is_refused_and_one_is_written(tmp_path: Path) -> None:
    from mccomd.calibration import count, load

    shipped = resolve_model(ModelConfig().name)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in load_manifest(shipped).files:
        os.link(shipped / name, folder / name) if os.stat(shipped).st_dev == os.stat(tmp_path).st_dev else (
            shutil.copy(shipped / name, folder / name)
        )
    shutil.copy(shipped / "manifest.json", folder / "manifest.json")
    before = load_manifest(folder)
    table = count([(0.3, False)] * 60 + [(0.8, True)] * 50, "made up")
    write_calibration(folder, table)
    after = load_manifest(folder)
    assert load(after.calibration) == table
    assert (after.files, after.prompt, after.name) == (before.files, before.prompt, before.name)


LARGE = """
from mccomd.hooks import hookimpl

class Large:
    name = "large"
    async def stream(self, request):
        if "silence" in request.prefix:
            return
        if "repeated" in request.prefix:
            yield "\\nprint(value)\\n"
            return
        yield "large_"
        yield "answer()"

@hookimpl
def mccomd_backends(context):
    return [Large()]
"""


def test_the_large_model_of_the_users_config_is_asked(repository: Path, tmp_path: Path) -> None:
    """Every case is answered by it, however sure the local model was; and the cascade asks both."""
    put_plugin(tmp_path / "plugins", "clouded", LARGE)
    env = {**environment(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "plugins")}
    config = tmp_path / "home" / "config" / "mccomd" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[plugins]\nenabled = ["clouded"]\n[cloud]\nbackend = "large"\n')
    case = {
        "id": "a", "path": "report.py", "target": "large_answer()", "language": "python",
        "prefix": "from geometry import large_answer\n\nvalue = ", "suffix": "\nprint(value)\n",
    }  # fmt: skip
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps(case) + "\n")
    nothing = [case | {"id": word, "prefix": f"{word} = 1\nvalue = "} for word in ("silence", "repeated")]
    of_nothing = tmp_path / "nothing.jsonl"
    of_nothing.write_text("".join(json.dumps(one) + "\n" for one in nothing))

    def run(*arguments: str, cases: Path = cases) -> dict[str, Any]:
        command = [sys.executable, "-m", "mccomd", "eval", "--cases-file", str(cases), *arguments, "--json"]
        return as_json(subprocess.run(command, env=env, capture_output=True, text=True, timeout=150))

    found = run("--mode", "cloud", "--results", str(tmp_path / "large.jsonl"))
    assert (found["em"], found["cloud_share"]) == (1.0, 1.0)
    (answer,) = map(json.loads, (tmp_path / "large.jsonl").read_text().splitlines()[1:])
    assert (answer["text"], answer["source"]) == ("large_answer()", "cloud")
    cascade = run("--mode", "cascade", "--threshold", "1.0")
    assert cascade["cascade"]["rows"]["cloud"]["em"] == cascade["em"] == 1.0
    found = run("--mode", "cloud", "--results", str(tmp_path / "none.jsonl"), cases=of_nothing)
    assert (found["n"], found["em"], found["cloud_share"], found["empty_share"]) == (2, 0.0, 1.0, 1.0)
