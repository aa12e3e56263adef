"""What a large model is asked for one request: the question, its place, and what it may cost. Asks nobody."""

from __future__ import annotations

from collections.abc import Callable

from mccomd.behaviour import typed_at_cursor
from mccomd.budget import Need
from mccomd.cloud.fim import Window
from mccomd.config import Config
from mccomd.escalation import LargeRequest
from mccomd.postprocess import clean
from mccomd.task import Task
from mccomd.turn import Turn

__all__ = ["fit_at", "need_of", "question", "typed_since_rejected"]

HEAD_TOKENS = 64  # of a prompt: markers, paths, what a chat model is told


def question(turn: Turn, text: str, config: Config) -> LargeRequest:
    """What is asked, whoever hears the answer. text: the local model's, as far as it is known."""
    task, rejection = turn.task, turn.rejection
    return LargeRequest(
        query=turn.query,
        draft=rejection.offered.text if rejection else text,
        max_tokens=task.max_tokens or config.completion.max_tokens,
        cancel=task.cancel,
        answer=lambda text, model, ms: None,
        request_id=task.request_id,
        snippets=tuple(turn.fused or turn.found),
        typed=typed_since_rejected(turn),
        rejected=rejection is not None,
        alternatives=(text,) if rejection and text else (),
    )


def need_of(request: LargeRequest, config: Config) -> Need:
    """About three characters a token; a strategy that asks twice sends the prompt twice."""
    window, query = Window(), request.query
    snippets = min(window.snippets, sum(len(snippet.text) for snippet in request.snippets))
    chars = min(window.prefix, len(query.prefix)) + min(window.suffix, len(query.suffix)) + snippets
    prompts = 1 if config.cloud.strategy in ("plain", "native") else 2
    return Need(prompts * (chars // 3 + HEAD_TOKENS), request.max_tokens)


def fit_at(task: Task) -> Callable[[str], str]:
    """What the editor would insert at the task's place of a text of the large model's."""
    language = task.document.language
    return lambda raw: (
        clean(raw, prefix=task.prefix, suffix=task.suffix, language=language, eol=task.eol).text
    )


def typed_since_rejected(turn: Turn) -> str:
    task, rejection = turn.task, turn.rejection
    return (typed_at_cursor(rejection.offered, task.prefix, task.suffix) or "") if rejection else ""
