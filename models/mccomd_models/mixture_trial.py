"""Does a cache of n-grams help with learnt weights, beside snippets in the prompt?

At each token of a hidden statement the model's probabilities are mixed with those of three caches: what
followed the last ids in the buffer, in the retrieved snippets, in the repository's other files (by the
recursive mixture of Witten and Bell over the matches, from 2 ids to the longest, with the model below). The
shares of the mixture are a softmax of a few features of each cache, fitted on one file of cases and tested on
another (adaptive weights as in He et al. 2021, caches as in Hellendoorn and Devanbu 2017). Greedy decoding
writes the target if the most probable candidate is right at each of its tokens and at its end, so one pass
over prompt and target tells.

    python -m mccomd_models.mixture_trial --model models/mccomd-135m --fit DEV --test CASES --trees CLONES
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mccomd.config import IndexConfig
from mccomd.engine import Engine, EngineOptions
from mccomd.evaluate.cases import Case, chosen, load_cases
from mccomd.evaluate.statistics import pairs_apart, wilson
from mccomd.evaluate.trees import Tree, find_source
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.plugins import PluginOptions, Plugins
from mccomd.prompt import Budget, build_prompt
from mccomd.types import Query
from mccomd_index import IndexOptions
from mccomd_models.ngram_trial import LONGEST, Ngrams

__all__ = ["Row", "fitted", "main", "mixed", "smoothed"]

BEST = 24  # candidates of the model's own
FOLLOWERS = 4  # of each cache
PROMPT_TOKENS, SNIPPET_TOKENS, SNIPPETS = 1024, 384, 4
CACHES = ("buffer", "snippets", "repository")
LENGTHS = (2, 3, 4, 6, 9)  # of the longest match, from which on it counts as longer
FEATURES = (*(f"match {n}" for n in LENGTHS), "top share", "matches", "agrees", "model's best", "entropy")
START = -1.5  # of each length's weight: a cache begins with a share of a sixth
RIDGE, STEPS, RATE = 0.5, 400, 0.05

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Row:
    """One token: what could stand there, the model's first choice first, and what is right."""

    odds: Floats  # (1 + CACHES, candidates): the model's probabilities, and each cache's
    about: Floats  # (CACHES, FEATURES); zeros where nothing matches
    right: Bools  # (candidates,)


def mixed(row: Row, weights: Floats) -> Floats:
    """Probabilities of the candidates; weights (CACHES, FEATURES)."""
    found: Floats = _shares(row.about[None], weights)[0] @ row.odds
    return found


def _shares(about: Floats, weights: Floats) -> Floats:
    """(rows, 1 + CACHES); a cache without a match has none."""
    scores = np.where(about.any(axis=2), (about * weights).sum(axis=2), -np.inf)
    parts = np.exp(np.concatenate([np.zeros((len(about), 1)), scores], axis=1))
    shares: Floats = parts / parts.sum(axis=1, keepdims=True)
    return shares


def smoothed(found: dict[int, Ints], ids: Ints, base: Floats) -> Floats:
    """Probabilities of ids by the followers of each match, the shortest first, over `base`."""
    for length in sorted(found):
        known, counts = np.unique(found[length], return_counts=True)
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        share = np.where(known[at] == ids, counts[at], 0) / counts.sum()
        trust = counts.sum() / (counts.sum() + 0.5 * len(known) + 0.5)
        base = trust * share + (1 - trust) * base
    return base


def fitted(rows: Sequence[Row]) -> Floats:
    """The weights that make what is right most probable (Adam, Kingma and Ba 2015)."""
    rows = [row for row in rows if row.right.any()]
    right = np.array([row.odds[:, row.right].sum(axis=1) for row in rows])  # (rows, 1 + CACHES)
    about = np.array([row.about for row in rows])
    start = np.zeros(about.shape[1:])
    start[:, : len(LENGTHS)] = START
    weights, mean, square = start, np.zeros_like(start), np.zeros_like(start)
    for step in range(1, STEPS + 1):
        shares = _shares(about, weights)
        owed = shares * right
        owed /= np.maximum(owed.sum(axis=1, keepdims=True), 1e-300)
        slope = np.einsum("nc,ncf->cf", (shares - owed)[:, 1:], about) + RIDGE * (weights - start)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        weights = weights - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weights


