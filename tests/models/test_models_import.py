"""Others' models as ours: Qwen2 against plain numpy, files that are not what they say, fill-in by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel

from mccomd.engine import EngineOptions, load_manifest, verify
from mccomd.engine.artifact import TOKENIZER_FILE, PromptConvention
from mccomd.engine.check import run_check
from mccomd.engine.line_encoder import LineEncoder
from mccomd.engine.session import Session
from mccomd.engine.tokenizer import Tokenizer
from mccomd_models.architecture import LlamaConfig, Weights, random_weights, rotate_half_order
from mccomd_models.export import export
from mccomd_models.fill_in import GAPS, Trial, conventions_for, end_names
from mccomd_models.graph import Precision
from mccomd_models.hf_source import read_folder, read_safetensors
from mccomd_models.import_model import choose, import_model, name_of
from mccomd_models.reference import forward
from mccomd_models.tokenizer_source import BpeParts, build_tokenizer, write_tokenizer
from tests.engine.tiny import CONFIG, DESCRIPTION, SPECIAL

IDS = np.random.default_rng(5).integers(2, 258, size=60).tolist()
QWEN2 = dataclasses.replace(CONFIG, biases=True, heads=4, kv_heads=2)
KINDS = [
    CONFIG,
    dataclasses.replace(CONFIG, tied=False),
    QWEN2,
    dataclasses.replace(QWEN2, tied=False),
]


def write_bytes_tokenizer(path: Path) -> None:
    write_tokenizer(path, BpeParts((*SPECIAL, *sorted(ByteLevel.alphabet())), (), SPECIAL, "smollm"))


@pytest.mark.parametrize("config", KINDS, ids=["llama", "llama untied", "qwen2", "qwen2 untied"])
def test_the_graph_computes_what_plain_numpy_does(tmp_path: Path, config: LlamaConfig) -> None:
    weights = random_weights(config, 7)
    write_bytes_tokenizer(tmp_path / TOKENIZER_FILE)
    manifest = export(tmp_path, config, weights, Precision("fp32"), DESCRIPTION)
    session = Session(tmp_path, manifest, EngineOptions(1, 128, 128))
    expected = forward(config, weights, IDS)
    found = session.forward(IDS, len(IDS))
    # sums of 64 to 96 products in another order: 1e-5 of logits that spread over 1
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert manifest.parameters == sum(array.size for array in arrays_of(weights))
    assert manifest.architecture == ("qwen2" if config.biases else "llama")
    if config.biases:  # they must matter, or the comparison would not see them missing
        plain = dataclasses.replace(
            weights, layers=tuple(dataclasses.replace(layer, qkv_bias=None) for layer in weights.layers)
        )
        assert np.abs(forward(config, plain, IDS) - expected).mean() > 0.1


@pytest.mark.parametrize("config", KINDS[1:], ids=["llama untied", "qwen2", "qwen2 untied"])
def test_eight_bits_are_near(tmp_path: Path, config: LlamaConfig) -> None:
    weights = random_weights(config, 7)
    write_bytes_tokenizer(tmp_path / TOKENIZER_FILE)
    manifest = export(tmp_path, config, weights, Precision("int8"), DESCRIPTION)
    found = Session(tmp_path, manifest, EngineOptions(1, 128, 128)).forward(IDS, len(IDS))
    expected = forward(config, weights, IDS)
    assert (found - expected).std() < 0.1 * expected.std()  # weights and activations rounded to 1/254


def arrays_of(weights: Weights) -> list[NDArray[np.float32]]:
    flat = [weights.embedding, weights.final_norm, weights.head]
    flat += [value for layer in weights.layers for value in dataclasses.astuple(layer)]
    return [array for array in flat if array is not None]


# --- Hugging Face folders ----------------------------------------------------------------------------


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]], kind: str = "F32") -> None:
    """The format as published: length of the header, the header, the bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, at = [], 0
    for name, array in tensors.items():
        if kind == "BF16":
            data = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            data = array.astype(np.float16 if kind == "F16" else np.float32).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"".join(parts))


def hf_tensors(config: LlamaConfig, weights: Weights) -> dict[str, NDArray[np.float32]]:
    found = {"model.embed_tokens.weight": weights.embedding, "model.norm.weight": weights.final_norm}
    if weights.head is not None:
        found["lm_head.weight"] = weights.head
    for i, layer in enumerate(weights.layers):
        at = f"model.layers.{i}"
        found |= {
            f"{at}.input_layernorm.weight": layer.attention_norm,
            f"{at}.post_attention_layernorm.weight": layer.ffn_norm,
            f"{at}.self_attn.o_proj.weight": layer.output,
            f"{at}.mlp.gate_proj.weight": layer.gate,
            f"{at}.mlp.up_proj.weight": layer.up,
            f"{at}.mlp.down_proj.weight": layer.down,
            **{f"{at}.self_attn.{part}_proj.weight": getattr(layer, part) for part in "qkv"},
        }
        if layer.qkv_bias is not None:
            q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
            for part, bias in zip("qkv", np.split(layer.qkv_bias, [q, q + kv]), strict=True):
                found[f"{at}.self_attn.{part}_proj.bias"] = bias
    return found


