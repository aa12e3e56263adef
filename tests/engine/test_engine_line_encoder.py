"""Line by line gives the ids of the whole, with the shipped tokenizer."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.engine import Tokenizer, load_manifest, shipped_models
from mccomd.engine.line_encoder import MAX_PIECES, LineEncoder


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    folder = shipped_models()["mccomd-135m"]
    return Tokenizer(folder, [], load_manifest(folder).vocab)


@pytest.mark.parametrize("module", [json.decoder, textwrap])
def test_real_files(tokenizer: Tokenizer, module: object) -> None:
    text = Path(module.__file__).read_text()  # type: ignore[attr-defined]
    assert LineEncoder(tokenizer).encode(text) == tokenizer.encode(text)


@given(st.text(alphabet="ab1 \n\r\t.(é\u3000'_", max_size=60))
def test_any_text(tokenizer: Tokenizer, text: str) -> None:
    encoder = LineEncoder(tokenizer)
    assert encoder.encode(text) == encoder.encode(text) == tokenizer.encode(text)


class Cutting:
    """A tokenizer that cuts by an expression and gives each piece a number."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self.asked = 0

    def encode(self, text: str) -> list[int]:
        self.asked += 1
        return [hash(piece) for piece in self._pattern.findall(text)]

    def token_id(self, name: str) -> int:
        return 7


GPT2 = r"\w+| ?[^\s\w]+|\s+(?!\S)|\s+"
QWEN = r"\w+| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WHOLE = r"(?s).+"


@pytest.mark.parametrize(
    ("pattern", "text", "pieces"),
    [
        (GPT2, "", [""]),
        (GPT2, "a", ["a"]),
        (GPT2, "a\nb", ["a", "\nb"]),
        (GPT2, "a\n\n  b", ["a", "\n\n  b"]),
        (GPT2, "\n\na \nb", ["\n\na \nb"]),
        (QWEN, "a;\n\n  b\nc", ["a;\n\n", "  b\n", "c"]),
        (WHOLE, "a\nb\nc", ["a\nb\nc"]),
    ],
)
def test_the_cut_is_the_tokenizers_own(pattern: str, text: str, pieces: list[str]) -> None:
    inner = Cutting(pattern)
    encoder = LineEncoder(inner)
    assert encoder.pieces_of(text) == pieces
    assert encoder.encode(text) == inner.encode(text)


def test_it_asks_once_and_is_bounded() -> None:
    inner = Cutting(GPT2)
    encoder = LineEncoder(inner)
    inner.asked = 0
    for _ in range(3):
        encoder.encode("one\ntwo\nthree")
    assert inner.asked == 3
    for number in range(MAX_PIECES):
        encoder.encode_piece(str(number))
    encoder.encode("one")
    assert inner.asked == 3 + MAX_PIECES + 1
    assert encoder.token_id("<x>") == 7
