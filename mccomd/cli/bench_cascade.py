"""`bench cascade`: local alone, large alone, both; what drafts save; what a misbehaving endpoint costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mccomd.cli.bench import ended_properly, progress, say
from mccomd.cli.output import json_option, print_json, table

__all__ = ["cascade"]


@click.command()
@click.option("--traces", type=click.Path(dir_okay=False, path_type=Path), help="Default: mccomd's own.")
@click.option(
    "--limit", default=120, show_default=True, type=click.IntRange(0), help="Keystrokes a mode; 0 = all."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, other stretches of the traces.")
@click.option(
    "--pace", default=1.0, show_default=True, type=click.FloatRange(0.1, 100), help="2 = half as fast."
)
@click.option("--rtt-ms", default=60.0, show_default=True, type=click.FloatRange(0, 10_000))
@click.option("--ttft-ms", default=120.0, show_default=True, type=click.FloatRange(0, 60_000))
@click.option("--token-ms", default=12.0, show_default=True, type=click.FloatRange(0, 10_000))
@click.option(
    "--share", default=0.65, show_default=True, type=click.FloatRange(0, 1),
    help="Of the places where the large model is right, without --gguf or --recorded.",
)  # fmt: skip
@click.option(
    "--gguf", type=click.Path(exists=True, path_type=Path), help="The large model, asked beforehand."
)
@click.option(
    "--recorded", type=click.Path(exists=True, path_type=Path), help="Its answers, as --record wrote them."
)
@click.option(
    "--record", type=click.Path(dir_okay=False, path_type=Path), help="Keep the answers of --gguf here."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="The router's. Default: as mccomd ships.")
@click.option(
    "--unsure", type=click.Choice(["hold", "show", "drop"]), help="See router.unsure in the config."
)
@click.option("--typing/--no-typing", "with_typing", default=True, help="The typed session.")
@click.option("--faults", is_flag=True, help="Also: what a misbehaving endpoint does to local answers.")
@click.option("--strategies", is_flag=True, help="Also: what drafts save at llama.cpp's server with --gguf.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots.")
@json_option
def cascade(
    traces: Path | None,
    limit: int,
    seed: int,
    pace: float,
    rtt_ms: float,
    ttft_ms: float,
    token_ms: float,
    share: float,
    gguf: Path | None,
    recorded: Path | None,
    record: Path | None,
    threshold: float | None,
    unsure: str | None,
    with_typing: bool,
    faults: bool,
    strategies: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Type recorded edits in real time: with the local model alone, and with a large one behind it.

    The large model's network is stated (round trip, first token, each further token) and its answers are a
    recording, a GGUF model's, or a stand-in's that is right in a share of the places. Asking it at every key
    is computed from the same. Nothing leaves this machine.

    \b
    mccomd bench cascade --html cascade.html
    mccomd bench cascade --gguf large.gguf --record answers.jsonl
    mccomd bench cascade --no-typing --faults --strategies --gguf large.gguf
    """
    from mccomd.bench.cascade import CascadePlan, bench_cascade, figures_of, keystrokes_of
    from mccomd.bench.cascade_report import write_report
    from mccomd.bench.modelled import Network
    from mccomd.bench.page import require
    from mccomd.bench.traces import load_traces

    if html is not None:
        require()
    if strategies and gguf is None:
        raise click.UsageError("--strategies needs the large model: --gguf FILE")
    network = Network(rtt_ms, ttft_ms, token_ms)
    plan = CascadePlan(
        load_traces(traces), limit, seed, pace, network, share, gguf, recorded, record, threshold, unsure
    )
    figures: dict[str, Any] = {}
    modes: list[Any] = []
    with ended_properly():
        if with_typing:
            with progress("keystrokes", keystrokes_of(plan)) as advance:
                modes, about = bench_cascade(plan, advance)
            figures |= figures_of(plan, modes, about)
        if faults:
            figures |= _faults()
        if strategies and gguf is not None:
            figures["strategies"] = _strategies(plan.traces, gguf, seed)
    if html is not None:
        write_report(modes, figures, html)
        say(f"written to {html}")
    if as_json:
        print_json(figures)
    else:
        click.echo(_text(figures))


def _faults() -> dict[str, Any]:
    from mccomd.bench.faults import FaultPlan, bench_faults, steps_of

    plan = FaultPlan()
    with progress("faults", steps_of(plan)) as advance:
        return bench_faults(plan, advance)


def _strategies(traces: Any, gguf: Path, seed: int) -> dict[str, Any]:
    from mccomd.bench.peer import require
    from mccomd.bench.strategies import StrategyPlan, bench_strategies, steps_of

    require()
    plan = StrategyPlan(traces, gguf, seed=seed)
    with progress("drafts", steps_of(plan)) as advance:
        return bench_strategies(plan, advance)


def _text(found: dict[str, Any]) -> str:
    parts = []
    if "cascade" in found:
        parts += [_typing_text(found)]
    if "delay_ms" in found:
        rows: list[tuple[str, ...]] = [
            ("endpoint", "later by, p50 ms", "p95 ms", "greatest without", "beside", "n")
        ]
        rows += [(name, *_cells(row)) for name, row in found["delay_ms"].items()]
        rows.append(("all faults", *_cells(found["delay_all_ms"])))
        parts.append(table(rows))
    if "strategies" in found:
        parts.append(_strategies_text(found["strategies"]))
    return "\n\n".join(parts)


def _typing_text(found: dict[str, Any]) -> str:
    rows = [("", "calls", "a request", "wasted", "shown", "first ms", "final ms", "exact", "of shown")]
    for name, title in (("local", "local alone"), ("cloud", "large, at every key"), ("cascade", "cascade")):
        part = found[name]
        rows.append(
            (title, str(part["calls"]), _percent(part["calls_share"]), _percent(part["wasted_calls"]),
             _percent(part["shown_share"]), _ms(part["first_ms"]["p50"]), _ms(part["final_ms"]["p50"]),
             _percent(part["em"]), _percent(part["em_of_shown"]))
        )  # fmt: skip
    network = found["network"]
    return "\n".join(
        [
            table(rows),
            f"{found['places']} requests; the large model: {found['large_model']}",
            f"its network: {network['rtt_ms']:.0f} ms there and back, {network['ttft_ms']:.0f} ms to the "
            f"first token, {network['token_ms']:.0f} ms a token",
            f"others used {found['others_share']:.0%} of the processors meanwhile",
        ]
    )


def _strategies_text(found: dict[str, Any]) -> str:
    rows = [("draft", "strategy", "first ms", "all ms", "drafted", "accepted", "same text")]
    for state, part in found["plain"].items():
        rows.append(("", f"plain, {state}", _ms(part["first_ms"]), _ms(part["total_ms"]), "", "", ""))
    for kind, part in found["prime"].items():
        for name in ("ahead", "in_series"):
            times = part[name]
            rows.append(
                (kind, f"prime, {name.replace('_', ' ')}", _ms(times["first_ms"]), _ms(times["total_ms"]),
                 str(part["drafted"]), str(part["accepted"]), part["identical"])
            )  # fmt: skip
    return table(rows) + f"\nmedians of {found['places']} places, {found['tokens']} tokens, {found['model']}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    times = (row["p50"], row["p95"], row["max_without"], row["max_beside"])
    return *(f"{value:.2f}" for value in times), str(row["n"])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"
