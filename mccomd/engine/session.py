"""One forward pass of the model: ids at the next positions in, logits of the wanted rows out.

The only importer of onnxruntime. Knows nothing of which ids stand in the cache (kv_cache.py) and of
when to stop (decode.py).
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from mccomd.engine.artifact import GRAPH_FILE, Manifest
from mccomd.errors import ArtifactError, EngineError

# Since 1.32 the library sends its vendor telemetry over the network, some seconds after the first session;
# its disable_telemetry_events() does not stop that, this does, where it is set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

__all__ = ["EngineOptions", "FloatArray", "Session"]

FloatArray = NDArray[np.float32]

MAX_DEFAULT_THREADS = 4  # beyond that a completion daemon takes more from the user than it gives
SPIN_US = 8
LOG_FATAL = 4  # ONNX Runtime prints to stderr; whatever goes wrong reaches us as an exception too


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs a model.

    prefill_chunk: chunks of 32, 64, 128 took 2357, 2235, 2205 ms for 960 tokens (2 AVX2 cores, 2026-11-23):
    64 costs 1 % over 128 and is interrupted twice as soon. background_chunk: 16 reads 17 % slower than 64 and
    gives way in 43 ms. draft_tokens: a pass over 8 ids took 3 times one over 1 (models/LOG.md).
    """

    threads: int = 0  # 0: as many as physical cores, at most 4
    context_tokens: int = 2048  # prompt and completion together; the cache is made for so many
    prefill_chunk: int = 64  # tokens in one pass: the time between two looks at the cancel token
    background_chunk: int = 16  # the same for what is read ahead: a keystroke waits for no more than this
    slots: int = 2  # sequences kept; each takes memory for the tokens that really came
    draft_tokens: int = 7  # most ids guessed ahead in one pass; 0: none


@dataclass(slots=True)
class _Slot:
    """One sequence: its keys and values, one buffer a layer and part, and where the next id goes."""

    binding: Any
    buffers: FloatArray  # (2 * layers, kv_heads, context, head_dim); must outlive the binding
    position: int = 0


