"""What a request has gathered on its way, and the answer made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mccomd.protocol import Completion, SnippetInfo
from mccomd.task import Task
from mccomd.types import Finish, Snippet

if TYPE_CHECKING:
    from mccomd.generate import Generated

__all__ = ["CUT", "Gathered", "Said", "completion", "why_cut"]

CUT = {
    Finish.DEADLINE: "cut at the deadline",
    Finish.UNSURE: "cut where the model became unsure (completion.least_chance)",
}
"""Why there is less text than there could be."""


@dataclass
class Gathered:
    """What one completion has gathered so far, whatever becomes of it."""

    stages_ms: dict[str, float] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    prompt_ids: tuple[int, ...] = ()
    prefilled: int = 0
    reused: int = 0
    drafted: int = 0
    accepted: int = 0
    generated: int = 0

    def stage(self, name: str, since: float, now: float) -> float:
        self.stages_ms[name] = (now - since) * 1000
        return now

    def take(self, generated: Generated) -> None:
        generation = generated.generation
        self.stages_ms |= {"prefill": generation.prefill_ms, "decode": generation.decode_ms}
        self.snippets = generated.prompt.snippets
        self.prompt_ids = generated.prompt.ids
        self.prefilled, self.reused = generation.prefilled, generation.reused
        self.drafted, self.accepted = generation.drafted, generation.accepted
        self.generated = len(generation.ids)

    def counts(self) -> dict[str, int]:
        return {
            "prefilled": self.prefilled,
            "reused": self.reused,
            "drafted": self.drafted,
            "accepted": self.accepted,
            "generated": self.generated,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says."""

    text: str = ""
    source: str = "none"
    confidence: float = 0.0
    finish: str = "none"
    reason: str = ""
    route: str = ""


def completion(task: Task, gathered: Gathered, said: Said, model: str, now: float) -> Completion:
    return Completion(
        request_id=task.request_id,
        text=said.text,
        source=said.source,
        model=model,
        confidence=said.confidence,
        ms=(now - task.started) * 1000,
        finish=said.finish,
        reason=said.reason,
        route=said.route,
        snippets=[_info(snippet) for snippet in gathered.snippets],
        stages_ms=dict(gathered.stages_ms),
        **gathered.counts(),
    )


def why_cut(generated: Generated) -> str:
    """Why there is nothing of an answer whose time ran out."""
    read = generated.generation.prefilled + generated.generation.reused
    total = len(generated.prompt.ids)
    if read < total:
        return f"out of time: {read} of {total} prompt tokens were read, and are kept for the next request"
    return "out of time before the first whole word"


def _info(snippet: Snippet) -> SnippetInfo:
    return SnippetInfo(
        snippet.path, snippet.start_line, snippet.end_line, snippet.score, snippet.commit, snippet.source
    )
