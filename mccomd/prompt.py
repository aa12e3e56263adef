"""Text -> token ids: snippets, suffix, prefix, in the order of the model's own convention.

What changes least comes first, so that the next keystroke shares the longest prefix with this one. The
manifest says how (`prompt.kind`): a model without fill-in-the-middle tokens gets no suffix at all; its
answer is fitted to the suffix afterwards, in postprocess.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Protocol

from mccomd.languages import CLOSING, MOST_CLOSERS, as_comment
from mccomd.types import Query, Snippet

__all__ = ["Budget", "Convention", "Encoder", "Prompt", "build_prompt", "clean_text", "heal"]

SUFFIX_SHARE = 0.2  # of the prompt's tokens, when the model reads a suffix
MIN_SNIPPET_TOKENS = 24  # less than this is a path and no help
STEP_LINES = 32
"""The prefix window starts at a multiple of so many lines: it moves in large steps, not line by line."""
HEAL_WORD = 24  # characters: a longer word is not healed
HEAL_TAIL = 64  # characters at the end of the prefix that are looked at
_BLANK_END = re.compile(r"[ \t\n]+\Z")
_PUNCTUATION_END = re.compile(r"[!-/:-@\[-`{-~]{1,8}\Z")
_CLOSERS = re.compile(rf"[{re.escape(CLOSING)}]{{1,{MOST_CLOSERS}}}(?=\n|\Z)")
_CHARS_PER_TOKEN = 8  # no code is denser: a bound on what must be tokenised, not an estimate


class Convention(Protocol):
    """How a model wants its prompt; the manifest's `prompt`."""

    @property
    def kind(self) -> str: ...  # prefix, spm (suffix, prefix), psm (prefix, suffix)
    @property
    def bos(self) -> str | None: ...
    @property
    def file_separator(self) -> str | None: ...  # None: files are introduced by a comment
    @property
    def suffix_token(self) -> str | None: ...
    @property
    def prefix_token(self) -> str | None: ...
    @property
    def middle_token(self) -> str | None: ...


