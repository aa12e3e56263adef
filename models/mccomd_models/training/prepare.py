"""Repositories -> shards: read, filter, drop near-duplicates, make samples, shuffle, write."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from mccomd.engine.line_encoder import LineEncoder
from mccomd.engine.tokenizer import Tokenizer
from mccomd_models.training.duplicates import NearDuplicates
from mccomd_models.training.quality import fault
from mccomd_models.training.recipe import Shape
from mccomd_models.training.retrieval import Retrieval
from mccomd_models.training.samples import CONVENTION, Maker
from mccomd_models.training.shards import Sample, write_shards
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
    tokenizer: Path,
    shape: Shape,
    seed: int,
    limit: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Prepared:
    """Make the shards of some repositories: the same ones from the same seed, however many workers.

    tokenizer: a folder with tokenizer.json; limit: at most so many samples a repository.
    """
    report = Prepared()
    barred, report.barred = barred_fingerprints(clones, excluded())
    say(f"excluded repositories at hand: {len(report.barred)}, {len(barred):,} files")
    report.missing = [entry.name for entry in entries if find_clone(clones, entry.name) is None]
    there = [entry for entry in entries if entry.name not in report.missing]
    gate = _Gate(barred, report)
    jobs = []
    for entry in there:  # one after the other: what was kept before decides what is a duplicate
        paths = gate.pass_through(_sources(clones, entry))
        jobs.append(_Job(entry, clones, tokenizer, shape, seed, limit, frozenset(paths)))
        say(f"{entry.name}: {len(paths):,} good files")
    samples: list[Sample] = []
    for job, found in zip(jobs, _carry_out(jobs, workers), strict=True):
        samples += found
        say(f"{job.entry.name}: {len(found):,} samples")
    random.Random(seed).shuffle(samples)
    about = {"shape": asdict(shape), "seed": seed, "convention": msgspec.to_builtins(CONVENTION)}
    write_shards(folder, samples, about)
    report.samples = len(samples)
    report.tokens = sum(len(sample.ids) for sample in samples)
    report.middle_tokens = sum(sample.middle_tokens for sample in samples)
    report.kinds.update(sample.kind for sample in samples)
    return report


@dataclass(frozen=True, slots=True)
class _Job:
    """One repository's samples; crosses to another process."""

    entry: Entry
    clones: Path
    tokenizer: Path
    shape: Shape
    seed: int
    limit: int | None
    good: frozenset[str]  # paths


def _carry_out(jobs: Sequence[_Job], workers: int) -> Iterator[list[Sample]]:
    if workers == 1:
        yield from map(_samples, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_samples, jobs)


def _samples(job: _Job) -> list[Sample]:
    """Samples of the good files; snippets may come from any: that is what the daemon's index holds."""
    rng = random.Random(f"{job.seed} {job.entry.name}")
    encoder = LineEncoder(Tokenizer(job.tokenizer, CONVENTION.token_names(), 1 << 16))
    maker = Maker(encoder, job.shape)
    good = [source for source in _sources(job.clones, job.entry) if source.path in job.good]
    clone = find_clone(job.clones, job.entry.name)
    with contextlib.ExitStack() as stack:
        retrieval = None
        if job.shape.with_snippets and good and clone is not None:
            retrieval = stack.enter_context(Retrieval(clone, job.entry.commit))
        made = (s for source in rng.sample(good, len(good)) for s in maker.of_file(source, retrieval, rng))
        return list(itertools.islice(made, job.limit))


def _sources(clones: Path, entry: Entry) -> list[Source]:
    clone = find_clone(clones, entry.name)
    return [] if clone is None else list(read_sources(clone, entry.name, entry.commit))


@dataclass(slots=True)
class _Gate:
    """Lets pass what is good, new, and in no excluded repository."""

    barred: set[bytes]
    report: Prepared
    known: NearDuplicates = field(default_factory=NearDuplicates)

    def pass_through(self, sources: Sequence[Source]) -> list[str]:
        """The paths of those that pass."""
        kept = []
        for source in sources:
            reason = self._reason(source)
            if reason is None:
                kept.append(source.path)
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
