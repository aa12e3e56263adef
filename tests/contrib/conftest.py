"""Editors for the tests of contrib/: Neovim against a scripted peer, Neovim against the real daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from nvim_driver import Neovim
from scripted_peer import ScriptedPeer


@pytest.fixture
def editors(tmp_path: Path) -> Iterator[Callable[..., Neovim]]:
    """Starts Neovims, each in a folder of its own; ends them after the test."""
    with ExitStack() as stack:
        count = 0

        def begin(env: dict[str, str] | None = None) -> Neovim:
            nonlocal count
            count += 1
            return stack.enter_context(Neovim(tmp_path / f"nvim{count}", env))

        yield begin


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(tmp_path / "peer.sock") as running:
        yield running
        assert running.violations == []


@pytest.fixture
def nvim(editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path) -> Neovim:
    """Neovim with the plugin set up for the scripted peer, an empty Python file open."""
    editor = editors()
    editor.setup(socket=str(peer.path), start=False)
    (tmp_path / "a.py").write_text("")
    editor.edit(tmp_path / "a.py")
    peer.wait("document/open")
    return editor
