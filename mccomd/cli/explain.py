"""Commands about the cascade: how an answer came about, and what the router's threshold means."""

from __future__ import annotations

from typing import Any

import click

from mccomd.cli.output import json_option, print_json, table
from mccomd.paths import find_paths
from mccomd.run import spawn

__all__ = ["explain", "shadow_text", "tune"]

_BAR = 20


@click.command()
@click.argument("request", default="last")
@click.option("--prompt", is_flag=True, help="Also the text that the local model read.")
@json_option
def explain(request: str, prompt: bool, as_json: bool) -> None:
    """How an answer came about: route and reason, snippets, tokens, bytes sent, cost, time by stage.

    REQUEST is `last`, or a request_id as `mccomd complete` and editors have it. The daemon keeps the
    newest 200 in memory; no text of them is ever in a log.

    \b
    mccomd explain
    mccomd explain client-3-17 --prompt
    """
    with spawn(find_paths()) as client:
        found = client.call("explain", {"request_id": request, "prompt": prompt or as_json})
    if as_json:
        print_json(found)
    else:
        click.echo(_explained(found, prompt))


@click.command()
@click.option("--share", type=click.FloatRange(0, 1), help="Ask the large model for this share of requests.")
@click.option(
    "--precision", type=click.FloatRange(0, 1), help="Keep answers local that are right this often."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Ask below this confidence.")
@click.option("--budget", is_flag=True, help="Keep within [budget] of the config.")
@click.option("--apply", "apply_", is_flag=True, help="Put the proposal into force.")
@click.option("--reset", is_flag=True, help="Back to what the config says.")
@json_option
def tune(
    share: float | None,
    precision: float | None,
    threshold: float | None,
    budget: bool,
    apply_: bool,
    reset: bool,
    as_json: bool,
) -> None:
    """What each threshold of the router would mean for you, and which one meets a wish.

    The curve blends the model's calibration with your own accepted and rejected answers, kept on this machine
    without any text. Nothing changes without --apply, which holds until [router] of the config or the model
    changes, or --reset.

    \b
    mccomd tune
    mccomd tune --share 0.2
    mccomd tune --precision 0.7 --apply
    """
    wishes = {
        "share": share,
        "precision": precision,
        "threshold": threshold,
        "budget": 0.0 if budget else None,
    }
    given = {aim: wish for aim, wish in wishes.items() if wish is not None}
    if len(given) > 1:
        raise click.UsageError("one wish at a time: --share, --precision, --threshold or --budget")
    aim, wish = next(iter(given.items()), ("", None))
    with spawn(find_paths()) as client:
        params = {"aim": aim, "wish": wish, "apply": apply_, "reset": reset}
        found = client.call("tune", params, timeout_s=60)
    if as_json:
        print_json(found)
    else:
        click.echo(_tuned(found))


def _explained(found: dict[str, Any], prompt: bool) -> str:
    rows = [
        ("request", f"{found['request_id']}, {found['age_s']:.0f} s ago"),
        ("place", f"{found['path']}:{found['line'] + 1}:{found['column']}"),
        ("answer", f"{found['source']} ({found['model']}), {found['finish']}{_because(found['reason'])}"),
        ("route", found["route"] or "no router was asked"),
        (
            "confidence",
            f"{found['confidence']:.2f}{_likely(found['likely'])}; "
            f"threshold {found['threshold']:.2f}, {found['threshold_why']}",
        ),
        ("became", found["verdict"] or "not judged"),
        ("tokens", _tokens(found)),
        (
            "time",
            ", ".join(f"{name} {ms:.1f} ms" for name, ms in found["stages_ms"].items()) or "from memory",
        ),
    ]
    if found["shadow"]:
        rows.append(("shadow", found["shadow"]))
    if found["rejected"]:
        rows.append(("after", f"you rejected {found['rejected']!r}"))
    if found["carried"]:
        rows.append(("cloud asked", f"for {found['carried']}: what you typed since agrees with its answer"))
    rows += [("snippet", _snippet(each)) for each in found["snippets"]]
    rows += _cloud_rows(found["cloud"]) if found["cloud"] else [("sent", "nothing left this machine")]
    rows += [("searched", found["search"])] if found["search"] else []
    rows += [("update", each) for each in found["updates"]]
    text = table(rows)
    if prompt:
        text += f"\n\n{found['prompt']}" if found["prompt"] else "\n\nno prompt: the answer came from memory"
    return text


def _likely(share: float | None) -> str:
    return "" if share is None else f" ({share:.0%} of such answers were right when the model was measured)"


def _tokens(found: dict[str, Any]) -> str:
    return (
        f"{found['prompt_tokens']} in the prompt, {found['prefilled']} read, {found['reused']} reused; "
        f"{found['generated']} written, {found['drafted']} drafted, {found['accepted']} accepted"
    )


def _snippet(each: dict[str, Any]) -> str:
    at = f"{each['path']}:{each['start_line']}-{each['end_line']}"
    commit = each["commit"][:9] or "not committed"
    return f"{at} @ {commit}, {each['source']} {each['score']:.2f}, for {each['used_by'] or 'nobody'}"


def _cloud_rows(cloud: dict[str, Any]) -> list[tuple[str, str]]:
    first = "" if cloud["first_ms"] is None else f"first text {cloud['first_ms']:.0f} ms, "
    rows = [
        (
            "asked",
            f"{cloud['backend']} {cloud['model']}".strip() + f" at {cloud['endpoint'] or 'its own place'}",
        ),
        ("", f"{first}{cloud['ms']:.0f} ms in all" + ("" if cloud["done"] else ", still under way")),
        (
            "draft",
            f"{cloud['strategy'] or 'none'}, {cloud['drafted']} handed over, {cloud['accepted']} accepted",
        ),
        (
            "sent",
            f"{cloud['bytes_sent']} bytes, {cloud['prompt_tokens']} tokens; {cloud['output_tokens']} came "
            f"back; cost {cloud['cost']:.6f}",
        ),
    ]
    if cloud["masked"]:
        rows.append(("masked", ", ".join(cloud["masked"])))
    if cloud["dropped"]:
        rows.append(("dropped", cloud["dropped"]))
    if cloud["error"]:
        rows.append(("failed", cloud["error"]))
    return rows


def _tuned(found: dict[str, Any]) -> str:
    lines = [_in_force(found), ""]
    lines += _curve(found) if found["curve"] else [_no_curve(found)]
    lines += ["", _month(found["month"], found["requests_month"])]
    if found["shadow"]["name"]:
        lines.append(shadow_text(found["shadow"]))
    if found["applied"]:
        lines.append(f"applied: {found['reason']}")
    elif found["proposed"] is None:
        lines.append(f"no proposal: {found['reason']}")
    else:
        lines.append(
            f"proposed: threshold {found['proposed']:.2f}, for {found['reason']}; --apply puts it into force"
        )
    return "\n".join(lines)


def _in_force(found: dict[str, Any]) -> str:
    return f"threshold {found['threshold']:.2f} ({found['why']})"


def _no_curve(found: dict[str, Any]) -> str:
    return (
        f"no curve yet: model {found['model']} has no calibration, and {found['own_answers']} of your own "
        "answers are known (200 are needed)"
    )


def _curve(found: dict[str, Any]) -> list[str]:
    known = "right" if found["calibrated"] or found["own_judged"] else "right?"
    rows = [("threshold", "asked", "", known, "calls/month", "tokens/month", "cost/month")]
    for each in found["curve"]:
        rows.append(
            (
                f"{each['threshold']:.2f}",
                f"{each['share']:.0%}",
                "#" * round(each["share"] * _BAR),
                f"{each['precision']:.0%}" if each["kept"] else "-",
                f"{each['calls_month']:.0f}",
                f"{each['tokens_month']:.0f}",
                f"{each['money_month']:.2f}",
            )
        )
    data = f"calibration: {found['calibration'] or 'none'} ({found['calibrated']:.0f} answers)"
    own = f"yours: {found['own_answers']} answers, {found['own_judged']} of them judged"
    return [*table(rows).split("\n"), f"{data}; {own}"]


def _month(month: dict[str, Any], requests: float) -> str:
    text = f"{month['month']}: {month['calls']} calls, {month['tokens']} tokens, cost {month['money']:.4f}"
    limits = [f"{month['limit_tokens']} tokens"] if month["limit_tokens"] else []
    limits += [f"cost {month['limit_money']:.2f}"] if month["limit_money"] else []
    text += f" of at most {' and '.join(limits)}" if limits else ""
    return f"{text}; about {requests:.0f} requests a month{_because(month['reason'])}"


def shadow_text(shadow: dict[str, Any]) -> str:
    asked = (
        f"both would ask for {shadow['both']}, only the router for {shadow['only_router']}, "
        f"only the shadow for {shadow['only_shadow']}"
    )
    kept = f"{shadow['router_kept_good']:.0%} and {shadow['shadow_kept_good']:.0%} were taken"
    return (
        f"shadow {shadow['name']}: of {shadow['requests']} requests {asked}; "
        f"of the judged answers each would keep, {kept}"
    )


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
