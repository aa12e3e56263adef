"""When does the daemon hold itself back?"""

from __future__ import annotations

import pytest

from mccomd.config import PowerConfig
from mccomd.guest import Guest, judge


@pytest.mark.parametrize(
    ("battery_percent", "load_per_core", "mode", "reason"),
    [
        (None, 0.1, "full", ""),
        (80.0, 0.1, "full", "on battery"),
        (39.0, 0.1, "saver", "on battery, 39 % left"),
        (None, 2.5, "saver", "load 2.5 a core"),
        (39.0, 9.0, "saver", "on battery"),
    ],
)
def test_judge(battery_percent: float | None, load_per_core: float, mode: str, reason: str) -> None:
    found = judge(battery_percent, load_per_core, PowerConfig())
    assert found.mode == mode
    assert reason in found.reason


@pytest.mark.parametrize("mode", ["full", "saver"])
def test_the_config_may_decide(mode: str) -> None:
    assert Guest().manners(PowerConfig(mode=mode)).mode == mode


def test_this_machine_can_be_judged() -> None:
    assert Guest().manners(PowerConfig()).mode in ("full", "saver")
