"""What is claimed about the model that comes with mccomd, on that model."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mccomd.engine import Engine, EngineOptions, Limits, Tokenizer, load_manifest, shipped_models, verify
from mccomd.engine.session import Session
from mccomd.prompt import Budget, build_prompt
from mccomd.types import CancelToken, Finish, Query


@pytest.fixture(scope="module")
def folder() -> Path:
    return shipped_models()["mccomd-135m"]


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    engine = Engine(folder, EngineOptions(context_tokens=1024))
    yield engine
    engine.close()


def complete_line(engine: Engine, prefix: str) -> tuple[str, Finish]:
    """The rest of the prefix's last line, as the model's own prompt asks for it."""

    def line_ends(ids: Sequence[int]) -> bool:
        return b"\n" in engine.tokenizer.token_bytes(ids[-1])

    query = Query("/r/a.py", "a.py", None, "python", prefix, "", 0)
    prompt = build_prompt(query, (), engine.manifest.prompt, engine.lines, Budget(512, 0))
    found = engine.generate(prompt.ids, Limits(24, math.inf), line_ends, CancelToken(), heal=prompt.healed)
    text = engine.tokenizer.decode(found.ids).removeprefix(prompt.healed)
    return text.partition("\n")[0], found.finish


def test_the_files_are_the_ones_that_were_exported(folder: Path) -> None:
    manifest = load_manifest(folder)
    verify(folder, manifest)
    assert manifest.licence == "Apache-2.0"
    assert all(entry.bytes < 95_000_000 for entry in manifest.files.values())  # Git hosts refuse 100 MB


@pytest.mark.parametrize(
    ("prompt", "rest"),
    [
        (
            "items.append(first)\nitems.append(second)\nitems.append(third)\nitems.append(first)\nitems.append(",
            "second)",
        ),
        (
            "class Box:\n    def __init__(self, name, size):\n        self.name = name\n        self.size =",
            " size",
        ),
        ("import os\nimport sys\n\nroot = os.path.dirname(os.path.abspath(__file", "__))"),
        ("for i in range(10):\n    print(i)\n\nfor j in range(", "10):"),
    ],
)
def test_obvious_lines(engine: Engine, prompt: str, rest: str) -> None:
    assert complete_line(engine, prompt) == (rest, Finish.STOP)


def test_one_in_four_tokens_of_plain_code_is_guessed(folder: Path) -> None:
    """A wrong rotary order, a wrong norm or a damaged block brings this to next to nothing."""
    manifest = load_manifest(folder)
    source = Path(textwrap.__file__).read_text()[3000:5000]
    ids = Tokenizer(folder, (), manifest.vocab).encode(source)[:250]
    session = Session(folder, manifest, EngineOptions(context_tokens=512, prefill_chunk=250))
    best = session.forward(ids, len(ids)).argmax(axis=1)
    assert np.mean(best[:-1] == ids[1:]) > 0.25


def test_a_chat_end_token_is_an_end(engine: Engine) -> None:
    assert set(engine.manifest.end_ids) == {
        engine.tokenizer.token_id("<|endoftext|>"),
        engine.tokenizer.token_id("<|im_end|>"),
    }
