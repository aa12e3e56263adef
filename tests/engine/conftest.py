from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mccomd.engine import Engine, EngineOptions
from mccomd_models.graph import Precision
from tests.engine.tiny import Tiny, write_tiny

OPTIONS = EngineOptions(threads=1, context_tokens=128, prefill_chunk=16)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The float32 model; not to be written to."""
    return write_tiny(tmp_path_factory.mktemp("tiny"), Precision("fp32"))


@pytest.fixture(scope="session")
def tiny_8bit(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same weights in 8 bits; not to be written to."""
    return write_tiny(tmp_path_factory.mktemp("tiny8"), Precision("int8"))


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the float32 model to damage."""
    copy = tmp_path / "model"
    shutil.copytree(tiny.folder, copy)
    return copy


@pytest.fixture
def engine(tiny: Tiny) -> Iterator[Engine]:
    engine = Engine(tiny.folder, OPTIONS)
    yield engine
    engine.close()
