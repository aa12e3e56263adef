"""`mccomd eval`: how good the answers are, on published cases or on one's own code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mccomd.cli.bench import ended_properly, progress, say
from mccomd.cli.output import json_option, print_json, table, tilde
from mccomd.errors import MccomdError
from mccomd.paths import find_paths

if TYPE_CHECKING:  # the package takes 0.3 s that other commands need not wait for
    from mccomd.evaluate.answers import Answer
    from mccomd.evaluate.ask import Asking
    from mccomd.evaluate.cases import Case
    from mccomd.evaluate.figures import Scored

__all__ = ["eval_"]

MODES = ("local", "cloud", "cascade")


def _latency(context: click.Context, option: click.Parameter, value: str) -> tuple[float, float]:
    """FIRST,TOKEN in milliseconds."""
    try:
        first, token = (float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not two numbers with a comma, as in 130,12") from error
    if not (0 <= first < 1e6 and 0 <= token < 1e6):
        raise click.BadParameter("times are from 0 to 1,000,000 ms")
    return first, token


@dataclass(frozen=True)
class _Options:
    """What the command line asked for."""

    path: Path | None
    cases_file: Path | None
    trees: Path | None
    limit: int
    seed: int
    mode: str
    retrieval: bool
    model: str | None
    recorded: Path | None
    threshold: float | None
    cloud_ms: tuple[float, float]
    results: Path | None
    fresh: bool
    against: Path | None


_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="eval")
@click.argument("path", required=False, type=_FOLDER)
@click.option("--cases-file", type=_FILE, help="Cases as JSON lines, in place of PATH.")
@click.option("--trees", type=_FOLDER, help="Where the cases' repositories lie, as owner+name.")
@click.option(
    "--limit", default=300, show_default=True, type=click.IntRange(0), help="Cases; 0 = all of a file."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, other cases.")
@click.option("--mode", type=click.Choice(MODES), default="local", show_default=True)
@click.option("--no-retrieval", is_flag=True, help="Ask without snippets of the repository.")
@click.option("--model", default=None, help="A model's name, or its folder. Default: as configured.")
@click.option(
    "--recorded",
    type=_FILE,
    help="A large model's answers: the results of another run. Default: the one in your config is asked.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Below it the large model is asked. Default: as configured.",
)
@click.option(
    "--cloud-ms", default="130,12", show_default=True, metavar="FIRST,TOKEN", callback=_latency,
    help="What the large model is taken to need: ms before its first token, and ms a token.",
)  # fmt: skip
@click.option("--results", type=_FILE, help="Where answers are kept. Default: in the cache folder.")
@click.option("--against", type=_FILE, help="Another run's results, to be compared with case by case.")
@click.option("--fresh", is_flag=True, help="Ask again what was answered in an earlier run.")
@click.option(
    "--write-calibration", is_flag=True, help="Put what a confidence means into the model's manifest."
)
@click.option("--html", type=_FILE, help="Write a report with plots.")
@json_option
def eval_(
    path: Path | None,
    html: Path | None,
    write_calibration: bool,
    as_json: bool,
    no_retrieval: bool,
    **rest: Any,
) -> None:
    """How often the answers are right, on your code or on published cases.

    With PATH, statements of recent commits of the repository there are hidden and asked for. A daemon of
    its own answers, with an index in which the hidden statement does not stand; your daemon, configuration
    and files stay untouched. An interrupted run goes on where it was when it is started again.

    \b
    mccomd eval ~/src/project --limit 100
    mccomd eval ~/src/project --limit 100 --no-retrieval --results without.jsonl
    mccomd eval ~/src/project --limit 100 --against without.jsonl
    mccomd eval --cases-file cases.jsonl --trees ~/mirrors --json
    mccomd eval ~/src/project --model ~/models/larger --results larger.jsonl
    mccomd eval ~/src/project --mode cascade --recorded larger.jsonl --html cascade.html
    """
    options = _Options(path=path, retrieval=not no_retrieval, **rest)
    _check(options, write_calibration)
    if html is not None:
        from mccomd.bench.page import require

        require()
    found, scored, asking = _run(options)
    if write_calibration:
        _calibrate(options, asking, scored)
    if html is not None:
        from mccomd.evaluate.report import write_report

        write_report(found, scored, html)
    if as_json:
        print_json(found)
    else:
        click.echo(_text(found))


def _check(options: _Options, write_calibration: bool) -> None:
    if (options.path is None) == (options.cases_file is None):
        raise click.UsageError("name a repository, or a file of cases with --cases-file")
    if options.trees is not None and options.cases_file is None:
        raise click.UsageError("--trees goes with --cases-file")
    if write_calibration and options.mode != "local":
        raise click.UsageError("--write-calibration goes with --mode local")
    if options.path is not None and options.limit == 0:
        raise click.UsageError("--limit 0 goes with --cases-file: a repository has no end of cases")


def _run(options: _Options) -> tuple[dict[str, Any], list[Scored], Asking]:
    from mccomd.evaluate.answers import load_answers
    from mccomd.evaluate.ask import Asking
    from mccomd.evaluate.figures import compared, figures_of, score_all
    from mccomd.evaluate.trees import Source

    model = _model(options)
    cases, about, where = _cases(options)
    source = None if where is None else Source(where, where)
    asking = Asking(model, options.retrieval, source, options.trees)
    large: dict[str, Answer] = {}
    kept = options.recorded
    if options.recorded is not None:
        large = load_answers(options.recorded)
        _check_recorded(options.recorded, cases, large)
    elif options.mode != "local":
        large, kept = _ask(
            options,
            replace(asking, cloud=_large_model()),
            cases,
            options.results if options.mode == "cloud" else None,
        )
    if options.mode == "cloud":
        answers = large if options.recorded is None else _timed(large, options)
    else:
        answers, kept = _ask(options, asking, cases, options.results)
    scored = score_all(cases, answers)
    found = {
        "model": next((one.answer.model for one in scored if one.answer.model), ""),
        "mode": options.mode,
        "retrieval": asking.retrieval and asking.has_trees,
        **figures_of(scored),
        **about,
        "results": str(kept),
    }
    if options.mode == "cascade":
        found |= _cascade(options, cases, answers, large)
    if options.against is not None:
        others = score_all(cases, load_answers(options.against))
        if not others:
            raise MccomdError(f"{options.against} has answers to none of these cases")
        found["against"] = {"results": str(options.against), **compared(scored, others)}
    return found, scored, asking


def _model(options: _Options) -> Path:
    from mccomd.bench.keystroke import resolve_model
    from mccomd.config import load
    from mccomd.model import model_folder

    if options.model is not None:
        return resolve_model(options.model)
    paths = find_paths()
    return model_folder(load(paths.config_file).model, paths.data_dir).resolve()


def _cases(options: _Options) -> tuple[list[Case], dict[str, Any], Path | None]:
    """Cases, what is to be said about them, and the git folder that they are all from."""
    from mccomd.evaluate.cases import chosen, load_cases
    from mccomd.evaluate.harvest import harvest

    if options.cases_file is not None:
        cases = chosen(load_cases(options.cases_file), options.limit, options.seed)
        return cases, {"cases": str(options.cases_file)}, None
    assert options.path is not None
    found = harvest(options.path, options.limit, options.seed)
    if len(found.cases) < options.limit:
        say(f"{len(found.cases)} statements can be hidden, {options.limit} were asked for")
    about = {"cases": str(options.path), "commit": found.commit, "recent": found.recent}
    return found.cases, about, found.git_dir


def _large_model() -> dict[str, dict[str, Any]]:
    """The sections of the user's config that make a large model answer. Raises MccomdError."""
    from dataclasses import asdict

    from mccomd.config import load

    config = load(find_paths().config_file)
    if not config.cloud.backend:
        raise MccomdError(
            "no large model is configured: set cloud.backend, or name the answers of one with --recorded"
        )
    plugins = config.plugins
    return {
        "cloud": asdict(config.cloud),
        "plugins": {
            "enabled": plugins.enabled,
            "disabled": plugins.disabled,
            "options": {name: dict(table) for name, table in plugins.options.items()},
        },
    }


