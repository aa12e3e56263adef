"""The model on this machine: token ids in, token ids out.

Imports nothing of mccomd but errors and types. Not thread-safe: the daemon calls an engine from one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mccomd.engine.artifact import Manifest, PromptConvention, load_manifest, shipped_models, verify
from mccomd.engine.decode import (
    Early,
    Generation,
    Limits,
    Machinery,
    Request,
    StopRule,
    generate,
    prefill,
)
from mccomd.engine.kv_cache import Cached
from mccomd.engine.line_encoder import LineEncoder
from mccomd.engine.mixture import Known, Mixing, Mixture
from mccomd.engine.ngrams import LONGEST, Cache, Ids, Scan, Table, joined, keyed, ordered
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.spelling import Spelling
from mccomd.engine.tokenizer import Tokenizer
from mccomd.errors import EngineError
from mccomd.types import CancelToken

__all__ = [
    "LONGEST",
    "Cache",
    "Early",
    "Engine",
    "EngineOptions",
    "Generation",
    "Ids",
    "Known",
    "Limits",
    "LineEncoder",
    "Manifest",
    "Mixing",
    "Mixture",
    "PromptConvention",
    "Scan",
    "StopRule",
    "Table",
    "Tokenizer",
    "joined",
    "keyed",
    "load_manifest",
    "ordered",
    "shipped_models",
    "verify",
]


class Engine:
    """A loaded model, its tokenizer, and caches of the last prompts."""

    def __init__(self, folder: Path, options: EngineOptions | None = None) -> None:
        """Load a model folder, sizes checked and hashes not (`verify` does that).

        Raises ArtifactError (what stands in the folder) or EngineError (options the model cannot meet).
        """
        options = options or EngineOptions()
        self.manifest = load_manifest(folder)
        _check_options(self.manifest, options)
        self.tokenizer = Tokenizer(folder, self.manifest.prompt.token_names(), self.manifest.vocab)
        self.lines = LineEncoder(self.tokenizer)  # the same, for text that hardly changes
        stops = (self.tokenizer.token_id(name) for name in self.manifest.prompt.stop_tokens)
        end_ids = frozenset((*self.manifest.end_ids, *stops))
        self._machinery: Machinery | None = Machinery(
            cached=Cached(Session(folder, self.manifest, options)),
            end_ids=end_ids,
            spelling=Spelling(
                [b"" if i in end_ids else self.tokenizer.token_bytes(i) for i in range(self.manifest.vocab)]
            ),
            draft_tokens=options.draft_tokens,
        )

    def generate(
        self,
        prompt: Sequence[int],
        limits: Limits,
        stop: StopRule,
        cancel: CancelToken,
        *,
        heal: str = "",
        begins: Sequence[str] = (),
        early: Early | None = None,
        mixing: Mixing | None = None,
    ) -> Generation:
        """Continue the prompt greedily, first with `heal`, then with one of `begins`; see decode.generate.

        mixing: what is mixed with the model's probabilities; it goes on from where `heal` begins.

        The text of the ids begins with `tokenizer.decode(tokenizer.encode(heal))`, which is `heal` unless the
        vocabulary lacks a byte of it. Then its ids simply stand at the end of the prompt and at the
        beginning of the result.
        """
        machinery, raw = self._open(), heal.encode()
        starts = tuple(start.encode() for start in begins)
        if not all(map(machinery.spelling.can_spell, starts)):
            starts = ()
        spelt = tuple(self.tokenizer.encode(heal)) if heal else ()
        if machinery.spelling.can_spell(raw):
            request = Request(limits, stop, cancel, early, raw, spelt, starts, mixing)
            return generate(machinery, prompt, request)

        def stop_behind(ids: Sequence[int]) -> bool:
            return stop([*spelt, *ids])

        behind = None if mixing is None else mixing.behind(spelt)
        request = Request(limits, stop_behind, cancel, early, begins=starts, mixing=behind)
        found = generate(machinery, [*prompt, *spelt], request)
        return replace(found, ids=(*spelt, *found.ids), healed=len(spelt))

    def bytes_of(self, token_id: int) -> bytes:
        """The text of an id; b"" of one that ends an answer or stands for no text."""
        return self._open().spelling.bytes_of(token_id)

    def prefill(self, prompt: Sequence[int], cancel: CancelToken) -> int:
        """Read ahead, giving way within a small pass; returns the tokens prefilled; see decode.prefill."""
        return prefill(self._open().cached, prompt, cancel)

    def close(self) -> None:
        """Give the model's memory back; the engine cannot be used afterwards. Closing twice is allowed."""
        if self._machinery is not None:
            self._machinery.cached.session.close()
        self._machinery = None

    def _open(self) -> Machinery:
        if self._machinery is None:
            raise EngineError("the engine is closed")
        return self._machinery


def _check_options(manifest: Manifest, options: EngineOptions) -> None:
    if not 2 <= options.context_tokens <= manifest.context_tokens:
        raise EngineError(
            f"context_tokens is {options.context_tokens}, {manifest.name} takes 2..{manifest.context_tokens}"
        )
    least = {"prefill_chunk": 1, "background_chunk": 1, "slots": 1, "threads": 0, "draft_tokens": 0}
    for name, low in least.items():
        if getattr(options, name) < low:
            raise EngineError(f"{name} is {getattr(options, name)}, at least {low} is possible")