def write_hf(folder: Path, config: LlamaConfig, kind: str = "F32", **changes: Any) -> Weights:
    weights = random_weights(config, 11)
    folder.mkdir(exist_ok=True)
    said = {
        "model_type": config.architecture,
        "num_hidden_layers": config.layers,
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "vocab_size": config.vocab,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.context_tokens,
        "tie_word_embeddings": config.tied,
        "eos_token_id": 0,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(said))
    write_safetensors(folder / "model.safetensors", hf_tensors(config, weights), kind)
    write_bytes_tokenizer(folder / "tokenizer.json")
    return weights


@pytest.mark.parametrize("config", KINDS, ids=["llama", "llama untied", "qwen2", "qwen2 untied"])
@pytest.mark.parametrize(("kind", "error"), [("F32", 0.0), ("F16", 1e-3), ("BF16", 8e-3)])
def test_a_folder_is_read_as_it_was_written(
    tmp_path: Path, config: LlamaConfig, kind: str, error: float
) -> None:
    weights = write_hf(tmp_path, config, kind)
    found = read_folder(tmp_path)
    assert found.config == config
    assert found.end_ids == (0,)
    for ours, theirs in zip(arrays_of(found.weights), arrays_of(weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=error, atol=1e-7)


def test_weights_in_several_files(tmp_path: Path) -> None:
    write_hf(tmp_path, QWEN2)
    whole = read_safetensors(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(whole)
    write_safetensors(tmp_path / "a.safetensors", {name: whole[name] for name in names[::2]})
    write_safetensors(tmp_path / "b.safetensors", {name: whole[name] for name in names[1::2]})
    places = {name: "ab"[i % 2] + ".safetensors" for i, name in enumerate(names)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert read_folder(tmp_path).config == QWEN2
    places[names[0]] = "../c.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ValueError, match="is missing"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', expected 'llama' or 'qwen2'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "positions are scaled"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"use_sliding_window": True}, "sliding windows"),
        ({"head_dim": 128}, "head_dim 128 is not"),
        ({"num_hidden_layers": 9}, r"the weights lack model.layers.2"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_hf(tmp_path, CONFIG, **changes)
    with pytest.raises(ValueError, match=message):
        read_folder(tmp_path)


def test_damaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_hf(tmp_path, CONFIG)
    whole = path.read_bytes()
    for cut in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"no safetensors file|does not fit its place"):
            read_safetensors(path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"no tokenizer.json"):
        read_folder(tmp_path)


# --- GGUF files --------------------------------------------------------------------------------------


def write_gguf(path: Path, config: LlamaConfig, weights: Weights, pre: str = "qwen2") -> None:
    import gguf

    kind = config.architecture
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_tokens)
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(f"pad{i}" for i in range(config.vocab - 258))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (config.vocab - 2)])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    for name, array in gguf_tensors(config, weights).items():
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_tensors(config: LlamaConfig, weights: Weights) -> dict[str, NDArray[np.float32]]:
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "self_attn.o_proj": "attn_output", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "model.layers.": "blk.",
    }  # fmt: skip
    found = {}
    for name, array in hf_tensors(config, weights).items():
        heads = {"q_proj.weight": config.heads, "k_proj.weight": config.kv_heads}.get(name[-13:])
        if heads and not config.biases:
            array = interleaved(array, heads)
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        found[name] = array
    return found