def _ask(
    options: _Options, asking: Asking, cases: list[Case], results: Path | None
) -> tuple[dict[str, Answer], Path]:
    from mccomd.engine.artifact import load_manifest
    from mccomd.evaluate.answers import Answers
    from mccomd.evaluate.ask import ask_all, code_mark

    manifest = load_manifest(asking.model)
    ids = hashlib.sha256("\0".join(f"{case.id}\0{case.target}" for case in cases).encode()).hexdigest()
    weights = hashlib.sha256("".join(entry.sha256 for entry in manifest.files.values()).encode()).hexdigest()
    settings = {
        "model": manifest.name,
        "weights": weights[:16],
        "retrieval": asking.retrieval and asking.has_trees,
        "cases": ids[:16],
    }
    if asking.cloud is not None:
        cloud = asking.cloud["cloud"]
        settings["large"] = f"{cloud['backend']} {cloud['model']} {cloud['url']}"
    path = results or _default_results(settings, code_mark())
    with Answers(path, settings, fresh=options.fresh) as answers:
        known = sum(case.id in answers.known for case in cases)
        if known:
            say(f"{known} of {len(cases)} cases were answered by an earlier run (--fresh asks again)")
        with ended_properly(), progress("cases", len(cases)) as advance:
            try:
                ask_all(asking, cases, answers, advance)
            except KeyboardInterrupt:
                say(f"\n{len(answers.known)} answers are kept: run the same command again to go on")
                raise
        return answers.known, path


