"""The Neovim client's mechanics, against a scripted peer: what is sent, drawn and inserted, to the letter."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nvim_driver import Neovim, poll
from scripted_peer import ScriptedPeer, completion

from mccomd.rpc import Notification, Response, encode

BODY = "eturn [\n    a,\n    b,\n]"


def answer(peer: ScriptedPeer, text: str, **fields: Any) -> dict[str, Any]:
    """Script the next answers of `complete`."""
    result = completion(text, **fields)
    peer.answers["complete"] = lambda params: result
    return result


def kinds(peer: ScriptedPeer, request_id: str) -> list[tuple[str, int]]:
    """All feedback for one completion."""
    found = [params for params in peer.parameters("feedback") if params["request_id"] == request_id]
    return [(params["kind"], params["characters"]) for params in found]


def wait_kinds(peer: ScriptedPeer, result: dict[str, Any], wanted: list[tuple[str, int]]) -> None:
    poll(
        lambda: kinds(peer, result["request_id"]) == wanted,
        f"{wanted}; there is {peer.parameters('feedback')}",
    )


def settle(nvim: Neovim, peer: ScriptedPeer) -> None:
    """Until the daemon has answered a `status` that was sent after everything else."""
    nvim.status()


def told(nvim: Neovim, peer: ScriptedPeer, path: Path) -> None:
    """Until the daemon's text is the buffer's, and so it stays."""

    def same() -> bool:
        lines = [line.replace("\n", "\0").replace("\r", " ") for line in nvim.lines()]
        return peer.text(path) == "".join(line + "\n" for line in lines)

    poll(same, "the daemon's text is the buffer's")


def test_a_buffer_is_read_ahead_where_the_cursor_rests(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.keys("ia = 1<CR>b = 2<Esc>k0")
    nvim.command("doautocmd CursorHold")
    poll(lambda: peer.parameters("warm"), "warm was sent")
    assert peer.parameters("warm")[-1]["position"] == {"line": 0, "column": 0}
    assert peer.parameters("warm")[-1]["path"] == peer.parameters("document/open")[-1]["path"]
    settle(nvim, peer)  # entering the buffer and moving in it warm it as well
    count = len(peer.parameters("warm"))
    nvim.keys("Ac = 3")
    peer.wait("complete")
    settle(nvim, peer)
    assert len(peer.parameters("warm")) == count  # while typing, questions do it


# --- ghost text -----------------------------------------------------------------------------------


def test_multi_line_ghost_text_is_inline_then_below(nvim: Neovim, peer: ScriptedPeer) -> None:
    result = answer(peer, BODY)
    nvim.keys("ir")
    nvim.wait_ghost(BODY)
    ghost = nvim.ghost()
    assert ghost == {
        "row": 0, "column": 1, "position": "inline", "first": "eturn [", "below": ["    a,", "    b,", "]"],
    }  # fmt: skip
    poll(lambda: nvim.screen()[:4] == ["return [", "    a,", "    b,", "]"], "the screen shows it")
    wait_kinds(peer, result, [("shown", 0)])
    assert nvim.lines() == ["r"]


def test_its_colour_is_that_of_comments_and_never_that_of_code(nvim: Neovim) -> None:
    """The default colours give comments none in a terminal of 256 colours: there it was plain text."""
    ghost, comment = (f'vim.api.nvim_get_hl(0, {{name = "{name}"}})' for name in ("MccomdGhost", "Comment"))
    assert nvim.lua(f"{ghost}.fg == {comment}.fg and {ghost}.ctermfg == 8")
    nvim.command("highlight clear MccomdGhost | colorscheme habamax")
    assert nvim.lua(f"{ghost}.link") == "Comment"


def test_before_text_on_the_line_the_screen_shows_what_accepting_gives(
    nvim: Neovim, peer: ScriptedPeer
) -> None:
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["f()", "end"])
    answer(peer, "\n    a,\n")
    nvim.keys("lli")
    nvim.wait_ghost(lambda text: text is not None)
    poll(lambda: nvim.screen()[:4] == ["f(", "    a,", ")", "end"], "the screen shows it")
    nvim.keys("<Tab>")
    nvim.wait_lines(["f(", "    a,", ")", "end"])


def test_tabs_are_drawn_as_wide_as_they_will_be(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.command("set tabstop=4 noexpandtab")
    answer(peer, "b\tc\n\td")
    nvim.keys("ia")
    nvim.wait_ghost("b  c\n    d")
    nvim.keys("<Tab>")
    nvim.wait_lines(["ab\tc", "\td"])


def test_typing_through_shows_the_rest_and_asks_nothing(nvim: Neovim, peer: ScriptedPeer) -> None:
    answer(peer, "eturn é + b")
    nvim.keys("ir")
    nvim.wait_ghost("eturn é + b")
    asked = len(peer.parameters("complete"))
    nvim.keys("eturn é")
    nvim.wait_ghost(" + b")
    nvim.keys("<BS>")
    nvim.wait_ghost("é + b")
    settle(nvim, peer)
    assert len(peer.parameters("complete")) == asked
    nvim.keys("x")
    nvim.wait_ghost(lambda text: text != "é + b")
    peer.wait("complete", asked + 1)


def test_leaving_insert_mode_or_the_place_clears(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["one", "two", "r"])
    answer(peer, "eturn")
    nvim.keys("GA")
    nvim.wait_ghost("eturn")
    peer.answers["complete"] = lambda params: completion("")
    nvim.keys("<Up>")
    nvim.wait_ghost(None)
    answer(peer, "eturn")
    nvim.keys("<Down>")
    nvim.wait_ghost("eturn")
    nvim.keys("<Esc>")
    nvim.wait_ghost(None)
    assert nvim.mode() == "n"


def test_a_chosen_menu_item_hides_the_ghost_text(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["recall", "return", ""])
    nvim.command("set completeopt=menu,menuone,noinsert")
    answer(peer, "turn 1")
    nvim.keys("Gire")
    nvim.wait_ghost("turn 1")
    nvim.keys("<C-n>")  # the first item is selected at once
    nvim.wait("vim.fn.pumvisible()", 1)
    nvim.wait_ghost(None)
    nvim.keys("<C-y>")
    nvim.wait("vim.fn.pumvisible()", 0)


def test_hide_when_keeps_it_away(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.lua(
        """
        _G.hide = true
        require("mccomd").setup({socket = ..., hide_when = function() return _G.hide end})
        """,
        str(peer.path),
    )
    answer(peer, "eturn")
    peer.wait("document/open", 2)
    nvim.keys("ir")
    settle(nvim, peer)
    assert nvim.ghost() is None
    nvim.lua("_G.hide = false\n")
    nvim.keys("<BS>r")
    nvim.wait_ghost("eturn")


# --- accepting ------------------------------------------------------------------------------------


def test_accept_all_is_one_undo_step(nvim: Neovim, peer: ScriptedPeer) -> None:
    result = answer(peer, BODY)
    nvim.keys("ir")
    nvim.wait_ghost(BODY)
    peer.answers["complete"] = lambda params: completion("")
    nvim.keys("<Tab>")
    whole = ["return [", "    a,", "    b,", "]"]
    nvim.wait_lines(whole)
    assert nvim.call("nvim_win_get_cursor", 0) == [4, 1]
    wait_kinds(peer, result, [("shown", 0), ("accepted", 0)])
    nvim.keys(" # x<Esc>")
    nvim.wait_lines([*whole[:3], "] # x"])
    for wanted in (whole, ["r"], [""]):
        nvim.keys("u")
        nvim.wait_lines(wanted)
    for wanted in (["r"], whole, [*whole[:3], "] # x"]):
        nvim.keys("<C-r>")
        nvim.wait_lines(wanted)


def test_accept_word_then_line_then_all(nvim: Neovim, peer: ScriptedPeer) -> None:
    result = answer(peer, "größe = self.x\n  if 日本:\n    pass")
    nvim.keys("i")
    nvim.wait_ghost(lambda text: text is not None)
    steps = [
        ("<M-Right>", ["größe"], ("partially_accepted", 5)),
        ("<M-Right>", ["größe ="], ("partially_accepted", 7)),
        ("<M-Right>", ["größe = self"], ("partially_accepted", 12)),
        ("<M-Down>", ["größe = self.x"], ("partially_accepted", 14)),
        ("<M-Right>", ["größe = self.x", "  if"], ("partially_accepted", 19)),
        ("<M-Down>", ["größe = self.x", "  if 日本:"], ("partially_accepted", 23)),
        ("<M-Down>", ["größe = self.x", "  if 日本:", "    pass"], ("accepted", 0)),
    ]
    wanted = [("shown", 0)]
    for key, lines, kind in steps:
        nvim.keys(key)
        nvim.wait_lines(lines)
        wanted.append(kind)
        wait_kinds(peer, result, wanted)
    poll(lambda: nvim.ghost() is None or nvim.ghost()["first"], "nothing is left")
    assert nvim.lua("vim.api.nvim_win_get_cursor(0)") == [3, 8]


def test_typed_and_then_accepted_in_part_counts_from_the_start(nvim: Neovim, peer: ScriptedPeer) -> None:
    result = answer(peer, "eturn a + b")
    nvim.keys("ir")
    nvim.wait_ghost("eturn a + b")
    nvim.keys("et")
    nvim.wait_ghost("urn a + b")
    nvim.keys("<M-Right>")
    nvim.wait_ghost(" a + b")
    wait_kinds(peer, result, [("shown", 0), ("partially_accepted", 5)])


def test_dismissed_is_told_and_not_asked_again_here(nvim: Neovim, peer: ScriptedPeer) -> None:
    result = answer(peer, "eturn")
    nvim.keys("ir")
    nvim.wait_ghost("eturn")
    wait_kinds(peer, result, [("shown", 0)])
    asked = len(peer.parameters("complete"))
    nvim.keys("<C-]>")
    nvim.wait_ghost(None)
    wait_kinds(peer, result, [("shown", 0), ("dismissed", 0)])
    settle(nvim, peer)
    assert len(peer.parameters("complete")) == asked
    nvim.keys("<M-Bslash>")  # unless the user asks
    peer.wait("complete", asked + 1)
    nvim.wait_ghost("eturn")


@pytest.mark.parametrize(
    ("mapping", "typed"),
    [
        ("", "a\tb"),
        ("inoremap <Tab> [tab]", "a[tab]b"),
        ("imap <Tab> <Tab>!", "a\t!b"),  # its own key first: not mapped again
        ("inoremap <expr> <Tab> 'n' .. 1", "an1b"),
        ("imap <expr> <Tab> v:true ? '<Tab>' : 'x'", "a\tb"),  # the usual fallback of snippet plugins
        ("lua vim.keymap.set('i', '<Tab>', function() return '<Tab>~' end, {expr = true})", "a\t~b"),
        ("lua vim.keymap.set('i', '<Tab>', function() vim.api.nvim_feedkeys('L', 'n', false) end)", "aLb"),
    ],
)
def test_the_users_own_tab_stays(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path, mapping: str, typed: str
) -> None:
    nvim = editors()
    if mapping:
        nvim.command(mapping)
    nvim.setup(socket=str(peer.path), start=False)
    nvim.setup(socket=str(peer.path), start=False)  # a second setup must not chain to itself
    nvim.edit(tmp_path / "a.py")
    nvim.command("set noexpandtab")
    peer.wait("document/open")
    for _ in range(2):
        nvim.keys("cca<Tab>")
        nvim.wait("vim.fn.getline(1) ~= 'a'")
        nvim.keys("b")
        nvim.wait_lines([typed])
        nvim.keys("<Esc>")
    answer(peer, "BC")
    nvim.keys("ccA")
    nvim.wait_ghost("BC")
    nvim.keys("<Tab>")
    nvim.wait_lines(["ABC"])


def test_keys_can_be_switched_off(editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path) -> None:
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False, keys={"accept": False, "dismiss": "<C-l>"})
    nvim.edit(tmp_path / "a.py")
    answer(peer, "eturn")
    nvim.keys("ir")
    nvim.wait_ghost("eturn")
    nvim.keys("<C-l>")
    nvim.wait_ghost(None)
    nvim.command("set noexpandtab")
    nvim.keys("<Tab>")
    nvim.wait_lines(["r\t"])


# --- answers that come late, better, torn or broken ----------------------------------------------------


def test_late_answers(nvim: Neovim, peer: ScriptedPeer) -> None:
    peer.answers["complete"] = lambda params: None  # answered by hand
    nvim.command("lua vim.o.updatetime = 100")
    nvim.keys("ir")
    peer.wait("complete", 1)
    nvim.keys("x")
    peer.wait("complete", 2)
    peer.reply("complete", completion("eturn"))  # the first one: superseded
    settle(nvim, peer)
    assert nvim.ghost() is None
    peer.reply("complete", completion("yz"))
    nvim.wait_ghost("yz")


def test_an_answer_typed_into_while_it_was_under_way_shows_its_rest(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path
) -> None:
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False, debounce_ms=400)
    nvim.edit(tmp_path / "a.py")
    peer.answers["complete"] = lambda params: None
    nvim.keys("ir")
    peer.wait("complete", 1)
    nvim.keys("et")
    nvim.wait_lines(["ret"])
    peer.reply("complete", completion("eturn"))
    nvim.wait_ghost("urn")


def test_an_answer_for_a_place_that_was_left_is_dropped(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["r", "r"])
    peer.answers["complete"] = lambda params: None
    nvim.keys("A")
    peer.wait("complete", 1)
    nvim.keys("<Esc>")
    peer.reply("complete", completion("eturn"))
    assert "1 late" in nvim.status()
    assert nvim.ghost() is None


def test_other_lines_changed_meanwhile_make_it_void(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["import os", "r"])
    peer.answers["complete"] = lambda params: None
    nvim.keys("GA")
    peer.wait("complete", 1)
    peer.answers["complete"] = lambda params: completion("")
    nvim.call("nvim_buf_set_lines", 0, 0, 1, False, ["import re"])
    peer.reply("complete", completion("eturn"))
    settle(nvim, peer)
    assert nvim.ghost() is None


def test_an_update_replaces_while_it_extends_what_is_typed(
    nvim: Neovim, peer: ScriptedPeer, tmp_path: Path
) -> None:
    def update(result: dict[str, Any], text: str) -> None:
        peer.notify(
            "update",
            {
                "request_id": result["request_id"], "path": str(tmp_path / "a.py"), "version": 1,
                "position": {"line": 0, "column": 1}, "text": text, "source": "cloud",
                "model": "large", "ms": 9.0, "final": True,
            },
        )  # fmt: skip

    result = answer(peer, "eturn a")
    nvim.keys("ir")
    nvim.wait_ghost("eturn a")
    update(result, "eturn a + b")
    nvim.wait_ghost("eturn a + b")
    assert "cloud" in nvim.status()
    nvim.keys("et")
    nvim.wait_ghost("urn a + b")
    update(result, "aise")  # does not extend "et"
    update({"request_id": "never heard of"}, "eturn nothing")
    update(result, "eturn both")
    nvim.wait_ghost("urn both")
    nvim.keys("<M-Right>")
    nvim.wait_ghost(" both")
    update(result, "eturn more")  # something of it was accepted
    settle(nvim, peer)
    assert nvim.ghost_text() == " both"
    wait_kinds(peer, result, [("shown", 0), ("partially_accepted", 5)])

    silent = answer(peer, "", reason="not sure enough")
    nvim.keys("<Esc>ccr")
    nvim.wait_ghost(None)
    poll(lambda: "not sure enough" in nvim.status(), "the reason is shown")
    update(silent, "eturn from the cloud")
    nvim.wait_ghost("eturn from the cloud")
    wait_kinds(peer, silent, [("shown", 0)])
    nvim.keys("<C-]>")
    nvim.wait_ghost(None)
    update(silent, "eturn again")
    settle(nvim, peer)
    assert nvim.ghost() is None


def test_a_held_answer_comes_in_parts_behind_what_was_typed(
    nvim: Neovim, peer: ScriptedPeer, tmp_path: Path
) -> None:
    """The daemon holds it back while unsure, then offers what is not typed yet by the text it has."""

    def update(column: int, text: str, final: bool, line: int = 0) -> None:
        peer.notify(
            "update",
            {
                "request_id": held["request_id"], "path": str(tmp_path / "a.py"), "version": 2,
                "position": {"line": line, "column": column}, "text": text, "source": "cloud",
                "model": "large", "ms": 9.0, "final": final,
            },
        )  # fmt: skip

    held = answer(peer, "", finish="held", reason="held back, unsure: large is asked")
    nvim.keys("iré = r")
    told(nvim, peer, tmp_path / "a.py")
    poll(lambda: "held back" in nvim.status(), "the reason is shown")
    assert peer.parameters("initialize")[-1]["updates"] is True
    assert nvim.lua('require("mccomd").statusline()') == "mccomd ..."
    column = len("ré = r".encode())
    before = peer.parameters("complete")[-1]["position"]["column"]
    assert before == column
    peer.answers["complete"] = lambda params: None  # what is asked next is not answered
    update(column, "eturn", False)
    nvim.wait_ghost("eturn")
    update(column, "eturn one", False)
    nvim.wait_ghost("eturn one")
    nvim.keys("et")
    nvim.wait_ghost("urn one")
    update(column + 2, "urn one, two", True)  # the daemon knows of "et"
    nvim.wait_ghost("urn one, two")
    update(column + 1, "turn one, two, three", True)  # and here only of "e"
    nvim.wait_ghost("urn one, two, three")
    update(column + 9, "no", True)  # of a text that is not here
    update(0, "never", True)
    update(column, "eturn elsewhere", True, line=3)
    settle(nvim, peer)
    assert nvim.ghost_text() == "urn one, two, three"
    wait_kinds(peer, held, [("shown", 0)])
    assert nvim.lua('require("mccomd").statusline()') == "mccomd cloud 9 ms"
    nvim.keys("<Tab>")
    nvim.wait_lines(["ré = return one, two, three"])
    update(column, "eturn one, two, three, four", True)
    settle(nvim, peer)
    assert nvim.ghost() is None
    wait_kinds(peer, held, [("shown", 0), ("accepted", 0)])


def test_torn_frames(nvim: Neovim, peer: ScriptedPeer) -> None:
    peer.torn = True
    answer(peer, "eturn größer # " + "x" * 300)
    nvim.keys("ir")
    nvim.wait_ghost("eturn größer # " + "x" * 300)


def test_many_messages_in_one_piece(nvim: Neovim, peer: ScriptedPeer) -> None:
    peer.answers["complete"] = lambda params: None
    nvim.keys("ir")
    peer.wait("complete")
    id = peer.open_requests["complete"].pop()
    noise = encode(Notification("from the future", {"a": 1})) * 50 + encode(Response(99999, None, {}))
    peer.send_bytes(noise + encode(Response(id, None, completion("eturn"))) + noise)
    nvim.wait_ghost("eturn")


def test_an_error_is_told_once_and_kept(nvim: Neovim, peer: ScriptedPeer) -> None:
    peer.answers["complete"] = lambda params: ["internal", "the model file is gone"]
    for count in range(1, 4):
        nvim.keys("ix")
        peer.wait("complete", count)
        nvim.keys("<Esc>")
    status = nvim.status()
    assert "the model file is gone (3 times)" in status
    assert "no text     the model file is gone" in status
    assert len(nvim.notified()) == 1
    answer(peer, "eturn")
    nvim.keys("ccr")
    nvim.wait_ghost("eturn")


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"text": 5},
        "text",
        7,
        {**completion("x"), "text": b"\xff\xfe\x00"},
        {"text": "x", "request_id": None},
    ],
)
def test_answers_of_the_wrong_shape_are_survived(nvim: Neovim, peer: ScriptedPeer, result: Any) -> None:
    peer.answers["complete"] = lambda params: result
    nvim.keys("ir")
    peer.wait("complete")
    settle(nvim, peer)
    answer(peer, "eturn")
    nvim.keys("<Esc>ccr")
    nvim.wait_ghost("eturn")


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\xc1 not msgpack", id="no msgpack"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"\xc7\x01\x05a", id="extension"),
        pytest.param(b"\xdb\xff\xff\xff\xff" + b"x" * (9 << 20), id="oversized"),
        pytest.param(encode(Response(1, None, {"x": "y" * (9 << 20)})), id="large message"),
    ],
)
def test_a_broken_stream_is_left_and_a_new_one_tried(
    nvim: Neovim, peer: ScriptedPeer, garbage: bytes
) -> None:
    answer(peer, "eturn")
    with contextlib.suppress(OSError):  # it may hang up before it has all
        peer.send_bytes(garbage)
    poll(lambda: peer.connections == 2, "a new connection")
    peer.wait("document/open", 2)
    nvim.keys("ir")
    nvim.wait_ghost("eturn")
    assert "not its protocol" in nvim.status() or "larger than" in nvim.status()


def test_another_protocol_is_refused_in_words(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path
) -> None:
    old = peer.answers["initialize"]
    peer.answers["initialize"] = lambda params: {**old(params), "protocol": 2}
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False)
    nvim.wait("_G.notified[1] or ''", lambda text: "protocol 2" in text and "update the older one" in text)
    assert "given up" in nvim.status()
    assert nvim.lua('require("mccomd").statusline()') == "mccomd !"


def test_a_silent_daemon_holds_nobody_up(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path
) -> None:
    """It accepts and never says a word: the editor must not wait for it anywhere."""
    peer.answers["initialize"] = lambda params: None
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False)
    nvim.edit(tmp_path / "a.py")
    peer.wait("initialize")
    nvim.command("set noexpandtab")
    nvim.keys("itext<Tab>x<C-]><M-Right><Esc>")
    nvim.wait_lines(["text\tx"])
    assert "connecting" in nvim.status()
    nvim.command("MccomdDisable | MccomdEnable")
    peer.wait("initialize", 2)
    nvim.keys("cc<Tab>y<Esc>")
    nvim.wait_lines(["\ty"])


def test_it_comes_back_by_itself(nvim: Neovim, peer: ScriptedPeer, tmp_path: Path) -> None:
    answer(peer, "eturn")
    nvim.keys("ir")
    nvim.wait_ghost("eturn")
    peer.hang_up()
    nvim.wait_ghost(None)
    nvim.keys("<Esc>")
    peer.wait("initialize", 2)
    told(nvim, peer, tmp_path / "a.py")
    nvim.keys("ccr")
    nvim.wait_ghost("eturn")


def test_a_daemon_that_lost_the_document_is_told_again(
    nvim: Neovim, peer: ScriptedPeer, tmp_path: Path
) -> None:
    answers = iter([["stale_version", "version 2 is asked for"], completion("eturn")])
    peer.answers["complete"] = lambda params: next(answers, completion(""))
    nvim.keys("ir")
    nvim.wait_ghost("eturn")
    assert len(peer.parameters("document/open")) == 2
    assert "1 resyncs" in nvim.status()
    assert nvim.notified() == []


# --- documents --------------------------------------------------------------------------------------


def test_the_daemons_text_is_the_buffers_after_any_edits(
    nvim: Neovim, peer: ScriptedPeer, tmp_path: Path
) -> None:
    """Random editing by keys, commands and the API, some of it in bursts, with undo and redo between.

    The peer applies what it is sent with the daemon's own code.
    """
    rng = random.Random(20240517)
    path = tmp_path / "a.py"
    nvim.command("set shiftwidth=2 textwidth=40 formatoptions+=t undolevels=1000")
    words = ["größe", "日本語", "🙂", "e\u0301", "foo", "(", "", "\t", "x = 1", "a,b"]

    def text() -> str:
        return "".join(rng.choice(words) + rng.choice(["", " "]) for _ in range(rng.randint(0, 6)))

    def keys() -> str:
        motions = ["gg", "G", "j", "k", "w", "b", "$", "0", "3l", f"{rng.randint(1, 30)}G"]
        insert = text().replace("\t", "<Tab>")
        edits = [
            "dd", "3dd", "yyp", "p", "P", "J", "gJ", "x", "D", "o" + insert + "<Esc>", "O" + insert + "<Esc>",
            "i" + insert + "<CR>" + insert + "<Esc>", "A" + insert + "<BS><BS><C-w><Esc>",
            "cc" + insert + "<Esc>",
            "R" + insert + "<Esc>", "u", "3u", "<C-r>", "2<C-r>", "<C-v>jjIzz<Esc>", "Vjd", ">>", "gUU", "~",
            "ggdG",
            "qqAmacro<Esc>q3@q", "<C-a>", "vjly", "vjp", "guap", "gqap",
        ]  # fmt: skip
        return rng.choice(motions) + rng.choice(edits)

    commands = [
        "%s/o/0/ge", "g/a/d", "g/x/m0", "g/f/t$", "%d", "%!cat -n", "sort", "1,3move $", "%j", "undo 0",
        "earlier 5", "later 3", "normal! ggyGGp", "retab!", "1,2co$", "silent! %normal Aq", "put =range(3)",
    ]  # fmt: skip
    for step in range(150):
        for _ in range(rng.randint(1, 4)):
            kind = rng.random()
            if kind < 0.6:
                nvim.keys(keys())
            elif kind < 0.8:
                nvim.command("silent! " + rng.choice(commands))
            else:
                lines = nvim.lines()
                first = rng.randint(0, len(lines))
                last = rng.randint(first, len(lines))
                new = [text() for _ in range(rng.randint(0, 4))]
                nvim.call("nvim_buf_set_lines", 0, first, last, False, new)
        nvim.keys("<Esc>")
        if rng.random() < 0.5 or step == 149:
            told(nvim, peer, path)
        if len(nvim.lines()) > 500:
            nvim.command("silent! 20,$d")
    assert peer.violations == []
    assert len(peer.parameters("document/open")) == 1
    changes = peer.parameters("document/change")
    whole = [change for params in changes for change in params["changes"] if "range" not in change]
    assert len(whole) < len(changes) / 4, "most changes are incremental"


def test_bytes_that_no_text_has(nvim: Neovim, peer: ScriptedPeer, tmp_path: Path) -> None:
    """NUL, invalid UTF-8 and lone carriage returns: the daemon's lines and columns stay the buffer's."""
    path = tmp_path / "odd.py"
    path.write_bytes(b"a\x00b\n\xff\xfeoo = 1\nx\ry\r\nlast")
    nvim.command(f"edit ++enc=utf-8 ++bad=keep ++ff=unix {path}")
    peer.wait("document/open", 2)
    poll(lambda: peer.text(path) == "a\0b\n\udcff\udcfeoo = 1\nx y \nlast\n", f"text {peer.text(path)!r}")
    nvim.keys("GAed")
    poll(lambda: (peer.text(path) or "").endswith("\nlasted\n"), "the change is in its line")
    params = peer.wait("complete")
    assert params["position"] == {"line": 3, "column": 6}


def test_positions_are_bytes(nvim: Neovim, peer: ScriptedPeer) -> None:
    answer(peer, "b")
    nvim.keys("i日本🙂a")
    nvim.wait_ghost("b")
    assert peer.parameters("complete")[-1]["position"] == {"line": 0, "column": 11}
    nvim.keys("<Tab>")
    nvim.wait_lines(["日本🙂ab"])


def test_reload_rename_unload(nvim: Neovim, peer: ScriptedPeer, tmp_path: Path) -> None:
    path, other = tmp_path / "a.py", tmp_path / "b.lua"
    nvim.keys("ix<Esc>")
    told(nvim, peer, path)
    path.write_text("from outside\n")
    nvim.command("edit!")
    poll(lambda: peer.text(path) == "from outside\n", "reloaded")
    path.write_text("changed again\nby another\n")
    nvim.command("set autoread")
    nvim.command("checktime")
    poll(lambda: peer.text(path) == "changed again\nby another\n", "autoread")
    nvim.keys("ggdd")
    told(nvim, peer, path)
    nvim.command(f"saveas {other}")
    nvim.command("filetype on")
    nvim.command("set filetype=lua")
    poll(lambda: peer.parameters("document/open")[-1]["language"] == "lua", "opened as Lua")
    told(nvim, peer, other)
    assert peer.text(path) is None
    nvim.command("enew!")
    nvim.command(f"bwipeout {other}")
    poll(lambda: peer.text(other) is None, "closed")


def test_what_never_leaves_the_editor(nvim: Neovim, peer: ScriptedPeer, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "big.py").write_text("x = 1\n" * 400_000)
    (tmp_path / ".env").write_text("KEY=1\n")
    (tmp_path / "innocent.txt").symlink_to(tmp_path / ".env")
    never = {
        ".env": "secret", ".env.local": "secret", "server.pem": "secret", "id_ed25519": "secret",
        ".ssh/config": "secret", "innocent.txt": "secret", "big.py": "larger than",
    }  # fmt: skip
    for name, why in never.items():
        nvim.edit(tmp_path / name)
        nvim.keys("ix<Esc>")
        assert why in nvim.status(), name
    nvim.command("enew")
    assert "not a file" in nvim.status()
    nvim.command("help")
    assert "not a file" in nvim.status()
    nvim.command("edit fake://host/a.py")
    nvim.edit(tmp_path / "COMMIT_EDITMSG")
    nvim.command("set filetype=gitcommit")
    assert 'filetype "gitcommit" is off' in nvim.status()
    assert peer.text(tmp_path / "COMMIT_EDITMSG") is None
    opened = {Path(params["path"]).name for params in peer.parameters("document/open")}
    assert opened == {"a.py"}
    assert {Path(params["path"]).name for params in peer.parameters("complete")} <= opened


def test_a_buffer_that_grows_too_large_is_closed(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path
) -> None:
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False, max_file_bytes=1000)
    nvim.edit(tmp_path / "a.py")
    peer.wait("document/open")
    nvim.call("nvim_buf_set_lines", 0, 0, -1, False, ["x" * 2000])
    peer.wait("document/close")
    assert "larger than 1000 bytes" in nvim.status()


def test_disable_sends_nothing_and_enable_goes_on(nvim: Neovim, peer: ScriptedPeer, tmp_path: Path) -> None:
    answer(peer, "eturn")
    nvim.command("MccomdDisable")
    assert nvim.lua('require("mccomd").statusline()') == "mccomd off"
    count = len(peer.received)
    nvim.keys("ihidden<Esc>")
    nvim.wait_lines(["hidden"])
    assert len(peer.received) == count
    nvim.command("MccomdToggle")
    peer.wait("document/open", 2)
    told(nvim, peer, tmp_path / "a.py")
    nvim.keys("ccr")
    nvim.wait_ghost("eturn")
    assert nvim.lua('require("mccomd").statusline()') == "mccomd local 1 ms"


def test_auto_off_asks_on_the_key_only(
    editors: Callable[..., Neovim], peer: ScriptedPeer, tmp_path: Path
) -> None:
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False, auto=False)
    nvim.edit(tmp_path / "a.py")
    answer(peer, "eturn")
    nvim.keys("ir")
    told(nvim, peer, tmp_path / "a.py")
    settle(nvim, peer)
    assert peer.parameters("complete") == []
    nvim.keys("<M-Bslash>")
    nvim.wait_ghost("eturn")


def test_unknown_options_are_named(editors: Callable[..., Neovim], peer: ScriptedPeer) -> None:
    nvim = editors()
    nvim.setup(socket=str(peer.path), start=False, debounce=3, keys={"acept": "<Tab>"})
    text = "\n".join(nvim.notified())
    assert '"debounce"' in text
    assert '"keys.acept"' in text


def test_without_the_command_line_it_says_so_once(editors: Callable[..., Neovim], tmp_path: Path) -> None:
    nvim = editors({"MCCOMD_SOCKET": ""})
    nvim.setup(command=["no-such-mccomd"])
    nvim.wait("_G.notified[1] or ''", lambda text: "is mccomd installed" in text)
    nvim.edit(tmp_path / "a.py")
    nvim.keys("ix<Esc>")
    assert "given up" in nvim.status()
    assert len(nvim.notified()) == 1


def test_a_daemon_that_does_not_start_is_told_with_its_words(
    editors: Callable[..., Neovim], tmp_path: Path
) -> None:
    tool = tmp_path / "mccomd"
    tool.write_text('#!/bin/sh\nif [ "$1" = start ]; then echo "no model here: run setup" >&2; exit 1; fi\n')
    tool.chmod(0o755)
    nvim = editors()
    nvim.setup(command=[str(tool)], socket=str(tmp_path / "nobody.sock"))
    nvim.wait("_G.notified[1] or ''", lambda text: "no model here: run setup" in text)
    poll(lambda: "not connected; trying again" in nvim.status(), "it keeps trying")


def test_the_status_window(nvim: Neovim, peer: ScriptedPeer) -> None:
    nvim.command("MccomdStatus")
    nvim.wait("#vim.api.nvim_list_wins()", 2)
    assert any("connection  connected" in row for row in nvim.screen())
    nvim.keys("q")
    nvim.wait("#vim.api.nvim_list_wins()", 1)
