"""A model that cannot be had is a state with a reason, and an answer with the same reason."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mccomd.engine import shipped_models

from .conftest import FINISHED, Daemon


def ask(daemon: Daemon) -> tuple[dict[str, Any], dict[str, Any]]:
    """(a completion, the model's status)"""
    params = {"path": "/a.py", "text": "x = ", "position": {"line": 0, "column": 4}, "deadline_ms": 20_000}
    with daemon.client() as client:
        return client.call("complete", params, timeout_s=60), client.call("status")["model"]


def copy_of_the_model(folder: Path) -> Path:
    """The shipped model's folder; its large files as hard links where the file system can.

    Not as symbolic ones: external data outside the model's folder is refused.
    """
    folder.mkdir()
    for file in shipped_models()["mccomd-135m"].iterdir():
        if file.suffix == ".data":
            with contextlib.suppress(OSError):
                os.link(file, folder / file.name)
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
    return folder


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def other_format(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": "mccomd-model/99"}))


def changed_tokenizer(folder: Path) -> None:
    data = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(data[:-10] + b" " * 9 + b"}")


def missing_weights(folder: Path) -> None:
    (folder / "model-2.onnx.data").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without_manifest, "manifest.json"),
        (other_format, "mccomd-model/99"),
        (changed_tokenizer, "tokenizer.json"),
        (missing_weights, "model-2.onnx.data"),
    ],
)
def test_a_damaged_model(
    start: Callable[..., Daemon], tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    folder = copy_of_the_model(tmp_path / "model")
    damage(folder)
    completion, model = ask(start(f'[model]\nfolder = "{folder}"\n'))
    assert (model["state"], model["loaded"]) == ("failed", False)
    assert reason in model["reason"]
    assert (completion["text"], completion["source"]) == ("", "none")
    assert reason in completion["reason"]


def test_a_model_nobody_ships(start: Callable[..., Daemon]) -> None:
    completion, model = ask(start('[model]\nname = "gpt-9"\n'))
    assert "shipped are mccomd-135m" in model["reason"]
    assert "gpt-9" in completion["reason"]


def test_a_model_folder_of_ones_own(start: Callable[..., Daemon], tmp_path: Path) -> None:
    folder = copy_of_the_model(tmp_path / "model")
    completion, model = ask(start(f'[model]\nfolder = "{folder}"\n'))
    assert (model["state"], completion["finish"] in FINISHED) == ("ready", True)


def test_a_request_too_early_says_that_the_model_loads(start: Callable[..., Daemon]) -> None:
    params = {"path": "/a.py", "text": "x = ", "position": {"line": 0, "column": 4}, "deadline_ms": 1}
    with start().client() as client:
        answer = client.call("complete", params)
    assert answer["finish"] in ("deadline", "stop")
    assert answer["text"] or "loading" in answer["reason"] or "out of time" in answer["reason"]
