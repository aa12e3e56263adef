"""How much of the machine may we use now? A daemon that runs all day is a guest on it.

On battery, and when others want the processor, completions are short and nothing is read ahead. The
reason is shown in `status`. Knows nothing of completions.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from mccomd.config import PowerConfig

__all__ = ["Guest", "Manners"]

LOOK_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Manners:
    """full: as configured. saver: short answers, nothing read ahead."""

    mode: str
    reason: str

    @property
    def saving(self) -> bool:
        return self.mode == "saver"

    @property
    def why_saving(self) -> str:
        """Why only what somebody waits for is to be done; "" when other work may be done, too."""
        return f"saver mode: {self.reason}" if self.saving else ""


class Guest:
    """Looks at battery and load, at most every ten seconds."""

    def __init__(self) -> None:
        self._looked = -1e9
        self._seen = Manners("full", "")

    def manners(self, config: PowerConfig) -> Manners:
        """What is fitting now; the config may decide once and for all."""
        if config.mode != "auto":
            return Manners(config.mode, "power.mode of the config")
        now = time.monotonic()
        if now - self._looked > LOOK_AGAIN_S:
            self._looked = now
            self._seen = judge(_battery_percent(), _load_per_core(), config)
        return self._seen


def judge(battery_percent: float | None, load_per_core: float, config: PowerConfig) -> Manners:
    """battery_percent: None when plugged in or without a battery."""
    if battery_percent is not None and battery_percent < config.saver_below_percent:
        return Manners("saver", f"on battery, {battery_percent:.0f} % left")
    if load_per_core > config.saver_above_load:
        return Manners("saver", f"others keep the processor busy: load {load_per_core:.1f} a core")
    return Manners("full", "on battery" if battery_percent is not None else "")


def _battery_percent() -> float | None:
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, ValueError):  # no such sensor on this system
        return None
    return None if battery is None or battery.power_plugged is not False else float(battery.percent)


def _load_per_core() -> float:
    """Of the last minute; our own share is in it."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 0.0
