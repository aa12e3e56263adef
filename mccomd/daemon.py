"""The daemon without its socket: config, model, index and plugins put together, one function a method.

Knows neither bytes nor connections (server.py), nor processes and signals (run.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psutil

from mccomd import __version__
from mccomd.behaviour import Judgement
from mccomd.cloud.access import close_cloud, cloud_state, look_again, open_cloud
from mccomd.completer import Completer
from mccomd.config import Config, ConfigFile, why_offline, why_silent
from mccomd.egress import PREVIEW, Egress, Ledger, Preview
from mccomd.errors import CloudError
from mccomd.explanations import Explanations
from mccomd.guest import Guest
from mccomd.history import History
from mccomd.indexing import Indexing
from mccomd.lookup import IndexLookup
from mccomd.model import Model
from mccomd.narrowing import options_for
from mccomd.ngram_tables import NgramTables
from mccomd.paths import Paths
from mccomd.plugins import PluginOptions, Plugins
from mccomd.protocol import (
    CloudParams,
    CloudResult,
    CloudStatus,
    Completion,
    ExplainParams,
    ExplainResult,
    FeedbackKind,
    PowerStatus,
    PreviewRequest,
    PreviewResult,
    PreviewSnippet,
    Progress,
    RefreshParams,
    RefreshResult,
    SearchHit,
    SearchParams,
    SearchResult,
    StatusResult,
    TuneParams,
    TuneResult,
    WarmResult,
)
from mccomd.routing import Routing
from mccomd.session import Sessions
from mccomd.tally import Tally
from mccomd.task import Task
from mccomd.tuning import tune
from mccomd.types import Document
from mccomd_index import IndexOptions, Repository

if TYPE_CHECKING:
    from mccomd.cloud.transport import Sent

__all__ = ["Daemon"]

log = logging.getLogger(__name__)

LOOK_AFTER_S = 1.0
TIDY_AFTER_S, TIDY_EVERY_S = 600.0, 86_400.0


class Daemon:
    """Everything but the socket. Create it inside a running event loop."""

    def __init__(self, paths: Paths, config: ConfigFile) -> None:
        self._paths = paths
        self._config = config
        self._started = time.monotonic()
        self._tally = Tally()
        self._indexing = Indexing(paths.index_dir, self._index_options, lambda: config.current.index)
        self._guest = Guest()
        self._tables = NgramTables(
            self._indexing,
            lambda: config.current.completion,
            lambda: self._guest.manners(config.current.power).why_saving,
        )
        self._background: set[asyncio.Task[None]] = set()
        self._egress = Egress(Ledger(paths.state_dir), lambda: why_silent(config.current))
        self._old: list[Completer] = []  # of a config before, with requests under way
        self._assemble(config.current)

    def start(self) -> None:
        """Load the model and follow the config file, both in the background."""
        self._model.start()
        self._keep(self._history.load())
        self._keep(self._look_after())
        self._keep(self._tidy())

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for completer in (*self._old, self._completer):
            await completer.close()
        await self._history.close()
        await self._tables.close()
        await self._indexing.close()
        await close_cloud(self._cloud)
        self._plugins.close()
        self._model.close()

    # --- methods --------------------------------------------------------------------------------

    async def complete(self, task: Task) -> Completion:
        self._tally.begin()
        completion = await self._completer.complete(task)
        self._tally.end(completion)
        return completion

    async def warm(self, task: Task) -> WarmResult:
        return await self._completer.warm(task)

    def new_sessions(self) -> Sessions:
        """For one client."""
        return Sessions(lambda: self._config.current.behaviour, self._judged)

    async def explain(self, params: ExplainParams) -> ExplainResult:
        found = self._explanations.find(params.request_id)
        prompt = ""
        if params.prompt and found.prompt_ids and await self._model.ready():
            prompt = await self._model.run(lambda engine: engine.tokenizer.decode(found.prompt_ids))
        return self._explanations.result(found, prompt, self._routing.likely)

    async def tune(self, params: TuneParams) -> TuneResult:
        return await tune(params, self._config.current, self._model, self._routing)

    def touch(self, path: str) -> None:
        """A document was opened: meet its repository before the first completion asks for it."""
        self._keep(self._meet(path))

    def edited(self, client: object, document: Document) -> None:
        """A client's text is this now: searches see it."""
        self._indexing.edited(client, document)

    def closed(self, client: object, path: str) -> None:
        self._indexing.closed(client, path)

    def left(self, client: object) -> None:
        self._indexing.left(client)

    def count_feedback(self, kind: FeedbackKind) -> None:
        self._tally.feedback[kind] += 1

    async def refresh(self, params: RefreshParams, sink: Callable[[Progress], None]) -> RefreshResult:
        root = await self._indexing.require(params.path)
        return await self._indexing.refresh(root, rebuild=params.rebuild, wait=params.wait, sink=sink)

    async def search(self, params: SearchParams) -> SearchResult:
        started = time.monotonic()
        root = await self._indexing.require(params.path)
        self._indexing.touch(root)
        found = await self._indexing.search_off_loop(root, params.query, params.limit)
        state = (await self._indexing.status_of(root)).state
        hits = [SearchHit(h.path, h.start_line, h.end_line, h.score, h.commit, h.text) for h in found]
        return SearchResult(root, state, hits, (time.monotonic() - started) * 1000)

    async def preview(self, task: Task) -> PreviewResult:
        preview = Preview()
        inside = asyncio.create_task(self._preview(task, preview))
        await inside
        return _preview_result(preview)

    async def status(self, clients: int) -> StatusResult:
        manners = self._guest.manners(self._config.current.power)
        return StatusResult(
            version=__version__,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            socket=str(self._paths.socket),
            config_file=str(self._paths.config_file),
            config_problem=self._config.problem,
            log_file=str(self._paths.log_file),
            model=self._model.status(),
            power=PowerStatus(manners.mode, manners.reason),
            repositories=await self._indexing.status(),
            plugins=self._plugins.status(),
            cloud=self._cloud_status(),
            router=self._routing.status(),
            month=self._routing.budget.status(),
            clients=clients,
            completions=self._tally.stats(),
            rss_mb=psutil.Process().memory_info().rss / 1e6,
            ngrams=self._tables.status(),
        )

    async def cloud(self, params: CloudParams) -> CloudResult:
        """Raises CloudError where a probe meets no endpoint."""
        backend = self._plugins.backend(self._config.current.cloud.backend)
        if params.probe:
            if silent := why_silent(self._config.current):
                raise CloudError(f"nothing to probe: {silent}")
            if backend is None:
                raise CloudError(self._cloud_status().reason)
            if not hasattr(backend, "probe"):
                raise CloudError(f"backend {backend.name!r} has nothing to probe")
            look_again(self._cloud)
            await backend.probe()
        known = backend.status() if backend is not None and hasattr(backend, "status") else {}
        parts = (dict(known.get(key, {})) for key in ("caps", "estimates", "strategies"))
        return CloudResult(self._cloud_status(), *parts)

    # --- inside ---------------------------------------------------------------------------------

    def _let_out(self, sent: Sent) -> None:
        """Before a request leaves; raises EgressError when it may not."""
        self._egress.admit(
            sent.endpoint,
            sent.body,
            size=sent.bytes,
            masked=sent.masked,
            request_id=sent.request_id,
            purpose=sent.purpose,
        )

    def _cloud_status(self) -> CloudStatus:
        cloud = self._config.current.cloud
        state, reason = cloud_state(self._cloud)
        if offline := why_offline(self._config.current):
            state, reason = "offline", offline
        if self._cloud.backend and self._plugins.backend(cloud.backend) is None:
            state, reason = "failed", self._why_no_backend(cloud.backend)
        return CloudStatus(cloud.backend, cloud.url, cloud.model, state, reason)

    def _why_no_backend(self, name: str) -> str:
        rows = [row for row in self._plugins.status() if row.kind in ("plugin", "backend")]
        found = next((row for row in rows if row.name == name), None)
        if found is None:
            names = ", ".join(row.name for row in rows)
            return f"there is no backend {name!r} (cloud.backend); there are {names}: see `mccomd plugins`"
        return f"backend {name!r} is not at work: {found.reason or 'see `mccomd plugins`'}"

    async def _preview(self, task: Task, preview: Preview) -> None:
        """In a task of its own: what is set here ends with it."""
        PREVIEW.set(preview)
        completion = await self._completer.complete(task)
        await asyncio.gather(*preview.work)
        if preview.request is None and not preview.refusal:
            preview.refusal = completion.reason or "nobody would be asked here"

    def _judged(self, path: str, judgement: Judgement) -> None:
        """What became of an answer: into the history, and beside its explanation."""
        self._routing.judged(judgement)
        explanation = self._explanations.get(judgement.offered.request_id)
        if explanation is not None:
            explanation.verdict = "" if judgement.withdrawn else judgement.verdict.value

    async def _meet(self, path: str) -> None:
        location = await self._indexing.locate(path)
        if location.root is not None:
            self._indexing.touch(location.root)

    def _index_options(self, repository: Repository) -> tuple[IndexOptions, Sequence[str]]:
        return options_for(self._config.current.index, repository.work_tree or repository.git_dir)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _assemble(self, config: Config) -> None:
        self._load_plugins(config)
        self._model = Model(config.model, self._paths.data_dir)
        self._explanations = Explanations()
        self._history = History(self._paths.state_dir)
        self._routing = Routing(
            lambda: self._config.current, self._plugins, self._model, self._history, self._paths.state_dir
        )
        self._completer = self._new_completer()

    def _load_plugins(self, config: Config) -> None:
        offline = bool(why_offline(config))
        self._cloud = open_cloud(config.cloud, self._paths.cache_dir, self._let_out, offline=offline)
        self._plugins = Plugins(
            _plugin_options(config), self._indexing.search, self._cloud, IndexLookup(self._indexing)
        )

    def _connect(self) -> None:
        """Requests under way finish with the old parts."""
        self._routing.use(self._plugins, self._model)
        self._old = [old for old in (*self._old, self._completer) if old.busy]
        self._completer = self._new_completer()

    def _new_completer(self) -> Completer:
        return Completer(
            lambda: self._config.current,
            self._model,
            self._plugins,
            self._indexing,
            self._tables,
            self._guest,
            self._routing,
            self._explanations,
        )

    async def _look_after(self) -> None:
        """Once a second: has the config changed, is the model idle?"""
        while True:
            await asyncio.sleep(LOOK_AFTER_S)
            if await self._model.unload_if_idle():
                self._tables.forget()
            await self._history.flush()
            before = self._config.current
            if await asyncio.to_thread(self._config.reload_if_changed):
                self._take_config(before, self._config.current)

    async def _tidy(self) -> None:
        """Once a day, not while the first completions are waited for."""
        await asyncio.sleep(TIDY_AFTER_S)
        while True:
            await self._indexing.collect_garbage()
            await asyncio.sleep(TIDY_EVERY_S)

    def _take_config(self, before: Config, now: Config) -> None:
        """Replace the parts whose options changed; requests under way finish with the old ones."""
        log.info("config read again")
        logging.getLogger("mccomd").setLevel(now.log.level.upper())
        if now.model != before.model:
            self._model.close()
            self._model = Model(now.model, self._paths.data_dir)
            self._model.start()
        if _plugin_options(now) != _plugin_options(before) or now.cloud != before.cloud:
            self._plugins.close()
            self._keep(close_cloud(self._cloud))
            self._load_plugins(now)
        self._connect()


def _preview_result(preview: Preview) -> PreviewResult:
    request = preview.request
    return PreviewResult(
        refusal=preview.refusal,
        masked=list(request.report.masked) if request else [],
        prefix=request.prefix if request else "",
        suffix=request.suffix if request else "",
        draft=request.draft if request else "",
        snippets=[PreviewSnippet(s.path, s.text) for s in request.snippets] if request else [],
        requests=[
            PreviewRequest(
                endpoint=attempt.endpoint,
                bytes=len(attempt.body),
                sha256=hashlib.sha256(attempt.body).hexdigest(),
                masked=list(attempt.masked),
                body=attempt.body.decode("utf-8", "replace"),
            )
            for attempt in preview.attempts
        ],
    )


def _plugin_options(config: Config) -> PluginOptions:
    options: dict[str, Mapping[str, Any]] = dict(config.plugins.options)
    # The threshold is the user's word to whichever router is in charge.
    options[config.router.name] = {
        "threshold": config.router.threshold,
        **options.get(config.router.name, {}),
    }
    return PluginOptions(config.plugins.enabled, config.plugins.disabled, options)
