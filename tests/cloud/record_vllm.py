"""Ask a running vLLM what the reference peer must be able to answer, and write down how it did.

    python -m tests.cloud.record_vllm http://127.0.0.1:8000 MODEL > tests/cloud/vllm_wire.json

Texts are our own. What differs from run to run (times, ids, the model's words) is compared by shape only:
see test_cloud_vllm.py. Needs a context of 2048 tokens (`--max-model-len 2048`).
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

__all__ = ["asked"]

SHORT = "1 2 3 4"


def asked(model: str) -> dict[str, tuple[str, dict[str, Any] | None]]:
    """Name -> (path, body; None for a GET)."""
    base = {"model": model, "prompt": SHORT, "max_tokens": 3, "temperature": 0}
    completions: dict[str, dict[str, Any]] = {
        "plain": {},
        "stream": {"stream": True},
        "stream with usage": {"stream": True, "stream_options": {"include_usage": True}},
        "scored": {"prompt_logprobs": 1},
        "echo": {"echo": True, "logprobs": 2},
        "echo of the prompt alone": {"echo": True, "logprobs": 1, "max_tokens": 0},
        "a stop": {"stop": ["6"], "max_tokens": 8},
        "special tokens as text": {"skip_special_tokens": False},
        "ignored fields": {"speculation": "5 6", "perf_metrics_in_response": True, "prediction": "5 6"},
        "scored stream": {"prompt_logprobs": 1, "stream": True},
        "nothing wanted": {"max_tokens": 0},
        "a suffix": {"suffix": "\n"},
        "too many stops": {"stop": [f"<{number}>" for number in range(5)]},
        "two greedy answers": {"n": 2},
        "too many scores": {"prompt_logprobs": 50},
        "too long": {"prompt": "x = 1\n" * 2000},
        "too long, streamed": {"prompt": "x = 1\n" * 2000, "stream": True},
        "another model": {"model": "another"},
        "no prompt": {"prompt": ""},
    }
    found = {name: ("/v1/completions", base | more) for name, more in completions.items()}
    return found | {
        "models": ("/v1/models", None),
        "version": ("/version", None),
        "health": ("/health", None),
        "another path": ("/v1/fim/completions", base),
    }


def main(url: str, model: str) -> None:
    answers = {}
    for name, (path, body) in asked(model).items():
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status, kind, text = answer.status, answer.headers.get("content-type"), answer.read().decode()
        except urllib.error.HTTPError as error:
            status, kind, text = error.code, error.headers.get("content-type"), error.read().decode()
        answers[name] = {"status": status, "kind": kind, "body": _without_places(text)}
    json.dump(answers, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def _without_places(text: str) -> str:
    """Without the folder in which the recording machine keeps the model."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    for model in found.get("data", []) if isinstance(found, dict) else []:
        model["root"] = model["id"]
    return json.dumps(found, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])
