"""Answers on disk: a run that was killed goes on, another run's file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mccomd.errors import MccomdError
from mccomd.evaluate.answers import Answer, Answers, load_answers

SETTINGS = {"model": "m", "retrieval": True, "cases": "abc"}


def test_what_was_answered_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    with Answers(path, SETTINGS) as answers:
        answers.add(Answer(id="1", text="é\n", confidence=0.5, generated=3))
        answers.add(Answer(id="2", text=""))
    with Answers(path, SETTINGS) as answers:
        assert answers.known["1"] == Answer(id="1", text="é\n", confidence=0.5, generated=3)
        assert list(answers.known) == ["1", "2"]
    assert list(load_answers(path)) == ["1", "2"]


def test_half_a_line_of_a_killed_run_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Answers(path, SETTINGS) as answers:
        answers.add(Answer(id="1", text="a"))
        answers.add(Answer(id="2", text="b"))
    whole = path.read_bytes()
    for cut in range(len(whole)):  # killed at any byte
        path.write_bytes(whole[:cut])
        with Answers(path, SETTINGS) as answers:
            assert list(answers.known) == ["1", "2"][: max(0, whole[:cut].count(b"\n") - 1)]
            answers.add(Answer(id="3", text="c"))
        assert list(load_answers(path))[-1] == "3"


def test_another_run_is_refused_and_fresh_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Answers(path, SETTINGS) as answers:
        answers.add(Answer(id="1", text="a"))
    other = {**SETTINGS, "model": "other"}
    with pytest.raises(MccomdError, match=r"model was 'm' and is 'other'.*--fresh"):
        Answers(path, other)
    assert list(load_answers(path)) == ["1"]
    with Answers(path, other, fresh=True) as answers:
        assert answers.known == {}


def test_two_runs_at_once(tmp_path: Path) -> None:
    with Answers(tmp_path / "run", SETTINGS), pytest.raises(MccomdError, match="another run writes"):
        Answers(tmp_path / "run", SETTINGS)


def test_recorded_outputs_need_no_header(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text('{"id": "1", "text": "x", "logprobs": [1]}\n\n{"id": "2", "text": "y"}')
    with pytest.raises(MccomdError, match="has no header"):
        Answers(path, SETTINGS)
    assert [a.text for a in load_answers(path).values()] == ["x"]  # the last line may be half written
    path.write_text('{"id": "1", "text": "x"}\n{"id": 3}\n')
    with pytest.raises(MccomdError, match=r"large.jsonl:2: no recorded answer"):
        load_answers(path)
    path.write_text('{"format": "mccomd-answers/9"}\n')
    with pytest.raises(MccomdError, match="this version reads 'mccomd-answers/1'"):
        load_answers(path)
