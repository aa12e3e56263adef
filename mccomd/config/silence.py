"""May anything leave this machine? One answer for the transport, the socket guard, `status` and `egress`."""

from __future__ import annotations

import os

from mccomd.config.schema import Config

__all__ = ["OFFLINE_VARIABLE", "why_no_sockets", "why_offline", "why_silent"]

OFFLINE_VARIABLE = "MCCOMD_OFFLINE"
"""Set to anything but 0 or nothing: as `cloud.offline`, for this process and those it starts."""


def why_offline(config: Config) -> str:
    """Why no network socket may be opened at all; "" where the user has not asked for that."""
    if os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0"):
        return f"offline: {OFFLINE_VARIABLE} is set, or the daemon was started with --offline"
    return "offline: cloud.offline is set in the config" if config.cloud.offline else ""


def why_silent(config: Config) -> str:
    """Why nothing may leave for a large model; "" where it may."""
    if reason := why_offline(config):
        return reason
    return "" if config.cloud.backend else "no large model is configured"


def why_no_sockets(config: Config) -> str:
    """Why no part of the daemon may open a network socket; "" where one may."""
    reason = why_silent(config)
    return reason if why_offline(config) or not config.plugins.network else ""
