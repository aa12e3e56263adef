"""One key of the user's config changed, and every other byte left alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mccomd.config import load
from mccomd.config.edit import set_texts
from mccomd.errors import ConfigError


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[model]\nname = "coder"\n'),
        ("# mine\n", '# mine\n\n[model]\nname = "coder"\n'),
        ("[log]\nlevel = 'info'", "[log]\nlevel = 'info'\n\n[model]\nname = \"coder\"\n"),
        ("[model]\nthreads = 2 # few\n[log]\n", '[model]\nname = "coder"\nthreads = 2 # few\n[log]\n'),
        ('[model]\nname = "old"  # why\nthreads = 2\n', '[model]\nname = "coder"  # why\nthreads = 2\n'),
        ("[model]\n  name='a#b' # c\n", '[model]\n  name= "coder" # c\n'),
        ('model.name = "old"\n', 'model.name = "coder"\n'),
        ('[ "model" ] # t\n"name" = "x"\n', '[ "model" ] # t\n"name" = "coder"\n'),
        (
            '[plugins.options.model]\nname = "x"\n',
            '[plugins.options.model]\nname = "x"\n\n[model]\nname = "coder"\n',
        ),
        ("# [model]\nx = '''\n[model]\nname = \"a\"\n'''\n", None),
        ('[model]\r\nname = "a"\r\n', '[model]\r\nname = "coder"\r\n'),
    ],
)
def test_a_name_is_set(tmp_path: Path, before: str, after: str | None) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(before.encode())
    set_texts(path, "model", {"name": "coder"})
    if after is None:  # the text of a string is not the table
        after = before + '\n[model]\nname = "coder"\n'
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ('model = {name = "a"}\n', "is not written in a way that is changed here"),
        ('[model]\nname = """\na"""\n', "over several lines"),
        ("[model\n", "config.toml:1"),
        ("model = 3\n", "model is no table"),
        ("[[model]]\n", "model is no table"),
    ],
)
def test_what_is_left_alone(tmp_path: Path, before: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(before)
    with pytest.raises(ConfigError, match=message):
        set_texts(path, "model", {"name": "coder"})
    assert path.read_text() == before


@pytest.mark.parametrize("value", ['a"b', "a\\b", "tab\tline\nend", "größe 😀", "a # b", "\u202e", ""])
def test_any_text_is_written_as_it_is(tmp_path: Path, value: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[model]\nname = "x" # c\n')
    set_texts(path, "model", {"name": value})
    assert load(path).model.name == value
    assert path.read_text().endswith(" # c\n")


def test_the_mode_stays_and_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "home" / "config.toml"
    real.write_text("# kept\n")
    real.chmod(0o640)
    link.parent.mkdir()
    link.symlink_to(real)
    set_texts(link, "model", {"name": "coder", "folder": ""})
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_text() == '# kept\n\n[model]\nfolder = ""\nname = "coder"\n'
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_file_that_is_not_there_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    set_texts(path, "model", {"name": "coder"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
