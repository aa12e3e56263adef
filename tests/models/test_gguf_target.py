"""A model folder as a GGUF: the very weights that the folder stands for, under another tokenizer's roof."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mccomd.bench import weights as bench_weights
from mccomd.errors import MccomdError
from mccomd_models.architecture import random_weights
from mccomd_models.gguf_source import read_gguf
from mccomd_models.gguf_target import main
from mccomd_models.graph import Precision
from tests.engine.tiny import CONFIG, write_tiny
from tests.models.test_models_export import rounded
from tests.models.test_models_import import KINDS, arrays_of, write_gguf


@pytest.mark.parametrize(("kind", "block"), [("int8", 32), ("int4", 32), ("int8", 16)])
def test_the_weights_are_the_folders(tmp_path: Path, kind: Literal["int8", "int4"], block: int) -> None:
    """Blocks of 16 in 8 bits have as many bytes as those of 32 in 4; GGUF rounds them again, in 32."""
    precision = Precision(kind, block)
    tiny = write_tiny(tmp_path, precision)
    os.link(tiny.folder / "model.onnx.data", tmp_path / "another name")  # as uv installs files
    write_gguf(tmp_path / "source.gguf", CONFIG, random_weights(CONFIG, 99))
    main([str(tmp_path / "source.gguf"), str(tmp_path / "made.gguf"), str(tiny.folder)])
    found = read_gguf(tmp_path / "made.gguf")
    expected = rounded(rounded(tiny.weights, precision), Precision(kind))
    for ours, theirs in zip(arrays_of(found.weights), arrays_of(expected), strict=True):
        # scales are float16 there: a relative error of 2 ** -11
        np.testing.assert_allclose(ours, theirs, rtol=6e-4, atol=1e-6)


def test_a_gguf_alone_is_rounded_to_eight_bits(tmp_path: Path) -> None:
    weights = random_weights(CONFIG, 4)
    write_gguf(tmp_path / "source.gguf", CONFIG, weights)
    made = bench_weights.gguf_of("x", tmp_path, tmp_path / "source.gguf", tmp_path / "cache", lambda _: None)
    found, expected = read_gguf(made).weights, rounded(weights, Precision("int8"))
    for ours, theirs in zip(arrays_of(found), arrays_of(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    again = bench_weights.gguf_of("x", tmp_path, tmp_path / "source.gguf", tmp_path / "cache", pytest.fail)
    assert again == made


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path, Precision("int8"))
    write_gguf(tmp_path / "source.gguf", KINDS[1], random_weights(KINDS[1], 1))
    with pytest.raises(ValueError, match="has other matrices than"):
        main([str(tmp_path / "source.gguf"), str(tmp_path / "made.gguf"), str(tiny.folder)])
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(MccomdError, match=r"cannot convert .*broken\.gguf"):
        bench_weights.gguf_of("x", tmp_path, tmp_path / "broken.gguf", tmp_path / "cache", lambda _: None)
    with pytest.raises(MccomdError, match="no recipe for the GGUF of x"):
        bench_weights.gguf_of("x", tmp_path, None, tmp_path / "cache", lambda _: None)
