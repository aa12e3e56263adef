"""`mccomd bench retrieval` on repositories made here: which cases it finds, and what counts as found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mccomd.bench.needs import Need, Place, needs_in, read_needs
from mccomd.bench.retrieval import rank_of
from mccomd.errors import MccomdError
from mccomd.types import Snippet
from tests.conftest import environment

FILLER = "".join(f"row_{number} = {number}\n" for number in range(100))
FILES = {
    "shop/prices.py": "def discounted_price(article, share):\n    return article.price * (1 - share)\n",
    "shop/basket.py": f"""from shop.prices import discounted_price

{FILLER}
def total_of_basket(basket):
    # discounted_price in a comment is no use
    return sum(discounted_price(article, basket.share) for article in basket)
""",
}


def mccomd(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mccomd", "bench", "retrieval", *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    for name, text in FILES.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "shop"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)
    return root


def test_a_need_is_a_use_of_what_one_other_file_defines() -> None:
    (need,) = needs_in(FILES, 10, 1)
    assert (need.path, need.name, need.kind) == ("shop/basket.py", "discounted_price", "free")
    assert need.wanted == (Place("shop/prices.py", 1, "def discounted_price"),)
    assert need.prefix.endswith(("    ", "return ", "sum("))
    assert need.suffix == "\n"
    assert needs_in(FILES, 10, 1) == [need]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shop/other.py": "def discounted_price(): ...\n"}, "defined twice"),
        ({"shop/prices.py": "discounted_price = 3\n"}, "a value may be anything"),
    ],
)
def test_no_need_where_nothing_would_be_found(change: dict[str, str], why: str) -> None:
    assert needs_in(FILES | change, 10, 1) == [], why


def test_what_the_prompt_shows_needs_no_finding() -> None:
    twice = FILES["shop/basket.py"].replace("def total", "discounted_price(1, 2)\ndef total")
    assert needs_in(FILES | {"shop/basket.py": twice}, 10, 1) == []


def test_a_snippet_counts_when_it_shows_the_definition() -> None:
    need = Need("a.py", "python", "", "", "f", "free", (Place("b.py", 7, "def f"),))

    def snippet(path: str, first: int, last: int, text: str) -> Snippet:
        return Snippet(path, first, last, text, 1.0, "", "x")

    wrong = [
        snippet("c.py", 1, 20, "def f"),
        snippet("b.py", 8, 20, "def f"),
        snippet("b.py", 1, 20, "class C: ..."),
    ]
    assert rank_of(need, wrong) == 0
    assert rank_of(need, [*wrong, snippet("b.py", 5, 7, "def f")]) == 4


def test_the_figures_of_a_repository(shop: Path, tmp_path: Path) -> None:
    done = mccomd(tmp_path, str(shop), "--json")
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert (figures["n"], figures["files"], figures["recall_at_5"]) == (1, 2, 1.0)
    assert 0 < figures["p50_ms"] <= figures["p95_ms"]
    assert figures["by"]["free"]["n"] == figures["by"]["python"]["n"] == 1
    assert "in first 5" in mccomd(tmp_path, str(shop)).stdout


def test_cases_of_a_file_are_those_of_the_commit(shop: Path, tmp_path: Path) -> None:
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=shop, text=True).strip()
    row = {"path": "shop/basket.py", "language": "python", "prefix": "x = prices.", "suffix": "\n"}
    row |= {"commit": commit, "crossfile_name": "prices", "crossfile_member": "discounted_price"}
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(row | extra) + "\n" for extra in ({}, {"commit": "0" * 40})))
    (need,) = read_needs(file, (commit,), FILES)
    assert need.wanted == (Place("shop/prices.py", 1, "def discounted_price"),)
    figures = json.loads(mccomd(tmp_path, str(shop), "--cases-file", str(file), "--json").stdout)
    assert figures["n"] == 1
    file.write_text('{"commit": "x"}\n{"commit": "' + commit + '"}\n')
    with pytest.raises(MccomdError, match=r"cases\.jsonl:2: not a case"):
        read_needs(file, (commit,), FILES)


def test_what_cannot_be_measured_says_why(tmp_path: Path, shop: Path) -> None:
    outside = mccomd(tmp_path, str(tmp_path))
    assert (outside.returncode, outside.stderr.count("\n")) == (1, 1)
    assert "no git repository with a commit" in outside.stderr
    (shop / "shop/prices.py").write_text("")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    subprocess.run(["git", *identity, "commit", "-qam", "less"], cwd=shop, check=True)
    assert "no cases" in mccomd(tmp_path, str(shop)).stderr
