"""The model on this machine: token ids in, token ids out.

Imports nothing of mccomd but errors and types. Not thread-safe: the daemon calls an engine from one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mccomd.engine.artifact import Manifest, PromptConvention, load_manifest, shipped_models, verify
from mccomd.engine.decode import Generation, Limits, StopRule, generate, prefill
from mccomd.engine.kv_cache import Cached
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.tokenizer import Tokenizer
from mccomd.errors import EngineError
from mccomd.types import CancelToken

__all__ = [
    "Engine",
    "EngineOptions",
    "Generation",
    "Limits",
    "Manifest",
    "PromptConvention",
    "StopRule",
    "Tokenizer",
    "load_manifest",
    "shipped_models",
    "verify",
]


class Engine:
    """A loaded model, its tokenizer, and a cache of the last prompt."""

    def __init__(self, folder: Path, options: EngineOptions | None = None) -> None:
        """Load a model folder, sizes checked and hashes not (`verify` does that).

        Raises ArtifactError (what stands in the folder) or EngineError (options the model cannot meet).
        """
        options = options or EngineOptions()
        self.manifest = load_manifest(folder)
        _check_options(self.manifest, options)
        self.tokenizer = Tokenizer(folder, self.manifest.prompt.token_names(), self.manifest.vocab)
        stops = (self.tokenizer.token_id(name) for name in self.manifest.prompt.stop_tokens)
        self._end_ids = frozenset((*self.manifest.end_ids, *stops))
        self._cached: Cached | None = Cached(Session(folder, self.manifest, options))

    def generate(
        self, prompt: Sequence[int], limits: Limits, stop: StopRule, cancel: CancelToken
    ) -> Generation:
        """Continue the prompt greedily; see decode.generate."""
        return generate(self._open(), prompt, limits, stop, cancel, self._end_ids)

    def prefill(self, prompt: Sequence[int], cancel: CancelToken) -> int:
        """Warm the cache; returns the tokens prefilled; see decode.prefill."""
        return prefill(self._open(), prompt, cancel)

    def close(self) -> None:
        """Give the model's memory back; the engine cannot be used afterwards. Closing twice is allowed."""
        if self._cached is not None:
            self._cached.session.close()
        self._cached = None

    def _open(self) -> Cached:
        if self._cached is None:
            raise EngineError("the engine is closed")
        return self._cached


def _check_options(manifest: Manifest, options: EngineOptions) -> None:
    if not 2 <= options.context_tokens <= manifest.context_tokens:
        raise EngineError(
            f"context_tokens is {options.context_tokens}, {manifest.name} takes 2..{manifest.context_tokens}"
        )
    if options.prefill_chunk < 1 or options.threads < 0:
        raise EngineError(f"prefill_chunk is {options.prefill_chunk}, threads {options.threads}: too small")
