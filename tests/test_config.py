"""mccomd.config: the user's file, a repository's file, and what is said about mistakes in them."""

from __future__ import annotations

import os
import string
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.config import (
    CompletionConfig,
    Config,
    ConfigFile,
    IndexConfig,
    ModelConfig,
    PluginsConfig,
    RepositoryConfig,
    RouterConfig,
    load,
    load_repository,
    origins,
    render,
)
from mccomd.config.reader import MAX_REPOSITORY_FILE_KB, MAX_REPOSITORY_PROBLEMS
from mccomd.config.schema import SECTIONS
from mccomd.errors import ConfigError


def write(folder: Path, text: str | bytes, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def check_problems(folder: Path, text: str | bytes, *expected: str) -> None:
    """expected: each problem, in order, without the file's name."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in found)
    assert [line.removeprefix(str(path)).lstrip(":") for line in found] == list(expected)


# --- valid files ----------------------------------------------------------------------------------------


def test_missing_and_empty_files_are_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Config()
    assert load(tmp_path / "no folder" / "none.toml") == Config()
    assert load(write(tmp_path, "")) == Config()
    assert load(write(tmp_path, "# nothing\n")) == Config()


def test_every_table(tmp_path: Path) -> None:
    text = """
    [model]
    folder = "~/models/mine"
    threads = 2
    [completion]
    deadline_ms = 800
    multi_line = false
    [router]
    threshold = 1  # a whole number is a number
    [cloud]
    backend = "mistral"
    [index]
    ignore = ["*.min.js", "vendor/"]
    languages = ["python", "lua"]
    [plugins]
    enabled = ["mistral"]
    [plugins.options.mistral]
    region = "eu"
    limits = { day = 3 }
    [log]
    level = "debug"
    """
    config = load(write(tmp_path, text))
    assert config.model == ModelConfig(folder="~/models/mine", threads=2)
    assert config.completion == CompletionConfig(deadline_ms=800, multi_line=False)
    assert config.router == RouterConfig(threshold=1)
    assert config.cloud.backend == "mistral"
    assert config.index == IndexConfig(ignore=("*.min.js", "vendor/"), languages=("python", "lua"))
    assert config.plugins.enabled == ("mistral",)
    assert config.plugins.options == {"mistral": {"region": "eu", "limits": {"day": 3}}}
    assert config.log.level == "debug"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    config = load(write(tmp_path, b"\xef\xbb\xbf[model]\r\nthreads = 3\r\n"))
    assert config.model.threads == 3
    assert config.written_at["model.threads"].endswith(":2")


def test_a_link_to_the_users_file_is_followed(tmp_path: Path) -> None:
    write(tmp_path, "[model]\nthreads = 3\n", "dotfiles.toml")
    (tmp_path / "config.toml").symlink_to("dotfiles.toml")
    assert load(tmp_path / "config.toml").model.threads == 3


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[completion]\ndeadlne_ms = 5\n",
            "2: key 'completion.deadlne_ms' is unknown; did you mean 'deadline_ms'?",
        ),
        ("[log]\nzzz = 5\n", "2: key 'log.zzz' is unknown; known are level"),
        ("\n[completon]\na = 5\n", "2: table 'completon' is unknown; did you mean 'completion'?"),
        (
            "x = 1\n",
            "1: key 'x' is unknown; known are " + ", ".join(SECTIONS),
        ),
        ("model = 'x'\n", '1: model is a text ("x"), a table [model] is expected'),
        (
            '[completion]\n\ndeadline_ms = "fast"\n',
            '3: completion.deadline_ms is a text ("fast"), a whole number is expected',
        ),
        ("[model]\nthreads = true\n", "2: model.threads is true, a whole number is expected"),
        ("[model]\nthreads = 1.5\n", "2: model.threads is 1.5, a whole number is expected"),
        ("[model]\nname = 3\n", "2: model.name is 3, a text is expected"),
        ("[index]\nenabled = 1\n", "2: index.enabled is 1, true or false is expected"),
        ("[index]\nignore = 'a'\n", '2: index.ignore is a text ("a"), a list of texts is expected'),
        ("[index]\nignore = [1]\n", "2: index.ignore is a list of other things, a list of texts is expected"),
        ("[router]\nthreshold = true\n", "2: router.threshold is true, a number is expected"),
        ("[router]\nthreshold = nan\n", "2: router.threshold is nan, 0 to 1 (probability) is expected"),
        ("[router]\nthreshold = 45\n", "2: router.threshold is 45, 0 to 1 (probability) is expected"),
        (
            "[completion]\ndeadline_ms = 5\n",
            "2: completion.deadline_ms is 5, 50 to 60000 (milliseconds) is expected",
        ),
        (
            "[log]\nlevel = 'loud'\n",
            '2: log.level is a text ("loud"), one of debug, info, warning, error is expected',
        ),
        (
            "[index]\nlanguages = ['pyton']\n",
            "2: index.languages names a text (\"pyton\"), which mccomd does not know; did you mean 'python'?",
        ),
        (
            "[model]\nfolder = 'here'\n",
            '2: model.folder is a text ("here"), an absolute path or one from ~ is expected',
        ),
        (
            "[plugins]\nenabled = ['a']\ndisabled = ['a']\n",
            "3: 'a' is in plugins.enabled too",
        ),
        (
            "[plugins]\noptions = 3\n",
            "2: plugins.options is 3, a table [plugins.options.NAME] for each plugin is expected",
        ),
        (
            "[plugins.options]\nx = 2020-01-01\n",
            "2: plugins.options.x is a date or time, a table [plugins.options.x] is expected",
        ),
        (
            "[completion]\nretrieve_ms = 900\ndeadline_ms = 800\n",
            "2: completion.retrieve_ms is 900, at most completion.deadline_ms (800) is expected",
        ),
        ("[model]\nthreads = = 2\n", "2: not valid TOML: Invalid value, column 11"),
        ("[model]\n[model]\n", "2: not valid TOML: Cannot declare ('model',) twice, column 7"),
        ("a = [1,\n", "2: not valid TOML: Invalid value"),
        (b"[model]\nname = '\xff'\n", "2: byte 0xff is not UTF-8"),
        (b"\x7fELF\0\0", " is not a text file"),
        ("a = " + "[" * 5000, "1: not valid TOML: nested too deeply"),
        ("a." * 60_000 + "b = 1", "1: not valid here: a key of more than 16 parts"),
        ("a = " + "9" * 5000, None),
        ("#" * 1_048_577, " has 1048577 bytes, at most 1048576 are expected"),
    ],
)
def test_one_problem(tmp_path: Path, text: str | bytes, expected: str | None) -> None:
    start = time.perf_counter()
    if expected is None:
        with pytest.raises(ConfigError):
            load(write(tmp_path, text))
    else:
        check_problems(tmp_path, text, expected)
    assert time.perf_counter() - start < 5  # a hostile file took 13 s before keys had a limit


def test_every_problem_is_listed(tmp_path: Path) -> None:
    check_problems(
        tmp_path,
        "[model]\nthreads = 'x'\n[router]\nname = 1\nthreshhold = 0.5\n[foo]\n",
        '2: model.threads is a text ("x"), a whole number is expected',
        "4: router.name is 1, a text is expected",
        "5: key 'router.threshhold' is unknown; did you mean 'threshold'?",
        "6: table 'foo' is unknown; known are " + ", ".join(SECTIONS),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model.threads = 'x'", 1),
        ("\n\n  model . \"threads\"  = 'x'", 3),
        ("[ model ]  # a\n'threads' = 'x'", 2),
        ('["model"]\n"thre\\u0061ds" = "x"', 2),
        ("model = { name = 'a',  threads = 'x' }", 1),
        ("[model]\nname = '''\nthreads = 1\n[router]\n'''\nthreads = 'x'", 6),
        ('[model]\nname = """\n\\"""\n""""\nthreads = \'x\'', 5),
        ("[index]\nignore = [\n  'threads = 1', # ]\n  '[model]',\n]\n[model]\nthreads = 'x'", 7),
        ("[model]\nname = 'it # is'\n\n# threads = 3\nthreads = 'x'", 5),
    ],
)
def test_lines_are_right(tmp_path: Path, text: str, line: int) -> None:
    check_problems(tmp_path, text, f'{line}: model.threads is a text ("x"), a whole number is expected')


