"""Code around a cursor -> the text of a prompt, as the large model's family wants it. Pure.

For endpoints that take raw text. A marker that stands in the user's code is broken with a blank first:
servers parse special tokens anywhere in a prompt, and code about tokenizers would end it. Sources: the
models' cards, and the templates of Continue and llama.vim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mccomd.languages import as_comment
from mccomd.redact import neutralise
from mccomd.types import Snippet

__all__ = ["TEMPLATES", "Template", "Window", "cut", "neutralise", "render", "template_for"]


@dataclass(frozen=True, slots=True)
class Template:
    """One family's markers. `order`: psm = prefix, suffix; spm = suffix, prefix; prefix = no suffix."""

    name: str
    order: Literal["psm", "spm", "prefix"]
    prefix: str = ""
    suffix: str = ""
    middle: str = ""
    file: str = ""  # stands before a path and a line break; "" = files are introduced by a comment
    stops: tuple[str, ...] = ()  # further ends of an answer, beside the markers
    hard_end: bool = True  # the prompt ends with a special token: a draft's tokens do not depend on it

    @property
    def markers(self) -> tuple[str, ...]:
        """Every control string that must not come from the user's code, the most telling stops first."""
        own = (self.middle, self.suffix, self.prefix, self.file, *self.stops)
        return tuple(dict.fromkeys(marker.strip() for marker in own if marker.strip()))


_QWEN = ("<|endoftext|>", "<|repo_name|>", "<|fim_pad|>", "<|im_start|>", "<|im_end|>")
TEMPLATES = {
    template.name: template
    for template in (
        Template("none", "prefix", hard_end=False),
        Template("qwen", "psm", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>", _QWEN),
        Template("granite", "psm", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "",
                 ("<|end_of_text|>", "<|fim_pad|>", "<|start_of_role|>")),
        Template("starcoder", "psm", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>",
                 ("<|endoftext|>", "<repo_name>", "<fim_pad>")),
        Template("codegemma", "psm", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
                 "<|file_separator|>", ("<eos>", "<end_of_turn>", "<start_of_turn>")),
        Template("codellama", "psm", "<PRE> ", " <SUF>", " <MID>", "", ("<EOT>", "</s>")),
        Template("deepseek", "psm", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "",
                 ("<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<|EOT|>")),
        Template("codestral", "spm", "[PREFIX]", "[SUFFIX]", "", "+++++ ",
                 ("[MIDDLE]", "</s>", "[INST]", "[/INST]"), hard_end=False),
        Template("seed", "psm", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", "",
                 ("<[end▁of▁sentence]>", "<[begin▁of▁sentence]>")),
        Template("mellum", "spm", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>",
                 ("<|endoftext|>", "<reponame>", "<fim_pad>")),
    )
}  # fmt: skip
_BY_NAME = (  # the first that is found in the model's name, in lower case
    (r"granite-?(4|v4)", "granite"),
    (r"qwen.*coder|codeqwen|mercury|qwen3-next", "qwen"),
    (r"starcoder|stable-?code|granite|codeshell|refact", "starcoder"),
    (r"codegemma", "codegemma"),
    (r"code-?llama", "codellama"),
    (r"deepseek", "deepseek"),
    (r"codestral", "codestral"),
    (r"seed-?coder", "seed"),
    (r"mellum", "mellum"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """How much text goes into a prompt, in characters."""

    prefix: int = 8000
    suffix: int = 2000
    snippets: int = 6000

    def within(self, tokens: int | None, chars_a_token: float = 3.0) -> Window:
        """The same shares in a context of so many tokens."""
        whole = self.prefix + self.suffix + self.snippets
        if tokens is None or tokens * chars_a_token >= whole:
            return self
        share = max(0, tokens) * chars_a_token / whole
        return Window(int(self.prefix * share), int(self.suffix * share), int(self.snippets * share))


def template_for(model: str, override: str = "") -> Template:
    """By the model's name, or as the user says; without fill-in-the-middle where neither is known.

    Raises KeyError for an override that is no template.
    """
    if override:
        return TEMPLATES[override]
    name = model.lower()
    found = next((template for pattern, template in _BY_NAME if re.search(pattern, name)), "none")
    return TEMPLATES[found]


def cut(prefix: str, suffix: str, window: Window) -> tuple[str, str]:
    """What fits of both sides, whole lines where there is a choice."""
    if len(prefix) > window.prefix:
        kept = prefix[len(prefix) - window.prefix :]
        line = kept.find("\n")
        prefix = kept[line + 1 :] if 0 <= line < len(kept) // 2 else kept
    if len(suffix) > window.suffix:
        kept = suffix[: window.suffix]
        line = kept.rfind("\n")
        suffix = kept[: line + 1] if line > len(kept) // 2 else kept
    return prefix, suffix


def render(
    template: Template,
    prefix: str,
    suffix: str,
    *,
    path: str = "",
    language: str = "",
    snippets: Sequence[Snippet] = (),
    window: Window | None = None,
) -> str:
    """The prompt. What is generated from it stands between prefix and suffix."""
    window = window or Window()
    prefix, suffix = (neutralise(part, template.markers) for part in cut(prefix, suffix, window))
    head = _files(template, snippets, language, window.snippets)
    path = neutralise(path, template.markers)
    if template.order == "prefix":
        return head + _named(template, path, language) + prefix
    header = (
        f"{template.file}{path}\n" if template.file and path and (head or template.name == "mellum") else ""
    )
    if template.order == "spm":
        return f"{head}{header}{template.suffix}{suffix}{template.prefix}{prefix}{template.middle}"
    return f"{head}{header}{template.prefix}{prefix}{template.suffix}{suffix}{template.middle}"


def _named(template: Template, path: str, language: str) -> str:
    return as_comment(path, language) + "\n" if path else ""


def _files(template: Template, snippets: Sequence[Snippet], language: str, room: int) -> str:
    """Snippets as files, the best last: nearest to the code that it may help."""
    parts: list[str] = []
    for snippet in snippets:
        path, text = (neutralise(part, template.markers) for part in (snippet.path, snippet.text.strip("\n")))
        if template.file:
            part = f"{template.file}{path}\n{text}\n"
        else:
            part = as_comment(f"From {path}:\n{text}", language) + "\n\n"
        if len(part) > room:
            break
        room -= len(part)
        parts.append(part)
    return "".join(reversed(parts))
