"""Every option: its name, type, default, meaning, unit and range. Knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

__all__ = [
    "SECTIONS",
    "BehaviourConfig",
    "BudgetConfig",
    "CloudConfig",
    "CompletionConfig",
    "Config",
    "IndexConfig",
    "LogConfig",
    "ModelConfig",
    "PluginsConfig",
    "PowerConfig",
    "RepositoryConfig",
    "RouterConfig",
    "Rule",
    "rule_fields",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be, beyond its type."""

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def _key(
    default: object,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"rule": Rule(meaning, unit, low, high, choices)})


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The local model."""

    name: str = _key("mccomd-135m", "a model that comes with mccomd")
    folder: str = _key("", 'a model folder of your own, absolute or from ~; overrides name; "" = none')
    threads: int = _key(
        0, "for computing; 0 = as many as there are physical cores", unit="threads", low=0, high=256
    )
    context_tokens: int = _key(1024, "longest prompt", unit="tokens", low=128, high=7936)
    idle_unload_s: int = _key(
        900,
        "without a request until the memory is given back; 0 = never",
        unit="seconds",
        low=0,
        high=604_800,
    )


@dataclass(frozen=True, slots=True)
class CompletionConfig:
    """One local completion."""

    deadline_ms: int = _key(1500, "what stands by then is shown", unit="milliseconds", low=50, high=60_000)
    max_tokens: int = _key(48, "longest completion", unit="tokens", low=1, high=256)
    least_chance: float = _key(
        0.02,
        "an answer ends where the model's chance of being right in all of it falls below; 0 = never",
        unit="probability",
        low=0,
        high=1,
    )
    search_ms: int = _key(
        300,
        "behind an answer, time for finding a more probable text, which takes its place; 0 = none",
        unit="milliseconds",
        low=0,
        high=60_000,
    )
    retrieve_ms: int = _key(
        50, "share of the deadline for finding snippets; 0 = none", unit="milliseconds", low=0, high=60_000
    )
    snippets: int = _key(
        4, "most snippets of the repository in a prompt; 0 = none", unit="snippets", low=0, high=64
    )
    snippet_tokens: int = _key(384, "share of the prompt for snippets", unit="tokens", low=0, high=8192)
    multi_line: bool = _key(True, "whether a statement may run over several lines")
    ngrams: bool = _key(
        True, "whether what followed the same tokens in the file, its snippets and the repository counts, too"
    )
    ngram_tokens: int = _key(
        3_000_000,
        "of a repository's files, kept in memory for that (8 bytes each); 0 = the file and snippets alone",
        unit="tokens",
        low=0,
        high=50_000_000,
    )


@dataclass(frozen=True, slots=True)
class PowerConfig:
    """Being a good guest: in saver mode answers are one line and nothing is read ahead."""

    mode: str = _key("auto", "auto = by battery and load", choices=("auto", "full", "saver"))
    saver_below_percent: int = _key(40, "on battery, saver below this", unit="percent", low=0, high=101)
    saver_above_load: float = _key(
        2.0, "saver above this load of the last minute", unit="processes a core", low=0.1, high=1000
    )


@dataclass(frozen=True, slots=True)
class BehaviourConfig:
    """What typing says about an answer on the screen. A client's `feedback` always wins over it."""

    infer: bool = _key(True, "whether answers are judged by what is typed; false: by feedback alone")
    read_ms: int = _key(
        750,
        "shown for less it was not read: typing past it says nothing",
        unit="milliseconds",
        low=0,
        high=60_000,
    )
    window_ms: int = _key(
        10_000, "typed against later than this after it was shown, it says nothing", unit="milliseconds",
        low=0, high=3_600_000,
    )  # fmt: skip
    replaced_ms: int = _key(
        500, "replaced by another answer within this time it was not rejected", unit="milliseconds",
        low=0, high=60_000,
    )  # fmt: skip
    typo_chars: int = _key(
        2,
        "so few typed against it and deleted again were a typo; 0 = none",
        unit="characters",
        low=0,
        high=100,
    )
    accept_chars: int = _key(
        4, "so many of it that come at once were accepted, not typed", unit="characters", low=1, high=1000
    )


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """When the large model is asked. `mccomd tune` shows what each wish would mean."""

    name: str = _key("confidence", "the router; a plugin's part")
    aim: str = _key(
        "threshold", "which of the wishes below counts", choices=("threshold", "share", "precision", "budget")
    )
    threshold: float = _key(
        0.1, "escalate below this confidence: the chance that the answer is right", unit="probability",
        low=0, high=1,
    )  # fmt: skip
    share: float = _key(0.3, "of the requests, at most so many", unit="fraction", low=0, high=1)
    precision: float = _key(
        0.6, "of the answers that stay local, so many exactly right", unit="fraction", low=0, high=1
    )
    unsure: str = _key(
        "hold",
        "an unsure local answer is held back until the large model has answered or hold_ms are over, "
        "shown at once, or dropped after three tokens",
        choices=("hold", "show", "drop"),
    )
    hold_ms: int = _key(
        1000, "how long an unsure local answer is held back", unit="milliseconds", low=0, high=60_000
    )
    stream_ms: int = _key(
        150, "between two parts of the large model's text; 0 = only all of it", unit="milliseconds",
        low=0, high=60_000,
    )  # fmt: skip
    round_two: bool = _key(True, "whether a rejected answer is searched for in the repository")
    shadow: str = _key("", 'a second router that is only asked what it would do; "" = none')


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """What the large model may cost in a calendar month. When it is spent, answers are local only."""

    tokens: int = _key(0, "prompt and answer together; 0 = no limit", unit="tokens", low=0, high=10**12)
    money: float = _key(
        0.0, "by the prices in [cloud]; 0 = no limit", unit="of your currency", low=0, high=10**9
    )


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """The large model. Off until a backend is named."""

    offline: bool = _key(False, "never open a network socket, whatever else is set; as `serve --offline`")
    backend: str = _key(
        "",
        'completions, mistral, llamacpp, ollama, chat, or a plugin\'s; "" = off, nothing leaves this machine',
    )
    url: str = _key("", "where the endpoint is, such as https://api.example.com/v1 or http://localhost:8080")
    model: str = _key("", "the model's name at the endpoint")
    dialect: str = _key("", 'how the endpoint speaks, see plugins/README.md; "" = the backend\'s usual one')
    key: str = _key("", "where its key is: env:NAME, file:PATH (mode 0600) or keyring:SERVICE/USER")
    fim_template: str = _key("", 'how the model is told to fill in; "" = by its name')
    deadline_ms: int = _key(5000, "later answers are dropped", unit="milliseconds", low=100, high=120_000)
    stall_ms: int = _key(
        2500,
        "between two pieces of an answer, then it is given up",
        unit="milliseconds",
        low=100,
        high=120_000,
    )
    strategy: str = _key(
        "auto",
        "what becomes of the local draft; auto = what pays",
        choices=("auto", "plain", "native", "prime", "verify"),
    )
    prime_ahead: str = _key(
        "auto",
        "whether a server that can be primed reads the prompt before it is known that it is asked; "
        "auto = on this machine or in its own network, and without prices",
        choices=("auto", "always", "never"),
    )
    keep_warm: bool = _key(True, "whether a connection is kept open while you type; sends no text of yours")
    input_price: float = _key(0.0, "of a million tokens sent", unit="your currency", low=0, high=100_000)
    output_price: float = _key(0.0, "of a million tokens received", unit="your currency", low=0, high=100_000)


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """What is searched for snippets."""

    enabled: bool = _key(True, "whether repositories are indexed at all")
    max_file_kb: int = _key(512, "larger files are left out", unit="kilobytes", low=1, high=65_536)
    ignore: tuple[str, ...] = _key((), "patterns left out, written as in .gitignore")
    keep_days: int = _key(
        90, "an index not used for so long is removed; 0 = never", unit="days", low=0, high=36_500
    )
    watched_folders: int = _key(
        20_000, "a repository with more is polled; 0 = all are", unit="folders", low=0, high=1_000_000
    )
    languages: tuple[str, ...] = _key((), "only these languages; [] = all")


