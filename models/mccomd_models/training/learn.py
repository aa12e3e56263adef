"""Which weights learn, how fast, and what one step does. Knows no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mccomd_models.training.batches import Batch
from mccomd_models.training.network import After, Layer, Matrix, Memory, Network, Rows
from mccomd_models.training.recipe import Recipe

__all__ = [
    "Body",
    "Losses",
    "Step",
    "choose_weights",
    "losses",
    "make_optimizer",
    "round_weights",
    "step",
    "to_rows",
]

CONTEXT_FILL, LATER_FILL = -2, -3  # documents that nobody else sees
HEAD_ROWS = 16_384  # logits computed at once: 3.2 GB in float32


def choose_weights(network: Network, learns: str) -> list[nn.Parameter]:
    """Mark which parameters learn, and return them. Raises ValueError for a word it does not know."""
    kind, _, number = learns.partition(" ")
    if kind == "all" and not number:
        return list(network.parameters())
    if kind not in ("last", "rank") or not number.isdigit() or int(number) < 1:
        raise ValueError(f"{learns!r} is none of: all, last N, rank R")
    network.requires_grad_(False)
    if kind == "last":
        chosen: Sequence[nn.Module] = list(network.layers)[-int(number) :]
        for layer in chosen:
            layer.requires_grad_(True)
        network.final_norm.requires_grad_(True)
    else:
        for layer in network.layers:
            assert isinstance(layer, Layer)
            layer.adapt(int(number))
    return [p for p in network.parameters() if p.requires_grad]


def round_weights(network: Network, bits: int, block: int) -> None:
    """See all matrices of the layers rounded.  ValueError: low-rank parts cannot be."""
    for layer in network.layers:
        assert isinstance(layer, Layer)
        if not isinstance(layer.qkv, Matrix):
            raise ValueError("weights that learn in low rank cannot be seen rounded")
        layer.round(bits, block)


def make_optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; no decay on norms."""
    matrices = [p for p in parameters if p.dim() > 1]
    norms = [p for p in parameters if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=recipe.peak, betas=(0.9, 0.95), fused=True
    )


@dataclass(frozen=True, slots=True)
class Losses:
    """Sums over tokens of -log p, with how many tokens; `right`: most probable tokens that were right."""

    middle: Tensor
    middle_tokens: int
    rest: Tensor
    rest_tokens: int
    right: Tensor  # bool (middle tokens)


class Body(Protocol):
    """Network.body, perhaps compiled."""

    def __call__(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        after: After | None = None,
        kept: Memory | None = None,
    ) -> Tensor: ...


def losses(
    network: Network, body: Body, batch: Batch, rest_share: float, generator: torch.Generator
) -> Losses:
    """One forward pass. body: network.body, perhaps compiled; generator: of the CPU, for the rest."""
    device = network.embedding.weight.device
    rows = to_rows(batch, device)
    targets = torch.from_numpy(batch.targets)
    middle, rest = torch.from_numpy(batch.middle), torch.from_numpy(batch.rest)
    if rest_share < 1:
        rest = rest & (torch.rand(rest.shape, generator=generator) < rest_share)
    after, mask = None, None
    if batch.learns is None:
        mask = rows.mask()
    else:
        learns = torch.from_numpy(batch.learns)
        rows, after, mask = _after_context(body, rows, _send(learns, device))
        assert rows.columns is not None
        columns = rows.columns.cpu()
        targets, middle, rest = (given.gather(1, columns) for given in (targets, middle, rest & learns))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        hidden = body(rows.ids, rows.positions, mask, after)
        wanted = [_pick(hidden, targets, which, device) for which in (middle, rest)]
        (m_sum, m_right), (r_sum, _) = (_cross_entropy(network, h, t) for h, t in wanted)
    return Losses(m_sum, len(wanted[0][1]), r_sum, len(wanted[1][1]), m_right)


