"""Chunks in Tantivy: written by path, found by words.

The only importer of tantivy. Knows no git, no stamp and no source text: a chunk is its words, and what is
kept of it is where to read it back (path, blob, lines). Tantivy's query syntax is never used, so nothing a
user writes can be an operator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tantivy

from .errors import CorruptError, FolderError
from .fields import FIELDS, ChunkFields

BULK_HEAP = 64_000_000  # bytes; 30 to 200 MB make no difference in speed on 28 MB of source
SMALL_HEAP = 15_000_000  # Tantivy's minimum
MAX_TERMS = 60
MAX_CONSIDERED = 800  # distinct words of a query that are looked up at all, 1 µs each


class Found(NamedTuple):
    """Where a found chunk can be read."""

    score: float
    path: str
    blob: str
    start_line: int
    end_line: int


class Writer:
    """Adds and removes chunks; nothing is seen by readers before `commit`."""

    def __init__(self, folder: Path, *, bulk: bool) -> None:
        self._folder = folder
        with _explained(folder):
            self._index = tantivy.Index(_schema(), str(folder))
            self._index.config_reader("manual")
            self._writer = self._index.writer(BULK_HEAP if bulk else SMALL_HEAP, 1)

    def add(self, path: str, blob: str, chunks: Iterable[ChunkFields]) -> None:
        """Add a file's chunks."""
        name, content, first = _path_out(path), bytes.fromhex(blob), True
        for start, end, texts in chunks:
            document = tantivy.Document()
            document.add_text("path", name)
            for field, words in zip(FIELDS, texts, strict=True):
                document.add_text(field.name, words)
            document.add_bytes("blob", content)
            document.add_unsigned("start", start)
            document.add_unsigned("end", end)
            if first:
                document.add_unsigned("first", 1)
                first = False
            self._writer.add_document(document)

    def remove(self, path: str) -> None:
        """Remove every chunk of a path that was added before this call."""
        self._writer.delete_documents_by_term("path", _path_out(path))

    def commit(self) -> None:
        with _explained(self._folder):
            self._writer.commit()

    def counts(self) -> tuple[int, int]:
        """Files and chunks as committed."""
        with _explained(self._folder):
            self._index.reload()
            searcher = self._index.searcher()
            query = tantivy.Query.term_query(self._index.schema, "first", 1)
            files: Any = searcher.search(query, 1, count=True)  # its stubs forget `count`
            return int(files.count), int(searcher.num_docs)

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
        self._schema = self._index.schema

    def search(self, terms: Sequence[str], limit: int) -> list[Found]:
        """The chunks that match any of the words, best first (BM25); equal scores by path and line.

        Of more than 60 words that occur at all, the 60 rarest count.
        """
        with _explained(self._folder):
            searcher = self._searcher
            queries = [
                (tantivy.Occur.Should, self._term_query(name, weight, term))
                for term in _rarest(searcher, terms)
                for name, weight in FIELDS
            ]
            if not queries or limit <= 0:
                return []
            # count=True would turn off the pruning of block-max WAND
            result = searcher.search(tantivy.Query.boolean_query(queries), limit, count=False)
            found = [_found(searcher.doc(address), score) for score, address in result.hits]
        return sorted(found, key=lambda hit: (-hit.score, hit.path, hit.start_line))

    def _term_query(self, field: str, weight: float, term: str) -> Any:
        query = tantivy.Query.term_query(self._schema, field, term, "freq")
        return query if weight == 1.0 else tantivy.Query.boost_query(query, weight)


def _rarest(searcher: Any, terms: Sequence[str]) -> list[str]:
    names = [field.name for field in FIELDS]
    known = [
        (frequency, term)
        for term in terms[:MAX_CONSIDERED]
        if (frequency := max(searcher.doc_freq(name, term) for name in names)) > 0
    ]
    if len(known) > MAX_TERMS:
        known.sort(key=lambda pair: pair[0])  # stable: of equally rare ones the earlier stays
    return [term for _, term in known[:MAX_TERMS]]


def _found(document: Any, score: float) -> Found:
    return Found(
        score=float(score),
        path=_path_in(document.get_first("path")),
        blob=bytes(document.get_first("blob")).hex(),
        start_line=int(document.get_first("start")),
        end_line=int(document.get_first("end")),
    )


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("path", stored=True, tokenizer_name="raw", index_option="basic")
    for field in FIELDS:
        builder.add_text_field(field.name, tokenizer_name="whitespace", index_option="freq")
    builder.add_bytes_field("blob", stored=True)
    builder.add_unsigned_field("start", stored=True)
    builder.add_unsigned_field("end", stored=True)
    builder.add_unsigned_field("first", indexed=True)  # on one chunk of each file: counts files
    return builder.build()


def _path_out(path: str) -> str:
    """A path as Tantivy, which takes no lone surrogates, can hold it: each of its bytes as one character."""
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


def _path_in(name: str) -> str:
    return name.encode("latin-1").decode("utf-8", "surrogateescape")


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
    for sign in ("No space left", "Permission denied", "Read-only file system", "Disk quota", "os error 30"):
        if sign in text:
            return FolderError(f"{folder}: cannot be written: {text}")
    return CorruptError(f"{folder}: damaged: {text}")
