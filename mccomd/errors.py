"""Every error that mccomd raises on purpose.

MccomdError                    one line for the user: what is wrong, what to do next
|-- ConfigError                a configuration file: FILE:LINE and the key
|-- ArtifactError              a model folder does not hold what its manifest says
|-- EngineError                the model cannot run (too little memory, prompt too long)
|-- ProtocolError              bytes or messages from the other side that break the protocol
|   `-- FrameTooLargeError     a frame over the size cap; the connection is closed after it
|-- RequestError               a well-formed request that cannot be met; carries a wire code
|-- DaemonUnavailableError     no daemon answers on the socket
|-- AlreadyRunningError        another daemon holds this user's socket
|-- CloudError                 the large model's endpoint fails or refuses; the local answer stands
|   `-- EgressError            nothing may leave: offline, or the ledger cannot be written
`-- PluginError                a plugin cannot be loaded or broke its contract
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "AlreadyRunningError",
    "ArtifactError",
    "CloudError",
    "ConfigError",
    "DaemonUnavailableError",
    "EgressError",
    "EngineError",
    "FrameTooLargeError",
    "MccomdError",
    "PluginError",
    "ProtocolError",
    "RequestError",
]


class MccomdError(Exception):
    """Base of all errors of mccomd; its text is fit for the user's eyes."""


class ConfigError(MccomdError):
    """A configuration file is wrong; the text names file, line and key."""


class ArtifactError(MccomdError):
    """A model folder is missing, damaged or of a format this version does not read."""


class EngineError(MccomdError):
    """The model cannot be run."""


class ProtocolError(MccomdError):
    """The other side sent something that is not our protocol.

    read: messages that stood whole before the bad bytes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.read: Sequence[Any] = ()


class FrameTooLargeError(ProtocolError):
    """A message larger than the cap."""


class RequestError(MccomdError):
    """A request that is answered with an error.

    code: one of the error codes documented in contrib/README.md.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DaemonUnavailableError(MccomdError):
    """Nothing answers on the daemon's socket."""


class AlreadyRunningError(MccomdError):
    """Another daemon of this user is running."""


class PluginError(MccomdError):
    """A plugin cannot be loaded or broke its contract."""


class CloudError(MccomdError):
    """The large model's endpoint does not answer, refuses, or answers nonsense.

    status: the HTTP status; 0 where there was none. details: the body of an error answer, as it was decoded.
    passing: it says nothing of what the endpoint can do; in a while it may be otherwise.
    """

    def __init__(
        self, message: str, status: int = 0, details: Any = None, *, passing: bool | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details = details
        self.passing = status in (401, 403, 408, 429) or status >= 500 if passing is None else passing


class EgressError(CloudError):
    """A request may not leave this machine; the text says why. No fault of the endpoint."""
