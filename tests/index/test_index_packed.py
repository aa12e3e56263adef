from __future__ import annotations

import sqlite3

import pytest
from index_repos import Indexed, Repo

from mccomd_index import CorruptError, Definition, Snapshot, definitions
from mccomd_index.packed import Outline, packed, unpacked
from mccomd_index.parts import apart

TEXTS = {
    "python": "import a\n\n\n@cached\nclass Cache(Base):\n    size = 3\n\n    def __init__(self):\n"
    "        self.kept = {}\n\n    @property\n    async def get(\n        self, key\n    ): ...\n\n\n"
    "LIMIT = 4\n",
    "go": "package a\n\ntype Cache struct {\n\tsize int\n}\n\nfunc (c *Cache) Get(key string) {\n}\n",
    "cpp": "namespace a {\nclass Cache {\n  Cache &operator=(const Cache &);\n  int operator()();\n};\n}\n",
    "text": "no definitions\n",
}


@pytest.mark.parametrize("language", TEXTS)
def test_what_was_packed_comes_out(language: str) -> None:
    found = definitions(TEXTS[language], language)
    assert list(unpacked(packed(found))) == found
    assert bool(found) == (language != "text")


def test_names_that_no_language_has_do_not_break_the_columns() -> None:
    odd = [Definition(name, "value", "a b", 1, 1, 1) for name in ("", "operator bool", "naïve", '"')]
    assert [one.name for one in unpacked(packed(odd))] == ["", "operator_bool", "naïve", '"']


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        '["a","f",[""],[0],[1],[0]]',
        '["a b","f",[""],[0],[1],[0],[0]]',
        '["a","x",[""],[0],[1],[0],[0]]',
    ],
)
def test_anything_else_is_damage(text: str) -> None:
    with pytest.raises(CorruptError, match="outline"):
        unpacked(text)


def outline_of(indexed: Indexed, path: str) -> list[str]:
    snapshot = Snapshot.open(indexed.repo.found(), indexed.folder)
    assert snapshot is not None
    with snapshot.looking() as look:
        assert look is not None
        names = [one.name for one in look.outline(path)]
    snapshot.close()
    return names


def test_outlines_follow_commits_the_disk_and_switches_back(repo: Repo, indexed: Indexed) -> None:
    first = repo.commit({"a.py": "def alpha(): ...\n", "b.md": "Nothing.\n"})
    indexed.refresh()
    assert (outline_of(indexed, "a.py"), outline_of(indexed, "b.md")) == (["alpha"], [])
    repo.commit({"a.py": "def beta(): ...\n"})
    indexed.refresh()
    assert outline_of(indexed, "a.py") == ["beta"]
    (repo.path / "a.py").write_text("def gamma(): ...\n")
    indexed.refresh()
    assert outline_of(indexed, "a.py") == ["gamma"]
    repo.git("reset", "-q", "--hard", first)
    indexed.refresh()
    assert (outline_of(indexed, "a.py"), outline_of(indexed, "gone.py")) == (["alpha"], [])


def test_contents_that_a_crash_left_in_the_store_get_their_outlines(repo: Repo, indexed: Indexed) -> None:
    """A crash between the two commits leaves chunks in Tantivy that SQLite knows nothing of."""
    repo.commit({"a.py": "def alpha(): ...\n"})
    before = indexed.refresh()
    with sqlite3.connect(indexed.folder / "views.db") as db:
        for table in ("places", "views", "outlines", "definitions"):
            db.execute(f"DELETE FROM {table}")
    db.close()
    after = indexed.refresh()
    assert (after.files, after.chunks, after.bytes) == (before.files, before.chunks, 0)
    assert outline_of(indexed, "a.py") == ["alpha"]
    assert lines_of(indexed, "alpha") == [("a.py", 1, "function")]
    assert len(indexed.search("alpha")) == 1


def lines_of(indexed: Indexed, name: str, most: int = 24) -> list[tuple[str, int, str]]:
    snapshot = Snapshot.open(indexed.repo.found(), indexed.folder)
    assert snapshot is not None
    with snapshot.looking() as look:
        assert look is not None
        places = look.defined([name], most).get(name, [])
    snapshot.close()
    return [(one.path, one.line, one.kind) for one in places]


def test_names_are_found_where_they_are_defined_and_forgotten_with_their_file(
    repo: Repo, indexed: Indexed
) -> None:
    repo.commit({"a.py": "class Box:\n    Box = 1\n", "b.py": "\n\nbox = Box()\n", "c.py": "Box = 2\n"})
    indexed.refresh()
    assert lines_of(indexed, "Box") == [("a.py", 1, "class"), ("a.py", 2, "value"), ("c.py", 1, "value")]
    assert (lines_of(indexed, "box"), lines_of(indexed, "BOX")) == ([("b.py", 3, "value")], [])
    assert lines_of(indexed, "Box", most=2) == []
    repo.commit({"a.py": "class Crate: ...\n", "c.py": None})
    indexed.refresh()
    assert (lines_of(indexed, "Box"), lines_of(indexed, "Crate")) == ([], [("a.py", 1, "class")])


def test_one_snapshot_sees_each_change_though_it_keeps_what_it_looked_up(
    repo: Repo, indexed: Indexed
) -> None:
    """A switch back adds no content to the store: only the rows change."""
    first = repo.commit({"a.py": "def alpha(): ...\n"})
    indexed.refresh()
    snapshot = Snapshot.open(indexed.repo.found(), indexed.folder)
    assert snapshot is not None

    def seen() -> tuple[list[str], list[str], list[str]]:
        with snapshot.looking() as look:
            assert look is not None
            names = sorted(look.defined(["alpha", "beta"]))
            return (
                names,
                [one.name for one in look.outline("a.py")],
                [h.path for h in snapshot.search("def", 9)],
            )

    assert seen() == (["alpha"], ["alpha"], ["a.py"])
    second = repo.commit({"a.py": "def beta(): ...\n", "b.py": "def gamma(): ...\n"})
    indexed.refresh()
    assert seen() == (["beta"], ["beta"], ["a.py", "b.py"])
    for commit, expected in ((first, "alpha"), (second, "beta"), (first, "alpha")):
        repo.git("reset", "-q", "--hard", commit)
        indexed.refresh()
        assert seen()[:2] == ([expected], [expected])
    (repo.path / "a.py").write_text("def beta(): ...\n")
    indexed.refresh()
    assert seen()[:2] == (["beta"], ["beta"])
    snapshot.close()


def test_what_goes_on_with_a_definition_is_not_another_one() -> None:
    text = "@overload\ndef a(x): ...\n@overload\ndef a(y): ...\ndef b(): ...\ndef a(z): ...\n"
    assert [one.line for one in apart(definitions(text, "python")) if one.name == "a"] == [2, 6]


def test_members_and_what_stands_between_lines() -> None:
    found = Outline.of(definitions(TEXTS["python"], "python"))
    assert list(found) == definitions(TEXTS["python"], "python") == [*found[:2], *found[2:]]
    assert [one.name for one in found.members(5)] == ["size", "__init__", "kept", "get"]
    assert (found.members(4), found.members(17)) == ([], [])
    assert [one.name for one in found.within(6, 8)] == ["size", "__init__"]
