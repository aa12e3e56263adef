"""llama.cpp's server on the same prompts: what users would pick instead.

It gets every advantage that is its own: the prompt as token ids (no tokenising), a warm connection, its
prompt cache, and of several settings the one that is fastest on this machine. It answers without streaming:
the whole text is what is shown, and after a streamed answer it closes the connection.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from mccomd.bench.figures import percentile
from mccomd.bench.replay import Sample
from mccomd.bench.weights import missing
from mccomd.errors import MccomdError
from mccomd.prompt import Budget, Convention, Encoder, Prompt, build_prompt
from mccomd.types import Query

__all__ = [
    "CANDIDATES",
    "Answer",
    "Ask",
    "LlamaServer",
    "Settings",
    "choose",
    "physical_cores",
    "prompt_of",
    "require",
]

REQUESTS_A_CONNECTION = 50  # the server closes a connection after 100
ANSWER_S = 120.0


@dataclass(frozen=True)
class Settings:
    """What of `llama-server`'s options differs between candidates."""

    name: str
    cache_reuse: int
    spec: tuple[tuple[str, str | int], ...] = ()


CANDIDATES = (
    Settings("plain", 0),
    Settings("cache-reuse 32", 32),
    Settings("ngram-simple 3/8", 32, (("type", "ngram-simple"), ("size_n", 3), ("size_m", 8))),
    Settings("ngram-mod 16/1/64", 32, (("type", "ngram-mod"), ("n_match", 16), ("n_min", 1), ("n_max", 64))),
)


@dataclass(frozen=True)
class Ask:
    """One request: the ids, and how many tokens to answer."""

    ids: tuple[int, ...]
    tokens: int
    word: int = 0  # of ids, the last ones: what our own prompt leaves for the model to write again


@dataclass(frozen=True)
class Answer:
    """What came back, and what the server says it took."""

    ms: float
    prefilled: int
    generated: int
    drafted: int
    accepted: int
    text: str


def require() -> None:
    """Raises MccomdError when llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise missing("xllamacpp", "the comparison with llama.cpp")


def prompt_of(sample: Sample, convention: Convention, encoder: Encoder, prompt_tokens: int) -> Prompt:
    """The prompt that the daemon gave its model for this request: no repository, no snippets."""
    query = Query(
        path=sample.path,
        relative_path=Path(sample.path).name,
        repository=None,
        language=sample.language,
        prefix=sample.prefix,
        suffix=sample.suffix,
        limit=0,
    )
    return build_prompt(query, (), convention, encoder, Budget(prompt_tokens, 0))


class LlamaServer:
    """A running server; a context manager."""

    def __init__(self, model: Path, settings: Settings, ctx_size: int, threads: int) -> None:
        self._options = {
            "model": str(model),
            "ctx_size": ctx_size,
            "threads": threads,
            "cache_reuse": settings.cache_reuse,
            "spec": dict(settings.spec),
        }
        self._asked = 0

    def __enter__(self) -> Self:
        require()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mccomd.bench.llama_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=ANSWER_S)
            self.ask(Ask((1, 2, 3), 1))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()
        self._log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self._connection.port)

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self.pid).memory_info().rss / 1e6)

    def connect(self) -> None:
        """Make the connection anew, so that no answer waits for it."""
        self._connection.close()
        self._connection.connect()

    def ask(self, ask: Ask) -> Answer:
        """Raises MccomdError for an error answer."""
        if self._asked % REQUESTS_A_CONNECTION == 0:
            self.connect()
        self._asked += 1
        began = time.perf_counter()
        body = json.dumps({"prompt": ask.ids, "n_predict": ask.tokens, **_REQUEST})
        try:
            self._connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            raw = response.read()
        except TimeoutError as error:
            raise MccomdError(
                f"llama.cpp's server took more than {ANSWER_S:.0f} s for {len(ask.ids)} tokens: it bears no "
                "company on its cores; try again when the machine is quiet"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise MccomdError(f"llama.cpp's server is gone: {error}") from error
        if response.status != 200:
            raise MccomdError(f"llama.cpp answered {response.status}: {raw[:200].decode(errors='replace')}")
        found = json.loads(raw)
        ms = (time.perf_counter() - began) * 1000
        timings = found["timings"]
        return Answer(
            ms=ms,
            prefilled=timings["prompt_n"],
            generated=timings["predicted_n"],
            drafted=timings.get("draft_n", 0),
            accepted=timings.get("draft_n_accepted", 0),
            text=found["content"],
        )

    def _port(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._options).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip().splitlines()
            raise MccomdError(f"llama.cpp's server did not start: {said[-1] if said else 'it said nothing'}")
        return int(json.loads(line)["port"])


_REQUEST = {"temperature": 0, "cache_prompt": True, "response_fields": ["content", "timings"]}


def choose(
    model: Path, asks: Sequence[tuple[Ask, bool]], ctx_size: int, threads: int, rounds: int = 2
) -> tuple[Settings, list[dict[str, Any]]]:
    """The candidate that is fastest on these requests, and what each took.

    asks: with whether its time counts; the first of a trace only fills the cache. The candidates take turns,
    so that a busy minute of the machine meets all of them. Fastest: the least sum of median and 95th
    percentile.
    """
    times: dict[str, list[float]] = {settings.name: [] for settings in CANDIDATES}
    for _ in range(rounds):
        for settings in CANDIDATES:
            with LlamaServer(model, settings, ctx_size, threads) as server:
                found = [(server.ask(ask).ms, counts) for ask, counts in asks]
                times[settings.name] += [ms for ms, counts in found if counts]
    tried = [
        {
            "name": settings.name,
            "p50_ms": round(percentile(times[settings.name], 50), 2),
            "p95_ms": round(percentile(times[settings.name], 95), 2),
            "n": len(times[settings.name]),
        }
        for settings in CANDIDATES
    ]
    best = min(range(len(tried)), key=lambda i: percentile(times[CANDIDATES[i].name], 50)
               + percentile(times[CANDIDATES[i].name], 95))  # fmt: skip
    return CANDIDATES[best], tried


def physical_cores() -> int:
    """As many threads as the daemon's model takes by default, at most 4."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, usable, 4))
