"""One forward pass of the model: ids at the next positions in, logits of the wanted rows out.

The only importer of onnxruntime. Knows nothing of which ids stand in the cache (kv_cache.py) and of
when to stop (decode.py).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
from numpy.typing import NDArray

from mccomd.engine.artifact import GRAPH_FILE, Manifest
from mccomd.errors import ArtifactError, EngineError

__all__ = ["EngineOptions", "FloatArray", "Session"]

FloatArray = NDArray[np.float32]

MAX_DEFAULT_THREADS = 4  # beyond that a completion daemon takes more from the user than it gives
LOG_FATAL = 4  # ONNX Runtime prints to stderr; whatever goes wrong reaches us as an exception too


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs a model.

    prefill_chunk: chunks of 32, 64, 128 took 2357, 2235, 2205 ms for 960 tokens (2 AVX2 cores, 2026-11-23):
    64 costs 1 % over 128 and is interrupted twice as soon.
    """

    threads: int = 0  # 0: as many as physical cores, at most 4
    context_tokens: int = 2048  # prompt and completion together; the cache is made for so many
    prefill_chunk: int = 64  # tokens in one pass: the time between two looks at the cancel token


class Session:
    """A loaded model, a cache of keys and values, and the position the next id goes to.

    The cache is one buffer per layer and part that is past and present at once: each pass writes its rows
    behind the earlier ones, and lowering `position` is all it takes to forget (rows beyond it are never
    read). The buffers are mapped but not touched, so memory grows with the tokens that really came.
    """

    def __init__(self, folder: Path, manifest: Manifest, options: EngineOptions) -> None:
        """Load the model. Raises ArtifactError (wrong content) or EngineError (cannot run here)."""
        self.position = 0
        self.context_tokens = options.context_tokens
        self.chunk = options.prefill_chunk  # ids of one pass, by convention of the callers
        self._vocab = manifest.vocab
        self._session = _load(folder, options)
        _check_shapes(folder, manifest, self._session)
        self._binding = self._session.io_binding()
        self._cache = self._bind_cache(manifest)
        self._ids = np.zeros(options.context_tokens, np.int64)
        self._rows = np.arange(options.context_tokens, dtype=np.int64)
        self._past = np.zeros(1, np.int32)
        self._total = np.zeros(1, np.int32)
        self._logits = np.empty((self.chunk, manifest.vocab), np.float32)
        self._bind_input("seqlens_k", self._past, (1,))
        self._bind_input("total_sequence_length", self._total, ())

    def forward(self, ids: Sequence[int], n_logits: int) -> FloatArray:
        """Run ids at the next positions and move behind them.

        Returns float32 (n_logits, vocab), the logits of the last n_logits ids, 1 <= n_logits <= chunk;
        valid until the next call. Raises EngineError and stays at its position when the ids do not fit.
        """
        count = len(ids)
        self._check(ids, n_logits)
        self._ids[:count] = ids
        self._total[0] = self.position + count
        self._past[0] = self.position + count - 1
        self._bind_input("input_ids", self._ids, (1, count))
        self._bind_input("logit_idx", self._rows[count - n_logits :], (n_logits,))
        self._bind_output("logits", self._logits, (1, n_logits, self._vocab))
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EngineError(
                f"the model failed on {count} tokens at {self.position}: {_line(error)}"
            ) from error
        self.position += count
        return self._logits[:n_logits]

    def rewind(self, position: int) -> None:
        """Forget all ids from `position` on. Raises EngineError for a position not reached yet."""
        if not 0 <= position <= self.position:
            raise EngineError(f"cannot rewind to {position}, the cache holds {self.position} tokens")
        self.position = position

    def close(self) -> None:
        """Free the model and the cache; the session cannot be used afterwards."""
        del self._binding, self._session, self._cache, self._logits
        _return_freed_memory()

    def _check(self, ids: Sequence[int], n_logits: int) -> None:
        if not 1 <= n_logits <= min(len(ids), self.chunk):
            raise EngineError(f"{n_logits} rows of logits wanted of {len(ids)} ids, at most {self.chunk}")
        if self.position + len(ids) > self.context_tokens:
            raise EngineError(
                f"{len(ids)} ids at {self.position} exceed the context of {self.context_tokens}"
            )
        if min(ids) < 0 or max(ids) >= self._vocab:
            raise EngineError(f"ids must be 0..{self._vocab - 1}, found {min(ids)}..{max(ids)}")

    def _bind_cache(self, manifest: Manifest) -> list[FloatArray]:
        """Bind each layer's buffers as past and present; returns them, who must outlive the binding."""
        shape = (1, manifest.kv_heads, self.context_tokens, manifest.head_dim)
        buffers = []
        for layer in range(manifest.layers):
            for part in ("key", "value"):
                buffers.append(np.zeros(shape, np.float32))
                self._bind_input(f"past.{layer}.{part}", buffers[-1], shape)
                self._bind_output(f"present.{layer}.{part}", buffers[-1], shape)
        return buffers

    def _bind_input(self, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype, shape, array.ctypes.data)

    def _bind_output(self, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype, shape, array.ctypes.data)


def default_threads() -> int:
    """Physical cores this process may use, at most 4."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, usable, MAX_DEFAULT_THREADS))


def _session_options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_FATAL
    # Spinning threads are 20-30 % faster on an idle machine and 2 times slower when an editor, a language
    # server or a compiler wants the cores, which is the normal case (2 cores, 8-bit, 2026-11).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _load(folder: Path, options: EngineOptions) -> Any:
    settings = _session_options(options.threads or default_threads())
    try:
        return onnxruntime.InferenceSession(
            os.fspath(folder / GRAPH_FILE), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ArtifactError(f"{folder}: {GRAPH_FILE} cannot be loaded: {_line(error)}") from error


def _check_shapes(folder: Path, manifest: Manifest, session: Any) -> None:
    """Compare what the graph takes and gives with the manifest; the buffers are made from the latter."""
    graph = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    cache: list[int | str] = [1, manifest.kv_heads, "cache_tokens", manifest.head_dim]
    expected: dict[str, list[int | str]] = {
        "input_ids": [1, "tokens"],
        "logit_idx": ["rows"],
        "seqlens_k": [1],
        "total_sequence_length": [],
        "logits": [1, "rows", manifest.vocab],
    }
    for layer in range(manifest.layers):
        for part in ("key", "value"):
            expected[f"past.{layer}.{part}"] = expected[f"present.{layer}.{part}"] = cache
    for name in sorted(graph.keys() | expected.keys()):
        if graph.get(name) != expected.get(name):
            found, wanted = graph.get(name), expected.get(name)
            raise ArtifactError(f"{folder}: {name} in {GRAPH_FILE} is {found}, the manifest means {wanted}")


def _return_freed_memory() -> None:
    """Ask the allocator to give freed pages back; glibc alone keeps some 130 MB of a closed model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _line(error: Exception) -> str:
    """The first line of an error's text; ONNX Runtime appends addresses and stack traces."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
