"""What does one more keystroke cost, end to end, and what does it cost with llama.cpp instead?

Each repeat has a daemon of its own (and, with a peer, a server of its own): cold buffers first, then the
traces in turn. With a peer every trace is a block, run once by us and once by it, A B A B through the whole
run; it answers the prompts that our daemon had, with as many tokens as we gave.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mccomd.bench.measured import Block, Measured, Plan
from mccomd.bench.own_daemon import Company, OwnDaemon, cpu_seconds
from mccomd.bench.peer import Ask, LlamaServer, Settings, choose, physical_cores, prompt_of, require
from mccomd.bench.replay import Options, Sample, cold, cold_texts, replay, windows
from mccomd.bench.weights import gguf_of
from mccomd.client import Client
from mccomd.config import CompletionConfig, ModelConfig
from mccomd.engine import Manifest, Tokenizer, load_manifest
from mccomd.engine.line_encoder import LineEncoder
from mccomd.errors import MccomdError
from mccomd.model import ROOM_TOKENS, model_folder
from mccomd.paths import find_paths
from mccomd.prompt import Encoder

__all__ = ["bench_keystroke", "keystrokes_of", "resolve_model"]

COLD_TOKENS = 980  # with the file's header about 1,000; the prompt's budget is 1,024
CHOOSING_KEYSTROKES = 24


@dataclass(frozen=True)
class _Setup:
    """What all repeats share."""

    plan: Plan
    folder: Path
    manifest: Manifest
    encoder: Encoder
    gguf: Path | None

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Of the daemon: no snippets where no repository is, and never thrifty because we make load."""
        completion = {} if self.plan.repository else {"snippets": 0}
        return {
            "model": {"folder": str(self.folder)},
            "completion": completion,
            "power": {"mode": "full"},
        }

    def ask(self, sample: Sample) -> Ask:
        """The same work for the peer: our prompt with the text as typed, and as many tokens as we gave.

        Its own clients send the word at the cursor, which we leave out for the model to write again. Without
        it (until 2026-11-26) the peer got one prompt for a whole word and drafted its own last answer.
        """
        prompt_tokens = ModelConfig().context_tokens
        prompt = prompt_of(sample, self.manifest.prompt, self.encoder, prompt_tokens)
        word = self.encoder.encode(prompt.healed)
        tokens = self.generated(sample, prompt.healed) - len(word)
        return Ask((*prompt.ids, *word), max(1, tokens), len(word))

    def generated(self, sample: Sample, healed: str = "") -> int:
        """Tokens of an answer: those decoded where the daemon says so, else those that its text shows.

        The text shows too few: what was cut off behind it was decoded too (438 and not 304 tokens in 30
        answers of the shipped traces, 2026-11-23), which makes the peer's work less than ours.

        healed: what the prompt leaves out of the text before the cursor, for the answer to begin with.
        """
        if sample.generated:
            return sample.generated
        if sample.kind == "model" and sample.finish == "length":
            return CompletionConfig().max_tokens
        ending = sample.kind == "model" and sample.finish == "stop"  # the token that showed the end
        return len(self.encoder.encode(healed + sample.text)) + ending


def resolve_model(model: str) -> Path:
    """The folder of a model by name, or the folder itself. Raises ArtifactError."""
    if os.path.isfile(os.path.join(model, "manifest.json")):
        return Path(model).resolve()
    return model_folder(ModelConfig(name=model), find_paths().data_dir)


def keystrokes_of(plan: Plan) -> int:
    """Requests that a run will send, for a progress bar."""
    cut = windows(plan.traces, plan.keystrokes, plan.seed)
    return plan.repeats * (sum(trace.keystrokes for trace in cut) + plan.cold)


