"""Backend `completions`: the OpenAI-compatible `/completions`, and what each server adds to it or lacks.

The dialects are data (dialects.py). A prompt is raw text with the model family's fill-in-the-middle markers,
but where the server takes a `suffix` of its own. Wire shapes: see the tests' reference peers; what a server
is only documented to do is tried by the probe before it is used.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from mccomd.cloud.adapter import COUNT, Adapter, choices_of, dialect_of, text_field, whole, with_path
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.caps import Caps, CapsFile
from mccomd.cloud.fim import Window, cut, template_for
from mccomd.cloud.rows import check_rows, echo_scores, sglang_scores, vllm_scores
from mccomd.cloud.verify import Scores
from mccomd.errors import CloudError
from mccomd.hooks import Backend, CloudRequest, Endpoint, PluginContext, Transport, hookimpl
from mccomd_plugins.dialects import DIALECTS, Dialect, known_of

NAME = "completions"
PROBE_DRAFT = " 15 16 17 18 19 20"
PROBE_LONG = "".join(f"value_{number} = {number * number}\n" for number in range(12))  # some 100 tokens
SCORE_TOKENS = 4
"""Asked for behind a draft: enough to see a statement end. The answer to a wrong draft is not waited for."""


_HITS = re.compile(r"^vllm:prefix_cache_hits_total\{[^\n]*\} (\d{1,20}(?:\.\d{1,20})?(?:e\+\d\d?)?)$", re.M)


class Completions(Adapter):
    """One server."""

    def __init__(self, endpoint: Endpoint, transport: Transport, dialect: Dialect) -> None:
        self._configured = dialect
        self.template = template_for(endpoint.model, endpoint.fim_template)
        self.resumes = not dialect.suffix
        self.markers = self.template.markers
        caps = known_of(dialect, Caps(fim="suffix" if dialect.suffix else self.template.name))
        super().__init__(replace(endpoint, url=with_path(endpoint.url, dialect.path)), transport, caps)

    @property
    def dialect(self) -> Dialect:
        """As configured; else what the server said of itself when it was probed."""
        return DIALECTS.get(self.caps.dialect, self._configured)

    async def stream(
        self, request: CloudRequest, *, draft: str = "", begun: str = ""
    ) -> AsyncGenerator[str, None]:
        def body() -> dict[str, Any]:
            extra: dict[str, Any] = {"stream": True} | self._ends()
            if self.dialect.usage:
                extra["stream_options"] = {"include_usage": True}
            if draft:
                extra |= {"speculation": draft, "perf_metrics_in_response": True}
            return self._base(request, begun) | extra

        healed = "" if self.dialect.suffix else self.healed(self.template, request, begun)
        events = self.events(f"{self.endpoint.url}/completions", body, request)
        async with contextlib.aclosing(events):
            async for event in events:
                self._count(event, request)
                for choice in choices_of(event):
                    if text := text_field(choice, "text"):
                        yield text.removeprefix(healed)
                        healed = ""

    async def score(self, request: CloudRequest, draft: str) -> Scores:
        healed = self.healed(self.template, request)
        match self.dialect.verify:
            case "vllm":
                scores = await self._score_vllm(request, healed + draft)
            case "sglang":
                scores = await self._score_sglang(request, healed + draft)
            case "echo":
                scores = await self._score_echo(request, healed + draft)
            case _:
                scores = await super().score(request, draft)
        if not scores.rows:
            raise CloudError("the endpoint gave no rows for the draft")
        first = scores.rows[0]
        first = replace(
            first,
            text=first.text.removeprefix(healed),
            best=first.best.removeprefix(healed),
            second=first.second.removeprefix(healed),
        )
        return replace(scores, rows=(first, *scores.rows[1:]))

    async def prime(self, request: CloudRequest, draft: str) -> None:
        """Have the prompt read, for a server that keeps it; nothing of the draft is of use to it."""
        if not self.caps.keeps_prompts:
            return await super().prime(request, draft)
        await self._read(request)
        return None

    async def probe(self) -> Caps:
        """Which server it is; scores and a native draft, each with a text whose answer is known."""
        notes = await self._meet()
        verify, draft, each_ms = self.dialect.verify, self.dialect.draft, 0.0
        request = self.probe_request(COUNT)
        if verify != "none":
            try:
                scores = await self.score(request, PROBE_DRAFT)
                check_rows(scores.rows, PROBE_DRAFT)
                notes.append(f"scores a draft: {len(scores.rows)} rows")
                if not self.dialect.reads_cache_when_scoring:
                    each_ms = await self._time_scoring()
                    notes.append(f"scoring takes {each_ms:.1f} ms for each token of the prompt")
            except CloudError as error:
                # Not the endpoint's word on scoring: it is busy, or has another model or path altogether.
                if error.passing or (error.status == 404 and verify != "sglang"):
                    raise
                verify = "none"
                notes.append(f"scores no draft: {error}")
        if draft != "none":
            async with contextlib.aclosing(self.stream(request, draft=PROBE_DRAFT)) as pieces:
                text = "".join([piece async for piece in pieces])
            if not request.report.accepted:
                draft = "none"
            told = f"accepted {request.report.accepted} tokens of a draft" if text else "gave no text"
            notes.append(f"{told} that is right")
        keeps = self.dialect.caches and await self._keeps_prompts()
        if keeps:
            notes.append("keeps what it has read of a prompt")
        return replace(
            self.caps, proved=True, verify=verify, draft=draft, keeps_prompts=keeps, score_token_ms=each_ms,
            notes=tuple(notes),
        )  # fmt: skip

    # --- inside ---------------------------------------------------------------------------------

    async def _meet(self) -> list[str]:
        """What its list of models tells: the context's length, and by whom it is served.

        A list that cannot be had or read tells nothing.
        """
        try:
            _, found = await self.look(self.look_url)
        except CloudError as error:
            if error.passing:
                raise
            return []
        models = found.get("data") if isinstance(found, Mapping) else None
        known = [model for model in models if isinstance(model, Mapping)] if isinstance(models, list) else []
        own = next((model for model in known if model.get("id") == self.endpoint.model), None)
        if own is None:
            names = ", ".join(str(model.get("id")) for model in known[:5])
            return [f"has no model {self.endpoint.model!r} in its list: {names}"] if known else []
        self.caps = replace(self.caps, n_ctx=whole(own.get("max_model_len")) or self.caps.n_ctx)
        name = str(own.get("owned_by"))
        met = DIALECTS.get(name)
        if self.endpoint.dialect or met is None or met.path != self._configured.path or met.suffix:
            return []
        self.caps = known_of(met, replace(self.caps, dialect=name))
        return [f"says that it is {name}"]

    async def _read(self, request: CloudRequest) -> Any:
        """One token is the least that can be asked for."""

        def body() -> dict[str, Any]:
            return self._base(request) | {"max_tokens": 1}

        found = await self.ask(f"{self.endpoint.url}/completions", body, request)
        self._count(found, request)
        return found

    async def _keeps_prompts(self) -> bool:
        """Whether a prompt of some blocks (of 16 tokens on a GPU, 128 on a CPU) is read once only.

        By the server's own count, where it gives one; else by vLLM's metrics, which a proxy may hide.
        """
        request = self.probe_request(PROBE_LONG * 4)
        await self._read(request)
        usage = (await self._read(request)).get("usage")
        details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
        if isinstance(details, Mapping) and whole(details.get("cached_tokens")):
            return True
        try:
            text = await self.look_at_text(f"{self.endpoint.url.removesuffix('/v1')}/metrics")
        except CloudError:
            return False
        return any(float(found) > 0 for found in _HITS.findall(text))

    async def _time_scoring(self) -> float:
        """Milliseconds for each token of a prompt; the first scoring, before it, made the server ready."""
        request = self.probe_request(PROBE_LONG)
        began = time.monotonic()
        await self.score(request, f"value_{PROBE_LONG.count(chr(10))}")
        return (time.monotonic() - began) * 1000 / max(1, request.report.prompt_tokens)

    def _ends(self) -> dict[str, Any]:
        """What ends an answer. Markers that come as text are seen here (shown.py), and the stream is left."""
        if self.markers and self.dialect.special_text and "skip_special_tokens" not in self.caps.refused:
            return {"skip_special_tokens": False}
        return {"stop": self.stops()}

    def _scoring(self, prompt: str) -> dict[str, Any]:
        return {"prompt": prompt, "max_tokens": SCORE_TOKENS} | self._ends()

    def _base(self, request: CloudRequest, begun: str = "") -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "max_tokens": request.max_tokens,
            "temperature": 0,
        }
        if self.dialect.suffix and "suffix" not in self.caps.refused:
            prefix, suffix = cut(request.prefix, request.suffix, Window())
            return body | {"prompt": prefix + begun, "suffix": suffix}
        return body | {"prompt": self.prompt(self.template, request, begun)}

    def _count(self, event: Mapping[str, Any], request: CloudRequest) -> None:
        report = request.report
        usage = event.get("usage")
        if isinstance(usage, Mapping):
            report.prompt_tokens = whole(usage.get("prompt_tokens"))
            report.output_tokens = whole(usage.get("completion_tokens"))
        metrics = event.get("perf_metrics")
        if isinstance(metrics, Mapping):
            report.drafted = whole(metrics.get("speculation-prompt-tokens")) or report.drafted
            report.accepted = whole(metrics.get("speculation-prompt-matched-tokens"))

    async def _score_vllm(self, request: CloudRequest, draft: str) -> Scores:
        def body() -> dict[str, Any]:
            prompt = self.prompt(self.template, request) + draft
            return self._base(request) | self._scoring(prompt) | {"prompt_logprobs": 1}

        found = await self.ask(f"{self.endpoint.url}/completions", body, request)
        self._count(found, request)
        return vllm_scores(found, draft)

    async def _score_sglang(self, request: CloudRequest, draft: str) -> Scores:
        """Native /generate: rows only from the end of the prompt on, so that its cache is used."""
        prompt = self.prompt(self.template, request)
        root = self.endpoint.url.removesuffix("/v1")
        sampling = {"temperature": 0, "max_new_tokens": SCORE_TOKENS, "stop": self.stops()}

        def body() -> dict[str, Any]:
            # A token has a character at least: rows from here on are enough, and few too many.
            start = max(0, _fewest_tokens(prompt) - 1)
            return {"text": prompt + draft, "sampling_params": sampling, "return_logprob": True,
                    "logprob_start_len": start, "top_logprobs_num": 2,
                    "return_text_in_logprobs": True}  # fmt: skip

        found = await self.ask(f"{root}/generate", body, request)
        scores = sglang_scores(found, draft)
        meta = found["meta_info"]
        request.report.prompt_tokens = whole(meta.get("prompt_tokens"))
        request.report.output_tokens = whole(meta.get("completion_tokens"))
        return scores

    async def _score_echo(self, request: CloudRequest, draft: str) -> Scores:
        prompt = self.prompt(self.template, request)

        def body() -> dict[str, Any]:
            extra = self._scoring(prompt + draft) | {"echo": True, "logprobs": 2}
            if self.dialect.draft == "speculation":  # Fireworks: only the end comes back
                extra["echo_last"] = max(8, len(draft))
            return self._base(request) | extra

        found = await self.ask(f"{self.endpoint.url}/completions", body, request)
        self._count(found, request)
        return echo_scores(found, draft)


def _fewest_tokens(text: str) -> int:
    """A bound from below on the tokens of a text: no token of code is longer than 16 characters."""
    return len(text) // 16


@hookimpl
def mccomd_backends(context: PluginContext) -> list[Backend]:
    if context.transport is None or context.endpoint is None:
        return []
    endpoint = context.endpoint
    dialect = dialect_of(endpoint, DIALECTS, NAME)
    adapter = Completions(endpoint, context.transport, dialect)
    caps_file = CapsFile(context.cache_dir, NAME, endpoint)
    return [StrategyBackend(NAME, adapter, caps_file)]
