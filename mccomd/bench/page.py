"""One HTML file with plots inside, for any report: no scripts, nothing to load.

The only importer of matplotlib.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mccomd.bench.weights import missing
from mccomd.errors import MccomdError

__all__ = ["figure", "require", "svg", "table_html", "write_page"]


def require() -> None:
    """Raises MccomdError when matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing("matplotlib", "the report with plots") from error


def write_page(target: Path, title: str, facts: str, plots: Sequence[tuple[str, str]]) -> None:
    """Write the file. facts: HTML; plots: (heading, SVG). Raises MccomdError."""
    body = "\n".join(f"<h2>{html.escape(heading)}</h2>\n{drawn}" for heading, drawn in plots)
    page = _PAGE.format(title=html.escape(title), facts=facts, body=body)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MccomdError(f"cannot write {target}: {error.strerror}") from error


def table_html(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *others = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return f"<table>{head.replace('td>', 'th>')}{''.join(others)}</table>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
       padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse }} td, th {{ padding: .15rem .9rem .15rem 0; text-align: right }}
td:first-child, th:first-child {{ text-align: left }} th {{ border-bottom: 1px solid #999 }}
svg {{ width: 100%; height: auto }}
</style></head><body>
<h1>{title}</h1>
{facts}
{body}
</body></html>
"""


def figure(columns: int, height: float = 3.4) -> tuple[Any, list[Any]]:
    """A drawing and its axes, side by side."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.5, height), layout="constrained")
    axes = drawing.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return drawing, list(axes)


def svg(drawing: Any) -> str:
    """The drawing as an <svg> element; the same drawing, the same bytes."""
    import matplotlib

    context: Any = matplotlib.rc_context
    with context({"svg.fonttype": "none", "svg.hashsalt": "mccomd"}):
        out = io.StringIO()
        drawing.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]
