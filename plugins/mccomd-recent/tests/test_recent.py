"""The regions that were edited and looked at last, with the text that stands there now."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mccomd_recent import MAX_DOCUMENTS, RecentRetriever, changed_lines, mccomd_retrievers

from mccomd.hooks import PluginContext
from mccomd.testing import check_retriever, query
from mccomd.types import Document, Query, Snippet


class User:
    """One editor: documents, a cursor, a clock."""

    def __init__(self, **options: float) -> None:
        self.clock = 0.0
        self.retriever = RecentRetriever(**options, now=lambda: self.clock)  # type: ignore[arg-type]
        self.documents: dict[str, list[str]] = {}

    def open(self, path: str, lines: int = 200) -> None:
        name = path.rpartition("/")[2].partition(".")[0]
        self.documents[path] = [f"{name}_{number} = {number}" for number in range(lines)]

    def ask(self, path: str, line: int, limit: int = 4) -> list[Snippet]:
        lines = self.documents[path]
        prefix = "\n".join([*lines[:line], lines[line]])
        suffix = "".join("\n" + rest for rest in lines[line + 1 :])
        others = tuple(
            Document(p, "\n".join(text), "python") for p, text in self.documents.items() if p != path
        )
        query = Query(path, path.removeprefix("/w/"), "/w", "python", prefix, suffix, limit, others)
        self.clock += 1
        return list(self.retriever.retrieve(query))


@pytest.fixture
def user() -> User:
    found = User()
    found.open("/w/a.py")
    found.open("/w/b.py")
    found.open("/w/c.py")
    assert found.ask("/w/a.py", 0) == []
    return found


def test_the_contract() -> None:
    check_retriever(RecentRetriever(), query(), budget_ms=2000.0)


def test_an_edit_in_another_document_is_found(user: User) -> None:
    user.documents["/w/b.py"][100] = "changed = compute(gizmo)"
    (found,) = user.ask("/w/a.py", 0)
    assert (found.path, found.start_line, found.end_line) == ("b.py", 98, 104)
    assert found.text == "\n".join(user.documents["/w/b.py"][97:104])
    assert (found.commit, found.source) == ("", "recent")


def test_the_text_is_the_one_of_now_and_moves_with_the_lines_above(user: User) -> None:
    user.documents["/w/b.py"][100] = "changed = 1"
    user.ask("/w/a.py", 0)
    user.documents["/w/b.py"][0:0] = ["import os"] * 10
    user.documents["/w/b.py"][110] = "changed = 2"
    edited = user.ask("/w/a.py", 0)
    assert any("changed = 2" in s.text for s in edited)
    for snippet in edited:
        assert snippet.text == "\n".join(user.documents["/w/b.py"][snippet.start_line - 1 : snippet.end_line])


def test_edits_before_looks_and_new_before_old(user: User) -> None:
    user.ask("/w/b.py", 50)
    user.ask("/w/a.py", 0)
    user.documents["/w/c.py"][100] = "edited = 1"
    user.ask("/w/a.py", 0)
    user.documents["/w/b.py"][150] = "edited = 2"
    order = [(s.path, "edited" in s.text) for s in user.ask("/w/a.py", 0)]
    assert order == [("b.py", True), ("c.py", True), ("b.py", False)]


def test_what_shares_words_with_the_cursor_comes_first(user: User) -> None:
    user.documents["/w/b.py"][100] = "gizmo = transmogrify(widget)"
    user.documents["/w/c.py"][100] = "other = unrelated(thing)"
    user.documents["/w/a.py"][0] = "gizmo = transmogrify(widget"
    assert next(s.path for s in user.ask("/w/a.py", 0)) == "b.py"


def test_the_cursors_own_region_is_left_out(user: User) -> None:
    user.documents["/w/a.py"][100] = "here = 1"
    assert all("here" not in s.text for s in user.ask("/w/a.py", 101))
    assert "here = 1" in user.ask("/w/a.py", 10)[0].text


def test_old_regions_fade_and_the_number_is_bounded() -> None:
    user = User(remember=3, half_life_s=10.0)
    user.open("/w/a.py")
    user.open("/w/b.py", 1000)
    user.ask("/w/a.py", 0)
    for number in range(10):
        user.documents["/w/b.py"][number * 50 + 100] = "edited = 1"
        found = user.ask("/w/a.py", 0, limit=64)
    assert len(found) <= 3
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
    before = found[0].score
    user.clock += 10
    assert user.ask("/w/a.py", 0)[0].score < 0.6 * before


def test_a_large_paste_shows_its_end(user: User) -> None:
    user.documents["/w/b.py"][50:50] = [f"pasted_{number} = 1" for number in range(500)]
    (found,) = user.ask("/w/a.py", 0)
    assert found.end_line - found.start_line + 1 == 20
    assert "pasted_499" in found.text


def test_deleted_regions_are_gone(user: User) -> None:
    user.documents["/w/b.py"][100] = "edited = 1"
    user.ask("/w/a.py", 0)
    user.documents["/w/b.py"] = []
    assert all("edited" not in s.text for s in user.ask("/w/a.py", 0))


def test_closed_documents_are_forgotten_after_twenty_others(user: User) -> None:
    user.documents["/w/b.py"][100] = "edited = 1"
    user.ask("/w/a.py", 0)
    del user.documents["/w/b.py"]
    assert "b.py" in [s.path for s in user.ask("/w/a.py", 0)]  # closed a moment ago: still worth something
    for number in range(MAX_DOCUMENTS + 2):
        user.open(f"/w/n{number}.py", 5)
        user.ask(f"/w/n{number}.py", 0)
    assert "b.py" not in [s.path for s in user.ask("/w/a.py", 0, limit=64)]
    assert len(user.retriever._texts) <= MAX_DOCUMENTS


def test_a_text_that_is_too_long_is_not_followed(user: User) -> None:
    user.documents["/w/b.py"][100] = "x" * 3_000_000
    assert user.ask("/w/a.py", 0) == []


LINES = st.lists(st.sampled_from(["a", "b", "", "c"]), max_size=12)


@settings(deadline=None)
@given(LINES, LINES)
def test_changed_lines(before: list[str], after: list[str]) -> None:
    change = changed_lines(before, after)
    if change is None:
        assert before == after
        return
    start, end_before, end_after = change
    assert before[:start] + after[start:end_after] + before[end_before:] == after
    assert 0 <= start <= min(end_before, end_after)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 8), LINES), max_size=25))
def test_whatever_is_edited_a_snippet_is_what_stands_there(
    edits: list[tuple[str, int, int, list[str]]],
) -> None:
    user = User(window_lines=5, remember=6)
    for name in "abc":
        user.open(f"/w/{name}.py", 30)
    for name, line, deleted, lines in edits:
        path = f"/w/{name}.py"
        text = user.documents[path]
        at = min(line, len(text))
        text[at : at + deleted] = lines
        if not text:
            text.append("")
        for snippet in user.ask("/w/a.py", min(line, len(user.documents["/w/a.py"]) - 1)):
            now = user.documents[f"/w/{snippet.path}"]
            assert 1 <= snippet.start_line <= snippet.end_line <= len(now)
            assert snippet.text == "\n".join(now[snippet.start_line - 1 : snippet.end_line])
            assert 0 < snippet.score <= 1
            assert snippet.end_line - snippet.start_line < 5 + 2 * 8


@pytest.mark.parametrize(
    "options",
    [
        {"window_lines": 1},
        {"remember": 0},
        {"half_life_s": 0},
        {"viewed_weight": 2},
        {"window_lines": "many"},
    ],
)
def test_options_that_make_no_sense_are_an_error_at_start(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        mccomd_retrievers(PluginContext(options, lambda *a, **k: ()))
