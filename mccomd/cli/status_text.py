"""What `mccomd status` shows people: first whether it works, then what does not and why, then the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from mccomd.cli.explain import shadow_text
from mccomd.cli.output import table, tilde

__all__ = ["status_text"]


def status_text(found: dict[str, Any]) -> str:
    """The daemon's `status` for eyes."""
    faults = list(_faults(found))
    head = click.style("working", fg="green", bold=True) if not faults else _faults_text(faults)
    model = found["model"]
    rows = [
        ("daemon", _daemon_text(found)),
        ("model", f"{model['name']}: {model['state']}{_because(model['reason'])}"),
        ("large model", _cloud_text(found["cloud"])),
        ("power", f"{found['power']['mode']}{_because(found['power']['reason'])}"),
        *(("index", text) for text in _index_texts(found["repositories"])),
        *(("n-grams", _ngrams_text(row)) for row in found.get("ngrams", ())),
        *(("plugin", _plugin_text(row)) for row in found["plugins"] if row["state"] != "loaded"),
        ("plugins", _loaded(found["plugins"])),
        ("answers", _answers_text(found["completions"])),
        ("router", _router_text(found["router"])),
        *((("shadow", shadow_text(found["router"]["shadow"])),) if found["router"]["shadow"]["name"] else ()),
        *((("month", _month_text(found["month"])),) if found["cloud"]["backend"] else ()),
        ("config", f"{tilde(found['config_file'])}{_because(found['config_problem'])}"),
        ("log", tilde(found["log_file"])),
    ]
    return f"{head}\n{table(rows)}"


def _faults(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not work and what to do."""
    model, cloud = found["model"], found["cloud"]
    if model["state"] == "failed":
        yield f"no completions: the model failed: {model['reason']}", "mccomd doctor"
    elif model["state"] == "loading":
        yield "not yet: the model is being loaded", "wait a second"
    if found["config_problem"]:
        yield f"the config was refused: {found['config_problem']}", "mccomd config check"
    for row in found["repositories"]:
        if row["state"] not in ("current", "behind") and not row["indexing"]:
            place = tilde(row["repository"])
            yield f"no snippets in {place}: index {row['state']}: {row['reason']}", f"mccomd doctor {place}"
    for row in found["plugins"]:
        if row["state"] == "failed":
            yield f"{row['kind']} {row['name']} failed: {row['reason']}", "mccomd plugins"
    if cloud["state"] in ("failed", "off", "cooling"):
        yield f"the large model is not asked: {cloud['reason'] or cloud['state']}", "mccomd doctor"


def _faults_text(faults: list[tuple[str, str]]) -> str:
    sign = click.style("attention", fg="red", bold=True)
    return "\n".join(f"{sign}  {what}\n           -> {fix}" for what, fix in faults)


def _daemon_text(found: dict[str, Any]) -> str:
    up, memory = _duration(found["uptime_s"]), f"{found['rss_mb']:.0f} MB"
    return f"{found['version']}, pid {found['pid']}, up {up}, {memory}, {found['clients']} client(s)"


def _cloud_text(cloud: dict[str, Any]) -> str:
    if not cloud["backend"]:
        return "none: nothing leaves this machine"
    name = f"{cloud['backend']} {cloud['model']}".strip()
    return f"{name}: {cloud['state']}{_because(cloud['reason'])}"


def _index_texts(rows: list[dict[str, Any]]) -> list[str]:
    return [_repository_text(row) for row in rows] or ["no repository met yet"]


def _repository_text(row: dict[str, Any]) -> str:
    """As in "HEAD abc1234 + 3 changed files, 0 behind"."""
    head = row["head"][:7] or "no commit"
    text = f"{tilde(row['repository'])}: {row['state']}, HEAD {head}"
    if row["overlay_files"]:
        text += f" + {row['overlay_files']} changed file{'s' if row['overlay_files'] > 1 else ''}"
    if row["behind"] >= 0:
        text += f", {row['behind']} behind"
    if row["indexing"]:
        return f"{text}, indexing {row['progress']:.0%}"
    text += f", {row['files']} files, {row['chunks']} chunks"
    if row["watch"] == "polling":
        text += f", watch: polling{_because(row['watch_reason'])}"
    return text + _because("" if row["state"] == "current" else row["reason"])


def _ngrams_text(row: dict[str, Any]) -> str:
    """As in "~/code/x, python: ready, 1,002,576 tokens of 1132 files"."""
    text = f"{tilde(row['repository'])}, {row['language']}: {row['state']}"
    if row["state"] == "ready":
        text += f", {row['tokens']:,} tokens of {row['files']} files"
        text += f" ({row['left_out']} left out: completion.ngram_tokens)" if row["left_out"] else ""
    return text + _because(row["reason"])


def _plugin_text(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['kind']}): {row['state']}{_because(row['reason'])}"


def _loaded(rows: list[dict[str, Any]]) -> str:
    return ", ".join(row["name"] for row in rows if row["state"] == "loaded") or "none"


def _answers_text(asked: dict[str, Any]) -> str:
    text = (
        f"{asked['requests']} asked, {asked['answered']} with a text ({asked['from_cache']} from the cache), "
        f"{asked['empty']} without, {asked['superseded']} superseded"
    )
    if asked["answered"]:
        text += f"; p50 {asked['p50_ms']:.0f} ms, p95 {asked['p95_ms']:.0f} ms"
    if asked["shown"]:
        text += (
            f"; {asked['shown']} shown, {asked['accepted']} accepted, "
            f"{asked['partially_accepted']} in part, {asked['dismissed']} dismissed"
        )
    return text


def _router_text(router: dict[str, Any]) -> str:
    return f"{router['name']}, threshold {router['threshold']:.2f}{_because(router['why'])}"


def _month_text(month: dict[str, Any]) -> str:
    text = f"{month['calls']} calls to the large model, {month['tokens']} tokens, cost {month['money']:.4f}"
    return f"{month['month']}: {text}{_because(month['reason'])}"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
