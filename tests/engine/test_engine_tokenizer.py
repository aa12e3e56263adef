"""Text to ids and back, with the tokenizer of the shipped model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Library
from tokenizers.models import WordLevel

from mccomd.engine import Tokenizer
from mccomd.errors import ArtifactError, EngineError
from tests.engine.tiny import Tiny

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "mccomd-135m"
SMOLLM2_SPECIAL = range(17)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(SHIPPED, ["<file_sep>"], 49152)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(x):\n    return x\n",
        "def f(x):\r\n\treturn x\r\n\r\n",
        "  leading and trailing   \n\n\n",
        "x = 3.14159 + 0x_FF00  # 1234567890",
        'name = "Grüße, 日本語, العربية, 🎉👩‍👩‍👧, e\u0301"',
        "\ufeffbyte order mark, \u2028 line separator, \ufffd replacement",
        "<|endoftext|><file_sep>a.py\n<|im_end|><repo_name>",
        "if '<|endoftext|>' in text: # <file_sep",
        " <|im_start|> ",
    ],
)
def test_round_trip_without_special_ids(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(SMOLLM2_SPECIAL)


def test_round_trip_of_a_source_file(tokenizer: Tokenizer) -> None:
    source = Path(sys.modules["json.decoder"].__file__ or "").read_text()
    ids = tokenizer.encode(source)
    assert tokenizer.decode(ids) == source
    assert len(ids) < len(source) / 3  # merges are applied: bytes alone would be one id each


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("def", [1604]),
        (" 12", [216, 33, 34]),  # digits stand alone
        ("<file_sep>", [44, 2153, 79, 29070, 46]),  # not 5
    ],
)
def test_known_ids(tokenizer: Tokenizer, text: str, ids: list[int]) -> None:
    assert tokenizer.encode(text) == ids


def test_special_tokens_have_ids_and_no_text(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_id(name) for name in ("<|endoftext|>", "<file_sep>")] == [0, 5]
    assert tokenizer.decode([0, *tokenizer.encode("a"), 5, *tokenizer.encode("b"), 2]) == "ab"
    with pytest.raises(EngineError, match="no token '<none>'"):
        tokenizer.token_id("<none>")


def test_an_unfinished_character_is_held_back(tokenizer: Tokenizer) -> None:
    text = "x🎉\ufffd日"
    ids = tokenizer.encode(text)
    for count in range(len(ids)):
        part = tokenizer.decode(ids[:count])
        assert text.startswith(part)
    assert b"".join(tokenizer.token_bytes(i) for i in ids) == text.encode()


def test_bytes_that_never_become_a_character(tokenizer: Tokenizer) -> None:
    middle = tokenizer.encode("日")[1:]  # starts within the character
    assert tokenizer.decode([*middle, *tokenizer.encode("a")]).endswith("\ufffda")


def test_padding_ids_have_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(60_000) == b""


def test_markers_of_the_manifest_are_special_even_where_the_file_disagrees(
    tiny: Tiny, tmp_path: Path
) -> None:
    """Qwen's tokenizer.json lists <|fim_prefix|> as an ordinary added token, which text would become."""
    library = Library.from_file(str(tiny.folder / "tokenizer.json"))
    library.add_tokens([AddedToken("<fim>", special=False)])
    library.save(str(tmp_path / "tokenizer.json"))
    plain, marked = Tokenizer(tmp_path, [], 288), Tokenizer(tmp_path, ["<fim>"], 288)
    marker = marked.token_id("<fim>")
    assert plain.encode("<fim>") == [marker]
    assert marker not in marked.encode("<fim>")
    assert marked.decode([*marked.encode("<fim>"), marker]) == "<fim>"


@pytest.mark.parametrize("file", ["{", '{"model": {}}', None])
def test_a_broken_file_is_one_line(tmp_path: Path, file: str | None) -> None:
    if file is not None:
        (tmp_path / "tokenizer.json").write_text(file)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be loaded") as caught:
        Tokenizer(tmp_path, [], 10)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    Library(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ArtifactError, match="no byte-level tokenizer"):
        Tokenizer(tmp_path, [], 10)
