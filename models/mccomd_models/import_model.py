"""Somebody else's model as a folder of ours: `python -m mccomd_models.import_model SOURCE --into FOLDER`.

SOURCE is a GGUF file or a Hugging Face folder of a llama or a Qwen2. Its fill-in-the-middle convention is
found by its tokens' names and proved by filling gaps. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mccomd.engine.artifact import TOKENIZER_FILE, Manifest, PromptConvention, write_manifest
from mccomd.errors import MccomdError
from mccomd_models.architecture import LlamaConfig, Weights
from mccomd_models.export import Description, export
from mccomd_models.fill_in import GAPS, Trial, conventions_for, end_names, try_convention
from mccomd_models.graph import Precision
from mccomd_models.tokenizer_source import vocabulary, write_tokenizer

__all__ = ["Found", "choose", "import_model", "main", "name_of"]

PLAIN = PromptConvention(kind="prefix")


@dataclass(frozen=True, slots=True)
class Found:
    """A model as it was read."""

    config: LlamaConfig
    weights: Weights
    end_ids: tuple[int, ...]


def import_model(
    source: Path, out: Path, name: str, licence: str, *, prefix_only: bool = False
) -> dict[str, Any]:
    """Write the folder `out`, whole or not at all; what the command prints as JSON.

    prefix_only: take the model even if it cannot fill in. Raises ValueError, MccomdError.
    """
    if (out / "manifest.json").exists():
        raise ValueError(f"{out} holds a model already: remove it, or give another --name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out.parent) as scratch:
        folder = Path(scratch)
        _say(f"reading {source}")
        found = _read(source, folder)
        millions = found.config.parameters / 1e6
        _say(f"{found.config.architecture}, {millions:,.0f}M parameters: writing in 8 bits")
        manifest = _write(folder, found, name, source, licence)
        trials = _try_all(folder, manifest)
        chosen = choose(source, trials, prefix_only)
        manifest = msgspec.structs.replace(manifest, prompt=chosen)
        write_manifest(folder, manifest)
        if out.exists():
            shutil.rmtree(out)  # what an older version left unfinished: it has no manifest
        folder.rename(out)
        Path(scratch).mkdir()  # for the context manager to remove
    return {
        "name": manifest.name,
        "folder": str(out),
        "architecture": manifest.architecture,
        "parameters": manifest.parameters,
        "size_mb": round(sum(entry.bytes for entry in manifest.files.values()) / 1e6, 1),
        "fim": chosen.kind,
        "gaps": {trial.convention.kind: trial.right for trial in trials},
        "gaps_of": len(GAPS),
        "nats": {trial.convention.kind: round(trial.nats, 3) for trial in trials},
    }


def _read(source: Path, folder: Path) -> Found:
    """The model; its tokenizer is written to `folder`."""
    if source.is_dir():
        from mccomd_models.hf_source import read_folder

        model = read_folder(source)
        shutil.copyfile(model.tokenizer, folder / TOKENIZER_FILE)
        return Found(model.config, model.weights, model.end_ids)
    if not source.is_file():
        raise ValueError(f"{source}: no such file or folder")
    with source.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError(f"{source}: neither a GGUF file nor a folder with config.json")
    try:
        from mccomd_models.gguf_source import read_gguf
    except ImportError as error:
        raise ValueError("reading GGUF files needs gguf: pip install 'mccomd[import]'") from error
    parts = read_gguf(source)
    write_tokenizer(folder / TOKENIZER_FILE, parts.tokenizer)
    return Found(parts.config, parts.weights, parts.end_ids)


def _write(folder: Path, found: Found, name: str, source: Path, licence: str) -> Manifest:
    vocab = vocabulary(folder / TOKENIZER_FILE)
    ends = dict.fromkeys([*found.end_ids, *(vocab[token] for token in end_names(vocab))])
    description = Description(name, PLAIN, tuple(ends), f"imported from {source.name}", licence)
    return export(folder, found.config, found.weights, Precision("int8", _block(found.config)), description)


def _block(config: LlamaConfig) -> int:
    """Weights to a scale: 32, or 16 where a width is no multiple of it. Raises ValueError."""
    for block in (32, 16):
        if config.hidden % block == 0 and config.ffn % block == 0:
            return block
    raise ValueError(f"widths of {config.hidden} and {config.ffn} are no multiples of 16, which 8 bits need")


def _try_all(folder: Path, manifest: Manifest) -> list[Trial]:
    vocab = vocabulary(folder / TOKENIZER_FILE)
    trials = []
    for convention in conventions_for(vocab):
        trial = try_convention(folder, manifest, convention)
        _say(f"{convention.kind}: {trial.right} of {len(GAPS)} gaps filled, {trial.nats:.2f} nats a token")
        trials.append(trial)
    return trials


def choose(source: Path, trials: Sequence[Trial], prefix_only: bool) -> PromptConvention:
    """The first that works and fills as many gaps as any. Raises ValueError."""
    most = max((trial.right for trial in trials), default=0)
    for trial in trials:
        if trial.works and trial.right == most:
            return trial.convention
    if prefix_only:
        return PLAIN
    why = (
        f"fills {most} of {len(GAPS)} gaps"
        if trials
        else "has no fill-in-the-middle tokens that are known here"
    )
    raise ValueError(f"{source} {why}; --prefix-only takes it as a model that only writes on")


def name_of(source: Path) -> str:
    """A folder's name for a model. "My Model.Q8.gguf" -> "my-model-q8"."""
    return re.sub(r"[^a-z0-9]+", "-", source.name.removesuffix(".gguf").lower()).strip("-") or "model"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.import_model", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="the folder of models; it gets one more")
    parser.add_argument("--name", help="the model's name; default: the source's")
    parser.add_argument("--licence", default="unknown", help="what you may do with the weights")
    parser.add_argument("--prefix-only", action="store_true", help="take a model that cannot fill in")
    options = parser.parse_args(arguments)
    try:
        name = options.name or name_of(options.source)
        out = options.into / name
        found = import_model(options.source, out, name, options.licence, prefix_only=options.prefix_only)
    except (ValueError, KeyError, OSError, MccomdError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
