"""Every strategy on a peer with real logits gives the text that the plain request gives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.endpoint import FAULTS, Handler, Out, Peer, Received
from mccomd.cloud.backend import StrategyBackend
from mccomd.errors import CloudError, PluginError
from mccomd.hooks import CloudRequest, PluginContext
from mccomd.outgoing import Endpoint
from mccomd_plugins import chat, completions, llamacpp, mistral, ollama

from .asking import HALF, PREFIX, RIGHT, WRONG, of_plugin, request, text_of, with_backend
from .dialects import Server
from .large_model import LargeModel


@pytest.fixture(scope="session")
def model() -> LargeModel:
    return LargeModel()


@pytest.fixture
def server(model: LargeModel) -> Server:
    return Server(model)


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    with Peer(server) as running:
        yield running


def plain_text(peer: Peer) -> str:
    return str(with_backend(peer, lambda backend: text_of(backend, request()), strategy="plain"))


def test_the_plain_answer_is_one_statement(peer: Peer) -> None:
    assert plain_text(peer) == RIGHT  # what follows in this test file hangs on it


@pytest.mark.parametrize("draft", [RIGHT, HALF, WRONG, RIGHT + " * 2"])
@pytest.mark.parametrize(
    ("dialect", "strategy"),
    [("vllm", "verify"), ("sglang", "verify"), ("together", "verify"), ("fireworks", "verify"),
     ("fireworks", "native")],
)  # fmt: skip
def test_a_draft_changes_the_time_and_never_the_text(
    peer: Peer, dialect: str, strategy: str, draft: str
) -> None:
    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        asked = request(draft)
        return await text_of(backend, asked), asked

    url = f"{peer.url}/v1"  # Fireworks' usual path is another one
    text, asked = with_backend(peer, use, dialect=dialect, strategy=strategy, url=url)
    assert asked.report.strategy == strategy, asked.report.why
    assert text == RIGHT
    whole = draft == RIGHT
    assert (asked.report.accepted == asked.report.drafted) == whole
    assert asked.report.accepted > 0 or draft == WRONG
    assert asked.report.drafted > 3


def test_a_verified_draft_needs_one_request(peer: Peer) -> None:
    async def use(backend: StrategyBackend) -> list[int]:
        await backend.probe()
        asked = [request(RIGHT), request(HALF)]
        for one in asked:
            await text_of(backend, one)
        return [one.report.requests for one in asked]

    assert with_backend(peer, use, dialect="vllm", strategy="verify") == [1, 2]


def test_what_the_user_rejected_is_not_shown_again(peer: Peer) -> None:
    """The large model agrees with the rejected text: another way where rows tell one, else nothing."""

    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        asked = request(RIGHT, rejected=True)
        return await text_of(backend, asked), asked

    text, asked = with_backend(peer, use, dialect="sglang", strategy="verify")
    assert text
    assert text != RIGHT
    assert "another way" in asked.report.why
    for strategy, dialect in (("plain", "vllm"), ("native", "fireworks")):
        text, asked = with_backend(peer, use, dialect=dialect, strategy=strategy, url=f"{peer.url}/v1")
        assert (text, asked.report.dropped) == ("", "it is what the user rejected")


def test_a_rejected_draft_is_realigned_with_what_was_typed_since(peer: Peer) -> None:
    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        typed = "self."
        asked = request("self_.width * self.height", typed=typed, prefix=PREFIX + typed, rejected=True)
        return await text_of(backend, asked), asked

    text, asked = with_backend(peer, use, dialect="vllm", strategy="verify")
    assert (text, asked.report.requests) == ("width * self.height", 1)
    assert asked.report.accepted == asked.report.drafted > 0


def test_the_newest_local_answer_is_the_draft_where_the_rejected_one_is_of_no_use(peer: Peer) -> None:
    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        asked = request(WRONG, rejected=True, alternatives=("", RIGHT))
        return await text_of(backend, asked), asked

    text, asked = with_backend(peer, use, dialect="vllm", strategy="verify")
    assert (text, asked.report.requests) == (RIGHT, 1)


# --- what an endpoint can do is proved, not believed -------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "ignored"),
    [("vllm", "prompt_logprobs"), ("sglang", "return_logprob"), ("together", "echo"),
     ("together", "logprobs"), ("fireworks", "echo")],
)  # fmt: skip
def test_a_silently_ignored_field_is_no_capability(
    peer: Peer, server: Server, dialect: str, ignored: str
) -> None:
    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        asked = request(RIGHT)
        return await text_of(backend, asked), asked

    server.ignores = {ignored, "speculation"}
    text, asked = with_backend(peer, use, dialect=dialect, url=f"{peer.url}/v1", strategy="verify")
    assert (text, asked.report.strategy) == (RIGHT, "plain")
    assert asked.report.why == "the endpoint has not proved that it can verify"


def test_capabilities_are_remembered_and_damage_is_forgotten(peer: Peer, tmp_path: Path) -> None:
    async def probe(backend: StrategyBackend) -> Any:
        return (await backend.probe())["caps"]

    async def known(backend: StrategyBackend) -> bool:
        return backend.caps.proved

    first = with_backend(peer, probe, of_plugin(cache=tmp_path), dialect="vllm")
    assert first["verify"] == "vllm"
    assert with_backend(peer, known, of_plugin(cache=tmp_path), dialect="vllm")
    assert not with_backend(peer, known, of_plugin(cache=tmp_path), dialect="sglang")
    (kept,) = tmp_path.iterdir()
    for damage in (b"", b"{}", b"[" * 900, b'{"draft": 3}', b"\xff"):
        kept.write_bytes(damage)
        assert not with_backend(peer, known, of_plugin(cache=tmp_path), dialect="vllm")


def test_a_refused_field_is_left_out_and_asked_once_more(peer: Peer, server: Server) -> None:
    async def use(backend: StrategyBackend) -> list[str]:
        return [await text_of(backend, request()) for _ in range(2)]

    server.refuses = {"stop", "stream_options"}
    assert with_backend(peer, use, dialect="vllm", strategy="plain") == [RIGHT, RIGHT]
    fields = [set(received.body) & {"stop", "stream_options"} for received in peer.posted()]
    assert fields[0] == {"stop", "stream_options"} or fields[0] == {"stream_options"}
    assert fields[-1] == set()
    assert len(fields) <= 4


def test_a_context_that_is_too_long_is_cut_to_what_the_endpoint_says(peer: Peer, server: Server) -> None:
    server.n_ctx = 300
    lines = "\n".join(f"value_{i} = {i}" for i in range(400))

    async def use(backend: StrategyBackend) -> tuple[str, int | None]:
        return await text_of(backend, request(prefix=f"{lines}\n{PREFIX}")), backend.caps.n_ctx

    assert with_backend(peer, use, dialect="vllm", strategy="plain") == (RIGHT, 300)
    assert [len(received.body["prompt"]) > 1000 for received in peer.posted()] == [True, False]


# --- the other backends ---------------------------------------------------------------------------------


@pytest.fixture
def as_typed(model: LargeModel) -> str:
    """The model's line where the prompt keeps its blank at the end, as fields for both sides do."""
    return model.complete(PREFIX, 24).split("\n")[0].strip()


