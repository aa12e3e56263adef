"""What a model folder holds: the contract that models/ writes and the engine reads.

A folder is complete when `manifest.json` stands in it, because that is written last. The manifest names every
other file with its size and sha256, and says how a prompt for this model is put together, so that
another model drops in without a change of code. Knows nothing of ONNX Runtime and of tokenizers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from mccomd.errors import ArtifactError

__all__ = [
    "FORMAT",
    "GRAPH_FILE",
    "MANIFEST_FILE",
    "TOKENIZER_FILE",
    "FileEntry",
    "Manifest",
    "PromptConvention",
    "describe_files",
    "load_manifest",
    "shipped_models",
    "verify",
    "write_manifest",
]

FORMAT = "mccomd-model/1"
MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

PACKAGE = Path(__file__).resolve().parent.parent


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the folder as it was written."""

    sha256: str
    bytes: int


class PromptConvention(msgspec.Struct, frozen=True, kw_only=True):
    """How a prompt for this model is put together. Tokens are names; None means that there is none.

    kind: "prefix"  the model only continues text: context, then the text left of the cursor
          "psm"     prefix_token prefix suffix_token suffix middle_token
          "spm"     suffix_token suffix prefix_token prefix middle_token
    """

    kind: Literal["prefix", "psm", "spm"]
    bos: str | None = None  # opens every prompt
    file_separator: str | None = None  # introduces a snippet's path; None: a comment does
    suffix_token: str | None = None
    prefix_token: str | None = None
    middle_token: str | None = None
    stop_tokens: tuple[str, ...] = ()  # beside the end tokens, these end a completion

    def token_names(self) -> tuple[str, ...]:
        """Every token that the convention names, in a fixed order."""
        single = (self.bos, self.file_separator, self.suffix_token, self.prefix_token, self.middle_token)
        return (*(name for name in single if name is not None), *self.stop_tokens)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one model is."""

    format: str
    name: str
    architecture: str
    parameters: int
    layers: int
    kv_heads: int
    head_dim: int
    vocab: int  # rows of logits; ids are below it
    context_tokens: int  # positions the model was made for
    quantisation: str
    end_ids: tuple[int, ...]  # any of them ends a completion
    prompt: PromptConvention
    origin: str
    licence: str
    files: dict[str, FileEntry]
    calibration: dict[str, Any] | None = None  # how often it is right: mccomd/calibration.py reads it
    mixture: dict[str, Any] | None = None  # how much what stands elsewhere counts beside it: mixture.py
    check: dict[str, Any] | None = None  # what it computes: check.py compares


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest and check that every file it names is there in full (sizes, not hashes).

    Raises ArtifactError.
    """
    manifest = _decode(folder)
    _check_prompt(folder, manifest.prompt)
    for required in (GRAPH_FILE, TOKENIZER_FILE):
        if required not in manifest.files:
            raise ArtifactError(f"{folder}: the manifest lists no {required}")
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry)
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Check the sha256 of every file; about 0.3 s for 150 MB. Raises ArtifactError."""
    for name, entry in manifest.files.items():
        found = _sha256(folder / name)
        if found != entry.sha256:
            raise ArtifactError(
                f"{folder}: {name} is damaged: sha256 is {found[:16]}..., "
                f"the manifest says {entry.sha256[:16]}..."
            )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, under a temporary name first: a folder with a manifest is complete."""
    temporary = folder / f"{MANIFEST_FILE}.tmp"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    temporary.replace(folder / MANIFEST_FILE)


def describe_files(folder: Path, names: Sequence[str]) -> dict[str, FileEntry]:
    """The manifest's entries of files that stand in the folder."""
    return {name: FileEntry(_sha256(folder / name), (folder / name).stat().st_size) for name in names}


def shipped_models(roots: Sequence[Path] | None = None) -> dict[str, Path]:
    """The folders of the models that came with mccomd, by folder name.

    roots: where to look, first wins; by default the installed package's `shipped_models`, then the
    `models` of a checkout.
    """
    found: dict[str, Path] = {}
    for root in roots if roots is not None else (PACKAGE / "shipped_models", PACKAGE.parent / "models"):
        for path in sorted(root.glob(f"*/{MANIFEST_FILE}")):
            found.setdefault(path.parent.name, path.parent)
    return found


def _decode(folder: Path) -> Manifest:
    try:
        raw = (folder / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{folder}: no readable {MANIFEST_FILE} ({error.strerror})") from error
    try:
        found = msgspec.json.decode(raw, type=_Format).format
        if found != FORMAT:
            raise ArtifactError(f"{folder}: the model's format is {found!r}, this version reads {FORMAT!r}")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder}: {MANIFEST_FILE} is no valid manifest: {error}") from error


class _Format(msgspec.Struct):
    """Read first, so that a newer manifest is refused for its format and not for a field."""

    format: str


def _check_prompt(folder: Path, prompt: PromptConvention) -> None:
    markers = (prompt.suffix_token, prompt.prefix_token, prompt.middle_token)
    if prompt.kind != "prefix" and None in markers:
        raise ArtifactError(
            f"{folder}: prompt kind {prompt.kind!r} needs suffix_token, prefix_token and middle_token"
        )


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"{folder}: {name!r} in the manifest is no plain file name")
    path = folder / name
    if not path.is_file():
        raise ArtifactError(f"{folder}: {name} is missing")
    if path.stat().st_size != entry.bytes:
        raise ArtifactError(
            f"{folder}: {name} has {path.stat().st_size} bytes, the manifest says {entry.bytes}"
        )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path.parent}: cannot read {path.name} ({error.strerror})") from error
