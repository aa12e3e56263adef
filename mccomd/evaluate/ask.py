"""Cases put to a real daemon through its socket, with the real index of the case's own repository.

One daemon a run, in a home of its own. For each case: its tree without the target is committed, the index
refreshed, the document opened by a new client, read ahead as editors do when the cursor rests, then asked
for. Knows no scores.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mccomd
from mccomd.bench.own_daemon import OwnDaemon
from mccomd.client import Client
from mccomd.errors import MccomdError
from mccomd.evaluate.answers import Answer, Answers
from mccomd.evaluate.cases import Case
from mccomd.evaluate.trees import Source, Tree, find_source
from mccomd.outgoing import NOTHING
from mccomd.protocol import SEARCH_RUNNING

__all__ = ["Asking", "ask_all", "code_mark"]

DEADLINE_MS = 60_000  # of each answer: what is measured is quality, not what fits into a second and a half
RETRIEVE_MS = 20_000  # of each search, for the same reason
REFRESH_S = 600.0


@dataclass(frozen=True)
class Asking:
    """What is asked of which model, and where the cases' repositories are."""

    model: Path  # its folder
    retrieval: bool = True
    source: Source | None = None  # of all cases
    trees: Path | None = None  # where each case's is looked for; neither: cases stand in no repository
    cloud: Mapping[str, Mapping[str, Any]] | None = (
        None  # the config's sections that make a large model answer
    )

    @property
    def has_trees(self) -> bool:
        return self.source is not None or self.trees is not None

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Of the daemon: a user's defaults, but for time, and never thrifty because we make load."""
        completion: dict[str, Any] = {
            "retrieve_ms": RETRIEVE_MS,
            "deadline_ms": DEADLINE_MS,
            "search_ms": DEADLINE_MS,
        }
        if not self.retrieval or not self.has_trees:
            completion |= {"snippets": 0, "ngram_tokens": 0}
        return {
            "model": {"folder": str(self.model), "idle_unload_s": 0},
            "completion": completion,
            "power": {"mode": "full"},
            **({} if self.cloud is None else _always_cloud(self.cloud)),
        }

    def source_of(self, case: Case) -> Source | None:
        if self.source is not None or self.trees is None:
            return self.source
        return find_source(self.trees, case.repo)


