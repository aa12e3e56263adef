"""Behind an answer that is out: where its choices were close, is there a more probable text?

Nobody waits for it, and it gives way to any request. What it finds takes the answer's place as an update,
with the rights of the large model's: not once the answer was accepted, nor against what was typed since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mccomd.config import Config
from mccomd.errors import MccomdError
from mccomd.generate import Generate, Generated
from mccomd.guest import Guest
from mccomd.handoff import Handoff, Text
from mccomd.likelier import Likelier, worth_a_try
from mccomd.model import Model
from mccomd.protocol import SEARCH_RUNNING
from mccomd.turn import Turn
from mccomd.types import CancelToken

__all__ = ["Searching"]

log = logging.getLogger(__name__)
FOUND = "a more probable text"


class Searching:
    """keep: runs a coroutine in the background.

    fit: what of a generated text the editor inserts, and why there is none or less.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        model: Model,
        guest: Guest,
        keep: Callable[[Coroutine[Any, Any, None]], None],
        fit: Callable[[Turn, Generated], tuple[str, str]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._model = model
        self._guest = guest
        self._keep = keep
        self._fit = fit
        self._now = now

    def wanted(self, turn: Turn, generated: Generated) -> bool:
        """Whether to look for a better text: nobody else is asked, and the client wants the last word."""
        task, config = turn.task, self._config()
        if not (task.updates or task.wait) or turn.asked or turn.preview or task.cancel.cancelled:
            return False
        if not config.completion.search_ms or self._guest.manners(config.power).saving:
            return False
        return worth_a_try(generated)

    def begin(self, turn: Turn, job: Generate, generated: Generated, handoff: Handoff) -> None:
        """Look for it in the background; the request has its answer."""
        turn.explanation.search = SEARCH_RUNNING
        self._keep(self._search(turn, job, generated, handoff))

    async def _search(self, turn: Turn, job: Generate, generated: Generated, handoff: Handoff) -> None:
        found = await self.look(turn, job, generated)
        text, _ = self._fit(turn, found)
        if found is not generated and text:
            ms = (self._now() - turn.task.started) * 1000
            handoff.better(Text(text, "local", self._model.name, ms))

    async def look(self, turn: Turn, job: Generate, generated: Generated) -> Generated:
        """A more probable text, or the same one."""
        mark, cancel = self._now(), CancelToken()
        turn.task.cancel.on_cancel(cancel.cancel)
        deadline = min(job.deadline, mark + self._config().completion.search_ms / 1000)
        found, said = generated, "failed"
        try:
            found = await self._model.read_ahead(Likelier(job, generated, deadline, cancel), cancel)
            if cancel.cancelled:
                said = "gave way to a request"
            else:
                said = "nothing more probable" if found.text == generated.text else FOUND
        except MccomdError as error:
            said = str(error)
            log.info("no more probable text was looked for: %s", error)
        finally:
            turn.gathered.stage("search", mark, self._now())
            turn.explanation.search = said
        return found if said == FOUND else generated
