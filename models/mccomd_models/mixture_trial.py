"""Does a cache of n-grams help with learnt weights, beside snippets in the prompt?

At each token of a hidden statement the candidates are the model's most probable ids and what followed the
last ids in the buffer, in the retrieved snippets and in the repository's other files. A candidate's score is
linear in log p of the model, log of how much more probable each cache makes it (the recursive mixture of
Witten and Bell over its matches, from 2 ids to the longest), and in where the word that it spells stands. The
weights are those of a conditional logit model, fitted on one file of cases and tested on another; they may be
negative. Greedy decoding writes the target if the first candidate is right at each of its tokens and at its
end, so one pass over prompt and target tells it.

    python -m mccomd_models.mixture_trial --model models/mccomd-135m --fit DEV --test CASES --trees CLONES
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
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

__all__ = ["Row", "fitted", "main", "smoothed"]

BEST = 24  # candidates of the model's own
FOLLOWERS = 4  # of each cache
LEAST = -27.0  # log p
PROMPT_TOKENS, SNIPPET_TOKENS, SNIPPETS = 1024, 384, 4
FEATURES = (
    "model",
    "buffer",
    "snippets",
    "repository",
    "word of the buffer",
    "of the snippets",
    "of neither",
)
RIDGE = 3.0

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Row:
    """One token: what could stand there, the model's first choice first, and what is right."""

    features: Floats  # (candidates, FEATURES); the first column is log p of the model
    right: Bools  # (candidates,)


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
    """The weights that make what is right most probable; Newton's method, each step halved until it helps."""
    rows = [row for row in rows if row.right.any()]
    most, width = max(len(row.right) for row in rows), rows[0].features.shape[1]
    x, right = np.zeros((len(rows), most, width)), np.zeros((len(rows), most), bool)
    there = np.full((len(rows), most), -np.inf)
    for i, row in enumerate(rows):
        x[i, : len(row.right)], right[i, : len(row.right)], there[i, : len(row.right)] = (
            row.features,
            row.right,
            0,
        )
    start = np.eye(width)[0]  # the model alone

    def value(weights: Floats) -> tuple[float, Floats, Floats]:
        scores = there + x @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        hit = np.maximum((odds * right).sum(axis=1, keepdims=True), 1e-300)
        loss = -float(np.log(hit).sum()) + RIDGE / 2 * float(((weights - start) ** 2).sum())
        return loss, odds, odds * right / hit

    weights = start
    loss, odds, wanted = value(weights)
    for _ in range(50):
        slope = np.einsum("nmk,nm->k", x, odds - wanted) + RIDGE * (weights - start)
        mean = np.einsum("nmk,nm->nk", x, odds)
        bend = np.einsum("nmk,nml->kl", x * odds[:, :, None], x) - mean.T @ mean + RIDGE * np.eye(width)
        step, size = np.linalg.solve(bend, slope), 1.0
        while size > 1e-4 and value(weights - size * step)[0] >= loss:
            size /= 2
        if size <= 1e-4:
            break
        weights = weights - size * step
        before, (loss, odds, wanted) = loss, value(weights)
        if before - loss < 1e-4:
            break
    found: Floats = weights
    return found


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
        words = [_beginnings(case.prefix + "\n" + case.suffix), _beginnings(shown)]
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
                head = case.prefix.removesuffix(healed)[-80:] + written
                found.append(
                    self._row(row, last, caches, words, head, wanted[at] if at < len(wanted) else -1)
                )
            written = ends
        return found

    def _row(
        self,
        logits: Floats,
        last: Sequence[int],
        caches: Sequence[Ngrams],
        words: Sequence[set[str]],
        head: str,
        wanted: int,
    ) -> Row:
        logs = logits - logits.max()
        logs -= np.log(np.exp(logs).sum())
        began = time.perf_counter()
        matches = [cache.continuations(last) for cache in caches]
        self.spent, self.looked = self.spent + time.perf_counter() - began, self.looked + 1
        more = itertools.chain.from_iterable(map(_top, matches))
        best = np.argpartition(-logs, BEST)[:BEST].tolist()
        some = np.array(sorted({*best, *(i for i in more if i >= 0)}, key=lambda i: -logs[i]), np.int32)
        base = np.maximum(logs[some], LEAST)
        features = np.zeros((len(some), len(FEATURES)))
        features[:, 0] = base
        for column, found in enumerate(matches, 1):
            features[:, column] = np.log(smoothed(found, some, np.exp(base))) - base
        half = re.search(r"[A-Za-z_]\w*\Z", head)
        for i, token_id in enumerate(some):
            word = _word(half[0] if half else "", self._texts[token_id])
            if word:
                where = next((n for n, known in enumerate(words) if word in known), len(words))
                features[i, 4 + where] = 1
        return Row(features, some == wanted if wanted >= 0 else self._ends[some])


def _top(found: dict[int, Ints]) -> Iterator[int]:
    """What followed the longest matches most often."""
    for length in sorted(found)[-3:]:
        known, counts = np.unique(found[length], return_counts=True)
        yield from known[np.argsort(-counts)[:FOLLOWERS]].tolist()


def _beginnings(text: str) -> set[str]:
    return {word[:size] for word in set(_WORD.findall(text)) for size in range(1, len(word) + 1)}


def _word(half: str, text: str) -> str:
    """The word that an id's text goes on with or begins, as far as it is written."""
    goes_on = re.match(r"\w+", text)
    begins = re.match(r"[^\w\n]*([A-Za-z_]\w*)", text)
    return half + goes_on[0] if goes_on else begins[1] if begins else ""


def _report(cases: Sequence[Sequence[Row]], weights: Floats) -> dict[str, object]:
    alone = [all(bool(row.right[0]) for row in rows) for rows in cases]
    mixed = [all(bool(row.right[(row.features @ weights).argmax()]) for row in rows) for rows in cases]
    nats = []
    for scale in (np.eye(len(FEATURES))[0], weights):
        scores = [(row.features @ scale, row.right) for rows in cases for row in rows if row.right.any()]
        nats.append(float(np.mean([np.logaddexp.reduce(s) - np.logaddexp.reduce(s[r]) for s, r in scores])))
    return {
        "exact": [sum(alone), sum(mixed), len(cases)],
        "intervals": [wilson(sum(alone), len(cases)), wilson(sum(mixed), len(cases))],
        "better, worse": [sum(b > a for a, b in zip(alone, mixed, strict=True)),
                          sum(a > b for a, b in zip(alone, mixed, strict=True))],
        "p": pairs_apart(alone, mixed),
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
    print(json.dumps(dict(zip(FEATURES, weights.round(2).tolist(), strict=True))))
    for name, part in zip(("fit", "test"), rows, strict=True):
        print(json.dumps({name: _report(part, weights)}))
    print(f"{1000 * trial.spent / max(1, trial.looked):.2f} ms a look-up in all caches")


if __name__ == "__main__":
    main()
