"""`mccomd model`: which models there are, which one answers, whether it is whole; others' models as ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mccomd.cli.output import json_option, print_json, print_json_lines, table, tilde
from mccomd.errors import ArtifactError, MccomdError
from mccomd.paths import find_paths

if TYPE_CHECKING:
    from mccomd.engine.artifact import Manifest

__all__ = ["model"]


@dataclass(frozen=True)
class _Model:
    """A model folder that can be named."""

    name: str  # as `mccomd model use` takes it
    folder: Path
    manifest: Manifest | None  # None: it cannot be read
    problem: str
    default: bool


@click.group()
def model() -> None:
    """The local models: list, check, choose, import.

    \b
    mccomd model list
    mccomd model import ~/Downloads/coder-0.5b.gguf --name coder
    mccomd model use coder
    """


@model.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """Models that came with mccomd and your own; the one in use is marked."""
    found = list(_models())
    if as_json:
        print_json_lines(_about(one) for one in found)
        return
    rows: list[tuple[str, ...]] = [
        ("", "name", "parameters", "size", "context", "fill-in", "licence", "calibrated")
    ]
    rows += [_row(one) for one in found]
    click.echo(table(rows))
    if not any(one.default for one in found):
        click.echo("the model in use is none of these: see `mccomd config show`")


@model.command()
@click.argument("name")
@json_option
def use(name: str, as_json: bool) -> None:
    """Make NAME, or the model in the folder NAME, the one that answers.

    Changes two keys of your config file and nothing else in it; a running daemon takes the model at once.

    \b
    mccomd model use coder
    mccomd model use ~/models/coder
    """
    from mccomd.config import load
    from mccomd.config.edit import set_texts
    from mccomd.engine.artifact import load_manifest

    folder = Path(name).expanduser()
    if (folder / "manifest.json").is_file():
        folder = folder.resolve()
        load_manifest(folder)
        values = {"folder": str(folder)}
    else:
        one = _named(name)
        load_manifest(one.folder)
        values = {"name": one.name}
    config_file = find_paths().config_file
    if "name" in values and load(config_file).model.folder:
        values["folder"] = ""  # it would win over the name
    set_texts(config_file, "model", values)
    if as_json:
        print_json({"model": values, "config_file": str(config_file)})
    else:
        click.echo(f"{tilde(str(config_file))}: {', '.join(f'model.{k} = {v!r}' for k, v in values.items())}")


@model.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Check models byte by byte, and that they compute here what they did where they were made.

    Without NAME all of them. Exit code 1 if one is damaged.
    """
    chosen = [_named(name) for name in names] if names else list(_models())
    results = [_verified(one) for one in chosen]
    if as_json:
        print_json_lines(results)
    else:
        click.echo(table([(one["name"], "ok" if one["ok"] else "DAMAGED", one["detail"]) for one in results]))
    bad = [one["name"] for one in results if not one["ok"]]
    if bad:
        raise MccomdError(f"damaged: {', '.join(bad)}; install mccomd again, or import the model again")


@model.command(name="import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default=None, help="What to call it here. Default: the source's name.")
@click.option("--licence", default="unknown", help="What you may do with the weights, for `model list`.")
@click.option("--prefix-only", is_flag=True, help="Take a model that cannot fill in: it only writes on.")
@json_option
def import_(source: Path, name: str | None, licence: str, prefix_only: bool, as_json: bool) -> None:
    """Take a llama or Qwen2 model from a GGUF file or a Hugging Face folder.

    The weights are stored in 8 bits among your own models. How the model wants to be asked to fill in is read
    from its tokens and proved by filling a few gaps that only the text behind them can tell.
    Needs: pip install 'mccomd[import]'

    \b
    mccomd model import ~/Downloads/coder-0.5b.gguf --name coder --licence Apache-2.0
    mccomd model import ~/models/Coder-0.5B --json
    """
    folder = find_paths().data_dir / "models"
    found = _import(source, folder, name, licence, prefix_only)
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found['name']}: {found['architecture']}, {found['parameters'] / 1e6:,.0f}M parameters, "
        f"{found['size_mb']:,.0f} MB in {tilde(found['folder'])}; fill-in by {found['fim']}\n"
        f"to use it: mccomd model use {found['name']}"
    )


