"""What would small and large model together have given? Played over answers of both to the same cases.

Nothing is asked here. The small model's times are measured; the large model's follow a latency model that the
report states, because its recorded outputs come from wherever they could be had. The rules are MCCom's
(arXiv 2603.05974):

routed  the small model's confidence is below the threshold: nothing of it is shown, the large one is asked.
        The first tokens often tell; here it is taken to be known with the last one.
oracle  a shown answer that is wrong is rejected in the moment it is shown: what rejection could give at best.
typed   the user types what is wanted. The first character that differs from the shown answer rejects it, the
        large model is asked then and its answer is offered if it comes before the statement is finished and
        still begins with all that was typed meanwhile.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mccomd.calibration import EDGES
from mccomd.evaluate.answers import Answer
from mccomd.evaluate.cases import Case
from mccomd.evaluate.figures import quality_of, score_of
from mccomd.evaluate.metrics import Score, similarity

__all__ = ["Latency", "Outcome", "Play", "Rejection", "likeness", "play_all", "table_of"]

CHARACTERS_A_TOKEN = 3.2
Rejection = Literal["none", "oracle", "typed"]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the large model takes: a fixed part (network, its prompt) and a time a token.

    The default is a hosted 7B model near by: 50 ms of network, 80 ms of prompt, 12 ms a token.
    """

    first_ms: float = 130.0
    token_ms: float = 12.0

    def of(self, answer: Answer, draft: str = "") -> float:
        """Milliseconds for an answer. draft: text that it need only check, as far as it agrees."""
        tokens = answer.generated or max(1.0, len(answer.text) / CHARACTERS_A_TOKEN)
        agreed = _agreed(answer.text, draft) / max(1, len(answer.text))
        return self.first_ms + self.token_ms * max(1.0, tokens * (1 - agreed))


@dataclass(frozen=True, slots=True)
class Play:
    """How the two are put together."""

    threshold: float
    rejection: Rejection
    latency: Latency = Latency()
    key_ms: float = 162.0  # between two keys: the median of typed traces
    draft: bool = False  # whether the rejected answer is the large model's draft


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case as the user saw it."""

    text: str
    score: Score
    first_ms: float  # until something was shown
    final_ms: float  # until the last text that was shown
    called: bool  # the large model was asked
    wasted: bool  # and its answer was never shown, or was what stood there already


def play_all(
    cases: Sequence[Case], small: Mapping[str, Answer], large: Mapping[str, Answer], play: Play
) -> list[Outcome]:
    """Cases that both have answered."""
    return [
        _play(case, small[case.id], large[case.id], play)
        for case in cases
        if case.id in small and case.id in large
    ]


def _play(case: Case, small: Answer, large: Answer, play: Play) -> Outcome:
    small_score = score_of(case, small.text)
    if small.confidence < play.threshold or not small.text.strip():
        ms = small.ms + play.latency.of(large)
        return Outcome(large.text, score_of(case, large.text), ms, ms, True, False)
    last_ms = small.ms if small.first is None else small.ms + small.search_ms
    stays = Outcome(small.text, small_score, small.ms, last_ms, False, False)
    if play.rejection == "none" or small_score.exact:
        return stays
    cloud_ms = play.latency.of(large, small.text if play.draft else "")
    if play.rejection == "oracle":
        final = small.ms + cloud_ms
        return Outcome(
            large.text, score_of(case, large.text), small.ms, final, True, large.text == small.text
        )
    return _typed(case, small, large, play, stays, cloud_ms)


def _typed(case: Case, small: Answer, large: Answer, play: Play, stays: Outcome, cloud_ms: float) -> Outcome:
    """The user types the truth until something that is shown is it, or to the end."""
    agreed = _agreed(small.text, case.target)
    if agreed == len(small.text.rstrip()):  # right so far and too short: taken, not rejected
        return stays
    typed = min(agreed + 1, len(case.target))
    arrives = min(len(case.target), typed + int(cloud_ms / play.key_ms))
    final_ms = small.ms + typed * play.key_ms + cloud_ms
    left = len(case.target.rstrip()) - arrives
    offered = left > 0 and large.text.startswith(case.target[:arrives]) and len(large.text.rstrip()) > arrives
    if not offered:
        return Outcome(small.text, stays.score, small.ms, small.ms, True, True)
    return Outcome(large.text, score_of(case, large.text), small.ms, final_ms, True, large.text == small.text)


def _agreed(left: str, right: str) -> int:
    """Characters that both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))


