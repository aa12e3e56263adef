"""`tune`: what each threshold would mean for this user, which one meets the wish. Changes nothing unasked.

The model's calibration says how often answers of a confidence were exactly right; this user's own answers say
how their requests are spread and which ones they took. Both are blended: the calibration counts as so many
answers, and every own one as one more. Answers that were escalated were never on the screen, so below the
threshold in force the user's word is scarce and the calibration stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mccomd.behaviour import Verdict
from mccomd.calibration import (
    EDGES,
    Calibration,
    blend,
    count,
    point,
    threshold_for_precision,
    threshold_for_share,
)
from mccomd.config import Config
from mccomd.errors import MccomdError
from mccomd.history import Answered, month_of
from mccomd.model import Model
from mccomd.protocol import CurvePoint, TuneParams, TuneResult
from mccomd.routing import Routing
from mccomd.threshold import Tuned, in_words, of_config, write_tuned

__all__ = ["Own", "propose", "tune"]

SHIPPED_COUNTS_AS = 200.0
"""The model's calibration weighs as much as so many answers of the user."""
ENOUGH = 200
"""So many own answers say how requests are spread, where the model has no calibration."""
DAY_S = 86_400.0
MONTH_DAYS = 30.0
_GOOD = frozenset(verdict.value for verdict in Verdict if verdict.good)
_BAD = frozenset(verdict.value for verdict in Verdict if verdict.bad)


@dataclass(frozen=True, slots=True)
class Own:
    """What this user's history says."""

    answers: int
    judged: int
    traffic: Calibration  # confidences of all answers
    taken: Calibration  # of the judged ones, with how many were taken
    requests_month: float

    @classmethod
    def of(cls, answers: Sequence[Answered], now: float) -> Own:
        judged = [a for a in answers if a.verdict in _GOOD or a.verdict in _BAD]
        recent = [a.at for a in answers if a.at > now - MONTH_DAYS * DAY_S]
        days = max(1.0, (now - recent[0]) / DAY_S) if recent else 1.0
        return cls(
            answers=len(answers),
            judged=len(judged),
            traffic=count((a.confidence, False) for a in answers),
            taken=count((a.confidence, a.verdict in _GOOD) for a in judged),
            requests_month=len(recent) / min(days, MONTH_DAYS) * MONTH_DAYS,
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What requests are expected to be like."""

    traffic: Calibration
    right: Calibration
    requests_month: float
    tokens_call: float
    money_call: float


def propose(aim: str, wish: float, config: Config, expected: Expected) -> tuple[float | None, str]:
    """The threshold that meets a wish, and how it was found, or why there is none."""
    match aim:
        case "threshold":
            return min(1.0, wish), "as wished"
        case "share":
            return _for_share(expected, wish, in_words(aim, wish))
        case "precision":
            if not expected.right.n:
                return None, "the model has no calibration, and too few of your own answers were judged"
            found = threshold_for_precision(expected.right, wish)
            return found, in_words(aim, wish) + ("" if found is not None else " is beyond this model")
    shares = []
    if config.budget.tokens:
        shares.append(config.budget.tokens / max(1.0, expected.tokens_call))
    if config.budget.money and expected.money_call:
        shares.append(config.budget.money / expected.money_call)
    if not shares:
        return (
            None,
            "no budget is set: budget.tokens or budget.money of the config (money needs prices in [cloud])",
        )
    if not expected.requests_month:
        return None, "how many requests a month has is not known yet: use mccomd for a day"
    calls = min(shares)
    return _for_share(expected, min(1.0, calls / expected.requests_month), f"{calls:.0f} calls a month")


def _for_share(expected: Expected, share: float, words: str) -> tuple[float | None, str]:
    if not expected.traffic.n:
        return None, f"the model has no calibration, and fewer than {ENOUGH} of your own answers are known"
    return threshold_for_share(expected.traffic, share), words


async def tune(params: TuneParams, config: Config, model: Model, routing: Routing) -> TuneResult:
    """Raises MccomdError where something cannot be put into force."""
    if not await model.ready():
        raise MccomdError(f"the model cannot be used: {model.problem}")
    now = time.time()
    if params.reset:
        write_tuned(routing.state_dir, None)
        routing.tuned(None)
    own = Own.of(await routing.history.answers(model.name), now)
    expected = _expected(config, model.calibration, own, routing, now)
    aim = params.aim or config.router.aim
    wish = params.wish if params.wish is not None else _wish(config, aim)
    proposed, reason = propose(aim, wish, config, expected)
    if params.apply:
        if proposed is None:
            raise MccomdError(f"nothing to apply: {reason}")
        tuned = Tuned(model.name, aim, wish, proposed, now, of_config(config.router))
        write_tuned(routing.state_dir, tuned)
        routing.tuned(tuned)
    threshold = routing.threshold()
    return TuneResult(
        model=model.name,
        aim=aim,
        wish=wish,
        threshold=threshold.value,
        why=threshold.why,
        proposed=proposed,
        reason=reason,
        applied=params.apply,
        calibration=model.calibration.data if model.calibration else "",
        calibrated=model.calibration.n if model.calibration else 0.0,
        own_answers=own.answers,
        own_judged=own.judged,
        requests_month=expected.requests_month,
        tokens_call=expected.tokens_call,
        curve=_curve(expected),
        month=routing.budget.status(),
        shadow=routing.shadow_status(),
    )


def _wish(config: Config, aim: str) -> float:
    router = config.router
    return {"share": router.share, "precision": router.precision, "threshold": router.threshold}.get(aim, 0.0)


def _expected(
    config: Config, shipped: Calibration | None, own: Own, routing: Routing, now: float
) -> Expected:
    month = routing.history.month(month_of(now))
    tokens_call = month.tokens / month.calls if month.calls else float(config.model.context_tokens)
    money_call = month.money / month.calls if month.calls else tokens_call / 1e6 * config.cloud.input_price
    nothing = count([])
    if shipped is None:
        traffic = own.traffic if own.answers >= ENOUGH else nothing
        right = own.taken if own.judged >= ENOUGH else nothing
    else:
        traffic = blend(shipped, own.traffic, SHIPPED_COUNTS_AS)
        right = blend(shipped, own.taken, SHIPPED_COUNTS_AS)
    return Expected(traffic, right, own.requests_month, tokens_call, money_call)


def _curve(expected: Expected) -> list[CurvePoint]:
    if not expected.traffic.n:
        return []
    rows = []
    for threshold in (0.0, *EDGES):
        share = point(expected.traffic, threshold).share
        right = point(expected.right, threshold)
        calls = share * expected.requests_month
        rows.append(
            CurvePoint(
                threshold,
                share,
                right.precision,
                right.kept,
                calls,
                calls * expected.tokens_call,
                calls * expected.money_call,
            )
        )
    return rows