def _always_cloud(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The user's large model for every answer, however sure the local one is and however long it takes."""
    found = {name: dict(values) for name, values in sections.items()}
    found["cloud"] |= {"deadline_ms": DEADLINE_MS, "stall_ms": DEADLINE_MS}
    found["router"] = {"threshold": 1.0, "unsure": "hold", "hold_ms": DEADLINE_MS}
    return found


def ask_all(
    asking: Asking, cases: Sequence[Case], answers: Answers, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Ask what has no answer yet. Raises MccomdError; what was answered by then is kept."""
    advance(sum(case.id in answers.known for case in cases))
    waiting = [case for case in cases if case.id not in answers.known]
    if not waiting:
        return
    for case in waiting:
        asking.source_of(case)  # a repository that is missing is told before an hour of work
    with OwnDaemon(asking.options) as daemon:
        for (_, commit), group in itertools.groupby(waiting, lambda case: (case.repo, case.commit)):
            some = list(group)
            with Tree(asking.source_of(some[0]), commit) as tree:
                for case in some:
                    answers.add(_ask(daemon, tree, case, asking))
                    advance(1)


def _ask(daemon: OwnDaemon, tree: Tree, case: Case, asking: Asking) -> Answer:
    path = str(tree.show(case))
    # A new one: nothing of the case before is remembered. A large model's answer is waited for instead.
    with daemon.connect(Client, updates=asking.cloud is None) as client:
        if asking.options["completion"].get("snippets") != 0:
            _index(client, path, case)
        document = {"path": path, "text": case.text, "language": case.language, "version": 0}
        client.call("document/open", document)
        place = {"path": path, "position": case.position}
        began = time.perf_counter()
        client.call("warm", place)
        _tables_made(client, case)
        warmed = time.perf_counter()
        found = client.call("complete", {**place, "version": 0, "deadline_ms": DEADLINE_MS})
        ms = (time.perf_counter() - warmed) * 1000
        told = _last_word(client, found["request_id"])
    if found["finish"] in ("deadline", "cancelled") or (not found["stages_ms"] and not found["text"]):
        raise MccomdError(
            f"case {case.id} got no whole answer ({found['reason']}): run the command again to go on"
        )
    if asking.cloud is not None:
        found = _only_cloud(case, found, told["cloud"])
        told = {**told, "text": found["text"]}
    return _answer(case, found, told, ms, (warmed - began) * 1000)


def _last_word(client: Client, request_id: str) -> dict[str, Any]:
    """What `explain` says of a request once nothing of the local model is to come for it."""
    told: dict[str, Any] = {"search": SEARCH_RUNNING}
    until = time.monotonic() + DEADLINE_MS / 1000
    while told["search"] == SEARCH_RUNNING and time.monotonic() < until:
        told = client.call("explain", {"request_id": request_id})
        time.sleep(0.01 if told["search"] == SEARCH_RUNNING else 0)
    return told


def _only_cloud(case: Case, found: dict[str, Any], asked: dict[str, Any] | None) -> dict[str, Any]:
    """The large model's answer, an empty one where it had nothing to add. Raises MccomdError if it failed.

    asked: what `explain` says of the call.
    """
    if found["source"] == "cloud":
        return found
    if asked is not None and (asked["dropped"] or asked["error"] == NOTHING):
        return {**found, "text": "", "source": "cloud", "reason": asked["dropped"] or NOTHING}
    why = (asked and asked["error"]) or found["reason"] or found["route"]
    raise MccomdError(
        f"case {case.id} got no answer of the large model ({why}): run the command again to go on"
    )


def _index(client: Client, path: str, case: Case) -> None:
    """Have the index hold what the case shows, and nothing else. Raises MccomdError."""
    state = client.call("refresh", {"path": path, "wait": True}, timeout_s=REFRESH_S)
    if state["state"] != "current":
        raise MccomdError(
            f"the index of {case.repo or 'the repository'} is {state['state']}: {state['reason']}"
        )


def _tables_made(client: Client, case: Case) -> None:
    """Wait for what the repository adds to the model's choices, once for each tree. Raises MccomdError."""
    until = time.monotonic() + REFRESH_S
    while any(row["state"] in ("building", "waiting") for row in client.call("status")["ngrams"]):
        if time.monotonic() > until:
            raise MccomdError(
                f"case {case.id}: the n-grams of {case.repo} are not made: run the command again"
            )
        time.sleep(0.05)


def _answer(case: Case, found: dict[str, Any], told: dict[str, Any], ms: float, warm_ms: float) -> Answer:
    """told: what `explain` says of it, with the last text that stood there."""
    return Answer(
        id=case.id,
        text=told["text"],
        first=found["text"] if found["text"] != told["text"] else None,
        search_ms=round(told["stages_ms"].get("search", 0.0), 2),
        source=found["source"],
        model=found["model"],
        confidence=round(found["confidence"], 6),
        ms=round(ms, 2),
        warm_ms=round(warm_ms, 2),
        decode_ms=round(found["stages_ms"].get("decode", 0.0), 2),
        generated=found["generated"],
        drafted=found["drafted"],
        accepted=found["accepted"],
        snippets=len(found["snippets"]),
        finish=found["finish"],
        reason=found["reason"],
    )


def code_mark() -> str:
    """A mark of the program that answers: its version, and its source when that changed."""
    root = Path(mccomd.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if "evaluate" not in path.parts and "cli" not in path.parts and "bench" not in path.parts:
            digest.update(path.read_bytes())
    return f"{mccomd.__version__}+{digest.hexdigest()[:12]}"
