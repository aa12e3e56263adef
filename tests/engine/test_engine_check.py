"""A model that computes what it did where it was made, and one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mccomd.engine import load_manifest
from mccomd.engine.check import make_check, run_check
from mccomd.errors import ArtifactError
from mccomd_models.graph import Precision
from tests.engine.tiny import change_manifest, write_tiny

IDS = [*range(2, 40)]


def with_check(folder: Path, seed: int, precision: Precision) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    write_tiny(folder, precision, seed)
    return dict(msgspec.to_builtins(make_check(folder, load_manifest(folder), IDS)))


@pytest.mark.parametrize("precision", [Precision("int8"), Precision("fp32")])
def test_the_same_weights(tmp_path: Path, precision: Precision) -> None:
    check = with_check(tmp_path, 3, precision)
    exported = run_check(tmp_path, load_manifest(tmp_path))
    assert exported is not None
    assert exported.ok
    assert run_check(tmp_path, change_manifest(tmp_path, check=None)) is None
    found = run_check(tmp_path, change_manifest(tmp_path, check=check))
    assert found is not None
    assert (found.ok, found.agreed, found.rows) == (True, 24, 24)


def test_another_precision_is_near_and_other_weights_are_far(tmp_path: Path) -> None:
    exact = with_check(tmp_path / "a", 3, Precision("fp32"))
    others = with_check(tmp_path / "b", 4, Precision("fp32"))
    with_check(tmp_path / "c", 3, Precision("int8"))
    near = run_check(tmp_path / "c", change_manifest(tmp_path / "c", check=exact))
    assert near is not None
    assert 0 < near.apart < 0.15
    far = run_check(tmp_path / "a", change_manifest(tmp_path / "a", check=others))
    assert far is not None
    assert not far.ok


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": []}, "of one length and not empty"),
        ({"best": [1]}, "of one length"),
        ({"logits": "x"}, "check: Expected `array`"),
        ({"ids": [999] * 24}, "an id is not below 288"),
        ({"best": [-1] * 24}, "an id is not below"),
    ],
)
def test_a_check_that_is_none(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    check = with_check(tmp_path, 3, Precision("int8"))
    manifest = change_manifest(tmp_path, check={**check, **changes})
    with pytest.raises(ArtifactError, match=message):
        run_check(tmp_path, manifest)
