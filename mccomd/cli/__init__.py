"""The command line: every command, with its errors as one line and exit code 1.

Scripts rely on the JSON keys of each command; tests/cli/ holds them fast.
"""

from __future__ import annotations

import sys

import click

from mccomd import __version__
from mccomd.cli.bench import bench
from mccomd.cli.bench_cascade import cascade
from mccomd.cli.bench_drafts import drafts
from mccomd.cli.bench_index import index as bench_index
from mccomd.cli.bench_retrieval import retrieval
from mccomd.cli.cloud import cloud
from mccomd.cli.complete import complete, try_
from mccomd.cli.config import config
from mccomd.cli.daemon import plugins, serve, socket_, start, status, stop
from mccomd.cli.doctor import doctor
from mccomd.cli.egress import egress
from mccomd.cli.eval import eval_
from mccomd.cli.explain import explain, tune
from mccomd.cli.hooks import hooks
from mccomd.cli.index import refresh, search
from mccomd.cli.index_group import index
from mccomd.cli.model import model
from mccomd.cli.warm import warm
from mccomd.errors import MccomdError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """A local-first code completion daemon that knows the repository.

    \b
    mccomd try ~/src/project          index a repository and complete in it
    mccomd complete src/a.py:120:8    one completion, at line 120, column 8
    mccomd status                     what the daemon is doing, and why not
    mccomd doctor                     what is wrong, and what to do about it
    """


for command in (
    complete,
    try_,
    search,
    refresh,
    status,
    start,
    stop,
    serve,
    plugins,
    config,
    bench,
    cloud,
    doctor,
    egress,
    eval_,
    hooks,
    index,
    warm,
    model,
    socket_,
    explain,
    tune,
):
    commands.add_command(command)


bench.add_command(bench_index)
bench.add_command(retrieval)
bench.add_command(cascade)
bench.add_command(drafts)


def main() -> None:
    """The console script."""
    try:
        commands(prog_name="mccomd", standalone_mode=False)
    except MccomdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nothing is left to be said
        sys.exit(141)
