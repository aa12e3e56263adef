"""Commands that measure: `bench keystroke`, `bench engine`; and `bench record` for traces."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from mccomd.cli.output import json_option, print_json, table, tilde

__all__ = ["bench"]


@click.group()
def bench() -> None:
    """Measure mccomd on this machine and on your own repositories."""


@bench.command()
@click.option("--traces", type=click.Path(dir_okay=False, path_type=Path), help="Default: mccomd's own.")
@click.option(
    "--limit", default=300, show_default=True, type=click.IntRange(0), help="Keystrokes a repeat; 0 = all."
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--cold", default=3, show_default=True, type=click.IntRange(0, 100), help="Cold buffers a repeat."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, other stretches of the traces.")
@click.option(
    "--pace",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Share of the typist's pauses to keep; 0 = the next key as soon as the answer is there.",
)
@click.option("--peer", type=click.Choice(["llamacpp"]), help="Run the same prompts through it, in turn.")
@click.option("--gguf", type=click.Path(path_type=Path), help="The model's weights for the peer.")
@click.option("--model", default=None, help="A model's name, or its folder.")
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Open the documents in it, so that it is asked for snippets.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots.")
@json_option
def keystroke(
    traces: Path | None,
    limit: int,
    repeats: int,
    cold: int,
    seed: int,
    pace: float,
    peer: str | None,
    gguf: Path | None,
    model: str | None,
    repository: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Type recorded edits into a daemon of its own and measure each answer.

    The daemon that runs, your configuration and your files stay untouched. Times run from before the change
    is sent until the answer is there. Without --repository no snippets are asked for.

    \b
    mccomd bench keystroke
    mccomd bench keystroke --peer llamacpp --html report.html
    """
    from mccomd.bench.keystroke import bench_keystroke, keystrokes_of, resolve_model
    from mccomd.bench.measured import Plan, figures_of
    from mccomd.bench.page import require
    from mccomd.bench.report import write_report
    from mccomd.bench.traces import load_traces

    if html is not None:
        require()
    plan = Plan(
        load_traces(traces),
        limit,
        repeats,
        cold,
        seed,
        pace,
        repository=repository,
        peer=bool(peer),
        gguf=gguf,
    )
    if model is not None:
        plan = dataclasses.replace(plan, model=model)
    resolve_model(plan.model)
    with ended_properly(), progress("keystrokes", keystrokes_of(plan)) as advance:
        measured = bench_keystroke(plan, advance, say)
    figures = figures_of(measured)
    if html is not None:
        write_report(measured, figures, html)
    if as_json:
        print_json(figures)
    else:
        click.echo(_keystroke_text(figures))


