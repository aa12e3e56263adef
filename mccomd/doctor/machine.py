"""What can be seen without a daemon: config, folders, disk, memory, the model's files, its runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from mccomd.config import Config, load
from mccomd.doctor.check import Check, bad, checked, good
from mccomd.model import model_folder
from mccomd.paths import Paths, check_private

__all__ = ["machine_checks"]

MIN_DISK_MB = 300
MIN_MEMORY_MB = 500
RUNTIME_S = 60.0
AGAIN = "pip install --force-reinstall"


def machine_checks(paths: Paths) -> list[Check]:
    """One check each, in the order in which one would look."""
    config = checked("config", lambda: _config(paths), f"correct {paths.config_file}: `mccomd config check`")
    folders = checked("folders", lambda: _folders(paths), "see the message: every folder must be yours, 0700")
    disk = checked("disk", lambda: _disk(paths), "free some space, or set XDG_CACHE_HOME to another disk")
    memory = checked("memory", _memory, "close something large")
    model = checked("model", lambda: _model(paths), f"{AGAIN} mccomd, or set model.name or model.folder")
    runtime = checked("onnxruntime", _runtime, f"{AGAIN} onnxruntime")
    return [config, folders, disk, memory, model, runtime]


def _config(paths: Paths) -> Check:
    load(paths.config_file)
    found = "no mistakes" if paths.config_file.exists() else "no file: defaults apply"
    return good("config", f"{paths.config_file}: {found}")


def _folders(paths: Paths) -> Check:
    for folder in (paths.cache_dir, paths.state_dir, paths.socket.parent):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            return bad(
                "folders", f"{there} cannot be written", f"chown -R $USER {there}; chmod u+rwx {there}"
            )
        if folder is not paths.cache_dir:
            check_private(folder)
    return good("folders", f"{paths.cache_dir}, {paths.state_dir}: ours and writable")


def _disk(paths: Paths) -> Check:
    there = next(place for place in (paths.cache_dir, *paths.cache_dir.parents) if place.exists())
    free_mb = shutil.disk_usage(there).free / 1e6
    if free_mb < MIN_DISK_MB:
        text = f"{free_mb:.0f} MB free at {there}, an index may need {MIN_DISK_MB}"
        return bad("disk", text, "free some space, or set XDG_CACHE_HOME to another disk")
    return good("disk", f"{free_mb / 1000:.1f} GB free at {there}")


def _memory() -> Check:
    free_mb = psutil.virtual_memory().available / 1e6
    if free_mb < MIN_MEMORY_MB:
        text = f"{free_mb:.0f} MB available, the model needs about {MIN_MEMORY_MB}"
        return bad("memory", text, "close something large; mccomd gives its memory back when idle")
    return good("memory", f"{free_mb / 1000:.1f} GB available")


def _model(paths: Paths) -> Check:
    from mccomd.engine.artifact import load_manifest, verify  # 20 ms that only this check needs

    folder = model_folder(_settings(paths).model, paths.data_dir)
    manifest = load_manifest(folder)
    verify(folder, manifest)
    size_mb = sum(entry.bytes for entry in manifest.files.values()) / 1e6
    return good("model", f"{manifest.name}, {size_mb:.0f} MB in {folder}, every file as its manifest says")


def _runtime() -> Check:
    """In a process of its own: on a processor it does not support it may die without a word."""
    program = "import onnxruntime as o; print(o.__version__, *o.get_available_providers())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=RUNTIME_S, cwd="/"
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}"])[-1]
        return bad("onnxruntime", said, f"{AGAIN} onnxruntime")
    return good("onnxruntime", f"version {done.stdout.strip().split()[0]} loads")


def _settings(paths: Paths) -> Config:
    """As written; the defaults where that is wrong, which its own check tells."""
    found = checked("", lambda: _config(paths), "")
    return load(paths.config_file) if found.ok else Config()


def package_changed() -> float:
    """time.time() of the newest file of this installation."""
    package = Path(__file__).resolve().parent.parent
    return max(place.stat().st_mtime for place in package.rglob("*.py"))