def _default_results(settings: dict[str, Any], mark: str) -> Path:
    """Another program or another question, another file."""
    digest = hashlib.sha256(f"{sorted(settings.items())}{mark}".encode()).hexdigest()[:16]
    return find_paths().cache_dir / "eval" / f"{settings['model']}-{digest}.jsonl"


def _check_recorded(path: Path, cases: list[Case], large: dict[str, Answer]) -> None:
    missing = sum(case.id not in large for case in cases)
    if missing == len(cases):
        raise MccomdError(
            f"{path} has answers to none of these cases: record them with the same --limit and --seed"
        )
    if missing:
        say(f"{path} has no answer to {missing} of {len(cases)} cases: they are left out")


def _timed(large: dict[str, Answer], options: _Options) -> dict[str, Answer]:
    """The large model's answers with the time that it is taken to need."""
    import msgspec

    from mccomd.evaluate.cascade import Latency

    latency = Latency(*options.cloud_ms)
    return {
        id: msgspec.structs.replace(answer, ms=latency.of(answer), source="cloud")
        for id, answer in large.items()
    }


def _cascade(
    options: _Options, cases: list[Case], answers: dict[str, Answer], large: dict[str, Answer]
) -> dict[str, Any]:
    """The comparison; the keys at the top are those of the cascade with typed rejection."""
    from mccomd.config import load
    from mccomd.evaluate.cascade import Latency, table_of

    threshold = options.threshold
    if threshold is None:
        threshold = load(find_paths().config_file).router.threshold
    played = table_of(cases, answers, large, threshold, Latency(*options.cloud_ms))
    row = played["rows"]["cascade_typed"]
    top = {key: row[key] for key in ("n", "em", "em_ci", "es", "es_ci", "id_f1", "id_f1_ci")}
    return {**top, "ms_p50": row["final_ms"]["p50"], "cloud_share": row["calls_share"], "cascade": played}


