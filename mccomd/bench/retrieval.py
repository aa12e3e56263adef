"""Do the retrievers find the definition that a line needs, and how long does a round take?

The real index of the repository in a temporary folder, the real retrievers through the plugin loader. The
retrievers see the text before and after the cursor; the rest of the cursor's line is gone from it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mccomd.bench.figures import percentile
from mccomd.bench.needs import Need, needs_in, read_needs
from mccomd.config import IndexConfig
from mccomd.errors import MccomdError
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.plugins import BUILT_IN, PluginOptions, Plugins
from mccomd.prompt import in_turn
from mccomd.types import Query, Snippet
from mccomd_index import IndexOptions, find_repository, texts_at_head
from mccomd_index.bench import scratch_clone

__all__ = ["RetrievalPlan", "bench_retrieval"]

TOP = 5
BUDGET_S = 10.0  # nothing is cut off: what a round takes is what is measured


@dataclass(frozen=True)
class RetrievalPlan:
    """What to measure."""

    path: str
    limit: int = 300  # cases
    seed: int = 1
    cases_file: Path | None = None
    retrievers: tuple[str, ...] = ()  # only these plugins; all built-in ones when empty


@dataclass(frozen=True, slots=True)
class _Round:
    need: Need
    found: list[Snippet]
    ms: float
    rank: int  # 1-based place of the first snippet that shows a wanted definition; 0: none does


def bench_retrieval(
    plan: RetrievalPlan, say: Callable[[str], None], advance: Callable[[int], None]
) -> dict[str, Any]:
    """Index, ask at every case, count."""
    repository = find_repository(plan.path)
    if repository is None or repository.head is None:
        raise MccomdError(f"{plan.path}: no git repository with a commit")
    say("reading the repository")
    texts = dict(texts_at_head(repository, IndexOptions()))
    if plan.cases_file is None:
        needs = needs_in(texts, plan.limit, plan.seed)
    else:
        needs = read_needs(plan.cases_file, (repository.head,), texts)[: plan.limit]
    if not needs:
        raise MccomdError(
            f"{plan.path}: no cases: no line uses a name that is defined once, in another file"
            if plan.cases_file is None
            else f"{plan.cases_file}: no cases of {repository.head[:10]}, which HEAD of {plan.path} is"
        )
    with tempfile.TemporaryDirectory(prefix="mccomd-bench-") as scratch:
        clone = scratch_clone(repository, Path(scratch, "clone.git"))
        return asyncio.run(_measure(plan, needs, Path(scratch), clone.git_dir, say, advance))


async def _measure(
    plan: RetrievalPlan,
    needs: Sequence[Need],
    scratch: Path,
    clone: str,
    say: Callable[[str], None],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    off = tuple(name for name in BUILT_IN if plan.retrievers and name not in plan.retrievers)
    on = tuple(name for name in plan.retrievers if name not in BUILT_IN)
    indexing = Indexing(scratch / "index", lambda repository: (IndexOptions(), ()), IndexConfig)
    plugins = Plugins(PluginOptions(on, off), indexing.search, lookup=IndexLookup(indexing))
    try:
        root = await indexing.require(clone)
        say("indexing")
        index = await indexing.refresh(root)
        for need in needs[:20]:  # what is read for the first time is not what typing feels
            await plugins.retrieve(_query(root, need), BUDGET_S)
        rounds = []
        for need in needs:
            rounds.append(await _round(plugins, root, need))
            advance(1)
    finally:
        plugins.close()
        await indexing.close()
    return {"files": index.files, "chunks": index.chunks, **_figures(rounds)}


async def _round(plugins: Plugins, root: str, need: Need) -> _Round:
    query = _query(root, need)
    began = time.perf_counter()
    found = await plugins.retrieve(query, BUDGET_S)
    ms = (time.perf_counter() - began) * 1000
    return _Round(need, found, ms, rank_of(need, in_turn(found)))


def _query(root: str, need: Need) -> Query:
    path = str(Path(root, need.path))
    return Query(path, need.path, root, need.language, need.prefix, need.suffix, limit=TOP)


def rank_of(need: Need, found: Sequence[Snippet]) -> int:
    """1-based: the first snippet that holds a wanted definition's line and shows its beginning; 0 of none."""
    for rank, snippet in enumerate(found, 1):
        for place in need.wanted:
            inside = snippet.start_line <= place.line <= snippet.end_line
            if place.path == snippet.path and inside and place.head in snippet.text:
                return rank
    return 0


def _figures(rounds: Sequence[_Round]) -> dict[str, Any]:
    by: dict[str, list[_Round]] = defaultdict(list)
    sources: set[str] = set()
    for one in rounds:
        by[one.need.kind].append(one)
        by[one.need.language].append(one)
        sources |= {snippet.source for snippet in one.found}
    times = [one.ms for one in rounds]
    return {
        "p50_ms": round(percentile(times, 50), 3),
        "p95_ms": round(percentile(times, 95), 3),
        **_recall([one.rank for one in rounds]),
        "snippets": round(statistics.fmean(len(one.found) for one in rounds), 2),
        "characters": round(statistics.fmean(_characters(one) for one in rounds)),
        "by": {name: _recall([one.rank for one in part]) for name, part in sorted(by.items())},
        "by_retriever": {
            name: _recall([_rank_alone(one, name) for one in rounds]) for name in sorted(sources)
        },
    }


def _characters(one: _Round) -> int:
    return sum(len(snippet.text) for snippet in in_turn(one.found)[:TOP])


def _rank_alone(one: _Round, source: str) -> int:
    return rank_of(one.need, [snippet for snippet in one.found if snippet.source == source])


def _recall(ranks: Sequence[int]) -> dict[str, Any]:
    """ranks: 1-based, 0 for not found."""
    return {
        "n": len(ranks),
        "recall_at_1": round(sum(rank == 1 for rank in ranks) / len(ranks), 4),
        "recall_at_5": round(sum(0 < rank <= TOP for rank in ranks) / len(ranks), 4),
        "mrr": round(sum(1 / rank for rank in ranks if rank) / len(ranks), 4),
    }