class _Trial:
    """Rows of cases, from the real index and retrievers."""

    def __init__(self, model: Path, trees: Path) -> None:
        options = EngineOptions(context_tokens=PROMPT_TOKENS + 512, prefill_chunk=256)
        self._engine, self._trees = Engine(model, options), trees
        vocab = range(self._engine.manifest.vocab)
        self._texts = [self._engine.tokenizer.token_bytes(i).decode(errors="replace") for i in vocab]
        self._ends = np.array([text.startswith(("\n", "\r\n")) for text in self._texts])
        self._ends[list(self._engine.manifest.end_ids)] = True
        self.looked, self.spent = 0, 0.0

    async def rows(self, cases: Sequence[Case]) -> list[list[Row]]:
        found: list[list[Row]] = []
        with tempfile.TemporaryDirectory() as folder:
            indexing = Indexing(Path(folder), lambda place: (IndexOptions(), ()), IndexConfig)
            plugins = Plugins(PluginOptions(), indexing.search, lookup=IndexLookup(indexing))
            try:
                for (repo, commit), group in itertools.groupby(cases, lambda case: (case.repo, case.commit)):
                    with Tree(find_source(self._trees, repo), commit) as tree:
                        files = self._files(tree.root)
                        for case in group:
                            path = str(tree.show(case))
                            root = await indexing.require(path)
                            await indexing.refresh(root)
                            query = Query(
                                path, case.path, root, case.language, case.prefix, case.suffix, SNIPPETS
                            )
                            snippets = await plugins.retrieve(query, 20.0)
                            prompt = build_prompt(
                                query,
                                snippets,
                                self._engine.manifest.prompt,
                                self._engine.lines,
                                Budget(PROMPT_TOKENS, SNIPPET_TOKENS),
                            )
                            shown = "\n".join(snippet.text for snippet in prompt.snippets)
                            others = [ids for name, ids in files.items() if name != case.path]
                            found.append(self._of(case, list(prompt.ids), prompt.healed, shown, others))
                            print(f"{len(found)} of {len(cases)}", flush=True)
            finally:
                plugins.close()
                await indexing.close()
        return found

    def _files(self, root: Path) -> dict[str, Ints]:
        paths = [path for path in sorted(root.rglob("*.py")) if path.stat().st_size <= 512_000]
        return {
            path.relative_to(root).as_posix(): self._ids(path.read_text("utf-8", "replace")) for path in paths
        }

    def _ids(self, text: str) -> Ints:
        return np.array(self._engine.lines.encode(text), np.int32)

    def _of(
        self, case: Case, prompt: list[int], healed: str, shown: str, others: Sequence[Ints]
    ) -> list[Row]:
        wanted = self._engine.lines.encode(healed + case.target)[:240]
        before = self._ids(case.prefix.removesuffix(healed))
        nothing = np.array([-1], np.int32)  # between two texts
        caches = (
            Ngrams(np.concatenate([self._ids(case.suffix), nothing, before])),
            Ngrams(np.concatenate([self._ids(shown), nothing])),
            Ngrams(np.concatenate([nothing, *others, nothing])),
        )
        cached = self._engine._open().cached
        cached.reuse(prompt)
        cached.rewind(0)
        for at in range(0, len(prompt) - 1, 256):
            cached.forward(prompt[at : min(at + 256, len(prompt) - 1)], 1)
        logits = cached.forward([prompt[-1], *wanted], len(wanted) + 1).astype(np.float64)
        cached.rewind(0)
        found, written = [], ""
        for at, row in enumerate(logits):
            ends = written + (self._texts[wanted[at]] if at < len(wanted) else "\n")
            if len(ends) > len(healed):
                last = [*before[-LONGEST:].tolist(), *wanted[:at]][-LONGEST:]
                found.append(self._row(row, last, caches, wanted[at] if at < len(wanted) else -1))
            written = ends
        return found

    def _row(self, logits: Floats, last: Sequence[int], caches: Sequence[Ngrams], wanted: int) -> Row:
        logs = logits - logits.max()
        logs -= np.log(np.exp(logs).sum())
        began = time.perf_counter()
        matches = [cache.continuations(last) for cache in caches]
        self.spent, self.looked = self.spent + time.perf_counter() - began, self.looked + 1
        more = itertools.chain.from_iterable(map(_top, matches))
        best = np.argpartition(-logs, BEST)[:BEST].tolist()
        some = np.array(sorted({*best, *(i for i in more if i >= 0)}, key=lambda i: -logs[i]), np.int32)
        odds = np.exp(logs[some])
        entropy = -float((np.exp(logs) * logs).sum())
        return Row(
            np.array([odds, *(smoothed(found, some, odds) for found in matches)]),
            np.array([_about(found, int(some[0]), float(odds[0]), entropy) for found in matches]),
            some == wanted if wanted >= 0 else self._ends[some],
        )


