"""What a check is, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mccomd.errors import MccomdError

__all__ = ["Check", "bad", "checked", "good", "healthy"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    detail: str
    fix: str = ""  # what to do; "" where nothing need be done


def good(name: str, detail: str, fix: str = "") -> Check:
    """fix: what could be better, though all works."""
    return Check(name, True, detail, fix)


def bad(name: str, detail: str, fix: str) -> Check:
    return Check(name, False, detail, fix)


def checked(name: str, look: Callable[[], Check], fix: str) -> Check:
    """What a look says; what it raises is a failure with `fix` as the remedy."""
    try:
        return look()
    except MccomdError as error:
        return bad(name, str(error).splitlines()[0], fix)
    except Exception as error:  # noqa: BLE001 - a doctor does not faint
        return bad(name, f"{type(error).__name__}: {error}", fix)


def healthy(checks: Iterable[Check]) -> bool:
    return all(check.ok for check in checks)
