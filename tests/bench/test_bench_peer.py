"""The peer gets what our daemon had; the rest of peer.py needs llama.cpp and minutes, and is run by hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.keystroke import resolve_model
from mccomd.bench.measured import Block, Measured, Plan, figures_of
from mccomd.bench.own_daemon import cpu_seconds
from mccomd.bench.peer import CANDIDATES, Answer, prompt_of
from mccomd.bench.replay import Options, replay, windows
from mccomd.bench.traces import shipped_traces
from mccomd.engine import Tokenizer, load_manifest
from mccomd.engine.line_encoder import LineEncoder
from tests.conftest import Daemon


def test_the_peers_prompt_is_as_long_as_the_daemons(tmp_path: Path, start: Callable[..., Daemon]) -> None:
    daemon = start("[completion]\nsnippets = 0\n[power]\nmode = 'full'\n")
    folder = resolve_model("mccomd-135m")
    manifest = load_manifest(folder)
    encoder = LineEncoder(Tokenizer(folder, manifest.prompt.token_names(), manifest.vocab))
    answered = []
    with daemon.client() as client:
        for trace in windows(shipped_traces(), 16, 3):
            answered += replay(client, trace, Options(root=tmp_path), lambda _: None)
    by_model = [sample for sample in answered if sample.kind == "model"]
    assert by_model
    for sample in by_model:
        prompt = prompt_of(sample, manifest.prompt, encoder, 1024)
        assert sample.prefilled + sample.reused == len(prompt.ids)
    own, _ = cpu_seconds(daemon.process.pid)
    assert own > 0


def test_ratios_are_of_the_same_keystrokes(tmp_path: Path, daemon: Daemon) -> None:
    """A made-up peer that takes twice as long, over real answers."""
    plan = Plan(shipped_traces(), peer=True)
    with daemon.client() as client:
        (trace, *_) = windows(plan.traces, 24, 1)
        samples = replay(client, trace, Options(root=tmp_path), lambda _: None)
    samples = [replace(sample, kind="model") for sample in samples]
    theirs = [Answer(2 * sample.ms, 1, 2, 0, 0, "") for sample in samples]
    block = Block(trace.id, 0, samples, theirs, 1.0, 0.0, 3.0)
    measured = Measured(
        plan, "m", lambda _: 2, [block], [], [1.0], [2.0], [0.1], [0.2], settings=CANDIDATES[0]
    )
    figures: dict[str, Any] = figures_of(measured)
    for name in ("peer_ratio", "peer_ratio_model"):
        assert (figures[name]["p50"], figures[name]["p95"]) == (2.0, 2.0)
    assert figures["peer_ratio"]["n"] == len(samples) - 1
    assert figures["peer_ratio_model"]["p50_spread"] == [2.0, 2.0]
    assert figures["peer_ratio_cold"]["p50"] is None
    assert figures["peer"]["cpu_s_per_keystroke"] == pytest.approx(3 * figures["cpu_s_per_keystroke"], 0.01)


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
@pytest.mark.parametrize("settings", CANDIDATES, ids=lambda settings: settings.name)
def test_every_setting_is_one_that_llama_cpp_has(settings: Any) -> None:
    import xllamacpp

    from mccomd.bench.llama_server import parameters

    options = {"model": "m.gguf", "ctx_size": 1280, "threads": 2, "cache_reuse": settings.cache_reuse}
    found = parameters(xllamacpp, {**options, "spec": dict(settings.spec)})
    assert found.n_cache_reuse == settings.cache_reuse
    assert found.cpuparams.n_threads == found.cpuparams_batch.n_threads == 2