class Session:
    """A loaded model, and slots with a cache of keys and values each; one slot is in use at a time.

    A cache is one buffer per layer and part that is past and present at once: each pass writes its rows
    behind the earlier ones, and lowering `position` is all it takes to forget (rows beyond it are never
    read). The buffers are mapped and not touched, so memory grows with the tokens that really came.
    """

    def __init__(self, folder: Path, manifest: Manifest, options: EngineOptions) -> None:
        """Load the model. Raises ArtifactError (wrong content) or EngineError (cannot run here)."""
        self.context_tokens = options.context_tokens
        self.chunk = options.prefill_chunk  # ids of one pass, by convention of the callers
        self.background_chunk = min(options.background_chunk, options.prefill_chunk)
        self._most_rows = max(options.prefill_chunk, options.draft_tokens + 1)
        self._vocab = manifest.vocab
        self._session = _load(folder, options)
        _return_freed_memory()  # 9 MB: what the weights were copied through
        _check_shapes(folder, manifest, self._session)
        self._ids = np.zeros(options.context_tokens, np.int64)
        self._rows = np.arange(options.context_tokens, dtype=np.int64)
        self._past = np.zeros(1, np.int32)
        self._total = np.zeros(1, np.int32)
        self._logits = np.empty((self._most_rows, manifest.vocab), np.float32)
        self._slots = [self._make_slot(manifest) for _ in range(options.slots)]
        self._at = self._slots[0]

    @property
    def slots(self) -> int:
        return len(self._slots)

    @property
    def position(self) -> int:
        """Where the next id of the slot in use goes."""
        return self._at.position

    def use(self, slot: int) -> None:
        """Put another slot, 0 <= slot < slots, in use."""
        self._at = self._slots[slot]

    def copy_from(self, slot: int, count: int) -> None:
        """Make the slot in use begin with the first `count` ids of another one, and hold nothing else."""
        source = self._slots[slot]
        if not 0 <= count <= source.position:
            raise EngineError(f"cannot copy {count} tokens, the slot holds {source.position}")
        self._at.buffers[:, :, :count] = source.buffers[:, :, :count]
        self._at.position = count

    def forward(self, ids: Sequence[int], n_logits: int) -> FloatArray:
        """Run ids at the next positions and move behind them.

        Returns float32 (n_logits, vocab), the logits of the last n_logits ids, no more than a chunk or a
        draft has; valid until the next call. Raises EngineError, and stays where it is, for ids that do not
        fit.
        """
        count, at = len(ids), self._at
        self._check(ids, n_logits)
        self._ids[:count] = ids
        self._total[0] = at.position + count
        self._past[0] = at.position + count - 1
        _bind_input(at.binding, "input_ids", self._ids, (1, count))
        _bind_input(at.binding, "logit_idx", self._rows[count - n_logits :], (n_logits,))
        _bind_output(at.binding, "logits", self._logits, (1, n_logits, self._vocab))
        try:
            self._session.run_with_iobinding(at.binding)
        except Exception as error:
            raise EngineError(
                f"the model failed on {count} tokens at {at.position}: {_line(error)}"
            ) from error
        at.position += count
        return self._logits[:n_logits]

    def rewind(self, position: int) -> None:
        """Forget all ids from `position` on. Raises EngineError for a position not reached yet."""
        if not 0 <= position <= self.position:
            raise EngineError(f"cannot rewind to {position}, the cache holds {self.position} tokens")
        self._at.position = position

    def close(self) -> None:
        """Free the model and the caches; the session cannot be used afterwards."""
        del self._at, self._slots, self._session, self._logits
        _return_freed_memory()

    def _check(self, ids: Sequence[int], n_logits: int) -> None:
        if not 1 <= n_logits <= min(len(ids), self._most_rows):
            raise EngineError(
                f"{n_logits} rows of logits wanted of {len(ids)} ids, at most {self._most_rows}"
            )
        if self.position + len(ids) > self.context_tokens:
            raise EngineError(
                f"{len(ids)} ids at {self.position} exceed the context of {self.context_tokens}"
            )
        if min(ids) < 0 or max(ids) >= self._vocab:
            raise EngineError(f"ids must be 0..{self._vocab - 1}, found {min(ids)}..{max(ids)}")

    def _make_slot(self, manifest: Manifest) -> _Slot:
        """A slot with each layer's buffers bound as past and present."""
        shape = (1, manifest.kv_heads, self.context_tokens, manifest.head_dim)
        parts = [(layer, part) for layer in range(manifest.layers) for part in ("key", "value")]
        slot = _Slot(self._session.io_binding(), _untouched((len(parts), *shape[1:])))
        for (layer, part), buffer in zip(parts, slot.buffers, strict=True):
            _bind_input(slot.binding, f"past.{layer}.{part}", buffer, shape)
            _bind_output(slot.binding, f"present.{layer}.{part}", buffer, shape)
        _bind_input(slot.binding, "seqlens_k", self._past, (1,))
        _bind_input(slot.binding, "total_sequence_length", self._total, ())
        return slot


def _untouched(shape: tuple[int, ...]) -> FloatArray:
    """Zeros that take no memory before they are written; numpy's own ask for huge pages, or are touched."""
    return np.frombuffer(mmap.mmap(-1, 4 * math.prod(shape)), np.float32).reshape(shape)


def _bind_input(binding: Any, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    binding.bind_input(name, "cpu", 0, array.dtype, shape, array.ctypes.data)


def _bind_output(binding: Any, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    binding.bind_output(name, "cpu", 0, array.dtype, shape, array.ctypes.data)


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
    # Threads that spin while they wait for each other are 15-30 % faster on an idle machine and up to 2 times
    # slower when an editor, a language server or a compiler wants the cores. Spinning very briefly, and only
    # while a pass runs, keeps the gain and loses a fifth at most (models/LOG.md, 2026-11-26).
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
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