def _about(found: dict[int, Ints], best: int, odds: float, entropy: float) -> Floats:
    """A cache's FEATURES."""
    about = np.zeros(len(FEATURES))
    if found:
        longest = max(found)
        known, counts = np.unique(found[longest], return_counts=True)
        about[sum(longest >= length for length in LENGTHS) - 1] = 1
        agrees = float(known[counts.argmax()] == best)
        about[len(LENGTHS) :] = (
            counts.max() / counts.sum(),
            np.log1p(counts.sum()) / 5,
            agrees,
            odds,
            entropy / 3,
        )
    return about


def _top(found: dict[int, Ints]) -> Iterator[int]:
    """What followed the longest matches most often."""
    for length in sorted(found)[-3:]:
        known, counts = np.unique(found[length], return_counts=True)
        yield from known[np.argsort(-counts)[:FOLLOWERS]].tolist()


def _report(cases: Sequence[Sequence[Row]], weights: Floats) -> dict[str, object]:
    alone = [all(bool(row.right[0]) for row in rows) for rows in cases]
    after = [all(bool(row.right[mixed(row, weights).argmax()]) for row in rows) for rows in cases]
    known = [row for rows in cases for row in rows if row.right.any()]
    nats = [-float(np.mean([np.log(row.odds[0][row.right].sum()) for row in known]))]
    nats.append(-float(np.mean([np.log(mixed(row, weights)[row.right].sum()) for row in known])))
    return {
        "exact": [sum(alone), sum(after), len(cases)],
        "intervals": [wilson(sum(alone), len(cases)), wilson(sum(after), len(cases))],
        "better, worse": [sum(b > a for a, b in zip(alone, after, strict=True)),
                          sum(a > b for a, b in zip(alone, after, strict=True))],
        "p": pairs_apart(alone, after),
        "nats a token among candidates": nats,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.mixture_trial")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--fit", type=Path, required=True, help="cases that the weights are learnt from")
    parser.add_argument("--test", type=Path, required=True, help="cases of other repositories")
    parser.add_argument("--trees", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=150, help="of each file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    trial = _Trial(options.model, options.trees)
    rows = [
        asyncio.run(trial.rows(chosen(load_cases(file), options.cases, options.seed)))
        for file in (options.fit, options.test)
    ]
    weights = fitted([row for case in rows[0] for row in case])
    for cache, its in zip(CACHES, weights.round(2).tolist(), strict=True):
        print(json.dumps({cache: dict(zip(FEATURES, its, strict=True))}))
    for name, part in zip(("fit", "test"), rows, strict=True):
        print(json.dumps({name: _report(part, weights)}))
    print(f"{1000 * trial.spent / max(1, trial.looked):.2f} ms a look-up in all caches")


if __name__ == "__main__":
    main()
