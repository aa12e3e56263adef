"""Source text -> the words it is indexed and found by: whole identifiers and their subwords.

    parse_HTTPRequest2  ->  parse_httprequest2 parse http request

Pure. Both sides use `index_text`, so a query can never be split differently from what it looks for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

MAX_LENGTH = 64  # longer "words" are hashes and encoded data
MAX_REMEMBERED = 400_000  # distinct identifiers; sympy (28 MB) has 86,000

# Every byte that cannot be in an identifier becomes a space; bytes of non-ASCII characters stay and are
# looked at once per distinct word. bytes.translate + split + a dict took 0.9 s of CPU on 28 MB of Python
# (23 Nov 2026); re.findall of \w+ alone took 0.8 s before any subword was cut, and Tantivy's own regex
# tokenizer 2.3 s for the identifiers and 3.5 s for the subwords.
_KEPT = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz") | frozenset(
    range(128, 256)
)
_TABLE = bytes(byte if byte in _KEPT else 0x20 for byte in range(256))
_WORD = re.compile(r"\w+")
_SUBWORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_RUN = re.compile(r"[0-9]+|[^\W_0-9]+")


def index_text(text: str) -> str:
    """The words of a text in order and in lower case, a space after each.

    Single ASCII characters and numbers of fewer than three digits are left out: they cost a fifth of the
    index and find nothing.
    """
    words = text.encode("utf-8", "replace").translate(_TABLE).split()
    return "".join(map(_EXPANSIONS.__getitem__, words))


def words_of_spans(text: str, lines: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    """`index_text` of each span of lines (from, to before); where spans overlap, it is taken apart once.

    text: the lines, joined by \\n.
    """
    data = text.encode("utf-8", "replace")
    lengths = map(len, lines if len(data) == len(text) else data.split(b"\n"))
    before = [0, *accumulate(lengths)]  # bytes in the lines before each, without their ends
    data = data.translate(_TABLE)
    cuts = sorted({cut for span in spans for cut in span})
    numbers = {cut: number for number, cut in enumerate(cuts)}
    expand = _EXPANSIONS.__getitem__
    pieces = [
        "".join(map(expand, data[before[start] + start : before[end] + end].split()))
        for start, end in pairwise(cuts)
    ]
    return ("".join(pieces[numbers[start] : numbers[end]]) for start, end in spans)


def words_of_names(names: Sequence[str]) -> str:
    """`index_text` of identifiers."""
    return "".join(map(_NAMES.__getitem__, names))


def query_terms(text: str) -> list[str]:
    """The distinct words of a text, in order of first appearance."""
    return list(dict.fromkeys(index_text(text).split()))


def weighted_terms(pieces: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The distinct words of several texts, each with the greatest weight of a text that it is in."""
    weights: dict[str, float] = {}
    for text, weight in pieces:
        for term in query_terms(text) if weight > 0 else ():
            weights[term] = max(weight, weights.get(term, 0.0))
    return weights


class _Expansions(dict[bytes, str]):
    """Identifier -> its words, a space after each; forgets all when too large, so memory stays bounded."""

    def __missing__(self, word: bytes) -> str:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        found = self[word] = "".join(f"{term} " for term in _expand(word))
        return found


class _Names(dict[str, str]):
    """The same by name."""

    def __missing__(self, name: str) -> str:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        found = self[name] = index_text(name)
        return found


_EXPANSIONS = _Expansions()
_NAMES = _Names()


def _expand(word: bytes) -> list[str]:
    if word.isascii():
        return _identifier(word.decode("ascii"))
    text = unicodedata.normalize("NFKC", word.decode("utf-8", "replace"))
    return [term for part in _WORD.findall(text) for term in _identifier(part)]


def _identifier(name: str) -> list[str]:
    whole = name.strip("_").lower()
    if len(whole) > MAX_LENGTH:
        return []
    found = _SUBWORD.findall(name) if name.isascii() else _humps(name)
    parts = [part.lower() for part in found]
    terms = [whole, *parts] if len(parts) > 1 else [whole]
    return [term for term in terms if _useful(term)]


def _humps(name: str) -> list[str]:
    """The subwords of a name in any script; regular expressions of Python know no upper case but ASCII's."""
    parts = []
    for run in _RUN.findall(name):
        start = 0
        for at in range(1, len(run)):
            begins = run[at].isupper() and (not run[at - 1].isupper() or run[at + 1 : at + 2].islower())
            if begins:
                parts.append(run[start:at])
                start = at
        parts.append(run[start:])
    return parts


def _useful(term: str) -> bool:
    if term.isdigit():
        return len(term) > 2
    return len(term) > 1 or not term.isascii()
