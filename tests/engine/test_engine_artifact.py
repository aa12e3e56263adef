"""Model folders that are not what they say: one line that names the folder, what was found and expected."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import mccomd.engine
from mccomd.engine import Engine, PromptConvention, load_manifest, shipped_models, verify
from mccomd.engine.artifact import describe_files, write_manifest
from mccomd.errors import ArtifactError
from tests.engine.conftest import OPTIONS
from tests.engine.tiny import Tiny, change_manifest

Damage = Callable[[Path], None]


def edit(**changes: Any) -> Damage:
    """Change the manifest's JSON by hand; None takes a key out."""

    def apply(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest.update(changes)
        kept = {key: value for key, value in manifest.items() if value is not None}
        (folder / "manifest.json").write_text(json.dumps(kept))

    return apply


def write(name: str, content: bytes) -> Damage:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def truncate(name: str) -> Damage:
    return lambda folder: os.truncate(folder / name, 1000)


def list_file(name: str) -> Damage:
    entry = {"sha256": "0" * 64, "bytes": 1}

    def apply(folder: Path) -> None:
        files = json.loads((folder / "manifest.json").read_bytes())["files"]
        edit(files={**files, name: entry})(folder)

    return apply


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove("manifest.json"), "no readable manifest.json (No such file or directory)"),
        (write("manifest.json", b"{"), "manifest.json is no valid manifest"),
        (write("manifest.json", b"\xff\xfe"), "manifest.json is no valid manifest"),
        (write("manifest.json", b"[]"), "manifest.json is no valid manifest"),
        (edit(format="mccomd-model/2", layers=None), "format is 'mccomd-model/2', this version reads"),
        (edit(vocab="many"), "Expected `int`, got `str` - at `$.vocab`"),
        (edit(prompt={"kind": "fim"}), "Invalid enum value 'fim'"),
        (edit(prompt={"kind": "spm", "prefix_token": "a"}), "'spm' needs suffix_token"),
        (edit(files={}), "the manifest lists no model.onnx"),
        (remove("model.onnx.data"), "model.onnx.data is missing"),
        (truncate("model.onnx.data"), "model.onnx.data has 1000 bytes, the manifest says"),
        (list_file("../secret"), "'../secret' in the manifest is no plain file name"),
        (list_file("/etc/passwd"), "is no plain file name"),
        (list_file("a\\b"), "is no plain file name"),
        (list_file(".."), "is no plain file name"),
        (list_file(""), "is no plain file name"),
    ],
)
def test_load_manifest_refuses(folder: Path, damage: Damage, text: str) -> None:
    damage(folder)
    with pytest.raises(ArtifactError) as caught:
        load_manifest(folder)
    check_line(caught.value, folder, text)


def rewrite_graph(change: Callable[[onnx.ModelProto], None]) -> Damage:
    """Change the graph and make the manifest agree with the file."""

    def apply(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        change(model)
        onnx.save(model, folder / "model.onnx")
        accept_files(folder)

    return apply


def accept_files(folder: Path) -> None:
    """Make the manifest say what stands in the folder."""
    data = json.loads((folder / "manifest.json").read_bytes())
    files = describe_files(folder, list(data["files"]))
    edit(files={n: {"sha256": f.sha256, "bytes": f.bytes} for n, f in files.items()})(folder)


def point_outside(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../outside.data"


def replaced(name: str, content: bytes) -> Damage:
    def apply(folder: Path) -> None:
        write(name, content)(folder)
        accept_files(folder)

    return apply


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (replaced("model.onnx", b"not a graph"), "model.onnx cannot be loaded"),
        (replaced("model.onnx.data", b""), "model.onnx cannot be loaded"),
        (rewrite_graph(point_outside), "model.onnx cannot be loaded"),
        (edit(vocab=300), "logits in model.onnx is [1, 'rows', 288], the manifest means [1, 'rows', 300]"),
        (edit(layers=3), "past.2.key in model.onnx is None, the manifest means [1, 1, 'cache_tokens', 32]"),
        (edit(layers=1), "past.1.key in model.onnx is [1, 1, 'cache_tokens', 32], the manifest means None"),
        (edit(kv_heads=2), "the manifest means [1, 2, 'cache_tokens', 32]"),
        (replaced("tokenizer.json", b"{}"), "tokenizer.json cannot be loaded"),
        (edit(vocab=100), "tokenizer.json has 258 tokens, the model's vocab is 100"),
        (edit(prompt={"kind": "prefix", "bos": "<bos>"}), "tokenizer.json lacks the token '<bos>'"),
    ],
)
def test_engine_refuses(folder: Path, damage: Damage, text: str) -> None:
    (folder.parent / "outside.data").write_bytes((folder / "model.onnx.data").read_bytes())
    damage(folder)
    with pytest.raises(ArtifactError) as caught:
        Engine(folder, OPTIONS)
    check_line(caught.value, folder, text)


def check_line(error: ArtifactError, folder: Path, text: str) -> None:
    line = str(error)
    assert line.startswith(f"{folder}: ")
    assert text in line
    assert "\n" not in line


def test_one_changed_byte_is_found(folder: Path) -> None:
    manifest = load_manifest(folder)
    verify(folder, manifest)
    content = bytearray((folder / "model.onnx.data").read_bytes())
    content[5000] ^= 1
    (folder / "model.onnx.data").write_bytes(content)
    load_manifest(folder)
    with pytest.raises(ArtifactError, match=r"model.onnx.data is damaged: sha256 is \w{16}..., the manifest"):
        verify(folder, manifest)


def test_a_manifest_survives_the_disk(folder: Path) -> None:
    prompt = PromptConvention(
        kind="spm", suffix_token="<s>", prefix_token="<p>", middle_token="<m>", stop_tokens=("<e>",)
    )
    written = change_manifest(folder, prompt=prompt, end_ids=(1, 2))
    assert load_manifest(folder) == written
    assert prompt.token_names() == ("<s>", "<p>", "<m>", "<e>")
    assert not (folder / "manifest.json.tmp").exists()


def test_a_later_manifest_may_say_more(folder: Path) -> None:
    edit(remark="new")(folder)
    assert load_manifest(folder).name == "tiny"


def test_shipped_models_first_root_wins(tiny: Tiny, tmp_path: Path) -> None:
    manifest = load_manifest(tiny.folder)
    for name in ("wheel/a", "checkout/a", "checkout/b"):
        (tmp_path / name).mkdir(parents=True)
        write_manifest(tmp_path / name, manifest)
    (tmp_path / "checkout" / "unfinished").mkdir()
    found = shipped_models([tmp_path / "wheel", tmp_path / "absent", tmp_path / "checkout"])
    assert found == {"a": tmp_path / "wheel" / "a", "b": tmp_path / "checkout" / "b"}


def test_exported_names() -> None:
    assert all(hasattr(mccomd.engine, name) for name in mccomd.engine.__all__)
