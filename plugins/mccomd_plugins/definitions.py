"""What are the names around the cursor? Signatures of what the file imports, of classes in use and the like.

A snippet is one file's likeliest definitions, a line each, in the file's order: the model reads how a thing
is called for a tenth of the tokens that its body takes. Found through the
index by name, by import and by likeness; how well, `mccomd bench retrieval` says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from operator import attrgetter, itemgetter

from mccomd.hooks import Definitions, Lookup, PluginContext, hookimpl
from mccomd.types import Defined, Place, Query, Snippet
from mccomd_index import Import, Lines, Modules, closeness, language_of, lines_between, signature
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
    rare: int = 8  # definitions, in all branches, of such a name
    common: int = 24  # the same of a name that is imported
    lines: int = 12  # of a snippet
    cut: float = 0.3  # of the best line's score: what is below stays out
    depth: int = 2  # of base classes
    similar: int = 24  # places looked at for their likeness
    likely: int = 10  # of them read
    classes: int = 3  # of imported classes whose members are looked at, the likeliest


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


Named = Place | Defined  # a definition, found by its name or in its file


@dataclass
class _Round:
    """One query's candidates, each with its score."""

    known: Definitions
    query: Query
    scope: Scope = field(init=False)
    found: dict[str, dict[int, tuple[float, Named]]] = field(default_factory=dict)  # by path, by line
    places: dict[str, Sequence[Place]] = field(default_factory=dict)
    texts: dict[str, str | None] = field(default_factory=dict)  # by path, as read in this round
    worth: dict[tuple[str, int], float] = field(default_factory=dict)  # class -> score of its members
    seen: set[str] = field(default_factory=set)  # classes whose members are in
    told: dict[str, tuple[float, float]] = field(default_factory=dict)  # subword -> how much it says, it said
    liked: dict[str, float] = field(default_factory=dict)  # name -> its likeness

    def run(self) -> list[Snippet]:
        self.scope = scope = look_around(self.query)
        self.imported = {one.local: one for one in scope.imports if one.local}
        classes = (scope.classes[name] for name in scope.near if name in scope.classes)
        self._look_up({*scope.receiver.classes, *classes, *(one.name for one in scope.imports if one.name)})
        near = [name for name in scope.near if len(name) > SHORT and name not in self.imported]
        self._look_up(near, LIMITS.rare)
        rare = self.known.rareness(scope.words)
        self.told = {word: (rare[word], weight * rare[word]) for word, weight in scope.words.items()}
        self._receiver()
        for name, weight in sorted(scope.near.items(), key=_second, reverse=True):
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
                self._add(place, WEIGHTS.other * weight * self._nearness(place.path) / len(places) ** 0.5)

    def _imports(self) -> None:
        scored = [
            (WEIGHTS.imported + WEIGHTS.likeness * self._likeness(one.name), one)
            for one in self.scope.imports
            if one.name and self.places.get(one.name)
        ]
        scored.sort(key=_first, reverse=True)
        for number, (score, one) in enumerate(scored):
            self._import(one, score, members=number < LIMITS.classes)

    def _import(self, one: Import, score: float, *, members: bool = True) -> bool:
        """Whether the repository has what is imported."""
        places = self._of_module(one.name, one.module)
        for near, place in places:
            self._add(place, score * near)
            if members and place.kind == "class":
                self._members(place, score * near * 0.9)
        return bool(places)

    def _similar(self) -> None:
        found = self.known.about(self.scope.words, LIMITS.similar)
        best = found[0].score if found else 1.0
        modules = Modules({one.module for one in self.scope.imports})
        likeliest = []
        for place in found:
            path = place.path
            if language_of(path) != self.query.language or path == self.query.relative_path:
                continue
            sign = 0.6 + 0.5 * _shared(self.query.relative_path, path) + 1.5 * modules.closeness(path)
            likeliest.append((WEIGHTS.about * place.score / best * sign, place))
        likeliest.sort(key=_first, reverse=True)
        for score, place in likeliest[: LIMITS.likely]:
            for one in self.known.within(place.path, place.start_line, place.end_line):
                if one.kind != "value":
                    self._put(place.path, one, score * (0.2 + self._likeness(one.name)))

    # --- classes and modules --------------------------------------------------------------------

    def _class(self, name: str, score: float, depth: int) -> None:
        """A class's own line and its members, and those of the classes it extends."""
        if name in self.seen or len(self.seen) > 8:
            return
        self.seen.add(name)
        for near, place in self._classes(name):
            if place.kind != "class":
                continue
            self._add(place, score * near)
            self._members(place, score * near)
            for base in self._bases(place) if depth else ():
                self._class(base, score * WEIGHTS.base, depth - 1)

    def _bases(self, place: Place) -> list[str]:
        bases = bases_of(" ".join(lines_between(self._read(place.path) or "", place.line, place.line + 1)))
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

    def _members(self, owner: Place, score: float) -> None:
        place = owner.path, owner.line
        if score <= self.worth.get(place, 0.0):
            return  # they have got more than this would give them
        self.worth[place] = score
        damped = WEIGHTS.likeness * score / (score + 2)
        for one in self.known.members(*place):
            private = WEIGHTS.private * one.name.startswith("_")
            liked = damped * self._likeness(one.name)
            self._put(owner.path, one, score * WEIGHTS.member + liked - private)

    def _module(self, one: Import, score: float) -> None:
        """What a module's file defines, when the name stands for the module."""
        module = f"{one.module}/{one.name}" if one.name else one.module
        for path in _files_of(module, self.query.relative_path, self.query.language):
            outline = self.known.outline(path)
            for definition in outline:
                if not definition.container:
                    liked = WEIGHTS.likeness * self._likeness(definition.name)
                    self._put(path, definition, score * WEIGHTS.member + liked)
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
        return sorted(found, key=_first, reverse=True)[:3] if len(found) > 1 else found

    def _add(self, place: Place, score: float) -> None:
        self._put(place.path, place, score)

    def _put(self, path: str, one: Named, score: float) -> None:
        lines = self.found.get(path)
        if lines is None:
            if path == self.query.relative_path:
                return
            lines = self.found[path] = {}
        known = lines.get(one.line)
        if known is None or known[0] < score:
            lines[one.line] = score, one

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
            told = self.told
            for word in words_of(name):
                if word in told:
                    rare, said = told[word]
                    whole += rare
                    met += said
                else:
                    whole += 1.0
            known = self.liked[name] = met / whole if whole else 0.0
        return known

    def _snippets(self) -> list[Snippet]:
        ranked = [(max(lines.values(), key=_first)[0], path) for path, lines in self.found.items()]
        ranked.sort(key=_first, reverse=True)
        shown = (snippet for top, path in ranked for snippet in self._snippet(path, top))
        return list(islice(shown, self.query.limit))

    def _snippet(self, path: str, top: float) -> Iterator[Snippet]:
        text = self._read(path)
        if text is None:
            return
        scored = [pair for pair in self.found[path].values() if pair[0] >= LIMITS.cut * top]
        if len(scored) > LIMITS.lines:
            scored = sorted(scored, key=lambda pair: (-pair[0], pair[1].line))[: LIMITS.lines]
        chosen = sorted([one for _, one in scored], key=attrgetter("line"))
        language = language_of(path)
        lines, documented = Lines(text), len(chosen) <= 4
        shown: list[str] = []
        for one in chosen:
            here = lines.between(one.line, one.line + BEHIND)
            shown += signature(here, one, language, docstring=documented, above=one.line - 1)
        first, last = chosen[0].line, chosen[-1].line
        yield Snippet(path, first, last, "\n".join(shown), top, self.known.commit, DefinitionsRetriever.name)


_first, _second = itemgetter(0), itemgetter(1)


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
