"""Weights read back from a model folder: those that its graph computes with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mccomd.engine import EngineOptions, load_manifest
from mccomd.engine.session import Session
from mccomd_models.architecture import LlamaConfig, Weights, average, random_weights
from mccomd_models.folder_source import read_model_folder
from mccomd_models.graph import Precision
from mccomd_models.reference import forward
from mccomd_models.training.unrounded import unrounded
from tests.engine.tiny import CONFIG, write_tiny
from tests.models.test_models_export import rounded
from tests.models.test_models_import import KINDS, arrays_of

IDS = np.random.default_rng(5).integers(2, 258, size=60).tolist()


@pytest.mark.parametrize(("kind", "block"), [("int8", 32), ("int4", 32), ("int4", 16)])
@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, heads=4, rope_theta=1e5, norm_eps=1e-6)])
def test_the_weights_are_those_that_the_graph_computes_with(
    tmp_path: Path, config: LlamaConfig, kind: Literal["int8", "int4"], block: int
) -> None:
    precision = Precision(kind, block)
    tiny = write_tiny(tmp_path, precision, config=config)
    found = read_model_folder(tmp_path)
    assert found.config == config
    assert found.bits == precision.bits
    for ours, theirs in zip(
        arrays_of(found.weights), arrays_of(rounded(tiny.weights, precision)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    computed = Session(tmp_path, load_manifest(tmp_path), EngineOptions(1, 128, 128)).forward(IDS, len(IDS))
    expected = forward(found.config, found.weights, IDS)
    assert (computed - expected).std() < 0.05 * expected.std()  # activations are rounded to 1/127


def test_what_was_read_is_stored_as_it_was(tmp_path: Path) -> None:
    """Nothing is lost when a model goes on from its own folder."""
    tiny = write_tiny(tmp_path, Precision("int4"))
    found = read_model_folder(tiny.folder).weights
    again = rounded(found, Precision("int4"))
    for ours, theirs in zip(arrays_of(found), arrays_of(again), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("config", KINDS[1:], ids=["llama untied", "qwen2", "qwen2 untied"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, config: LlamaConfig) -> None:
    write_tiny(tmp_path, Precision("int8"), config=config)
    with pytest.raises(ValueError, match="holds no llama"):
        read_model_folder(tmp_path)


def test_weights_that_were_never_rounded(tmp_path: Path) -> None:
    write_tiny(tmp_path, Precision("fp32"))
    with pytest.raises(ValueError, match="no weights in 8 or 4 bits"):
        read_model_folder(tmp_path)


def test_a_mean_with_shares() -> None:
    one, two = random_weights(CONFIG, 1), random_weights(CONFIG, 2)
    mean = average([one, two], [0.75, 0.25])
    np.testing.assert_allclose(
        mean.embedding, 0.75 * one.embedding + 0.25 * two.embedding, rtol=1e-6, atol=1e-7
    )


def test_unrounded_weights_are_rounded_to_what_is_stored() -> None:
    """Training moved each weight by a part of a step; stored are the moved ones, rounded."""
    untrained, precision = random_weights(CONFIG, 3), Precision("int4")
    moved = average([untrained, random_weights(CONFIG, 4)], [0.99, 0.01])
    stored = rounded(moved, precision)
    found = unrounded(stored, untrained, 4, precision.block)
    for one, other in zip(arrays_of(rounded(found, precision)), arrays_of(stored), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)

    def apart(one: Weights, other: Weights) -> float:
        return float(np.abs(one.layers[0].down - other.layers[0].down).mean())

    assert apart(found, moved) < 0.5 * apart(stored, moved)
    np.testing.assert_array_equal(found.embedding, stored.embedding)
    np.testing.assert_array_equal(found.layers[0].ffn_norm, stored.layers[0].ffn_norm)
