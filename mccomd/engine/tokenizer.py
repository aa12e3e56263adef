"""How text becomes ids and ids become text.

Text is the user's: a marker such as "<|endoftext|>" inside it is spelt out like any other characters and
never becomes the marker's id; only `token_id` gives those. Works on byte-level BPE alone, because `decode`
has to know the bytes of every token. The only importer of tokenizers.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers

from mccomd.engine.artifact import TOKENIZER_FILE
from mccomd.errors import ArtifactError, EngineError

__all__ = ["Tokenizer"]


class Tokenizer:
    """The tokenizer of one model."""

    def __init__(self, folder: Path, markers: Iterable[str], vocab: int) -> None:
        """Load `folder`'s tokenizer.json.

        markers: names of tokens that must exist and that text never parses as; vocab: the model's number
        of ids. Raises ArtifactError.
        """
        self._inner = _load(folder)
        self._make_special(folder, markers)
        if self._inner.get_vocab_size() > vocab:
            size = self._inner.get_vocab_size()
            raise ArtifactError(f"{folder}: {TOKENIZER_FILE} has {size} tokens, the model's vocab is {vocab}")
        added = self._inner.get_added_tokens_decoder()
        self._special = frozenset(i for i, token in added.items() if token.special)
        self._bytes: dict[int, bytes] = {}  # of ids asked for before: a stop rule asks much

    def encode(self, text: str) -> list[int]:
        """The ids of a text.

        A byte that the vocabulary has no token for is left out (SmolLM2: six control characters).
        """
        return self._inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens give none.

        The first bytes of a character that is not finished yet are held back; bytes that can never become
        a character are U+FFFD.
        """
        return _decode_finished(b"".join(self.token_bytes(i) for i in ids))

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token, which may be part of a character; b"" for a special token."""
        known = self._bytes.get(token_id)
        if known is None:
            known = self._bytes[token_id] = self._find_bytes(token_id)
        return known

    def _find_bytes(self, token_id: int) -> bytes:
        if token_id in self._special:
            return b""
        name = self._inner.id_to_token(token_id)
        if name is None:  # a row of logits that pads the vocabulary
            return b""
        return b"".join(_BYTES.get(character) or character.encode() for character in name)

    def token_id(self, name: str) -> int:
        """The id of a token by its name, such as "<file_sep>". Raises EngineError when there is none."""
        found = self._inner.token_to_id(name)
        if found is None:
            raise EngineError(f"the tokenizer has no token {name!r}")
        return found

    def _make_special(self, folder: Path, markers: Iterable[str]) -> None:
        """Some tokenizers (Qwen's) list their fill-in-the-middle markers as ordinary added tokens."""
        names = list(dict.fromkeys(markers))
        for name in names:
            if self._inner.token_to_id(name) is None:
                raise ArtifactError(
                    f"{folder}: {TOKENIZER_FILE} lacks the token {name!r} that the manifest names"
                )
        self._inner.add_special_tokens(
            [tokenizers.AddedToken(n, special=True, normalized=False) for n in names]
        )
        # The library's name for "treat special tokens in the text as ordinary characters".
        self._inner.encode_special_tokens = True


def _load(folder: Path) -> tokenizers.Tokenizer:
    try:
        inner = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"{folder}: {TOKENIZER_FILE} cannot be loaded: {error}") from error
    if not isinstance(inner.decoder, tokenizers.decoders.ByteLevel):
        raise ArtifactError(
            f"{folder}: {TOKENIZER_FILE} is no byte-level tokenizer (decoder {inner.decoder})"
        )
    inner.no_truncation()
    inner.no_padding()
    return inner


def _byte_alphabet() -> dict[str, bytes]:
    """GPT-2's alphabet: the character that stands for each byte in a byte-level vocabulary.

    Printable bytes stand for themselves, the others take the code points from 256 in order.
    Source: `bytes_to_unicode` in openai/gpt-2, encoder.py.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    pairs = [
        *((chr(byte), byte) for byte in printable),
        *((chr(256 + i), byte) for i, byte in enumerate(others)),
    ]
    return {character: bytes([byte]) for character, byte in pairs}


_BYTES = _byte_alphabet()


def _decode_finished(raw: bytes) -> str:
    """UTF-8 without the bytes of an unfinished last character. b"a\\xc3" -> "a", b"\\xff" -> "\\ufffd"."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(raw)
