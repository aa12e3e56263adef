"""Commands that look after indexes: index status, rebuild, verify, forget, gc."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mccomd.cli.index import refresh_with_progress
from mccomd.cli.output import json_option, print_json, table, tilde
from mccomd.config import load
from mccomd.errors import MccomdError
from mccomd.paths import Paths, ensure_private, find_paths
from mccomd.run import spawn

__all__ = ["index"]

_path = click.argument("path", default=".", type=click.Path())


@click.group()
def index() -> None:
    """Look after the indexes of repositories.

    \b
    mccomd index status              of this repository: state, size on disk
    mccomd index status --all        of every repository
    mccomd index verify              compare it with one made from scratch
    mccomd index rebuild
    mccomd index forget ~/src/old    remove one; the next use makes it again
    mccomd index gc                  remove those of repositories that are gone, or not used for long
    """


@index.command()
@_path
@click.option("--all", "every", is_flag=True, help="Of every repository, with its size on disk.")
@json_option
def status(path: str, every: bool, as_json: bool) -> None:
    """The state of the index of the repository at PATH; nothing is changed, no daemon is needed."""
    from mccomd.housekeeping import stores

    paths = find_paths()
    if every:
        _show_stores([asdict(store) for store in stores(paths.index_dir)], as_json)
        return
    began = time.perf_counter()
    place = _Place(paths, path)
    found = place.status()
    found["ms"] = (time.perf_counter() - began) * 1000
    if as_json:
        print_json(found)
        return
    behind = f", {found['behind']} behind" if found["behind"] >= 0 else ""
    overlay = f" + {found['overlay_files']} changed files" if found["overlay_files"] else ""
    rows = [
        ("repository", tilde(found["repository"])),
        ("state", f"{found['state']}: {found['reason']}"),
        ("head", f"{found['head'][:10] or 'unborn'}{overlay}{behind}"),
        ("holds", f"{found['files']} files, {found['chunks']} chunks"),
        ("disk", f"{found['disk_mb']:.1f} MB in {tilde(found['folder'])}"),
        ("memory", _memory_text(found)),
    ]
    click.echo(table(rows))


@index.command()
@_path
@json_option
def rebuild(path: str, as_json: bool) -> None:
    """Build the index of the repository at PATH anew; searches go on with the old one meanwhile."""
    with spawn(find_paths()) as client:
        report = refresh_with_progress(client, path, rebuild=True, quiet=as_json)
    if as_json:
        print_json(report)
    else:
        text = f"{report['files']} files, {report['chunks']} chunks, {report['ms'] / 1000:.1f} s"
        click.echo(f"{tilde(report['repository'])}: built anew, {text}")


@index.command()
@_path
@json_option
def verify(path: str, as_json: bool) -> None:
    """Bring the index in step, then compare it with one made from scratch; exit code 1 if they differ."""
    from mccomd_index.upkeep import compare

    paths = find_paths()
    place = _Place(paths, path)
    with spawn(paths) as client:
        refresh_with_progress(client, place.root, quiet=as_json)
    before = place.state_of_head()
    ensure_private(paths.cache_dir)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=paths.cache_dir) as scratch:
        bar = _Counted(as_json)
        differences = place.explained(
            lambda: compare(place.repository, place.folder, place.options, Path(scratch), bar)
        )
        bar.close()
    moved = place.state_of_head() != before
    rows = [asdict(found) for found in differences]
    if as_json:
        print_json(
            {**before, "same": not rows, "moved": moved, "differences": rows[:1000], "count": len(rows)}
        )
    elif not rows:
        click.echo(f"{tilde(place.root)}: the same as an index made from scratch")
    else:
        for row in rows[:20]:
            here, scratch_holds = row["here"] or "nothing", row["scratch"] or "nothing"
            click.echo(f"{row['path']} ({row['layer']}): {here}; from scratch: {scratch_holds}")
        why = "HEAD moved meanwhile: do it again" if moved else f"mccomd index rebuild {tilde(place.root)}"
        click.echo(f"{len(rows)} paths differ -> {why}")
    if rows:
        sys.exit(1)


@index.command()
@_path
@json_option
def forget(path: str, as_json: bool) -> None:
    """Remove the index of the repository at PATH, all its worktrees included."""
    from mccomd_index.upkeep import remove, size_of

    place = _Place(find_paths(), path)
    there = place.folder.is_dir()
    freed_mb = size_of(place.folder) / 1e6 if there else 0.0
    if there:
        place.explained(lambda: remove(place.folder))
    if as_json:
        print_json({"repository": place.root, "removed": there, "freed_mb": freed_mb})
    else:
        click.echo(f"{tilde(place.root)}: " + (f"removed, {freed_mb:.1f} MB freed" if there else "no index"))


@index.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@json_option
def gc(dry_run: bool, as_json: bool) -> None:
    """Remove indexes of repositories that are gone, or were not used for index.keep_days.

    The daemon does this by itself once a day.
    """
    from mccomd.housekeeping import collect

    paths = find_paths()
    removed = collect(paths.index_dir, load(paths.config_file).index.keep_days, dry_run=dry_run)
    freed_mb = sum(store.disk_mb for store, _ in removed)
    if as_json:
        rows = [{**asdict(store), "why": why} for store, why in removed]
        print_json({"removed": rows, "freed_mb": freed_mb, "dry_run": dry_run})
        return
    for store, why in removed:
        click.echo(f"{', '.join(map(tilde, store.repositories)) or tilde(store.folder)}: {why}")
    click.echo(f"{len(removed)} indexes {'would go' if dry_run else 'removed'}, {freed_mb:.1f} MB")


class _Place:
    """A repository, its index's folder and the options in force; MccomdError where it is none."""

    def __init__(self, paths: Paths, path: str) -> None:
        from mccomd.narrowing import options_for
        from mccomd.repositories import folder_name
        from mccomd_index import find_repository

        found = self.explained(lambda: find_repository(os.path.abspath(path)))
        if found is None:
            raise MccomdError(f"{path} is not in a git repository: name a path inside one")
        mine = load(paths.config_file).index
        self.paths = paths
        self.repository = found
        self.root = found.work_tree or found.git_dir
        self.folder = paths.index_dir / folder_name(found.common_dir)
        self.options, _ = options_for(mine, self.root)

    def status(self) -> dict[str, Any]:
        from mccomd_index import status
        from mccomd_index.upkeep import size_of

        found = self.explained(lambda: status(self.repository, self.folder, self.options))
        return {
            "repository": self.root,
            "state": found.state.value,
            "reason": "; ".join(filter(None, (found.reason, found.note))),
            "head": found.head or "",
            "behind": found.behind,
            "overlay_files": found.overlay_files,
            "files": found.files,
            "chunks": found.chunks,
            "folder": str(self.folder),
            "disk_mb": size_of(self.folder) / 1e6 if self.folder.is_dir() else 0.0,
            **_memory(self.paths),
        }

    def state_of_head(self) -> dict[str, Any]:
        found = self.status()
        return {key: found[key] for key in ("repository", "head", "files", "chunks", "overlay_files")}

    def explained(self, do: Any) -> Any:
        """The index's errors as ours."""
        from mccomd_index import IndexingError

        try:
            return do()
        except IndexingError as error:
            raise MccomdError(str(error)) from error


