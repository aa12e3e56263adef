"""llama.cpp's HTTP server as a process: `python -m mccomd.bench.llama_server`, a child of the benchmark.

Reads one line of JSON (the settings) from standard input, answers with one line (the port), and serves until
its standard input ends: it cannot outlive its parent.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from urllib.parse import urlsplit


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what llama.cpp prints goes to the log
    import xllamacpp

    server = xllamacpp.Server(parameters(xllamacpp, settings))
    print(json.dumps({"port": urlsplit(server.listening_address).port}), file=answers, flush=True)
    sys.stdin.read()
    os._exit(0)


def parameters(xllamacpp: Any, settings: dict[str, Any]) -> Any:
    """`llama-server`'s options of these names, as xllamacpp takes them."""
    found = xllamacpp.CommonParams()
    found.model.path = settings["model"]
    found.port = 0
    found.verbosity = 0
    found.n_gpu_layers = 0
    found.n_ctx = settings["ctx_size"]
    found.n_parallel = 1
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = settings["threads"]
    found.n_cache_reuse = settings["cache_reuse"]
    _speculate(xllamacpp, found.speculative, settings["spec"])
    return found


def _speculate(xllamacpp: Any, speculative: Any, spec: dict[str, Any]) -> None:
    """spec: {} or {"type": "ngram-simple", "size_n": 3, ...}."""
    if not spec:
        return
    name = spec["type"].replace("-", "_")
    kind = xllamacpp.common_speculative_type
    speculative.types = [getattr(kind, f"COMMON_SPECULATIVE_TYPE_{name.upper()}")]
    part = getattr(speculative, name)
    for key, value in spec.items():
        if key != "type":
            setattr(part, key, value)


if __name__ == "__main__":
    main()