@bench.command()
@click.option("--model", default=None, help="A model's name, or its folder.")
@click.option("--threads", default=0, type=click.IntRange(0, 256), help="Default: physical cores, at most 4.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000))
@json_option
def engine(model: str | None, threads: int, rounds: int, as_json: bool) -> None:
    """Measure bare passes of the model: reading a prompt, one token, several at once.

    What they cost is set against what this machine's memory and arithmetic allow.
    """
    from mccomd.bench.engine import EnginePlan, bench_engine, steps_of

    plan = EnginePlan(threads=threads, rounds=rounds)
    if model is not None:
        plan = dataclasses.replace(plan, model=model)
    with progress("passes", steps_of(plan)) as advance:
        figures = bench_engine(plan, advance)
    if as_json:
        print_json(figures)
    else:
        click.echo(_engine_text(figures))


@bench.command()
@click.argument("path", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".jsonl or .jsonl.gz"
)
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--seed", default=1, show_default=True, help="Another seed, other commits and other hands.")
@click.option("--since", default="", help="Only commits after a date, in any form that git reads.")
@click.option("--min-lines", default=5, show_default=True, type=click.IntRange(1))
@click.option("--max-lines", default=80, show_default=True, type=click.IntRange(1))
@click.option("--language", "languages", multiple=True, help="May be given several times. Default: code.")
@json_option
def record(
    path: Path,
    out: Path,
    count: int,
    seed: int,
    since: str,
    min_lines: int,
    max_lines: int,
    languages: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make typed traces of commits in the history of the repository at PATH.

    A file of a commit becomes the keys somebody would have typed to make that change.

    \b
    mccomd bench record ~/src/project --out project.jsonl.gz --since 2026-01-01
    mccomd bench keystroke --traces project.jsonl.gz
    """
    from mccomd.bench.record import Wanted, record_traces
    from mccomd.bench.traces import dump_traces

    traces = record_traces(path, Wanted(count, seed, since, min_lines, max_lines, languages))
    dump_traces(traces, out)
    if as_json:
        ids = [trace.id for trace in traces]
        print_json({"out": str(out), "traces": ids, "keystrokes": sum(trace.keystrokes for trace in traces)})
        return
    rows = [(trace.id, trace.language, f"{trace.keystrokes:,} keystrokes") for trace in traces]
    click.echo(table(rows))
    click.echo(f"written to {tilde(str(out))}")


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error for people, nothing for scripts."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


@contextlib.contextmanager
def ended_properly() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that the processes we started end with us."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _keystroke_text(found: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("", "p50 ms", "p95 ms", "n", "p50 of the repeats")]
    for key, name in (
        ("keystroke", "keystroke, by the model"),
        *((f"by_tokens_out/{key}", f"  of {key} tokens") for key in found["by_tokens_out"]),
        ("typed_through", "typed through"),
        ("first_of_a_buffer", "first of a buffer"),
        ("cold", "cold, 1,000 tokens"),
    ):
        section, _, part = key.partition("/")
        rows.append(_times_row(name, found[section][part] if part else found[section]))
    if "peer" in found:
        rows.append(_times_row("llama.cpp, by the model", found["peer"]["keystroke"]))
        rows.append(_times_row("llama.cpp, cold", found["peer"]["cold"]))
    stages = ", ".join(f"{name} {_short(part['p50'])}" for name, part in found["stages_ms"].items())
    prefilled = found["prefilled_tokens"]
    lines = [
        table(rows),
        "",
        f"median ms of the stages: {stages}",
        f"prompt tokens read: median {_short(prefilled['p50'])}, p95 {_short(prefilled['p95'])}; "
        f"drafted {found['drafted']}, accepted {found['accepted']}",
        f"{found['cpu_s_per_keystroke']} s of processor a keystroke, {found['rss_mb']} MB resident, "
        f"first completion {found['start']['first_completion_s']} s after start",
        f"others used {found['machine']['others_share']:.0%} of the processors meanwhile",
    ]
    if "peer" in found:
        lines += ["", *_peer_lines(found)]
    return "\n".join(lines)


def _times_row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    spread = part.get("p50_spread_ms") or part.get("spread_ms") or []
    times = (_short(part["p50_ms"]), _short(part["p95_ms"]), str(part["n"]))
    return (name, *times, " to ".join(_short(value) for value in spread))


def _peer_lines(found: dict[str, Any]) -> list[str]:
    peer, model, every = found["peer"], found["peer_ratio_model"], found["peer_ratio"]
    tried = ", ".join(f"{row['name']} {_short(row['p50_ms'])}" for row in peer["tried"])
    return [
        f"llama.cpp with {peer['settings']['name']} (median ms of those tried: {tried})",
        f"times as long as mccomd, by the model: "
        f"p50 {model['p50']} ({_range(model['p50_spread'])} in a block), "
        f"p95 {model['p95']} ({_range(model['p95_spread'])})",
        f"times as long as mccomd, all keystrokes: p50 {every['p50']}, p95 {every['p95']}; "
        f"cold: p50 {found['peer_ratio_cold']['p50']}",
    ]


def _range(values: list[float]) -> str:
    return " to ".join(str(value) for value in values) or "no sample"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _engine_text(found: dict[str, Any]) -> str:
    limits, decode = found["limits"], found["decode_ms_at"]
    floor = (
        f"{limits['decode_floor_ms']:.1f} ms, {limits['decode_share_of_bandwidth']:.0%} of that speed reached"
    )
    share = f"{limits['prefill_share_of_fp32']:.0%}"
    rows = [("reading a prompt", f"{size} tokens", f"{speed:,.0f} tokens/s")
            for size, speed in found["prefill_tok_s"].items()]  # fmt: skip
    rows += [
        ("one token", f"at {size}", f"{part['median']:.1f} ms (least {part['min']:.1f})")
        for size, part in decode.items()
    ]
    rows += [
        ("tokens in one pass", size, f"{ms:.1f} ms, {found['verify_cost'][size]:.2f} times one")
        for size, ms in found["verify_ms"].items()
    ]
    rows += [
        ("load", "", f"{found['load_s']:.2f} s, {found['rss_of_model_mb']:.0f} MB"),
        ("memory", f"{limits['read_gb_per_s']:.1f} GB/s", f"one token: at least {floor}"),
        (
            "float32 product",
            f"{limits['fp32_gflops']:.0f} GFLOP/s",
            f"a prompt is read at {share} of it at most",
        ),
    ]
    return table(rows)