def test_terminal_escapes_in_a_file_are_not_printed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, '"\\u001b[2J\\u202e" = 1\n[model]\nname = 3\nfolder = "\\u001b[2J"\n'))
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "pipe", "unreadable"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("config.toml")  # a link to itself: readable to nobody, not even to root
    with pytest.raises(ConfigError, match=r"is not a file|cannot be read"):
        load(path)


# --- where values come from, and back to text -----------------------------------------------------------


def test_origins(tmp_path: Path) -> None:
    path = write(tmp_path, "[model]\nthreads = 2\n[plugins.options.mistral]\nregion = 'eu'\n")
    found = origins(load(path))
    assert found["model.threads"] == f"{path}:2"
    assert found["model.name"] == "default"
    assert found["plugins.options.mistral.region"] == f"{path}:4"
    assert set(origins(Config()).values()) == {"default"}


def test_render_shows_every_key_with_its_meaning_and_origin(tmp_path: Path) -> None:
    path = write(tmp_path, "[completion]\ndeadline_ms = 900\n")
    text = render(load(path), with_origins=True)
    for key in origins(Config()):
        assert f"\n{key.split('.')[1]} = " in text
    assert f"deadline_ms = 900  # {path}:2\n" in text
    assert 'level = "info"  # default\n' in text
    assert "(milliseconds, 50 to 60000)" in text
    tomllib.loads(text)