def _memory(paths: Paths) -> dict[str, float]:
    """Resident memory of the daemon and of its indexer; 0 where none runs."""
    import psutil

    from mccomd.client import Client

    try:
        with Client(paths.socket) as client:
            process = psutil.Process(client.call("status")["pid"])
        indexer = [child for child in process.children() if "mccomd_index.worker" in child.cmdline()]
        rss = [child.memory_info().rss / 1e6 for child in indexer]
        return {"daemon_rss_mb": process.memory_info().rss / 1e6, "indexer_rss_mb": sum(rss)}
    except (MccomdError, psutil.Error):
        return {"daemon_rss_mb": 0.0, "indexer_rss_mb": 0.0}


def _memory_text(found: dict[str, Any]) -> str:
    if not found["daemon_rss_mb"]:
        return "no daemon runs"
    return f"daemon {found['daemon_rss_mb']:.0f} MB, indexer {found['indexer_rss_mb']:.0f} MB"


def _show_stores(rows: list[dict[str, Any]], as_json: bool) -> None:
    total = sum(row["disk_mb"] for row in rows)
    if as_json:
        print_json({"stores": rows, "disk_mb": total})
        return
    lines = [
        (
            f"{row['disk_mb']:8.1f} MB",
            f"used {row['unused_days']:.0f} days ago" if row["unused_days"] >= 1 else "used today",
            ", ".join(map(tilde, row["repositories"])) or tilde(row["folder"]),
            "gone: `mccomd index gc` removes it" if row["gone"] else "",
        )
        for row in rows
    ]
    click.echo(table([*lines, (f"{total:8.1f} MB", "", f"{len(rows)} indexes", "")]))


class _Counted:
    """A bar on standard error for an index that is made in this process."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None

    def __call__(self, progress: Any) -> None:
        if self._quiet:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=progress.total, label="from scratch", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(progress.files - self._bar.pos)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
