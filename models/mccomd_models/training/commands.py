"""The commands of training, and nothing of how they are met.

Each imports what it needs itself: `run` has to start on a machine that has numpy and torch and nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from mccomd_models.architecture import LlamaConfig, Weights, average, random_weights
from mccomd_models.fetch import WHEEL, check_sha256, fetch_gguf
from mccomd_models.training.parts import CONFIG_FILE, read_parts, write_parts
from mccomd_models.training.recipe import CHECKPOINT, Plan, Recipe, Shape
from mccomd_models.training.shards import read_shards
from mccomd_models.training.unrounded import unrounded

__all__ = ["main"]

Made = TypeVar("Made")

ORIGIN = f"SmolLM2-135M-Instruct by Hugging Face, from the GGUF (Q4_1) in the wheel {WHEEL}"
START = '"smollm2" (downloaded), its GGUF, a folder: a model, parts, a run; "tiny": random, for a rehearsal'
COUNT = re.compile(r"(?<=trained by mccomd_models\.training on )[\d,]+(?= tokens)")  # in an origin
MANIFEST = "manifest.json"  # mccomd.engine.artifact says so too, which `run` must not need
TOKENIZER = "folder with tokenizer.json, as models/mccomd-135m: that of every start here"
TINY = LlamaConfig(
    layers=2,
    hidden=64,
    ffn=96,
    heads=2,
    kv_heads=1,
    vocab=49_152,
    rope_theta=1e4,
    norm_eps=1e-5,
    context_tokens=1024,
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.training")
    commands = parser.add_subparsers(required=True)
    _add_prepare(commands.add_parser("prepare", help="repositories -> shards"))
    _add_run(commands.add_parser("run", help="shards -> checkpoint; goes on where the run's folder says"))
    _add_parts(commands.add_parser("parts", help="weights -> files small enough to travel"))
    _add_export(commands.add_parser("export", help="checkpoint -> model folder"))
    _add_plot(commands.add_parser("plot", help="a run's losses as a picture"))
    options = parser.parse_args(arguments)
    options.run(options)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repositories", type=Path, required=True, help="folder of clones")
    parser.add_argument("--tokenizer", type=Path, required=True, help=TOKENIZER)
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--corpus", type=Path, help="another list than the project's own")
    parser.add_argument("--held-out", action="store_true", help="the repositories that training never sees")
    parser.add_argument("--per-repository", type=int, help="at most so many samples of each")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=1)
    for field in dataclasses.fields(Shape):
        kind = type(field.default)
        if kind is tuple:
            parser.add_argument(_flag(field.name), type=int, nargs=2, default=field.default)
        else:
            parser.add_argument(_flag(field.name), type=kind, default=field.default)
    parser.set_defaults(run=_prepare)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of shards")
    parser.add_argument("--held-out", type=Path, help="folder of shards that are only measured")
    parser.add_argument("--start", default="smollm2", help=START)
    parser.add_argument("--back", type=float, default=0.0, help="share of the untrained weights in the start")
    parser.add_argument("--untrained", default="smollm2", help="those of --back and --unrounded, as --start")
    parser.add_argument(
        "--unrounded",
        action="store_true",
        help="with --bits: begin where the start's weights may have been before they were rounded to so many",
    )
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: torch decides")
    for field in (*dataclasses.fields(Recipe), *dataclasses.fields(Plan)):
        default = None if field.default is dataclasses.MISSING else field.default
        name = _flag(field.name)
        if field.name == "compiled":
            parser.add_argument(name, action="store_true")
        elif default is None:
            kind = {"tokens": int, "folder": Path, "minutes": float}[field.name]
            parser.add_argument(name, type=kind, required=field.name != "minutes")
        else:
            parser.add_argument(name, type=type(default), default=default)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import torch  # not for `prepare`

    from mccomd_models.training.loop import Run

    recipe, plan = _of(Recipe, options), _of(Plan, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    config, weights, origin = _start(options.start)
    if options.back or options.unrounded:
        _, untrained, _ = _start(options.untrained)
    if options.unrounded:
        if not recipe.bits:
            raise SystemExit("--unrounded needs --bits: in how many is the start rounded?")
        weights = unrounded(weights, untrained, recipe.bits, recipe.block)
    if options.back:
        weights = average([weights, untrained], [1 - options.back, options.back])
    run = Run.begin(plan, recipe, config, weights, origin)
    held_out = read_shards(options.held_out) if options.held_out else None
    run.go(read_shards(options.data), held_out, lambda line: print(line, flush=True))


def _start(name: str) -> tuple[LlamaConfig, Weights, str]:
    """The weights that something begins with, and where they are from."""
    place = Path(name)
    if name == "tiny":
        return TINY, random_weights(TINY, seed=1), "random numbers"
    if (place / CONFIG_FILE).exists():
        return *read_parts(place), ORIGIN
    if (place / CHECKPOINT).exists():
        from mccomd_models.training.loop import load_run

        config, weights, origin, tokens = load_run(place)
        return config, weights, _trained(origin, tokens)
    if (place / MANIFEST).exists():
        from mccomd.engine.artifact import load_manifest
        from mccomd_models.folder_source import read_model_folder

        model = read_model_folder(place)
        return model.config, model.weights, load_manifest(place).origin
    from mccomd_models.gguf_source import read_gguf

    with tempfile.TemporaryDirectory() as scratch:
        gguf = place
        if name == "smollm2":
            gguf = Path(scratch) / "model.gguf"
            fetch_gguf(gguf)
        check_sha256(gguf)
        found = read_gguf(gguf)
    return found.config, found.weights, ORIGIN


def _trained(origin: str, tokens: int) -> str:
    """The origin of weights that were trained on so many tokens more."""
    if COUNT.search(origin) is None:
        return f"{origin}, trained by mccomd_models.training on {tokens:,} tokens"
    return COUNT.sub(lambda before: f"{int(before[0].replace(',', '')) + tokens:,}", origin)


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", default="smollm2", help=START)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.set_defaults(run=_parts)


def _parts(options: argparse.Namespace) -> None:
    config, weights, _ = _start(options.start)
    for path in write_parts(options.out, config, weights):
        print(f"{path}: {path.stat().st_size:,} bytes")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", type=Path, nargs="+", required=True, help="as --start of run; of several, the mean"
    )
    parser.add_argument("--origin", help="for the manifest, instead of what they say themselves")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of shards to check the graph on")
    parser.add_argument("--tokenizer", type=Path, required=True, help=TOKENIZER)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--name", default="mccomd-135m")
    parser.add_argument("--precision", choices=("int8", "int4", "fp32"), default="int8")
    parser.add_argument("--block", type=int, default=32)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from mccomd_models.graph import Precision
    from mccomd_models.training.release import release

    given = [_start(str(folder)) for folder in options.folder]
    config, weights, origin = given[-1]
    if len(given) > 1:
        weights, origin = (
            average([one[1] for one in given]),
            f"{origin}; the mean of {len(given)} checkpoints",
        )
    origin = options.origin or origin
    precision = Precision(options.precision, options.block)
    held_out = read_shards(options.held_out)
    parity = release(
        options.out, config, weights, options.tokenizer, precision, options.name, origin, held_out
    )
    print(f"{options.out}: {options.name}, {origin}")
    print(f"  float32 graph: logits differ by {parity.float_difference:.5f} at most")
    print(
        f"  {options.precision}: {parity.agreement:.2%} of the most probable tokens agree, "
        f"{parity.nats:.4f} nats a token of middles (float32: {parity.float_nats:.4f})"
    )


def _add_plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, nargs="+", required=True, help="runs, into one picture")
    parser.add_argument("--out", type=Path, required=True, help="an .svg or .png file")
    parser.set_defaults(run=_plot)


def _plot(options: argparse.Namespace) -> None:
    from mccomd_models.training.curve import plot

    plot(options.folder, options.out)


def _of(kind: type[Made], options: argparse.Namespace) -> Made:
    """A dataclass whose fields are all among the options; lists become tuples."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values = {name: getattr(options, name) for name in names}
    made: Made = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return made


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _prepare(options: argparse.Namespace) -> None:
    from mccomd_models.training.prepare import prepare
    from mccomd_models.training.sources import corpus

    shape = _of(Shape, options)
    entries = [entry for entry in corpus(options.corpus) if entry.held_out == options.held_out]
    report = prepare(
        entries,
        options.repositories,
        options.out,
        options.tokenizer,
        shape,
        options.seed,
        options.per_repository,
        options.workers,
    )
    print(f"files {report.files:,}, characters {report.characters:,}")
    for reason, count in report.left_out.most_common():
        print(f"  left out, {reason}: {count:,}")
    if report.missing:
        print(f"  not at hand: {', '.join(report.missing)}")
    print(f"samples {report.samples:,}, tokens {report.tokens:,}, of middles {report.middle_tokens:,}")
    print("  " + ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.most_common()))
