"""mccomd.paths: the user's folders and the socket."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mccomd.errors import MccomdError
from mccomd.paths import MAX_SOCKET_BYTES, SOCKET_VARIABLE, check_private, ensure_private, find_paths

_VARIABLES = ("CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any XDG variable; short, for the socket's sake."""
    for name in _VARIABLES:
        monkeypatch.delenv(f"XDG_{name}", raising=False)
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_defaults(home: Path) -> None:
    paths = find_paths()
    assert paths.config_file == home / ".config/mccomd/config.toml"
    assert paths.cache_dir == home / ".cache/mccomd"
    assert paths.index_dir == home / ".cache/mccomd/index"
    assert paths.data_dir == home / ".local/share/mccomd"
    assert paths.state_dir == home / ".local/state/mccomd"
    assert paths.log_file.parent == paths.state_dir
    assert paths.runtime_dir == paths.state_dir / "run"
    assert list(home.iterdir()) == [], "finding paths creates nothing"


def test_variables_are_read_at_the_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = find_paths()
    for name in _VARIABLES:
        (home / name).mkdir()
        monkeypatch.setenv(f"XDG_{name}", str(home / name))
    paths = find_paths()
    assert before != paths
    assert paths.config_file == home / "CONFIG_HOME/mccomd/config.toml"
    assert paths.cache_dir == home / "CACHE_HOME/mccomd"
    assert paths.data_dir == home / "DATA_HOME/mccomd"
    assert paths.state_dir == home / "STATE_HOME/mccomd"
    assert paths.runtime_dir == home / "RUNTIME_DIR/mccomd"


def test_empty_variable_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert find_paths().cache_dir == home / ".cache/mccomd"
    assert find_paths().runtime_dir == home / ".local/state/mccomd/run"


def test_relative_variable_never_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon started in another folder would have another cache; older platformdirs follow it."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    with contextlib.suppress(MccomdError):
        assert find_paths().cache_dir == home / ".cache/mccomd"


@pytest.mark.parametrize("runtime", ["no/such/folder", "", "file"])
def test_unusable_runtime_folder_falls_back(
    home: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / runtime) if runtime else "")
    assert find_paths().runtime_dir == home / ".local/state/mccomd/run"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_runtime_folder_of_another_user_falls_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After su the variable still names the other user's folder."""
    (home / "run").mkdir()
    os.chown(home / "run", 12345, 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    assert find_paths().runtime_dir == home / ".local/state/mccomd/run"


def test_long_home_gets_a_short_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ("a" * 120)))
    one = find_paths().socket
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ("b" * 120)))
    other = find_paths().socket
    assert one != other
    for socket in (one, other):
        assert len(os.fsencode(socket)) <= MAX_SOCKET_BYTES
        assert str(os.getuid()) in socket.parent.name


def test_socket_override(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKET_VARIABLE, str(home / "my.sock"))
    paths = find_paths()
    assert paths.socket == home / "my.sock"
    assert paths.lock_file == home / "my.sock.lock"
    monkeypatch.chdir(home)
    monkeypatch.setenv(SOCKET_VARIABLE, "./my.sock")
    assert find_paths().socket == home / "my.sock"
    monkeypatch.setenv(SOCKET_VARIABLE, "/" + "x" * MAX_SOCKET_BYTES)
    with pytest.raises(MccomdError, match=f"{SOCKET_VARIABLE} has 104 bytes"):
        find_paths()


def test_open_socket_folder_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_paths().runtime_dir
    ensure_private(folder)
    find_paths()
    folder.chmod(0o755)
    with pytest.raises(MccomdError, match="chmod 700"):
        find_paths()


def test_ensure_private_makes_and_tightens(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        assert ensure_private(folder) == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o777)
    ensure_private(folder)
    check_private(folder)


def test_ensure_private_ignores_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        ensure_private(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_ensure_private_follows_our_own_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    ensure_private(tmp_path / "link")
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_ensure_private_refuses(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"
    if kind == "file":
        folder.touch()
    else:
        folder.symlink_to("nowhere")
    for check in (ensure_private, check_private):
        with pytest.raises(MccomdError, match="run"):
            check(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_ensure_private_refuses_what_another_user_placed(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"
    if kind == "folder":
        folder.mkdir()
    else:
        (tmp_path / "mine").mkdir()
        folder.symlink_to("mine")
    os.chown(folder, 12345, 12345, follow_symlinks=False)
    for check in (ensure_private, check_private):
        with pytest.raises(MccomdError, match="user 12345"):
            check(folder)


def test_ensure_private_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MccomdError, match="cannot make"):
        ensure_private(tmp_path / "file" / "run")


def test_import_loads_nothing_heavy() -> None:
    heavy = ("platformdirs", "asyncio", "numpy", "hashlib")
    code = f"import sys, mccomd.paths; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
