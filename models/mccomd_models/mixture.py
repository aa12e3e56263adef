"""Learns how much what stands elsewhere counts beside a model: the `mixture` of its manifest.

Hidden statements of repositories that the model was not trained on are read by the daemon's own parts,
teacher forced: index, retrievers, prompt, healing, the n-grams of buffer, snippets and repository. The
weights make what is right most probable. Greedy decoding writes a statement if the most probable candidate is
right at each of its tokens and at its end, so one pass over prompt and statement tells how many are; those of
a repository with weights that were learnt from the others.

    python -m mccomd_models.mixture --model models/mccomd-135m --cases-file CASES --trees CLONES --write
    python -m mccomd_models.mixture --model ... --cases-file CASES --trees CLONES --test OTHERS
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import pickle
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mccomd.below import beginnings
from mccomd.config import IndexConfig
from mccomd.engine import Engine, EngineOptions, Manifest, Mixing, Mixture
from mccomd.engine.artifact import write_manifest
from mccomd.engine.mixture import CACHES, FEATURES, LENGTHS, Row, shares
from mccomd.engine.output import Output
from mccomd.engine.spelling import Spelling
from mccomd.evaluate.cases import Case, chosen, load_cases
from mccomd.evaluate.statistics import pairs_apart, wilson
from mccomd.evaluate.trees import Tree, find_source
from mccomd.generate import mixing
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.ngram_worker import Built, Job, build
from mccomd.plugins import PluginOptions, Plugins
from mccomd.prompt import Budget, Prompt, build_prompt
from mccomd.types import Query
from mccomd_index import IndexOptions

__all__ = ["Sample", "fitted", "main", "mixed"]

PROMPT_TOKENS, SNIPPET_TOKENS, SNIPPETS = 1024, 384, 4
REPOSITORY_TOKENS = 3_000_000
MOST_TOKENS = 240  # of a statement
CHUNK = 32  # tokens of it in a pass
START = -1.5  # of each length's weight: a cache begins with a share of a sixth
RIDGE, STEPS, RATE = 0.5, 400, 0.05

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sample:
    """One token: what could stand there, and what is right."""

    row: Row
    right: Bools  # (candidates)


@dataclass(frozen=True, slots=True)
class _Known:
    """A case's tokens, and which repository it is of."""

    repo: str
    samples: list[Sample]


def mixed(sample: Sample, weights: Floats) -> Floats:
    """Probabilities of the candidates; weights (CACHES, FEATURES)."""
    found: Floats = shares(sample.row.about[None], weights)[0] @ sample.row.odds
    return found


def fitted(samples: Sequence[Sample]) -> Floats:
    """The weights that make what is right most probable (Adam, Kingma and Ba 2015)."""
    samples = [sample for sample in samples if sample.right.any()]
    right = np.array([one.row.odds[:, one.right].sum(axis=1) for one in samples])  # (samples, 1 + CACHES)
    about = np.array([one.row.about for one in samples])
    start = np.zeros((len(CACHES), len(FEATURES)))
    start[:, : len(LENGTHS)] = START
    weights, mean, square = start, np.zeros_like(start), np.zeros_like(start)
    for step in range(1, STEPS + 1):
        parts = shares(about, weights)
        owed = parts * right
        owed /= np.maximum(owed.sum(axis=1, keepdims=True), 1e-300)
        slope = np.einsum("nc,ncf->cf", (parts - owed)[:, 1:], about) + RIDGE * (weights - start)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        weights = weights - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weights


class _Forced(Output):
    """An output that is told what to choose, and keeps what could have been chosen."""

    def __init__(self, spelling: Spelling, heal: bytes, begins: Sequence[bytes], mixing: Mixing) -> None:
        super().__init__(spelling, heal, begins, mixing)
        self._with = mixing
        self._row: Row | None = None
        self.told = -1
        self.seconds_spent = 0.0

    def best_two(self, logits: NDArray[np.float32]) -> tuple[int, float, int, float]:
        began = time.perf_counter()
        self._row = self._with.row(logits, self.ids)
        self.seconds_spent += time.perf_counter() - began
        return self.told, 1.0, self.told, 0.0

    def row(self, logits: NDArray[np.float32], told: int) -> Row | None:
        """What could be chosen; None where that is part of the healed text."""
        self.told, before = told, len(self.probabilities)
        self.choose(logits)
        return self._row if len(self.probabilities) > before else None


