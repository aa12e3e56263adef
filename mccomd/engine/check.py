"""Does a model still compute on this machine what it computed where it was made?

A model folder may carry a few ids and the logits that followed them. Kernels differ between processors in
rounding, so the likeliest ids must agree where they were clear, and logits nearly. Knows no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from mccomd.engine.artifact import Manifest
from mccomd.engine.session import EngineOptions, FloatArray, Session
from mccomd.errors import ArtifactError

__all__ = ["Check", "Checked", "make_check", "run_check"]

ROWS = 24
MOST_APART = 0.15
"""Of the spread of the logits: 8-bit kernels of two processors differ by 0.02, another layout by 1."""


class Check(msgspec.Struct, frozen=True):
    """The manifest's table `check`."""

    ids: tuple[int, ...]
    best: tuple[int, ...]  # the likeliest id after each
    logits: tuple[float, ...]  # the likeliest one's logit, after each
    spread: float  # standard deviation of all logits


@dataclass(frozen=True, slots=True)
class Checked:
    """How far this machine is from the one the model was made on."""

    agreed: int
    rows: int
    apart: float  # mean difference of the logits, in spreads

    @property
    def ok(self) -> bool:
        return self.apart <= MOST_APART and self.agreed >= 0.8 * self.rows


def make_check(folder: Path, manifest: Manifest, ids: Sequence[int]) -> Check:
    """What the model says to the first of these ids. Raises EngineError."""
    kept = tuple(ids[:ROWS])
    logits = _forward(folder, manifest, kept)
    best = logits.argmax(axis=1)
    tops = logits[np.arange(len(kept)), best]
    return Check(
        kept, tuple(map(int, best)), tuple(round(float(x), 4) for x in tops), round(float(logits.std()), 4)
    )


def run_check(folder: Path, manifest: Manifest) -> Checked | None:
    """None where the manifest has no check. Raises ArtifactError, EngineError."""
    if manifest.check is None:
        return None
    try:
        check = msgspec.convert(manifest.check, Check)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{folder}: check: {error}") from error
    rows = len(check.ids)
    if not rows or len(check.best) != rows or len(check.logits) != rows or check.spread <= 0:
        raise ArtifactError(f"{folder}: check: its lists must be of one length and not empty")
    if max((*check.ids, *check.best)) >= manifest.vocab or min((*check.ids, *check.best)) < 0:
        raise ArtifactError(f"{folder}: check: an id is not below {manifest.vocab}")
    logits = _forward(folder, manifest, check.ids)
    found = logits[np.arange(rows), list(check.best)]
    apart = float(np.abs(found - np.array(check.logits, np.float32)).mean()) / check.spread
    agreed = int((logits.argmax(axis=1) == np.array(check.best)).sum())
    return Checked(agreed, rows, apart)


def _forward(folder: Path, manifest: Manifest, ids: Sequence[int]) -> FloatArray:
    session = Session(folder, manifest, EngineOptions(context_tokens=max(64, len(ids))))
    try:
        return session.forward(list(ids), len(ids)).copy()
    finally:
        session.close()
