"""The shipped model's weights as llama.cpp's Q8_0: made once, kept in the user's cache.

Knows the one model whose origin mccomd ships the recipe of; for any other a GGUF file is given.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mccomd.errors import MccomdError

__all__ = ["EXTRA", "KNOWN", "missing", "q8_gguf"]

KNOWN = "smollm2-135m"
EXTRA = "pip install 'mccomd[bench]'"
# The core imports nothing that makes models: the recipe runs in a process of its own.
_FETCH = (
    "import pathlib, sys; from mccomd_models.fetch import fetch_gguf; fetch_gguf(pathlib.Path(sys.argv[1]))"
)


def missing(library: str, what: str) -> MccomdError:
    """The one line for an optional library that is not there."""
    return MccomdError(f"{what} needs {library}: {EXTRA}")


def q8_gguf(model: str, source: Path | None, cache: Path, say: Callable[[str], None]) -> Path:
    """A GGUF file with the model's weights, every matrix in Q8_0.

    source: a GGUF of the same weights; None: the one that the shipped model was made from, downloaded.
    Raises MccomdError.
    """
    if source is None and model != KNOWN:
        raise MccomdError(f"no recipe for the GGUF of {model}: name a file of the same weights with --gguf")
    name = model if source is None else hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:12]
    stamp = "" if source is None else f"-{int(_stat_mtime(source))}"
    target = cache / f"{name}{stamp}-q8_0.gguf"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        if source is None:
            source = Path(scratch, "source.gguf")
            say("downloading the weights that the shipped model was made from (98 MB)")
            _fetch(source)
        say("converting the weights to Q8_0 for llama.cpp (once)")
        made = Path(scratch, "made.gguf")
        _convert(source, made)
        made.replace(target)
    return target


def _stat_mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise MccomdError(f"cannot read {path}: {error.strerror}") from error


def _fetch(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FETCH, str(target)], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise MccomdError(f"cannot download the weights ({said[-1]}): name a GGUF file with --gguf")


def _convert(source: Path, target: Path) -> None:
    """Copy a GGUF with all matrices as Q8_0 and all vectors as float32."""
    try:
        import gguf
        import numpy as np
        from gguf.quants import dequantize, quantize
    except ImportError as error:
        raise missing("gguf", "converting weights") from error
    try:
        reader = gguf.GGUFReader(source)
    except (OSError, ValueError) as error:
        raise MccomdError(f"{source} is no GGUF file: {error}") from error
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in _WRITTEN_BY_US:
            types: list[Any] = field.types
            writer.add_key_value(name, field.contents(), types[0], types[1] if len(types) > 1 else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if values.ndim == 2:
            writer.add_tensor(tensor.name, quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(tensor.name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_WRITTEN_BY_US = ("general.architecture", "general.file_type", "general.quantization_version")
