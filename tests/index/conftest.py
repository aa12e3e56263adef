"""Fixtures of index_repos: repositories and their indexes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest
from index_repos import Indexed, Repo
from pygit2.enums import ConfigLevel


@pytest.fixture(autouse=True, scope="session")
def _no_configuration_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = str(tmp_path_factory.mktemp("no-git-config"))
    for level in (ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.SYSTEM):
        pygit2.settings.search_path[level] = empty


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., Repo]:
    def make(name: str = "repo", *arguments: str) -> Repo:
        return Repo(tmp_path / name, *arguments)

    return make


@pytest.fixture
def repo(make_repo: Callable[..., Repo]) -> Repo:
    return make_repo()


@pytest.fixture
def indexed(repo: Repo, tmp_path: Path) -> Indexed:
    return Indexed(repo, tmp_path / "index")
