"""What a run is told: how its samples look, how it learns, how it is carried out. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["CHECKPOINT", "Layout", "Plan", "Recipe", "Shape", "learning_rate"]

Layout = Literal["padded", "packed"]
CHECKPOINT = "checkpoint.pt"  # in a run's folder


@dataclass(frozen=True, slots=True)
class Shape:
    """How samples look; ranges are inclusive, sizes in tokens."""

    prefix: tuple[int, int] = (48, 640)
    suffix: tuple[int, int] = (16, 160)
    snippet: tuple[int, int] = (64, 320)  # all snippets of a sample together
    with_snippets: float = 0.5  # share
    without_suffix: float = 0.08  # nothing has been written below yet
    spans: float = 0.06
    per_file: int = 12
    holes: int = 1  # that share a context, in statements that follow one another; more: see Maker.of_group
    max_tokens: int = 1024  # longer samples are dropped


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a run learns."""

    tokens: int  # of the whole run: the cosine ends there
    peak: float = 2e-4  # learning rate
    floor: float = 0.05  # of the peak, where the cosine ends
    warmup_tokens: int = 40_000
    weight_decay: float = 0.01
    clip: float = 1.0
    rest_weight: float = 0.0  # of the prompt's own next-token loss
    rest_share: float = 0.25  # of its tokens that are looked at
    gradient_tokens: int = 0  # of a context's end that the gradient flows through; 0: through all of it
    learns: str = "all"  # "all", "last N" layers, norms and markers, or "rank R"
    bits: int = 0  # the layers' matrices are rounded to in the forward pass: see rounding.py; 0: are not
    block: int = 32  # weights to a scale, of rounded ones


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is carried out; the recipe says how it learns."""

    folder: Path
    batch_tokens: int = 2048
    accumulate: int = 1
    layout: Layout = "padded"
    row_tokens: int = 1024
    seed: int = 1
    device: str = "cpu"
    compiled: bool = False
    minutes: float | None = None  # stop after so long, with a checkpoint
    checkpoint_minutes: float = 4.0
    held_out_minutes: float = 15.0
    log_steps: int = 10


def learning_rate(recipe: Recipe, seen: int) -> float:
    """Linear to the peak, then a cosine down to floor * peak.  seen: tokens before this step."""
    if seen < recipe.warmup_tokens:
        return recipe.peak * (seen + 1) / (recipe.warmup_tokens + 1)
    done = min(1.0, (seen - recipe.warmup_tokens) / max(1, recipe.tokens - recipe.warmup_tokens))
    return recipe.peak * (recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * done)))
