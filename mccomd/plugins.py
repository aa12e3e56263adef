"""Entry points -> working parts; what fails becomes a state that the user can read.

A plugin is switched off, never fatal: when it cannot be imported, when a hook or a part of it raises, or
when a retriever overruns its time again and again. Knows no plugin by name but the two built in.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from mccomd import hooks
from mccomd.errors import PluginError
from mccomd.hooks import Backend, Decision, Evidence, Lookup, PluginContext, Retriever, Router, Search
from mccomd.lane import Lane
from mccomd.outgoing import CloudAccess
from mccomd.protocol import PluginStatus
from mccomd.types import Query, Snippet

__all__ = ["BUILT_IN", "GROUP", "PluginOptions", "Plugins"]

GROUP = "mccomd.plugins"
BUILT_IN = ("definitions", "bm25", "confidence", "completions", "mistral", "llamacpp", "ollama", "chat")
MAX_OVERRUNS = 5
"""A retriever late this many times in a row is switched off: it costs every completion its share of time."""

LOAD_S = 3.0
"""For a third-party plugin's import and hooks."""

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class PluginOptions:
    """What the user's config says of plugins."""

    enabled: Collection[str] = ()  # third-party ones that may run
    disabled: Collection[str] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def why_off(self, name: str) -> str:
        """Why a plugin is not to be loaded; "" when it is."""
        if name in self.disabled:
            return "in plugins.disabled of the config"
        if name not in BUILT_IN and name not in self.enabled:
            return f'not switched on: add "{name}" to plugins.enabled of the config'
        return ""


@dataclass
class _Plugin:
    """One entry point and what became of it."""

    name: str
    version: str
    state: str = "loaded"
    reason: str = ""
    parts: list[tuple[str, Any]] = field(default_factory=list)  # (kind, part)

    def fail(self, doing: str, error: BaseException) -> None:
        self.state = "failed"
        told = isinstance(error, PluginError)  # a reason for people, not a fault to be traced
        self.reason = f"{doing}: {'' if told else f'{type(error).__name__}: '}{error}"[:500]
        log.warning("plugin %s switched off: %s", self.name, self.reason, exc_info=None if told else error)


@dataclass
class _RetrieverSlot:
    plugin: _Plugin
    part: Retriever
    lane: Lane
    overruns: int = 0


