"""Signatures for a cursor, from a real index of a real repository."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mccomd.config import IndexConfig
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.plugins import PluginOptions, Plugins
from mccomd.types import Document, Query, Snippet
from mccomd_index import IndexOptions

FILES = {
    "shop/prices.py": '''"""Prices."""

LIMIT = 3


def discounted_price(
    article,
    share: float = 0.1,
) -> float:
    """Less by a share."""
    return article.price * (1 - share)


def unrelated(): ...
''',
    "shop/articles.py": """class Article(Base):
    price: float = 0

    def __init__(self, name):
        self.name = name

    def weigh(self, scale): ...


class Base:
    def describe(self): ...
""",
    "shop/units/__init__.py": "def grams(value): ...\n\n\ndef ounces(value): ...\n",
    "web/view.ts": "export function drawBasket(items: string[], depth = 1): void {\n}\n",
    "web/page.ts": "import { drawBasket } from './view';\n",
    "core/list.c": "struct list *list_push(struct list *at, int value)\n{\n    return at;\n}\n",
    "core/list.h": "struct list { int value; struct list *next; };\n",
    ".env": "def discounted_price_of_a_secret(): ...\n",
}

Ask = Callable[..., list[Snippet]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "shop"]):
        subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)
    return root


@pytest.fixture
def ask(shop: Path, tmp_path: Path) -> Ask:
    def run(
        path: str,
        prefix: str,
        suffix: str = "\n",
        language: str = "python",
        limit: int = 5,
        unsaved: Mapping[str, str] = {},
    ) -> list[Snippet]:
        query = Query(str(shop / path), path, "", language, prefix, suffix, limit)
        return asyncio.run(_ask(shop, tmp_path, query, unsaved))

    return run


async def _ask(shop: Path, folder: Path, query: Query, unsaved: Mapping[str, str]) -> list[Snippet]:
    indexing = Indexing(folder, lambda repository: (IndexOptions(), ()), IndexConfig)
    options = PluginOptions(disabled=("bm25",))
    plugins = Plugins(options, indexing.search, lookup=IndexLookup(indexing))
    try:
        root = await indexing.require(str(shop))
        await indexing.refresh(root)
        for path, text in unsaved.items():
            await indexing.locate(str(shop / path))
            indexing.edited("an editor", Document(str(shop / path), text, ""))
        parts = (query.relative_path, root, query.language, query.prefix, query.suffix, query.limit)
        return await plugins.retrieve(Query(query.path, *parts), 30.0)
    finally:
        plugins.close()
        await indexing.close()


def text_of(found: list[Snippet], path: str) -> str:
    return next((snippet.text for snippet in found if snippet.path == path), "")


def test_what_is_imported_under_another_name_from_a_neighbour(ask: Ask) -> None:
    first, *_ = ask("shop/basket.py", "from .prices import discounted_price as less\n\ntotal = less(")
    assert (first.path, first.source) == ("shop/prices.py", "definitions")
    assert first.text.splitlines()[:2] == [
        "def discounted_price(article, share: float = 0.1,) -> float:",
        '    """Less by a share."""',
    ]
    assert first.start_line <= 6 <= first.end_line
    assert len(first.commit) == 40


def test_the_members_of_a_variables_class_and_of_what_it_extends(ask: Ask) -> None:
    text = "from shop.articles import Article\n\n\ndef f(article: Article):\n    article."
    shown = text_of(ask("shop/basket.py", text), "shop/articles.py")
    assert "    def weigh(self, scale): ..." in shown
    assert "    price: float = 0" in shown
    assert "    def describe(self): ..." in shown


def test_an_unsaved_text_wins_over_what_is_committed(ask: Ask) -> None:
    prices = (
        "\n\ndef discounted_price(article, share, *, rounded): ...\n\n\ndef price_of_a_dozen(article): ...\n"
    )
    unsaved = {"shop/prices.py": prices}
    text = "from .prices import discounted_price, price_of_a_dozen\n\ntotal = discounted_price("
    first, *rest = ask("shop/basket.py", text, unsaved=unsaved)
    assert (first.path, first.start_line, first.end_line) == ("shop/prices.py", 3, 6)
    assert first.text.splitlines() == [
        "def discounted_price(article, share, *, rounded): ...",
        "def price_of_a_dozen(article): ...",
    ]
    assert "shop/prices.py" not in {snippet.path for snippet in rest}


def test_what_an_unsaved_text_no_longer_defines_is_not_shown(ask: Ask) -> None:
    text = "from .prices import discounted_price\n\ntotal = discounted_price("
    found = ask("shop/basket.py", text, unsaved={"shop/prices.py": "LIMIT = 4\n"})
    assert not any("discounted_price" in snippet.text for snippet in found)


def test_a_class_of_a_file_that_was_never_saved(ask: Ask) -> None:
    new = {"shop/voucher.py": "class Voucher:\n    def redeem(self, basket): ...\n"}
    text = "from shop.voucher import Voucher\n\n\ndef f(voucher: Voucher):\n    voucher."
    assert "    def redeem(self, basket): ..." in text_of(
        ask("shop/basket.py", text, unsaved=new), "shop/voucher.py"
    )


def test_an_unsaved_secret_stays_one(ask: Ask) -> None:
    secret = {".env": "def price_of_a_secret(): ...\n"}
    assert not text_of(ask("shop/basket.py", "x = price_of_a_secret(", unsaved=secret), ".env")


def test_a_module_before_the_dot(ask: Ask) -> None:
    shown = text_of(ask("shop/basket.py", "from shop import units\n\nx = units."), "shop/units/__init__.py")
    assert shown.splitlines() == ["def grams(value): ...", "def ounces(value): ..."]


def test_other_languages_by_name(ask: Ask) -> None:
    page = "import { drawBasket } from './view';\n\ndrawBasket("
    assert "drawBasket(items: string[], depth = 1): void" in text_of(
        ask("web/page.ts", page, language="typescript"), "web/view.ts"
    )
    push = '#include "list.h"\n\nvoid f(struct list *l)\n{\n    list_push('
    assert text_of(ask("core/main.c", push, language="c"), "core/list.c") == (
        "struct list *list_push(struct list *at, int value)"
    )


def test_likely_names_without_any_sign_but_their_words(ask: Ask) -> None:
    text = "# the price, discounted\nprice_discounted = "
    assert "def discounted_price" in text_of(ask("shop/basket.py", text), "shop/prices.py")


def test_the_edited_file_is_not_quoted_and_no_secret_is(ask: Ask) -> None:
    text = FILES["shop/prices.py"] + "\n\ndiscounted_price_of_a_secret(discounted_price("
    found = ask("shop/prices.py", text)
    assert all(snippet.path not in ("shop/prices.py", ".env") for snippet in found)


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_than_asked_for(ask: Ask, limit: int) -> None:
    text = "from shop.articles import Article\nfrom shop.prices import discounted_price\nimport shop.units\n"
    assert len(ask("shop/basket.py", text + "x = ", limit=limit)) == limit


def test_a_class_with_empty_brackets_extends_nothing(ask: Ask) -> None:
    """It was an error once, and an error switches a plugin off."""
    new = {"shop/till.py": "class Till():\n    def ring(self): ...\n"}
    text = "from shop.till import Till\n\n\ntill = Till()\ntill."
    assert "    def ring(self): ..." in text_of(ask("shop/basket.py", text, unsaved=new), "shop/till.py")


def test_broken_text_is_no_error(ask: Ask) -> None:
    for text in ("", "from . import (", "self.", "class A(\n  self.x.", "\ud800.", "((((((((((."):
        assert isinstance(ask("shop/basket.py", text, suffix=""), list)
