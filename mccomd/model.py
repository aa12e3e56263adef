"""The one model of this daemon: loaded in a thread of its own, asked one request at a time.

The newest request goes first, reading ahead last; it gives way to a request within one small pass. The model
goes when nobody has asked for long, and comes back by itself. What is asked of it is the completer's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mccomd.calibration import Calibration
from mccomd.calibration import load as load_calibration
from mccomd.config import ModelConfig
from mccomd.errors import ArtifactError, EngineError
from mccomd.lane import Lane
from mccomd.protocol import ModelStatus
from mccomd.types import CancelToken

if TYPE_CHECKING:  # the engine costs 0.2 s to import: `status` must not wait for it
    from mccomd.engine import Engine, Mixture

__all__ = ["ROOM_TOKENS", "Model", "model_folder"]

ROOM_TOKENS = 256
"""For the answer, on top of the prompt's budget: the most that one request may ask for."""
_AHEAD = 1  # the rank of what nobody waits for

log = logging.getLogger(__name__)
T = TypeVar("T")


def model_folder(config: ModelConfig, data_dir: Path) -> Path:
    """Where the configured model lies: a named folder, the user's own models, or a shipped one.

    Raises ArtifactError with the names that could be had.
    """
    from mccomd.engine.artifact import shipped_models

    if config.folder:
        return Path(config.folder).expanduser()
    own = data_dir / "models" / config.name
    if (own / "manifest.json").exists():
        return own
    shipped = shipped_models()
    if config.name not in shipped:
        names = ", ".join(sorted(shipped)) or "none"
        raise ArtifactError(f"no model {config.name!r}: shipped are {names}; set model.name or model.folder")
    return shipped[config.name]


class Model:
    """States: loading, ready, unloaded, failed. The engine is imported in its thread, too."""

    def __init__(self, config: ModelConfig, data_dir: Path) -> None:
        self._config = config
        self._data_dir = data_dir
        self._lane = Lane("model", newest_first=True)
        self._engine: Engine | None = None
        self._loading: asyncio.Task[None] | None = None
        self._ahead: set[CancelToken] = set()
        self._used = time.monotonic()
        self._name = config.name
        self._problem = ""
        self.calibration: Calibration | None = None  # of the loaded model; stays when it is unloaded
        self.mixture: Mixture | None = None  # the same
        self.folder: Path | None = None  # the same

    @property
    def name(self) -> str:
        return self._name

    @property
    def problem(self) -> str:
        """Why there will be no answers; "" while there may be."""
        return self._problem

    def start(self) -> None:
        """Begin to load, in the background."""
        self._used = time.monotonic()
        self._loading = asyncio.create_task(self._load())

    async def ready(self) -> bool:
        """Wait for the model, loading it again if it went; False when it cannot be had."""
        self._used = time.monotonic()
        if self._engine is None and not self._problem and (self._loading is None or self._loading.done()):
            self.start()
        if self._loading is not None:
            await asyncio.shield(self._loading)
        return self._engine is not None

    async def run(self, job: Callable[[Engine], T]) -> T:
        """`job(engine)` in the model's thread, before older ones; what is read ahead gives way."""
        for token in self._ahead:
            token.cancel()
        return await self._lane.run(self._do, job)

    async def read_ahead(self, job: Callable[[Engine], T], cancel: CancelToken) -> T:
        """`job(engine)` when nobody waits for an answer; `cancel` is set as soon as somebody does."""
        self._ahead.add(cancel)
        try:
            return await self._lane.run(self._do, job, rank=_AHEAD)
        finally:
            self._ahead.discard(cancel)

    async def unload_if_idle(self) -> bool:
        """Give the memory back when nobody has asked for `model.idle_unload_s`; whether that is done now."""
        idle_s = self._config.idle_unload_s
        if not idle_s or self._engine is None or time.monotonic() - self._used < idle_s or self._lane.pending:
            return False
        log.info("model %s unloaded after %d s without a request", self._name, idle_s)
        await self._lane.run(self._unload)
        return True

    def status(self) -> ModelStatus:
        return ModelStatus(self._name, self._engine is not None, self._state(), self._problem)

    def close(self) -> None:
        """Let the thread go after what it is doing; the process's end frees the rest."""
        self._lane.close()

    def _state(self) -> str:
        if self._problem:
            return "failed"
        if self._engine is not None:
            return "ready"
        return "loading" if self._loading is not None and not self._loading.done() else "unloaded"

    def _do(self, job: Callable[[Engine], T]) -> T:
        engine = self._engine
        if engine is None:
            raise EngineError(self._problem or "the model was unloaded: ask again")
        return job(engine)

    def _unload(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    async def _load(self) -> None:
        started = time.monotonic()
        try:
            self._engine = await self._lane.run(_load_engine, self._config, self._data_dir)
        except (ArtifactError, EngineError) as error:
            self._problem = str(error)
            log.error("the model cannot be used: %s", error)
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            log.exception("the model cannot be loaded")
        else:
            self._name = self._engine.manifest.name
            self.folder = model_folder(self._config, self._data_dir)
            self.calibration, self.mixture = _calibration(self._engine), _mixture(self._engine)
            log.info("model %s loaded in %.0f ms", self._name, (time.monotonic() - started) * 1000)


def _calibration(engine: Engine) -> Calibration | None:
    """A table that cannot be read is no reason to do without the model."""
    raw = engine.manifest.calibration
    try:
        return None if raw is None else load_calibration(raw)
    except ArtifactError as error:
        log.warning("model %s: %s", engine.manifest.name, error)
        return None


def _mixture(engine: Engine) -> Mixture | None:
    """Weights that cannot be read are none, either."""
    from mccomd.engine import Mixture

    raw = engine.manifest.mixture
    try:
        return None if raw is None else Mixture.read(raw)
    except ArtifactError as error:
        log.warning("model %s answers without n-grams: %s", engine.manifest.name, error)
        return None


def _load_engine(config: ModelConfig, data_dir: Path) -> Engine:
    from mccomd.engine import Engine, EngineOptions
    from mccomd.engine.artifact import load_manifest, verify

    folder = model_folder(config, data_dir)
    verify(folder, load_manifest(folder))
    options = EngineOptions(threads=config.threads, context_tokens=config.context_tokens + ROOM_TOKENS)
    return Engine(folder, options)
