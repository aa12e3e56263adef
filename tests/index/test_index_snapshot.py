from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from index_repos import Indexed, Repo

from mccomd_index import CorruptError, Snapshot
from mccomd_index import snapshot as snapshot_module
from mccomd_index.store import Reader


def test_before_the_first_refresh_there_is_none(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    assert Snapshot.open(repo.found(), tmp_path / "index") is None


def test_hits_are_ranked_and_say_where_they_are_from(repo: Repo, indexed: Indexed) -> None:
    head = repo.commit(
        {
            "one.py": "def parse_request(data):\n    return data\n",
            "two.py": "def parse(data):\n    return data\n",
            "three.py": "request = 1\n",
            "four.py": "nothing = 1\n",
        }
    )
    indexed.refresh()
    hits = indexed.snapshot().search("parseRequest parse_request", 10)
    assert [hit.path for hit in hits] == ["one.py", "three.py", "two.py"]
    assert hits[0].commit == head
    assert hits[0].text == "def parse_request(data):\n    return data"
    assert hits[0].score > hits[1].score >= hits[2].score > 0
    assert [hit.path for hit in indexed.snapshot().search("parse_request", 1)] == ["one.py"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \n\t",
        "*** ((( ]]] &&& || ! ~ ^ : \\ / \" '",
        "alpha AND OR NOT +alpha -alpha words:alpha [alpha TO beta] alpha~2 alpha^3 alpha*",
        'words:"alpha" IN [a b c] path:/a.py/',
        "\0\ud800\udfff\ufffe",
        "alpha " * 170_000,
        " ".join(f"word{number}" for number in range(150_000)),
        "x" * 1_000_000,
        "ﷺ" * 1000,
    ],
)
@pytest.mark.parametrize("limit", [-1, 0, 1, 10**12])
def test_odd_queries_are_words_or_nothing(repo: Repo, indexed: Indexed, query: str, limit: int) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    paths = {hit.path for hit in indexed.snapshot().search(query, limit)}
    assert paths == ({"a.py"} if "alpha" in query and limit > 0 else set())


def test_of_many_words_the_rarest_count(repo: Repo, indexed: Indexed) -> None:
    common = " ".join(f"common{number}" for number in range(80))
    repo.commit({**{f"m{number}.py": f"# {common}\n" for number in range(9)}, "rare.py": "unusual = 1\n"})
    indexed.refresh()
    assert indexed.snapshot().search(f"{common} unusual", 1)[0].path == "rare.py"


def test_excluded_places_make_room_for_others(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"m{number:02}.py": f"needle = {number}0000\n" for number in range(60)})
    indexed.refresh()
    asked: list[tuple[str, int, int]] = []

    def exclude(path: str, start: int, end: int) -> bool:
        asked.append((path, start, end))
        return path < "m55.py"

    hits = indexed.snapshot().search("needle", 3, exclude)
    assert [hit.path for hit in hits] == ["m55.py", "m56.py", "m57.py"]
    assert ("m00.py", 1, 1) in asked


def test_copies_of_one_text_are_found_once(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"copy{number}/a.py": "needle = 1\n" for number in range(30)} | {"b.py": "b = needle\n"})
    indexed.refresh()
    hits = indexed.snapshot().search("needle", 5)
    assert sorted(hit.text for hit in hits) == ["b = needle", "needle = 1"]


def test_an_unreadable_blob_is_left_out(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n", "b.py": "needle = 22\n"})
    indexed.refresh()
    repo.object_file(repo.git("rev-parse", "HEAD:a.py")).unlink()
    assert indexed.paths("needle") == ["a.py", "b.py"]  # as long as its file holds the same
    repo.write("a.py", "needle = 2\n")
    assert indexed.paths("needle") == ["b.py"]


def test_a_text_is_of_head_whatever_became_of_its_file(repo: Repo, indexed: Indexed, tmp_path: Path) -> None:
    said = "def needle():\n    return 1\n"
    repo.commit(
        {f"{name}.py": f"{said}# {name}\n" for name in ("changed", "gone", "linked", "same", "folder")}
    )
    indexed.refresh()
    repo.write("changed.py", "secret = 1\n")
    for name in ("gone", "linked", "folder"):
        (repo.path / f"{name}.py").unlink()
    (tmp_path / "outside").write_text("secret = 2\n")
    (repo.path / "linked.py").symlink_to(tmp_path / "outside")
    (repo.path / "folder.py").mkdir()
    hits = indexed.snapshot().search("needle", 9)
    assert {hit.path: hit.text for hit in hits} == {
        f"{name}.py": f"{said}# {name}" for name in ("changed", "gone", "linked", "same", "folder")
    }


def test_git_may_repack_or_vanish_under_a_snapshot(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"{word}.py": f"{word} = 1\n" for word in ("one", "two", "three")})
    indexed.refresh()
    snapshot = indexed.snapshot()
    assert len(snapshot.search("one", 5)) == 1
    repo.git("gc", "--quiet", "--prune=now")
    assert len(snapshot.search("two", 5)) == 1
    shutil.rmtree(repo.path / ".git")
    assert snapshot.search("missing", 5) == []
    assert all(hit.text for hit in snapshot.search("one two three", 5))


