"""A real llama.cpp server: a tiny random model with fill-in-the-middle tokens, made here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mccomd.bench.peer import CANDIDATES, LlamaServer
from mccomd.cloud.transport import HttpTransport
from mccomd.hooks import CloudRequest, PluginContext
from mccomd.outgoing import Endpoint
from mccomd.testing import check_backend
from mccomd_plugins import llamacpp

from .asking import text_of

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

VOCAB, WIDTH, LAYERS, HEADS = 272, 64, 1, 2
MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>", "<|repo_name|>",
           "<|fim_pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")  # fmt: skip


def make_model(path: Path) -> None:
    """Random weights, a byte a token. It writes nonsense, always the same."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-qwen-coder")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(128)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCAB)
    _add_tokens(writer)
    chance = np.random.default_rng(7)

    def matrix(*shape: int) -> Any:
        return chance.normal(0, 0.4, shape).astype(np.float32)

    writer.add_tensor("token_embd.weight", matrix(VOCAB, WIDTH))
    writer.add_tensor("output.weight", matrix(VOCAB, WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{norm}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", matrix(WIDTH, WIDTH))
    for name, shape in (("ffn_gate", (128, WIDTH)), ("ffn_up", (128, WIDTH)), ("ffn_down", (WIDTH, 128))):
        writer.add_tensor(f"blk.0.{name}.weight", matrix(*shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: Any) -> None:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    spelling = {byte: chr(byte) for byte in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    tokens = [spelling[byte] for byte in range(256)] + list(MARKERS)
    tokens += [f"<unused{i}>" for i in range(VOCAB - len(tokens))]
    kinds = [1] * 256 + [3] * (VOCAB - 256)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{spelling[32]} {spelling[32]}"])
    writer.add_bos_token_id(264)
    writer.add_eos_token_id(264)
    writer.add_add_bos_token(False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    path = tmp_path_factory.mktemp("gguf") / "tiny-qwen-coder.gguf"
    make_model(path)
    with LlamaServer(path, CANDIDATES[3], 512, 1) as running:
        yield running


def use(server: LlamaServer, work: Any, **fields: Any) -> Any:
    async def inside() -> Any:
        url = f"http://127.0.0.1:{server.port}"
        transport = HttpTransport(url, stall_s=60)
        context = PluginContext({}, None, transport, Endpoint(url, **fields), "")  # type: ignore[arg-type]
        (backend,) = llamacpp.mccomd_backends(context)
        try:
            return await work(backend)
        finally:
            await transport.aclose()

    return asyncio.run(inside())


def request(prefix: str, **fields: Any) -> CloudRequest:
    return CloudRequest(
        prefix, "\n", "", "a.py", (), fields.pop("draft", ""), 24, time.monotonic() + 100, **fields
    )


def test_the_server_says_which_model_it_has_and_how_long_its_context_is(server: LlamaServer) -> None:
    async def work(backend: Any) -> Any:
        return (await backend.probe())["caps"]

    caps = use(server, work)
    assert (caps["fim"], caps["n_ctx"], caps["proved"]) == ("qwen", 512, True)


def test_a_prompt_that_is_too_long_is_cut(server: LlamaServer) -> None:
    async def work(backend: Any) -> tuple[int, int | None]:
        asked = request("value = 1\n" * 200)
        text = await text_of(backend._adapter, asked)
        return len(text), backend.caps.n_ctx

    length, n_ctx = use(server, work, fim_template="qwen")
    assert length > 0
    assert n_ctx == 512


def test_a_primed_draft_is_guessed_and_changes_nothing(server: LlamaServer) -> None:
    """The text of the plain request, in the same state of the server's cache; the draft was taken."""

    async def work(backend: Any) -> list[Any]:
        adapter, prefix = backend._adapter, "def area(width, height):\n    return "
        await adapter.prime(request(prefix), "")
        plain = request(prefix)
        text = await text_of(backend._adapter, plain)
        found = [text]
        for draft in (text, text[: len(text) // 2] + "xyzzy", "something else altogether"):
            await adapter.prime(request(prefix), draft)
            primed = request(prefix)
            found += [await text_of(backend._adapter, primed), primed.report.drafted, primed.report.accepted]
        return found

    text, right, drafted, accepted, half, _, _, wrong, _, _ = use(server, work, fim_template="qwen")
    assert len(text) > 4
    assert text == right == half == wrong
    assert drafted > 0
    assert accepted > 0


def test_a_prompt_that_was_primed_ahead_is_answered_with_the_same_text(server: LlamaServer) -> None:
    async def work(backend: Any) -> tuple[str, str, CloudRequest, float]:
        adapter, prefix = backend._adapter, "def volume(width, height, depth):\n    return "
        await adapter.prime(request(prefix), "")
        plain = await text_of(backend, request(prefix))
        adapter.caps = replace(adapter.caps, proved=True, prime=True)
        whole = await text_of(backend._adapter, request(prefix))
        assert backend.why_not_ahead() == ""
        while not backend.status()["estimates"]["primed_ahead"]:  # a few times it is left out on purpose
            await backend.prime_ahead(request(prefix, draft=whole))
        asked = request(prefix, draft=whole)
        text = await text_of(backend, asked)
        return plain, text, asked, backend.estimates.record("ahead").calls

    plain, text, asked, calls = use(server, work, fim_template="qwen")
    assert text == plain
    assert (asked.report.strategy, asked.report.requests, calls) == ("ahead", 1, 1)


def test_leaving_frees_the_server(server: LlamaServer) -> None:
    async def work(backend: Any) -> bool:
        async with asyncio.timeout(60):
            stream = backend._adapter.stream(request("x = "))
            await anext(stream)
            await stream.aclose()
            while True:
                _, slots = await backend._adapter.look(f"{backend._adapter.endpoint.url}/slots")
                if not any(slot["is_processing"] for slot in slots):
                    return True

    assert use(server, work, fim_template="qwen")


def test_it_keeps_the_contract_of_a_backend(server: LlamaServer) -> None:
    def make() -> Any:
        url = f"http://127.0.0.1:{server.port}"
        context = PluginContext({}, None, HttpTransport(url, stall_s=60), Endpoint(url), "")  # type: ignore[arg-type]
        (backend,) = llamacpp.mccomd_backends(context)
        return backend

    check_backend(make, request("x = 1\ny = 2\n", draft="z = 3"), leaves_s=60)
