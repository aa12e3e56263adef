"""Which snippets, and how many tokens of them, make the true rest of a line more likely?

The real index, the real retrievers and the daemon's own prompt, at two kinds of cursors: any line, and
lines that need a definition of another file (`mccomd bench retrieval`). Reported: nats a token of what truly
followed, and the share of cursors where greedy decoding would have written it.

    python -m mccomd_models.retrieval_trial --model models/mccomd-135m --repository PATH --cases 40
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mccomd.bench.needs import needs_in
from mccomd.config import IndexConfig
from mccomd.engine.artifact import load_manifest
from mccomd.engine.line_encoder import LineEncoder
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.tokenizer import Tokenizer
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.plugins import PluginOptions, Plugins
from mccomd.prompt import Budget, build_prompt
from mccomd.types import Query, Snippet
from mccomd_index import IndexOptions, find_repository, language_of, texts_at_head
from mccomd_index.bench import scratch_clone

__all__ = ["main"]

PROMPT_TOKENS = 1024
LIMIT = 4
WIDEST = 160  # characters of a truth


Scored = tuple[float, int, bool, int]  # nats, tokens of the truth, whether greedy, tokens of the prompt


@dataclass(frozen=True, slots=True)
class Cursor:
    kind: str  # any, need
    path: str
    prefix: str
    suffix: str
    truth: str


@dataclass(frozen=True, slots=True)
class Way:
    """Which retrievers' snippets, in this order, and how many tokens of them."""

    name: str
    sources: tuple[str, ...]
    tokens: int


BOTH = ("bm25", "definitions")
WAYS = (
    Way("none", (), 0),
    Way("bm25 384", ("bm25",), 384),
    Way("definitions 384", ("definitions",), 384),
    Way("bm25, definitions 384", BOTH, 384),
    Way("definitions, bm25 384", BOTH[::-1], 384),
    Way("definitions, bm25 256", BOTH[::-1], 256),
    Way("definitions, bm25 512", BOTH[::-1], 512),
    Way("definitions 192", ("definitions",), 192),
)


def cursors(texts: Mapping[str, str], count: int, seed: int) -> list[Cursor]:
    """`count` of each kind; the same seed gives the same."""
    found = []
    for need in needs_in(texts, count, seed):
        line = texts[need.path].split("\n")[need.prefix.count("\n")]
        truth = line[len(need.prefix.rsplit("\n", 1)[-1]) :]
        if truth.strip() and len(truth) <= WIDEST:
            found.append(Cursor("need", need.path, need.prefix, need.suffix, truth))
    chance = random.Random(seed)
    paths = sorted(path for path in texts if language_of(path) in ("python", "go", "rust", "c", "java"))
    wanted = len(found) + count
    while paths and len(found) < wanted:
        path = chance.choice(paths)
        lines = texts[path].split("\n")
        at = chance.randrange(len(lines))
        starts = [word.start() for word in re.finditer(r"\b\w", lines[at])]
        if at < 5 or len(lines[at].strip()) < 8 or not starts or len(lines[at]) > WIDEST:
            continue
        column = chance.choice(starts)
        prefix, suffix = "\n".join([*lines[:at], lines[at][:column]]), "\n".join(["", *lines[at + 1 :]])
        found.append(Cursor("any", path, prefix, suffix, lines[at][column:]))
    chance.shuffle(found)
    return found


async def snippets_of(repository: str, found: Sequence[Cursor]) -> tuple[str, list[list[Snippet]]]:
    """Everything that the retrievers find at each cursor."""
    with tempfile.TemporaryDirectory() as folder:
        indexing = Indexing(Path(folder), lambda place: (IndexOptions(), ()), IndexConfig)
        plugins = Plugins(PluginOptions(), indexing.search, lookup=IndexLookup(indexing))
        try:
            root = await indexing.require(repository)
            await indexing.refresh(root)
            return root, [await plugins.retrieve(_query(root, one), 60.0) for one in found]
        finally:
            plugins.close()
            await indexing.close()


def _query(root: str, one: Cursor) -> Query:
    language = language_of(one.path)
    return Query(str(Path(root, one.path)), one.path, root, language, one.prefix, one.suffix, LIMIT)


def score(
    session: Session, tokenizer: Tokenizer, prompt: Sequence[int], healed: str, truth: str
) -> tuple[float, int, bool]:
    """(nats of the truth together, its tokens, whether greedy decoding writes it)."""
    wanted = tokenizer.encode(healed + truth)
    session.rewind(0)
    logits = session.forward([*prompt, *wanted], len(wanted) + 1)[:-1].astype(np.float64)
    rows = np.arange(len(wanted))
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[rows, wanted]
    return float(nats.sum()), len(wanted), bool((logits.argmax(axis=1) == wanted).all())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.retrieval_trial")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", action="append", help=f"only these of: {', '.join(w.name for w in WAYS)}")
    options = parser.parse_args(arguments)
    repository = find_repository(options.repository)
    if repository is None:
        parser.error(f"{options.repository}: no git repository")
    found = cursors(dict(texts_at_head(repository, IndexOptions())), options.cases, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        clone = scratch_clone(repository, Path(scratch, "clone.git"))
        root, snippets = asyncio.run(snippets_of(clone.git_dir, found))
    manifest = load_manifest(options.model)
    tokenizer = Tokenizer(options.model, manifest.prompt.token_names(), manifest.vocab)
    session = Session(options.model, manifest, EngineOptions(context_tokens=2048, prefill_chunk=512))
    lines = LineEncoder(tokenizer)
    ways = [way for way in WAYS if not options.way or way.name in options.way]
    sums: dict[str, dict[str, list[Scored]]] = {way.name: {"any": [], "need": []} for way in ways}
    for number, (one, some) in enumerate(zip(found, snippets, strict=True), 1):
        for way in ways:
            chosen = [snippet for source in way.sources for snippet in some if snippet.source == source]
            budget = Budget(PROMPT_TOKENS, way.tokens)
            prompt = build_prompt(_query(root, one), chosen, manifest.prompt, lines, budget)
            measured = score(session, tokenizer, prompt.ids, prompt.healed, one.truth)
            sums[way.name][one.kind].append((*measured, len(prompt.ids)))
        if number % 10 == 0 or number == len(found):
            print(f"{number} of {len(found)}")
            for name, kinds in sums.items():
                print(f"{name:24}", *(_figures(kind, part) for kind, part in kinds.items()), flush=True)


def _figures(kind: str, part: Sequence[Scored]) -> str:
    nats = sum(one[0] for one in part) / max(1, sum(one[1] for one in part))
    exact, tokens = sum(one[2] for one in part), sum(one[3] for one in part) / max(1, len(part))
    return f"  {kind}: {nats:.3f} nats, exact {exact}/{len(part)}, prompt {tokens:.0f}"


if __name__ == "__main__":
    main()
