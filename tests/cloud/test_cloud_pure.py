"""The pure parts: prompts, realignment, acceptance, choice, chat's wrapping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.cloud.caps import Caps
from mccomd.cloud.chat_text import HOLE, messages, stripped
from mccomd.cloud.fim import TEMPLATES, Window, cut, neutralise, render, template_for
from mccomd.cloud.realign import realign
from mccomd.cloud.rows import last_rows, legacy_rows, sglang_row, vllm_row
from mccomd.cloud.shown import held_back
from mccomd.cloud.strategy import LOSING_CALLS, Estimates, Policy, choose
from mccomd.cloud.verify import Row, Scores, accept, best_branch, settle
from mccomd.errors import CloudError
from mccomd.types import Snippet

# --- prompts ---------------------------------------------------------------------------------------------

SNIPPET = Snippet("lib/a.py", 1, 2, "def a():\n    pass\n", 1.0, "c", "bm25")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "qwen",
            "<|file_sep|>lib/a.py\n{}<|file_sep|>b.py\n<|fim_prefix|>P<|fim_suffix|>S<|fim_middle|>",
        ),
        ("starcoder", "<file_sep>lib/a.py\n{}<file_sep>b.py\n<fim_prefix>P<fim_suffix>S<fim_middle>"),
        ("codellama", "[]<PRE> P <SUF>S <MID>"),
        ("deepseek", "[]<｜fim▁begin｜>P<｜fim▁hole｜>S<｜fim▁end｜>"),
        ("codestral", "+++++ lib/a.py\n{}+++++ b.py\n[SUFFIX]S[PREFIX]P"),
        ("seed", "[]<[fim-prefix]>P<[fim-suffix]>S<[fim-middle]>"),
        ("mellum", "<filename>lib/a.py\n{}<filename>b.py\n<fim_suffix>S<fim_prefix>P<fim_middle>"),
        ("none", "[]# b.py\nP"),
    ],
)  # fmt: skip
def test_each_familys_prompt(name: str, expected: str) -> None:
    found = render(TEMPLATES[name], "P", "S", path="b.py", language="python", snippets=[SNIPPET])
    comment = "# From lib/a.py:\n# def a():\n#     pass\n\n"
    assert found == expected.replace("{}", SNIPPET.text).replace("[]", comment)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf", "qwen"), ("qwen3-coder-30b-a3b", "qwen"),
        ("accounts/fireworks/models/qwen2p5-coder-32b", "qwen"), ("mercury-coder-small", "qwen"),
        ("bigcode/starcoder2-15b", "starcoder"), ("stable-code-3b", "starcoder"),
        ("granite-3.3-8b-base", "starcoder"), ("granite-4.0-h-small", "granite"),
        ("google/codegemma-7b", "codegemma"), ("codellama:7b-code", "codellama"),
        ("deepseek-coder-v2-lite", "deepseek"), ("deepseek-chat", "deepseek"),
        ("codestral-22b-v0.1", "codestral"), ("seed-coder-8b-base", "seed"), ("mellum-4b-base", "mellum"),
        ("gpt-4.1-mini", "none"), ("llama-3.1-8b", "none"), ("qwen2.5-7b-instruct", "none"), ("", "none"),
    ],
)  # fmt: skip
def test_a_models_family_by_its_name(model: str, name: str) -> None:
    assert template_for(model).name == name
    assert template_for(model, "starcoder").name == "starcoder"


@given(st.sampled_from(sorted(TEMPLATES)), st.data())
def test_no_marker_comes_from_the_users_code(name: str, data: st.DataObject) -> None:
    """Code about tokenizers, cut anywhere: every marker in the prompt is one that the template put there."""
    template = TEMPLATES[name]
    pieces = st.sampled_from([*template.markers, *(m[:3] for m in template.markers), *"<|>[] x\n", "def "])
    texts = [data.draw(st.lists(pieces, max_size=8).map("".join)) for _ in range(4)]
    snippet = replace(SNIPPET, text=texts[2], path=texts[3] or "p")
    mine = render(template, "", "", path="b.py", language="python", snippets=[replace(SNIPPET, text="x")])
    found = render(template, texts[0], texts[1], path="b.py", language="python", snippets=[snippet])
    for marker in template.markers:
        assert found.count(marker) <= mine.count(marker), (marker, found)


@given(st.text("<|fim_>x ", max_size=30))
def test_a_neutralised_text_reads_the_same(text: str) -> None:
    markers = TEMPLATES["qwen"].markers
    found = neutralise(text, markers)
    assert not any(marker in found for marker in markers)
    assert found.replace(" ", "") == text.replace(" ", "")
    assert neutralise(found, markers) == found


def test_a_window_keeps_what_is_next_to_the_cursor() -> None:
    prefix, suffix = "".join(f"a{i}\n" for i in range(99)), "".join(f"b{i}\n" for i in range(99))
    assert cut(prefix, suffix, Window(20, 10)) == ("a95\na96\na97\na98\n", "b0\nb1\nb2\n")
    assert cut("x" * 50, "y" * 50, Window(20, 10)) == ("x" * 20, "y" * 10)
    assert cut("a", "b", Window()) == ("a", "b")
    assert Window().within(None) == Window()
    small = Window().within(100)
    assert small.prefix + small.suffix + small.snippets <= 300


# --- realignment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draft", "typed", "text", "at_cursor", "as_drafted"),
    [
        ("foo(a, b)", "", "foo(a, b)", True, True),
        ("foo(a, b)", "foo(", "a, b)", True, True),
        ("foo(a, b)", "foo(a, b)", "", False, True),
        ("self.height * 2", "self.w", " * 2", False, False),
        ("self.height * 2", "self.h", "eight * 2", True, True),
        ("self.width, self.height)", "self.w, ", "self.height)", True, False),
        ("foo(a)", "bar", "(a)", False, False),
        ("foo(a)", "import os\nimport sys\n", "", False, False),
        ("return x", "x" * 300, "", False, False),
        ("", "x", "", False, False),
    ],
)
def test_realign(draft: str, typed: str, text: str, at_cursor: bool, as_drafted: bool) -> None:
    found = realign(draft, typed)
    assert (found.text, found.at_cursor, found.typed_as_drafted) == (text, at_cursor, as_drafted)


@given(st.text("ab.( ", max_size=20), st.text("ab.( ", max_size=20))
def test_what_is_left_is_an_end_of_the_draft(draft: str, typed: str) -> None:
    found = realign(draft, typed)
    assert draft.endswith(found.text)
    assert not found.at_cursor or found.text


# --- acceptance ------------------------------------------------------------------------------------------


def row(text: str, best: str | None = None, **fields: Any) -> Row:
    best = text if best is None else best
    return Row(text, -0.1 if best == text else -2.0, best, -0.1, **fields)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), min_size=9, max_size=9))
def test_the_settled_text_begins_the_greedy_one(draft: list[str], greedy: list[str]) -> None:
    """The model that always writes `greedy`, wherever it agrees so far (a greedy model is a function)."""
    rows = tuple(row(text, greedy[i] if draft[:i] == greedy[:i] else "?") for i, text in enumerate(draft))
    whole = draft == greedy[: len(draft)]
    scores = Scores(rows, "".join(greedy[len(draft) :]) if whole else "nonsense", finished=whole)
    settled = settle(scores)
    assert "".join(greedy).startswith(settled.text)
    assert settled.finished == whole
    assert len(settled.text) == (len(greedy) if whole else settled.accepted + 1)


def test_an_end_is_an_end() -> None:
    rows = (row("a"), row("b", "<|endoftext|>", ends=True))
    settled = settle(Scores(rows, "c"))
    assert (settled.text, settled.accepted, settled.finished) == ("a", 1, True)


def test_a_near_tie_counts_within_the_margin() -> None:
    near = Row("b", -0.7, "x", -0.69)
    assert accept([row("a"), near, row("c")]) == 1
    assert accept([row("a"), near, row("c")], margin=0.05) == 3
    assert accept([row("a"), replace(near, ends=True)], margin=0.05) == 1


def test_a_branch_leaves_where_the_model_was_least_sure() -> None:
    rows = [
        Row("a", -0.1, "a", -0.1, "x", -5.0),
        Row("b", -0.7, "b", -0.7, "y", -0.8),
        Row("c", -0.1, "c", -0.1, "", 0.0),
    ]
    branch = best_branch(rows)
    assert branch is not None
    assert (branch.text, branch.rows) == ("ay", 1)
    assert best_branch([row("a"), row("b")]) is None


# --- rows off the wire -----------------------------------------------------------------------------------


def test_rows_of_vllm() -> None:
    agreed = vllm_row({"5": {"logprob": -0.1, "rank": 1, "decoded_token": "a"}})
    other = vllm_row(
        {
            "5": {"logprob": -2, "rank": 4, "decoded_token": "a"},
            "6": {"logprob": -0.5, "rank": 1, "decoded_token": "b"},
        }
    )
    assert agreed is not None
    assert other is not None
    assert (agreed.best, other.text, other.best, other.ends) == ("a", "a", "b", False)
    end = vllm_row(
        {
            "5": {"logprob": -2, "rank": 4, "decoded_token": "a"},
            "6": {"logprob": -0.5, "rank": 1, "decoded_token": "<|im_end|>"},
        }
    )
    assert end is not None
    assert end.ends
    assert vllm_row(None) is None


@pytest.mark.parametrize(
    "read",
    [
        lambda: vllm_row({"5": {"logprob": None, "rank": 1, "decoded_token": "a"}}),
        lambda: vllm_row({"5": {"logprob": -1, "rank": 3, "decoded_token": "a"}}),
        lambda: vllm_row({"5": {"logprob": -1, "rank": 1, "decoded_token": 7}}),
        lambda: sglang_row([-1, 5, None], [[-1, 5, "a"]]),
        lambda: sglang_row([-1, 5, "a"], [["x", 5, "a"]]),
        lambda: legacy_rows(None),
        lambda: legacy_rows({"tokens": [], "token_logprobs": []}),
        lambda: last_rows([row("ab"), row("c")], "bc"),
        lambda: last_rows([row("b"), None], "ab"),
        lambda: last_rows([row("b")], "ab"),
        lambda: last_rows([row("\ufffd")], "\ufffd"),
    ],
)
def test_nonsense_is_never_a_score(read: Any) -> None:
    with pytest.raises(CloudError):
        read()


def test_the_rows_of_a_draft_are_the_last_ones() -> None:
    assert [r.text for r in last_rows([None, row("x"), row("a"), row("b")], "ab")] == ["a", "b"]


# --- choice ----------------------------------------------------------------------------------------------

ABLE = Caps(proved=True, draft="speculation", verify="vllm", prime=True)


def known(**fields: Any) -> Estimates:
    return Estimates(**({"ttft_ms": 100.0, "token_ms": 20.0, "accepted": 0.8} | fields))


@pytest.mark.parametrize(
    ("caps", "draft", "context", "estimates", "strategy", "name", "why"),
    [
        (ABLE, 12, 500, known(), "auto", "native", "80% of a draft"),
        (ABLE, 3, 500, known(), "auto", "plain", "too short"),
        (ABLE, 12, 500, known(), "plain", "plain", "as configured"),
        (ABLE, 12, 500, known(), "verify", "verify", "as configured"),
        (ABLE, 12, 500, known(ttft_ms=None), "auto", "plain", "not known yet"),
        (Caps(), 12, 500, known(), "auto", "plain", "not probed yet"),
        (Caps(proved=True), 12, 500, known(), "auto", "plain", "takes no draft"),
        (Caps(proved=True), 12, 500, known(), "native", "plain", "not proved that it can native"),
        (replace(ABLE, bills_rejected=True, prime=False, verify="none"), 12, 9, known(accepted=0.1), "auto",
         "plain", "cost money"),
        (replace(ABLE, draft="none", prime=False), 12, 500, known(), "auto", "verify", "80%"),
        (replace(ABLE, draft="none", prime=False), 12, 5, known(accepted=0.1), "auto", "plain", "saves 44"),
        (replace(ABLE, draft="none", prime=False, reads_cache_when_scoring=False), 12, 5000, known(), "auto",
         "plain", "reads all 5000 tokens again"),
        (replace(ABLE, draft="none", verify="none"), 12, 500, known(), "auto", "prime", "80%"),
    ],
)  # fmt: skip
def test_choose(
    caps: Caps, draft: int, context: int, estimates: Estimates, strategy: str, name: str, why: str
) -> None:
    choice = choose(caps, draft, context, estimates, Policy(strategy), 0.5)
    assert choice.name == name
    assert why in choice.why


def test_some_calls_explore() -> None:
    assert choose(ABLE, 12, 500, known(), Policy(), 0.01).why == "to keep the estimates true"


def test_a_strategy_that_loses_is_switched_off_and_says_so() -> None:
    estimates = known()
    for _ in range(LOSING_CALLS):
        assert choose(ABLE, 12, 500, estimates, Policy(), 0.5).name == "native"
        estimates.other_took("native", 400.0, 6)  # plain would have taken 200
    choice = choose(ABLE, 12, 500, estimates, Policy(), 0.5)
    assert choice.name != "native"
    assert estimates.record("native").off == "slower than plain by 200 ms over 20 calls"
    assert "native: slower than plain" in choose(ABLE, 12, 500, estimates, Policy("native"), 0.5).why


def test_estimates_follow_the_endpoint() -> None:
    estimates = Estimates()
    estimates.plain_took(100.0, 300.0, 11)
    assert (estimates.ttft_ms, estimates.token_ms) == (100.0, 20.0)
    for _ in range(50):
        estimates.plain_took(50.0, 150.0, 11)
    assert estimates.ttft_ms == pytest.approx(50, 0.01)
    assert estimates.token_ms == pytest.approx(10, 0.01)
    for _ in range(50):
        estimates.saw_draft(10, 3)
    assert estimates.accepted == pytest.approx(0.3, 0.01)


# --- chat ------------------------------------------------------------------------------------------------

ANSWERS = [
    "self.width",
    "<COMPLETION>self.width</COMPLETION>",
    "<COMPLETION>\n```python\nself.width\n```\n</COMPLETION>",
    "```\nself.width\n```",
    "    return self.width",
    "return self.width",
    "self.width\n\n    def perimeter(self):\n        pass",
    "Sure! <COMPLETION>self.width</COMPLETION> Hope that helps.",
]
CHAT_PREFIX = "    def area(self):\n    return "
CHAT_SUFFIX = "\n\n    def perimeter(self):\n        pass\n"


@pytest.mark.parametrize("answer", ANSWERS)
def test_code_is_found_in_a_chat_models_answer(answer: str) -> None:
    assert stripped(answer, CHAT_PREFIX, CHAT_SUFFIX, finished=True).strip() == "self.width"


@pytest.mark.parametrize("answer", [a for a in ANSWERS if not a.startswith("Sure")])
def test_what_was_shown_of_an_answer_stays(answer: str) -> None:
    shown = ""
    for end in range(len(answer) + 1):
        text = stripped(answer[:end], CHAT_PREFIX, CHAT_SUFFIX, finished=False)
        assert text.startswith(shown)
        shown = text
    assert stripped(answer, CHAT_PREFIX, CHAT_SUFFIX, finished=True).startswith(shown.rstrip())


def test_a_hole_in_the_users_code_is_no_hole() -> None:
    (_, asked) = messages(f"x = '{HOLE}'\ny = ", "\n", "a.py", "python", [SNIPPET])
    assert asked["content"].count(HOLE) == 1
    assert "lib/a.py" in asked["content"]


@pytest.mark.parametrize(
    ("text", "size"), [("a<|fim", 5), ("a<", 1), ("a", 0), ("", 0), ("<|fim_middle|", 13), ("x<|fi m", 0)]
)
def test_half_a_marker_is_held_back(text: str, size: int) -> None:
    assert held_back(text, ("<|fim_middle|>", "<|endoftext|>")) == size
