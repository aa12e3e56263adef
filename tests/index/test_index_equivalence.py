"""After any walk through commits, resets and branches the index finds what a fresh one would."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_repos import Indexed, Repo

from mccomd_index import Stamp, stamp

NAMES = ["a.py", "b.py", "dir/c.py", "dir/deep/d.go", "e with space.txt", ".env", "f.lock/g.py"]
WORDS = ["alpha", "beta_gamma", "deltaEpsilon", "zeta"]

contents = st.one_of(
    st.none(),
    st.sampled_from([b"", b"\n\n", b"alpha\0", b"# @generated\nalpha\n", b"alpha" * 2000]),
    st.builds(
        lambda words, times: "".join(f"def {word}():\n    pass\n\n" for word in words * times).encode(),
        st.lists(st.sampled_from(WORDS), max_size=4),
        st.integers(1, 12),
    ),
)
commits = st.tuples(st.just("commit"), st.dictionaries(st.sampled_from(NAMES), contents, max_size=4))
steps = st.one_of(
    commits,
    commits,
    st.tuples(st.just("amend"), st.dictionaries(st.sampled_from(NAMES), contents, max_size=2)),
    st.tuples(st.just("reset"), st.integers(0, 20)),
    st.tuples(st.just("rename"), st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))),
    st.tuples(st.just("mode"), st.sampled_from(NAMES)),
    st.tuples(st.just("link"), st.sampled_from(NAMES)),
    st.tuples(st.just("orphan"), st.none()),
    st.tuples(st.just("refresh"), st.none()),
    st.tuples(st.just("crash"), st.none()),
)


class Walk:
    def __init__(self, place: Path) -> None:
        self.repo = Repo(place / "repo")
        self.indexed = Indexed(self.repo, place / "index")
        self.commits: list[str] = []

    def take(self, step: str, what: object) -> None:
        getattr(self, step)(what)

    def commit(self, files: dict[str, bytes | None], *arguments: str) -> None:
        for name, content in files.items():
            place = self.repo.path / name
            place.unlink(missing_ok=True)
            if content is not None:
                self.repo.write(name, content)
        self.commits.append(self.repo.commit({}, *arguments))

    def amend(self, files: dict[str, bytes | None]) -> None:
        self.commit(files, *(["--amend"] if self.repo.found().head else []))

    def reset(self, number: int) -> None:
        if self.commits:
            self.repo.git("reset", "--quiet", "--hard", self.commits[number % len(self.commits)])

    def rename(self, names: tuple[str, str]) -> None:
        old, new = (self.repo.path / name for name in names)
        if old.is_file():
            new.parent.mkdir(parents=True, exist_ok=True)
            old.rename(new)
        self.commit({})

    def mode(self, name: str) -> None:
        place = self.repo.path / name
        if place.is_file() and not place.is_symlink():
            place.chmod(place.stat().st_mode ^ 0o111)
        self.commit({})

    def link(self, name: str) -> None:
        place = self.repo.path / name
        if place.parent.is_dir():
            place.unlink(missing_ok=True)
            place.symlink_to("a.py")
        self.commit({})

    def orphan(self, _: object) -> None:
        self.repo.git("checkout", "--quiet", "--orphan", f"orphan{self.repo.ticks}")

    def crash(self, _: object) -> None:
        """A refresh that dies between Tantivy's commit and the stamp."""

        def write(folder: Path, written: Stamp) -> None:
            if not written.pending:
                raise InterruptedError
            stamp.write_stamp(folder, written)

        module = sys.modules["mccomd_index.refresh"]
        with mock.patch.object(module, "write_stamp", write), contextlib.suppress(InterruptedError):
            self.indexed.refresh()

    def refresh(self, _: object) -> None:
        self.indexed.refresh()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=8))
def test_incremental_equals_fresh(walk: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        walker = Walk(Path(place))
        for step, what in walk:
            walker.take(step, what)
        walker.indexed.refresh()
        fresh = Indexed(walker.repo, Path(place, "fresh"))
        fresh.refresh()
        for query in (*WORDS, " ".join(WORDS)):
            assert walker.indexed.search(query) == fresh.search(query)
        one, other = walker.indexed.status(), fresh.status()
        assert (one.files, one.chunks, one.state) == (other.files, other.chunks, other.state)
