"""`mccomd warm`: where it reads ahead, and that the first completion then has little left to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mccomd.warming import recent_spots

from .conftest import Daemon, commit_all


def run(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "mccomd", "warm", *arguments, "--json"],
        env=daemon.env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def places(root: Path, limit: int = 9) -> list[tuple[str, int]]:
    return [(os.path.relpath(spot.path, root), spot.line) for spot in recent_spots(str(root), limit)]


def test_where_somebody_is_likely_to_go_on(repository: Path) -> None:
    commit_all(repository)  # an empty one: HEAD names nothing
    assert places(repository) == []
    lines = (repository / "geometry.py").read_text().split("\n")
    (repository / "geometry.py").write_text("\n".join([*lines[:11], "        # here", *lines[11:]]))
    (repository / "new.py").write_text("a = 1\nb = ")
    (repository / "notes.lock").write_text("no language of ours")
    os.utime(repository / "geometry.py", (1_700_000_000, 1_700_000_000))
    assert places(repository) == [("new.py", 1), ("geometry.py", 11)]
    assert places(repository, 1) == [("new.py", 1)]
    commit_all(repository)
    assert sorted(places(repository)) == [("geometry.py", 11), ("new.py", 1)]
    (repository / "new.py").unlink()
    assert places(repository) == [("geometry.py", 11)]


def test_the_first_completion_finds_its_prompt_read(start: Callable[..., Daemon], repository: Path) -> None:
    """Without snippets: on a busy machine one of the two may find them in time, the other not."""
    own = start('[completion]\nsnippets = 0\n[power]\nmode = "full"\n')
    body = "".join(f"def area_{n}(width, height):\n    return width * height + {n}\n\n\n" for n in range(20))
    text = f"{body}def last(width, height):\n    return width"
    (repository / "new.py").write_text(text)
    found = run(own, str(repository), "--files", "1")
    assert found["index"]["state"] == "current"
    (row,) = [row for row in found["files"] if row["path"].endswith("new.py")]
    assert row["tokens"] > 100
    with own.client() as client:
        lines = text.split("\n")
        answer = client.call(
            "complete",
            {
                "path": str(repository / "new.py"), "text": text, "deadline_ms": 30_000, "max_tokens": 4,
                "position": {"line": len(lines) - 1, "column": len(lines[-1])},
            },
            timeout_s=60,
        )  # fmt: skip
    assert answer["reused"] > 100 > answer["prefilled"], answer


def test_one_file_also_outside_a_repository(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text("import os\n\nprint(os.path.")
    found = run(daemon, str(tmp_path / "alone.py"))
    assert (found["repository"], found["index"]) == ("", {})
    assert [row["line"] for row in found["files"]] == [3]
