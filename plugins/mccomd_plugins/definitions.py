"""What are the names around the cursor? Signatures of what the file imports, of classes in use and the like.

A snippet is one file's likeliest definitions, a line each, in the file's order: the model reads how a thing
is called for a tenth of the tokens that its body takes. Found through the
index by name, by import and by likeness; how well, `mccomd bench retrieval` says.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from mccomd.hooks import Definitions, Lookup, PluginContext, hookimpl
from mccomd.types import Defined, Place, Query, Snippet
from mccomd_index import Import, closeness, language_of, signature
from mccomd_plugins.scope import Scope, bases_of, look_around, words_of

__all__ = ["DefinitionsRetriever"]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each sign counts; tuned on eight repositories, see models/LOG.md of 2026-11-26."""

    receiver: float = 8.0  # of the class or the module before the dot
    near: float = 4.0  # an imported name in the lines around the cursor
    variable: float = 3.0  # the class of a variable there
    other: float = 2.0  # a name there that few files define
    imported: float = 1.5  # any imported name
    likeness: float = 2.0  # of a name's subwords to those around the cursor
    member: float = 0.7  # of a class's weight for each of its members
    private: float = 0.5  # less for a name that begins with _
    about: float = 2.0  # a definition whose subwords are those around the cursor
    base: float = 0.7  # of a class's weight for the class it extends


@dataclass(frozen=True, slots=True)
class Limits:
    """What a round may cost and give."""

    places: int = 4  # a name that more files define says nothing
    rare: int = 8  # chunks of all branches that may define such a name
    common: int = 24  # the same of a name that is imported
    lines: int = 12  # of a snippet
    cut: float = 0.3  # of the best line's score: what is below stays out
    depth: int = 2  # of base classes
    similar: int = 24  # places looked at for their likeness
    likely: int = 10  # of them read
    classes: int = 12  # of imported classes whose members are looked at


WEIGHTS = Weights()
LIMITS = Limits()
SHORT = 3  # characters: what is called so stands everywhere
BEHIND = 12  # lines below a name that its signature and docstring may reach


class DefinitionsRetriever:
    """Signatures of what is likely to be named next."""

    name = "definitions"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def retrieve(self, query: Query) -> Sequence[Snippet]:
        if query.repository is None or not query.limit:
            return ()
        found = self._lookup(
            query.repository, lambda known: _Round(known, query).run(), without=query.relative_path
        )
        return found or ()


