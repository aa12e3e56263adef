"""A real vLLM was recorded; the peer answers as it did, and the `completions` backend gets on with it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.endpoint import Peer
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.rows import last_rows, vllm_row
from mccomd.cloud.sse import ServerSentEvents
from mccomd.cloud.verify import accept
from mccomd.errors import CloudError
from mccomd.hooks import CloudRequest
from mccomd_plugins import completions

from .asking import HALF, MODEL, PREFIX, RIGHT, WRONG, never_exploring, request, text_of, with_backend
from .large_model import LargeModel
from .record_vllm import asked
from .vllm_peer import Vllm

WIRE: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("vllm_wire.json").read_bytes())
NUMBER = re.compile(r"\d+")


@pytest.fixture(scope="module")
def model() -> LargeModel:
    return LargeModel()


@pytest.fixture
def server(model: LargeModel) -> Vllm:
    return Vllm(model)


@pytest.fixture
def peer(server: Vllm) -> Iterator[Peer]:
    with Peer(server) as running:
        yield running


# --- the peer is as the recorded server ------------------------------------------------------------------


def shape(found: Any) -> Any:
    """Keys and types; lists, and what is kept by a token, by the kinds of things in them."""
    if isinstance(found, dict):
        kinds = {key: shape(value) for key, value in sorted(found.items())}
        if found and all(key.isdigit() for key in found):
            return ["by id", _one_of_each(kinds.values())]
        if isinstance(found.get("top_logprobs"), list):
            kinds["top_logprobs"] = _one_of_each(
                row and ["by token", _one_of_each(map(shape, row.values()))] for row in found["top_logprobs"]
            )
        return kinds
    if isinstance(found, list):
        return _one_of_each(map(shape, found))
    return (
        "number" if isinstance(found, int | float) and not isinstance(found, bool) else type(found).__name__
    )


def _one_of_each(shapes: Iterable[Any]) -> list[Any]:
    return [json.loads(kind) for kind in sorted({json.dumps(one) for one in shapes})]


def objects_in(kind: str | None, body: str) -> list[Any]:
    if kind is not None and kind.startswith("text/event-stream"):
        assert body.endswith("data: [DONE]\n\n")
        return list(ServerSentEvents().feed(body.encode()))
    return [json.loads(body)] if body else []


@pytest.mark.parametrize("name", sorted(WIRE))
def test_the_peer_answers_as_the_recorded_server(peer: Peer, server: Vllm, name: str) -> None:
    server.n_ctx = 2048
    path, body = asked(MODEL)[name]
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(peer.url + path, data)) as answer:
            status, kind, text = answer.status, answer.headers.get("content-type"), answer.read().decode()
    except urllib.error.HTTPError as error:
        status, kind, text = error.code, error.headers.get("content-type"), error.read().decode()
    recorded = WIRE[name]
    assert (status, kind) == (recorded["status"], recorded["kind"])
    got, wanted = objects_in(kind, text), objects_in(kind, recorded["body"])
    if status != 200:
        assert got == wanted  # word for word: what is refused is read by people and by us
        return
    assert [shape(item) for item in got[-1:]] == [shape(item) for item in wanted[-1:]]
    assert {json.dumps(shape(item)) for item in got} == {json.dumps(shape(item)) for item in wanted}


def test_the_recording_has_every_question() -> None:
    assert set(WIRE) == set(asked(MODEL))


# --- what the recorded server's answers mean to us -------------------------------------------------------


def test_the_recorded_rows_are_read() -> None:
    (choice,) = json.loads(WIRE["scored"]["body"])["choices"]
    rows = [vllm_row(row) for row in choice["prompt_logprobs"]]
    assert rows[0] is None
    draft = last_rows(rows, " 3 4")
    assert "".join(row.text for row in draft) == " 3 4"
    assert all(row.logprob <= row.best_logprob <= 0 for row in draft)
    assert all(row.chosen == (row.text == row.best) for row in draft)


PARTS = [
    {"6": {"logprob": -4.1, "rank": 7, "decoded_token": "'"},
     "1355": {"logprob": -1.2, "rank": 1, "decoded_token": "input"}},
    {"9284": {"logprob": -0.1, "rank": 1, "decoded_token": ""}},
    {"104": {"logprob": -3.1, "rank": 4, "decoded_token": ""},
     "103": {"logprob": -0.7, "rank": 1, "decoded_token": ""}},
    {"254": {"logprob": -2.9, "rank": 2, "decoded_token": "🫠"},
     "94": {"logprob": -2.8, "rank": 1, "decoded_token": "🫡"}},
]  # fmt: skip


def test_a_character_of_several_tokens_is_scored_token_by_token() -> None:
    """As recorded with Qwen's tokenizer: two other parts have the same empty text, and one is not chosen."""
    rows = last_rows([vllm_row(row) for row in PARTS], "🫠")
    assert [row.text for row in rows] == ["", "", "🫠"]
    assert accept(rows) == 1
    assert not any(row.ends for row in rows)
    assert len(last_rows([vllm_row(row) for row in PARTS], "'🫠")) == 4


# --- the backend ------------------------------------------------------------------------------------------


def test_the_server_is_known_by_its_list_of_models(peer: Peer, server: Vllm) -> None:
    """No dialect is configured: it says who it is, how much it reads, and can score."""

    async def use(backend: StrategyBackend) -> Any:
        return await backend.probe()

    caps = with_backend(peer, use, never_exploring)["caps"]
    assert caps["keeps_prompts"]
    assert (caps["dialect"], caps["verify"], caps["n_ctx"]) == ("vllm", "vllm", server.n_ctx)
    assert not caps["reads_cache_when_scoring"]
    assert caps["score_token_ms"] > 0
    assert any("says that it is vllm" in note for note in caps["notes"])


