"""The router at work: its threshold, a second router in its shadow, a record of both.

Decides and keeps books; asks no large model (escalation.py does). What became of answers comes in by
`judged` and goes to the history, which later decisions and `mccomd tune` look at.
"""

from __future__ import annotations

import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mccomd.behaviour import Judgement
from mccomd.budget import Budget
from mccomd.calibration import probability
from mccomd.config import Config, why_silent
from mccomd.history import Answered, History, Judged
from mccomd.hooks import Decision, Evidence
from mccomd.model import Model
from mccomd.plugins import Plugins
from mccomd.protocol import RouterStatus, ShadowStatus
from mccomd.task import Task
from mccomd.threshold import Threshold, Tuned, in_force, read_tuned

__all__ = ["Routing", "Verdicts"]

MAX_OPEN = 2000
_OPENERS, _CLOSERS, _QUOTES = "([{", ")]}", "\"'`"


@dataclass
class _Open:
    """A decision whose answer may still be judged."""

    escalated: bool
    shadow: bool | None


class Verdicts:
    """How many of the answers that a router would have kept were taken."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, bool]] = Counter()

    def add(self, router: str, good: bool) -> None:
        self.counts[router, good] += 1

    def share(self, router: str) -> float:
        good, bad = self.counts[router, True], self.counts[router, False]
        return good / (good + bad) if good + bad else 0.0


class Routing:
    """One for the daemon. Not thread-safe, but for `unsure`."""

    def __init__(
        self,
        config: Callable[[], Config],
        plugins: Plugins,
        model: Model,
        history: History,
        state_dir: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._plugins = plugins
        self._model = model
        self._now = now
        self.state_dir = state_dir
        self._run = f"{now():.3f}-{os.getpid()}"
        self._tuned: Tuned | None = read_tuned(state_dir)
        self._told: object = None
        self._threshold = Threshold(0.0, "")
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._agreed: Counter[tuple[bool, bool]] = Counter()
        self._kept = Verdicts()
        self._last: tuple[float, bool] | None = None
        self.history = history
        self.budget = Budget(config, history, now)

    def use(self, plugins: Plugins, model: Model) -> None:
        """Parts that were replaced because the config changed."""
        self._plugins, self._model, self._told = plugins, model, None

    def tuned(self, tuned: Tuned | None) -> None:
        self._tuned, self._told = tuned, None

    # --- before and while an answer is generated --------------------------------------------------

    def threshold(self) -> Threshold:
        self.prepare()
        return self._threshold

    def prepare(self) -> None:
        """Tell the routers their threshold, where it changed since the last request."""
        config = self._config()
        state = (config.router, config.plugins.options, self._model.name, self._model.calibration)
        if state == self._told:
            return
        self._told = state
        self._threshold = in_force(config.router, self._model.name, self._model.calibration, self._tuned)
        value = self._threshold.value
        for name in filter(None, (config.router.name, config.router.shadow)):
            if "threshold" not in config.plugins.options.get(name, {}):
                self._plugins.set_threshold(name, value)

    def likely(self, confidence: float) -> float | None:
        """How often answers of this confidence were exactly right, when the model was calibrated."""
        table = self._model.calibration
        return None if table is None or not table.n else probability(table, confidence)

    def unsure(self, probabilities: Sequence[float]) -> bool:
        """Whether the first tokens are too unsure to be shown at once. In the model's thread."""
        return self._plugins.give_up(self._config().router.name, probabilities)

    def why_not(self) -> str:
        """Why no large model may be asked now; "" when one may."""
        config = self._config()
        if silent := why_silent(config):
            return silent
        if self._plugins.backend(config.cloud.backend) is None:
            return f"backend {config.cloud.backend!r} is not at work"
        return self.budget.spent()

    # --- deciding -----------------------------------------------------------------------------------

    def decide(self, evidence: Evidence) -> Decision:
        """What the router says, unless no large model may be asked; then the reason says that, too."""
        decision = self._plugins.decide(self._config().router.name, evidence)
        if decision.escalate and (why := self.why_not()):
            return replace(decision, escalate=False, reason=f"{decision.reason}; {why}")
        return decision

    def evidence(
        self, task: Task, probabilities: tuple[float, ...], text: str, rejected: str | None
    ) -> Evidence:
        last = self._last
        return Evidence(
            probabilities=probabilities,
            text=text,
            language=task.document.language,
            prefix=task.prefix,
            suffix=task.suffix,
            rejected=rejected,
            last_good=None if last is None else last[1],
            since_last_s=None if last is None else self._now() - last[0],
        )

    def record(self, task: Task, evidence: Evidence, decision: Decision, text: str) -> str:
        """Put one decision into the books; what the shadow router would have done, in words."""
        wanted = self._wants(decision)
        shadow, said = self._shadow(evidence, wanted)
        self._open[task.request_id] = _Open(wanted, shadow)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        line = task.prefix.rpartition("\n")[2]
        self.history.answered(
            Answered(
                run=self._run,
                request=task.request_id,
                at=self._now(),
                model=self._model.name,
                language=evidence.language,
                confidence=evidence.confidence,  # of all of the answer, where it was decided before
                escalated=int(wanted),
                shadow=None if shadow is None else int(shadow),
                source="local" if text else "none",
                chars=len(text),
                lines=text.count("\n") + 1 if text else 0,
                prefix_chars=len(line),
                indent=len(line) - len(line.lstrip()),
                blank_after=int(not task.suffix.partition("\n")[0].strip()),
                last_kind=_kind(line),
                since_last_s=-1.0 if evidence.since_last_s is None else evidence.since_last_s,
                last_good=-1 if evidence.last_good is None else int(evidence.last_good),
            )
        )
        return said

    def _wants(self, decision: Decision) -> bool:
        """What the router wanted, whether or not it was allowed to."""
        return decision.escalate or decision.reason.startswith("escalated")

    def _shadow(self, evidence: Evidence, wanted: bool) -> tuple[bool | None, str]:
        name = self._config().router.shadow
        if not name:
            return None, ""
        decision = self._plugins.decide(name, evidence)
        would = decision.escalate
        self._agreed[wanted, would] += 1
        return would, f"{name} would have said: {decision.reason}"

    # --- what became of it --------------------------------------------------------------------------

    def judged(self, judgement: Judgement) -> None:
        """An answer was judged, or a judgement withdrawn."""
        offered, verdict = judgement.offered, judgement.verdict
        said = "" if judgement.withdrawn else verdict.value
        if offered.source == "cloud":
            return  # it says nothing of the local model's confidence
        explicit = int(judgement.explicit)
        self.history.judged(Judged(self._run, offered.request_id, said, explicit, judgement.shown_ms))
        if judgement.withdrawn or not (verdict.good or verdict.bad):
            return
        self._last = (self._now(), verdict.good)
        known = self._open.pop(offered.request_id, None)
        if known is not None and known.shadow is not None:
            if not known.escalated:
                self._kept.add("router", verdict.good)
            if not known.shadow:
                self._kept.add("shadow", verdict.good)

    # --- shown --------------------------------------------------------------------------------------

    def status(self) -> RouterStatus:
        threshold = self.threshold()
        return RouterStatus(self._config().router.name, threshold.value, threshold.why, self.shadow_status())

    def shadow_status(self) -> ShadowStatus:
        counts = self._agreed
        return ShadowStatus(
            name=self._config().router.shadow,
            requests=sum(counts.values()),
            both=counts[True, True],
            only_router=counts[True, False],
            only_shadow=counts[False, True],
            neither=counts[False, False],
            router_kept_good=self._kept.share("router"),
            shadow_kept_good=self._kept.share("shadow"),
        )


def _kind(line: str) -> str:
    """The kind of a line's last character: a feature that is no text."""
    if not line:
        return "none"
    last = line[-1]
    if last.isalpha() or last == "_":
        return "letter"
    if last.isdigit():
        return "digit"
    if last.isspace():
        return "space"
    for kind, characters in (("open", _OPENERS), ("close", _CLOSERS), ("quote", _QUOTES)):
        if last in characters:
            return kind
    return "sign"
