"""What comes next by the model and by what followed the same ids elsewhere, as one distribution.

The model's probabilities are mixed with those of three caches: the text around the cursor, the snippets of
the prompt, the repository. Each cache is the mixture of Witten and Bell over its matches, the model below.
The shares are a softmax of a few features of each cache; the model's manifest has the weights learnt for it.
Sources: caches as in Hellendoorn and Devanbu 2017, shares by features as in He et al. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mccomd.engine.ngrams import LONGEST, Cache, Match
from mccomd.engine.session import FloatArray
from mccomd.errors import ArtifactError

__all__ = ["CACHES", "FEATURES", "Known", "Mixing", "Mixture", "Row", "shares"]

CACHES = ("buffer", "snippets", "repository")
LENGTHS = (2, 3, 4, 6, 9)
"""Of the longest match: from each on it counts as longer."""
FEATURES = (
    *(f"match {n}" for n in LENGTHS),  # one of these
    "top share",  # of the longest match's followers
    "matches",  # places of it, as a logarithm
    "agrees",  # its top follower is the model's best
    "model's best",  # its probability
    "model's second",
    "entropy",  # of the model
    "best",  # probability that the cache gives its own best
    "model's view",  # of that one, as a logarithm
    "others agree",  # caches with the same best
    "others differ",
)

BEST = 24  # candidates of the model's own
LEAST = 1e-6  # a probability below it counts as it
SURE = 0.9
"""Where the model's best is as probable as that it speaks alone. Half of all tokens; a mixture would make no
more of them right (2026-11-26), and takes half a millisecond each."""
UNLIKELY = 8.0  # nats below the best one an id is no candidate
FOLLOWERS = 4  # candidates of each of a cache's longest matches
MATCHES = 3  # so many of these

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """What could come next: the model's first choice first."""

    ids: Places  # (candidates)
    odds: Floats  # (1 + CACHES, candidates): the model's probabilities, and each cache's
    about: Floats  # (CACHES, FEATURES); zeros where nothing matches


@dataclass(frozen=True, slots=True)
class Known:
    """What stands around an answer."""

    before: tuple[int, ...]  # the ids that it goes on from: the last LONGEST are enough
    caches: tuple[Cache | None, ...]  # as CACHES; None: there is none


def shares(about: Floats, weights: Floats) -> Floats:
    """(rows, 1 + CACHES) of (rows, CACHES, FEATURES): a cache without a match has none."""
    scores = np.where(about.any(axis=2), (about * weights).sum(axis=2), -np.inf)
    parts = np.exp(np.concatenate([np.zeros((len(about), 1)), scores], axis=1))
    found: Floats = parts / parts.sum(axis=1, keepdims=True)
    return found


