"""Does a cache of n-grams beside the model make statements more often right?

Hellendoorn and Devanbu (2017): what stands in the same file, and then in the same repository, is likely to
come again after the same tokens. The model's distribution is mixed with those of the continuations of the
last 2, 3, ... tokens, the longest match last: p_L = (1 - w_L) p_(L-1) + w_L c_L, p_1 being the model's own.
Greedy decoding writes the target if at each of its tokens the mixture's most probable one is right, so one
pass over prompt and target tells it for every mixture.

    python -m mccomd_models.ngram_trial --model models/mccomd-135m --cases-file CASES.jsonl --trees CLONES
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mccomd.engine.artifact import Manifest, load_manifest
from mccomd.engine.line_encoder import LineEncoder
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.tokenizer import Tokenizer
from mccomd.evaluate.cases import Case, chosen, load_cases
from mccomd.prompt import Budget, build_prompt
from mccomd.types import Query
from mccomd_models.training.sources import find_clone, read_sources

__all__ = ["Ngrams", "main"]

LONGEST = 8  # tokens matched
PROMPT_TOKENS = 1024
SCALES = (0.0, 0.25, 0.5, 1.0, 2.0)
# What a match of so many tokens counts at scale 1: rising, as a long one is rarely chance.
WEIGHTS = {2: 0.02, 3: 0.05, 4: 0.1, 5: 0.15, 6: 0.2, 7: 0.25, 8: 0.3}

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


class Ngrams:
    """What followed in some ids."""

    def __init__(self, ids: Ints) -> None:
        self._ids = ids
        order = np.argsort(ids, kind="stable").astype(np.int32)
        self._order, self._sorted = order, ids[order]

    def continuations(self, last: Sequence[int]) -> dict[int, Ints]:
        """The ids that followed each match of the last 2, 3, ... tokens, one for each place."""
        found: dict[int, Ints] = {}
        if len(last) < 2:
            return found
        left, right = np.searchsorted(self._sorted, [last[-1], last[-1] + 1])
        places = self._order[left:right]
        places = places[places < len(self._ids) - 1]
        for length in range(2, min(LONGEST, len(last)) + 1):
            places = places[places >= length - 1]
            places = places[self._ids[places - length + 1] == last[-length]]
            if not len(places):
                break
            found[length] = self._ids[places + 1]
        return found


def mixed(model: Floats, caches: Sequence[dict[int, Ints]], scale: float) -> Floats:
    """The mixture; of several caches the first one that knows a match of a length counts for it."""
    result = model
    for length, weight in WEIGHTS.items():
        known = next((cache[length] for cache in caches if length in cache), None)
        if known is None:
            break
        share = min(0.9, scale * weight)
        counts = np.bincount(known, minlength=len(model))
        result = (1 - share) * result + share * counts / counts.sum()
    return result


@dataclass(frozen=True, slots=True)
class _Machine:
    manifest: Manifest
    tokenizer: Tokenizer
    encoder: LineEncoder
    session: Session

    @classmethod
    def of(cls, folder: Path) -> _Machine:
        manifest = load_manifest(folder)
        tokenizer = Tokenizer(folder, manifest.prompt.token_names(), manifest.vocab)
        session = Session(
            folder, manifest, EngineOptions(context_tokens=PROMPT_TOKENS + 512, prefill_chunk=256)
        )
        return cls(manifest, tokenizer, LineEncoder(tokenizer), session)

    def run(self, case: Case) -> tuple[list[int], list[int], int, Floats]:
        """(ids of the text before, wanted ids, those within the healed text, probabilities (wanted, vocab)).

        The text before, not the prompt: that ends with the token that opens the middle, so that nothing would
        match before two tokens of the answer stand.
        """
        query = Query(case.path, case.path, None, "python", case.prefix, case.suffix, 0)
        prompt = build_prompt(query, (), self.manifest.prompt, self.encoder, Budget(PROMPT_TOKENS, 0))
        wanted = self.encoder.encode(prompt.healed + case.target)
        healed = 0
        while healed < len(wanted) and len(self.tokenizer.decode(wanted[: healed + 1])) <= len(prompt.healed):
            healed += 1
        self.session.rewind(0)
        logits = self.session.forward([*prompt.ids, *wanted], len(wanted) + 1)[:-1].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        before = self.encoder.encode(case.prefix.replace("\r\n", "\n").removesuffix(prompt.healed))
        return before, wanted, healed, odds / odds.sum(axis=1, keepdims=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.ngram_trial")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cases-file", type=Path, required=True)
    parser.add_argument(
        "--trees", type=Path, help="clones of the cases' repositories; without: the buffer alone"
    )
    parser.add_argument("--cases", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    machine = _Machine.of(options.model)
    cases = sorted(chosen(load_cases(options.cases_file), options.cases, options.seed), key=lambda c: c.repo)
    repositories: dict[tuple[str, str], dict[str, Ints]] = {}
    right: dict[str, int] = {}
    nats: dict[str, float] = {}
    tokens, spent, looked = 0, 0.0, 0
    for number, case in enumerate(cases, 1):
        before, wanted, healed, odds = machine.run(case)
        buffer = np.array(machine.encoder.encode(case.suffix) + machine.encoder.encode(case.prefix), np.int32)
        names = {"buffer": [Ngrams(buffer)]}
        if options.trees:
            key = case.repo, case.commit
            if key not in repositories:
                repositories = {key: _files(options.trees, case, machine.encoder)}
            others = [ids for path, ids in repositories[key].items() if path != case.path]
            names["buffer, repository"] = [names["buffer"][0], Ngrams(np.concatenate([buffer[:0], *others]))]
        tokens += len(wanted) - healed
        for name, ngrams in names.items():
            began = time.perf_counter()
            last = [*before, *wanted]
            found = [
                [one.continuations(last[: len(before) + at][-LONGEST:]) for one in ngrams]
                for at in range(healed, len(wanted))
            ]
            spent += time.perf_counter() - began
            looked += len(found)
            for scale in SCALES:
                rows = [mixed(odds[healed + i], caches, scale) for i, caches in enumerate(found)]
                which = f"{name} x {scale}"
                exact = all(int(row.argmax()) == wanted[healed + i] for i, row in enumerate(rows))
                right[which] = right.get(which, 0) + exact
                loss = -sum(float(np.log(row[wanted[healed + i]])) for i, row in enumerate(rows))
                nats[which] = nats.get(which, 0.0) + loss
        if number % 25 == 0 or number == len(cases):
            figures = {which: [right[which], round(nats[which] / tokens, 4)] for which in right}
            ms = round(1000 * spent / looked, 2)
            print(
                json.dumps({"cases": number, "exact, nats a token": figures, "ms a lookup": ms}), flush=True
            )


def _files(trees: Path, case: Case, encoder: LineEncoder) -> dict[str, Ints]:
    clone = find_clone(trees, case.repo)
    if clone is None:
        return {}
    found = read_sources(clone, case.repo, case.commit)
    return {one.path: np.array(encoder.encode(one.text), np.int32) for one in found}


if __name__ == "__main__":
    main()
