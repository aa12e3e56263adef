"""From the history to a model that predicts better than confidence alone, or to why there is none."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev

from mccomd_router_logistic.features import BASELINE, Place, features
from mccomd_router_logistic.regression import chance, fit, surprises

__all__ = ["HISTORY_FILE", "Learnt", "Row", "cut_for", "learn", "read_history"]

HISTORY_FILE = "history.db"
HISTORY_VERSION = 2
MIN_OF_EACH = 30
TESTED_SHARE = 0.2
MOST_ROWS = 20_000
SURE = 2.0
_GOOD = frozenset({"accepted", "accepted_line", "accepted_word", "typed_through"})
_BAD = frozenset({"rejected", "dismissed"})
_COLUMNS = (
    "confidence, language, prefix_chars, indent, blank_after, last_kind, since_last_s, last_good, verdict"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of the history. taken: None where nobody said."""

    place: Place
    taken: bool | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the history gave."""

    answers: int
    judged: int
    why_not: str = ""  # why nothing usable was learnt
    weights: Mapping[str, float] = field(default_factory=dict)
    chances: tuple[float, ...] = ()  # of all answers, in rising order
    confidences: tuple[float, ...] = ()  # of all answers, in rising order
    loss: float = 0.0  # on the newest fifth, learnt from the rest
    baseline_loss: float = 0.0  # the same by confidence alone
    tested: int = 0


def read_history(path: Path, model: str = "") -> tuple[list[Row], str]:
    """All answers, the oldest first, and a problem. model: only those of one; "" = of all. Never raises."""
    if not path.exists():
        return [], f"{path}: there is no history yet"
    try:
        # Read-only: a router has no business in writing it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != HISTORY_VERSION:
                return [], f"{path}: its version is {version}, this plugin reads {HISTORY_VERSION}"
            newest = f"SELECT id, {_COLUMNS} FROM answers WHERE model = ? OR ? = '' ORDER BY id DESC LIMIT ?"
            rows = db.execute(f"SELECT * FROM ({newest}) ORDER BY id", (model, model, MOST_ROWS)).fetchall()
        return [_row(*values[1:]) for values in rows], ""
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        return [], f"{path}: cannot be read: {error}"


def learn(rows: Sequence[Row], min_answers: int) -> Learnt:
    """Fit on the older four fifths, test on the newest; where that beats confidence alone, fit on all."""
    judged = [(features(row.place), row.taken) for row in rows if row.taken is not None]
    answers, good = len(rows), sum(taken for _, taken in judged)
    if len(judged) < min_answers:
        return Learnt(answers, len(judged), f"{len(judged)} judged answers, {min_answers} are needed")
    if min(good, len(judged) - good) < MIN_OF_EACH:
        few = "taken" if good < MIN_OF_EACH else "rejected"
        return Learnt(answers, len(judged), f"fewer than {MIN_OF_EACH} answers were {few}")
    cut = int(len(judged) * (1 - TESTED_SHARE))
    x, y = [row for row, _ in judged], [taken for _, taken in judged]
    tested = y[cut:]
    plain = [{name: row[name] for name in BASELINE} for row in x]
    ours = surprises(_chances(fit(x[:cut], y[:cut]), x[cut:]), tested)
    others = surprises(_chances(fit(plain[:cut], y[:cut]), plain[cut:]), tested)
    found = Learnt(answers, len(judged), "", loss=mean(ours), baseline_loss=mean(others), tested=len(tested))
    if not _clearly_better(ours, others):
        return replace(found, why_not="it would predict not clearly better than confidence alone")
    weights = fit(x, y)
    return replace(
        found,
        weights=weights,
        chances=tuple(sorted(chance(weights, features(row.place)) for row in rows)),
        confidences=tuple(sorted(row.place.confidence for row in rows)),
    )


def _clearly_better(ours: Sequence[float], others: Sequence[float]) -> bool:
    """Whether the mean gain is above twice its standard error: of users without a habit 1 in 40 passes."""
    gains = [theirs - mine for mine, theirs in zip(ours, others, strict=True)]
    return mean(gains) > SURE * stdev(gains) / math.sqrt(len(gains))


def cut_for(learnt: Learnt, threshold: float) -> float:
    """Below which chance as many answers of the history fall as have a confidence below the threshold."""
    below = sum(confidence < threshold for confidence in learnt.confidences)
    if below == 0:
        return 0.0
    return learnt.chances[below] if below < len(learnt.chances) else 1.01


def _chances(weights: Mapping[str, float], rows: Sequence[Mapping[str, float]]) -> list[float]:
    return [chance(weights, row) for row in rows]


def _row(
    confidence: float,
    language: str,
    prefix_chars: int,
    indent: int,
    blank_after: int,
    last_kind: str,
    since_last_s: float,
    last_good: int,
    verdict: str,
) -> Row:
    place = Place(
        confidence=float(confidence),
        language=str(language),
        prefix_chars=int(prefix_chars),
        indent=int(indent),
        blank_after=bool(blank_after),
        last_kind=str(last_kind),
        since_last_s=None if since_last_s < 0 else float(since_last_s),
        last_good=None if last_good < 0 else bool(last_good),
    )
    return Row(place, True if verdict in _GOOD else False if verdict in _BAD else None)
