"""Which way of introducing repository context a model continues best.

    python -m mccomd_models.context_trial --model models/mccomd-135m --repository PATH --cases 80

PATH is a Git repository, bare or not; the Python files of its HEAD are the material. A case is the rest of
a random code line, given the text before it and the two most similar chunks of other files. Exact match
is read from one pass over prompt and truth: greedy decoding gives the truth if and only if each of
its tokens is the most probable one and a line break follows.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mccomd.engine.artifact import load_manifest
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.tokenizer import Tokenizer

__all__ = ["Case", "cases", "main"]

CHUNK_LINES = 15
CHUNKS = 2
CHUNK_CHARACTERS = 700
PREFIX_CHARACTERS = 900
SEPARATOR = "<file_sep>"
END = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class Chunk:
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    path: str
    prefix: str
    truth: str  # the rest of the line, without its line break
    context: tuple[Chunk, ...]  # most similar last


Piece = tuple[str, bool]  # text, whether it is the name of a special token
Convention = Callable[[Case], list[Piece]]


def plain(case: Case) -> list[Piece]:
    return [(case.prefix, False)]


def comments(case: Case) -> list[Piece]:
    """`# path` above each chunk, and above the file itself."""
    chunks = (f"# {chunk.path}\n{chunk.text}\n\n" for chunk in case.context)
    return [("".join(chunks) + f"# {case.path}\n{case.prefix}", False)]


def commented_out(case: Case) -> list[Piece]:
    """Chunks as comments, line by line."""
    chunks = (f"# {chunk.path}\n" + re.sub("^", "# ", chunk.text, flags=re.M) for chunk in case.context)
    return [("\n\n".join(chunks) + f"\n\n# {case.path}\n{case.prefix}", False)]


def separators(case: Case) -> list[Piece]:
    """The separator token, the path, a line break, the text."""
    pieces: list[Piece] = []
    for path, text in [*((c.path, c.text + "\n") for c in case.context), (case.path, case.prefix)]:
        pieces += [(SEPARATOR, True), (f"{path}\n{text}", False)]
    return pieces


def after_end(convention: Convention) -> Convention:
    """The convention, opened by the end-of-text token."""
    return lambda case: [(END, True), *convention(case)]


CONVENTIONS: dict[str, Convention] = {
    "plain": plain,
    "comments": comments,
    "comments, bos": after_end(comments),
    "commented out": commented_out,
    "file_sep": separators,
    "file_sep, bos": after_end(separators),
}


def cases(repository: Path, count: int, seed: int) -> Iterator[Case]:
    """Random lines of the repository's Python files; the same seed gives the same cases."""
    files = dict(_python_files(repository))
    chunks = [chunk for path, text in files.items() for chunk in _chunks(path, text)]
    rng, found = random.Random(seed), 0
    while found < count:
        path = rng.choice(list(files))
        lines = files[path].split("\n")
        at = rng.randrange(len(lines))
        if at > 5 and _is_code(lines[at]):
            found += 1
            yield _case(rng, path, lines, at, chunks)


def _case(rng: random.Random, path: str, lines: list[str], at: int, chunks: Sequence[Chunk]) -> Case:
    line = lines[at]
    column = _cursor(rng, line)
    prefix = ("\n".join(lines[:at]) + "\n" + line[:column])[-PREFIX_CHARACTERS:]
    words = set(re.findall(r"\w{3,}", prefix[-400:]))
    others = [chunk for chunk in chunks if chunk.path != path]
    ranked = sorted(others, key=lambda chunk: _similarity(words, chunk.text))
    return Case(path, prefix.partition("\n")[2], line[column:], tuple(ranked[-CHUNKS:]))


def _cursor(rng: random.Random, line: str) -> int:
    """The start of a word, most often the first; a space before it belongs to the truth, as to its token."""
    starts = [match.start() for match in re.finditer(r"\b\w", line)]
    column = starts[0] if rng.random() < 0.4 else rng.choice(starts)
    return column - 1 if line[:column].endswith(" ") else column


def _similarity(words: set[str], text: str) -> float:
    others = set(re.findall(r"\w{3,}", text))
    return len(words & others) / (len(words | others) or 1)


def _is_code(line: str) -> bool:
    text = line.strip()
    return len(text) >= 8 and text[0].isalpha() and not text.startswith(("import ", "from "))


def _chunks(path: str, text: str) -> Iterator[Chunk]:
    lines = text.split("\n")
    for start in range(0, len(lines), CHUNK_LINES):
        yield Chunk(path, "\n".join(lines[start : start + CHUNK_LINES])[:CHUNK_CHARACTERS])


def _python_files(repository: Path) -> Iterator[tuple[str, str]]:
    git = ["git", "-C", str(repository)]
    names = subprocess.run([*git, "ls-tree", "-r", "--name-only", "HEAD"], check=True, capture_output=True)
    for name in names.stdout.decode().splitlines():
        if name.endswith(".py"):
            blob = subprocess.run([*git, "show", f"HEAD:{name}"], check=True, capture_output=True)
            yield name, blob.stdout.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Score:
    exact: bool
    nll: float  # of the truth, nats per token
    tokens: int  # of the prompt


def score(session: Session, tokenizer: Tokenizer, pieces: Sequence[Piece], truth: str) -> Score:
    prompt: list[int] = []
    for text, special in pieces:
        prompt += [tokenizer.token_id(text)] if special else tokenizer.encode(text)
    wanted = tokenizer.encode(truth)
    session.rewind(0)
    logits = session.forward(prompt + wanted, len(wanted) + 1).astype(np.float64)
    best = logits.argmax(axis=1)
    ends = tokenizer.token_bytes(int(best[-1])).startswith((b"\n", b"\r\n"))
    rows = np.arange(len(wanted))
    nll = np.log(np.exp(logits[:-1]).sum(axis=1)) - logits[rows, wanted]
    return Score(bool((best[:-1] == wanted).all()) and ends, float(nll.mean()), len(prompt))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.context_trial")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    manifest = load_manifest(options.model)
    tokenizer = Tokenizer(options.model, manifest.prompt.token_names(), manifest.vocab)
    session = Session(options.model, manifest, EngineOptions(context_tokens=4096, prefill_chunk=512))
    material = list(cases(options.repository, options.cases, options.seed))
    for name, convention in CONVENTIONS.items():
        scores = [score(session, tokenizer, convention(case), case.truth) for case in material]
        exact, nll = sum(s.exact for s in scores), float(np.mean([s.nll for s in scores]))
        tokens = np.mean([s.tokens for s in scores])
        print(f"{name:14} exact {exact}/{len(scores)}  nll {nll:.3f}  prompt {tokens:.0f} tokens", flush=True)


if __name__ == "__main__":
    main()
