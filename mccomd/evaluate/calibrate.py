"""What a confidence of this model means: measured on held-out cases, written into its manifest.

The table itself, and the thresholds that follow from it, are mccomd/calibration.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mccomd.calibration import Calibration, count
from mccomd.engine.artifact import load_manifest, write_manifest
from mccomd.errors import MccomdError
from mccomd.evaluate.figures import Scored, confidence_pairs

__all__ = ["MIN_CASES", "calibration_of", "write_calibration"]

MIN_CASES = 100
"""Of answers with a text: a table of fewer is mostly chance."""


def calibration_of(scored: Sequence[Scored], data: str) -> Calibration:
    """The manifest's entry. data: what the cases are, for people. Raises MccomdError for too few cases."""
    pairs = confidence_pairs(scored)
    if len(pairs) < MIN_CASES:
        raise MccomdError(
            f"a calibration needs {MIN_CASES} answered cases, here are {len(pairs)}: see --limit"
        )
    return count(pairs, data)


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Put the table into the folder's manifest. Raises ArtifactError, MccomdError."""
    manifest = load_manifest(folder)
    entry = msgspec.to_builtins(calibration)
    try:
        write_manifest(folder, msgspec.structs.replace(manifest, calibration=entry))
    except OSError as error:
        raise MccomdError(f"cannot write the manifest of {folder}: {error.strerror}") from error
