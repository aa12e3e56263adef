"""A run on disk: everything that the next step depends on, so that going on equals never having stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from mccomd_models.training.recipe import CHECKPOINT

__all__ = ["CHECKPOINT", "load_checkpoint", "save_checkpoint"]

PREVIOUS = "checkpoint-previous.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write whole or not at all; the one before is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CHECKPOINT}.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if (folder / CHECKPOINT).exists():
        (folder / CHECKPOINT).replace(folder / PREVIOUS)
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state; None when the run has none yet. Holds tensors and plain values only."""
    for name in (CHECKPOINT, PREVIOUS):
        if (folder / name).exists():
            state: dict[str, Any] = torch.load(folder / name, map_location=device, weights_only=True)
            return state
    return None