TEXT = st.text(max_size=20).map(lambda text: text.encode("utf-8", "ignore").decode())
KEY = st.one_of(st.text(string.ascii_lowercase, min_size=1, max_size=5), TEXT)
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        TEXT,
        st.datetimes().map(lambda moment: moment.replace(fold=0)),
        st.dates(),
        st.times(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=3)),
    max_leaves=8,
)
CONFIG = st.builds(
    Config,
    model=st.builds(ModelConfig, name=TEXT, threads=st.integers(0, 256)),
    router=st.builds(RouterConfig, name=TEXT, threshold=st.floats(0, 1)),
    index=st.builds(IndexConfig, enabled=st.booleans(), ignore=st.lists(TEXT, max_size=3).map(tuple)),
    plugins=st.builds(
        PluginsConfig,
        enabled=st.lists(TEXT, max_size=3).map(tuple),
        options=st.dictionaries(KEY, st.dictionaries(KEY, VALUE, max_size=3), max_size=3),
    ),
)


@given(CONFIG)
def test_rendered_config_loads_back(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = tmp_path_factory.getbasetemp() / "rendered.toml"
    path.write_text(render(config), encoding="utf-8", newline="")
    assert load(path) == config


@given(st.text(alphabet="[]{}=\"'#\n., abx1-_\\", max_size=60))
def test_any_text_loads_or_is_explained(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", newline="")
    problem = ""
    try:
        load(path)
    except ConfigError as error:
        problem = str(error)
    assert all(line.startswith(str(path)) for line in problem.splitlines())


# --- reload ---------------------------------------------------------------------------------------------


def test_reload(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    file = ConfigFile(path)
    assert file.current == Config()
    assert not file.reload_if_changed()

    write(tmp_path, "[model]\nthreads = 2\n")
    assert file.reload_if_changed()
    assert file.current.model.threads == 2
    assert not file.reload_if_changed()

    write(tmp_path, "[model]\nthreads = 'many'\n")
    assert file.reload_if_changed()
    assert file.current.model.threads == 2, "an invalid text changes nothing"
    assert "config.toml:2: model.threads" in file.problem
    assert not file.reload_if_changed()

    write(tmp_path, "[model]\nthreads = 4 \n")
    assert file.reload_if_changed()
    assert file.problem == ""
    assert file.current.model.threads == 4

    path.unlink()
    assert file.reload_if_changed()
    assert file.current == Config()


def test_reload_sees_a_file_put_in_place_with_the_same_size_and_time(tmp_path: Path) -> None:
    path = write(tmp_path, "[model]\nthreads = 2\n")
    file = ConfigFile(path)
    before = path.stat()
    other = write(tmp_path, "[model]\nthreads = 3\n", "other.toml")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert file.reload_if_changed()
    assert file.current.model.threads == 3


def test_invalid_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threads"):
        ConfigFile(write(tmp_path, "[model]\nthreads = 'many'\n"))


# --- a repository's file --------------------------------------------------------------------------------


def check_repository(folder: Path, text: str | bytes, expected: RepositoryConfig) -> None:
    """expected.problems: without the file's name."""
    path = write(folder, text, ".mccomd.toml")
    found = load_repository(path)
    problems = tuple(problem.removeprefix(str(path)).lstrip(":") for problem in found.problems)
    assert replace(found, problems=problems) == expected


def test_repository_may_set_little(tmp_path: Path) -> None:
    assert load_repository(tmp_path / ".mccomd.toml") == RepositoryConfig()
    check_repository(
        tmp_path,
        "[index]\nignore = ['gen/']\nlanguages = ['go']\nmax_file_kb = 64\n",
        RepositoryConfig(("gen/",), ("go",), 64),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[cloud]\nbackend = 'evil'\n", ("2: a repository may not set 'cloud.backend'",)),
        (
            "[cloud]\nurl = 'https://evil.example'\nkey = 'env:K'\n",
            ("2: a repository may not set 'cloud.url'", "3: a repository may not set 'cloud.key'"),
        ),
        ("cloud.backend = 'evil'\n", ("1: a repository may not set 'cloud.backend'",)),
        (
            "[plugins]\nenabled = ['evil']\n[plugins.options.bm25]\na = 1\n",
            (
                "2: a repository may not set 'plugins.enabled'",
                "3: a repository may not set 'plugins.options'",
            ),
        ),
        ("[model]\nfolder = '/evil'\n", ("2: a repository may not set 'model.folder'",)),
        ("[index]\nenabled = false\n", ("2: a repository may not set 'index.enabled'",)),
        ("index = 3\n", ("1: a repository may not set 'index'",)),
        ("[index]\nignore = ['!.env']\n", ("2: a repository may not bring back '!.env'",)),
        ("[index]\nlanguages = 3\n", ("2: index.languages is 3, a list of texts is expected",)),
        ("[index]\nmax_file_kb = 0\n", ("2: index.max_file_kb is 0, 1 to 65536 (kilobytes) is expected",)),
        ("[index\n", ("1: not valid TOML: Expected ']' at the end of a table declaration, column 7",)),
        ("[index]\nignore = " + "[" * 20_000, ("1: not valid TOML: nested too deeply",)),
        ("[" + "a." * 20_000 + "b]", ("1: not valid here: a key of more than 16 parts",)),
        ("#" * 100_000, (" has 100000 bytes, at most 65536 are expected",)),
        (b"\0", (" is not a text file",)),
    ],
)
def test_repository_problems(tmp_path: Path, text: str | bytes, expected: tuple[str, ...]) -> None:
    check_repository(tmp_path, text, RepositoryConfig(problems=expected))


def test_repository_limits(tmp_path: Path) -> None:
    check_repository(
        tmp_path,
        "[index]\nmax_file_kb = 50000\n",
        RepositoryConfig(
            max_file_kb=MAX_REPOSITORY_FILE_KB,
            problems=("2: a repository may ask for 4096 at most, not 50000",),
        ),
    )
    many = load_repository(write(tmp_path, f"[index]\nignore = {['a'] * 2000}\n"))
    assert len(many.ignore) == 1000
    assert len(many.problems) == 1
    wrong = load_repository(write(tmp_path, "".join(f"[t{n}]\n" for n in range(3000))))
    assert len(wrong.problems) == MAX_REPOSITORY_PROBLEMS + 1
    assert wrong.problems[-1].endswith("2980 problems more")


@pytest.mark.parametrize("kind", ["link", "link to nothing", "folder", "pipe", "huge"])
def test_repository_file_that_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".mccomd.toml"
    match kind:
        case "link":
            path.symlink_to(write(tmp_path, "[index]\nignore = ['a']\n"))
        case "link to nothing":
            path.symlink_to("nowhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "huge":
            path.touch()
            os.truncate(path, 200_000_000)
    found = load_repository(path)
    assert len(found.problems) == 1
    assert replace(found, problems=()) == RepositoryConfig()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "api.example.com/v1"', "https://HOST/PATH is expected"),
        ('url = "ftp://api.example.com"', "https://HOST/PATH is expected"),
        ('url = "https://"', "https://HOST/PATH is expected"),
        ('url = "https://h:99999/"', "cloud.url is no address"),
        ('url = "http://api.example.com/v1"', "unencrypted to api.example.com: https is expected"),
        ('url = "https://me:pw@example.com/v1"', "may hold no user, query or key"),
        ('url = "https://example.com/v1?key=abc"', "may hold no user, query or key"),
        ('key = "sk-abc"', "cloud.key is not the place of a key"),
        ('key = "env:"', "cloud.key is not the place of a key"),
        ('strategy = "guess"', "one of auto, plain, native, prime, verify"),
    ],
)
def test_a_wrong_endpoint(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(write(tmp_path, f"[cloud]\n{line}\n"))
    assert ":2: " in str(caught.value)
    assert "sk-abc" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/v1", "http://localhost:8080", "http://127.0.0.1:1", "http://10.1.2.3:8000/v1",
     "http://[::1]:8080", "http://gpu-box:8000", "http://gpu.lan/v1"],
)  # fmt: skip
def test_an_endpoint(tmp_path: Path, url: str) -> None:
    assert load(write(tmp_path, f'[cloud]\nurl = "{url}"\nkey = "env:K"\n')).cloud.url == url
