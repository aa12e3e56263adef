"""A config as TOML text that loads back to the same config, and where each of its values was set."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from mccomd.config.lines import shown
from mccomd.config.schema import SECTIONS, Config, Rule, rule_fields

__all__ = ["origins", "render"]

DEFAULT = "default"


def origins(config: Config) -> dict[str, str]:
    """For each key, as "completion.deadline_ms": "default", or "FILE:LINE" where it is written."""
    keys = [f"{section}.{key.name}" for section, kind in SECTIONS.items() for key in rule_fields(kind)]
    keys += [key for key in config.written_at if key not in keys]
    return {key: config.written_at.get(key, DEFAULT) for key in keys}


def render(config: Config, *, with_origins: bool = False) -> str:
    """config as TOML, every key with its meaning; load() of it gives the same config."""
    known = origins(config) if with_origins else {}
    blocks = [_rendered_section(name, getattr(config, name), known) for name in SECTIONS]
    for name, table in config.plugins.options.items():
        body = [f"{_toml_key(key)} = {_toml(value)}" for key, value in table.items()]
        blocks.append("\n".join([f"[plugins.options.{_toml_key(name)}]", *body]))
    return "\n\n".join(blocks) + "\n"


def _rendered_section(name: str, section: Any, known: Mapping[str, str]) -> str:
    lines = [f"[{name}]  # {type(section).__doc__}"]
    for key in rule_fields(type(section)):
        rule: Rule = key.metadata["rule"]
        lines.append(f"# {_explained(rule)}")
        origin = known.get(f"{name}.{key.name}")
        comment = f"  # {shown(origin)}" if origin else ""
        lines.append(f"{key.name} = {_toml(getattr(section, key.name))}{comment}")
    return "\n".join(lines)


def _explained(rule: Rule) -> str:
    if rule.choices:
        return f"{rule.meaning}: {', '.join(rule.choices)}"
    return f"{rule.meaning} ({rule.unit}, {rule.low} to {rule.high})" if rule.unit else rule.meaning


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _toml_text(value)
        case list() | tuple():
            return f"[{', '.join(_toml(entry) for entry in value)}]"
        case dict():
            return "{" + ", ".join(f"{_toml_key(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
    return str(value)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _toml_text(text: str) -> str:
    return (
        '"'
        + "".join(_ESCAPES.get(c) or (c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}") for c in text)
        + '"'
    )


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_text(key)
