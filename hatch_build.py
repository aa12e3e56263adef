"""Puts the shipped model into wheels; an editable install finds it in the checkout."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODELS = ("mccomd-135m",)


class ShippedModels(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            shipped = {f"models/{name}": f"mccomd/shipped_models/{name}" for name in MODELS}
            build_data["force_include"].update(shipped)
