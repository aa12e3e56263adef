"""The shipped model as somebody's large model: text in, real log probabilities and greedy text out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from mccomd.bench.keystroke import resolve_model
from mccomd.engine import Tokenizer, load_manifest
from mccomd.engine.session import EngineOptions, FloatArray, Session

__all__ = ["LargeModel", "Token"]

CONTEXT = 1024
Token = tuple[int, str, float]  # id, text, log probability


class LargeModel:
    """Loaded at its first use; one request at a time."""

    def __init__(self, name: str = "mccomd-135m") -> None:
        """name: of a model that lies in this repository."""
        self._name = name
        self._lock = threading.Lock()

    @cached_property
    def _loaded(self) -> tuple[Session, Tokenizer, list[int], int]:
        folder = resolve_model(self._name)
        manifest = load_manifest(folder)
        tokenizer = Tokenizer(folder, manifest.prompt.token_names(), manifest.vocab)
        bos = [tokenizer.token_id(manifest.prompt.bos)] if manifest.prompt.bos else []
        session = Session(folder, manifest, EngineOptions(threads=1, context_tokens=CONTEXT, slots=1))
        return session, tokenizer, bos, manifest.vocab

    def encode(self, text: str) -> list[int]:
        """As a server reads a prompt: with the model's first token."""
        _, tokenizer, bos, _ = self._loaded
        return [*bos, *tokenizer.encode(text)]

    def text(self, token: int) -> str:
        return self._loaded[1].decode([token])

    def prompt_rows(self, ids: Sequence[int]) -> FloatArray:
        """float32 (len(ids), vocab): log probabilities of what follows each id."""
        return self._rows_of(tuple(ids))

    def greedy(self, ids: Sequence[int], most: int) -> list[Token]:
        """Up to so many tokens; the end token is not among them."""
        return self._greedy(tuple(ids), most)

    @lru_cache(maxsize=8)  # noqa: B019 - one model a test session, asked for the same prompts again and again
    def _rows_of(self, ids: tuple[int, ...]) -> FloatArray:
        session = self._loaded[0]
        with self._lock:
            session.rewind(0)
            rows = [_log_softmax(session.forward(ids[i : i + 64], len(ids[i : i + 64])).copy())
                    for i in range(0, len(ids), 64)]  # fmt: skip
        return np.concatenate(rows)

    @lru_cache(maxsize=256)  # noqa: B019
    def _greedy(self, ids: tuple[int, ...], most: int) -> list[Token]:
        session, tokenizer, _, _ = self._loaded
        ends = {tokenizer.token_id(name) for name in ("<|endoftext|>", "<|im_end|>") if _has(tokenizer, name)}
        found: list[Token] = []
        with self._lock:
            session.rewind(0)
            for i in range(0, len(ids), 64):
                row = session.forward(ids[i : i + 64], 1)[0].copy()
            for _ in range(most):
                chosen = int(row.argmax())
                if chosen in ends:
                    break
                found.append((chosen, tokenizer.decode([chosen]), float(_log_softmax(row[None])[0, chosen])))
                row = session.forward([chosen], 1)[0].copy()
        return found

    def complete(self, prompt: str, most: int) -> str:
        """The oracle: what this model answers to a prompt."""
        return self._loaded[1].decode([token for token, _, _ in self.greedy(self.encode(prompt), most)])


def _has(tokenizer: Tokenizer, name: str) -> bool:
    try:
        tokenizer.token_id(name)
    except Exception:  # noqa: BLE001 - the vocabulary lacks it
        return False
    return True


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
