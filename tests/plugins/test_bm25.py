from __future__ import annotations

from mccomd_plugins.bm25 import LEFT_LINES, RIGHT_LINES, query_lines


def test_the_nearer_a_line_the_more_it_counts() -> None:
    prefix = "".join(f"line {number}\n" for number in range(30)) + "x = "
    found = query_lines(prefix, "\nbelow one\nbelow two\n" + "far\n" * 20)
    assert found[0] == ("x = ", 1.0)
    assert found[1][0] == "line 29"
    above, below = found[:LEFT_LINES], found[LEFT_LINES:]
    assert len(below) == RIGHT_LINES
    for part in (above, below):
        weights = [weight for _, weight in part]
        assert weights == sorted(weights, reverse=True)
    assert below[1][1] < above[1][1]


def test_without_any_text_there_is_nothing_to_look_for() -> None:
    assert query_lines("", "") == []