class Mixture:
    """The weights that a model's manifest has; without them nothing is mixed."""

    def __init__(self, weights: Floats) -> None:
        """weights: (CACHES, FEATURES)"""
        self.weights = weights

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> Mixture:
        """Of a manifest's `mixture`: for each cache the weights in the order of `features`.

        ArtifactError: weights of other caches or features than this version knows.
        """
        try:
            weights = np.array([raw[cache] for cache in CACHES], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the manifest's mixture has no weights of {', '.join(CACHES)}") from error
        if raw.get("features") != list(FEATURES) or weights.shape != (len(CACHES), len(FEATURES)):
            raise ArtifactError("the manifest's mixture is of other features than this version knows")
        if not np.isfinite(weights).all():
            raise ArtifactError("the manifest's mixture has weights that are no numbers")
        return cls(weights)

    def written(self) -> dict[str, object]:
        """As `read` takes it."""
        rows = zip(CACHES, self.weights.round(4).tolist(), strict=True)
        return {"features": list(FEATURES), **dict(rows)}


class Mixing:
    """The mixture at work in one answer."""

    def __init__(self, mixture: Mixture, known: Known) -> None:
        self._weights = mixture.weights
        self._known = known

    @property
    def before(self) -> tuple[int, ...]:
        """The ids that the answer goes on from."""
        return self._known.before

    def behind(self, ids: Sequence[int]) -> Mixing:
        """The same for an answer that begins behind these ids."""
        known = replace(self._known, before=(*self.before, *ids))
        return Mixing(Mixture(self._weights), known)

    def odds(self, logits: FloatArray, written: Sequence[int]) -> tuple[Places, Floats]:
        """Ids and their probabilities; those of all other ids are small, and together what these lack.

        logits: float32 (vocab), -inf for ids that may not come. written: the answer so far.
        """
        row = self.row(logits, written)
        if not row.about.any():
            return row.ids, row.odds[0].copy()
        mixed: Floats = shares(row.about[None], self._weights)[0] @ row.odds
        return row.ids, mixed

    def row(self, logits: FloatArray, written: Sequence[int]) -> Row:
        """What `odds` mixes."""
        relative = logits - logits.max()
        weights = np.exp(relative)
        total = float(weights.sum())
        found: list[list[_Counted]] = [[] for _ in CACHES]
        if 1 / total < SURE:
            last = [*self.before, *written][-LONGEST:]
            caches = self._known.caches
            found = [[] if cache is None else _counted(cache.matches(last), relative) for cache in caches]
        ids = _candidates(relative, found)
        odds = weights[ids].astype(np.float64) / total
        entropy = 0.0
        if any(found):
            entropy = float(np.log(total) - weights @ np.maximum(relative, -100.0) / total)
        every = np.array([odds, *(_smoothed(matches, ids, odds) for matches in found)])
        return Row(ids, every, _about(found, ids, every, entropy))


@dataclass(frozen=True, slots=True)
class _Counted:
    """A match's followers, each once."""

    length: int
    lengths: int
    ids: NDArray[np.int32]  # ascending
    counts: Places

    def top(self, most: int) -> NDArray[np.int32]:
        """The most frequent ones, the most frequent first."""
        return self.ids[np.argsort(-self.counts, kind="stable")[:most]]


def _counted(matches: Sequence[Match], relative: FloatArray) -> list[_Counted]:
    """Without the followers that may not come."""
    found = []
    for match in matches:
        ids, counts = np.unique(match.followers, return_counts=True)
        may_come = relative[ids] > -np.inf
        if not may_come.all():
            ids, counts = ids[may_come], counts[may_come]
        if len(ids):
            found.append(_Counted(match.length, match.lengths, ids, counts))
    return found


def _candidates(relative: FloatArray, found: Sequence[Sequence[_Counted]]) -> Places:
    """The model's best ids and those that followed the longest matches most often; its best first."""
    best = np.flatnonzero(relative > -UNLIKELY)
    if len(best) > BEST:
        best = best[np.argpartition(-relative[best], BEST)[:BEST]]
    more = [match.top(FOLLOWERS) for matches in found for match in matches[-MATCHES:]]
    ids = np.unique(np.concatenate([best, *more]).astype(np.int64))
    return ids[np.argsort(-relative[ids], kind="stable")]


def _smoothed(matches: Sequence[_Counted], ids: Places, base: Floats) -> Floats:
    """Probabilities of ids by the followers of each match, the shortest first, over `base`."""
    for match in matches:
        count, kinds = int(match.counts.sum()), len(match.ids)
        at = np.minimum(np.searchsorted(match.ids, ids), kinds - 1)
        share = np.where(match.ids[at] == ids, match.counts[at], 0) / count
        trust = 1 - (1 - count / (count + 0.5 * kinds + 0.5)) ** match.lengths
        base = trust * share + (1 - trust) * base
    return base


def _about(found: Sequence[Sequence[_Counted]], ids: Places, odds: Floats, entropy: float) -> Floats:
    """(CACHES, FEATURES)"""
    about = np.zeros((len(CACHES), len(FEATURES)))
    best = [int(row.argmax()) for row in odds[1:]]
    some = [place for place, matches in zip(best, found, strict=True) if matches]
    first, second = float(odds[0, 0]), float(odds[0, 1]) if len(ids) > 1 else 0.0
    for its, place, row, matches in zip(about, best, odds[1:], found, strict=True):
        if not matches:
            continue
        longest = matches[-1]
        count = int(longest.counts.sum())
        its[sum(longest.length >= length for length in LENGTHS) - 1] = 1
        its[len(LENGTHS) :] = (
            int(longest.counts.max()) / count,
            math.log1p(count) / 5,
            float(longest.top(1)[0] == ids[0]),
            first,
            second,
            entropy / 3,
            row[place],
            math.log(max(odds[0, place], LEAST)) / 5,
            some.count(place) - 1,
            len(some) - some.count(place),
        )
    return about
