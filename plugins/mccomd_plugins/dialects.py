"""What does each kind of OpenAI-compatible server take at `/completions`, and what does it add? Data.

vLLM as 0.32.0 was met (tests/cloud/vllm_wire.json); the others as their sources and SDKs say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mccomd.cloud.caps import Caps, Draft, Verify

__all__ = ["DIALECTS", "Dialect", "known_of"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server takes; `draft` and `verify` are used once the probe has seen them work."""

    path: str = "/v1"  # where the address has none
    suffix: bool = False  # fills in by a field of its own
    draft: Draft = "none"
    verify: Verify = "none"
    max_stops: int = 4
    usage: bool = True  # stream_options.include_usage
    caches: bool = False  # may keep what it has read of a prompt; tried by the probe
    special_text: bool = False  # skip_special_tokens: false makes markers text; then no stop strings
    reads_cache_when_scoring: bool = True
    bills_rejected: bool = False


DIALECTS = {
    "generic": Dialect(usage=False),
    # vLLM leaves special tokens out of its text and goes on behind them, so that a stop string of theirs is
    # never met; and it holds back as many characters as a stop string has: 1.0 s instead of 3.3 until the
    # first text with Qwen's markers (0.32.0 on a CPU).
    "vllm": Dialect(verify="vllm", reads_cache_when_scoring=False, special_text=True, caches=True),
    "sglang": Dialect(verify="sglang", caches=True),
    "fireworks": Dialect("/inference/v1", draft="speculation", verify="echo"),
    "together": Dialect(verify="echo"),
    "deepseek": Dialect("/beta", suffix=True, max_stops=16),
    "cerebras": Dialect(verify="echo"),
    "openai-legacy": Dialect(suffix=True),
}


def known_of(dialect: Dialect, caps: Caps) -> Caps:
    """What a dialect's documentation says of every server that speaks it."""
    return replace(
        caps,
        max_stops=dialect.max_stops,
        bills_rejected=dialect.bills_rejected,
        reads_cache_when_scoring=dialect.reads_cache_when_scoring,
    )
