"""Should the large model be asked? Yes when the small one was unsure of its first three tokens.

Router, step 1 of MCCom (arXiv 2603.05974): the mean probability of the first three tokens against a
threshold, known while the answer is still being written. A user's rejection (step 2) escalates whatever the
confidence. What the threshold is follows from what the user wants: `mccomd tune`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mccomd.hooks import Decision, Evidence, PluginContext, hookimpl

__all__ = ["ConfidenceRouter"]

DEFAULT_THRESHOLD = 0.45


class ConfidenceRouter:
    """Escalates below `threshold`."""

    name = "confidence"

    def __init__(self, threshold: float = DEFAULT_THRESHOLD) -> None:
        self.threshold = threshold

    def set_threshold(self, threshold: float) -> None:
        self.threshold = threshold

    def give_up(self, probabilities: Sequence[float]) -> bool:
        return sum(probabilities) / len(probabilities) < self.threshold if probabilities else False

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
