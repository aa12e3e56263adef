"""Chunks in Tantivy: written by content, found by words.

The only importer of tantivy. Knows no git, no path and no source text: a chunk is its words, the id of the
content that it is of, and its lines. Content is added once and stays until the next generation. Tantivy's
query syntax is never used, so nothing a user writes can be an operator.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import tantivy

from .errors import CorruptError, FolderError
from .fields import FIELDS, Field
from .mapped import Mapped

BULK_HEAP = 64_000_000  # bytes; 30 to 200 MB make no difference in speed on 28 MB of source
SMALL_HEAP = 15_000_000  # Tantivy's minimum
MAX_TERMS = 60
MAX_WEIGHTED = 16  # words of a query whose texts have weights; see RANKING.md
POSTINGS = 20_000  # that such a query looks at; so many cost 0.3 ms
_UNWRITABLE = (
    "No space left",
    "File too large",  # a limit of this process; taken for damage, it would cost the index that stands
    "Permission denied",
    "Read-only file system",
    "Disk quota",
    "os error 30",
)
_NAMES = tuple(field.name for field in FIELDS)
MAX_FREQUENCIES = 50_000  # words; 5 MB or so
MAX_CONSIDERED = 800  # distinct words of a query that are looked up at all, 1 µs each


class Found(NamedTuple):
    """A found chunk."""

    score: float
    content: int
    start_line: int
    end_line: int


def content_id(blob: str, language: str) -> int:
    """What chunks follow from, a blob and a language, as 63 bits.

    Two contents share an id by chance once in 2e7 repositories of a million files; then one would be shown
    in the other's place.
    """
    digest = hashlib.blake2b(bytes.fromhex(blob) + language.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Writer:
    """Adds contents; nothing is seen by readers before `commit`."""

    def __init__(self, folder: Path, *, bulk: bool) -> None:
        self._folder = folder
        with _explained(folder):
            self._index = tantivy.Index(_schema(), str(folder))
            self._index.config_reader("manual")
            self._writer = self._index.writer(BULK_HEAP if bulk else SMALL_HEAP, 1)

    def add(self, content: int, chunks: Iterable[tuple[int, int, tuple[str, ...]]]) -> None:
        """Add the chunks of a content that the store does not have, each as `fields.ChunkFields`."""
        add = self._writer.add_document
        make = tantivy.Document
        for start, end, texts in chunks:
            document = make()
            document.add_unsigned("content", content)
            for name, words in zip(_NAMES, texts, strict=True):
                if words:
                    document.add_text(name, words)
            document.add_unsigned("lines", start << 32 | end)
            add(document)

    def commit(self) -> None:
        with _explained(self._folder):
            self._writer.commit()

    def close(self) -> None:
        """Let merges that the commits began finish; ends this writer."""
        with _explained(self._folder):
            self._writer.wait_merging_threads()


class Reader:
    """One committed state of a store; for any number of threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _explained(folder):
            self._index = tantivy.Index.open(str(folder))
            self._index.config_reader("manual")  # the default polls the disk twice a second, for ever
            self._searcher = self._index.searcher()
            self._mapped = Mapped(folder)
        self._schema = self._index.schema
        self._frequencies: dict[str, tuple[int, ...]] = {}  # word -> chunks that have it, by field

    def check(self) -> None:
        """To be called before each look. CorruptError: a file has become shorter, a look would be fatal."""
        self._mapped.check()

    @property
    def chunks(self) -> int:
        """Of all contents, whether a view names them or not."""
        return int(self._searcher.num_docs)

    def chunks_of(self, content: int) -> int:
        """How many chunks of a content the store has; 0: it has not got it, or it has none."""
        return int(self._searcher.doc_freq("content", content))

    def reload(self) -> None:
        """See what was committed since."""
        with _explained(self._folder):
            self._index.reload()
            self._searcher = self._index.searcher()
            self._frequencies = {}
            self._mapped = Mapped(self._folder)

    def search(self, terms: Mapping[str, float], limit: int, most: int = MAX_TERMS) -> list[Found]:
        """The chunks that match any of the words, best first (BM25); more of them begin with the same.

        terms: each word with how much it counts.
        most: of more words that occur at all, those count whose weight times rareness is greatest.
        """
        with _explained(self._folder):
            queries = [
                (tantivy.Occur.Should, self._term_query(field.name, field.weight * terms[term], term))
                for term, frequencies in self._telling(terms, most)
                for field, frequency in zip(FIELDS, frequencies, strict=True)
                if frequency
            ]
            if not queries or limit <= 0:
                return []
            return self._best(queries, limit)

    def match(self, field: Field, words: Mapping[str, float], limit: int, most: int) -> list[Found]:
        """The chunks that have any of the words in one field, best first; each word with its weight.

        most: of more words those count whose weight times rareness is greatest.
        """
        with _explained(self._folder):
            chunks = self._searcher.num_docs
            telling = [
                (weight * math.log(1 + chunks / (1 + frequency)), word)
                for word, weight in words.items()
                if (frequency := self.frequency(field, word))
            ]
            if len(telling) > most:
                telling = heapq.nlargest(most, telling)
            queries = [
                (tantivy.Occur.Should, self._term_query(field.name, words[word], word))
                for _, word in telling
                if words[word] > 0
            ]
            return self._best(queries, limit) if queries and limit > 0 else []

    def frequency(self, field: Field, word: str) -> int:
        """How many chunks have a word in a field."""
        return self._frequencies_of(word)[FIELDS.index(field)]

    def _frequencies_of(self, word: str) -> tuple[int, ...]:
        """The same for each field; words around a cursor are asked for with every key, and twice a round."""
        known = self._frequencies
        found = known.get(word)
        if found is None:
            if len(known) > MAX_FREQUENCIES:
                known.clear()
            frequency = self._searcher.doc_freq
            found = known[word] = tuple(frequency(name, word) for name in _NAMES)
        return found

    def _telling(self, terms: Mapping[str, float], most: int) -> list[tuple[str, tuple[int, ...]]]:
        """The words that count, each with how many chunks have it in each field.

        Of a query with few, which is a round's, the rarest, as far as they look at `POSTINGS` places in all.
        """
        of = self._frequencies_of
        known = [(term, found) for term in islice(terms, MAX_CONSIDERED) if any(found := of(term))]
        if len(known) > most:
            chunks = self._searcher.num_docs  # the sort is stable: of equally telling ones the earlier stays
            known.sort(key=lambda pair: -terms[pair[0]] * math.log(1 + chunks / (1 + max(pair[1]))))
        if most > MAX_WEIGHTED:
            return known[:most]
        rarest = sorted(known[:most], key=lambda pair: sum(pair[1]))
        looked_at = accumulate(sum(frequencies) for _, frequencies in rarest)
        return [one for one, so_far in zip(rarest, looked_at, strict=True) if so_far < POSTINGS] or rarest[:1]

    def _best(self, queries: list[tuple[Any, Any]], limit: int) -> list[Found]:
        # All places of all words are looked at: tantivy-py collects through a MultiCollector, for which
        # block-max WAND never prunes, however few are wanted. Counting them would cost a fifth more (0.27).
        hits = self._searcher.search(tantivy.Query.boolean_query(queries), limit, count=False).hits
        places = self._places([address for _, address in hits])
        return [Found(score, *place) for (score, _), place in zip(hits, places, strict=True)]

    def _places(self, addresses: list[Any]) -> Iterator[tuple[int, int, int]]:
        """(content, first line, last line) of each."""
        contents: list[Any] = self._searcher.fast_field_values("content", addresses)
        lines: list[Any] = self._searcher.fast_field_values("lines", addresses)
        return (
            (content, span >> 32, span & 0xFFFFFFFF) for content, span in zip(contents, lines, strict=True)
        )

    def _term_query(self, field: str, weight: float, term: str) -> Any:
        query = tantivy.Query.term_query(self._schema, field, term, "freq")
        return query if weight == 1.0 else tantivy.Query.boost_query(query, weight)


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("content", indexed=True, fast=True)
    for field in FIELDS:
        builder.add_text_field(field.name, tokenizer_name="whitespace", index_option="freq")
    builder.add_unsigned_field("lines", fast=True)  # first << 32 | last
    return builder.build()


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Tantivy's errors, which are ValueError and worse, as ours."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder}: {error}") from error
    except Exception as error:
        raise _sorted_out(folder, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's panics derive from BaseException
            raise
        raise CorruptError(f"{folder}: damaged: {error}") from error


def _sorted_out(folder: Path, error: Exception) -> Exception:
    text = str(error)
    for sign in _UNWRITABLE:
        if sign in text:
            return FolderError(f"{folder}: cannot be written: {text}")
    return CorruptError(f"{folder}: damaged: {text}")
