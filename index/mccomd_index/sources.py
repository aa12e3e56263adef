"""The texts that an index of HEAD takes in, for whoever needs them whole."""

from __future__ import annotations

from collections.abc import Iterator

from .chunk import decode, split_lines
from .filters import Filters, refuse_bytes, refuse_text
from .git import Git
from .types import IndexOptions, Repository


def texts_at_head(repository: Repository, options: IndexOptions) -> Iterator[tuple[str, str]]:
    """(path, text) of every file of HEAD that may enter the index, line ends as \\n."""
    git, rules = Git(repository), Filters(options)
    try:
        for path, blob in git.files(git.head()):
            if rules.refuse_path(path) or rules.refuse_size(git.size(blob) or 0):
                continue
            data = git.read(blob)
            if data is None or refuse_bytes(data):
                continue
            text = decode(data)
            lines = split_lines(text)
            if not refuse_text(text, lines):
                yield path, "\n".join(lines)
    finally:
        git.close()