@dataclass
class _Round:
    """One query's candidates, each with its score."""

    known: Definitions
    query: Query
    scope: Scope = field(init=False)
    found: dict[tuple[str, Defined], float] = field(default_factory=dict)
    places: dict[str, Sequence[Place]] = field(default_factory=dict)
    outlines: dict[str, Sequence[Defined]] = field(default_factory=dict)  # by path
    texts: dict[str, str | None] = field(default_factory=dict)  # by path, as read in this round
    seen: set[str] = field(default_factory=set)  # classes whose members are in
    rare: dict[str, float] = field(default_factory=dict)  # subword -> how few definitions have it
    liked: dict[str, float] = field(default_factory=dict)  # name -> its likeness

    def run(self) -> list[Snippet]:
        self.scope = scope = look_around(self.query)
        self.imported = {one.local: one for one in scope.imports if one.local}
        told = {*scope.receiver.classes, *scope.classes.values()}
        self._look_up({*told, *(one.name for one in scope.imports if one.name)})
        near = [name for name in scope.near if len(name) > SHORT and name not in self.imported]
        self._look_up(near, LIMITS.rare)
        self.rare = dict(self.known.rareness(scope.words))
        self._receiver()
        for name, weight in sorted(scope.near.items(), key=lambda pair: -pair[1]):
            self._near(name, weight)
        self._imports()
        self._similar()
        return self._snippets()

    # --- the signs ------------------------------------------------------------------------------

    def _receiver(self) -> None:
        receiver = self.scope.receiver
        for name in receiver.classes:
            self._class(name, WEIGHTS.receiver, LIMITS.depth)
        if receiver.module is not None:
            self._module(receiver.module, WEIGHTS.receiver)

    def _near(self, name: str, weight: float) -> None:
        one = self.imported.get(name)
        if one is not None:
            if not (one.name and self._import(one, WEIGHTS.near * weight)):
                self._module(one, WEIGHTS.near * weight * WEIGHTS.member)
        elif name in self.scope.classes:
            self._class(self.scope.classes[name], WEIGHTS.variable * weight, 1)
        elif len(name) > SHORT:
            places = self.places.get(name, ())
            for place in places if len(places) <= LIMITS.places else ():
                score = WEIGHTS.other * weight * self._nearness(place.path) / len(places) ** 0.5
                self._add(place.path, self._at(place, name), score)

    def _imports(self) -> None:
        scored = [
            (WEIGHTS.imported + WEIGHTS.likeness * self._likeness(one.name), one)
            for one in self.scope.imports
            if one.name
        ]
        scored.sort(key=lambda pair: -pair[0])
        for number, (score, one) in enumerate(scored):
            self._import(one, score, members=number < LIMITS.classes)

    def _import(self, one: Import, score: float, *, members: bool = True) -> bool:
        """Whether the repository has what is imported."""
        places = self._of_module(one.name, one.module)
        for near, place in places:
            definition = self._at(place, one.name)
            self._add(place.path, definition, score * near)
            if members and definition is not None and definition.kind == "class":
                self._members(place, definition, score * near * 0.9)
        return bool(places)

    def _similar(self) -> None:
        found = self.known.about(self.scope.words, LIMITS.similar)
        best = found[0].score if found else 1.0
        modules = {one.module for one in self.scope.imports}
        likeliest = []
        for place in found:
            if language_of(place.path) != self.query.language:
                continue
            close = max((closeness(module, place.path) for module in modules), default=0.0)
            sign = 0.6 + 0.5 * _shared(self.query.relative_path, place.path) + 1.5 * close
            likeliest.append((WEIGHTS.about * place.score / best * sign, place))
        for score, place in sorted(likeliest, key=lambda pair: -pair[0])[: LIMITS.likely]:
            for one in self._outline(place.path):
                if place.start_line <= one.line <= place.end_line and one.kind != "value":
                    self._add(place.path, one, score * (0.2 + self._likeness(one.name)))

    # --- classes and modules --------------------------------------------------------------------

    def _class(self, name: str, score: float, depth: int) -> None:
        """A class's own line and its members, and those of the classes it extends."""
        if name in self.seen or len(self.seen) > 8:
            return
        self.seen.add(name)
        for near, place in self._classes(name):
            one = self._at(place, name)
            if one is None or one.kind != "class":
                continue
            self._add(place.path, one, score * near)
            self._members(place, one, score * near)
            for base in self._bases(place.path, one) if depth else ():
                self._class(base, score * WEIGHTS.base, depth - 1)

    def _bases(self, path: str, one: Defined) -> list[str]:
        lines = (self._read(path) or "").split("\n", one.line + 2)
        bases = bases_of(" ".join(lines[one.line - 1 : one.line + 1]))
        self._look_up(bases)
        return bases

    def _classes(self, name: str) -> list[tuple[float, Place]]:
        one = self.imported.get(name)
        if one is not None:
            return self._of_module(one.name, one.module)[:2] if one.name else []
        places = self.places.get(name, ())
        if len(places) > LIMITS.places:
            return []
        return [(self._nearness(place.path), place) for place in places][:2]

    def _members(self, place: Place, owner: Defined, score: float) -> None:
        damped = WEIGHTS.likeness * score / (score + 2)
        for one in self._outline(place.path):
            if one.container == owner.name and owner.line <= one.line <= owner.end_line:
                private = WEIGHTS.private * one.name.startswith("_")
                liked = damped * self._likeness(one.name)
                self._add(place.path, one, score * WEIGHTS.member + liked - private)

    def _module(self, one: Import, score: float) -> None:
        """What a module's file defines, when the name stands for the module."""
        module = f"{one.module}/{one.name}" if one.name else one.module
        for path in _files_of(module, self.query.relative_path, self.query.language):
            outline = self._outline(path)
            for definition in outline:
                if not definition.container:
                    liked = WEIGHTS.likeness * self._likeness(definition.name)
                    self._add(path, definition, score * WEIGHTS.member + liked)
            if outline:
                return

    # --- small things ---------------------------------------------------------------------------

    def _look_up(self, names: Sequence[str] | set[str], most: int = LIMITS.common) -> None:
        unknown = [name for name in names if name not in self.places]
        if unknown:
            self.places.update(dict.fromkeys(unknown, ()))
            self.places.update(self.known.defined(unknown, most=most))

    def _of_module(self, name: str, module: str) -> list[tuple[float, Place]]:
        found = [(closeness(module, place.path), place) for place in self.places.get(name, ())]
        found = [pair for pair in found if pair[0] > 0]
        return sorted(found, key=lambda pair: -pair[0])[:3]

    def _at(self, place: Place, name: str) -> Defined | None:
        for one in self._outline(place.path):
            if one.name == name and place.start_line <= one.line <= place.end_line:
                return one
        return None

    def _add(self, path: str, one: Defined | None, score: float) -> None:
        if one is not None and path != self.query.relative_path:
            key = path, one
            self.found[key] = max(score, self.found.get(key, 0.0))

    def _outline(self, path: str) -> Sequence[Defined]:
        if path not in self.outlines:
            self.outlines[path] = self.known.outline(path)
        return self.outlines[path]

    def _read(self, path: str) -> str | None:
        if path not in self.texts:
            self.texts[path] = self.known.read(path)
        return self.texts[path]

    def _nearness(self, path: str) -> float:
        return 0.3 + 0.7 * _shared(self.query.relative_path, path)

    def _likeness(self, name: str) -> float:
        """0..1: which share of a name's subwords stands around the cursor, rare ones counting more."""
        known = self.liked.get(name)
        if known is None:
            met = whole = 0.0
            for word in words_of(name):
                rare = self.rare.get(word, 1.0)
                whole += rare
                met += self.scope.words.get(word, 0.0) * rare
            known = self.liked[name] = met / whole if whole else 0.0
        return known

    def _snippets(self) -> list[Snippet]:
        by_path: dict[str, list[tuple[float, Defined]]] = defaultdict(list)
        for (path, one), score in self.found.items():
            by_path[path].append((score, one))
        best = sorted(by_path.items(), key=lambda item: -max(score for score, _ in item[1]))
        shown = (snippet for path, scored in best for snippet in self._snippet(path, scored))
        return list(islice(shown, self.query.limit))

    def _snippet(self, path: str, scored: list[tuple[float, Defined]]) -> Iterator[Snippet]:
        text = self._read(path)
        if text is None:
            return
        scored.sort(key=lambda pair: (-pair[0], pair[1].line))
        top = scored[0][0]
        chosen = [one for score, one in scored if score >= LIMITS.cut * top][: LIMITS.lines]
        chosen.sort(key=lambda one: one.line)
        language = language_of(path)
        lines = text.split("\n", chosen[-1].line + BEHIND)
        shown: list[str] = []
        for one in chosen:
            shown += signature(lines, one, language, docstring=len(chosen) <= 4)
        commit = self.known.commit
        first, last = chosen[0].line, max(one.line for one in chosen)
        yield Snippet(path, first, last, "\n".join(shown), top, commit, DefinitionsRetriever.name)


