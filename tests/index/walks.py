"""A random walk of what people do with git, in one repository and its work trees."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from index_repos import Repo

SOURCES = Path(__file__).resolve().parents[2]
"""This project's own sources are the repository that is walked, unless another is named."""


class Walk:
    """Takes steps that git may refuse; whatever state that leaves is one that people have, too."""

    def __init__(self, place: Path, seed: str, original: str = "") -> None:
        self.chance = random.Random(seed)
        self.place = place
        self.number = 0
        self.log: list[str] = []
        self.tree = place / "repo"
        if original:
            subprocess.run(
                ["git", "clone", "--quiet", "--no-local", original, str(self.tree)],
                check=True,
                capture_output=True,
            )
        self.repo = Repo(self.tree)
        if not original:
            self._copy_sources()
            self.git("add", "--all")
            self.git("commit", "--quiet", "-m", "first")
        self.git("config", "gc.auto", "0")
        self.git("config", "merge.conflictStyle", "merge")
        self.home = self.tree

    def step(self) -> str:
        """One random step; returns what was done."""
        self.number += 1
        steps = {
            self.edit: 8, self.add: 4, self.delete: 2, self.rename: 3, self.chmod: 1, self.revert_file: 3,
            self.commit: 8, self.commit_all: 4, self.amend: 2, self.reset_hard: 2, self.reset_mixed: 2,
            self.reset_soft: 1, self.rebase: 2, self.new_branch: 3, self.checkout: 5, self.detach: 2,
            self.merge: 3, self.abort: 2, self.worktree: 2, self.change_tree: 4, self.stash: 2, self.pop: 2,
            self.ignore: 2, self.bisect: 1, self.cherry_pick: 1, self.revert: 1, self.pack: 1,
            self.copy: 1, self.link: 1, self.rename_folder: 1, self.clean: 1, self.odd: 1,
        }  # fmt: skip
        action = self.chance.choices(list(steps), list(steps.values()))[0]
        action()
        self.log.append(action.__name__)
        return action.__name__

    def git(self, *arguments: str) -> bool:
        """Whether git did it."""
        self.repo.ticks += 1
        now = f"{1_700_000_000 + self.repo.ticks} +0000"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"), ("DATE", now))}  # fmt: skip
        environment = {
            **os.environ, **who, "HOME": str(self.place), "GIT_CONFIG_NOSYSTEM": "1", "GIT_EDITOR": "true",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }  # fmt: skip
        done = subprocess.run(
            ["git", *arguments], cwd=self.tree, env=environment, capture_output=True, check=False
        )
        self.output = done.stdout.decode("utf-8", "replace")
        return done.returncode == 0

    # --- files --------------------------------------------------------------------------------------

    def edit(self) -> None:
        for path in self._some_files(4):
            lines = path.read_bytes().split(b"\n")
            at = self.chance.randrange(len(lines))
            lines[at : at + self.chance.randrange(3)] = [
                self._line() for _ in range(self.chance.randrange(1, 5))
            ]
            path.write_bytes(b"\n".join(lines))

    def add(self) -> None:
        for _ in range(self.chance.randrange(1, 4)):
            folder = self.chance.choice(["", "new/", "new/deep/", "docs/"])
            suffix = self.chance.choice(["py", "py", "go", "md", "txt", "log"])
            place = self.tree / f"{folder}file_{self.number}_{self.chance.randrange(5)}.{suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"\n".join(self._line() for _ in range(self.chance.randrange(1, 90))))

    def delete(self) -> None:
        for path in self._some_files(2):
            path.unlink()

    def rename(self) -> None:
        for path in self._some_files(2):
            path.rename(path.with_name(f"renamed_{self.number}{path.suffix}"))

    def copy(self) -> None:
        for path in self._some_files(1):
            path.with_name(f"copy_{self.number}{path.suffix}").write_bytes(path.read_bytes())

    def rename_folder(self) -> None:
        folders = [path for path in self.tree.iterdir() if path.is_dir() and path.name != ".git"]
        if folders:
            folder = self.chance.choice(sorted(folders))
            folder.rename(folder.with_name(f"folder_{self.number}"))

    def chmod(self) -> None:
        for path in self._some_files(3):
            path.chmod(path.stat().st_mode ^ 0o100)

    def link(self) -> None:
        for path in self._some_files(1):
            path.unlink()
            path.symlink_to("nowhere")

    def odd(self) -> None:
        """Contents that never enter, under a name that may; and back at the next edit."""
        content = self.chance.choice([b"", b"\n\n", b"alpha\0", b"# @generated\nalpha\n", b"alpha" * 3000])
        for path in self._some_files(1):
            path.write_bytes(content)

    def ignore(self) -> None:
        folder = self.chance.choice(["", "", "new/"])
        if (self.tree / folder).is_dir():
            rules = self.chance.sample(["*.log", "new/", "deep/", "file_*", "!file_1*", "*.txt"], 2)
            (self.tree / folder / ".gitignore").write_text("\n".join(rules) + "\n")

    # --- git ----------------------------------------------------------------------------------------

    def commit(self) -> None:
        self.git("commit", "--quiet", "--all", "-m", "change")

    def commit_all(self) -> None:
        self.git("add", "--all")
        self.commit()

    def amend(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--amend", "--no-edit", "--allow-empty")

    def revert_file(self) -> None:
        for path in self._some_files(3):
            self.git("checkout", "HEAD", "--", str(path.relative_to(self.tree)))

    def reset_hard(self) -> None:
        self.git("reset", "--quiet", "--hard", self._commit())

    def reset_mixed(self) -> None:
        self.git("reset", "--quiet", "--mixed", self._commit())

    def reset_soft(self) -> None:
        self.git("reset", "--quiet", "--soft", self._commit())

    def rebase(self) -> None:
        if not self.git("rebase", "--quiet", "--autostash", self._branch()) and self.chance.random() < 0.7:
            self.git("rebase", "--abort")

    def new_branch(self) -> None:
        self.git("checkout", "--quiet", "-b", f"branch-{self.number}")

    def checkout(self) -> None:
        self.git("checkout", "--quiet", *self.chance.choice([[], ["--force"]]), self._branch())

    def detach(self) -> None:
        self.git("checkout", "--quiet", "--force", "--detach", self._commit())

    def merge(self) -> None:
        if not self.git("merge", "--quiet", "--no-edit", self._branch()) and self.chance.random() < 0.5:
            self.git("merge", "--abort")

    def abort(self) -> None:
        for what in ("merge", "rebase", "cherry-pick", "revert"):
            self.git(what, "--abort")
        self.git("bisect", "reset")

    def stash(self) -> None:
        self.git("stash", "push", "--quiet", *self.chance.choice([[], ["--include-untracked"]]))

    def pop(self) -> None:
        self.git("stash", "pop", "--quiet")

    def bisect(self) -> None:
        self.git("bisect", "start", "HEAD", "HEAD~3")

    def cherry_pick(self) -> None:
        self.git("cherry-pick", self._commit())

    def revert(self) -> None:
        self.git("revert", "--no-edit", self._commit())

    def clean(self) -> None:
        self.git("clean", "--quiet", "--force", "-d")

    def pack(self) -> None:
        """Packed refs and packed objects; what no ref names goes."""
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "--quiet", "--prune=now")

    def worktree(self) -> None:
        """Another work tree, or one less."""
        others = [tree for tree in self._trees() if tree not in (self.home, self.tree)]
        if others and self.chance.random() < 0.4:
            self.git("worktree", "remove", "--force", str(self.chance.choice(others)))
        else:
            self.git(
                "worktree",
                "add",
                "--quiet",
                "-b",
                f"tree-{self.number}",
                str(self.place / f"tree-{self.number}"),
            )

    def change_tree(self) -> None:
        self.tree = self.chance.choice(self._trees())

    # --- inside -------------------------------------------------------------------------------------

    def _copy_sources(self) -> None:
        for folder in ("index/mccomd_index", "tests/index", "plugins/mccomd_plugins"):
            for path in sorted((SOURCES / folder).glob("*.py")):
                place = self.tree / path.relative_to(SOURCES)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())

    def _some_files(self, at_most: int) -> list[Path]:
        self.git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = sorted({name for name in self.output.split("\0") if name})
        paths = [self.tree / name for name in self.chance.sample(names, min(len(names), at_most))]
        return [path for path in paths if path.is_file() and not path.is_symlink()]

    def _line(self) -> bytes:
        words = ["alpha", "beta_gamma", "deltaEpsilon", f"unique_{self.number}", "search", "reader", "git"]
        kinds = ["def {}({}):", "    return {} + {}", "class {}: # {}", "{} = {}", "", "    {}.{}()"]
        return self.chance.choice(kinds).format(*self.chance.choices(words, k=2)).encode()

    def _commit(self) -> str:
        self.git("rev-list", "--all", "--max-count=40")
        return self.chance.choice(self.output.split() or ["HEAD"])

    def _branch(self) -> str:
        self.git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
        return self.chance.choice(self.output.split()[:40] or ["HEAD"])

    def _trees(self) -> list[Path]:
        self.git("worktree", "list", "--porcelain")
        found = [
            Path(line.removeprefix("worktree "))
            for line in self.output.splitlines()
            if line.startswith("worktree ")
        ]
        return [tree for tree in found if tree.is_dir()] or [self.home]
