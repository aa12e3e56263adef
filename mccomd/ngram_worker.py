"""A repository's files as a table of n-grams, made in a process of its own at the lowest priority.

    python -m mccomd.ngram_worker PARENT       PARENT, a process id: it ends with that one

One `Job` as a line of JSON on standard input. The answer is a line of JSON, {"tokens": n, "places": m,
"keyed": k, "files": [[path, first, end], ...], "left_out": files, "cpu_s": s}, then the table's n ids and its
m places in order, int32 as this machine has them; or {"error": TEXT} alone. It has what the index has.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from mccomd.engine import LONGEST, Ids, LineEncoder, Table, Tokenizer, joined, keyed, load_manifest, ordered
from mccomd.errors import MccomdError
from mccomd.prompt import clean_text
from mccomd_index import (
    Filters,
    IndexingError,
    IndexOptions,
    Snapshot,
    find_repository,
    language_of,
    live_ignore_files,
)
from mccomd_index.parent import end_with
from mccomd_index.worker import lower_priority

__all__ = ["Built", "Job", "build", "from_answer", "main", "read_head"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a table is made of."""

    repository: str  # a path in it
    index: str  # its index's folder
    options: IndexOptions  # of that index
    language: str
    near: str  # the path in the repository whose neighbours come first
    model: str  # the folder of the model whose tokens these are
    most: int  # tokens

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Job:
        raw = json.loads(line)
        return cls(**{**raw, "options": msgspec.convert(raw["options"], IndexOptions)})


@dataclass(frozen=True, slots=True)
class Built:
    """A table, and where in it each file stands."""

    table: Table
    files: Mapping[str, tuple[int, int]]  # path -> places from, to
    left_out: int = 0  # files that found no room
    cpu_s: float = 0.0

    def without(self, path: str) -> Table:
        """The table as if it did not have this file."""
        return self.table.without(*self.files.get(path, (0, 0)))

    def write(self, output: BinaryIO) -> None:
        table = self.table
        head = {
            "tokens": len(table.ids),
            "places": len(table.order),
            "keyed": table.keyed,
            "files": [[path, *span] for path, span in self.files.items()],
            "left_out": self.left_out,
            "cpu_s": self.cpu_s,
        }
        output.write(json.dumps(head).encode() + b"\n")
        output.write(table.ids.tobytes())
        output.write(table.order.tobytes())


def read_head(line: bytes) -> tuple[dict[str, Any], int]:
    """The first line of an answer, and how many bytes follow it. Raises MccomdError for an error in it."""
    head = json.loads(line)
    if "error" in head:
        raise MccomdError(head["error"])
    return head, 4 * (head["tokens"] + head["places"])


def from_answer(head: Mapping[str, Any], content: bytes) -> Built:
    """What `write` wrote."""
    both = np.frombuffer(content, np.int32)
    table = Table(both[: head["tokens"]], both[head["tokens"] :], head["keyed"])
    files = {path: (first, end) for path, first, end in head["files"]}
    return Built(table, files, head["left_out"], head["cpu_s"])


def build(job: Job) -> Built:
    """The files of one language, the nearest first, as many as find room.

    Raises MccomdError and IndexingError.
    """
    started = time.process_time()
    manifest = load_manifest(Path(job.model))
    encode = _encoder(Tokenizer(Path(job.model), manifest.prompt.token_names(), manifest.vocab))
    texts: list[Ids] = []
    files: dict[str, tuple[int, int]] = {}
    at, left_out = LONGEST, 0
    for path, text in _texts(job):
        ids = encode(text) if at - LONGEST < job.most else []
        if at - LONGEST + len(ids) >= job.most:
            left_out += 1
            continue
        texts.append(np.array(ids, np.int32))
        files[path] = (at, at + len(ids))
        at += len(ids) + 1  # and a break
    together = joined(texts)
    table = Table(together, ordered(together, manifest.vocab), keyed(manifest.vocab))
    return Built(table, files, left_out, time.process_time() - started)


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    """(path, text) of the files that the index has, the nearest first."""
    repository = find_repository(job.repository)
    snapshot = None if repository is None else Snapshot.open(repository, Path(job.index))
    if repository is None or snapshot is None:
        raise MccomdError(f"{job.repository}: there is no index yet")
    filters = Filters(job.options, live_ignore_files(repository))
    try:
        with snapshot.looking() as look:
            paths = [] if look is None else look.paths()
            wanted = [path for path in paths if language_of(path) == job.language]
            for path in sorted(wanted, key=lambda path: _distance(path, job.near)):
                if look is None or filters.refuse_path(path) is not None:
                    continue
                text = look.read(path)
                if text:
                    yield path, text
    finally:
        snapshot.close()


def _distance(path: str, near: str) -> int:
    """How many folders up and down from one file to the other."""
    here, there = path.split("/")[:-1], near.split("/")[:-1]
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
    return len(here) + len(there) - 2 * shared


def _encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """The tokenizer for texts of which many lines are the same; their ids are those of prompts."""
    lines, known = LineEncoder(tokenizer), dict[str, list[int]]()

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for piece in lines.pieces_of(clean_text(text)):
            found = known.get(piece)
            if found is None:
                found = known[piece] = tokenizer.encode(piece)
            ids += found
        return ids

    return encode


def main() -> None:
    """Do one job."""
    output, sys.stdout = sys.stdout.buffer, sys.stderr  # a stray print must not tear the answer
    if sys.argv[1:]:
        end_with(int(sys.argv[1]))
    lower_priority()
    gc.disable()  # no cycles are made: it would look at a million integers
    try:
        line = sys.stdin.buffer.readline()
        if line:
            build(Job.from_json(line)).write(output)
    except BrokenPipeError:
        return
    except (MccomdError, IndexingError) as error:
        output.write(json.dumps({"error": str(error)}).encode() + b"\n")
    except Exception as error:  # noqa: BLE001  the daemon tells it
        output.write(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    output.flush()


if __name__ == "__main__":
    main()