def test_a_search_sees_what_was_committed_before_it(repo: Repo, indexed: Indexed) -> None:
    first = repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    second = repo.commit({"a.py": "beta = 1\n"})
    indexed.refresh()
    assert snapshot.stamp.commit == first
    assert [hit.text for hit in snapshot.search("alpha beta", 5)] == ["beta = 1"]
    assert snapshot.stamp.commit == second
    repo.git("reset", "--quiet", "--hard", first)
    indexed.refresh()
    snapshot.reload()
    assert snapshot.stamp.commit == first


def test_a_reader_keeps_answering_while_the_index_is_rebuilt_under_it(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"m{number}.py": f"needle_{number} = 1\n" * 50 for number in range(50)})
    indexed.refresh()
    snapshot = indexed.snapshot()
    old = indexed.generation()
    stop = threading.Event()

    def search_on() -> int:
        count = 0
        while not stop.is_set():
            assert len(snapshot.search("needle", 10)) == 10
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search_on) for _ in range(2)]
        for _ in range(3):
            assert indexed.refresh(rebuild=True).rebuilt
        stop.set()
        assert all(future.result() > 0 for future in searching)
    assert not old.exists()
    snapshot.reload()
    assert snapshot.stamp.generation == "gen-0004"
    assert len(snapshot.search("needle", 10)) == 10


def test_threads_share_a_snapshot_that_is_reloaded(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"m{number}.py": f"needle = {number}000\n" for number in range(20)})
    indexed.refresh()
    snapshot = indexed.snapshot()
    with ThreadPoolExecutor(4) as pool:
        searching = [pool.submit(snapshot.search, f"needle {number}000", 5) for number in range(200)]
        for number in range(5):
            repo.commit({f"new{number}.py": f"needle = {number}111\n"})
            indexed.refresh()
            snapshot.reload()
        assert all(len(future.result()) == 5 for future in searching)
    assert snapshot.search("4111", 1)[0].path == "new4.py"


@pytest.mark.parametrize("moment", ["open", "reload"])
def test_a_generation_that_goes_while_it_is_opened_is_no_damage(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The indexer builds the store anew between our look at the rows and at the files they name."""
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    rebuilt = []

    def outrun() -> None:
        if not rebuilt:
            rebuilt.append(indexed.refresh(rebuild=True))

    class Late(Reader):
        def __init__(self, folder: Path) -> None:
            if moment == "open":
                outrun()
            super().__init__(folder)

        def reload(self) -> None:
            outrun()
            super().reload()

    monkeypatch.setattr(snapshot_module, "Reader", Late)
    snapshot = indexed.snapshot()
    repo.commit({"b.py": "needle = 2\n"})
    indexed.refresh()
    assert len(snapshot.search("needle", 10)) == 2
    assert len(rebuilt) == 1
    snapshot.close()


def test_damage_found_while_searching_is_named(repo: Repo, indexed: Indexed) -> None:
    """Zeros in the middle of a file pass Tantivy's checks on opening."""
    repo.commit({f"m{number}.py": f"n{number * 'z'}eedle = 1\n" * 40 for number in range(55)})
    indexed.refresh()
    for file in indexed.generation().iterdir():
        if file.suffix in (".idx", ".term", ".store"):
            data = bytearray(file.read_bytes())
            middle = len(data) // 2
            data[middle // 2 : middle] = bytes(len(data[middle // 2 : middle]))
            damaged = file.with_suffix(".damaged")
            damaged.write_bytes(data)
            damaged.replace(file)  # written in place, it was short for a moment: SIGBUS to who has it mapped
    try:
        snapshot = Snapshot.open(repo.found(), indexed.folder)
        found = None if snapshot is None else snapshot.search(f"n{7 * 'z'}eedle n{50 * 'z'}eedle", 50)
    except CorruptError:
        found = None
    assert found is None or isinstance(found, list)
    assert indexed.refresh(rebuild=True).rebuilt
    assert indexed.paths(f"n{50 * 'z'}eedle") == ["m50.py"]


def test_a_snapshot_survives_an_index_that_vanished_and_sees_the_next(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    shutil.rmtree(indexed.folder)
    snapshot.reload()
    assert len(snapshot.search("alpha", 5)) == 1
    repo.commit({"b.py": "alpha = 22\n"})
    indexed.refresh()
    assert len(snapshot.search("alpha", 5)) == 2
    snapshot.close()


def test_words_count_as_much_as_their_texts_weigh(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "apple = 1\n", "b.py": "banana = 1\n", "c.py": "cherry = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    for heavy, light in (("apple", "banana"), ("banana", "apple")):
        hits = snapshot.search([(heavy, 1.0), (light, 0.5), ("cherry", 0.0)], 5)
        assert [hit.path for hit in hits] == [f"{heavy[0]}.py", f"{light[0]}.py"]
        assert hits[0].score > hits[1].score


def test_of_many_words_those_that_tell_most_are_looked_for(repo: Repo, indexed: Indexed) -> None:
    names = [3 * (chr(97 + number // 26) + chr(97 + number % 26)) for number in range(200)]
    repo.commit({f"f{number}.py": f"{name} = 1\n" for number, name in enumerate(names)})
    indexed.refresh()
    light = [(name, 0.1) for name in names[:150]]
    hits = indexed.snapshot().search([*light, (names[170], 1.0)], 500)
    assert hits[0].path == "f170.py"
    assert len(hits) < 60