def _calibrate(options: _Options, asking: Asking, scored: list[Scored]) -> None:
    from mccomd.evaluate.calibrate import calibration_of, write_calibration

    what = options.cases_file.stem if options.cases_file else "statements of a repository"
    how = "with retrieval" if asking.retrieval and asking.has_trees else "without retrieval"
    write_calibration(
        asking.model, calibration_of(scored, f"{len(scored)} cases of {what}, seed {options.seed}, {how}")
    )
    say(f"written into {tilde(str(asking.model / 'manifest.json'))}")


def _text(found: dict[str, Any]) -> str:
    from mccomd.evaluate.report import cascade_rows, threshold_rows

    rows: list[tuple[str, ...]] = [("", "n", "exact", "95 %", "edit similarity", "identifiers F1")]
    both = "cascade" in found  # then the groups are the local model's, and of all that it has answered
    rows.append(_quality_row("cascade, typed" if both else "all", found))
    for name, groups in found["by"].items():
        indent = "local, " if both else "  "
        rows += [_quality_row(f"{indent}{name} {label}", group) for label, group in groups.items()]
    left, ms, search = found["in_left_context"], found["ms"], found["search"]
    lines = [
        f"{found['model'] or 'recorded'}, {_how(found)} retrieval, {found['cases']}",
        "",
        table(rows),
        "",
        f"answer p50 {_ms(ms['p50_ms'])}, p95 {_ms(ms['p95_ms'])} in a buffer that was read ahead; "
        f"reading it p50 {_ms(found['read_ahead_ms']['p50_ms'])}",
        f"no text {_percent(found['empty_share'])}; literally in the left context {_percent(left['share'])}",
        f"confidence: calibration error {found['ece']}, area under risk and coverage {found['aurc']} "
        f"({found['aurc_blind']} if it told nothing)",
    ]
    if search["ms"]["n"]:
        lines.insert(-2, _search_text(search))
    if "cascade" in found:
        cascade = found["cascade"]
        lines += ["", table(cascade_rows(cascade)), "", _cascade_text(cascade), ""]
        lines += ["what other thresholds would mean (router.threshold):", table(threshold_rows(cascade))]
    if "against" in found:
        lines += ["", _against_text(found["against"])]
    return "\n".join([*lines, f"answers are in {tilde(found['results'])}"])


def _search_text(search: dict[str, Any]) -> str:
    return (
        f"a more probable text took the answer's place in {_percent(search['replaced_share'])}, "
        f"p50 {_ms(search['ms']['p50_ms'])}, p95 {_ms(search['ms']['p95_ms'])} later: exact before "
        f"{_percent(search['em_before'])}, better in {search['better']}, worse in {search['worse']}"
    )


def _cascade_text(cascade: dict[str, Any]) -> str:
    like, cloud = cascade["likeness"], cascade["cloud_latency"]
    return (
        f"threshold {cascade['threshold']}; the large model is taken to need {cloud['first_ms']:.0f} ms and "
        f"{cloud['token_ms']:.0f} ms a token; edit similarity of the two models' answers "
        f"{_percent(like['es'])}, the same in {_percent(like['same'])}"
    )


def _against_text(apart: dict[str, Any]) -> str:
    low, high = apart["em_ci"]
    return (
        f"against {apart['results']} on {apart['n']} cases: exact {100 * apart['em']:+.1f} points "
        f"(95 %: {100 * low:+.1f} to {100 * high:+.1f}), better in {apart['better']}, "
        f"worse in {apart['worse']}, p {apart['p']:.3f}; edit similarity {100 * apart['es']:+.1f}"
    )


def _quality_row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    low, high = part["em_ci"]
    ends = f"{100 * low:.1f} to {100 * high:.1f}"
    return (name, str(part["n"]), _percent(part["em"]), ends, _percent(part["es"]), _percent(part["id_f1"]))


def _how(found: dict[str, Any]) -> str:
    return "with" if found["retrieval"] else "without"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
