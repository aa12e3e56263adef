"""Commands about the large model's endpoint: what is known of it, and a probe of what it can do."""

from __future__ import annotations

from typing import Any

import click

from mccomd.cli.output import json_option, print_json, table
from mccomd.paths import find_paths
from mccomd.run import spawn

__all__ = ["cloud"]

PROBE_S = 150.0


@click.group()
def cloud() -> None:
    """The large model: which one, what it can do, what its drafts save.

    \b
    mccomd cloud status
    mccomd cloud probe
    """


@cloud.command()
@json_option
def status(as_json: bool) -> None:
    """What is known of the endpoint; sends nothing."""
    _show(probe=False, as_json=as_json)


@cloud.command()
@json_option
def probe(as_json: bool) -> None:
    """Try what the endpoint can do, and remember it.

    Sends a few short texts of mccomd's own, none of yours. What an endpoint does with a field is judged by
    its answer, never by its status: many ignore silently what they do not know.
    """
    _show(probe=True, as_json=as_json)


def _show(*, probe: bool, as_json: bool) -> None:
    with spawn(find_paths()) as client:
        found = client.call("cloud", {"probe": probe}, timeout_s=PROBE_S)
    if as_json:
        print_json(found)
    else:
        click.echo(_text(found))


def _text(found: dict[str, Any]) -> str:
    status, caps, known = found["status"], found["caps"], found["estimates"]
    if not status["backend"]:
        return (
            "no large model is configured: nothing leaves this machine (see [cloud] in `mccomd config show`)"
        )
    rows = [
        ("backend", status["backend"]),
        ("endpoint", status["endpoint"] or "of its own"),
        ("model", status["model"] or "the endpoint's own"),
        ("state", f"{status['state']}{': ' + status['reason'] if status['reason'] else ''}"),
    ]
    if caps:
        rows += [
            ("fills in by", _FIM.get(caps["fim"], f"the markers of {caps['fim']}")),
            ("takes drafts by", _drafts(caps)),
            ("context", f"{caps['n_ctx']} tokens" if caps["n_ctx"] else "not known"),
            *(("probe", note) for note in caps["notes"]),
        ]
    if known.get("ttft_ms") is not None:
        token = known["token_ms"]
        each = f", {token:.1f} ms a token" if token is not None else ""
        rows.append(("times", f"{known['ttft_ms']:.0f} ms to the first text{each}"))
    for name, record in found["strategies"].items():
        state = (
            record["off"] or f"{record['gain_ms']:+.0f} ms against plain" if name != "plain" else "as asked"
        )
        rows.append((f"with {name}", f"{record['calls']} calls, {state}"))
    return table(rows)


_FIM = {
    "none": "nothing: it sees the text before the cursor only; set cloud.fim_template if the model can",
    "suffix": "a field for the text behind the cursor",
    "chat": "a hole in a chat message",
}


def _drafts(caps: dict[str, Any]) -> str:
    able = [caps["draft"]] if caps["draft"] != "none" else []
    able += ["priming"] if caps["prime"] else []
    able += ["reading a prompt ahead"] if caps["keeps_prompts"] else []
    able += [f"verification ({caps['verify']})"] if caps["verify"] != "none" else []
    if not able:
        return "nothing" if caps["proved"] else "not known yet: `mccomd cloud probe`"
    return ", ".join(able) + ("" if caps["proved"] else " by its documentation; `mccomd cloud probe` tries")
