"""From the user's [cloud] to a way out, or to none: no transport exists without a backend, or offline.

The HTTP library is imported only where a backend is configured: 0.2 s and 20 MB that others do not pay.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mccomd.config import CloudConfig
from mccomd.outgoing import CloudAccess, Endpoint

if TYPE_CHECKING:
    from mccomd.cloud.transport import Sent

__all__ = ["close_cloud", "cloud_state", "look_again", "open_cloud"]


def open_cloud(
    cloud: CloudConfig,
    cache_dir: Path,
    record: Callable[[Sent], None] = lambda sent: None,
    *,
    offline: bool = False,
) -> CloudAccess:
    """What the configured backend gets to work with."""
    if not cloud.backend or offline:
        return CloudAccess()
    from mccomd.cloud.transport import HttpTransport

    endpoint = Endpoint(
        url=cloud.url.rstrip("/"),
        model=cloud.model,
        dialect=cloud.dialect,
        fim_template=cloud.fim_template,
        strategy=cloud.strategy,
        input_price=cloud.input_price,
        output_price=cloud.output_price,
    )
    transport = HttpTransport(cloud.url, cloud.key, record, cloud.stall_ms / 1000)
    return CloudAccess(cloud.backend, transport, endpoint, os.fspath(cache_dir / "cloud"))


def cloud_state(access: CloudAccess) -> tuple[str, str]:
    """The endpoint's state and its reason, for `status`."""
    from_transport = getattr(access.transport, "state", None)
    return ("none", "") if from_transport is None else from_transport()


def look_again(access: CloudAccess) -> None:
    """Before somebody tries it by hand: what was switched off or is cooling may be asked."""
    again = getattr(access.transport, "look_again", None)
    if again is not None:
        again()


async def close_cloud(access: CloudAccess) -> None:
    close = getattr(access.transport, "aclose", None)
    if close is not None:
        await close()
