"""The scores of a prompt in three wire shapes -> what they say of a draft. Pure; nonsense raises CloudError.

Without token ids the rows are found by their texts: a row that cannot be told from the prompt's makes the
draft unverified, never wrongly verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mccomd.cloud.adapter import choices_of, text_field
from mccomd.cloud.verify import Row, Scores
from mccomd.errors import CloudError

__all__ = [
    "check_rows",
    "echo_scores",
    "last_rows",
    "legacy_rows",
    "sglang_row",
    "sglang_scores",
    "vllm_row",
    "vllm_scores",
]


def vllm_scores(found: Any, draft: str) -> Scores:
    """Row i of prompt_logprobs holds the prompt's token and the best one; rank 1 is the best."""
    (choice, *_) = choices_of(found) or [{}]
    rows = choice.get("prompt_logprobs")
    if not isinstance(rows, list):
        raise CloudError("the endpoint ignores prompt_logprobs")
    read = last_rows([vllm_row(row) for row in rows[1:]], draft)
    return Scores(read, text_field(choice, "text"), choice.get("finish_reason") == "stop")


def sglang_scores(found: Any, draft: str) -> Scores:
    """Of /generate: a list of rows, and one of their alternatives."""
    meta = found.get("meta_info") if isinstance(found, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(meta.get("input_token_logprobs"), list):
        raise CloudError("the endpoint ignores return_logprob")
    tops = meta.get("input_top_logprobs")
    if not isinstance(tops, list):
        raise CloudError("the endpoint gives no alternatives")
    read = [sglang_row(row, top) for row, top in zip(meta["input_token_logprobs"], tops, strict=False)]
    reason = meta.get("finish_reason")
    stopped = isinstance(reason, Mapping) and reason.get("type") == "stop"
    return Scores(last_rows(read, draft), text_field(found, "text"), stopped)


def echo_scores(found: Any, draft: str) -> Scores:
    """The legacy shape: the prompt comes back before the answer, with a row for each token of both."""
    (choice, *_) = choices_of(found) or [{}]
    rows = legacy_rows(choice.get("logprobs"))
    written = "".join(row.text if row else "" for row in rows)
    text = text_field(choice, "text")
    place = written.rfind(draft)
    if place < 0 or draft not in text:
        raise CloudError("the endpoint ignores echo")
    continuation = text[text.rfind(draft) + len(draft) :]
    until = len(written) - len(continuation) if written.endswith(continuation) else place + len(draft)
    inside, at = [], 0
    for row in rows:
        at += len(row.text) if row else 0
        if at <= until:
            inside.append(row)
    return Scores(last_rows(inside, draft), continuation, choice.get("finish_reason") == "stop")


def last_rows(rows: Sequence[Row | None], draft: str) -> tuple[Row, ...]:
    """The rows whose tokens together are the draft. Raises CloudError where they cannot be told apart.

    vLLM gives a character of several tokens as the text of its last one: "", "", "🫠".
    """
    found: list[Row] = []
    left = draft
    for row in reversed(rows):
        inside = bool(found) and (found[-1].text == "" or not found[-1].text.isascii())
        part = inside and row is not None and row.text == "" and row.chosen is not None
        if not left and not part:
            break
        if row is None or not (row.text or part) or not left.endswith(row.text) or "\ufffd" in row.text:
            raise CloudError("the rows of the draft cannot be told from those of the prompt")
        left = left[: len(left) - len(row.text)]
        found.append(row)
    if left:
        raise CloudError("there are fewer rows than the draft has tokens")
    return tuple(reversed(found))


def check_rows(rows: Sequence[Row], draft: str) -> None:
    if len(rows) < 2 or all(row.best == "" for row in rows):
        raise CloudError("the rows tell no alternatives")
    if all(row.logprob == 0 for row in rows) or any(not row.logprob <= 0 for row in rows):
        raise CloudError("the rows hold no log probabilities")


def _number(found: Any) -> float:
    if not isinstance(found, int | float) or isinstance(found, bool) or found != found:
        raise CloudError("a row has no log probability")
    return float(found)


def vllm_row(row: Any) -> Row | None:
    """{"<id>": {"logprob", "rank", "decoded_token"}, ...}: the prompt's token first, then the best one.

    Rank 1 tells, not the text: the parts of a character have none.
    """
    if not isinstance(row, Mapping) or not row or not all(isinstance(v, Mapping) for v in row.values()):
        return None
    (own, *others) = row.values()
    text, logprob = text_field(own, "decoded_token"), _number(own.get("logprob"))
    best = next((other for other in row.values() if other.get("rank") == 1), None)
    if best is None:
        raise CloudError("a row has no token of rank 1")
    others = [other for other in others if other is not own and other.get("rank") != 1] or others
    second = max(others, key=lambda other: _number(other.get("logprob")), default=None)
    best_text = text_field(best, "decoded_token")
    return Row(
        text,
        logprob,
        best_text,
        _number(best.get("logprob")),
        text_field(second, "decoded_token") if second else "",
        _number(second.get("logprob")) if second else float("-inf"),
        ends=best is not own and best_text != "" and _is_control(best_text),
        chosen=best is own,
    )


def sglang_row(row: Any, top: Any) -> Row | None:
    """[logprob, id, text] and [[logprob, id, text], ...]; the first row of a prompt has no scores."""
    if not isinstance(row, list) or len(row) < 3 or row[0] is None or not isinstance(top, list) or not top:
        return None
    text = row[2]
    if not isinstance(text, str) or not all(isinstance(item, list) and len(item) > 2 for item in top):
        raise CloudError("a row of the endpoint's answer is not [logprob, id, text]")
    ranked = sorted(top, key=lambda item: -_number(item[0]))
    others = [item for item in ranked if item[1] != row[1]]
    best = str(ranked[0][2])
    return Row(
        text,
        _number(row[0]),
        best,
        _number(ranked[0][0]),
        str(others[0][2]) if others else "",
        _number(others[0][0]) if others else float("-inf"),
        ends=ranked[0][1] != row[1] and _is_control(best),
    )


def legacy_rows(found: Any) -> list[Row | None]:
    """{"tokens": [], "token_logprobs": [], "top_logprobs": [{token: logprob}]}."""
    if not isinstance(found, Mapping):
        raise CloudError("the endpoint ignores logprobs")
    columns = [found.get(key) for key in ("tokens", "token_logprobs", "top_logprobs")]
    if not all(isinstance(column, list) for column in columns):
        raise CloudError("the endpoint gives no alternatives")
    rows: list[Row | None] = []
    for text, logprob, top in zip(*columns, strict=False):
        if logprob is None or not isinstance(top, Mapping) or not top or not isinstance(text, str):
            rows.append(None)
            continue
        ranked = sorted(top.items(), key=lambda item: -_number(item[1]))
        others = [item for item in ranked if item[0] != text]
        best, best_logprob = ranked[0]
        rows.append(
            Row(
                text,
                _number(logprob),
                str(best),
                _number(best_logprob),
                str(others[0][0]) if others else "",
                _number(others[0][1]) if others else float("-inf"),
                ends=best != text and _is_control(str(best)),
            )
        )
    return rows


def _is_control(text: str) -> bool:
    """An end token: no text at all, or one in angle brackets."""
    return not text or (len(text) > 3 and text[0] == "<" and text[-1] == ">" and text[1] in "|｜/eE")
