"""The reference peer as a vLLM: the shapes and refusals of 0.32.0, held to a recording (vllm_wire.json).

What a real one does and its documents do not say: it holds back as much text as the longest stop string has
characters; special tokens are left out of its text, and it writes on behind one that does not end an answer;
fields that it does not know are ignored; a character of several tokens is the text of the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mccomd.bench.endpoint import Out, Received

from .asking import MODEL
from .large_model import LargeModel, Token

__all__ = ["Vllm"]

FINGERPRINT = "vllm-0.32.0-00000000"
MOST_STOPS, MOST_SCORES = 4, 20
BLOCK_CHARS = 256


@dataclass
class Vllm:
    """Answers requests; a handler for endpoint.Peer."""

    model: LargeModel
    name: str = MODEL
    n_ctx: int = 1000  # of the model behind it
    caches: bool = True  # keeps what it has read, in blocks
    read: list[str] = field(default_factory=list)  # prompts
    hits: int = 0
    says: list[str] = field(default_factory=list)  # instead of the model's own words; `<|...|>` is special

    async def __call__(self, request: Received, out: Out) -> None:
        if request.method == "GET":
            await self._get(request.path, out)
        elif request.path != "/v1/completions":
            await out.json({"detail": "Not Found"}, 404)
        elif refusal := self._refusal(request.body):
            status, kind, param, said = refusal
            error = {"message": said, "type": kind, "param": param, "code": status}
            await out.json({"error": error}, status)
        else:
            self._keep(request.body)
            await (self._stream if request.body.get("stream") else self._send_whole)(request.body, out)

    async def _send_whole(self, body: dict[str, Any], out: Out) -> None:
        await out.json(self._whole(body))

    def _keep(self, body: dict[str, Any]) -> None:
        """A prompt that is scored is kept, and not looked up."""
        prompt = str(body["prompt"])
        if self.caches and "prompt_logprobs" not in body and any(prompt.startswith(old) for old in self.read):
            self.hits += len(prompt) // BLOCK_CHARS
        self.read.append(prompt)

    async def _get(self, path: str, out: Out) -> None:
        match path:
            case "/v1/models":
                permission = {
                    "id": "modelperm-1", "object": "model_permission", "created": 1, "organization": "*",
                    "group": None, "is_blocking": False, "allow_create_engine": False, "allow_view": True,
                    "allow_sampling": True, "allow_logprobs": True, "allow_search_indices": False,
                    "allow_fine_tuning": False,
                }  # fmt: skip
                model = {
                    "id": self.name, "object": "model", "created": 1, "owned_by": "vllm", "root": self.name,
                    "parent": None, "max_model_len": self.n_ctx, "permission": [permission],
                }  # fmt: skip
                await out.json({"object": "list", "data": [model]})
            case "/version":
                await out.json({"version": "0.32.0"})
            case "/metrics":
                labels = f'{{engine="0",model_name="{self.name}"}}'
                await out.head(200, "text/plain; version=0.0.4; charset=utf-8")
                await out.chunk(
                    "# TYPE vllm:prefix_cache_hits_total counter\n"
                    f"vllm:prefix_cache_hits_total{labels} {float(self.hits)}\n"
                    f"vllm:prefix_cache_hits_created{labels} 1.7956904050402908e+09\n"
                )
                await out.end()
            case "/health":
                await out.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            case _:
                await out.json({"detail": "Not Found"}, 404)

    def _refusal(self, body: dict[str, Any]) -> tuple[int, str, str | None, str] | None:
        """(status, type, the field, words) of what is not taken."""
        bad = "BadRequestError"
        if body["model"] != self.name:
            words = f"The model `{body['model']}` does not exist. Valid aliases: {self.name}."
            return 404, "NotFoundError", "model", words
        stops, most, scores = body.get("stop") or [], body.get("max_tokens", 16), body.get("prompt_logprobs")
        if len(stops) > MOST_STOPS:
            words = (
                "2 validation errors:\n  {'type': 'string_type', 'loc': 'body.stop', 'msg': 'Input should be "
                f"a valid string', 'input': '<list of {len(stops)} items>'}}\n  {{'type': 'too_long', 'loc': "
                f"'body.stop', 'msg': 'List should have at most {MOST_STOPS} items after validation, not "
                f"{len(stops)}', 'input': '<list of {len(stops)} items>', 'ctx': {{'field_type': 'List', "
                f"'max_length': {MOST_STOPS}, 'actual_length': {len(stops)}}}}}"
            )
            return 400, "Bad Request", "body.stop", words
        if body.get("suffix") is not None:
            return 400, bad, "suffix", "suffix is only supported for models with FIM completion rendering"
        if scores is not None and body.get("stream"):
            words = "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)"
            return 400, bad, "prompt_logprobs", words
        if not body.get("prompt"):
            words = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
            return 400, bad, "prompt", words
        if most < 1 and not body.get("echo"):
            words = f"max_tokens must be at least 1, got {most}. (parameter=max_tokens, value={most})"
            return 400, bad, "max_tokens", words
        if scores is not None and scores > MOST_SCORES:
            words = (
                f"Requested prompt logprobs of {scores}, which is greater than max allowed: {MOST_SCORES} "
                f"(parameter=prompt_logprobs, value={scores})"
            )
            return 400, bad, "prompt_logprobs", words
        if body.get("n", 1) > 1 and body.get("temperature") == 0:
            return 400, bad, None, f"n must be 1 when using greedy sampling, got {body['n']}."
        if len(self._ids(body)) > self.n_ctx:
            words = (
                f"This model's maximum context length is {self.n_ctx} tokens. However, your prompt contains "
                f"at least {self.n_ctx + 1} input tokens, which exceeds this limit even without any output "
                "tokens. Please reduce the length of the input prompt. "
                f"(parameter=input_tokens, value={self.n_ctx + 1})"
            )
            return 400, bad, "input_tokens", words
        return None

    def _ids(self, body: dict[str, Any]) -> list[int]:
        return self.model.encode(body["prompt"])

    def _head(self) -> dict[str, Any]:
        return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": self.name}

    def _usage(self, body: dict[str, Any], tokens: list[Token]) -> dict[str, Any]:
        prompt, written = len(self._ids(body)), max(1, len(tokens))
        return {"prompt_tokens": prompt, "total_tokens": prompt + written, "completion_tokens": written}

    def _tokens(self, body: dict[str, Any]) -> list[Token]:
        """As many as asked for and fit; more than that are cut without a word."""
        ids = self._ids(body)
        most = min(body.get("max_tokens", 16), self.n_ctx - len(ids))
        if self.says:
            return [(0, text, -1.0) for text in self.says[:most]]
        return self.model.greedy(ids, most) if most else []

    def _texts(self, body: dict[str, Any], tokens: list[Token]) -> tuple[list[str], str, str | None]:
        """Each token's text as it is sent, with what stop strings hold back; why it ends, and at which."""
        stops = body.get("stop") or []
        hidden = body.get("skip_special_tokens", True)
        held = max(map(len, stops), default=1) - 1
        whole, sent, texts = "", 0, []
        for _, text, _ in tokens:
            whole += "" if hidden and _is_special(text) else text
            if met := next((stop for stop in stops if stop in whole), None):
                texts.append(whole[sent : whole.index(met)])
                return texts, "stop", met
            upto = max(sent, len(whole) - held)
            texts.append(whole[sent:upto])
            sent = upto
        if texts:
            texts[-1] += whole[sent:]
        return texts, "length" if len(tokens) == body.get("max_tokens", 16) else "stop", None

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, tokens = self._ids(body), self._tokens(body)
        texts, finish, met = self._texts(body, tokens)
        choice: dict[str, Any] = {
            "index": 0, "text": "".join(texts), "logprobs": None, "finish_reason": finish,
            "stop_reason": met, "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None,
            "routed_experts": None,
        }  # fmt: skip
        scores = body.get("prompt_logprobs")
        if body.get("echo"):
            choice["text"] = body["prompt"] + choice["text"]
            choice["logprobs"] = self._legacy(ids, tokens, body["logprobs"])
            scores = body["logprobs"]
        if scores is not None:
            choice["prompt_logprobs"] = self.rows(ids, scores)
        usage = {
            **self._usage(body, tokens),
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        }
        return self._head() | {
            "choices": [choice], "service_tier": None, "system_fingerprint": FINGERPRINT, "usage": usage,
            "kv_transfer_params": None, "ec_transfer_params": None, "metrics": None,
        }  # fmt: skip

    async def _stream(self, body: dict[str, Any], out: Out) -> None:
        tokens = self._tokens(body)
        texts, finish, met = self._texts(body, tokens)
        counted = bool((body.get("stream_options") or {}).get("include_usage"))
        await out.head(200, "text/event-stream; charset=utf-8")
        for number, text in enumerate(texts or [""]):
            last = number + 1 >= len(texts)
            choice = {
                "index": 0, "text": text, "logprobs": None, "finish_reason": finish if last else None,
                "stop_reason": met if last else None, "prompt_token_ids": None, "token_ids": None,
            }  # fmt: skip
            mark = {"system_fingerprint": FINGERPRINT} if last and not counted else {}
            await out.event(self._head() | {"choices": [choice]} | mark)
        if counted:
            usage = {"choices": [], "usage": self._usage(body, tokens), "system_fingerprint": FINGERPRINT}
            await out.event(self._head() | usage)
        await out.event("[DONE]")
        await out.end()

    def rows(self, ids: list[int], most: int) -> list[Any]:
        """For each token of the prompt itself, and the `most` best: by id, the token's own first."""
        scores = self.model.prompt_rows(ids)
        found: list[Any] = [None]
        for row, token in zip(scores, ids[1:], strict=False):
            best = np.argpartition(-row, most)[:most]
            ranked = [int(i) for i in best[np.argsort(-row[best])]]
            found.append(
                {
                    str(i): {
                        "logprob": float(row[i]),
                        "rank": int((row > row[i]).sum()) + 1,
                        "decoded_token": self.model.text(i),
                    }
                    for i in dict.fromkeys((token, *ranked))
                }
            )
        return found

    def _legacy(self, ids: list[int], tokens: list[Token], most: int) -> dict[str, Any]:
        rows = self.rows([*ids, *(token for token, _, _ in tokens)], most)
        texts = [self.model.text(token) for token in ids] + [text for _, text, _ in tokens]
        own = [None if row is None else next(iter(row.values())) for row in rows]
        tops = [row and {item["decoded_token"]: item["logprob"] for item in row.values()} for row in rows]
        return {
            "text_offset": [len("".join(texts[:number])) for number in range(len(texts))],
            "token_logprobs": [item and item["logprob"] for item in own],
            "tokens": texts,
            "top_logprobs": tops,
        }


def _is_special(text: str) -> bool:
    return text.startswith("<|") and text.endswith("|>")
