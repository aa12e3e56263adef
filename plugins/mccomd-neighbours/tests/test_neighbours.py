"""The most similar region of each other open document."""

from __future__ import annotations

import pytest
from mccomd_neighbours import NeighboursRetriever, jaccard, mccomd_retrievers

from mccomd.hooks import PluginContext
from mccomd.testing import check_retriever, query
from mccomd.types import Document

LINES = [f"unrelated_{number} = {number}" for number in range(100)]
LINES[50:53] = ["def transmogrify(gizmo):", "    widget = gizmo.widget", "    return widget"]
OTHER = Document("/project/lib/other.py", "\n".join(LINES), "python", 3)


def test_the_contract_and_the_region() -> None:
    asked = query("gizmo = make_gizmo()\nwidget = transmogrify(gizmo", documents=(OTHER,))
    (found,) = check_retriever(
        NeighboursRetriever(window_lines=6, min_similarity=0.05), asked, budget_ms=2000.0, found=True
    )
    assert (found.path, found.commit) == ("lib/other.py", "")
    assert "def transmogrify(gizmo):" in found.text
    assert found.text == "\n".join(LINES[found.start_line - 1 : found.end_line])


def test_what_has_little_in_common_is_left_out() -> None:
    assert NeighboursRetriever().retrieve(query("nothing like it", documents=(OTHER,))) == []


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("ab", "ab", 1.0), ("ab", "bc", 1 / 3), ("ab", "cd", 0.0), ("", "", 0.0)]
)
def test_jaccard(a: str, b: str, expected: float) -> None:
    assert jaccard(frozenset(a), frozenset(b)) == pytest.approx(expected)


def test_a_window_that_is_none_is_an_error_at_start() -> None:
    with pytest.raises(ValueError, match="window_lines is 1"):
        mccomd_retrievers(PluginContext({"window_lines": 1}, lambda *a, **k: ()))