class Plugins:
    """All plugins of this environment, loaded once."""

    def __init__(
        self,
        options: PluginOptions,
        search: Search,
        cloud: CloudAccess | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        cloud = cloud or CloudAccess()
        self._plugins = [_load_one(entry, options, search, cloud, lookup) for entry in _entry_points()]
        self._plugins += [
            _Plugin(name, "", "failed", "in plugins.enabled of the config, but no such plugin is installed")
            for name in options.enabled
            if name not in {plugin.name for plugin in self._plugins}
        ]
        self._retrievers = [
            _RetrieverSlot(plugin, part, Lane(f"retriever-{part.name}"))
            for plugin, part in self._parts("retriever")
        ]

    def status(self) -> list[PluginStatus]:
        """One row a part; one row for a plugin that has none."""
        rows = []
        for plugin in self._plugins:
            kinds = plugin.parts or [("plugin", plugin)]
            rows += [
                PluginStatus(
                    getattr(part, "name", plugin.name), kind, plugin.version, plugin.state, plugin.reason
                )
                for kind, part in kinds
            ]
        return rows

    async def retrieve(self, query: Query, budget_s: float) -> list[Snippet]:
        """The snippets of all retrievers that are back in time, in the order of the retrievers."""
        slots = [s for s in self._retrievers if s.plugin.state == "loaded" and s.lane.pending == 0]
        found = await asyncio.gather(*(self._ask(slot, query, budget_s) for slot in slots))
        return [snippet for snippets in found for snippet in snippets]

    def busy(self, retriever: str) -> bool:
        """Whether a retriever is still at work on an earlier query."""
        return any(slot.lane.pending > 0 for slot in self._retrievers if slot.part.name == retriever)

    def give_up(self, name: str, probabilities: Sequence[float]) -> bool:
        """Whether the router `name` would not have the local answer finished; False by default."""
        for plugin, part in self._parts("router"):
            opinion = getattr(part, "give_up", None)
            if part.name != name or plugin.state != "loaded" or opinion is None:
                continue
            try:
                return bool(_contained(opinion, tuple(probabilities)))
            except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
                plugin.fail("give_up()", error)
        return False

    def set_threshold(self, name: str, threshold: float) -> None:
        """Tell the router `name`, if it wants to know."""
        for plugin, part in self._parts("router"):
            tell = getattr(part, "set_threshold", None)
            if part.name != name or plugin.state != "loaded" or tell is None:
                continue
            try:
                _contained(tell, threshold)
            except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
                plugin.fail("set_threshold()", error)

    def decide(self, name: str, evidence: Evidence) -> Decision:
        """The decision of the router `name`; local when there is none or it fails."""
        for plugin, part in self._parts("router"):
            if part.name != name or plugin.state != "loaded":
                continue
            try:
                decision = _contained(part.decide, evidence)
                if not isinstance(decision, Decision):
                    raise TypeError(f"decide() returned {type(decision).__name__}, want Decision")
                return decision
            except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
                plugin.fail("decide()", error)
        return Decision(False, evidence.confidence, f"router {name!r} is not at work: see `mccomd plugins`")

    def backend(self, name: str) -> Backend | None:
        """The backend `name`, None when it is not at work."""
        for plugin, part in self._parts("backend"):
            if part.name == name and plugin.state == "loaded":
                return part  # type: ignore[no-any-return]
        return None

    def fail_backend(self, name: str, error: BaseException) -> None:
        """Record that a backend broke its contract."""
        for plugin, part in self._parts("backend"):
            if part.name == name:
                plugin.fail("stream()", error)

    def close(self) -> None:
        for slot in self._retrievers:
            slot.lane.close()

    def _parts(self, kind: str) -> list[tuple[_Plugin, Any]]:
        return [(plugin, part) for plugin in self._plugins for k, part in plugin.parts if k == kind]

    async def _ask(self, slot: _RetrieverSlot, query: Query, budget_s: float) -> list[Snippet]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(budget_s):
                found = await slot.lane.run(_retrieve, slot.part, query)
        except TimeoutError:
            self._overrun(slot, time.monotonic() - started)
            return []
        except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
            slot.plugin.fail("retrieve()", error)
            return []
        slot.overruns = 0
        return found

    def _overrun(self, slot: _RetrieverSlot, seconds: float) -> None:
        slot.overruns += 1
        log.info("retriever %s overran its time (%.0f ms)", slot.part.name, seconds * 1000)
        if slot.overruns >= MAX_OVERRUNS and slot.plugin.name not in BUILT_IN:
            slot.plugin.state = "off"
            slot.plugin.reason = f"late {MAX_OVERRUNS} times in a row (budget {seconds * 1000:.0f} ms)"
            log.warning("plugin %s switched off: %s", slot.plugin.name, slot.plugin.reason)


def _contained(call: Callable[..., T], *arguments: Any) -> T:
    """What a plugin's function returns; what it raises is an error of the usual kind.

    A SystemExit would end the event loop, a CancelledError would pass for ours, a StopIteration cannot be
    handed from one thread to another.
    """
    try:
        return call(*arguments)
    except StopIteration as error:
        raise PluginError(f"{type(error).__name__}: {error}") from error
    except Exception:
        raise
    except BaseException as error:
        raise PluginError(f"{type(error).__name__}: {error}") from error


def _retrieve(part: Retriever, query: Query) -> list[Snippet]:
    found = _contained(lambda: list(part.retrieve(query)))
    for snippet in found:
        if not isinstance(snippet, Snippet):
            raise TypeError(f"retrieve() returned a {type(snippet).__name__}, want Snippet")
    return found[: query.limit]


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Built-ins first, then by name; the first of two entry points of one name wins."""
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(entry.name, entry)
    order = {name: number for number, name in enumerate(BUILT_IN)}
    return sorted(found.values(), key=lambda e: (order.get(e.name, len(order)), e.name))


def _load_one(
    entry: importlib.metadata.EntryPoint,
    options: PluginOptions,
    search: Search,
    cloud: CloudAccess,
    lookup: Lookup | None,
) -> _Plugin:
    plugin = _Plugin(entry.name, entry.dist.version if entry.dist else "")
    plugin.reason = options.why_off(entry.name)
    if plugin.reason:
        plugin.state = "off"
        return plugin
    try:
        chosen = cloud.backend == entry.name or entry.name not in BUILT_IN
        context = PluginContext(
            dict(options.options.get(entry.name, {})),
            search,
            cloud.transport if chosen else None,
            cloud.endpoint if chosen else None,
            cloud.cache_dir,
            lookup,
        )
        load = functools.partial(_contained, lambda: _parts_of(entry.load(), context))
        plugin.parts = load() if entry.name in BUILT_IN else _in_time(load)
    except Exception as error:  # noqa: BLE001 - a plugin's failure is a state
        plugin.fail("loading", error)
    return plugin


def _in_time(load: Callable[[], T]) -> T:
    """What `load` returns or raises, in a thread that is left alone when it takes too long."""
    result: list[T] = []
    problem: list[Exception] = []

    def run() -> None:
        try:
            result.append(load())
        except Exception as error:  # noqa: BLE001 - it is raised again below
            problem.append(error)

    thread = threading.Thread(target=run, name="plugin-load", daemon=True)
    thread.start()
    thread.join(LOAD_S)
    if problem:
        raise problem[0]
    if not result:
        raise PluginError(f"it takes more than {LOAD_S:g} s; hooks run before the daemon answers")
    return result[0]


def _parts_of(module: ModuleType, context: PluginContext) -> list[tuple[str, Any]]:
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks.Specs)
    manager.register(module)
    manager.check_pending()
    parts: list[tuple[str, Any]] = []
    for kind, hook, protocol in (
        ("retriever", manager.hook.mccomd_retrievers, Retriever),
        ("router", manager.hook.mccomd_routers, Router),
        ("backend", manager.hook.mccomd_backends, Backend),
    ):
        for part in (part for result in hook(context=context) for part in result):
            if not isinstance(part, protocol):
                raise TypeError(f"{hook.name} returned {part!r}, which is no {protocol.__name__}")
            parts.append((kind, part))
    return parts