class _Reader:
    """Samples of cases, from the real index and retrievers."""

    def __init__(self, model: Path, trees: Path) -> None:
        self._engine = Engine(model, EngineOptions(context_tokens=PROMPT_TOKENS + 2 * MOST_TOKENS))
        self._model, self._trees = model, trees
        vocab = range(self._engine.manifest.vocab)
        self._ends = np.array([self._engine.bytes_of(i).startswith((b"\n", b"\r\n")) for i in vocab])
        self._ends[[i for i in vocab if not self._engine.bytes_of(i)]] = True
        self._nothing = Mixture(np.zeros((len(CACHES), len(FEATURES))))
        self.rows, self.spent = 0, 0.0

    @property
    def manifest(self) -> Manifest:
        return self._engine.manifest

    async def read(self, cases: Sequence[Case]) -> list[_Known]:
        found: list[_Known] = []
        with tempfile.TemporaryDirectory() as folder:
            indexing = Indexing(Path(folder), lambda place: (IndexOptions(), ()), IndexConfig)
            plugins = Plugins(PluginOptions(), indexing.search, lookup=IndexLookup(indexing))
            try:
                for (repo, commit), group in itertools.groupby(cases, lambda case: (case.repo, case.commit)):
                    with Tree(find_source(self._trees, repo), commit) as tree:
                        built: Built | None = None
                        for case in group:
                            path = str(tree.show(case))
                            root = await indexing.require(path)
                            await indexing.refresh(root)
                            query = Query(
                                path, case.path, root, case.language, case.prefix, case.suffix, SNIPPETS
                            )
                            snippets = await plugins.retrieve(query, 20.0)
                            built = built or self._table(indexing, root, case)
                            prompt = build_prompt(
                                query,
                                snippets,
                                self._engine.manifest.prompt,
                                self._engine.lines,
                                Budget(PROMPT_TOKENS, SNIPPET_TOKENS),
                            )
                            with_it = mixing(
                                self._engine, query, prompt, self._nothing, built.without(case.path)
                            )
                            found.append(_Known(repo, self._samples(case, prompt, with_it)))
                            print(f"{len(found)} of {len(cases)}", flush=True)
            finally:
                plugins.close()
                await indexing.close()
        return found

    def _table(self, indexing: Indexing, root: str, case: Case) -> Built:
        now = indexing.indexed(root)
        if now is None:
            raise SystemExit(f"{case.repo} has no index")
        return build(
            Job(
                root,
                str(now.folder),
                now.options,
                case.language,
                case.path,
                str(self._model),
                REPOSITORY_TOKENS,
            )
        )

    def _samples(self, case: Case, prompt: Prompt, with_it: Mixing) -> list[Sample]:
        wanted = self._engine.lines.encode(prompt.healed + case.target)[:MOST_TOKENS]
        begins = tuple(text.encode() for text in beginnings(case.prefix, case.suffix, case.language))
        machinery = self._engine._open()
        output = _Forced(machinery.spelling, prompt.healed.encode(), begins, with_it)
        cached, ids = machinery.cached, list(prompt.ids)
        cached.reuse(ids)
        cached.rewind(0)
        for at in range(0, len(ids) - 1, 256):
            cached.forward(ids[at : min(at + 256, len(ids) - 1)], 1)
        last = [ids[-1], *wanted]
        parts = [last[at : at + CHUNK] for at in range(0, len(last), CHUNK)]
        logits = [row for part in parts for row in cached.forward(part, len(part)).copy()]
        cached.rewind(0)
        found = []
        for at, told in enumerate([*wanted, -1]):
            if told < 0:
                row: Row | None = with_it.row(logits[at], output.ids)
            else:
                row = output.row(logits[at], told)
            if row is not None:
                found.append(Sample(row, self._ends[row.ids] if told < 0 else row.ids == told))
        self.rows, self.spent = self.rows + len(wanted), self.spent + output.seconds_spent
        return found


def _report(known: Sequence[_Known], weights: Sequence[Floats]) -> dict[str, Any]:
    """Of each case by its own weights."""
    pairs = list(zip(known, weights, strict=True))
    alone = [all(bool(s.right[0]) for s in case.samples) for case in known]
    after = [all(bool(s.right[mixed(s, w).argmax()]) for s in case.samples) for case, w in pairs]
    rows = [(sample, w) for case, w in pairs for sample in case.samples if sample.right.any()]
    nats = [
        -float(np.mean([np.log(sample.row.odds[0][sample.right].sum()) for sample, _ in rows])),
        -float(np.mean([np.log(mixed(sample, w)[sample.right].sum()) for sample, w in rows])),
    ]
    both = list(zip(alone, after, strict=True))
    return {
        "cases": len(known),
        "exact": [sum(alone), sum(after)],
        "intervals": [wilson(sum(alone), len(known)), wilson(sum(after), len(known))],
        "better, worse": [sum(b > a for a, b in both), sum(a > b for a, b in both)],
        "p": pairs_apart(alone, after),
        "nats a token among candidates": nats,
    }


def _samples_of(known: Sequence[_Known]) -> list[Sample]:
    return [sample for case in known for sample in case.samples]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m mccomd_models.mixture",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="its folder")
    parser.add_argument("--cases-file", type=Path, required=True, help="what the weights are learnt from")
    parser.add_argument("--trees", type=Path, required=True, help="the cases' repositories")
    parser.add_argument("--test", type=Path, help="cases of other repositories")
    parser.add_argument("--cases", type=int, default=400, help="of each file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, help="a file for what was read: given again, it is not read again"
    )
    parser.add_argument("--write", action="store_true", help="the weights into the model's manifest")
    options = parser.parse_args(arguments)
    reader = _Reader(options.model, options.trees)

    def read(file: Path) -> list[_Known]:
        return asyncio.run(reader.read(chosen(load_cases(file), options.cases, options.seed)))

    if options.keep and options.keep.exists():
        known = pickle.loads(options.keep.read_bytes())
    else:
        known = read(options.cases_file)
        if options.keep:
            options.keep.write_bytes(pickle.dumps(known))
    weights = fitted(_samples_of(known))
    print(json.dumps(Mixture(weights).written(), indent=2))
    repos = sorted({case.repo for case in known})
    if len(repos) > 1:
        by_others = {repo: fitted(_samples_of([c for c in known if c.repo != repo])) for repo in repos}
        print(json.dumps({"cross-validated": _report(known, [by_others[case.repo] for case in known])}))
    if options.test:
        test = read(options.test)
        print(json.dumps({"test": _report(test, [weights] * len(test))}))
    print(f"{1000 * reader.spent / max(1, reader.rows):.2f} ms a token")
    if options.write:
        manifest = reader.manifest
        write_manifest(options.model, msgspec.structs.replace(manifest, mixture=Mixture(weights).written()))
        print(f"written into {options.model}")


if __name__ == "__main__":
    main()
