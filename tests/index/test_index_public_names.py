from __future__ import annotations

from pathlib import Path

import pytest

import mccomd_index

PACKAGE = Path(mccomd_index.__file__).parent


def test_every_public_name_is_there_and_every_error_is_ours() -> None:
    assert sorted(mccomd_index.__all__) == sorted(set(mccomd_index.__all__))
    for name in mccomd_index.__all__:
        found = getattr(mccomd_index, name)
        if name.endswith("Error"):
            assert issubclass(found, mccomd_index.IndexingError)


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("pygit2", "git.py"),
        ("tantivy", "store.py"),
        ("psutil", "worker.py"),
        ("tree_sitter", "grammars.py"),
        ("watchdog", "events.py"),
        ("sqlite3", "database.py"),
    ],
)
def test_each_heavy_library_has_one_importer(library: str, only: str) -> None:
    lines = {place.name: place.read_text().splitlines() for place in PACKAGE.glob("*.py")}
    importers = {
        name
        for name, text in lines.items()
        if any(line.strip().startswith((f"import {library}", f"from {library}")) for line in text)
    }
    assert importers == {only}


def test_nothing_of_mccomd_is_imported() -> None:
    for place in PACKAGE.glob("*.py"):
        lines = place.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("import mccomd", "from mccomd"))]
