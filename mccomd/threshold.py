"""Which threshold is in force, and why: what the user wished for, as the calibration has it.

What `mccomd tune --apply` put into force stands in a small file in the state folder and counts until the
user's [router] section or the model changes. Nothing else changes a threshold. Knows no router.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mccomd.calibration import Calibration, threshold_for_precision, threshold_for_share
from mccomd.config import RouterConfig
from mccomd.errors import MccomdError

__all__ = ["Threshold", "Tuned", "in_force", "read_tuned", "write_tuned"]

FILE = "tuned.json"


@dataclass(frozen=True, slots=True)
class Threshold:
    value: float
    why: str


class Tuned(msgspec.Struct, frozen=True):
    """A threshold that the user put into force."""

    model: str
    aim: str
    wish: float
    threshold: float
    at: float  # time.time() seconds
    router: tuple[str, float, float, float]  # aim, threshold, share, precision of the config then

    def counts(self, router: RouterConfig, model: str) -> bool:
        return self.model == model and self.router == of_config(router)


def of_config(router: RouterConfig) -> tuple[str, float, float, float]:
    return router.aim, router.threshold, router.share, router.precision


def in_force(
    router: RouterConfig, model: str, calibration: Calibration | None, tuned: Tuned | None
) -> Threshold:
    """What the router compares with now."""
    if tuned is not None and tuned.counts(router, model):
        day = datetime.datetime.fromtimestamp(tuned.at).date().isoformat()
        return Threshold(tuned.threshold, f"{in_words(tuned.aim, tuned.wish)}, applied by tune on {day}")
    fixed = Threshold(router.threshold, "router.threshold of the config")
    if router.aim == "threshold":
        return fixed
    if router.aim == "budget":
        return Threshold(fixed.value, f"{fixed.why}, until `mccomd tune --apply` has met the budget")
    if calibration is None:
        return Threshold(fixed.value, f"{fixed.why}: the model has no calibration for aim {router.aim!r}")
    if router.aim == "share":
        found: float | None = threshold_for_share(calibration, router.share)
        wish = router.share
    else:
        found, wish = threshold_for_precision(calibration, router.precision), router.precision
    if found is None:
        return Threshold(1.0, f"{in_words(router.aim, wish)} is beyond this model: everything is asked")
    return Threshold(found, f"{in_words(router.aim, wish)}, by the model's calibration")


def in_words(aim: str, wish: float) -> str:
    match aim:
        case "share":
            return f"a share of {wish:.0%} of the requests"
        case "precision":
            return f"a precision of {wish:.0%}"
        case "budget":
            return "the month's budget"
    return f"a threshold of {wish:.2f}"


def read_tuned(folder: Path) -> Tuned | None:
    """What was applied last; None where nothing was, or the file cannot be read."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Tuned)
    except (OSError, msgspec.DecodeError):
        return None


def write_tuned(folder: Path, tuned: Tuned | None) -> None:
    """Raises MccomdError."""
    path = folder / FILE
    try:
        if tuned is None:
            path.unlink(missing_ok=True)
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(tuned) + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        raise MccomdError(f"cannot write {path}: {error.strerror}") from error
