"""What there is to learn from: the lists of repositories, and the Python files of one.

corpus.toml names repositories with commit and licence; their content is read from bare or ordinary clones in
a folder that the user gives, named owner+name (with the repository itself in `repo` below it) or owner/name.
excluded.txt names repositories that evaluation takes its cases from: none of them may be in the corpus.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mccomd_index.chunk import decode
from mccomd_index.git import Git, find_repository

__all__ = ["Entry", "Source", "corpus", "excluded", "find_clone", "fingerprint", "read_sources"]

PERMISSIVE = frozenset(
    ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Apache-2.0 OR MIT",
     "Apache-2.0 OR BSD-3-Clause")
)  # fmt: skip
MAX_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A repository of the corpus."""

    name: str  # owner/name
    commit: str  # 40 hex digits
    licence: str  # SPDX
    held_out: bool = False  # for the loss on repositories that training never sees


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file."""

    repository: str
    path: str
    text: str


def corpus(path: Path | None = None) -> list[Entry]:
    """The repositories of a list, by default the project's own.

    ValueError for an entry that is excluded, not permissively licensed, listed twice, or without a commit.
    """
    text = path.read_text() if path else (files(__package__) / "corpus.toml").read_text()
    found = [Entry(**entry) for entry in tomllib.loads(text)["repository"]]
    barred, seen = {name.lower() for name in excluded()}, set[str]()
    for entry in found:
        if entry.name.lower() in barred:
            raise ValueError(f"{entry.name} is in excluded.txt: evaluation takes its cases from it")
        if entry.name.lower() in seen:
            raise ValueError(f"{entry.name} stands in the list twice")
        if entry.licence not in PERMISSIVE:
            raise ValueError(f"{entry.name}: {entry.licence!r} is none of {', '.join(sorted(PERMISSIVE))}")
        if not re.fullmatch("[0-9a-f]{40}", entry.commit):
            raise ValueError(f"{entry.name}: {entry.commit!r} is no commit id")
        seen.add(entry.name.lower())
    return found


def excluded() -> list[str]:
    """owner/name of every repository that evaluation takes its cases from."""
    lines = (files(__package__) / "excluded.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def find_clone(folder: Path, name: str) -> Path | None:
    """Where a repository's clone is below `folder`; None: it is not at hand."""
    joined = name.replace("/", "+")
    places = (folder / joined / "repo", folder / joined, folder / f"{joined}.git", folder / name)
    return next((place for place in places if place.is_dir()), None)


def read_sources(clone: Path, name: str, commit: str | None = None) -> Iterator[Source]:
    """The Python files of a commit, by default HEAD's, in the order of the tree.

    Files over 200 kB and those that are no UTF-8 are left out. Raises RepositoryError.
    """
    repository = find_repository(clone)
    if repository is None:
        raise ValueError(f"{clone}: no git repository")
    git = Git(repository)
    try:
        for file in git.files(commit or git.head()):
            if file.path.endswith(".py") and 0 < (git.size(file.blob) or 0) <= MAX_BYTES:
                data = git.read(file.blob)
                if data is not None and b"\0" not in data:
                    yield Source(name, file.path, decode(data).replace("\r\n", "\n"))
    finally:
        git.close()


def fingerprint(text: str) -> bytes:
    """Equal for texts that differ in white space alone."""
    return hashlib.sha256("".join(text.split()).encode("utf-8", "replace")).digest()[:16]


def barred_fingerprints(folder: Path, names: Sequence[str]) -> tuple[set[bytes], list[str]]:
    """The fingerprints of all files of those repositories that are at hand, and the names of these."""
    found, at_hand = set[bytes](), []
    for name in names:
        if (clone := find_clone(folder, name)) is not None:
            at_hand.append(name)
            found.update(fingerprint(source.text) for source in read_sources(clone, name))
    return found, at_hand
