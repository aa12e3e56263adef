"""Ends a process with the one that started it. Linux does it; elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Die with the process that started us, stopped or not: it holds us back by SIGSTOP, and may be killed.

    Linux only. Elsewhere the kernel wakes and ends us if we stand still at that moment, but not if the stop
    was still under way to us, which one that runs at the lowest priority on a busy machine shows.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has died before that
        sys.exit(0)