class Encoder(Protocol):
    """The model's tokenizer, which remembers pieces of text: see engine/line_encoder.py."""

    def encode(self, text: str) -> list[int]: ...  # never parses special tokens in text
    def pieces_of(self, text: str) -> list[str]: ...  # where its tokens never join
    def encode_piece(self, piece: str) -> Sequence[int]: ...
    def token_id(self, name: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens for the whole prompt, and at most how many of them for snippets."""

    prompt_tokens: int
    snippet_tokens: int


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    healed: str  # what was taken from the end of the prefix: the answer should begin with it
    snippets: tuple[Snippet, ...]  # those that found room


def heal(prefix: str) -> tuple[str, str]:
    """The prefix up to where its last token may begin, and the rest, which the answer must begin with.

    What is typed next may become one token with the rest: "re" with "turn", a blank with the word behind it,
    a line break with the indentation, "(" with ")". The prompt stays the same while a word is typed.
    "x = re" -> ("x =", " re"), "x = 12" -> ("x = 12", ""): tokenizers of code split digits.
    """
    tail = prefix[-HEAL_TAIL:]
    found = _BLANK_END.search(tail)
    healed = found[0] if found else _word_end(tail)
    return prefix[: len(prefix) - len(healed)], healed


def _word_end(tail: str) -> str:
    """The letters or the punctuation at the end, with the blank before. "x = a.b" -> "b", "x =" -> " ="."""
    start = len(tail)
    if found := _PUNCTUATION_END.search(tail):
        start = found.start()
    else:
        while start and tail[start - 1].isalpha():
            start -= 1
    if start == len(tail) or len(tail) - start > HEAL_WORD:
        return ""
    before = tail[max(0, start - 2) : start]
    if before.endswith(" ") or (len(before) == 2 and before.isspace()):
        start -= 1  # the last one of several blanks is their token's, or one of its own
    return tail[start:]


def build_prompt(
    query: Query, snippets: Sequence[Snippet], convention: Convention, encoder: Encoder, budget: Budget
) -> Prompt:
    """The prompt for one cursor; never more than `budget.prompt_tokens` ids."""
    special = _Special(convention, encoder)
    prefix, healed = heal(query.prefix.replace("\r\n", "\n"))
    kept, head = _render_snippets(query, snippets, special, encoder, budget.snippet_tokens)
    header = _file_header(query, special, encoder)
    room = budget.prompt_tokens - len(head) - len(header) - special.overhead
    suffix = special.suffix_room(query.suffix, room)
    before = _window(prefix, room - len(suffix), encoder)
    return Prompt(tuple(special.arrange(head, header, suffix, before)), healed, tuple(kept))


class _Special:
    """The convention's tokens as ids."""

    def __init__(self, convention: Convention, encoder: Encoder) -> None:
        self._kind = convention.kind
        self._encoder = encoder
        self.bos = self._ids(convention.bos)
        self.separator = self._ids(convention.file_separator)
        self._suffix = self._ids(convention.suffix_token)
        self._prefix = self._ids(convention.prefix_token)
        self._middle = self._ids(convention.middle_token)

    @property
    def overhead(self) -> int:
        return len(self.bos) + len(self._suffix) + len(self._prefix) + len(self._middle)

    def suffix_room(self, suffix: str, room: int) -> list[int]:
        if self._kind == "prefix":
            return []
        share = int(room * SUFFIX_SHARE)
        seen = without_closers(suffix[: share * _CHARS_PER_TOKEN].replace("\r\n", "\n"))
        return self._encoder.encode(clean_text(seen))[:share]

    def arrange(self, head: list[int], header: list[int], suffix: list[int], prefix: list[int]) -> list[int]:
        match self._kind:
            case "spm":
                body = [*self._suffix, *suffix, *self._prefix, *header, *prefix, *self._middle]
            case "psm":
                body = [*self._prefix, *header, *prefix, *self._suffix, *suffix, *self._middle]
            case _:
                body = [*header, *prefix]
        return [*self.bos, *head, *body]

    def _ids(self, name: str | None) -> list[int]:
        return [] if name is None else [self._encoder.token_id(name)]


def without_closers(suffix: str) -> str:
    """The suffix without brackets and quotes that end the cursor's line: an editor may have put them there.

    They come with one keystroke and go with another, and the suffix stands first: each time the whole prompt
    would be read again. The model writes them, too, and postprocess.py drops what stands there twice.
    """
    found = _CLOSERS.match(suffix)
    return suffix[found.end() :] if found else suffix


def _render_snippets(
    query: Query, snippets: Sequence[Snippet], special: _Special, encoder: Encoder, room: int
) -> tuple[list[Snippet], list[int]]:
    """The best snippets that fit, the best last: nearest to the code it is to help."""
    kept: list[Snippet] = []
    parts: list[list[int]] = []
    for snippet in in_turn(snippets):
        if room < MIN_SNIPPET_TOKENS:
            break
        shown, ids = _fit(snippet, query.language, special, encoder, room)
        if ids:
            room -= len(ids)
            kept.append(shown)
            parts.append(ids)
    return kept, [token for ids in reversed(parts) for token in ids]


def in_turn(snippets: Sequence[Snippet]) -> list[Snippet]:
    """The best of each retriever, then the second of each: their scores cannot be compared."""
    by_source: dict[str, list[Snippet]] = {}
    for snippet in snippets:
        by_source.setdefault(snippet.source, []).append(snippet)
    ranks = zip_longest(*by_source.values())
    return [snippet for rank in ranks for snippet in rank if snippet is not None]


def _fit(
    snippet: Snippet, language: str, special: _Special, encoder: Encoder, room: int
) -> tuple[Snippet, list[int]]:
    """A snippet's first lines that take at most `room` tokens, and their ids; no ids if none does."""
    lines = clean_text(snippet.text[: room * _CHARS_PER_TOKEN]).strip("\n").split("\n")
    while lines:
        ids = _render(snippet.path, "\n".join(lines), language, special, encoder)
        if len(ids) <= room:
            end = min(snippet.end_line, snippet.start_line + len(lines) - 1)
            return replace(snippet, end_line=end), ids
        lines = lines[: min(len(lines) - 1, len(lines) * room // len(ids))]
    return snippet, []


def _render(path: str, text: str, language: str, special: _Special, encoder: Encoder) -> list[int]:
    if special.separator:
        return [*special.separator, *encoder.encode(f"{clean_text(path)}\n{text}\n")]
    comment = as_comment(f"From {clean_text(path)}:\n{text}", language)
    return encoder.encode(f"{comment}\n\n")


def _file_header(query: Query, special: _Special, encoder: Encoder) -> list[int]:
    path = clean_text(query.relative_path)
    if special.separator:
        return [*special.separator, *encoder.encode(f"{path}\n")]
    return encoder.encode(as_comment(path, query.language) + "\n")


def _window(prefix: str, room: int, encoder: Encoder) -> list[int]:
    """The end of the prefix in at most `room` tokens, from a line that stays the same for many keystrokes."""
    if room <= 0:
        return []
    tail = prefix[-room * _CHARS_PER_TOKEN :]
    pieces = encoder.pieces_of(clean_text(tail))
    encoded = [encoder.encode_piece(piece) for piece in pieces]
    first = _first_that_fits(encoded, room)
    if first > 0 or len(tail) < len(prefix):
        first = _anchor(pieces, first, prefix.count("\n", 0, len(prefix) - len(tail)))
    return list(chain.from_iterable(encoded[first:]))[-room:]


def _first_that_fits(encoded: Sequence[Sequence[int]], room: int) -> int:
    """The first of the pieces that have room together; the last one if not even that fits."""
    for index in range(len(encoded) - 1, -1, -1):
        room -= len(encoded[index])
        if room < 0:
            return min(index + 1, len(encoded) - 1)
    return 0


def _anchor(pieces: Sequence[str], first: int, line: int) -> int:
    """The first piece from `first` on that reaches a line divisible by STEP_LINES; `first` if none does.

    line: the number, in the whole text, of the line that pieces[0] begins on.
    """
    for index, piece in enumerate(pieces):
        begins, line = line, line + piece.count("\n")
        if index >= first and begins // STEP_LINES != line // STEP_LINES:
            return index
    return first


def clean_text(text: str) -> str:
    """Text that any tokenizer takes: lone surrogates (bytes that are not UTF-8) become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
