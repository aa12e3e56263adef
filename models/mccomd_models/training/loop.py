"""One run: batches, steps, held-out losses, checkpoints, log. Stopped, it goes on as if it had not been.

A run's folder holds the checkpoint and log.jsonl, a line for each few steps ("step") and each held-out
measurement ("held_out"). Only the recipe's length and bits, the batch sizes of later steps, the data and the
machine may change between two parts of a run.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mccomd_models.architecture import LlamaConfig, Weights
from mccomd_models.training.batches import Batch, Batches, Place
from mccomd_models.training.checkpoint import load_checkpoint, save_checkpoint
from mccomd_models.training.learn import (
    Body,
    choose_weights,
    losses,
    make_optimizer,
    round_weights,
    step,
)
from mccomd_models.training.network import Network, load_weights, read_weights
from mccomd_models.training.recipe import Plan, Recipe, learning_rate
from mccomd_models.training.shards import KINDS, Data

__all__ = ["LOG", "Run", "held_out_loss", "load_run"]

LOG = "log.jsonl"


@dataclass(slots=True)
class Run:
    """A run in progress."""

    plan: Plan
    recipe: Recipe
    config: LlamaConfig
    origin: str  # of the weights that it began with
    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    place: Place = field(default_factory=Place)
    steps: int = 0
    tokens: int = 0
    middle_tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False

    @classmethod
    def begin(
        cls, plan: Plan, recipe: Recipe, config: LlamaConfig, weights: Weights, origin: str = ""
    ) -> Run:
        """From the run's checkpoint, or, when it has none, from these weights."""
        device = torch.device(plan.device)
        torch.manual_seed(plan.seed)
        network = Network(config)
        load_weights(network, weights)
        parameters = choose_weights(network, recipe.learns)
        if recipe.bits:
            round_weights(network, recipe.bits, recipe.block)
        network.to(device)
        run = cls(
            plan,
            recipe,
            config,
            origin,
            network,
            make_optimizer(parameters, recipe),
            torch.Generator().manual_seed(plan.seed),
        )
        state = load_checkpoint(plan.folder, device)
        if state is not None:
            run._restore(state)
        return run

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, and the config, so that it can be exported alone."""
        return {
            "config": asdict(self.config),
            "origin": self.origin,
            "learns": self.recipe.learns,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "place": asdict(self.place),
            "steps": self.steps,
            "tokens": self.tokens,
            "middle_tokens": self.middle_tokens,
            "seconds": self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["learns"] != self.recipe.learns:
            raise ValueError(f"the checkpoint's run learns {state['learns']!r}, not {self.recipe.learns!r}")
        self.origin = state["origin"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.place = Place(**state["place"])
        self.steps, self.tokens, self.middle_tokens = state["steps"], state["tokens"], state["middle_tokens"]
        self.seconds = state["seconds"]

    def go(self, data: Data, held_out: Data | None, say: Callable[[str], None] = print) -> None:
        """Train until the recipe's tokens are seen, the time is over, or SIGTERM or SIGINT comes."""
        batches = Batches(
            data,
            self.plan.batch_tokens,
            self.plan.layout,
            self.plan.row_tokens,
            self.plan.seed,
            self.recipe.gradient_tokens,
        )
        body: Body = self._body()
        followed = batches.follow(self.place)
        clock = _Clock(self.plan)
        with _Signals(self):
            if held_out is not None and not self.steps:
                self._measure(held_out, say)
            while self.tokens < self.recipe.tokens and not self.stopped and not clock.over():
                self._step(body, followed, say)
                if clock.due("checkpoint"):
                    save_checkpoint(self.plan.folder, self.state())
                if held_out is not None and clock.due("held_out"):
                    self._measure(held_out, say)
        save_checkpoint(self.plan.folder, self.state())
        if held_out is not None and not self.stopped:
            self._measure(held_out, say)

    def _body(self) -> Body:
        if not self.plan.compiled:
            return self.network.body
        compiled: Body = torch.compile(self.network.body, dynamic=self.plan.layout == "padded" or None)
        return compiled

    def _step(self, body: Body, followed: Iterator[tuple[Batch, Place]], say: Callable[[str], None]) -> None:
        began = time.monotonic()
        rate = learning_rate(self.recipe, self.tokens)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen = step(
            self.network,
            body,
            self.optimizer,
            self._taken(followed),
            self.plan.accumulate,
            self.recipe,
            self.generator,
        )
        self.steps += 1
        self.tokens += seen.tokens
        self.middle_tokens += seen.middle_tokens
        spent = time.monotonic() - began
        self.seconds += spent
        self._log("step", rate=rate, **asdict(seen), tokens_per_s=round(seen.tokens / spent, 1))
        if self.steps % self.plan.log_steps == 0:
            say(
                f"step {self.steps}: {self.tokens:,} tokens, {seen.tokens / spent:,.0f} a second, middle "
                f"{seen.middle:.3f}, rest {seen.rest:.3f}, norm {seen.norm:.2f}, rate {rate:.2e}"
            )

    def _taken(self, followed: Iterator[tuple[Batch, Place]]) -> Iterator[Batch]:
        for batch, self.place in followed:
            yield batch

    def _measure(self, held_out: Data, say: Callable[[str], None]) -> None:
        found = held_out_loss(self.network, held_out, self.plan)
        self._log("held_out", **found)
        say(f"held out, after {self.tokens:,} tokens: {json.dumps(found)}")

    def _log(self, what: str, **values: Any) -> None:
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        head = {"what": what, "step": self.steps, "seen": self.tokens, "seconds": round(self.seconds, 1)}
        with (self.plan.folder / LOG).open("a") as file:
            file.write(json.dumps({**head, **values}) + "\n")