def test_mistrals_fields(peer: Peer, as_typed: str) -> None:
    text = with_backend(peer, lambda backend: text_of(backend, request()), of_plugin(mistral))
    assert text.strip() == as_typed
    (asked,) = peer.posted("/v1/fim/completions")
    assert asked.body["suffix"] == "\n"


@pytest.mark.parametrize("insert", [True, False])
def test_ollama_with_and_without_insert(peer: Peer, server: Server, insert: bool, as_typed: str) -> None:
    server.insert = insert

    async def use(backend: StrategyBackend) -> list[str]:
        return [(await text_of(backend, request())).strip() for _ in range(2)]

    assert with_backend(peer, use, of_plugin(ollama)) == [as_typed if insert else RIGHT] * 2
    raw = [received.body.get("raw", False) for received in peer.posted("/api/generate")]
    assert raw == ([False, False] if insert else [False, True, True])


@pytest.mark.parametrize(
    "frame",
    ["<COMPLETION>%s</COMPLETION>", "%s", "```python\n%s\n```",
     "<COMPLETION>\n```python\n%s\n```\n</COMPLETION>",
     "        return %s", "    def area(self):\n        return %s\n\nThat is the area."],
)  # fmt: skip
def test_a_chat_models_wrapping_is_taken_off(peer: Peer, server: Server, frame: str, as_typed: str) -> None:
    server.chat_frame = frame
    text = with_backend(peer, lambda backend: text_of(backend, request()), of_plugin(chat))
    assert text.strip() == as_typed


