"""The router: decides by what was learnt, by confidence while nothing was; learns in the background."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mccomd.hooks import Decision, Evidence, PluginContext, hookimpl
from mccomd.paths import find_paths
from mccomd_router_logistic.features import features, place_of
from mccomd_router_logistic.learning import HISTORY_FILE, Learnt, cut_for, learn, read_history
from mccomd_router_logistic.regression import chance

__all__ = ["LogisticRouter"]

DEFAULT_THRESHOLD = 0.1
MIN_ANSWERS = 200
RELEARN_MINUTES = 30.0
_GROUPS = ("language ", "behind a ", "the last answer was ")
"""Features of which a place has one at most."""
_HIGHEST = {"line length": 2.0, "typed on the line": 2.0, "time since the last answer": 2.0}


class LogisticRouter:
    """Escalates where the chance that the user takes the local answer is low.

    history: a path, or None for the daemon's own. Learning happens in a thread of its own, begun by a
    decision when the last time is long ago; a decision itself never waits.
    """

    name = "logistic"

    def __init__(
        self,
        threshold: float = DEFAULT_THRESHOLD,
        min_answers: int = MIN_ANSWERS,
        relearn_minutes: float = RELEARN_MINUTES,
        history: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}, 0 to 1 is expected")
        if min_answers < 2:
            raise ValueError(f"min_answers is {min_answers}, at least 2 is expected")
        if not relearn_minutes > 0:
            raise ValueError(f"relearn_minutes is {relearn_minutes}, more than 0 is expected")
        self._threshold = threshold
        self._min_answers = min_answers
        self._relearn_s = relearn_minutes * 60
        self._history = history
        self._now = now
        self._begun = -math.inf
        self._worker: threading.Thread | None = None
        self._learnt = Learnt(0, 0, "nothing was learnt yet")
        self._cut = 0.0
        self._highest = math.inf

    # --- what mccomd asks -------------------------------------------------------------------------

    def decide(self, evidence: Evidence) -> Decision:
        self._learn_when_due()
        confidence = evidence.confidence
        if evidence.rejected is not None:
            return Decision(True, confidence, "escalated: you rejected the local answer here")
        learnt, cut, threshold = self._learnt, self._cut, self._threshold
        if learnt.why_not:
            low = confidence < threshold
            words = f"{'escalated' if low else 'local'}: confidence {confidence:.2f} {'<' if low else '>='}"
            return Decision(low, confidence, f"{words} {threshold:.2f} ({learnt.why_not})")
        row = features(place_of(evidence))
        taken = chance(learnt.weights, row)
        low = taken < cut
        words = f"chance to be taken {taken:.2f} {'<' if low else '>='} {cut:.2f}"
        why = _because(learnt.weights, row, low)
        return Decision(low, confidence, f"{'escalated' if low else 'local'}: {words}, {why}")

    def give_up(self, probabilities: Sequence[float]) -> bool:
        """Whether so unsure a beginning is escalated wherever it stands."""
        evidence = Evidence(tuple(probabilities), "", "", "", "", None)
        if self._learnt.why_not:
            return evidence.confidence < self._threshold
        weight = self._learnt.weights.get("confidence", 0.0)
        at_best = self._highest + weight * features(place_of(evidence))["confidence"]
        return 1 / (1 + math.exp(-min(max(at_best, -30.0), 30.0))) < self._cut

    def set_threshold(self, threshold: float) -> None:
        """The confidence threshold in force: as many requests will escalate."""
        self._threshold = threshold
        self._cut = cut_for(self._learnt, threshold)

    # --- learning ---------------------------------------------------------------------------------

    def learn_now(self) -> Learnt:
        """In the caller's thread."""
        path = self._history or find_paths().state_dir / HISTORY_FILE
        rows, problem = read_history(path)
        learnt = Learnt(0, 0, problem) if problem else learn(rows, self._min_answers)
        self._highest = _at_most(learnt.weights)
        self._cut = cut_for(learnt, self._threshold)
        self._learnt = learnt
        return learnt

    def _learn_when_due(self) -> None:
        now = self._now()
        if now - self._begun < self._relearn_s or (self._worker is not None and self._worker.is_alive()):
            return
        self._begun = now
        self._worker = threading.Thread(target=self._learn_quietly, name="logistic-learns", daemon=True)
        self._worker.start()

    def _learn_quietly(self) -> None:
        try:
            self.learn_now()
        except Exception as error:  # noqa: BLE001 - a router that cannot learn still decides
            self._learnt = Learnt(0, 0, f"learning failed: {type(error).__name__}: {error}"[:200])


def _because(weights: Mapping[str, float], row: Mapping[str, float], low: bool) -> str:
    """What moved the chance most in the direction of the decision."""
    moved = [(weights.get(name, 0.0) * value, name) for name, value in row.items() if name != "bias"]
    most, name = min(moved) if low else max(moved)
    return f"most of all for {name}" if (most < 0) == low else "as most answers are"


def _at_most(weights: Mapping[str, float]) -> float:
    """The highest that everything but confidence can add up to."""
    total = weights.get("bias", 0.0) + max(0.0, weights.get("nothing behind the cursor", 0.0))
    total += sum(max(0.0, weights.get(name, 0.0)) * most for name, most in _HIGHEST.items())
    for group in _GROUPS:
        total += max([0.0, *(weight for name, weight in weights.items() if name.startswith(group))])
    return total


@hookimpl
def mccomd_routers(context: PluginContext) -> list[LogisticRouter]:
    options = context.options
    return [
        LogisticRouter(
            float(options.get("threshold", DEFAULT_THRESHOLD)),
            int(options.get("min_answers", MIN_ANSWERS)),
            float(options.get("relearn_minutes", RELEARN_MINUTES)),
        )
    ]