def load_run(folder: Path) -> tuple[LlamaConfig, Weights, str, int]:
    """A run's newest checkpoint: its weights, low-rank parts merged, their origin, the tokens seen since.

    Raises ValueError when there is no checkpoint.
    """
    state = load_checkpoint(folder, torch.device("cpu"))
    if state is None:
        raise ValueError(f"{folder}: no checkpoint")
    config = LlamaConfig(**state["config"])
    network = Network(config)
    choose_weights(network, state["learns"])
    network.load_state_dict(state["network"])
    return config, read_weights(network), state["origin"], state["tokens"]


def held_out_loss(network: Network, data: Data, plan: Plan) -> dict[str, Any]:
    """Nats a token of the middles, and the share of middles whose every token is the most probable one.

    The last is what greedy decoding would get right to the letter, the end token included.
    """
    batches = Batches(data, plan.batch_tokens, "padded", plan.row_tokens, seed=0)
    nats, tokens = 0.0, 0
    right = dict.fromkeys(KINDS, 0)
    count = dict.fromkeys(KINDS, 0)
    for batch, rows in batches.once():
        with torch.no_grad():
            found = losses(network, network.body, batch, 0.0, torch.Generator())
        nats, tokens = nats + float(found.middle), tokens + found.middle_tokens
        at = 0
        for kind, length in rows:
            count[KINDS[kind]] += 1
            right[KINDS[kind]] += bool(found.right[at : at + length].all())
            at += length
    shares = {kind: round(right[kind] / count[kind], 4) for kind in KINDS if count[kind]}
    exact = sum(right.values()) / sum(count.values())
    return {"nats": round(nats / tokens, 4), "exact": round(exact, 4), "exact_by_kind": shares}


class _Clock:
    """When the next checkpoint is due, and when the run's time is over."""

    def __init__(self, plan: Plan) -> None:
        self._began = time.monotonic()
        self._end = None if plan.minutes is None else self._began + 60 * plan.minutes
        self._every = {"checkpoint": 60 * plan.checkpoint_minutes, "held_out": 60 * plan.held_out_minutes}
        self._last = dict.fromkeys(self._every, self._began)

    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def due(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._last[what] < self._every[what]:
            return False
        self._last[what] = now
        return True


class _Signals:
    """SIGTERM and SIGINT end a run at its next step; a second one ends it at once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._old: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._old[number] = signal.signal(number, self._stop)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _frame: object) -> None:
        self._run.stopped = True
        signal.signal(number, self._old[number])