def test_a_prediction_is_framed_as_the_answer(peer: Peer, as_typed: str) -> None:
    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        status = await backend.probe()
        assert status["caps"]["draft"] == "prediction", status
        asked = request(as_typed)
        return await text_of(backend, asked), asked

    text, asked = with_backend(peer, use, of_plugin(chat), dialect="openai", strategy="native")
    assert (text.strip(), asked.report.strategy) == (as_typed, "native")
    assert peer.posted()[-1].body["prediction"] == {"type": "content", "content": f"<COMPLETION>{as_typed}"}
    assert asked.report.accepted > 0


def test_a_cap_under_its_new_name(peer: Peer, server: Server, as_typed: str) -> None:
    server.refuses_in_chat = {"max_tokens"}
    text = with_backend(peer, lambda backend: text_of(backend, request()), of_plugin(chat), dialect="openai")
    assert text.strip() == as_typed
    assert [("max_tokens" in r.body, "max_completion_tokens" in r.body) for r in peer.posted()] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("plugin", "fields", "said"),
    [
        (completions, {"dialect": "klingon"}, "there are generic, vllm"),
        (completions, {"model": ""}, "needs cloud.url and cloud.model"),
        (completions, {"fim_template": "none such"}, "none such"),
        (mistral, {"dialect": "vllm"}, "there are mistral, inception"),
        (llamacpp, {"dialect": "x"}, "has no dialects"),
        (ollama, {"model": ""}, "cloud.model"),
        (chat, {"dialect": "x"}, "there are generic, openai"),
    ],
)
def test_a_wrong_configuration_is_a_plugins_state(plugin: Any, fields: dict[str, str], said: str) -> None:
    context = PluginContext({}, None, object(), Endpoint("http://h/v1", **({"model": "m"} | fields)), "")  # type: ignore[arg-type]
    with pytest.raises((PluginError, KeyError), match=said):
        plugin.mccomd_backends(context)


@pytest.mark.parametrize("plugin", [completions, mistral, llamacpp, ollama, chat])
def test_no_endpoint_no_backend(plugin: Any) -> None:
    assert plugin.mccomd_backends(PluginContext({}, None)) == []  # type: ignore[arg-type]


# --- whatever a strategy does wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["internal", "error_inside", "wrong_json", "hang_up", "cut", "web_page", "huge"]
)
def test_a_failing_strategy_becomes_a_plain_request(peer: Peer, server: Server, name: str) -> None:
    async def scoring_fails(received: Received, out: Out) -> None:
        broken: Handler = FAULTS[name]
        await (broken if "prompt_logprobs" in received.body else server)(received, out)

    async def use(backend: StrategyBackend) -> tuple[str, CloudRequest]:
        await backend.probe()
        peer.handler = scoring_fails
        asked = request(RIGHT)
        return await text_of(backend, asked), asked

    text, asked = with_backend(peer, use, dialect="vllm", strategy="verify")
    assert (text, asked.report.strategy) == (RIGHT, "plain")
    assert asked.report.why.startswith("verify failed: ")


def test_a_strategy_that_fails_again_and_again_is_switched_off(peer: Peer, server: Server) -> None:
    async def scoring_fails(received: Received, out: Out) -> None:
        if "prompt_logprobs" in received.body:
            await out.json({"choices": [{"text": "", "prompt_logprobs": None}]})
        else:
            await server(received, out)

    async def use(backend: StrategyBackend) -> str:
        await backend.probe()
        peer.handler = scoring_fails
        for _ in range(4):
            asked = request(RIGHT)
            assert await text_of(backend, asked) == RIGHT
        assert "failed 3 times in a row" in asked.report.why
        return str(backend.status()["strategies"]["verify"]["off"])

    off = with_backend(peer, use, dialect="vllm", strategy="verify")
    assert off == "failed 3 times in a row: the endpoint ignores prompt_logprobs"


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"slow_drip"}))
@pytest.mark.parametrize("plugin", [completions, mistral, llamacpp, ollama, chat])
def test_no_misbehaviour_is_more_than_an_error_or_a_shorter_answer(plugin: Any, name: str) -> None:
    async def use(backend: StrategyBackend) -> str:
        try:
            return await text_of(backend, request(deadline=time.monotonic() + 0.5))
        except CloudError as error:
            return f"error: {error}"

    with Peer(FAULTS[name]) as peer:
        said = with_backend(peer, use, of_plugin(plugin), strategy="plain")
    # What is too long is cut at the statement.
    assert said.startswith("error: ") or name in ("huge", "stall"), said