def test_what_the_user_configured_is_not_overruled(peer: Peer) -> None:
    async def use(backend: StrategyBackend) -> Any:
        return await backend.probe()

    caps = with_backend(peer, use, never_exploring, dialect="together")["caps"]
    assert (caps["dialect"], caps["verify"]) == ("", "echo")


def test_another_model_is_an_error_that_names_those_there_are(peer: Peer) -> None:
    async def use(backend: StrategyBackend) -> None:
        with pytest.raises(CloudError, match=rf"`qwen` does not exist\. Valid aliases: {MODEL}"):
            await backend.probe()
        assert not backend.caps.proved

    with_backend(peer, use, never_exploring, dialect="vllm", model="qwen")


def test_markers_come_as_text_and_hold_nothing_back(peer: Peer, server: Vllm) -> None:
    """As 0.32.0 was met: stop strings of special tokens are never seen, and its text went on behind them."""
    server.says = ["width", " * height", "<|endoftext|>", "# Compute", " the area", "\n"]

    async def use(backend: StrategyBackend) -> str:
        return await text_of(backend, request(max_tokens=6))

    told = {"dialect": "vllm", "fim_template": "qwen", "strategy": "plain"}
    assert with_backend(peer, use, never_exploring, **told) == "width * height"
    (sent,) = [received.body for received in peer.posted()]
    assert sent["skip_special_tokens"] is False
    assert "stop" not in sent


def test_stop_strings_hold_text_back_at_this_peer(peer: Peer, server: Vllm) -> None:
    """So the test before this one can fail: with stops the peer behaves as the real one did."""
    server.says = list("abcdefgh")
    body = {"model": MODEL, "prompt": "x", "max_tokens": 8, "stream": True, "stop": ["<|fim|>"]}
    with urllib.request.urlopen(f"{peer.url}/v1/completions", json.dumps(body).encode()) as answer:
        events = ServerSentEvents().feed(answer.read())
    texts = [event["choices"][0]["text"] for event in events]
    assert texts == ["", "", "", "", "", "", "a", "bcdefgh"]


def test_a_draft_is_scored_without_an_answer_to_wait_for(peer: Peer) -> None:
    """The answer to a wrong draft is thrown away: a few tokens are asked for, not all."""

    async def use(backend: StrategyBackend) -> list[tuple[str, int, int]]:
        await backend.probe()
        done = []
        for draft in (RIGHT, WRONG):
            wanted = request(draft=draft)
            text = await text_of(backend, wanted)
            done.append((text, wanted.report.requests, wanted.report.accepted))
        return done

    (whole, one, all_of_it), (other, two, some) = with_backend(
        peer, use, never_exploring, dialect="vllm", strategy="verify"
    )
    assert whole == other == RIGHT
    assert (one, two) == (1, 2)
    assert all_of_it > some
    scored = [r.body for r in peer.posted() if "prompt_logprobs" in r.body]
    assert {body["max_tokens"] for body in scored} == {completions.SCORE_TOKENS}


def test_a_prompt_that_is_too_long_is_cut_after_its_refusal(peer: Peer, server: Vllm) -> None:
    """`at least 301 tokens` does not say how many: it is cut until it fits."""
    server.n_ctx = 300
    lines = "\n".join(f"value_{i} = {i}" for i in range(400))

    async def use(backend: StrategyBackend) -> tuple[str, int | None]:
        wanted = request(prefix=f"{lines}\n{PREFIX}")
        return await text_of(backend, wanted), backend.caps.n_ctx

    assert with_backend(peer, use, never_exploring, dialect="vllm", strategy="plain") == (RIGHT, 300)
    assert len(peer.posted()) <= 3


def test_one_cap_holds_for_both_calls(peer: Peer) -> None:
    """What goes on behind a draft may have the tokens that are left, not as many again."""
    draft = HALF

    async def use(backend: StrategyBackend) -> CloudRequest:
        await backend.probe()
        wanted = request(draft=draft, max_tokens=6)
        await text_of(backend, wanted)
        return wanted

    report = with_backend(peer, use, never_exploring, dialect="vllm", strategy="verify").report
    scored, streamed = (received.body for received in peer.posted()[-2:])
    assert "prompt_logprobs" in scored
    assert streamed["max_tokens"] == 6 - report.accepted - 1 > 0


@pytest.mark.parametrize("caches", [True, False])
def test_a_server_that_keeps_prompts_is_given_them_ahead(peer: Peer, server: Vllm, caches: bool) -> None:
    server.caches = caches

    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        backend.estimates.plain_took(100.0, 200.0, 10)
        await backend.probe()
        if backend.why_not_ahead():
            return backend.why_not_ahead(), request()
        await backend.prime_ahead(request(draft=HALF))
        wanted = request(draft=HALF)
        return await text_of(backend, wanted), wanted

    said, wanted = with_backend(peer, use, never_exploring, dialect="vllm")
    if not caches:
        assert said == "the endpoint has not proved that it can be primed"
        return
    ahead, asked_for = (received.body for received in peer.posted()[-2:])
    assert (ahead["max_tokens"], ahead["prompt"]) == (1, asked_for["prompt"])
    assert (said, wanted.report.strategy) == (RIGHT, "ahead")