def table_of(
    cases: Sequence[Case],
    small: Mapping[str, Answer],
    large: Mapping[str, Answer],
    threshold: float,
    latency: Latency,
) -> dict[str, Any]:
    """The rows of the comparison, each over the cases that both have answered."""
    both = [case for case in cases if case.id in small and case.id in large]
    rows: dict[str, Sequence[Outcome]] = {
        "local": [_only_small(case, small[case.id]) for case in both],
        "cloud": [_only_large(case, large[case.id], latency) for case in both],
        "cascade_routed": play_all(both, small, large, Play(threshold, "none", latency)),
        "cascade_oracle": play_all(both, small, large, Play(threshold, "oracle", latency)),
        "cascade_oracle_draft": play_all(both, small, large, Play(threshold, "oracle", latency, draft=True)),
        "cascade_typed": play_all(both, small, large, Play(threshold, "typed", latency)),
    }
    return {
        "threshold": threshold,
        "cloud_latency": {"first_ms": latency.first_ms, "token_ms": latency.token_ms, "measured": False},
        "likeness": likeness(both, small, large),
        "rows": {name: _row(outcomes, rows["cloud"]) for name, outcomes in rows.items()},
        "sweep": _sweep(both, small, large, latency),
    }


def _only_small(case: Case, small: Answer) -> Outcome:
    return Outcome(small.text, score_of(case, small.text), small.ms, small.ms, False, False)


def _only_large(case: Case, large: Answer, latency: Latency) -> Outcome:
    ms = latency.of(large)
    return Outcome(large.text, score_of(case, large.text), ms, ms, True, False)


def _row(outcomes: Sequence[Outcome], cloud: Sequence[Outcome]) -> dict[str, Any]:
    final = [one.final_ms for one in outcomes]
    always = statistics.fmean(one.final_ms for one in cloud) if cloud else 0.0
    n = max(1, len(outcomes))
    return {
        **quality_of([one.score for one in outcomes]),
        "calls_share": round(sum(one.called for one in outcomes) / n, 4),
        "wasted_calls": round(sum(one.wasted for one in outcomes) / n, 4),
        "first_ms": _times([one.first_ms for one in outcomes]),
        "final_ms": _times(final),
        "final_ms_to_cloud": round(statistics.fmean(final) / always, 4) if final and always else None,
    }


def _times(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "p50": None}
    return {"mean": round(statistics.fmean(values), 1), "p50": round(statistics.median(values), 1)}


def _sweep(
    cases: Sequence[Case], small: Mapping[str, Answer], large: Mapping[str, Answer], latency: Latency
) -> list[dict[str, Any]]:
    """What each threshold buys: by routing alone, and where answers are typed against, too.

    There most wrong answers ask the large model anyhow, only later: a threshold costs fewer calls.
    """

    def means(threshold: float, rejection: Rejection) -> dict[str, float | None]:
        row = _row(play_all(cases, small, large, Play(threshold, rejection, latency)), ())
        found = {key: row[key] for key in ("calls_share", "wasted_calls", "em", "es")}
        return {**found, "final_ms": row["final_ms"]["mean"]}

    return [{"threshold": t, **means(t, "none"), "typed": means(t, "typed")} for t in (0.0, *EDGES)]


def likeness(
    cases: Sequence[Case], small: Mapping[str, Answer], large: Mapping[str, Answer]
) -> dict[str, float | int | None]:
    """How like the two models' answers are: what a draft from the small one can save the large one."""
    pairs = [(small[case.id].text, large[case.id].text) for case in cases]
    said = [(a.strip(), b.strip()) for a, b in pairs if a.strip() and b.strip()]
    if not said:
        return {"n": 0, "es": None, "same": None, "agreed_start": None}
    agreed = [_agreed(a, b) / len(b) for a, b in said]
    return {
        "n": len(said),
        "es": round(statistics.fmean(similarity(b, a) for a, b in said), 4),
        "same": round(sum(a == b for a, b in said) / len(said), 4),
        "agreed_start": round(statistics.fmean(agreed), 4),
    }
