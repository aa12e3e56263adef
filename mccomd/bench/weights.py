"""The weights of the model under test, as a GGUF for llama.cpp: made once, kept in the user's cache.

Knows where the shipped model's tokenizer and dimensions are from; for any other model a GGUF file is given.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mccomd.errors import MccomdError

__all__ = ["EXTRA", "KNOWN", "gguf_of", "missing"]

KNOWN = ("mccomd-135m",)
EXTRA = "pip install 'mccomd[bench]'"
# The core imports nothing that makes models: the recipes run in a process of their own.
_FETCH = (
    "import pathlib, sys; from mccomd_models.fetch import fetch_gguf; fetch_gguf(pathlib.Path(sys.argv[1]))"
)
_CONVERT = "from mccomd_models.gguf_target import main; main()"


def missing(library: str, what: str) -> MccomdError:
    """The one line for an optional library that is not there."""
    return MccomdError(f"{what} needs {library}: {EXTRA}")


def gguf_of(model: str, folder: Path, source: Path | None, cache: Path, say: Callable[[str], None]) -> Path:
    """A GGUF file with the weights of a model folder, or of another GGUF in Q8_0.

    model: its name; source: a GGUF of the same weights, None: they are the folder's.  Raises MccomdError.
    """
    if source is None and model not in KNOWN:
        raise MccomdError(f"no recipe for the GGUF of {model}: name a file of the same weights with --gguf")
    target = (
        cache / f"{model if source is None else 'given'}-{_stamp(source or folder / 'manifest.json')}.gguf"
    )
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made, own = Path(scratch, "made.gguf"), [str(folder)] if source is None else []
        if source is None:
            source = Path(scratch, "source.gguf")
            say("downloading the file that the shipped model's tokenizer is from (98 MB)")
            _run(_FETCH, [str(source)], "cannot download it")
        say("converting the weights for llama.cpp (once)")
        _run(_CONVERT, [str(source), str(made), *own], f"cannot convert {source}")
        made.replace(target)
    return target


def _stamp(file: Path) -> str:
    """Another one whenever the file was written anew."""
    try:
        changed = file.stat().st_mtime_ns
    except OSError as error:
        raise MccomdError(f"cannot read {file}: {error.strerror}") from error
    return hashlib.sha256(f"{file.resolve()} {changed}".encode()).hexdigest()[:12]


def _run(code: str, arguments: list[str], failed: str) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        if "No module named" in said[-1]:
            raise missing(said[-1].rpartition("named ")[2].strip("'"), "converting weights")
        raise MccomdError(f"{failed} ({said[-1]}): name a GGUF file with --gguf")
