"""`mccomd model`: the list scripts read, the choice in the user's config, damage told, a real import."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mccomd.config import ModelConfig, load
from tests.conftest import environment
from tests.engine.tiny import change_manifest, write_tiny
from tests.models.test_models_import import QWEN2, write_hf

Run = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED = ModelConfig().name


@pytest.fixture
def env(tmp_path: Path) -> Mapping[str, str]:
    return environment(tmp_path / "home")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder of the user's own models."""
    return tmp_path / "home" / "data" / "mccomd" / "models"


@pytest.fixture
def run(env: Mapping[str, str]) -> Run:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mccomd", "model", *arguments],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return command


def json_lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_own(models: Path, name: str) -> Path:
    from mccomd_models.graph import Precision

    folder = models / name
    folder.mkdir(parents=True)
    write_tiny(folder, Precision("int8"))
    return folder


def test_the_shipped_model_is_listed_and_whole(run: Run) -> None:
    (listed,) = [model for model in json_lines(run("list", "--json")) if model["default"]]
    assert listed["name"] == SHIPPED
    assert {"parameters", "size_mb", "context", "fim", "license"} <= listed.keys()
    verified = json_lines(run("verify", "--json"))
    assert (SHIPPED, True) in [(one["name"], one["ok"]) for one in verified]


def test_a_model_is_imported_used_and_gone_back_from(run: Run, models: Path, tmp_path: Path) -> None:
    write_hf(tmp_path / "Random-Qwen2", QWEN2)
    refused = run("import", str(tmp_path / "Random-Qwen2"))
    assert refused.returncode == 1
    assert "has no fill-in-the-middle tokens that are known here; --prefix-only" in refused.stderr
    assert refused.stderr.count("\n") == 1
    found = run("import", str(tmp_path / "Random-Qwen2"), "--prefix-only", "--licence", "MIT", "--json")
    assert json.loads(found.stdout)["folder"] == str(models / "random-qwen2")
    config = tmp_path / "home" / "config" / "mccomd" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("# my own\n[model]\nthreads = 1  # a small machine\n")
    assert run("use", "random-qwen2").returncode == 0
    assert load(config).model.name == "random-qwen2"
    assert "# my own" in config.read_text()
    assert "threads = 1  # a small machine" in config.read_text()
    listed = {one["name"]: one for one in json_lines(run("list", "--json"))}
    assert (listed["random-qwen2"]["default"], listed[SHIPPED]["default"]) == (True, False)
    assert listed["random-qwen2"]["license"] == "MIT"
    assert run("use", str(models / "random-qwen2")).returncode == 0
    assert load(config).model.folder == str(models / "random-qwen2")
    assert run("use", SHIPPED).returncode == 0
    assert (load(config).model.name, load(config).model.folder) == (SHIPPED, "")


def test_damage_is_told(run: Run, models: Path) -> None:
    folder = write_own(models, "mine")
    assert run("verify", "mine").returncode == 0
    data = folder / "model.onnx.data"
    raw = bytearray(data.read_bytes())
    raw[1000] ^= 1
    data.write_bytes(raw)
    done = run("verify", "mine")
    assert done.returncode == 1
    assert "model.onnx.data is damaged" in done.stdout
    assert done.stderr == "error: damaged: mine; install mccomd again, or import the model again\n"
    (folder / "tokenizer.json").unlink()
    listed = {one["name"]: one for one in json_lines(run("list", "--json"))}
    assert "tokenizer.json is missing" in listed["mine"]["problem"]
    assert run("use", "mine").returncode == 1


def test_a_model_that_computes_something_else_is_damaged(run: Run, models: Path) -> None:
    """The files are as they were written: a kernel that is wrong here would look so."""
    folder = write_own(models, "mine")
    change_manifest(folder, check={"ids": [2, 3], "best": [4, 5], "logits": [90.0, 90.0], "spread": 1.0})
    (verified,) = json_lines(run("verify", "mine", "--json"))
    assert verified["ok"] is False
    assert verified["apart"] > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("use", "nosuch"), f"no model 'nosuch': there are {SHIPPED}"),
        (("verify", "nosuch"), "no model 'nosuch'"),
        (("import", "/dev/null"), "/dev/null: no such file or folder"),
        (("import", __file__), "neither a GGUF file nor a folder with config.json"),
        (("import", str(Path(__file__).parent)), "config.json: cannot be read"),
        (("import", __file__, "--name", "../x"), "'../x' is no name for a model"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
