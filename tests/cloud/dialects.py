"""The reference peer: one model, served as different vendors serve theirs.

It tests our reading of their wire formats, as in their sources and SDKs, not the vendors. `Server.ignores`
names fields that are silently dropped, as many servers do; `Server.refuses` those answered with 400.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mccomd.bench.endpoint import Out, Received
from mccomd.cloud.realign import common_beginning

from .asking import MODEL
from .large_model import LargeModel, Token

__all__ = ["Server"]


@dataclass
class Server:
    """Answers requests; a handler for endpoint.Peer."""

    model: LargeModel
    ignores: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    n_ctx: int = 1000
    chat_frame: str = "<COMPLETION>%s</COMPLETION>"
    insert: bool = True  # Ollama: the model's template knows `suffix`

    async def __call__(self, request: Received, out: Out) -> None:
        if request.method == "GET":
            await out.json({"object": "list", "data": [{"id": MODEL}]})
            return
        body = {key: value for key, value in request.body.items() if key not in self.ignores}
        for name in sorted(self.refuses & set(body)):
            await out.json(
                {"error": {"message": f"unknown field: {name} is not supported", "code": 400}}, 400
            )
            return
        routes = {
            "/v1/completions": self.completions,
            "/generate": self.sglang,
            "/v1/fim/completions": self.fim,
            "/api/generate": self.ollama,
            "/v1/chat/completions": self.chat,
        }
        route = routes.get(request.path)
        if route is None:
            await out.json({"error": {"message": f"no such path {request.path}"}}, 404)
            return
        await route(body, out)

    # --- OpenAI-compatible: vLLM's prompt_logprobs, the legacy echo, Fireworks' speculation ------------

    async def completions(self, body: dict[str, Any], out: Out) -> None:
        ids = self.model.encode(body["prompt"])
        if len(ids) + body["max_tokens"] > self.n_ctx:
            said = f"This model's maximum context length is {self.n_ctx} tokens, you asked for {len(ids)}"
            await out.json({"error": {"message": said, "code": 400}}, 400)
            return
        tokens, finish = self._generate(ids, body["max_tokens"], body.get("stop", []))
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
        if not body.get("stream"):
            choice: dict[str, Any] = {"index": 0, "text": _join(tokens), "finish_reason": finish}
            if "prompt_logprobs" in body:
                choice["prompt_logprobs"] = self._vllm_rows(ids)
            if body.get("echo") and "logprobs" in body:
                choice |= self._echo(ids, tokens, body)
            await out.json({"choices": [choice], "usage": usage})
            return
        await out.head()
        for _, text, _ in tokens:
            await out.event({"choices": [{"index": 0, "text": text, "finish_reason": None}]})
        last: dict[str, Any] = {"choices": [{"index": 0, "text": "", "finish_reason": finish}]}
        if "speculation" in body and "perf_metrics_in_response" in body:
            drafted = self.model.encode(body["speculation"])[len(self.model.encode("")) :]
            same = _common(drafted, [token for token, _, _ in tokens])
            last["perf_metrics"] = {
                "speculation-prompt-tokens": len(drafted),
                "speculation-prompt-matched-tokens": same,
            }
        await out.event(last)
        if body.get("stream_options", {}).get("include_usage"):
            await out.event({"choices": [], "usage": usage})
        await out.event("[DONE]")
        await out.end()

    def _vllm_rows(self, ids: list[int]) -> list[Any]:
        scores = self.model.prompt_rows(ids)
        rows: list[Any] = [None]
        for i, token in enumerate(ids[1:]):
            best = int(scores[i].argmax())
            rank = int((scores[i] > scores[i, token]).sum()) + 1
            row = {
                str(token): {
                    "logprob": float(scores[i, token]),
                    "rank": rank,
                    "decoded_token": self.model.text(token),
                }
            }
            row.setdefault(
                str(best),
                {"logprob": float(scores[i, best]), "rank": 1, "decoded_token": self.model.text(best)},
            )
            rows.append(row)
        return rows

    def _echo(self, ids: list[int], tokens: list[Token], body: dict[str, Any]) -> dict[str, Any]:
        scores = self.model.prompt_rows(ids)
        texts = [self.model.text(token) for token in ids]
        logprobs: list[float | None] = [None, *(float(scores[i, token]) for i, token in enumerate(ids[1:]))]
        tops: list[dict[str, float] | None] = [
            None,
            *(self._top(row, body["logprobs"]) for row in scores[:-1]),
        ]
        last = body.get("echo_last", len(ids))
        columns = {
            "tokens": [*texts[-last:], *(text for _, text, _ in tokens)],
            "token_logprobs": [*logprobs[-last:], *(logprob for _, _, logprob in tokens)],
            "top_logprobs": [*tops[-last:], *({text: logprob} for _, text, logprob in tokens)],
        }
        return {"text": "".join(texts[-last:]) + _join(tokens), "logprobs": columns}

    def _top(self, row: Any, count: int) -> dict[str, float]:
        return {self.model.text(int(i)): float(row[i]) for i in np.argsort(-row)[:count]}

    # --- SGLang -------------------------------------------------------------------------------------

    async def sglang(self, body: dict[str, Any], out: Out) -> None:
        ids = self.model.encode(body["text"])
        sampling = body["sampling_params"]
        tokens, finish = self._generate(ids, sampling["max_new_tokens"], sampling.get("stop", []))
        meta: dict[str, Any] = {
            "finish_reason": {"type": finish}, "prompt_tokens": len(ids), "completion_tokens": len(tokens)
        }  # fmt: skip
        if body.get("return_logprob"):
            start = body.get("logprob_start_len", 0)
            scores = self.model.prompt_rows(ids)
            rows: list[Any] = [[None, ids[start], self.model.text(ids[start])]]
            tops: list[Any] = [None]
            for i in range(start + 1, len(ids)):
                rows.append([float(scores[i - 1, ids[i]]), ids[i], self.model.text(ids[i])])
                best = np.argsort(-scores[i - 1])[: body["top_logprobs_num"]]
                tops.append([[float(scores[i - 1, k]), int(k), self.model.text(int(k))] for k in best])
            meta |= {"input_token_logprobs": rows, "input_top_logprobs": tops}
        await out.json({"text": _join(tokens), "meta_info": meta})

    # --- the others -----------------------------------------------------------------------------------

    async def fim(self, body: dict[str, Any], out: Out) -> None:
        assert isinstance(body["suffix"], str)
        tokens, finish = self._generate(
            self.model.encode(body["prompt"]), body["max_tokens"], body.get("stop", [])
        )
        await out.head()
        for i, (_, text, _) in enumerate(tokens):
            content: Any = text if i % 2 else [{"type": "text", "text": text}]
            await out.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": content}}]})
        usage = {"prompt_tokens": 9, "completion_tokens": len(tokens)}
        await out.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": usage})
        await out.event("[DONE]")
        await out.end()

    async def ollama(self, body: dict[str, Any], out: Out) -> None:
        if "suffix" in body and not self.insert:
            await out.json(
                {"error": f"registry.ollama.ai/library/{MODEL}:latest does not support insert"}, 400
            )
            return
        options = body["options"]
        tokens, _ = self._generate(self.model.encode(body["prompt"]), options["num_predict"], options["stop"])
        await out.head(200, "application/x-ndjson")
        for _, text, _ in tokens:
            await out.chunk(json.dumps({"model": body["model"], "response": text, "done": False}) + "\n")
        last = {"response": "", "done": True, "prompt_eval_count": 9, "eval_count": len(tokens)}
        await out.chunk(json.dumps(last) + "\n")
        await out.end()

    async def chat(self, body: dict[str, Any], out: Out) -> None:
        if "max_tokens" in body and "max_tokens" in self.refuses_in_chat:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            await out.json({"error": {"message": said}}, 400)
            return
        asked = body["messages"][-1]["content"]
        found = re.search(r"<QUERY [^\n]*>\n(.*)\{\{FILL_HERE\}\}", asked, re.S)
        assert found
        most = body.get("max_tokens") or body["max_completion_tokens"]
        tokens, finish = self._generate(self.model.encode(found[1]), most, [])
        answer = self.chat_frame % _join(tokens)
        usage: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": len(tokens)}
        if "prediction" in body:
            content = body["prediction"]["content"]
            same = len(common_beginning(content, answer)) // 4
            details = {
                "accepted_prediction_tokens": same,
                "rejected_prediction_tokens": max(0, len(content) // 4 - same),
            }
            usage["completion_tokens_details"] = details
        await out.head()
        for i in range(0, len(answer), 3):
            await out.event({"choices": [{"index": 0, "delta": {"content": answer[i : i + 3]}}]})
        await out.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        await out.event({"choices": [], "usage": usage})
        await out.event("[DONE]")
        await out.end()

    refuses_in_chat: set[str] = field(default_factory=set)

    def _generate(self, ids: list[int], most: int, stops: list[str]) -> tuple[list[Token], str]:
        """Tokens up to the first stop, and why they end."""
        tokens: list[Token] = []
        for token in self.model.greedy(ids, most):
            tokens.append(token)
            if any(stop in _join(tokens) for stop in stops):
                return tokens[:-1], "stop"
        return tokens, "length" if len(tokens) == most else "stop"


def _join(tokens: list[Token]) -> str:
    return "".join(text for _, text, _ in tokens)


def _common(left: list[int], right: list[int]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
