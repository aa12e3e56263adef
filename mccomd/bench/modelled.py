"""A large model as a stated network and a table of what it answers: nothing is computed while we measure.

Answers come from a recording (JSON lines), from a GGUF model that is asked beforehand, or from a stand-in
that is right in a stated share of the places and plausibly wrong in the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mccomd.bench.endpoint import Handler, Out, Received
from mccomd.bench.peer import LlamaServer, Settings, physical_cores
from mccomd.cloud.fim import TEMPLATES, Window, neutralise, render, template_for
from mccomd.errors import MccomdError
from mccomd.statement import StatementRule, single_line_wanted

__all__ = [
    "MODEL",
    "Network",
    "Place",
    "answer_by_gguf",
    "answer_by_share",
    "handler",
    "key_of",
    "load_answers",
    "pieces_of",
    "save_answers",
]
MODEL = "qwen2.5-coder"  # only for the shape of the prompt that the endpoint takes apart
_PROMPT = re.compile(r"<\|fim_prefix\|>(.*)<\|fim_suffix\|>(.*)<\|fim_middle\|>(.*)\Z", re.S)
_LEFT, _RIGHT = 200, 100
_PIECE = re.compile(r"\w{1,5}|\s+|[^\w\s]{1,3}")
ANSWER_TOKENS = 48
ROOM_TOKENS = 4096


@dataclass(frozen=True)
class Network:
    """Milliseconds: to the endpoint and back, its first token, each further one."""

    rtt_ms: float = 60.0
    ttft_ms: float = 120.0
    token_ms: float = 12.0

    def first_ms(self) -> float:
        return self.rtt_ms + self.ttft_ms

    def total_ms(self, text: str) -> float:
        return self.first_ms() + self.token_ms * max(0, len(pieces_of(text)) - 1)


@dataclass(frozen=True)
class Place:
    """One cursor that an answer may be wanted for, and what the author of the trace typed there."""

    prefix: str
    suffix: str
    language: str
    truth: str  # up to the end of the line

    @property
    def key(self) -> str:
        return key_of(self.prefix, self.suffix)


def key_of(prefix: str, suffix: str) -> str:
    """What is left of a prompt's two sides however they were cut."""
    markers = TEMPLATES["qwen"].markers
    near = neutralise(prefix[-_LEFT:], markers)[-_LEFT:], neutralise(suffix[:_RIGHT], markers)[:_RIGHT]
    return hashlib.sha256("\0".join(near).encode("utf-8", "replace")).hexdigest()[:24]


def pieces_of(text: str) -> list[str]:
    """About its tokens."""
    return _PIECE.findall(text)


def handler(answers: Mapping[str, str], network: Network) -> Handler:
    """Serves `/v1/completions` by the table, in the network's time."""

    async def serve(request: Received, out: Out) -> None:
        if request.method == "GET":
            await out.json({"data": []})
            return
        found = _PROMPT.search(request.body["prompt"])
        text = answers.get(key_of(found[1], found[2]), "") if found else ""
        pieces = pieces_of(text.removeprefix(found[3]) if found else "")
        await asyncio.sleep(network.first_ms() / 1000)
        await out.head()
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(network.token_ms / 1000)
            await out.event({"choices": [{"index": 0, "text": piece}]})
        await out.event("[DONE]")
        await out.end()

    return serve


def answer_by_share(places: Sequence[Place], share: float, seed: int) -> dict[str, str]:
    """What was typed, in that share of the places; what was typed at another place in the others."""
    known = [place for place in places if place.truth]
    answers: dict[str, str] = {}
    for number, place in enumerate(known):
        chance = hashlib.sha256(f"{seed} {place.key}".encode()).digest()
        right = int.from_bytes(chance[:4]) / 2**32 < share
        other = known[(number + 1 + chance[4]) % len(known)].truth
        answers[place.key] = place.truth if right else other
    return answers


def answer_by_gguf(places: Sequence[Place], model: Path, advance: Callable[[int], None]) -> dict[str, str]:
    """What a model in llama.cpp's server says at each place, one statement long. Raises MccomdError."""
    template = template_for(model.name)
    answers: dict[str, str] = {}
    with LlamaServer(model, Settings("plain", 0), ROOM_TOKENS, physical_cores()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for place in places:
            if place.key not in answers:
                text = render(template, place.prefix, place.suffix, window=Window(6000, 1500, 0))
                answers[place.key] = _statement(place, _ask(connection, text, template.markers))
            advance(1)
        connection.close()
    return answers


def _ask(connection: http.client.HTTPConnection, prompt: str, stops: Sequence[str]) -> str:
    body = {"prompt": prompt, "n_predict": ANSWER_TOKENS, "temperature": 0, "stop": list(stops)}
    try:
        connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise MccomdError(f"llama.cpp's server is gone: {error}") from error
    if response.status != 200:
        raise MccomdError(f"llama.cpp answered {response.status}: {str(found)[:200]}")
    return str(found["content"])


def _statement(place: Place, text: str) -> str:
    one_line = single_line_wanted(place.prefix, place.suffix)
    end = StatementRule(place.prefix, place.suffix, place.language, one_line).end_of(text)
    return text[:end]


def load_answers(path: Path) -> dict[str, str]:
    """Raises MccomdError naming the line."""
    answers = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                item = json.loads(line)
                answers[str(item["key"])] = str(item["text"])
            except (ValueError, KeyError, TypeError) as error:
                raise MccomdError(f"{path}, line {number}: no recorded answer: {error}") from error
    except OSError as error:
        raise MccomdError(f"cannot read {path}: {error.strerror}") from error
    return answers


def save_answers(answers: Mapping[str, str], path: Path) -> None:
    lines = [json.dumps({"key": key, "text": text}) for key, text in answers.items()]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise MccomdError(f"cannot write {path}: {error.strerror}") from error
