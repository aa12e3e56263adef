"""A plugin that fails is a state that the user can read; the completion goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mccomd.hooks import CloudRequest, Evidence
from mccomd.outgoing import CloudAccess
from mccomd.plugins import BUILT_IN, MAX_OVERRUNS, PluginOptions, Plugins
from mccomd.testing import FakeTransport
from mccomd.types import Query, Snippet

from .conftest import Daemon, environment, put_plugin

ROOT = Path(__file__).parent.parent
QUERY = Query("/p/a.py", "a.py", "/p", "python", "x = ", "", 4)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a one-module distribution with an entry point on the path of this process."""

    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda name, source: put_plugin(tmp_path, name, source)
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


def load(*enabled: str, disabled: tuple[str, ...] = ()) -> Plugins:
    def search(repository: str, text: str, limit: int, *, without: str = "") -> list[Snippet]:
        return [Snippet("b.py", 1, 2, text, 1.0, "c0ffee", "bm25")]

    return Plugins(PluginOptions(enabled, disabled), search)


def state_of(plugins: Plugins, name: str) -> tuple[str, str]:
    row = next(row for row in plugins.status() if row.name == name)
    return row.state, row.reason


RETRIEVER = """
from mccomd.hooks import hookimpl
from mccomd.types import Snippet

class Part:
    name = "part"
    def retrieve(self, query):
        {body}

@hookimpl
def mccomd_retrievers(context):
    return [Part()]
"""
ROUTER = """
from mccomd.hooks import Decision, hookimpl

class Part:
    name = "part"
    def decide(self, evidence):
        {body}

@hookimpl
def mccomd_routers(context):
    return [Part()]
"""


def test_the_built_in_parts_come_by_the_same_door() -> None:
    rows = {row.name: (row.kind, row.state) for row in load().status()}
    assert rows["bm25"] == ("retriever", "loaded")
    assert rows["confidence"] == ("router", "loaded")
    assert set(BUILT_IN) <= set(rows)


def test_a_third_party_runs_only_when_switched_on(install: Callable[[str, str], None]) -> None:
    install("mine", RETRIEVER.format(body="return []"))
    assert state_of(load(), "mine") == (
        "off",
        'not switched on: add "mine" to plugins.enabled of the config',
    )
    assert state_of(load("mine"), "part")[0] == "loaded"


def test_a_built_in_can_be_switched_off() -> None:
    assert state_of(load(disabled=("bm25",)), "bm25") == ("off", "in plugins.disabled of the config")


