"""Ignore files: the rules are git's, whatever a repository holds; ours and other tools' names count."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from index_repos import Indexed, Repo

from mccomd_index import Filters, IndexOptions
from mccomd_index.globs import RuleSet, read_rules
from mccomd_index.ignore import IGNORE_NAMES, IgnoreFiles, LiveIgnoreFiles, is_ignore_file

CASES = int(os.environ.get("MCCOMD_IGNORE_CASES", "150"))

# ASCII: in `?` and [...] git counts bytes, we count characters.
NAMES = ["a", "b", "ab", "a.py", "b.py", "c", "a b", "]", "-", "c*", "a\\"]
SEGMENTS = [
    *("a", "b", "ab", "a.py", "a b", "*", "a*", "*b", "?", "*.py", "**", "***", "a**b", "**a"),
    *(
        "[ab]",
        "[!a]",
        "[^b]*",
        "[a-b]",
        "[z-a]",
        "[]a]",
        "[\\]a]",
        "[a-]",
        "[[:alpha:]]",
        "\\a",
        "a\\",
        "c\\*",
    ),
]


def line_of(dice: random.Random) -> str:
    line = "/".join(dice.choice(SEGMENTS) for _ in range(dice.choice([1, 1, 1, 2, 2, 3])))
    line = f"/{line}" if dice.random() < 0.3 else line
    line = f"{line}/" if dice.random() < 0.35 else line
    line = f"!{line}" if dice.random() < 0.35 else line
    return f"{line}  " if dice.random() < 0.1 else line


def files_of(dice: random.Random) -> list[str]:
    paths = {"/".join(dice.choice(NAMES) for _ in range(dice.choice([1, 2, 3, 4]))) for _ in range(150)}
    return sorted(path for path in paths if not any(other.startswith(f"{path}/") for other in paths))


def test_the_rules_are_gits(repo: Repo) -> None:
    """Random lines about random paths, in the root and one folder down, compared with `git check-ignore`."""
    dice = random.Random(os.environ.get("MCCOMD_SEED", "7"))
    paths = files_of(dice)
    for path in paths:
        repo.write(path, "")
    for _ in range(CASES):
        texts = {"": "\n".join(line_of(dice) for _ in range(dice.randint(1, 4)))}
        texts["a"] = "\n".join(line_of(dice) for _ in range(dice.randint(0, 2)))
        for folder, text in texts.items():
            repo.write(os.path.join(folder, ".gitignore"), text)
        ours = IgnoreFiles(lambda folder, texts=texts: {".mccomdignore": texts.get(folder, "")})  # type: ignore[misc]
        refused = {path for path in paths if ours.refuse(path)}
        assert refused == git_says(repo, paths), texts
        if not texts["a"]:
            rules = RuleSet(read_rules(texts[""]))
            assert {path for path in paths if rules.leaves_out(path)} == refused


def git_says(repo: Repo, paths: list[str]) -> set[str]:
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin", "-z"],
        cwd=repo.path,
        input="\0".join(paths).encode(),
        capture_output=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(filter(None, done.stdout.decode().split("\0")))


def check(root: Path, path: str, expected: str | None) -> None:
    assert IgnoreFiles.of_folder(root).refuse(path) == expected
    assert LiveIgnoreFiles(root).refuse(path) == expected
    assert Filters(IndexOptions(), IgnoreFiles.of_folder(root)).refuse(path, 10) == expected


@pytest.mark.parametrize("name", IGNORE_NAMES)
def test_every_tools_file_counts_in_any_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_text("private/\n# comment\n\n*.draft.py\r\n")
    check(tmp_path, "sub/private/a.py", f"ignored by sub/{name}")
    check(tmp_path, "sub/deep/x.draft.py", f"ignored by sub/{name}")
    check(tmp_path, "private/a.py", None)
    check(tmp_path, "sub/a.py", None)
    assert is_ignore_file(f"x/{name}")


def test_our_negation_overrides_other_tools_but_lets_no_secret_in(tmp_path: Path) -> None:
    (tmp_path / ".cursorignore").write_text("gen/\n*.env\n")
    (tmp_path / ".mccomdignore").write_text("!gen/\n!*.env\n!.env\n")
    check(tmp_path, "gen/a.py", None)
    check(tmp_path, "prod.env.py", None)
    filters = Filters(IndexOptions(), IgnoreFiles.of_folder(tmp_path))
    assert filters.refuse_path(".env") == "secret"
    assert filters.refuse_path("prod.env") == "secret"


def test_the_nearest_file_of_a_tool_decides(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".cursorignore").write_text("*.py\n")
    (tmp_path / "a" / ".cursorignore").write_text("!keep.py\n")
    check(tmp_path, "a/keep.py", None)
    check(tmp_path, "a/other.py", "ignored by .cursorignore")


def test_aiexclude_knows_no_negation_and_an_empty_one_leaves_out_its_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / ".aiexclude").write_text("\n")
    (tmp_path / "b" / ".aiexclude").write_text("*.py\n!keep.py\n")
    check(tmp_path, "a/x/y.py", "ignored by a/.aiexclude")
    check(tmp_path, "b/keep.py", "ignored by b/.aiexclude")
    check(tmp_path, "c.py", None)


@pytest.mark.parametrize("data", [b"\xff\xfe*\n", b"\0\n", b"[\n*\\\n", b"x" * 1_000_000, b"!" * 100])
def test_odd_ignore_files_are_no_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / ".mccomdignore").write_bytes(data)
    check(tmp_path, "a/b.py", None)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "all").write_text("*\n")
    (tmp_path / ".mccomdignore").symlink_to("all")
    (tmp_path / ".aiignore").mkdir()
    os.mkfifo(tmp_path / ".llmignore")
    check(tmp_path, "a.py", None)


def test_a_bom_and_dos_line_ends(tmp_path: Path) -> None:
    (tmp_path / ".mccomdignore").write_bytes("\ufeffa.py\r\nb.py\r\n".encode())
    check(tmp_path, "a.py", "ignored by .mccomdignore")
    check(tmp_path, "b.py", "ignored by .mccomdignore")


def test_a_change_is_seen_by_those_who_go_on_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mccomd_index.ignore.FRESH_S", 0.0)
    (tmp_path / "a").mkdir()
    live = LiveIgnoreFiles(tmp_path)
    assert live.refuse("a/b.py") is None
    (tmp_path / "a" / ".mccomdignore").write_text("b.py\n")
    assert live.refuse("a/b.py") == "ignored by a/.mccomdignore"
    (tmp_path / "a" / ".mccomdignore").write_text("c.py\n")
    assert live.refuse("a/b.py") is None
    (tmp_path / "a" / ".mccomdignore").unlink()
    (tmp_path / ".aiignore").write_text("a/\n")
    assert live.refuse("a/b.py") == "ignored by .aiignore"


# --- in the index -------------------------------------------------------------------------------------

WORDS = {"a.py": "alpha = 1\n", "sub/b.py": "alpha = 2\n", "sub/deep/c.py": "alpha = 3\n"}
ALL = sorted(WORDS)


def check_index(indexed: Indexed, expected: list[str], tmp_path: Path) -> None:
    """After one refresh; and an index from scratch says the same."""
    indexed.refresh()
    assert indexed.paths("alpha") == expected
    assert indexed.status().state == "current"
    scratch = Indexed(indexed.repo, tmp_path / f"scratch{indexed.repo.ticks}")
    scratch.refresh()
    assert scratch.paths("alpha") == expected


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("place", [".cursorignore", "sub/.mccomdignore"])
def test_a_file_leaves_when_it_becomes_ignored_and_comes_back(
    repo: Repo, indexed: Indexed, tmp_path: Path, place: str, committed: bool
) -> None:
    def settle() -> None:
        if committed:
            repo.commit()

    repo.commit(dict(WORDS))
    check_index(indexed, ALL, tmp_path)
    repo.write(place, "b.py\n")
    settle()
    check_index(indexed, ["a.py", "sub/deep/c.py"], tmp_path)
    repo.write(place, "*\n")  # itself, too
    settle()
    check_index(indexed, [] if place == ".cursorignore" else ["a.py"], tmp_path)
    check_index(indexed, [] if place == ".cursorignore" else ["a.py"], tmp_path)
    repo.write(place, "nothing\n")
    settle()
    check_index(indexed, ALL, tmp_path)
    repo.write(place, "deep/\n")
    settle()
    check_index(indexed, ["a.py", "sub/b.py"], tmp_path)
    (repo.path / place).unlink()
    settle()
    check_index(indexed, ALL, tmp_path)


def test_untracked_files_are_ignored_alike(repo: Repo, indexed: Indexed, tmp_path: Path) -> None:
    repo.commit({".mccomdignore": "secret_*\n", "a.py": "alpha = 1\n"})
    repo.write("secret_b.py", "alpha = 2\n")
    repo.write("new/c.py", "alpha = 3\n")
    check_index(indexed, ["a.py", "new/c.py"], tmp_path)


def test_a_bare_repository_has_its_heads_ignore_files(repo: Repo, tmp_path: Path) -> None:
    repo.commit({**WORDS, "sub/.cursorignore": "deep/\n"})
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(tmp_path / "bare.git"))
    bare = Repo.__new__(Repo)
    bare.path, bare.ticks = tmp_path / "bare.git", 0
    check_index(Indexed(bare, tmp_path / "bare-index"), ["a.py", "sub/b.py"], tmp_path)


def test_a_branch_with_an_ignore_file(repo: Repo, indexed: Indexed, tmp_path: Path) -> None:
    repo.commit(dict(WORDS))
    check_index(indexed, ALL, tmp_path)
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit({"sub/deep/.llmignore": "*.py\n"})
    check_index(indexed, ["a.py", "sub/b.py"], tmp_path)
    repo.git("checkout", "--quiet", "main")
    check_index(indexed, ALL, tmp_path)
    repo.git("checkout", "--quiet", "side")
    check_index(indexed, ["a.py", "sub/b.py"], tmp_path)