@dataclass(frozen=True, slots=True)
class PluginsConfig:
    """Parts from outside. Built-in ones are on unless disabled."""

    enabled: tuple[str, ...] = _key((), "third-party plugins to load, by name")
    disabled: tuple[str, ...] = _key((), "built-in plugins to leave out, by name")
    network: tuple[str, ...] = _key(
        (), "plugins that open network sockets of their own; what they send is in no ledger"
    )
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The log file; it never holds source text."""

    level: str = _key("info", "least important message kept", choices=("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True)
class Config:
    """The user's settings, all of them valid."""

    model: ModelConfig = field(default_factory=ModelConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    power: PowerConfig = field(default_factory=PowerConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    cloud: CloudConfig = field(default_factory=CloudConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    plugins: PluginsConfig = field(default_factory=PluginsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    written_at: Mapping[str, str] = field(
        default_factory=dict, compare=False, repr=False
    )  # key -> "FILE:LINE"


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """What a repository asks for; None and () where it asks for nothing."""

    ignore: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_file_kb: int | None = None
    problems: tuple[str, ...] = ()  # one line each; what they name was not followed


SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "completion": CompletionConfig,
    "power": PowerConfig,
    "behaviour": BehaviourConfig,
    "router": RouterConfig,
    "budget": BudgetConfig,
    "cloud": CloudConfig,
    "index": IndexConfig,
    "plugins": PluginsConfig,
    "log": LogConfig,
}


def rule_fields(kind: type) -> list[Field[Any]]:
    return [key for key in fields(kind) if "rule" in key.metadata]