def test_a_name_that_nobody_installed_is_shown() -> None:
    assert state_of(load("typo"), "typo")[0] == "failed"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("this is no python", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        (RETRIEVER.format(body="pass").replace("[Part()]", "[object()]"), "is no Retriever"),
        (RETRIEVER.format(body="pass").replace("[Part()]", "1 / 0"), "ZeroDivisionError"),
        (
            RETRIEVER.format(body="pass").replace("mccomd_retrievers", "mccomd_retreivers"),
            "mccomd_retreivers",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded(
    install: Callable[[str, str], None], source: str, reason: str
) -> None:
    install("broken", source)
    state, why = state_of(load("broken"), "broken")
    assert state == "failed"
    assert reason in why


@pytest.mark.parametrize(
    ("body", "reason"),
    [("1 / 0", "ZeroDivisionError"), ("return ['text']", "want Snippet"), ("return None", "TypeError")],
)
def test_a_retriever_that_raises_is_switched_off(
    install: Callable[[str, str], None], body: str, reason: str
) -> None:
    install("bad", RETRIEVER.format(body=body))
    plugins = load("bad")

    async def twice() -> list[list[Snippet]]:
        return [await plugins.retrieve(QUERY, 1.0) for _ in range(2)]

    found = asyncio.run(twice())
    assert [[s.source for s in snippets] for snippets in found] == [["bm25"], ["bm25"]]
    state, why = state_of(plugins, "part")
    assert state == "failed"
    assert reason in why


def test_a_retriever_that_hangs_costs_its_budget_and_is_switched_off(
    install: Callable[[str, str], None],
) -> None:
    install("slow", RETRIEVER.format(body="import plugin_gate; plugin_gate.gate.wait(); return []"))
    gate = threading.Event()
    sys.modules["plugin_gate"] = type(sys)("plugin_gate")
    sys.modules["plugin_gate"].gate = gate  # type: ignore[attr-defined]
    plugins = load("slow")

    async def many() -> float:
        began = time.monotonic()
        for _ in range(MAX_OVERRUNS):
            assert [s.source for s in await plugins.retrieve(QUERY, 0.02)] == ["bm25"]
            gate.set()  # let it end, so that it is asked again
            while plugins.busy("part"):  # noqa: ASYNC110 - the lane tells nobody but its waiter
                await asyncio.sleep(0)
            gate.clear()
        return time.monotonic() - began

    assert asyncio.run(many()) < 5
    assert state_of(plugins, "part")[0] == "off"
    gate.set()


@pytest.mark.parametrize("body", ["1 / 0", "return True"])
def test_a_router_that_fails_means_local(install: Callable[[str, str], None], body: str) -> None:
    install("router", ROUTER.format(body=body))
    plugins = load("router")
    evidence = Evidence((0.1,), "x", "python", "", "", None)
    assert not plugins.decide("part", evidence).escalate
    assert state_of(plugins, "part")[0] == "failed"


def example_of(hook: str) -> str:
    """The Python block below the heading of a hook in plugins/README.md."""
    page = (ROOT / "plugins" / "README.md").read_text()
    return page.split(f"## {hook}:")[1].split("```python\n")[1].split("```")[0]


def test_the_documented_retriever(install: Callable[[str, str], None]) -> None:
    install("glossary", example_of("mccomd_retrievers"))
    options = PluginOptions(("glossary",), ("bm25",), {"glossary": {"words": {"x": "x is the unknown"}}})
    found = asyncio.run(Plugins(options, lambda repository, text, limit, without="": ()).retrieve(QUERY, 5.0))
    assert [s.text for s in found] == ["x is the unknown"]


def test_the_documented_router(install: Callable[[str, str], None]) -> None:
    install("tests", example_of("mccomd_routers"))
    plugins = load("tests")
    in_test = Evidence((0.1,), "x", "python", "def test_a():\n    ", "", None)
    outside = Evidence((0.1,), "x", "python", "def a():\n    ", "", None)
    assert not plugins.decide("never-in-tests", in_test).escalate
    assert plugins.decide("never-in-tests", outside).escalate


def test_the_documented_backend(install: Callable[[str, str], None]) -> None:
    install("simple", example_of("mccomd_backends"))
    options = PluginOptions(("simple",))
    wire = FakeTransport([b'{"text": "one two"}'])
    cloud = CloudAccess("simple", wire, wire.endpoint("https://api.example"))
    backend = Plugins(options, lambda *args, **more: (), cloud).backend("simple")
    assert backend is not None

    async def all_of() -> str:
        asked = CloudRequest("x = ", "", "python", "a.py", (), "", 9, time.monotonic() + 5)
        return "".join([piece async for piece in backend.stream(asked)])

    assert asyncio.run(all_of()) == "one two"
    assert wire.calls[0].url == "https://api.example/fill"
    assert wire.calls[0].body == {"before": "x = ", "after": "", "most": 9}
    assert load("simple").backend("simple") is None  # without a transport there is no such part


def test_the_documented_tests(tmp_path: Path) -> None:
    """The page's own test file, in pytest, against the page's own module."""
    page = (ROOT / "plugins" / "README.md").read_text()
    examples = [example_of(f"mccomd_{kind}") for kind in ("retrievers", "routers", "backends")]
    (tmp_path / "my_module.py").write_text("\n".join(examples))
    tests = page.split("## Test it")[1].split("```python\n")[1].split("```")[0]
    (tmp_path / "test_my_module.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


DISTRIBUTIONS = {"neighbours": "retriever", "recent": "retriever", "logistic": "router"}


def test_the_distributions_of_plugins_in_a_fresh_environment(tmp_path: Path) -> None:
    """Install them as a user would, switch them on, and let each do its work in a real daemon."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    ours = "\n".join(
        path for path in sys.path if path and Path(path).is_dir() and "plugins/mccomd-" not in path
    )
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "mccomd-under-test.pth").write_text(ours)  # mccomd and its dependencies, as they are here
    folders = sorted(str(path.parent) for path in (ROOT / "plugins").glob("mccomd-*/pyproject.toml"))
    assert len(folders) == len(DISTRIBUTIONS)
    _run(
        python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", *folders
    )
    home = tmp_path / "home"
    env = environment(home)
    rows = _plugins(python, env)
    assert [rows[name]["state"] for name in DISTRIBUTIONS] == ["off"] * 3
    _run(python, "-m", "mccomd", "stop", env=env)
    (home / "config" / "mccomd").mkdir(parents=True)
    (home / "config" / "mccomd" / "config.toml").write_text(
        f'[plugins]\nenabled = {json.dumps(list(DISTRIBUTIONS))}\n[router]\nname = "logistic"\n'
    )
    rows = _plugins(python, env)
    assert {name: (rows[name]["kind"], rows[name]["state"]) for name in DISTRIBUTIONS} == {
        name: (kind, "loaded") for name, kind in DISTRIBUTIONS.items()
    }
    try:
        _check_distributions(Daemon(Path(env["XDG_RUNTIME_DIR"], "mccomd", "mccomd.sock"), env, None, home))  # type: ignore[arg-type]
    finally:
        _run(python, "-m", "mccomd", "stop", env=env)


def _check_distributions(daemon: Daemon) -> None:
    """Unsaved text beside the edited file, an edit far from any of its words, and a router's reason."""
    unsaved = "\n".join(f"def transmogrify_{n}(gizmo, widget):\n    return gizmo + widget" for n in range(20))
    ask = {
        "path": "/w/now.py",
        "deadline_ms": 60_000,
        "text": "def transmogrify_21(gizmo, widget):\n    return ",
    }
    with daemon.client() as client:
        client.call("document/open", {"path": "/w/unsaved.py", "text": unsaved, "version": 1})
        client.call("document/open", {"path": "/w/other.py", "text": "first = 1\nsecond = 2\n", "version": 1})
        answer = client.call("complete", {**ask, "position": {"line": 1, "column": 11}}, timeout_s=90)
        assert [(s["source"], s["path"], s["commit"]) for s in answer["snippets"]] == [
            ("neighbours", "/w/unsaved.py", "")
        ]
        change = {
            "range": {"start": {"line": 1, "column": 0}, "end": {"line": 1, "column": 6}},
            "text": "third",
        }
        client.call("document/change", {"path": "/w/other.py", "version": 2, "changes": [change]})
        far = "\n" * 50 + ask["text"]
        answer = client.call(
            "complete", {**ask, "text": far, "position": {"line": 51, "column": 11}}, timeout_s=90
        )
        assert ("recent", "/w/other.py") in [(s["source"], s["path"]) for s in answer["snippets"]]
        assert "confidence" in answer["route"]
        assert "learnt" in answer["route"] or "history" in answer["route"] or "judged" in answer["route"]


def _plugins(python: Path, env: dict[str, str]) -> dict[str, dict[str, str]]:
    lines = _run(python, "-m", "mccomd", "plugins", "--json", env=env).splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


def _run(python: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([python, *arguments], env=env, capture_output=True, text=True, timeout=170, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout
