"""Should the large model be asked? Yes when the small one's answer is probably not right.

The chance that all of its tokens are right against a threshold. It only falls while an answer is being
written, so that the first three tokens may be enough to know (router, step 1 of MCCom, arXiv 2603.05974; its
mean of three probabilities told less, see models/LOG.md). A user's rejection (step 2) escalates whatever the
confidence. What the threshold is follows from what the user wants: `mccomd tune`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mccomd.hooks import Decision, Evidence, PluginContext, hookimpl

__all__ = ["ConfidenceRouter"]

DEFAULT_THRESHOLD = 0.1


class ConfidenceRouter:
    """Escalates below `threshold`."""

    name = "confidence"

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        self.threshold = threshold

    def set_threshold(self, threshold: float) -> None:
        self.threshold = threshold

    def give_up(self, probabilities: Sequence[float]) -> bool:
        return math.prod(probabilities) < self.threshold

    def decide(self, evidence: Evidence) -> Decision:
        confidence = evidence.confidence
        if evidence.rejected is not None:
            return Decision(True, confidence, "escalated: you rejected the local answer here")
        if confidence < self.threshold:
            return Decision(
                True, confidence, f"escalated: confidence {confidence:.2f} < {self.threshold:.2f}"
            )
        return Decision(False, confidence, f"local: confidence {confidence:.2f} >= {self.threshold:.2f}")


@hookimpl
def mccomd_routers(context: PluginContext) -> list[ConfidenceRouter]:
    return [ConfidenceRouter(float(context.options.get("threshold", DEFAULT_THRESHOLD)))]
