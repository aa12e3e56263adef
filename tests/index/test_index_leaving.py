"""What becomes secret or ignored leaves the disk at once, not only the answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from index_repos import Indexed, Repo, Worker

from mccomd_index import IndexOptions
from mccomd_index.fields import WORDS
from mccomd_index.refresh import LEAVING, refresh
from mccomd_index.store import Reader

SECRET = "zebrafinch_token"
TEXT = f"{SECRET} = 1\n"


def on_disk(indexed: Indexed, word: str = SECRET) -> int:
    """How many chunks of any generation have a word, dead or alive."""
    folders = [place for place in indexed.folder.iterdir() if place.is_dir()]
    return sum(Reader(folder).frequency(WORDS, word) for folder in folders)


def renamed(repo: Repo) -> None:
    repo.git("mv", "settings.txt", ".env")
    repo.commit()


def taken_out_of_git(repo: Repo) -> None:
    """What people do who notice that they have committed it."""
    repo.git("rm", "--quiet", "--cached", "settings.txt")
    repo.write(".gitignore", "settings.txt\n")
    repo.commit()


def ignored_before_it_was_committed(repo: Repo) -> None:
    repo.write(".gitignore", "local.py\n")


def renamed_before_it_was_committed(repo: Repo) -> None:
    (repo.path / "local.py").rename(repo.path / ".env")


def named_by_an_ignore_file(repo: Repo) -> None:
    repo.write(".mccomdignore", "settings.txt\nlocal.py\n")


def named_by_an_ignore_file_in_a_larger_commit(repo: Repo) -> None:
    repo.commit({".cursorignore": "settings.txt\n", "more.py": "other = 1\n" * 400})


BECOMES_SO = {
    function.__name__: (function, committed)
    for function, committed in (
        (renamed, True),
        (taken_out_of_git, True),
        (ignored_before_it_was_committed, False),
        (renamed_before_it_was_committed, False),
        (named_by_an_ignore_file, True),
        (named_by_an_ignore_file, False),
        (named_by_an_ignore_file_in_a_larger_commit, True),
    )
}


def begin(repo: Repo, indexed: Indexed, committed: bool) -> None:
    repo.commit({"kept.py": "alpha = 1\n"})
    if committed:
        repo.commit({"settings.txt": TEXT})
    else:
        repo.write("local.py", TEXT)
    indexed.refresh()
    assert indexed.paths(SECRET) == ["settings.txt" if committed else "local.py"]
    assert on_disk(indexed) == 1


@pytest.mark.parametrize("name", BECOMES_SO)
def test_it_leaves_the_disk_with_the_next_refresh(repo: Repo, indexed: Indexed, name: str) -> None:
    change, committed = BECOMES_SO[name]
    begin(repo, indexed, committed)
    change(repo)
    report = indexed.refresh()
    assert (on_disk(indexed), indexed.paths(SECRET), indexed.paths("alpha")) == (0, [], ["kept.py"])
    assert report.rebuilt
    assert indexed.refresh().rebuilt is False


def test_its_names_leave_the_database_too(repo: Repo, indexed: Indexed) -> None:
    begin(repo, indexed, committed=False)
    repo.commit({"seen.py": f"def {SECRET}_reader(): ...\n"})
    indexed.refresh()
    assert holding(indexed) == {"views.db"}
    repo.write(".mccomdignore", "local.py\nseen.py\n")
    indexed.refresh()
    assert holding(indexed) == set()


def holding(indexed: Indexed) -> set[str]:
    """The files beside the generations that hold the secret's bytes."""
    files = [place for place in indexed.folder.iterdir() if place.is_file()]
    return {place.name for place in files if SECRET.encode() in place.read_bytes()}


def test_the_indexer_answers_first_and_clears_away_then(repo: Repo, indexed: Indexed) -> None:
    begin(repo, indexed, committed=True)
    renamed(repo)
    worker = Worker()
    worker.send(op="refresh", repository=str(repo.path), index=str(indexed.folder))
    done = worker.answer()
    assert (done["rebuilt"], done["crowded"]) == (False, LEAVING)
    assert worker.end() == 0
    assert on_disk(indexed) == 0


def test_an_indexer_killed_in_between_has_left_word(repo: Repo, indexed: Indexed) -> None:
    begin(repo, indexed, committed=True)
    renamed(repo)
    refresh(repo.found(), indexed.folder, IndexOptions(), tidy=False)
    assert (on_disk(indexed), indexed.paths(SECRET)) == (1, [])
    report = indexed.refresh()
    assert (report.reason, on_disk(indexed)) == (LEAVING, 0)


@pytest.mark.parametrize("change", ["edit", "delete", "rename", "copy", "branch"])
def test_what_just_changes_costs_no_rebuild(
    repo: Repo, indexed: Indexed, make_repo: Callable[..., Repo], change: str
) -> None:
    """A branch switched back must stay free; and a secret name may hold what another file shows."""
    begin(repo, indexed, committed=True)
    if change == "edit":
        repo.commit({"settings.txt": "other = 1\n"})
    elif change == "delete":
        repo.commit({"settings.txt": None})
    elif change == "rename":
        repo.git("mv", "settings.txt", "options.txt")
        repo.commit()
    elif change == "copy":
        repo.commit({".env": TEXT, "example.txt": TEXT, "settings.txt": None})
    else:
        repo.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    assert indexed.refresh().rebuilt is False
    assert on_disk(indexed) == 1
