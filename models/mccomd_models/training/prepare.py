"""Repositories -> shards: read, filter, drop near-duplicates, make samples, shuffle, write."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from mccomd.prompt import Encoder
from mccomd_models.training.duplicates import NearDuplicates
from mccomd_models.training.quality import fault
from mccomd_models.training.retrieval import Bm25
from mccomd_models.training.samples import CONVENTION, Maker, Sample, Shape
from mccomd_models.training.shards import write_shards
from mccomd_models.training.sources import (
    Entry,
    Source,
    barred_fingerprints,
    excluded,
    find_clone,
    fingerprint,
    read_sources,
)

__all__ = ["Prepared", "prepare"]


@dataclass(slots=True)
class Prepared:
    """What went in, what was left out, what came out."""

    files: int = 0
    characters: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)  # repositories that are not at hand
    barred: list[str] = field(default_factory=list)  # excluded ones that are, whose files were looked for
    samples: int = 0
    tokens: int = 0
    middle_tokens: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def prepare(
    entries: Sequence[Entry],
    clones: Path,
    folder: Path,
    encoder: Encoder,
    shape: Shape,
    seed: int,
    limit: int | None = None,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Make the shards of some repositories. limit: at most so many samples a repository."""
    report = Prepared()
    barred, report.barred = barred_fingerprints(clones, excluded())
    say(f"excluded repositories at hand: {len(report.barred)}, {len(barred):,} files")
    gate = _Gate(barred, report)
    maker, samples = Maker(encoder, shape), list[Sample]()
    for entry in entries:
        clone = find_clone(clones, entry.name)
        if clone is None:
            report.missing.append(entry.name)
            continue
        everything = list(read_sources(clone, entry.name, entry.commit))
        rng = random.Random(f"{seed} {entry.name}")
        found = list(_samples(maker, gate.pass_through(everything), everything, rng, limit))
        samples += found
        say(f"{entry.name}: {len(everything):,} files, {len(found):,} samples")
    random.Random(seed).shuffle(samples)
    about = {"shape": asdict(shape), "seed": seed, "convention": msgspec.to_builtins(CONVENTION)}
    write_shards(folder, samples, about)
    report.samples = len(samples)
    report.tokens = sum(len(sample.ids) for sample in samples)
    report.middle_tokens = sum(len(sample.ids) - sample.middle for sample in samples)
    report.kinds.update(sample.kind for sample in samples)
    return report


def _samples(
    maker: Maker, good: Sequence[Source], everything: Sequence[Source], rng: random.Random, limit: int | None
) -> Iterator[Sample]:
    """Samples of the good files; snippets may come from any: that is what the daemon's index holds."""
    index = Bm25(everything)
    made = 0
    for source in rng.sample(good, len(good)):
        for sample in maker.of_file(source, index, rng):
            if made == limit:
                return
            made += 1
            yield sample


@dataclass(slots=True)
class _Gate:
    """Lets pass what is good, new, and in no excluded repository."""

    barred: set[bytes]
    report: Prepared
    known: NearDuplicates = field(default_factory=NearDuplicates)

    def pass_through(self, sources: Sequence[Source]) -> list[Source]:
        kept = []
        for source in sources:
            reason = self._reason(source)
            if reason is None:
                kept.append(source)
                self.report.files += 1
                self.report.characters += len(source.text)
            else:
                self.report.left_out[reason] += 1
        return kept

    def _reason(self, source: Source) -> str | None:
        if (found := fault(source.path, source.text)) is not None:
            return found
        if fingerprint(source.text) in self.barred:
            return "stands in an excluded repository"
        if not self.known.add(source.text):
            return "near-duplicate"
        return None
