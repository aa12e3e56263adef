"""The table of a run: shares right with intervals, by kind, what a confidence is worth, how long it took.

Pure: cases and answers in, one JSON object out. Keys are a promise to scripts (see `mccomd eval --json`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mccomd.bench.figures import summary
from mccomd.evaluate.answers import Answer
from mccomd.evaluate.cases import Case, cursor_kind, length_kind, statement_kind
from mccomd.evaluate.metrics import Score, score
from mccomd.evaluate.statistics import (
    Pair,
    area_under_risk_coverage,
    bins_of,
    bootstrap,
    calibration_error,
    isotonic,
    mean,
    pairs_apart,
    ranking,
    wilson,
)

__all__ = ["Scored", "compared", "confidence_pairs", "figures_of", "quality_of", "score_all", "score_of"]

KINDS: dict[str, Callable[[Case], str]] = {
    "cursor": cursor_kind,
    "kind": statement_kind,
    "length": length_kind,
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A case, its answer, and how right that is."""

    case: Case
    answer: Answer
    score: Score


def score_of(case: Case, text: str) -> Score:
    """How right a text is for a case."""
    return score(case.target, text, case.prefix, statement=case.is_statement)


def score_all(cases: Sequence[Case], answers: Mapping[str, Answer]) -> list[Scored]:
    """Those that have an answer."""
    found = ((case, answers[case.id]) for case in cases if case.id in answers)
    return [Scored(case, answer, score_of(case, answer.text)) for case, answer in found]


def figures_of(scored: Sequence[Scored]) -> dict[str, Any]:
    """Of one run of one model."""
    pairs = confidence_pairs(scored)
    return {
        **quality_of([one.score for one in scored]),
        "empty_share": _share(not one.answer.text.strip() for one in scored),
        "in_left_context": in_left_context(scored),
        "cloud_share": _share(one.answer.source == "cloud" for one in scored),
        "ms_p50": summary([one.answer.ms for one in scored])["p50_ms"],
        "ms": summary([one.answer.ms for one in scored]),
        "read_ahead_ms": summary([one.answer.warm_ms for one in scored]),
        "tokens": {
            "generated": sum(one.answer.generated for one in scored),
            "drafted": sum(one.answer.drafted for one in scored),
            "accepted": sum(one.answer.accepted for one in scored),
        },
        "search": search_figures(scored),
        "snippets_mean": round(mean([one.answer.snippets for one in scored]), 2),
        "by": {name: _by(scored, kind) for name, kind in KINDS.items()},
        **confidence_figures(pairs),
    }


def search_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """What looking for a more probable text behind the answer did, and how long it took."""
    ms = [one.answer.search_ms for one in scored if one.answer.search_ms]
    replaced = [one for one in scored if one.answer.first is not None]
    before = [score_of(one.case, one.answer.first or "").exact for one in replaced]
    after = [one.score.exact for one in replaced]
    pairs = list(zip(after, before, strict=True))
    kept = sum(one.score.exact for one in scored if one.answer.first is None)
    return {
        "searched_share": _round(len(ms) / len(scored)) if scored else None,
        "replaced_share": _round(len(replaced) / len(scored)) if scored else None,
        "em_before": _round((kept + sum(before)) / len(scored)) if scored else None,
        "better": sum(a and not b for a, b in pairs),
        "worse": sum(b and not a for a, b in pairs),
        "p": _round(pairs_apart(after, before)),
        "ms": summary(ms),
    }


def quality_of(scores: Sequence[Score]) -> dict[str, Any]:
    """n, exact match, edit similarity and identifier F1 as fractions, with their intervals."""
    hits = sum(one.exact for one in scores)
    similarities = [one.similarity for one in scores]
    names = [one.identifier_f1 for one in scores]
    return {
        "n": len(scores),
        "em": _round(hits / len(scores)) if scores else None,
        "em_ci": [_round(value) for value in wilson(hits, len(scores))],
        "es": _round(mean(similarities)) if scores else None,
        "es_ci": [_round(value) for value in bootstrap(similarities)],
        "id_f1": _round(mean(names)) if scores else None,
        "id_f1_ci": [_round(value) for value in bootstrap(names)],
    }


def compared(scored: Sequence[Scored], others: Sequence[Scored]) -> dict[str, Any]:
    """This run against another on the cases that both have: differences are here minus there.

    `p`: how likely two equally good systems differ so (McNemar's exact test).
    """
    there = {one.case.id: one.score for one in others}
    pairs = [(one.score, there[one.case.id]) for one in scored if one.case.id in there]
    apart = [float(a.exact) - float(b.exact) for a, b in pairs]
    similar = [a.similarity - b.similarity for a, b in pairs]
    return {
        "n": len(pairs),
        "em": _round(mean(apart)),
        "em_ci": [_round(value) for value in bootstrap(apart)],
        "es": _round(mean(similar)),
        "es_ci": [_round(value) for value in bootstrap(similar)],
        "better": sum(difference > 0 for difference in apart),
        "worse": sum(difference < 0 for difference in apart),
        "p": _round(pairs_apart([a.exact for a, _ in pairs], [b.exact for _, b in pairs])),
    }


def confidence_pairs(scored: Sequence[Scored]) -> list[Pair]:
    """Of answers with a text: where there is none, no confidence was put in anything."""
    return [(one.answer.confidence, one.score.exact) for one in scored if one.answer.text.strip()]


def confidence_figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """How much a confidence tells. `aurc_blind` is what one that tells nothing would reach."""
    wrong = sum(not right for _, right in pairs) / len(pairs) if pairs else 0.0
    told = ranking(pairs)
    return {
        "calibration": [
            {key: _round(value) for key, value in dataclasses.asdict(one).items()} for one in bins_of(pairs)
        ],
        "ece": _round(calibration_error(pairs)),
        "aurc": _round(area_under_risk_coverage(pairs)),
        "aurc_blind": _round(wrong),
        "auroc": None if told is None else _round(told),
        "curve": [[_round(confidence), _round(right)] for confidence, right in isotonic(pairs)],
    }


def in_left_context(scored: Sequence[Scored]) -> dict[str, Any]:
    """Answers that stand literally left of the cursor: what a draft from the context can give for nothing."""
    said = [one for one in scored if one.answer.text.strip()]
    hits = sum(one.answer.text.strip() in one.case.prefix for one in said)
    truths = sum(one.case.target.strip() in one.case.prefix for one in scored)
    return {
        "share": _round(hits / len(said)) if said else None,
        "ci": [_round(value) for value in wilson(hits, len(said))],
        "n": len(said),
        "of_truths": _round(truths / len(scored)) if scored else None,
    }


def _by(scored: Sequence[Scored], kind: Callable[[Case], str]) -> dict[str, Any]:
    groups: dict[str, list[Score]] = {}
    for one in scored:
        groups.setdefault(kind(one.case), []).append(one.score)
    return {
        name: quality_of(groups[name]) for name in sorted(groups, key=lambda name: (-len(groups[name]), name))
    }


def _share(flags: Any) -> float | None:
    found = list(flags)
    return _round(sum(found) / len(found)) if found else None


def _round(value: float) -> float:
    return value if isinstance(value, int) else round(value, 4)
