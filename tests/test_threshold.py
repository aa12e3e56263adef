"""Which threshold is in force, what `tune` proposes, and when the month's budget says no."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mccomd.budget import Budget, Need, Reservation
from mccomd.calibration import Bin, Calibration, count
from mccomd.config import BudgetConfig, CloudConfig, Config, RouterConfig
from mccomd.errors import MccomdError
from mccomd.history import Answered, History
from mccomd.outgoing import CloudReport
from mccomd.plugins import PluginOptions, Plugins
from mccomd.routing import Routing
from mccomd.threshold import Tuned, in_force, of_config, read_tuned, write_tuned
from mccomd.tuning import Expected, Own, propose

from .scripted_parts import ScriptedModel

# 100 answers a quarter; 10, 30, 60 and 90 of a hundred are right
QUARTERS = Calibration((Bin(0.25, 100, 10), Bin(0.5, 100, 30), Bin(0.75, 100, 60), Bin(1.0, 100, 90)))
NOTHING = count([])
NOW_S = 1_790_000_000.0
ROUTER = RouterConfig(aim="share", share=0.25)
TUNED = Tuned("m", "precision", 0.9, 0.77, NOW_S, of_config(ROUTER))


@pytest.mark.parametrize(
    ("router", "calibration", "tuned", "value", "why"),
    [
        (RouterConfig(), QUARTERS, None, 0.1, "router.threshold of the config"),
        (RouterConfig(threshold=0.2), QUARTERS, None, 0.2, "router.threshold of the config"),
        (ROUTER, QUARTERS, None, 0.25, "a share of 25% of the requests, by the model's calibration"),
        (ROUTER, None, None, 0.1, "no calibration"),
        (RouterConfig(aim="precision", precision=0.75), QUARTERS, None, 0.5, "a precision of 75%"),
        (RouterConfig(aim="precision", precision=0.99), QUARTERS, None, 1.0, "beyond this model"),
        (RouterConfig(aim="budget"), QUARTERS, None, 0.1, "until `mccomd tune --apply`"),
        (ROUTER, QUARTERS, TUNED, 0.77, "a precision of 90%, applied by tune on 2026-09-2"),
        # what was applied ends when the user's wish or the model is another
        (replace(ROUTER, share=0.3), QUARTERS, TUNED, 0.3, "a share of 30%"),
    ],
)
def test_what_is_in_force(
    router: RouterConfig, calibration: Calibration | None, tuned: Tuned | None, value: float, why: str
) -> None:
    found = in_force(router, "m", calibration, tuned)
    assert found.value == pytest.approx(value)
    assert why in found.why


def test_another_model_is_not_tuned() -> None:
    assert in_force(ROUTER, "another", QUARTERS, TUNED).value == pytest.approx(0.25)


def test_what_was_applied_is_read_back(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) is None
    write_tuned(tmp_path / "state", TUNED)
    assert read_tuned(tmp_path / "state") == TUNED
    (tmp_path / "state" / "tuned.json").write_text("{")
    assert read_tuned(tmp_path / "state") is None
    write_tuned(tmp_path / "state", None)
    write_tuned(tmp_path / "state", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(MccomdError, match="cannot write"):
        write_tuned(tmp_path / "file", TUNED)


# --- proposals ---------------------------------------------------------------------------------------

BUSY = Expected(QUARTERS, QUARTERS, requests_month=10_000, tokens_call=1000, money_call=0.002)
UNKNOWN = Expected(NOTHING, NOTHING, requests_month=0, tokens_call=1000, money_call=0.0)


@pytest.mark.parametrize(
    ("aim", "wish", "budget", "expected", "threshold", "reason"),
    [
        ("threshold", 0.3, BudgetConfig(), BUSY, 0.3, "as wished"),
        ("share", 0.5, BudgetConfig(), BUSY, 0.5, "a share of 50%"),
        ("share", 0.5, BudgetConfig(), UNKNOWN, None, "fewer than 200 of your own answers"),
        ("precision", 0.9, BudgetConfig(), BUSY, 0.75, "a precision of 90%"),
        ("precision", 0.95, BudgetConfig(), BUSY, None, "beyond this model"),
        ("precision", 0.9, BudgetConfig(), UNKNOWN, None, "too few of your own answers"),
        # 1,000,000 tokens are 1,000 calls of 10,000 requests
        ("budget", 0.0, BudgetConfig(tokens=1_000_000), BUSY, 0.1, "1000 calls a month"),
        # 5.00 are 2,500 calls: the tighter limit counts
        ("budget", 0.0, BudgetConfig(tokens=10**9, money=5.0), BUSY, 0.25, "2500 calls a month"),
        ("budget", 0.0, BudgetConfig(tokens=10**12), BUSY, 1.0, "calls a month"),
        ("budget", 0.0, BudgetConfig(), BUSY, None, "no budget is set"),
        ("budget", 0.0, BudgetConfig(tokens=1000), UNKNOWN, None, "not known yet"),
    ],
)
def test_a_wish_becomes_a_threshold(
    aim: str, wish: float, budget: BudgetConfig, expected: Expected, threshold: float | None, reason: str
) -> None:
    found, why = propose(aim, wish, Config(budget=budget), expected)
    assert found == (None if threshold is None else pytest.approx(threshold))
    assert reason in why


def test_what_the_users_own_history_says() -> None:
    def answer(days_ago: float, confidence: float, verdict: str) -> Answered:
        return Answered(
            "r", "1", NOW_S - days_ago * 86_400, "m", "python", confidence, 0, None, "local", 5, 1, 4, 0, 1,
            "space", -1.0, -1, verdict,
        )  # fmt: skip

    verdicts = ["accepted", "typed_through", "rejected", "dismissed", "missed", "left", ""]
    rows = [answer(days, 0.5, verdict) for days in (40, 9, 1) for verdict in verdicts]
    own = Own.of(rows, NOW_S)
    assert (own.answers, own.judged) == (21, 12)
    assert (own.traffic.n, own.taken.n) == (21, 12)
    assert sum(each.exact for each in own.taken.bins) == 6
    assert own.requests_month == pytest.approx(14 / 9 * 30)  # 14 in nine days
    assert Own.of([], NOW_S).requests_month == 0


# --- the month's budget --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "spent", "reason"),
    [
        (BudgetConfig(), CloudReport(requests=1, prompt_tokens=10**9), ""),
        (BudgetConfig(tokens=1000), CloudReport(requests=1, prompt_tokens=900, output_tokens=99), ""),
        (
            BudgetConfig(tokens=1000),
            CloudReport(requests=1, prompt_tokens=900, output_tokens=100),
            "1000 of 1000",
        ),
        (
            BudgetConfig(tokens=1000),
            CloudReport(requests=1, bytes_sent=4000),
            "1000 of 1000",
        ),  # it did not say
        (BudgetConfig(money=1.0), CloudReport(requests=1, prompt_tokens=9, cost=1.25), "1.25 of 1.00"),
        (BudgetConfig(tokens=1000), CloudReport(), ""),  # nothing was sent
    ],
)
def test_a_spent_budget_says_so(
    tmp_path: Path, budget: BudgetConfig, spent: CloudReport, reason: str
) -> None:
    config = Config(budget=budget, cloud=CloudConfig(backend="large"))
    history = History(tmp_path)
    plugins = Plugins(PluginOptions(), lambda *_, **__: ())

    async def run() -> str:
        routing = Routing(lambda: config, plugins, ScriptedModel(), history, tmp_path, lambda: NOW_S)  # type: ignore[arg-type]
        if budget != BudgetConfig():
            assert "being read" in routing.budget.spent()
        await history.load()
        routing.budget.paid(spent)
        found = routing.budget.spent()
        await history.close()
        return found

    found = asyncio.run(run())
    assert (found == "") == (reason == "")
    assert reason in found
    plugins.close()


def test_a_budget_that_cannot_be_counted_allows_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    config = Config(budget=BudgetConfig(tokens=1000))

    async def run() -> str:
        history = History(tmp_path / "state")
        await history.load()
        plugins = Plugins(PluginOptions(), lambda *_, **__: ())
        routing = Routing(lambda: config, plugins, ScriptedModel(), history, tmp_path, lambda: NOW_S)  # type: ignore[arg-type]
        await history.close()
        return routing.budget.spent()

    assert "cannot be counted" in asyncio.run(run())


@pytest.mark.parametrize(
    ("limit", "answer"),
    [
        (BudgetConfig(tokens=1000), "400 tokens of the month's budget are left, beside what the calls"),
        (BudgetConfig(money=1.0), "0.4000 of the month's budget are left, beside what the calls"),
    ],
)
def test_calls_under_way_hold_what_they_may_need(tmp_path: Path, limit: BudgetConfig, answer: str) -> None:
    config = Config(budget=limit, cloud=CloudConfig(backend="large", input_price=1000, output_price=1000))
    history = History(tmp_path)
    budget = Budget(lambda: config, history, lambda: NOW_S)
    need = Need(500, 100)

    async def run() -> None:
        await history.load()
        first = budget.reserve(need)
        assert isinstance(first, Reservation)
        assert answer in str(budget.reserve(need))
        assert budget.spent() == ""
        budget.paid(CloudReport(requests=1, prompt_tokens=90, output_tokens=10, cost=0.1))
        assert isinstance(budget.reserve(need), str)  # settled, not yet given back
        first.release()
        first.release()
        assert budget.reserved == (0, 0.0)
        second = budget.reserve(need)
        assert isinstance(second, Reservation)
        assert budget.reserved == (600, pytest.approx(0.6))
        await history.close()

    asyncio.run(run())