def _after_context(body: Body, rows: Rows, learns: Tensor) -> tuple[Rows, After | None, Tensor]:
    """Read the tokens that the gradient does not flow through, and pick the others.

    Returns the latter, what the former leave behind, and what is seen of both. A forward pass is a third of
    what a token costs: the rest is saved.
    """
    assert rows.documents is not None  # so that padding can be told apart
    context = rows.pick(~learns & (rows.documents >= 0), CONTEXT_FILL)
    later = rows.pick(learns, LATER_FILL)
    assert context.documents is not None
    assert later.documents is not None
    if not context.ids.shape[1]:
        return later, None, later.sees(later)
    memory: Memory = []
    # Its own autocast: the casts that one remembers would bring no gradient to the weights.
    with torch.no_grad(), torch.autocast(rows.ids.device.type, dtype=torch.bfloat16):
        alone = not (context.documents > 0).any()  # a document a row, filled up behind it: causal is enough
        body(context.ids, context.positions, None if alone else context.mask(), None, memory)
    real = (later.documents.flatten() >= 0).nonzero().flatten()
    return later, After(memory, real), later.sees(context, later)


def to_rows(batch: Batch, device: torch.device) -> Rows:
    """The batch on its device."""

    def sent(given: NDArray[np.int64] | None) -> Tensor | None:
        return None if given is None else _send(torch.from_numpy(given), device)

    return Rows(
        _send(torch.from_numpy(batch.ids), device),
        _send(torch.from_numpy(batch.positions), device),
        sent(batch.documents),
        sent(batch.trunks),
        sent(batch.reach),
    )


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)


def _pick(hidden: Tensor, targets: Tensor, which: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    index = _send(which.flatten().nonzero().flatten(), device)
    return hidden.flatten(0, 1).index_select(0, index), _send(targets.flatten()[which.flatten()], device)


def _cross_entropy(network: Network, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of -log p, whether the most probable id is the target), a slice of the logits at a time."""
    total = hidden.new_zeros((), dtype=torch.float32)
    right = [torch.zeros(0, dtype=torch.bool, device=hidden.device)]
    for part, wanted in zip(hidden.split(HEAD_ROWS), targets.split(HEAD_ROWS), strict=True):
        if not len(wanted):
            continue
        logits = network.head(part).float()
        total = total + F.cross_entropy(logits, wanted, reduction="sum")
        right.append(logits.detach().argmax(dim=1) == wanted)
    return total, torch.cat(right)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step saw."""

    middle: float  # mean -log p of the middles' tokens
    rest: float  # of the prompts' that were looked at; 0 when none was
    norm: float  # of the gradient before clipping
    tokens: int
    middle_tokens: int


def step(
    network: Network,
    body: Body,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    accumulate: int,
    recipe: Recipe,
    generator: torch.Generator,
) -> Step:
    """Read `accumulate` batches, then change the weights once. The caller has set the learning rate."""
    sums, counts, tokens = [0.0, 0.0], [0, 0], 0
    matrices = [matrix for matrix in network.modules() if isinstance(matrix, Matrix)]
    for matrix in matrices:
        matrix.hold()
    share = recipe.rest_share if recipe.rest_weight else 0.0
    for _ in range(accumulate):
        batch = next(batches)
        found = losses(network, body, batch, share, generator)
        mean = found.middle / max(1, found.middle_tokens)
        if found.rest_tokens:
            mean = mean + recipe.rest_weight * found.rest / found.rest_tokens
        (mean / accumulate).backward()
        sums = [sums[0] + float(found.middle.detach()), sums[1] + float(found.rest.detach())]
        counts = [counts[0] + found.middle_tokens, counts[1] + found.rest_tokens]
        tokens += batch.tokens
    for matrix in matrices:
        matrix.let_go()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, recipe.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Step(sums[0] / max(1, counts[0]), sums[1] / max(1, counts[1]), float(norm), tokens, counts[0])