def bench_keystroke(
    plan: Plan, advance: Callable[[int], None] = lambda _: None, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """Run the plan. `advance` is told of requests answered, `say` what takes long beside them.

    Raises MccomdError.
    """
    if plan.peer:
        require()
        if plan.repository:
            raise MccomdError("the peer reads no snippets: leave out --repository or --peer")
    setup = _set_up(plan, say)
    measured = Measured(plan, setup.manifest.name, setup.generated, load_before=_load())
    company = Company()
    if setup.gguf is not None:
        say("trying llama.cpp's settings")
        measured.settings, measured.tried = _choose(setup)
    for repeat in range(plan.repeats):
        _repeat(setup, measured, repeat, advance)
    measured.others_share = company.share()
    return measured


def _set_up(plan: Plan, say: Callable[[str], None]) -> _Setup:
    folder = resolve_model(plan.model)
    manifest = load_manifest(folder)
    encoder = LineEncoder(Tokenizer(folder, manifest.prompt.token_names(), manifest.vocab))
    gguf = None
    if plan.peer:
        gguf = gguf_of(manifest.name, folder, plan.gguf, find_paths().cache_dir / "bench", say)
    return _Setup(plan, folder, manifest, encoder, gguf)


def _choose(setup: _Setup) -> tuple[Settings, list[dict[str, Any]]]:
    """Try the peer's settings on other stretches of the traces than those that will be measured."""
    plan = setup.plan
    with OwnDaemon(setup.options) as daemon, daemon.client() as client:
        options = Options(root=daemon.home)
        samples: list[Sample] = []
        for trace in windows(plan.traces, CHOOSING_KEYSTROKES, plan.seed + 1):
            samples += replay(client, trace, options, lambda _: None)
    assert setup.gguf is not None
    asks = [(setup.ask(sample), sample.role == "keystroke") for sample in samples]
    return choose(setup.gguf, asks, _context(), physical_cores())


def _context() -> int:
    return ModelConfig().context_tokens + ROOM_TOKENS


def _repeat(setup: _Setup, measured: Measured, repeat: int, advance: Callable[[int], None]) -> None:
    plan = setup.plan
    with ExitStack() as stack:
        daemon = stack.enter_context(OwnDaemon(setup.options))
        client = stack.enter_context(daemon.connect(Client, updates=True))  # as editors are
        server = None
        if setup.gguf is not None and measured.settings is not None:
            server = stack.enter_context(
                LlamaServer(setup.gguf, measured.settings, _context(), physical_cores())
            )
        measured.start_s.append(daemon.start_s)
        measured.first_answer_s.append(daemon.first_answer_s)
        options = Options(plan.pace, (plan.repository or daemon.home).resolve())
        if plan.repository:
            client.call("refresh", {"path": str(options.root)}, timeout_s=3600)
        for name, text in _cold_texts(setup, repeat):
            block = Block(name, repeat, [cold(client, name, text, options)])
            _ask_peer(setup, measured, block, server)
            measured.cold.append(block)
            advance(1)
        for trace in windows(plan.traces, plan.keystrokes, plan.seed):
            own, children = cpu_seconds(daemon.pid)
            block = Block(trace.id, repeat, replay(client, trace, options, advance))
            own_after, children_after = cpu_seconds(daemon.pid)
            block.cpu_s, block.cpu_children_s = own_after - own, children_after - children
            _ask_peer(setup, measured, block, server)
            measured.blocks.append(block)
        measured.rss_mb.append(client.call("status")["rss_mb"])
        if server is not None:
            measured.peer_rss_mb.append(server.rss_mb)


def _cold_texts(setup: _Setup, repeat: int) -> Iterator[tuple[str, str]]:
    plan = setup.plan
    seed = f"{plan.seed} {repeat}"

    def count_tokens(text: str) -> int:
        return len(setup.encoder.encode(text))

    texts = cold_texts(plan.traces, plan.cold, COLD_TOKENS, count_tokens, seed)
    for number, text in enumerate(texts):
        yield f"cold_{repeat}_{number}", text


def _ask_peer(setup: _Setup, measured: Measured, block: Block, server: LlamaServer | None) -> None:
    """The same block again, by the peer."""
    if server is None:
        return
    asks = [setup.ask(sample) for sample in block.ours]
    for sample, ask in zip(block.ours, asks, strict=True):
        read = sample.prefilled + sample.reused
        measured.other_prompts += sample.kind == "model" and read != len(ask.ids) - ask.word
    server.connect()
    cpu, _ = cpu_seconds(server.pid)
    block.theirs = [server.ask(ask) for ask in asks]
    block.peer_cpu_s = cpu_seconds(server.pid)[0] - cpu


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0