def interleaved(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """What convert_hf_to_gguf.py does to llamas' q and k."""
    out, inner = matrix.shape
    return matrix.reshape(heads, 2, out // heads // 2, inner).swapaxes(1, 2).reshape(out, inner)


@pytest.mark.parametrize("config", KINDS, ids=["llama", "llama untied", "qwen2", "qwen2 untied"])
def test_a_gguf_is_read_as_it_was_written(tmp_path: Path, config: LlamaConfig) -> None:
    weights = random_weights(config, 13)
    write_gguf(tmp_path / "m.gguf", config, weights)
    from mccomd_models.gguf_source import read_gguf

    found = read_gguf(tmp_path / "m.gguf")
    assert dataclasses.replace(found.config, norm_eps=config.norm_eps) == config
    assert found.end_ids == (0,)
    for ours, theirs in zip(arrays_of(found.weights), arrays_of(weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_head_that_is_the_embedding_rounded_is_tied(tmp_path: Path) -> None:
    untied = dataclasses.replace(QWEN2, tied=False)
    weights = random_weights(untied, 13)
    rounded = weights.embedding.astype(np.float16).astype(np.float32)
    write_gguf(tmp_path / "m.gguf", untied, dataclasses.replace(weights, head=rounded))
    from mccomd_models.gguf_source import read_gguf

    found = read_gguf(tmp_path / "m.gguf")
    assert found.config.tied
    assert found.weights.head is None


def test_interleaving_is_undone() -> None:
    rows = np.arange(16, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(rotate_half_order(interleaved(rows, 2), 2), rows)


# --- the tokenizer and the fill-in convention --------------------------------------------------------


def test_qwen2s_pattern_cuts_as_published_and_by_lines(tmp_path: Path) -> None:
    parts = BpeParts((*SPECIAL, *sorted(ByteLevel.alphabet())), (), SPECIAL, "qwen2")
    cut = build_tokenizer(parts).pre_tokenizer.pre_tokenize_str("def f(x):\n    return x+12\n\n# it's ok")
    assert [piece.replace("Ġ", " ").replace("Ċ", "\n") for piece, _ in cut] == [
        "def", " f", "(x", "):\n", "   ", " return", " x", "+", "1", "2", "\n\n", "#", " it", "'s", " ok",
    ]  # fmt: skip
    write_tokenizer(tmp_path / TOKENIZER_FILE, parts)
    encoder = LineEncoder(Tokenizer(tmp_path, SPECIAL, 300))
    assert len(encoder.pieces_of("a = 1\nb = 2\n")) > 1  # so that a keystroke encodes one line


@pytest.mark.parametrize(
    ("tokens", "kinds", "markers"),
    [
        (
            ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"],
            ["spm", "psm"],
            "<|fim_prefix|>",
        ),
        (["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "x"], ["spm", "psm"], "<fim_prefix>"),
        (["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"], ["spm", "psm"], "<｜fim▁begin｜>"),
        (["<fim_prefix>", "<fim_suffix>"], [], ""),
        (["<|endoftext|>"], [], ""),
    ],
)
def test_conventions_by_the_names_of_tokens(tokens: list[str], kinds: list[str], markers: str) -> None:
    found = conventions_for(tokens)
    assert [convention.kind for convention in found] == kinds
    assert all(convention.prefix_token == markers for convention in found)
    assert all(set(convention.stop_tokens) <= set(tokens) for convention in found)
    assert end_names(["<|im_end|>", "x", "<|endoftext|>"]) == ["<|endoftext|>", "<|im_end|>"]


def trial(kind: str, right: int) -> Trial:
    markers = {"prefix_token": "a", "suffix_token": "b", "middle_token": "c"}
    return Trial(PromptConvention(kind=kind, **markers), right, 1.0)  # type: ignore[arg-type]


def test_the_convention_that_fills_most_gaps_is_taken_and_suffix_first_of_equals() -> None:
    assert choose(Path("m"), [trial("spm", 6), trial("psm", 6)], False).kind == "spm"
    assert choose(Path("m"), [trial("spm", 4), trial("psm", 6)], False).kind == "psm"
    with pytest.raises(ValueError, match=f"m fills 2 of {len(GAPS)} gaps; --prefix-only"):
        choose(Path("m"), [trial("spm", 0), trial("psm", 2)], False)
    with pytest.raises(ValueError, match="m has no fill-in-the-middle tokens"):
        choose(Path("m"), [], False)
    assert choose(Path("m"), [trial("psm", 2)], True).kind == "prefix"


def test_names_of_sources() -> None:
    assert name_of(Path("/x/My Model.Q8_0.gguf")) == "my-model-q8-0"
    assert name_of(Path("...")) == "model"


def test_an_import_is_whole_or_not_there(tmp_path: Path) -> None:
    write_hf(tmp_path / "source", QWEN2)
    out = tmp_path / "models" / "m"
    with pytest.raises(ValueError, match="no fill-in-the-middle tokens"):
        import_model(tmp_path / "source", out, "m", "MIT")
    assert list((tmp_path / "models").iterdir()) == []
    found = import_model(tmp_path / "source", out, "m", "MIT", prefix_only=True)
    assert (found["architecture"], found["fim"], found["gaps"]) == ("qwen2", "prefix", {})
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["m"]
    manifest = load_manifest(out)
    verify(out, manifest)
    checked = run_check(out, manifest)
    assert checked is not None
    assert checked.ok
    with pytest.raises(ValueError, match="holds a model already"):
        import_model(tmp_path / "source", out, "m", "MIT", prefix_only=True)
    with pytest.raises(ValueError, match="no such file"):
        import_model(tmp_path / "nothing", tmp_path / "models" / "n", "n", "MIT")