def _import(source: Path, folder: Path, name: str | None, licence: str, prefix_only: bool) -> dict[str, Any]:
    """Run the importer in a process of its own: it takes a model's size in memory, and other libraries."""
    from mccomd.cli.bench import ended_properly

    if name is not None and (
        "/" in name or name.startswith((".", "-")) or not name.isprintable() or not name
    ):
        raise MccomdError(f"{name!r} is no name for a model: use letters, digits and dashes")
    command = [sys.executable, "-m", "mccomd_models.import_model", str(source), "--into", str(folder)]
    command += ["--licence", licence, *(["--name", name] if name else [])]
    command += ["--prefix-only"] if prefix_only else []
    with (
        ended_properly(),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            said = _relay(process)
            assert process.stdout is not None
            out = process.stdout.read()
        except BaseException:
            process.terminate()  # a folder without a manifest is no model: nothing half made stays
            raise
    if process.returncode:
        raise MccomdError(_why(said, process.returncode))
    return dict(json.loads(out.splitlines()[-1]))


def _relay(process: subprocess.Popen[str]) -> list[str]:
    """The importer's progress, shown to people as it comes."""
    from mccomd.cli.bench import say

    lines: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.rstrip())
        if not line.startswith("error: "):
            say(line.rstrip())
    return lines


def _why(said: list[str], code: int) -> str:
    told = next((line.removeprefix("error: ") for line in reversed(said) if line.startswith("error: ")), None)
    if told is not None:
        return told
    missing = next((line for line in said if line.startswith("ModuleNotFoundError")), None)
    if missing is not None:
        return f"{missing.partition(': ')[2]}: pip install 'mccomd[import]'"
    last = said[-1] if said else "it said nothing; is there enough memory?"
    return f"the importer ended with code {code}: {last}"


def _models() -> Iterator[_Model]:
    """The user's own first, as they win over shipped ones of the same name."""
    from mccomd.config import load
    from mccomd.engine.artifact import load_manifest, shipped_models
    from mccomd.model import model_folder

    paths = find_paths()
    in_use = load(paths.config_file).model
    try:
        default = model_folder(in_use, paths.data_dir).resolve()
    except ArtifactError:
        default = None
    folders = {
        path.parent.name: path.parent for path in sorted((paths.data_dir / "models").glob("*/manifest.json"))
    }
    for name, folder in shipped_models().items():
        folders.setdefault(name, folder)
    if default is not None and default not in [folder.resolve() for folder in folders.values()]:
        folders[str(default)] = default
    for name, folder in folders.items():
        try:
            manifest, problem = load_manifest(folder), ""
        except ArtifactError as error:
            manifest, problem = None, str(error)
        yield _Model(name, folder, manifest, problem, folder.resolve() == default)


def _named(name: str) -> _Model:
    found = list(_models())
    for one in found:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in found)
    raise MccomdError(f"no model {name!r}: there are {names}; `mccomd model import` adds others")


def _about(one: _Model) -> dict[str, Any]:
    if one.manifest is None:
        return {"name": one.name, "folder": str(one.folder), "problem": one.problem, "default": one.default}
    manifest = one.manifest
    return {
        "name": one.name,
        "parameters": manifest.parameters,
        "size_mb": round(sum(entry.bytes for entry in manifest.files.values()) / 1e6, 1),
        "context": manifest.context_tokens,
        "default": one.default,
        "fim": manifest.prompt.kind,
        "license": manifest.licence,
        "architecture": manifest.architecture,
        "calibrated": manifest.calibration is not None,
        "folder": str(one.folder),
        "origin": manifest.origin,
    }


def _row(one: _Model) -> tuple[str, ...]:
    mark = "*" if one.default else ""
    if one.manifest is None:
        return (mark, one.name, "unreadable", one.problem, "", "", "", "")
    about = _about(one)
    return (
        mark,
        one.name,
        f"{about['parameters'] / 1e6:,.0f}M",
        f"{about['size_mb']:,.0f} MB",
        f"{about['context']:,}",
        "no" if about["fim"] == "prefix" else about["fim"],
        about["license"],
        "yes" if about["calibrated"] else "no",
    )


def _verified(one: _Model) -> dict[str, Any]:
    from mccomd.engine.artifact import verify as verify_files
    from mccomd.engine.check import run_check
    from mccomd.errors import EngineError

    result: dict[str, Any] = {"name": one.name, "folder": str(one.folder)}
    if one.manifest is None:
        return {**result, "ok": False, "detail": one.problem}
    try:
        verify_files(one.folder, one.manifest)
        checked = run_check(one.folder, one.manifest)
    except (ArtifactError, EngineError) as error:
        return {**result, "ok": False, "detail": str(error)}
    files = f"{len(one.manifest.files)} files as they were written"
    if checked is None:
        return {**result, "ok": True, "detail": f"{files}; the manifest says nothing of what it computes"}
    same = f"{checked.agreed} of {checked.rows} ids as where it was made"
    detail = f"{files}; {same}, logits {checked.apart:.3f} apart"
    return {**result, "ok": checked.ok, "detail": detail, "apart": round(checked.apart, 4)}
