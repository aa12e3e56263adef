"""The one model of this daemon: loaded in a thread of its own, asked one request at a time.

Knows when the model is there and why not; what is asked of it is the completer's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mccomd.config import ModelConfig
from mccomd.errors import ArtifactError, EngineError
from mccomd.lane import Lane
from mccomd.protocol import ModelStatus

if TYPE_CHECKING:  # the engine costs 0.2 s to import: `status` must not wait for it
    from mccomd.engine import Engine

__all__ = ["ROOM_TOKENS", "Model", "model_folder"]

ROOM_TOKENS = 256
"""For the answer, on top of the prompt's budget: the most that one request may ask for."""

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
    """States: loading, ready, failed. Import of the engine (0.2 s) happens in its thread too."""

    def __init__(self, config: ModelConfig, data_dir: Path) -> None:
        self._config = config
        self._data_dir = data_dir
        self._lane = Lane("model")
        self._engine: Engine | None = None
        self._loading: asyncio.Task[None] | None = None
        self._problem = ""
        self.load_ms = 0.0

    @property
    def name(self) -> str:
        return self._engine.manifest.name if self._engine else self._config.name

    @property
    def problem(self) -> str:
        """Why there will be no answers; "" while there may be."""
        return self._problem

    def start(self) -> None:
        """Begin to load, in the background."""
        self._loading = asyncio.create_task(self._load())

    async def ready(self) -> bool:
        """Wait for the model; False when it cannot be had."""
        if self._loading is not None:
            await asyncio.shield(self._loading)
        return self._engine is not None

    async def run(self, job: Callable[[Engine], T]) -> T:
        """`job(engine)` in the model's thread, after all that came before it."""
        engine = self._engine
        if engine is None:
            raise EngineError(self._problem or "the model is still loading")
        return await self._lane.run(job, engine)

    def status(self) -> ModelStatus:
        state = "failed" if self._problem else "ready" if self._engine else "loading"
        return ModelStatus(self.name, self._engine is not None, state, self._problem)

    def close(self) -> None:
        """Let the thread go after what it is doing; the process's end frees the rest."""
        self._lane.close()

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
            self.load_ms = (time.monotonic() - started) * 1000
            log.info("model %s loaded in %.0f ms", self.name, self.load_ms)


def _load_engine(config: ModelConfig, data_dir: Path) -> Engine:
    from mccomd.engine import Engine, EngineOptions
    from mccomd.engine.artifact import load_manifest, verify

    folder = model_folder(config, data_dir)
    verify(folder, load_manifest(folder))
    options = EngineOptions(threads=config.threads, context_tokens=config.context_tokens + ROOM_TOKENS)
    return Engine(folder, options)
