"""Text -> the names it takes from other files, and whether a path is where a name comes from.

    from .store import Reader as R      in pkg/index.py      R: Reader of pkg/store
    import sqlglot.exp as e                                  e: the module sqlglot/exp

Pure, by patterns: what stands in a string or in a comment may be taken for an import, which costs a look-up.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Import", "closeness", "imports"]

MAX_IMPORTS = 400


class Import(NamedTuple):
    """A name bound to something of another file."""

    local: str  # the name here; "" where a file is included as a whole
    module: str  # path-like, without suffix: a/b/c
    name: str  # the name there; "" for the module itself


def imports(text: str, language: str, path: str) -> list[Import]:
    """What a text at a path of the repository imports, in order."""
    reader = _READERS.get(language)
    if reader is None:
        return []
    found: list[Import] = []
    for one in reader(text, path):
        found.append(one)
        if len(found) == MAX_IMPORTS:
            break
    return found


def closeness(module: str, path: str) -> float:
    """How likely a path is (of) a module: 1 its file, 0.8 within its folder, 0.6 its folder's, 0 another.

    "a/b", "src/a/b.py" -> 1; "a/b", "src/a/b/c.py" -> 0.8; "host/x/a/b" (Go), "a/b/c.go" -> 0.6
    """
    if not module:
        return 0.0
    stem, folder, _ = _parts(path)
    if stem.endswith(f"/{module}"):
        return 1.0
    if f"/{module}/" in stem:
        return 0.8
    return 0.6 if folder and f"/{module}".endswith(folder) else 0.0


class Modules:
    """Several modules, of which the one that is closest to a path counts."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._by_last: dict[str, list[str]] = {}  # part of its name -> modules
        for module in modules:
            self._by_last.setdefault(module.rpartition("/")[2], []).append(module)

    def closeness(self, path: str) -> float:
        """The greatest closeness; what is close to a path ends in a part of it, so few are looked at."""
        near = self._by_last.keys() & _parts(path)[2]
        return max((closeness(module, path) for part in near for module in self._by_last[part]), default=0.0)


@lru_cache(maxsize=20_000)
def _parts(path: str) -> tuple[str, str, frozenset[str]]:
    """What a path is as a module, its folder, each behind a slash ("" none), and the parts of both."""
    stem, folder = posixpath.splitext(path)[0], posixpath.dirname(path)
    for tail in ("/__init__", "/index", "/mod", "/lib"):
        stem = stem.removesuffix(tail)
    return f"/{stem}", folder and f"/{folder}", frozenset(f"{stem}/{folder}".split("/"))


_FROM = re.compile(
    r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(?:\(([^)]*)\)|([^\n#;]+))"
    r"|^[ \t]*import[ \t]+([^\n#;(]+)",
    re.M,
)
_COMMENT = re.compile(r"#[^\n]*")
_AS = re.compile(r"([\w.*]+)(?:[ \t\n]+as[ \t\n]+(\w+))?")


def _statements(text: str) -> Iterator[tuple[str, ...]]:
    """What `_FROM.findall` gives: to look at lines with the word alone takes a third of the time."""
    at = 0
    while (word := text.find("import", at)) >= 0:
        line = text.rfind("\n", at, word) + 1 or at
        found = _FROM.match(text, line)
        if found is not None:
            yield found.groups("")
        at = word + 6 if found is None else found.end()


def _python(text: str, path: str) -> Iterator[Import]:
    for dots, module, many, one, plain in _statements(text):
        if plain:
            for name, local in _AS.findall(plain):
                yield Import(local or name, name.replace(".", "/"), "")
            continue
        place = _relative(path, len(dots), module.replace(".", "/"))
        for name, local in _AS.findall((_COMMENT.sub("", many) if "#" in many else many) or one):
            if name != "*":
                yield Import(local or name, place, name)


def _relative(path: str, dots: int, module: str) -> str:
    if not dots:
        return module
    folder = posixpath.dirname(path)
    for _ in range(dots - 1):
        folder = posixpath.dirname(folder)
    return posixpath.join(folder, module) if module else folder


_JS = re.compile(
    r"^[ \t]*(?:import|export)\b([^;'\"()=]*?)\bfrom\s*['\"]([^'\"\n]+)['\"]"
    r"|\b(?:const|let|var)\s+([^=;]+?)\s*=\s*(?:await\s+)?(?:require|import)\(\s*['\"]([^'\"\n]+)['\"]",
    re.M,
)
_JS_NAME = re.compile(r"([\w$*]+)(?:\s*(?:\bas\b|:)\s*([\w$]+))?")


def _javascript(text: str, path: str) -> Iterator[Import]:
    for names, module, required, place in _JS.findall(text):
        target = _script(module or place, path)
        whole, _, inner = (names or required).partition("{")
        for name, local in _JS_NAME.findall(inner.partition("}")[0]):
            if name != "type":
                yield Import(local or name, target, name)
        for name, local in _JS_NAME.findall(whole):
            if name != "type":
                yield Import(local or name, target, "" if name == "*" else name)


def _script(module: str, path: str) -> str:
    module = re.sub(r"\.(?:m?[jt]sx?|json)$", "", module)
    if module.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), module))
    return re.sub(r"^[@~]/", "", module)


_GO = re.compile(r'^[ \t]*(?:import[ \t]+)?(?:([\w.]+)[ \t]+)?"([\w./~-]+)"[ \t]*$', re.M)


def _go(text: str, path: str) -> Iterator[Import]:
    head = text[: text.find("\nfunc ") if "\nfunc " in text else len(text)]
    for local, module in _GO.findall(head):
        yield Import(local or module.rsplit("/", 1)[-1], module, "")


_RUST = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?use[ \t]+([^;]+);", re.M)


def _rust(text: str, path: str) -> Iterator[Import]:
    for tree in _RUST.findall(text):
        yield from _rust_tree(re.sub(r"\s+", " ", tree), "", 8)


def _rust_tree(tree: str, prefix: str, depth: int) -> Iterator[Import]:
    head, brace, rest = tree.partition("{")
    if brace and depth:
        inner = rest.rpartition("}")[0]
        for part in _outer_parts(inner):
            yield from _rust_tree(part.strip(), prefix + head, depth - 1)
        return
    found = re.fullmatch(r"(.*?)(\w+)(?: as (\w+))?", (prefix + tree).strip())
    if found:
        module = re.sub(r"^(?:crate|self|super)(?:::)?", "", found[1].strip()).strip(":").replace("::", "/")
        yield Import(found[3] or found[2], module or found[2], found[2])


def _outer_parts(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


_JAVA = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)\.(\w+|\*)[ \t]*;", re.M)


def _java(text: str, path: str) -> Iterator[Import]:
    for module, name in _JAVA.findall(text):
        place = module.replace(".", "/")
        if name == "*":
            yield Import("", place, "")
        else:
            yield Import(name, place if module[module.rfind(".") + 1].isupper() else f"{place}/{name}", name)


_C = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">\n]+)[">]', re.M)


def _c(text: str, path: str) -> Iterator[Import]:
    for name in _C.findall(text):
        yield Import("", posixpath.normpath(posixpath.splitext(name)[0]).lstrip("./"), "")


_READERS = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _javascript,
    "go": _go,
    "rust": _rust,
    "java": _java,
    "c": _c,
    "cpp": _c,
}