def _shared(one: str, other: str) -> float:
    """0..1: the share of folders that two paths have in common from the top."""
    return _shared_folders(one.rpartition("/")[0], other.rpartition("/")[0])


@lru_cache(maxsize=4_000)
def _shared_folders(one: str, other: str) -> float:
    ours, theirs = one.split("/"), other.split("/")
    same = 0
    for mine, its in zip(ours, theirs, strict=False):
        if mine != its:
            break
        same += 1
    return same / max(len(ours), len(theirs))


_TAILS: Mapping[str, tuple[str, ...]] = {
    "python": (".py", "/__init__.py"),
    "javascript": (".js", "/index.js", ".mjs", ".jsx"),
    "typescript": (".ts", "/index.ts", ".tsx", ".d.ts"),
    "rust": (".rs", "/mod.rs"),
}
_ROOTS = ("", "src/", "lib/")


def _files_of(module: str, path: str, language: str) -> Iterator[str]:
    """Where a module's file may lie, likeliest first."""
    folder = posixpath.dirname(path)
    roots = list(_ROOTS)
    while folder:
        roots.append(folder + "/")
        folder = posixpath.dirname(folder)
    for tail in _TAILS.get(language, ()):
        for root in roots:
            yield f"{root}{module}{tail}"


@hookimpl
def mccomd_retrievers(context: PluginContext) -> list[DefinitionsRetriever]:
    return [] if context.lookup is None else [DefinitionsRetriever(context.lookup)]
